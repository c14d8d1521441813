//! Removing what a run left in the engine.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::ContainerSummary;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
};

use super::connection;
use super::owner::{OWNER_LABEL, PART_LABEL, RUN_LABEL, has_ended};
use crate::cluster::ClusterError;
use crate::cluster::state::RunFolder;

/// How long containers may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// How long a network that was asked for may take to be there: whoever asked may have ended meanwhile.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);
/// Up to what age a run's folder may belong to a run whose network is still on its way.
const STARTED_LATELY: Duration = Duration::from_secs(10);
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
    let abandoned = match abandoned(&docker).await {
        Ok(abandoned) => abandoned,
        Err(error) => {
            return Err(connection::failed(&docker, "looking for what runs left in the engine", error).await);
        }
    };
    // One that was killed as it started may get its network only now. It may as well be a run of this machine, of which nothing comes.
    let lately = RunFolder::abandoned().into_iter().filter(|folder| folder.is_younger_than(STARTED_LATELY));
    let lately: Vec<String> =
        lately.map(|folder| folder.run).filter(|run| !abandoned.contains(run)).collect();
    for run in abandoned.into_iter().chain(lately) {
        match remove(&docker, &run).await {
            Ok(Found::Something) => removed.push(run),
            Ok(Found::Nothing) => {}
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

/// The containers of a run that are there: part and identifier.
pub(super) async fn containers_of(docker: &Docker, run: &str) -> Result<Vec<(String, String)>, Error> {
    let label = format!("{RUN_LABEL}={run}");
    let filter = HashMap::from([("label", vec![label.as_str()])]);
    let listed = docker
        .list_containers(Some(ListContainersOptionsBuilder::new().all(true).filters(&filter).build()))
        .await?;
    let of = |container: ContainerSummary| {
        let part = container.labels.and_then(|mut labels| labels.remove(PART_LABEL));
        Some((part.unwrap_or_else(|| "unnamed".to_owned()), container.id?))
    };
    Ok(listed.into_iter().filter_map(of).collect())
}

/// Removes what is there of a run: containers, volumes, network, folder.
///
/// # Errors
/// When no engine answers, or something does not go away.
pub async fn remove_run(folder: &RunFolder) -> Result<(), ClusterError> {
    let removed = match connection::connect().await {
        Ok(docker) => remove(&docker, &folder.run).await.map(drop),
        Err(error) => Err(error),
    };
    folder.remove().and(removed)
}

/// Whether there was anything of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Something,
    Nothing,
}

/// Removes a run's containers, with their volumes, and its network.
pub(super) async fn remove(docker: &Docker, run: &str) -> Result<Found, ClusterError> {
    match tokio::time::timeout(GONE_WITHIN, remove_until_nothing_is_left(docker, run)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            Err(connection::failed(docker, format!("removing run {run} from the engine"), error).await)
        }
        Err(_) => Err(ClusterError::doing(format!("removing run {run} from the engine"))(format!(
            "its containers or its network are still there after {} s",
            GONE_WITHIN.as_secs()
        ))),
    }
}

/// Looks again after each removal: of a start that was broken off, a container can still be on its way, and so can be the network, which
/// every run has and asks for first.
async fn remove_until_nothing_is_left(docker: &Docker, run: &str) -> Result<Found, Error> {
    let label = format!("{RUN_LABEL}={run}");
    let filter = HashMap::from([("label", vec![label.as_str()])]);
    let networks = ListNetworksOptionsBuilder::new().filters(&filter).build();
    let began = Instant::now();
    let (mut any, mut network) = (Found::Nothing, Found::Nothing);
    loop {
        let found = containers_of(docker, run).await?;
        let removals = found.iter().map(|(_, id)| remove_container(docker, id));
        let mut settled = try_join_all(removals).await?;
        let found = docker.list_networks(Some(networks.clone())).await?;
        for id in found.iter().filter_map(|network| network.id.as_deref()) {
            network = Found::Something;
            settled.push(is_settled(docker.remove_network(id).await)?);
        }
        if !settled.is_empty() {
            any = Found::Something;
        } else if network == Found::Something || began.elapsed() > ARRIVES_WITHIN {
            return Ok(any);
        }
        if settled.is_empty() || settled.contains(&false) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Ends a container and removes it. False when that is not possible yet.
async fn remove_container(docker: &Docker, id: &str) -> Result<bool, Error> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    is_settled(docker.remove_container(id, Some(options)).await)
}

/// What is gone already is settled; what somebody else is at (409) or something else still hangs on (403) is not yet.
fn is_settled(removed: Result<(), Error>) -> Result<bool, Error> {
    match removed {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 403 | 409, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
