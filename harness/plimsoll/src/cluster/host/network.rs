//! Connecting nodes to their control plane by the bundle's CNI plugins.
//!
//! The bridge stands in the control plane's own network namespace, so the machine's network stays as it was, runs
//! do not meet, and everything is gone with the last process of the run.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use crate::bundle::Bundle;
use crate::cluster::ClusterError;
use crate::cluster::state::RunFolder;

/// Gives every node an interface, an address and a route to the control plane. `nodes` are name, process and address.
pub(super) async fn connect(
    folder: &RunFolder,
    bundle: &Bundle,
    control_plane: u32,
    gateway: Ipv4Addr,
    nodes: Vec<(String, u32, Ipv4Addr)>,
) -> Result<(), ClusterError> {
    let (bin, run, state) = (bundle.bin(), folder.run.clone(), folder.path.join("network"));
    // A thread of its own, since it leaves the machine's network for good.
    let wiring = std::thread::spawn(move || -> Result<(), String> {
        enter_network(control_plane)
            .map_err(|error| format!("entering the control plane's network: {error}"))?;
        for (name, process, address) in nodes {
            let configuration = json!({
                "cniVersion": "1.0.0",
                "name": "nodes",
                "type": "bridge",
                "bridge": "nodes",
                "isDefaultGateway": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": state,
                    "ranges": [[{"subnet": "10.77.0.0/24", "gateway": gateway, "rangeStart": address, "rangeEnd": address}]],
                },
            });
            let mut child = Command::new(bin.join("bridge"))
                .env_clear()
                .env("CNI_COMMAND", "ADD")
                .env("CNI_CONTAINERID", format!("{run}-{name}"))
                .env("CNI_NETNS", format!("/proc/{process}/ns/net"))
                .env("CNI_IFNAME", "eth0")
                .env("CNI_PATH", &bin)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("{}: {error}", bin.join("bridge").display()))?;
            if let Some(mut input) = child.stdin.take() {
                input.write_all(configuration.to_string().as_bytes()).map_err(|error| error.to_string())?;
            }
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                // A plugin says what went wrong as JSON on its standard output.
                return Err(format!("node {name}: {}", String::from_utf8_lossy(&output.stdout).trim()));
            }
        }
        Ok(())
    });
    let joined = tokio::task::spawn_blocking(move || wiring.join()).await;
    match joined {
        Ok(Ok(wired)) => wired.map_err(ClusterError::doing("connecting the nodes to the control plane")),
        _ => Err(ClusterError::doing("connecting the nodes to the control plane")(
            "the thread that does it ended early",
        )),
    }
}

/// Moves the calling thread, and what it starts from now on, into a process's network.
pub(super) fn enter_network(process: u32) -> std::io::Result<()> {
    let network = File::open(format!("/proc/{process}/ns/net"))?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
