//! A kubelet, as far as device plugins see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plimsoll_gpu_node::api::connect;
use plimsoll_gpu_node::api::device_plugin::device_plugin_client::DevicePluginClient;
use plimsoll_gpu_node::api::device_plugin::registration_server::{Registration, RegistrationServer};
use plimsoll_gpu_node::api::device_plugin::{
    AllocateRequest, ContainerAllocateRequest, ContainerAllocateResponse,
    ContainerPreferredAllocationRequest, Empty, ListAndWatchResponse, PreferredAllocationRequest,
    RegisterRequest,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

/// The registration service at `kubelet.sock`.
pub struct FakeKubelet {
    folder: PathBuf,
    registrations: mpsc::UnboundedReceiver<RegisterRequest>,
    refused: Arc<AtomicU32>,
    server: JoinHandle<()>,
}

struct Service {
    registrations: mpsc::UnboundedSender<RegisterRequest>,
    refuse: u32,
    refused: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl Registration for Service {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        if self.refused.load(Ordering::SeqCst) < self.refuse {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Status::unavailable("not now"));
        }
        self.registrations.send(request.into_inner()).expect("the test listens");
        Ok(Response::new(Empty {}))
    }
}

impl FakeKubelet {
    /// One that takes whatever registers.
    pub fn start(folder: &Path) -> Self {
        Self::refusing(folder, 0)
    }

    /// One that refuses so many registrations first.
    pub fn refusing(folder: &Path, refuse: u32) -> Self {
        let listener = UnixListener::bind(folder.join("kubelet.sock")).expect("the kubelet's socket");
        let (sender, registrations) = mpsc::unbounded_channel();
        let refused = Arc::new(AtomicU32::new(0));
        let service = Service { registrations: sender, refuse, refused: refused.clone() };
        let server = tokio::spawn(async move {
            Server::builder()
                .add_service(RegistrationServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener))
                .await
                .expect("a server");
        });
        Self { folder: folder.to_owned(), registrations, refused, server }
    }

    /// The next registration.
    pub async fn registration(&mut self, within: Duration) -> RegisterRequest {
        timeout(within, self.registrations.recv())
            .await
            .expect("a registration in time")
            .expect("a registration")
    }

    /// How many registrations it refused.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::SeqCst)
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
    }

    /// A connection to a plugin that registered.
    pub async fn plugin(&self, endpoint: &str) -> PluginClient {
        let channel = connect(&self.folder.join(endpoint)).await.expect("the plugin listens");
        PluginClient { client: DevicePluginClient::new(channel), endpoint: self.folder.join(endpoint) }
    }
}

/// A plugin, as the kubelet calls it.
pub struct PluginClient {
    client: DevicePluginClient<Channel>,
    endpoint: PathBuf,
}

impl PluginClient {
    /// Listens to what it advertises. A connection of its own, because calls on the other one are bounded in time.
    pub async fn watch(&mut self) -> Watch {
        let endpoint = self.endpoint.clone();
        let channel =
            tonic::transport::Endpoint::from_static("http://localhost")
                .connect_with_connector(tower::service_fn(move |_| {
                    let endpoint = endpoint.clone();
                    async move {
                        tokio::net::UnixStream::connect(endpoint).await.map(hyper_util::rt::TokioIo::new)
                    }
                }))
                .await
                .expect("the plugin listens");
        let stream = DevicePluginClient::new(channel).list_and_watch(Empty {}).await.expect("a stream");
        Watch(stream.into_inner())
    }

    /// Its choice among free devices.
    pub async fn preferred(&mut self, available: &[String], size: i32) -> Vec<String> {
        let request = ContainerPreferredAllocationRequest {
            available_device_i_ds: available.to_vec(),
            must_include_device_i_ds: Vec::new(),
            allocation_size: size,
        };
        let request = PreferredAllocationRequest { container_requests: vec![request] };
        let response = self.client.get_preferred_allocation(request).await.expect("a choice").into_inner();
        response.container_responses.into_iter().next().expect("one container").device_i_ds
    }

    /// What a container needs that has these devices.
    pub async fn allocate(&mut self, ids: &[String]) -> Result<ContainerAllocateResponse, Status> {
        let request = ContainerAllocateRequest { devices_ids: ids.to_vec() };
        let response = self.client.allocate(AllocateRequest { container_requests: vec![request] }).await?;
        Ok(response.into_inner().container_responses.into_iter().next().expect("one container"))
    }
}

/// What a plugin advertises, message by message.
pub struct Watch(Streaming<ListAndWatchResponse>);

impl Watch {
    /// The next message: identifiers and health.
    pub async fn next(&mut self, within: Duration) -> Vec<(String, String)> {
        let message = timeout(within, self.0.message()).await.expect("a message in time").expect("a message");
        let devices = message.expect("the stream goes on").devices;
        devices.into_iter().map(|device| (device.id, device.health)).collect()
    }
}
