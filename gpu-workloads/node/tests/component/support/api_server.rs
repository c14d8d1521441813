//! An API server, as far as the evictor sees it: the node's pods, evictions, conditions and events.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A request that changes something, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The body.
    pub body: Value,
}

/// What it answers to an eviction: a status, and seconds to wait for a refusal.
pub type Answer = (u16, u32);

#[derive(Default)]
struct Shared {
    pods: BTreeMap<String, Value>,
    answers: VecDeque<Answer>,
    default_answer: Option<Answer>,
    requests: Vec<Request>,
    events: BTreeMap<String, Value>,
    lists: usize,
}

/// The server.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Mutex<Shared>>,
    address: SocketAddr,
    /// Until it answers. Whoever connects meanwhile is kept waiting, as by an API server that hangs.
    listener: Arc<Mutex<Option<TcpListener>>>,
}

impl ApiServer {
    /// One that does not answer yet.
    pub async fn away() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self { shared: Arc::default(), address, listener: Arc::new(Mutex::new(Some(listener))) }
    }

    /// One that answers.
    pub async fn start() -> Self {
        let server = Self::away().await;
        server.answers();
        server
    }

    /// Answers from now on.
    pub fn answers(&self) {
        let listener = self.listener.lock().expect("unpoisoned").take().expect("it does not answer yet");
        let router = Router::new().fallback(handle).with_state(self.shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("a server") });
    }

    /// Writes a kubeconfig for it into a folder.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        kubeconfig(self.address, folder)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("unpoisoned")
    }

    /// Adds a pod of one container `main` that requests so many GiB, with the uid of its name padded with zeros.
    pub fn add_pod(&self, name: &str, uid: &str, priority: i32, request: u64) {
        let pod = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": uid},
            "spec": {
                "nodeName": "worker", "priority": priority, "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "main", "resources": {
                    "requests": {"nvidia.com/gpu-memory": request.to_string()},
                    "limits": {"nvidia.com/gpu-memory": request.to_string()},
                }}],
            },
            "status": {"phase": "Running", "containerStatuses": [{"name": "main", "image": "i", "imageID": "i",
                "ready": true, "restartCount": 0, "containerID": format!("containerd://{}", container_id(uid))}]},
        });
        self.shared().pods.insert(name.to_owned(), pod);
    }

    /// Takes a pod away, as when it has ended.
    pub fn remove_pod(&self, name: &str) {
        self.shared().pods.remove(name);
    }

    /// A pod as it is now.
    pub fn pod(&self, name: &str) -> Value {
        self.shared().pods.get(name).cloned().unwrap_or_default()
    }

    /// Answers the next evictions so, and those after that with 201.
    pub fn answer(&self, answers: &[Answer]) {
        self.shared().answers = answers.iter().copied().collect();
    }

    /// Answers every eviction so.
    pub fn always_answer(&self, answer: Answer) {
        self.shared().default_answer = Some(answer);
    }

    /// What was asked so far that changes something.
    pub fn requests(&self) -> Vec<Request> {
        self.shared().requests.clone()
    }

    /// The evictions asked for so far.
    pub fn evictions(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path.ends_with("/eviction")).collect()
    }

    /// The events made so far.
    pub fn events(&self) -> Vec<Value> {
        self.shared().events.values().cloned().collect()
    }

    /// Forgets the events, as if whoever was to make them had not got to it.
    pub fn forget_events(&self) {
        self.shared().events.clear();
    }

    /// How often pods were listed.
    pub fn lists(&self) -> usize {
        self.shared().lists
    }

    /// Waits until pods were listed so many times more: as many looks of the evictor have ended but the last.
    pub async fn looks(&self, more: usize, within: Duration) {
        let wanted = self.lists() + more;
        let look = async {
            while self.lists() < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(within, look).await.expect("the evictor looks");
    }
}

/// Writes a kubeconfig for whoever answers at an address into a folder.
pub fn kubeconfig(address: SocketAddr, folder: &Path) -> PathBuf {
    let path = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    });
    std::fs::write(&path, config.to_string()).expect("a kubeconfig");
    path
}

/// The identifier of a pod's only container.
pub fn container_id(uid: &str) -> String {
    uid.replace('-', "").repeat(2)
}

/// A Status, as the API server answers with one.
pub fn status(code: u16, reason: &str, message: &str, retry_after: u32) -> Response {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": if code < 300 { "Success" } else { "Failure" },
        "code": code, "reason": reason, "message": message, "details": {"retryAfterSeconds": retry_after},
    });
    let code = StatusCode::from_u16(code).expect("a status");
    (code, [("content-type", "application/json")], body.to_string()).into_response()
}

/// A document, as the API server answers with one.
pub fn document(code: StatusCode, body: &Value) -> Response {
    (code, [("content-type", "application/json")], body.to_string()).into_response()
}

async fn handle(State(shared): State<Arc<Mutex<Shared>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut shared = shared.lock().expect("unpoisoned");
    let path = uri.path().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if method != Method::GET {
        shared.requests.push(Request { path: path.clone(), body: body.clone() });
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method.as_str(), &parts[..]) {
        ("GET", ["api", "v1", "pods"]) => {
            assert_eq!(uri.query().unwrap_or_default(), "&fieldSelector=spec.nodeName%3Dworker");
            shared.lists += 1;
            let items: Vec<&Value> = shared.pods.values().collect();
            document(
                StatusCode::OK,
                &json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}),
            )
        }
        ("PATCH", ["api", "v1", "namespaces", "shop", "pods", name, "status"]) => {
            let Some(pod) = shared.pods.get_mut(*name) else {
                return status(404, "NotFound", "no such pod", 0);
            };
            if body["metadata"]["uid"] != pod["metadata"]["uid"] {
                return status(409, "Conflict", "the uid is another", 0);
            }
            pod["status"]["conditions"] = body["status"]["conditions"].clone();
            document(StatusCode::OK, pod)
        }
        ("POST", ["api", "v1", "namespaces", "shop", "pods", name, "eviction"]) => {
            let (code, retry_after) =
                shared.default_answer.or_else(|| shared.answers.pop_front()).unwrap_or((201, 0));
            let Some(pod) = shared.pods.get_mut(*name) else {
                return status(404, "NotFound", "no such pod", 0);
            };
            if code == 201 {
                assert_eq!(body["deleteOptions"]["preconditions"]["uid"], pod["metadata"]["uid"]);
                let grace = body["deleteOptions"]["gracePeriodSeconds"].as_i64().expect("a grace period");
                let deadline = Timestamp::now() + SignedDuration::from_secs(grace);
                pod["metadata"]["deletionTimestamp"] = json!(deadline);
                pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            }
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            status(code, if code == 429 { "TooManyRequests" } else { "" }, message, retry_after)
        }
        ("POST", ["api", "v1", "namespaces", _, "events"]) => {
            let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
            if shared.events.contains_key(&name) {
                return status(409, "AlreadyExists", "it is there", 0);
            }
            shared.events.insert(name, body.clone());
            document(StatusCode::CREATED, &body)
        }
        ("PATCH", ["api", "v1", "nodes", "worker", "status"]) => document(
            StatusCode::OK,
            &json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "worker"}}),
        ),
        _ => status(404, "NotFound", &format!("{method} {path} is not served here"), 0),
    }
}
