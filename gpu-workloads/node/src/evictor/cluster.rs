//! The API server's side: pods, evictions, conditions and events.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Pod};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    DeleteOptions, MicroTime, ObjectMeta, Preconditions, Time,
};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Client, Error};
use plimsoll_eviction::kubernetes::PodError;
use serde_json::json;

use super::node_pod::{EVICTION_CONDITION, NodePod};
use super::watch::Victim;
use plimsoll_eviction::message::{EVICTED, EVICTION_THRESHOLD_MET};

/// The node condition that says that a device is short of memory.
const NODE_CONDITION: &str = "GPUMemoryPressure";
/// What is put to everything that is said of made-up devices, and the annotation of events that has it.
const STAMP: &str = "SIMULATED";
const STAMP_ANNOTATION: &str = "plimsoll.dev/stamp";
/// Who reports events.
const COMPONENT: &str = "plimsoll-gpu-evictor";

/// Why the API server did not do something.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It did not answer within the time that any call has.
    #[error("the API server does not answer: {what}: nothing within {} s", .limit.as_secs_f64())]
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// It can not be reached, or what it says is not understood.
    #[error("the API server can not be asked: {what}: {error}")]
    Unreachable {
        /// What was asked.
        what: &'static str,
        /// What is wrong.
        error: Box<Error>,
    },
    /// It refuses.
    #[error("the API server refuses: {what}: {} {}{}", .status.code, .status.message, remedy(.status.code))]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it says.
        status: Box<Status>,
    },
}

fn remedy(code: u16) -> &'static str {
    match code {
        401 => " (the token or certificate is not accepted)",
        403 => " (the role lacks it: see gpu-workloads/node/deploy)",
        _ => "",
    }
}

impl ClusterError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.code),
            _ => None,
        }
    }

    /// Whether no answer came at all.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Unreachable { .. })
    }
}

/// What the API server says to an eviction.
#[derive(Debug)]
pub enum EvictionAnswer {
    /// The pod is being deleted.
    Evicted,
    /// A disruption budget forbids it for now.
    Forbidden {
        /// The API server's words.
        message: String,
        /// How long it says to wait.
        retry_after: Option<Duration>,
    },
    /// The pod is gone, or another one has its name.
    Gone,
    /// It did not work.
    Failed(ClusterError),
}

/// What the node's condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePressure {
    /// No device is short of memory.
    None,
    /// These devices are.
    Devices(Vec<String>),
    /// The driver can not be asked.
    Unknown(String),
}

/// The API server, for one node.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    node: String,
    timeout: Duration,
    /// Whether the devices are made up, so that whatever is said of them is stamped.
    simulated: bool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cluster").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The API server that a client reaches, for a node; any call may take so long.
    #[must_use]
    pub fn new(client: Client, node: String, timeout: Duration) -> Self {
        Self { client, node, timeout, simulated: false }
    }

    /// Takes down whether the devices are made up by a simulated driver.
    pub fn set_simulated(&mut self, simulated: bool) {
        self.simulated = simulated;
    }

    async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.timeout, call).await {
            Err(_) => Err(ClusterError::Timeout { what, limit: self.timeout }),
            Ok(Err(Error::Api(status))) => Err(ClusterError::Refused { what, status }),
            Ok(Err(error)) => Err(ClusterError::Unreachable { what, error: Box::new(error) }),
            Ok(Ok(value)) => Ok(value),
        }
    }

    /// The node's pods by uid, and those that make no sense. The list is what is so now, not what a cache knew: the evictor relies on seeing
    /// which pods are already being deleted.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn pods(&self) -> Result<(BTreeMap<String, NodePod>, Vec<PodError>), ClusterError> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let list = ListParams::default().fields(&format!("spec.nodeName={}", self.node));
        let list = self.call("listing the node's pods", pods.list(&list)).await?;
        let mut errors = Vec::new();
        let mut by_uid = BTreeMap::new();
        for pod in &list.items {
            match NodePod::try_from(pod) {
                Ok(pod) => drop(by_uid.insert(pod.pod.uid.clone(), pod)),
                Err(error) => errors.push(error),
            }
        }
        Ok((by_uid, errors))
    }

    /// Sets or clears the evictor's condition of a pod. A pod of another uid is left alone.
    async fn set_pod_condition(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        status: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let condition = json!({
            "type": EVICTION_CONDITION,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": Time(Timestamp::now()),
        });
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        let patch = Patch::Strategic(&patch);
        let parameters = PatchParams::default();
        let call = pods.patch_status(name, &parameters, &patch);
        self.call("setting a pod's condition", call).await.map(drop)
    }

    /// Takes the evictor's condition off a pod that is not to be evicted after all.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn spare(&self, pod: &NodePod) -> Result<(), ClusterError> {
        let own = &pod.pod;
        let identity = (own.namespace.as_str(), own.name.as_str(), own.uid.as_str());
        let message = "GPU memory is no longer low, or another pod is evicted first";
        let reason = if self.simulated { "SimulatedGPUMemoryRelieved" } else { "GPUMemoryRelieved" };
        self.set_pod_condition(identity, "False", reason, message).await
    }

    /// Evicts a pod: marks it with the reason, so that whoever starts anew knows of it, and asks for its eviction.
    pub async fn evict(&self, victim: &Victim) -> EvictionAnswer {
        let identity = (victim.namespace.as_str(), victim.name.as_str(), victim.uid.as_str());
        // The message is the kubelet's words, which others read.
        let reason = if self.simulated { "SimulatedGPUMemoryPressure" } else { "GPUMemoryPressure" };
        match self.set_pod_condition(identity, "True", reason, &victim.message).await {
            Err(error) if matches!(error.code(), Some(404 | 409)) => return EvictionAnswer::Gone,
            Err(error) => return EvictionAnswer::Failed(error),
            Ok(()) => {}
        }
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(victim.name.clone()),
                namespace: Some(victim.namespace.clone()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                grace_period_seconds: Some(victim.grace_period_seconds),
                preconditions: Some(Preconditions {
                    uid: Some(victim.uid.clone()),
                    ..Preconditions::default()
                }),
                ..DeleteOptions::default()
            }),
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace);
        let parameters = PostParams::default();
        let call = pods.create_subresource::<_, Status>("eviction", &victim.name, &parameters, &eviction);
        match self.call("evicting a pod", call).await {
            Ok(_) => EvictionAnswer::Evicted,
            Err(ClusterError::Refused { status, .. }) if status.code == 429 => EvictionAnswer::Forbidden {
                message: status.message.clone(),
                retry_after: status
                    .details
                    .as_ref()
                    .map(|details| u64::from(details.retry_after_seconds))
                    .filter(|seconds| *seconds > 0)
                    .map(Duration::from_secs),
            },
            Err(error) if matches!(error.code(), Some(404 | 409)) => EvictionAnswer::Gone,
            Err(error) => EvictionAnswer::Failed(error),
        }
    }

    /// Makes a pod's event. Its name comes from the pod and the reason, so that it is there once however often it is made.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn pod_event(
        &self,
        pod: &NodePod,
        reason: &str,
        message: &str,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), ClusterError> {
        let own = &pod.pod;
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(own.namespace.clone()),
            name: Some(own.name.clone()),
            uid: Some(own.uid.clone()),
            ..ObjectReference::default()
        };
        let short: String = own.name.chars().take(150).collect();
        let name = format!("{short}.{}.gpu-{}", own.uid, reason.to_lowercase());
        self.event(&own.namespace, name, object, reason, message, annotations).await
    }

    /// Says of the node that memory of a device is to be reclaimed, as the kubelet does.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn reclaim_event(&self, resource: &str, device: &str) -> Result<(), ClusterError> {
        let object = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.node.clone()),
            uid: Some(self.node.clone()),
            ..ObjectReference::default()
        };
        let name = format!("{}.gpu-{:x}", self.node, Timestamp::now().as_nanosecond());
        let message = format!("Attempting to reclaim {resource} of {device}");
        self.event("default", name, object, EVICTION_THRESHOLD_MET, &message, BTreeMap::new()).await
    }

    async fn event(
        &self,
        namespace: &str,
        name: String,
        involved_object: ObjectReference,
        reason: &str,
        message: &str,
        mut annotations: BTreeMap<String, String>,
    ) -> Result<(), ClusterError> {
        /// What the API server takes at most.
        const LONGEST_MESSAGE: usize = 1024;
        if self.simulated {
            annotations.insert(STAMP_ANNOTATION.to_owned(), STAMP.to_owned());
        }
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.to_owned()),
                annotations: (!annotations.is_empty()).then_some(annotations),
                ..ObjectMeta::default()
            },
            involved_object,
            reason: Some(reason.to_owned()),
            message: Some(message.chars().take(LONGEST_MESSAGE).collect()),
            type_: Some("Warning".to_owned()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            event_time: None::<MicroTime>,
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.clone()),
            }),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        match self.call("making an event", events.create(&parameters, &event)).await {
            Err(error) if error.code() == Some(409) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The event of an eviction that has been granted, with what the pod's condition says.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn evicted_event(
        &self,
        pod: &NodePod,
        message: &str,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), ClusterError> {
        self.pod_event(pod, EVICTED, message, annotations).await
    }

    /// Sets the node's condition. `since` is when it became what it is.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn set_node_condition(
        &self,
        pressure: &NodePressure,
        since: Timestamp,
    ) -> Result<(), ClusterError> {
        let (status, reason, message) = match pressure {
            NodePressure::None => {
                ("False", "GPUHasSufficientMemory", "GPUs have sufficient memory available".to_owned())
            }
            NodePressure::Devices(devices) => {
                ("True", "GPUHasInsufficientMemory", format!("memory is low on {}", devices.join(", ")))
            }
            NodePressure::Unknown(why) => ("Unknown", "GPUDriverNotResponding", why.clone()),
        };
        let message = if self.simulated { format!("{STAMP}: {message}") } else { message };
        let nodes: Api<Node> = Api::all(self.client.clone());
        let condition = json!({
            "type": NODE_CONDITION,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": Time(Timestamp::now()),
            "lastTransitionTime": Time(since),
        });
        let patch = json!({"status": {"conditions": [condition]}});
        let patch = Patch::Strategic(&patch);
        let parameters = PatchParams::default();
        let call = nodes.patch_status(&self.node, &parameters, &patch);
        self.call("setting the node's condition", call).await.map(drop)
    }
}
