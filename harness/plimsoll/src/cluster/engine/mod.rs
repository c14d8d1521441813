//! A cluster of containers of an engine such as Docker, through testcontainers: one for the control plane and one for
//! each node, of an image made from the bundle.

mod clean;
mod connection;
mod container;
mod image;
mod network;
mod outage;
mod owner;
mod reports;

pub use clean::{clean, remove_run};
pub use connection::available;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::{self, BoxFuture, join_all, try_join_all};
use kube::config::Kubeconfig;
use plimsoll_node::config::{API_PORT, ControlAnswer, ControlRequest, PROGRAMS, RUN};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use testcontainers::core::{ExecCommand, IntoContainerPort};
use tokio::sync::mpsc;

use self::container::{Container, Part};
use self::owner::Labels;
use super::inotify;
use super::parts::{self, Addresses, Style};
use super::state::RunFolder;
use super::{CONTROL_PLANE, Change, Cluster, ClusterError, PartReport, Reports};
use crate::bundle::Bundle;
use crate::cluster::Bounds;
use crate::gpu_programs::GpuPrograms;
use crate::plan::Plan;
use crate::programs::Programs;

/// How long a node may take to answer a command.
const CONTROL_WITHIN: Duration = Duration::from_secs(30);

/// A cluster in an engine.
pub struct EngineCluster {
    docker: Docker,
    client: kube::Client,
    kubeconfig: Kubeconfig,
    folder: RunFolder,
    containers: BTreeMap<String, Container>,
    away: outage::Away,
}

/// Starts a control plane and the plan's nodes. They boot while this returns: the reports tell how far they are.
///
/// # Errors
/// When no engine answers, or the engine refuses what a node needs. What was made stays for [`copy_logs_of`] and [`remove_run`].
pub async fn start(
    plan: &Plan,
    bundle: &Bundle,
    programs: &Programs,
    folder: RunFolder,
) -> Result<(EngineCluster, Reports), ClusterError> {
    if plan.has_real_gpus() {
        return Err(ClusterError::Machine(
            "the machine's own GPUs are not handed to containers of an engine\nhelp: run it with --on host"
                .to_owned(),
        ));
    }
    inotify::enough_for(plan)?;
    let docker = connection::connect().await?;
    start_in(&docker, plan, bundle, programs, &folder).await
}

async fn start_in(
    docker: &Docker,
    plan: &Plan,
    bundle: &Bundle,
    programs: &Programs,
    folder: &RunFolder,
) -> Result<(EngineCluster, Reports), ClusterError> {
    let labels = Labels::of(&folder.run);
    let containers = u32::try_from(plan.nodes.len() + 1).unwrap_or(u32::MAX);
    let (image, network) =
        future::try_join(image::ensure(docker, bundle), network::create(docker, &labels, containers)).await?;
    // The engine chooses the addresses; the control plane is found by its name, and a node's certificate holds all
    // addresses that it may be given.
    let addresses = Addresses {
        control_plane: None,
        control_plane_name: container::name(&folder.run, CONTROL_PLANE),
        nodes: BTreeMap::new(),
        possible: network.addresses,
    };
    let style = Style { lifeline: false, machine_root: false };
    let parts = parts::make(plan, &folder.run, &addresses, style)
        .map_err(ClusterError::doing("making certificates"))?;
    let kwok = plan.hollow.as_ref().map(|_| bundle.kwok()).transpose()?;
    let gpus = crate::cluster::gpus::put(plan, folder).await?;
    write_files(plan, &Programs { kwok, ..programs.clone() }, gpus.as_ref(), folder, &parts)?;
    let start = async |name: &str, bounds: Option<Bounds>| {
        let part = Part {
            name,
            bounds,
            labels: &labels,
            image: &image,
            network: &network.name,
            folder: &folder.path.join(name),
        };
        container::start(part).await.map(|container| (name.to_owned(), container))
    };
    let (sender, reports) = mpsc::unbounded_channel::<PartReport>();
    let away = outage::Away::default();
    let follow = |part: &str, container: &Container| {
        tokio::spawn(reports::follow(
            docker.clone(),
            container.id().to_owned(),
            part.to_owned(),
            away.clone(),
            sender.clone(),
        ));
    };
    // The control plane first: a name that is asked for before its container runs is looked for outside, for seconds.
    let (name, control_plane) = start(CONTROL_PLANE, None).await?;
    follow(&name, &control_plane);
    let port = control_plane
        .get_host_port_ipv4(API_PORT.tcp())
        .await
        .map_err(ClusterError::doing("asking for the API server's port"))?;
    let mut containers = BTreeMap::from([(name, control_plane)]);
    for (name, node) in
        try_join_all(plan.nodes.iter().map(|node| start(&node.name, Some(Bounds::of(node))))).await?
    {
        follow(&name, &node);
        containers.insert(name, node);
    }
    let kubeconfig = crate::kubernetes::kubeconfig(port, &parts.authority, &parts.administrator);
    let client =
        crate::kubernetes::client(&kubeconfig).await.map_err(ClusterError::doing("making a client"))?;
    let (docker, folder) = (docker.clone(), folder.clone());
    Ok((EngineCluster { docker, client, kubeconfig, folder, containers, away }, reports))
}

/// Writes each part's files to a folder of its own, which goes into its container whole.
fn write_files(
    plan: &Plan,
    programs: &Programs,
    gpus: Option<&GpuPrograms>,
    folder: &RunFolder,
    parts: &parts::Parts,
) -> Result<(), ClusterError> {
    let copy = |from: &Path, name: &str| {
        let to = folder.path.join(name);
        std::fs::copy(from, &to).map_err(ClusterError::doing(format!(
            "copying {} to {}",
            from.display(),
            to.display()
        )))
    };
    copy(&programs.node, "plimsoll-node")?;
    copy(&programs.hog, "plimsoll-hog")?;
    let archive = programs.images(gpus).map_err(ClusterError::doing("packing the filler's image"))?;
    folder.write("images.tar", &archive)?;
    for (part, files) in &parts.files {
        for file in files {
            folder.write(&format!("{part}/run/{}", file.path), &file.contents)?;
        }
        link(folder, part, "plimsoll-node", "programs")?;
    }
    if let Some(kwok) = &programs.kwok {
        copy(kwok, "kwok")?;
        link(folder, CONTROL_PLANE, "kwok", "programs")?;
    }
    for node in &plan.nodes {
        link(folder, &node.name, "plimsoll-hog", "programs")?;
        link(folder, &node.name, "images.tar", "run")?;
    }
    Ok(())
}

/// Puts a file that several parts have into one of them: a hard link, since all lie on one filesystem.
fn link(folder: &RunFolder, part: &str, file: &str, below: &str) -> Result<(), ClusterError> {
    let target = folder.path.join(part).join(below);
    std::fs::create_dir_all(&target)
        .and_then(|()| std::fs::hard_link(folder.path.join(file), target.join(file)))
        .map_err(ClusterError::doing(format!("putting {file} into {}", target.display())))
}

impl Cluster for EngineCluster {
    fn kind(&self) -> &'static str {
        "engine"
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
            let container = self
                .containers
                .get(node)
                .ok_or_else(|| ClusterError::doing(format!("asking node {node}"))("there is no such node"))?;
            let asking = format!("asking node {node}");
            match tokio::time::timeout(CONTROL_WITHIN, ask(container, &request)).await {
                Ok(Ok(ControlAnswer::Done)) => Ok(()),
                Ok(Ok(ControlAnswer::Refused(why))) => Err(ClusterError::doing(format!("node {node}"))(why)),
                Ok(Err(error)) => Err(connection::failed(&self.docker, asking, error).await),
                Err(_) => {
                    Err(ClusterError::doing(asking)(format!("no answer in {} s", CONTROL_WITHIN.as_secs())))
                }
            }
        })
    }

    fn copy_logs<'a>(&'a self, folder: &'a Path) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            for (part, container) in &self.containers {
                if let Err(error) = copy_logs(&self.docker, container.id(), folder.join(part)).await {
                    let copying = format!("copying the logs of {part}");
                    return Err(connection::failed(&self.docker, copying, error).await);
                }
            }
            Ok(())
        })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), ClusterError>> {
        Box::pin(async move {
            let Self { docker, folder, containers, .. } = *self;
            // What fails here is still there for the removal by label, which tells why.
            join_all(containers.into_values().map(Container::rm)).await;
            let removed = clean::remove(&docker, &folder.run).await.map(drop);
            folder.remove().and(removed)
        })
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The control socket lies inside the node, so the question is asked by a process there.
async fn ask(container: &Container, request: &ControlRequest) -> Result<ControlAnswer, AnyError> {
    let request = serde_json::to_string(request)?;
    let mut asked = container
        .exec(ExecCommand::new([format!("{PROGRAMS}/plimsoll-node"), "control".into(), request]))
        .await?;
    let answer = asked.stdout_to_vec().await?;
    if answer.is_empty() {
        return Err(String::from_utf8_lossy(&asked.stderr_to_vec().await?).trim().into());
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Copies what the containers of a run said that has no cluster.
///
/// # Errors
/// With what could not be copied; the rest is there.
pub async fn copy_logs_of(folder: &RunFolder, target: &Path) -> Result<(), ClusterError> {
    let docker = connection::connect().await?;
    let copying = || format!("copying the logs of run {}", folder.run);
    let containers = match clean::containers_of(&docker, &folder.run).await {
        Ok(containers) => containers,
        Err(error) => return Err(connection::failed(&docker, copying(), error).await),
    };
    let mut failed = None;
    for (part, container) in containers {
        failed = copy_logs(&docker, &container, target.join(part)).await.err().or(failed);
    }
    match failed {
        Some(error) => Err(connection::failed(&docker, copying(), error).await),
        None => Ok(()),
    }
}

/// Copies the components' logs and what the init said on its standard error.
async fn copy_logs(docker: &Docker, container: &str, target: PathBuf) -> Result<(), AnyError> {
    std::fs::create_dir_all(&target)?;
    std::fs::write(target.join("init.log"), reports::standard_error(docker, container).await?)?;
    let options = DownloadFromContainerOptionsBuilder::new().path(&format!("{RUN}/logs")).build();
    let archive = docker
        .download_from_container(container, Some(options))
        .try_fold(Vec::new(), |mut archive, chunk| {
            archive.extend_from_slice(&chunk);
            future::ok(archive)
        })
        .await?;
    for entry in tar::Archive::new(archive.as_slice()).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.file_name().map(|name| target.join(name));
        if let (Some(file), true) = (name, entry.header().entry_type().is_file()) {
            std::io::copy(&mut entry, &mut std::fs::File::create(file)?)?;
        }
    }
    Ok(())
}
