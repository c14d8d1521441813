//! The gRPC service of a device plugin.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::allocation::Allocation;
use super::inventory::Inventory;
use crate::api::device_plugin::device_plugin_server::DevicePlugin;
use crate::api::device_plugin::{
    AllocateRequest, AllocateResponse, ContainerPreferredAllocationResponse, DevicePluginOptions, Empty,
    ListAndWatchResponse, PreStartContainerRequest, PreStartContainerResponse, PreferredAllocationRequest,
    PreferredAllocationResponse,
};

/// The service, as the kubelet calls it.
#[derive(Clone, Debug)]
pub struct Plugin {
    inventory: watch::Receiver<Arc<Inventory>>,
    allocation: watch::Receiver<Arc<Allocation>>,
    end: CancellationToken,
}

impl Plugin {
    /// A service that advertises whatever the inventory holds, until `end`.
    #[must_use]
    pub fn new(
        inventory: watch::Receiver<Arc<Inventory>>,
        allocation: watch::Receiver<Arc<Allocation>>,
        end: CancellationToken,
    ) -> Self {
        Self { inventory, allocation, end }
    }

    /// What of the API it serves.
    #[must_use]
    pub const fn options() -> DevicePluginOptions {
        DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true }
    }

    fn current(&self) -> Arc<Inventory> {
        self.inventory.borrow().clone()
    }
}

#[tonic::async_trait]
impl DevicePlugin for Plugin {
    type ListAndWatchStream = BoxStream<'static, Result<ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(Self::options()))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        // The first item is what there is now.
        let messages = WatchStream::new(self.inventory.clone()).map(|inventory| Ok(inventory.message()));
        let stream = messages.take_until(self.end.clone().cancelled_owned());
        Ok(Response::new(stream.boxed()))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let inventory = self.current();
        let choose = |request: crate::api::device_plugin::ContainerPreferredAllocationRequest| {
            let size = usize::try_from(request.allocation_size).unwrap_or(0);
            let device_i_ds =
                inventory.preferred(&request.available_device_i_ds, &request.must_include_device_i_ds, size);
            ContainerPreferredAllocationResponse { device_i_ds }
        };
        let container_responses = request.into_inner().container_requests.into_iter().map(choose).collect();
        Ok(Response::new(PreferredAllocationResponse { container_responses }))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let (inventory, allocation) = (self.current(), self.allocation.borrow().clone());
        let mut container_responses = Vec::new();
        for container in request.into_inner().container_requests {
            let response = allocation.response(&inventory, &container.devices_ids).map_err(|error| {
                warn!("allocation refused: {error}");
                Status::invalid_argument(error.to_string())
            })?;
            let names: Vec<&str> = response.cdi_devices.iter().map(|device| device.name.as_str()).collect();
            info!(
                "allocated {} of {}: {}",
                container.devices_ids.len(),
                inventory.resource().name,
                names.join(", ")
            );
            container_responses.push(response);
        }
        Ok(Response::new(AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}
