//! Removing what a run left in the engine.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};

use super::connection;
use super::owner::{OWNER_LABEL, RUN_LABEL, has_ended};
use crate::cluster::ClusterError;
use crate::cluster::state::RunFolder;

/// How long containers may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// Time from one look to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Removes what is left of every run whose process has ended, and says which runs. Where no engine answers, nothing
/// can be left in one, and nothing is removed.
///
/// # Errors
/// When something does not go away; the others are removed all the same.
pub async fn clean() -> Result<Vec<String>, ClusterError> {
    let Ok(docker) = connection::connect().await else { return Ok(Vec::new()) };
    let (mut removed, mut failed) = (Vec::new(), None);
    let abandoned =
        abandoned(&docker).await.map_err(ClusterError::doing("looking for what runs left in the engine"))?;
    for run in abandoned {
        match remove(&docker, &run).await {
            Ok(()) => removed.push(run),
            Err(error) => failed = Some(error),
        }
    }
    for folder in RunFolder::abandoned().into_iter().filter(|folder| removed.contains(&folder.run)) {
        failed = folder.remove().err().or(failed);
    }
    failed.map_or(Ok(removed), Err)
}

/// The runs that have a container or a network here and whose owner has ended.
async fn abandoned(docker: &Docker) -> Result<BTreeSet<String>, Error> {
    let filter = HashMap::from([("label", vec![RUN_LABEL])]);
    let containers = docker
        .list_containers(Some(ListContainersOptionsBuilder::new().all(true).filters(&filter).build()))
        .await?;
    let networks =
        docker.list_networks(Some(ListNetworksOptionsBuilder::new().filters(&filter).build())).await?;
    let labels = containers
        .into_iter()
        .filter_map(|container| container.labels)
        .chain(networks.into_iter().filter_map(|network| network.labels));
    Ok(labels
        .filter(|labels| labels.get(OWNER_LABEL).is_some_and(|owner| has_ended(owner)))
        .filter_map(|mut labels| labels.remove(RUN_LABEL))
        .collect())
}

/// Removes what is there of a run: containers, volumes, network, folder.
///
/// # Errors
/// When no engine answers, or something does not go away.
pub async fn remove_run(folder: &RunFolder) -> Result<(), ClusterError> {
    let docker = connection::connect().await?;
    let removed = remove(&docker, &folder.run).await;
    folder.remove().and(removed)
}

/// Removes a run's containers, with their volumes, and then its network.
pub(super) async fn remove(docker: &Docker, run: &str) -> Result<(), ClusterError> {
    let doing = format!("removing run {run} from the engine");
    let label = format!("{RUN_LABEL}={run}");
    let filter = HashMap::from([("label", vec![label.as_str()])]);
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let containers = docker
            .list_containers(Some(ListContainersOptionsBuilder::new().all(true).filters(&filter).build()))
            .await
            .map_err(ClusterError::doing(&*doing))?;
        if containers.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(ClusterError::doing(&*doing)(format!(
                "{} containers do not go away in {} s",
                containers.len(),
                GONE_WITHIN.as_secs()
            )));
        }
        let removals = containers
            .iter()
            .filter_map(|container| container.id.as_deref())
            .map(|id| remove_container(docker, id));
        let settled = try_join_all(removals).await.map_err(ClusterError::doing(&*doing))?;
        if settled.contains(&false) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    let networks = docker
        .list_networks(Some(ListNetworksOptionsBuilder::new().filters(&filter).build()))
        .await
        .map_err(ClusterError::doing(&*doing))?;
    for id in networks.iter().filter_map(|network| network.id.as_deref()) {
        match docker.remove_network(id).await {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(ClusterError::doing(doing)(error)),
        }
    }
    Ok(())
}

/// Ends a container and removes it. False when somebody else is at it.
async fn remove_container(docker: &Docker, id: &str) -> Result<bool, Error> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match docker.remove_container(id, Some(options)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
