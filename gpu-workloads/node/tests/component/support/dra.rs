//! What a driver of Dynamic Resource Allocation sees: an API server with its slice and with claims, and a kubelet that looks for plugins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use plimsoll_gpu_node::api::connect;
use plimsoll_gpu_node::api::dra::dra_plugin_client::DraPluginClient;
use plimsoll_gpu_node::api::dra::{
    Claim, NodePrepareResourceResponse, NodePrepareResourcesRequest, NodeUnprepareResourcesRequest,
};
use plimsoll_gpu_node::api::plugin_registration::registration_client::RegistrationClient;
use plimsoll_gpu_node::api::plugin_registration::{InfoRequest, PluginInfo, RegistrationStatus};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::{Channel, Endpoint};

use super::api_server::{self, document, status};

#[derive(Default)]
struct Shared {
    slice: Option<Value>,
    version: u64,
    claims: BTreeMap<String, Value>,
    drops_taints: bool,
    writes: usize,
}

/// An API server that keeps one slice.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Mutex<Shared>>,
    address: SocketAddr,
    /// What happened to the slice last, as a watch tells it.
    events: watch::Sender<Option<Value>>,
}

impl ApiServer {
    /// One that answers. Without the feature for them it drops taints of devices, as Kubernetes does.
    pub async fn start(drops_taints: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Mutex::new(Shared { drops_taints, ..Shared::default() }));
        let server = Self { shared, address, events: watch::Sender::new(None) };
        let router = Router::new().fallback(handle).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
        server
    }

    /// Writes a kubeconfig for it into a folder.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        api_server::kubeconfig(self.address, folder)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("unpoisoned")
    }

    /// The slice as it is now.
    pub fn slice(&self) -> Option<Value> {
        self.shared().slice.clone()
    }

    /// The taints of each device of the slice, in words.
    pub fn taints(&self) -> BTreeMap<String, Vec<String>> {
        let slice = self.slice().unwrap_or_default();
        let devices = slice["spec"]["devices"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let said = |device: &Value| {
            let taints = device["taints"].as_array().cloned().unwrap_or_default();
            let taint = |taint: &Value| {
                format!("{}={}:{}", text(&taint["key"]), text(&taint["value"]), text(&taint["effect"]))
            };
            (text(&device["name"]), taints.iter().map(taint).collect())
        };
        devices.iter().map(said).collect()
    }

    /// How often the slice was written.
    pub fn writes(&self) -> usize {
        self.shared().writes
    }

    /// Deletes the slice, as a kubelet does that starts.
    pub fn delete_slice(&self) {
        let slice = self.shared().slice.take().expect("there is a slice");
        self.events.send_replace(Some(json!({"type": "DELETED", "object": slice})));
    }

    /// Adds a claim of the namespace `shop`, with its name as UID, that was given devices: driver, pool, device.
    pub fn add_claim(&self, name: &str, devices: &[(&str, &str, &str)]) {
        let result = |(driver, pool, device): &(&str, &str, &str)| json!({"request": "gpu", "driver": driver, "pool": pool, "device": device});
        let results: Vec<Value> = devices.iter().map(result).collect();
        let mut claim = json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {"name": name, "namespace": "shop", "uid": name}, "spec": {},
        });
        if !results.is_empty() {
            claim["status"] = json!({"allocation": {"devices": {"results": results}}});
        }
        self.shared().claims.insert(name.to_owned(), claim);
    }
}

fn absent(what: &str) -> Response {
    status(404, "NotFound", &format!("{what} is not here"), 0)
}

async fn handle(State(server): State<ApiServer>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().trim_start_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let query = uri.query().unwrap_or_default();
    match (method.as_str(), &parts[..]) {
        ("GET", ["api", "v1", "nodes", "worker"]) => document(
            StatusCode::OK,
            &json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "worker", "uid": "node-uid"}}),
        ),
        ("GET", ["apis", "resource.k8s.io", "v1", "resourceslices"]) => {
            assert!(query.contains("fieldSelector=metadata.name%3Dworker-gpu.plimsoll.dev"), "{query}");
            if query.contains("watch=true") {
                // Not what was before the list.
                let events =
                    WatchStream::from_changes(server.events.subscribe()).filter_map(|event| async move {
                        Some(Ok::<_, std::convert::Infallible>(format!("{}\n", event?)))
                    });
                return Response::new(Body::from_stream(events));
            }
            let shared = server.shared();
            let items: Vec<&Value> = shared.slice.iter().collect();
            let version = json!({"resourceVersion": shared.version.to_string()});
            let list = json!({"kind": "ResourceSliceList", "apiVersion": "resource.k8s.io/v1", "metadata": version, "items": items});
            document(StatusCode::OK, &list)
        }
        ("PATCH", ["apis", "resource.k8s.io", "v1", "resourceslices", "worker-gpu.plimsoll.dev"]) => {
            assert!(query.contains("fieldManager=plimsoll-gpu-dra-driver"), "{query}");
            let mut slice: Value = serde_json::from_slice(&body).expect("JSON");
            let mut shared = server.shared();
            if shared.drops_taints {
                for device in slice["spec"]["devices"].as_array_mut().expect("devices") {
                    device.as_object_mut().expect("a device").remove("taints");
                }
            }
            shared.writes += 1;
            shared.version += 1;
            slice["metadata"]["resourceVersion"] = json!(shared.version.to_string());
            let kind = if shared.slice.is_some() { "MODIFIED" } else { "ADDED" };
            shared.slice = Some(slice.clone());
            drop(shared);
            server.events.send_replace(Some(json!({"type": kind, "object": slice})));
            document(StatusCode::OK, &slice)
        }
        ("GET", ["apis", "resource.k8s.io", "v1", "namespaces", "shop", "resourceclaims", name]) => {
            match server.shared().claims.get(*name) {
                Some(claim) => document(StatusCode::OK, claim),
                None => absent(name),
            }
        }
        _ => absent(&path),
    }
}

/// A kubelet that looks for plugins in a folder.
pub struct Kubelet {
    folder: PathBuf,
    client: DraPluginClient<Channel>,
}

impl Kubelet {
    /// Finds the only plugin of a folder, once it listens, and asks what it is. It names the host as the real one does: by the escaped path
    /// of the socket.
    pub async fn find(folder: &Path, within: Duration) -> (PathBuf, PluginInfo) {
        let look = async {
            loop {
                let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
                let socket = entries
                    .map(|entry| entry.path())
                    .find(|path| path.extension().is_some_and(|e| e == "sock"));
                if let Some(socket) = socket
                    && let Ok(mut client) = Self::registration(&socket).await
                {
                    let info = client.get_info(InfoRequest {}).await.expect("what it is").into_inner();
                    return (socket, info);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(within, look).await.expect("a plugin in time")
    }

    async fn registration(socket: &Path) -> Result<RegistrationClient<Channel>, tonic::transport::Error> {
        let host = socket.to_string_lossy().replace('/', "%2F");
        let path = socket.to_owned();
        let channel = Endpoint::from_shared(format!("http://{host}"))?
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
            .await?;
        Ok(RegistrationClient::new(channel))
    }

    /// Registers the plugin, or refuses it, and says so to it.
    pub async fn register(folder: &Path, within: Duration, error: &str) -> Self {
        let (socket, info) = Self::find(folder, within).await;
        let status = RegistrationStatus { plugin_registered: error.is_empty(), error: error.to_owned() };
        let mut registration = Self::registration(&socket).await.expect("it listens");
        registration.notify_registration_status(status).await.expect("it hears that");
        let channel = connect(Path::new(&info.endpoint)).await.expect("it listens");
        Self { folder: folder.to_owned(), client: DraPluginClient::new(channel) }
    }

    /// The folder that it looks in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Has a claim prepared.
    pub async fn prepare(&mut self, name: &str, uid: &str) -> NodePrepareResourceResponse {
        let claim = Claim { namespace: "shop".to_owned(), name: name.to_owned(), uid: uid.to_owned() };
        let request = NodePrepareResourcesRequest { claims: vec![claim] };
        let mut answer = self.client.node_prepare_resources(request).await.expect("an answer").into_inner();
        answer.claims.remove(uid).expect("one for the claim")
    }

    /// Says that a claim is used no longer.
    pub async fn unprepare(&mut self, name: &str) -> String {
        let claim = Claim { namespace: "shop".to_owned(), name: name.to_owned(), uid: name.to_owned() };
        let request = NodeUnprepareResourcesRequest { claims: vec![claim] };
        let mut answer = self.client.node_unprepare_resources(request).await.expect("an answer").into_inner();
        answer.claims.remove(name).expect("one for the claim").error
    }
}
