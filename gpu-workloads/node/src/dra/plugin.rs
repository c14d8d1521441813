//! The gRPC services of the driver, as the kubelet calls them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::claims::Claims;
use super::pool::Pool;
use crate::api::dra::dra_plugin_server::DraPlugin;
use crate::api::dra::{
    Claim, Device, NodePrepareResourceResponse, NodePrepareResourcesRequest, NodePrepareResourcesResponse,
    NodeUnprepareResourceResponse, NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse, SERVICE,
};
use crate::api::plugin_registration::registration_server::Registration;
use crate::api::plugin_registration::{
    DRA_PLUGIN, InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};

/// The services. They keep nothing: what a claim was given stands in the claim, and what a container needs for a device in the
/// specification of the Container Device Interface.
#[derive(Clone, Debug)]
pub struct Plugin {
    driver: String,
    node: String,
    /// The socket, as the kubelet finds it.
    endpoint: String,
    claims: Claims,
    pool: watch::Receiver<Arc<Pool>>,
    /// The qualified name of each device in the Container Device Interface, by its uuid.
    cdi_names: watch::Receiver<Arc<BTreeMap<String, String>>>,
    /// Whether the kubelet has registered the driver.
    registered: watch::Sender<bool>,
}

impl Plugin {
    /// Services of a driver for a node, at a socket.
    #[must_use]
    pub fn new(
        (driver, node): (&str, &str),
        claims: Claims,
        pool: watch::Receiver<Arc<Pool>>,
        cdi_names: watch::Receiver<Arc<BTreeMap<String, String>>>,
    ) -> Self {
        Self {
            driver: driver.to_owned(),
            node: node.to_owned(),
            endpoint: String::new(),
            registered: watch::Sender::new(false),
            claims,
            pool,
            cdi_names,
        }
    }

    /// The same at a socket, by its path.
    #[must_use]
    pub fn at(self, endpoint: String) -> Self {
        Self { endpoint, ..self }
    }

    /// The driver's name.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Whether the kubelet has registered the driver since this began.
    #[must_use]
    pub fn registered(&self) -> watch::Receiver<bool> {
        self.registered.subscribe()
    }

    async fn prepare(&self, claim: &Claim) -> Result<Vec<Device>, String> {
        let Claim { namespace, name, uid } = claim;
        let results = self.claims.allocated(namespace, name, uid).await.map_err(|error| error.to_string())?;
        let (pool, names) = (self.pool.borrow().clone(), self.cdi_names.borrow().clone());
        let mut devices = Vec::new();
        for result in results.into_iter().filter(|result| result.driver == self.driver) {
            let known = (result.pool == self.node).then(|| pool.uuid(&result.device)).flatten();
            let cdi_name = known.and_then(|uuid| names.get(uuid));
            let cdi_name = cdi_name.ok_or_else(|| {
                format!(
                    "claim {namespace}/{name} was given {} of the pool {}, which is no device of {}",
                    result.device, result.pool, self.node
                )
            })?;
            devices.push(Device {
                // A request of alternatives is named with the one that was taken, as the kubelet knows it.
                request_names: vec![result.request],
                pool_name: result.pool,
                device_name: result.device,
                cdi_device_ids: vec![cdi_name.clone()],
                share_id: result.share_id,
            });
        }
        Ok(devices)
    }
}

#[tonic::async_trait]
impl Registration for Plugin {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: DRA_PLUGIN.to_owned(),
            name: self.driver.clone(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec![SERVICE.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            info!("{} is registered with the kubelet", self.driver);
            self.registered.send_replace(true);
        } else {
            warn!("the kubelet does not take {}: {}", self.driver, status.error);
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[tonic::async_trait]
impl DraPlugin for Plugin {
    async fn node_prepare_resources(
        &self,
        request: Request<NodePrepareResourcesRequest>,
    ) -> Result<Response<NodePrepareResourcesResponse>, Status> {
        let mut claims = HashMap::new();
        for claim in request.into_inner().claims {
            let answer = match self.prepare(&claim).await {
                Ok(devices) => {
                    let names: Vec<&str> = devices.iter().map(|device| device.device_name.as_str()).collect();
                    info!("prepared {}/{}: {}", claim.namespace, claim.name, names.join(", "));
                    NodePrepareResourceResponse { devices, error: String::new() }
                }
                Err(error) => {
                    warn!("not prepared: {error}");
                    NodePrepareResourceResponse { devices: Vec::new(), error }
                }
            };
            claims.insert(claim.uid, answer);
        }
        Ok(Response::new(NodePrepareResourcesResponse { claims }))
    }

    async fn node_unprepare_resources(
        &self,
        request: Request<NodeUnprepareResourcesRequest>,
    ) -> Result<Response<NodeUnprepareResourcesResponse>, Status> {
        let answer = |claim: Claim| {
            info!("no longer used: {}/{}", claim.namespace, claim.name);
            (claim.uid, NodeUnprepareResourceResponse { error: String::new() })
        };
        let claims = request.into_inner().claims.into_iter().map(answer).collect();
        Ok(Response::new(NodeUnprepareResourcesResponse { claims }))
    }
}
