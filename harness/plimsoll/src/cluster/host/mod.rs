//! A cluster from namespaces of this machine, without a container engine: the bundle's own runc makes the
//! containers, its CNI plugins connect them, and nothing is added to the machine's own network.

mod cgroup;
mod clean;
mod container;
mod network;
mod outage;
mod proxy;
mod specification;

pub use clean::{clean, remove_run};

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{BoxFuture, try_join_all};
use kube::config::Kubeconfig;
use plimsoll_node::config::{ControlAnswer, ControlRequest};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use self::container::Container;
use super::inotify;
use super::parts::{self, Addresses, Style};
use super::state::RunFolder;
use super::{Bounds, CONTROL_PLANE, Change, Cluster, ClusterError, PartReport, Reports};
use crate::bundle::Bundle;
use crate::plan::Plan;
use crate::programs::Programs;

/// The control plane's address in the run's own network.
const CONTROL_PLANE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// How long a node may take to answer a command.
const CONTROL_WITHIN: Duration = Duration::from_secs(30);

/// Whether this machine and this user can have such a cluster.
///
/// # Errors
/// With what is missing.
pub fn permitted() -> Result<(), ClusterError> {
    if !rustix::process::geteuid().is_root() {
        return Err(ClusterError::Machine("the host cluster makes namespaces, mounts and cgroups, so it needs root\nhelp: run it with sudo, or start a container engine (`--on engine`)".into()));
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err(ClusterError::Machine(
            "the host cluster needs loop devices, and /dev/loop-control is not there\nhelp: modprobe loop"
                .into(),
        ));
    }
    cgroup::Layout::detect().map(drop)
}

/// A cluster on this machine.
pub struct HostCluster {
    client: kube::Client,
    kubeconfig: Kubeconfig,
    folder: RunFolder,
    bundle: Bundle,
    addresses: BTreeMap<String, Ipv4Addr>,
    /// The control plane's first.
    containers: Vec<Container>,
    _proxy: proxy::Proxy,
}

/// Starts a control plane and the plan's nodes. They boot while this returns: the reports tell how far they are.
///
/// # Errors
/// When the machine can not hold them. What was made stays for [`copy_logs_of`] and [`remove_run`].
pub async fn start(
    plan: &Plan,
    bundle: &Bundle,
    programs: &Programs,
    folder: RunFolder,
) -> Result<(HostCluster, Reports), ClusterError> {
    permitted()?;
    inotify::enough_for(plan)?;
    let folder = &folder;
    let addresses = addresses(plan);
    let style = Style { lifeline: true, machine_root: true };
    let parts = parts::make(plan, &folder.run, &addresses, style)
        .map_err(ClusterError::doing("making certificates"))?;
    for (part, files) in &parts.files {
        for file in files {
            folder.write(&format!("{part}/run/{}", file.path), &file.contents)?;
        }
    }
    // One archive of images for all nodes; a hard link each, since all lie on one filesystem.
    let gpus = crate::cluster::gpus::put(plan, folder).await?;
    let archive =
        programs.images(gpus.as_ref()).map_err(ClusterError::doing("packing the filler's image"))?;
    folder.write("images.tar", &archive)?;
    for node in &plan.nodes {
        let link = folder.path.join(&node.name).join("run/images.tar");
        std::fs::hard_link(folder.path.join("images.tar"), &link)
            .map_err(ClusterError::doing(link.display().to_string()))?;
    }
    let (sender, reports) = mpsc::unbounded_channel::<PartReport>();
    let kwok = plan.hollow.as_ref().map(|_| bundle.kwok()).transpose()?;
    let create = |part: &str, bounds: Option<Bounds>| {
        let kwok = kwok.clone().filter(|_| part == CONTROL_PLANE);
        Container::create(
            folder.clone(),
            part.to_owned(),
            bounds,
            bundle.clone(),
            Programs { kwok, ..programs.clone() },
            sender.clone(),
        )
    };
    let mut creations = vec![create(CONTROL_PLANE, None)];
    creations.extend(plan.nodes.iter().map(|node| create(&node.name, Some(Bounds::of(node)))));
    let containers = try_join_all(creations).await?;
    let control_plane = &containers[0];
    control_plane.start().await?;
    let connections = containers[1..]
        .iter()
        .map(|node| (node.part.clone(), node.process(), addresses.nodes[&node.part]))
        .collect();
    network::connect(folder, bundle, control_plane.process(), CONTROL_PLANE_ADDRESS, connections).await?;
    try_join_all(containers[1..].iter().map(Container::start)).await?;
    let proxy = proxy::Proxy::start(control_plane.process())
        .map_err(ClusterError::doing("reaching the control plane's network"))?;
    let kubeconfig = crate::kubernetes::kubeconfig(proxy.port(), &parts.authority, &parts.administrator);
    let client =
        crate::kubernetes::client(&kubeconfig).await.map_err(ClusterError::doing("making a client"))?;
    let cluster = HostCluster {
        client,
        kubeconfig,
        folder: folder.clone(),
        bundle: bundle.clone(),
        addresses: addresses.nodes,
        containers,
        _proxy: proxy,
    };
    Ok((cluster, reports))
}

fn addresses(plan: &Plan) -> Addresses {
    let [a, b, c, first] = CONTROL_PLANE_ADDRESS.octets();
    let nodes: BTreeMap<String, Ipv4Addr> = plan
        .nodes
        .iter()
        .zip(first + 1..)
        .map(|(node, last)| (node.name.clone(), Ipv4Addr::new(a, b, c, last)))
        .collect();
    Addresses {
        control_plane: Some(CONTROL_PLANE_ADDRESS),
        control_plane_name: CONTROL_PLANE_ADDRESS.to_string(),
        nodes,
        possible: Vec::new(),
    }
}

impl Cluster for HostCluster {
    fn kind(&self) -> &'static str {
        "host"
    }

    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    fn change<'a>(&'a self, node: &'a str, change: Change) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(outage::change(self, node, change))
    }

    fn control<'a>(
        &'a self,
        node: &'a str,
        request: ControlRequest,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(
                CONTROL_WITHIN,
                ask(self.folder.path.join(node).join("run/control.sock"), request),
            );
            match asked.await {
                Ok(Ok(ControlAnswer::Done)) => Ok(()),
                Ok(Ok(ControlAnswer::Refused(why))) => Err(ClusterError::doing(format!("node {node}"))(why)),
                Ok(Err(error)) => Err(ClusterError::doing(format!("asking node {node}"))(error)),
                Err(_) => Err(ClusterError::doing(format!("asking node {node}"))(format!(
                    "no answer in {} s",
                    CONTROL_WITHIN.as_secs()
                ))),
            }
        })
    }

    fn copy_logs<'a>(&'a self, folder: &'a Path) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move { copy_logs_of(&self.folder, folder) })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), ClusterError>> {
        Box::pin(async move {
            let Self { folder, containers, .. } = *self;
            for container in &containers {
                container.kill();
            }
            drop(containers);
            remove_run(&folder).await
        })
    }
}

/// Copies what lies in a run's folder of what its parts and those who made them said.
///
/// # Errors
/// With what could not be copied; the rest is there.
pub fn copy_logs_of(folder: &RunFolder, target: &Path) -> Result<(), ClusterError> {
    let mut failed = None;
    for entry in std::fs::read_dir(&folder.path).into_iter().flatten().flatten() {
        let part = entry.path();
        let target = target.join(entry.file_name());
        let logs = [part.join("run/logs"), part.join("runc.log")];
        for from in logs.iter().filter(|from| from.exists()) {
            let copied = copy_files(from, &target);
            failed =
                failed.or(copied.map_err(ClusterError::doing(format!("copying {}", from.display()))).err());
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Copies a file, or the files of a folder, into a folder.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    if from.is_file() {
        return std::fs::copy(from, to.join(from.file_name().unwrap_or_default())).map(drop);
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

async fn ask(socket: PathBuf, request: ControlRequest) -> std::io::Result<ControlAnswer> {
    let mut stream = tokio::net::UnixStream::connect(socket).await?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}
