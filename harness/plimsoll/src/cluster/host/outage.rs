//! What happens to a node from outside: its network, its power.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::container::Container;
use super::{CONTROL_PLANE_ADDRESS, HostCluster, network};
use crate::cluster::{Change, ClusterError};

/// How long the processes of a node may take to be gone when its power is.
const DEAD_WITHIN: Duration = Duration::from_secs(20);
/// The flag of an interface that is up: `IFF_UP` of the kernel's `linux/if.h`.
const UP: u32 = 1;

pub(super) async fn change(cluster: &HostCluster, node: &str, change: Change) -> Result<(), ClusterError> {
    let (control_plane, nodes) = cluster
        .containers
        .split_first()
        .ok_or_else(|| ClusterError::doing(format!("node {node}"))("the cluster has ended"))?;
    let container = nodes
        .iter()
        .find(|container| container.part == node)
        .ok_or_else(|| ClusterError::doing(format!("node {node}"))("there is no such node"))?;
    match change {
        Change::Cut => set_link(control_plane, container, false)
            .map_err(ClusterError::doing(format!("cutting {node} off the network"))),
        Change::Mend => set_link(control_plane, container, true)
            .map_err(ClusterError::doing(format!("giving {node} its network back"))),
        Change::Kill => kill(container).await,
        Change::Start => {
            container.create_again().await?;
            let address = cluster.addresses[node];
            // The plugin gives an address out once. The node's interface went with its network, and the plugin was not told.
            let _ = fs::remove_file(cluster.folder.path.join("network/nodes").join(address.to_string()));
            let connections = vec![(node.to_owned(), container.process(), address)];
            let gateway = CONTROL_PLANE_ADDRESS;
            network::connect(&cluster.folder, &cluster.bundle, control_plane.process(), gateway, connections)
                .await?;
            container.start().await
        }
    }
}

/// Ends every process of a node and waits until they are gone, so that nothing of it is seen afterwards.
async fn kill(container: &Container) -> Result<(), ClusterError> {
    let process = PathBuf::from(format!("/proc/{}/ns/pid", container.process()));
    container.cut_power();
    let deadline = Instant::now() + DEAD_WITHIN;
    while fs::read_link(&process).is_ok() {
        if Instant::now() > deadline {
            return Err(ClusterError::doing(format!("killing {}", container.part))("its init does not end"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Pulls the node's cable or plugs it in: the end of it that stands in the control plane's network goes down or up. The
/// node keeps its interface, address and routes, as a node does whose switch fails.
fn set_link(control_plane: &Container, node: &Container, up: bool) -> std::io::Result<()> {
    let interfaces =
        |container: &Container| PathBuf::from(format!("/proc/{}/root/sys/class/net", container.process()));
    let peer = fs::read_to_string(interfaces(node).join("eth0/iflink"))?;
    let ends = interfaces(control_plane);
    for entry in fs::read_dir(&ends)? {
        let end = entry?.path();
        if fs::read_to_string(end.join("ifindex")).is_ok_and(|index| index.trim() == peer.trim()) {
            return set_up(&end.join("flags"), up);
        }
    }
    Err(std::io::Error::other(format!("no interface of {} leads to it", ends.display())))
}

fn set_up(flags: &Path, up: bool) -> std::io::Result<()> {
    let text = fs::read_to_string(flags)?;
    let before =
        u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).map_err(std::io::Error::other)?;
    let after = if up { before | UP } else { before & !UP };
    fs::write(flags, format!("{after:#x}"))
}
