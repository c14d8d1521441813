//! What happens to a node from outside: its network, its power.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{
    EndpointIpamConfig, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};
use testcontainers::bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptions, StartContainerOptions,
};

use super::{EngineCluster, connection, network};
use crate::cluster::{Change, ClusterError};

/// The nodes that are away on purpose. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Away {
    /// Without power.
    dead: Arc<Mutex<BTreeSet<String>>>,
    /// Cut off from the network, with the address that each had.
    cut: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Away {
    /// Whether a node's container has ended on purpose.
    pub(super) fn is_dead(&self, node: &str) -> bool {
        lock(&self.dead).contains(node)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn change(cluster: &EngineCluster, node: &str, change: Change) -> Result<(), ClusterError> {
    let container = cluster
        .containers
        .get(node)
        .ok_or_else(|| ClusterError::doing(format!("node {node}"))("there is no such node"))?
        .id();
    let doing = match change {
        Change::Cut => "cutting it off the network",
        Change::Mend => "giving it its network back",
        Change::Kill => "killing it",
        Change::Start => "starting it again",
    };
    let changed = match change {
        Change::Cut => cut(cluster, node, container).await,
        Change::Mend => mend(cluster, node, container).await,
        Change::Kill => {
            // Before it ends, so that whoever reads its reports knows why they end.
            lock(&cluster.away.dead).insert(node.to_owned());
            cluster.docker.kill_container(container, None::<KillContainerOptions>).await
        }
        Change::Start => {
            let started = cluster.docker.start_container(container, None::<StartContainerOptions>).await;
            lock(&cluster.away.dead).remove(node);
            started
        }
    };
    match changed {
        Ok(()) => Ok(()),
        Err(error) => Err(connection::failed(&cluster.docker, format!("node {node}: {doing}"), error).await),
    }
}

/// The engine takes the interface away, so the address goes with it; it is kept for when the node comes back.
async fn cut(cluster: &EngineCluster, node: &str, container: &str) -> Result<(), Error> {
    let network = network::name(&cluster.folder.run);
    let information = cluster.docker.inspect_container(container, None::<InspectContainerOptions>).await?;
    let endpoints = information.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let address = endpoints.get(&network).and_then(|endpoint| endpoint.ip_address.clone());
    lock(&cluster.away.cut).extend(address.map(|address| (node.to_owned(), address)));
    let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
    cluster.docker.disconnect_network(&network, request).await
}

async fn mend(cluster: &EngineCluster, node: &str, container: &str) -> Result<(), Error> {
    let address = lock(&cluster.away.cut).remove(node);
    let ipam = EndpointIpamConfig { ipv4_address: address, ..EndpointIpamConfig::default() };
    let endpoint = EndpointSettings { ipam_config: Some(ipam), ..EndpointSettings::default() };
    let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
    cluster.docker.connect_network(&network::name(&cluster.folder.run), request).await
}
