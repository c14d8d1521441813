//! What an init is told, and where things lie inside a node. The same on every cluster.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the bundle's programs lie inside a node.
pub const BIN: &str = "/plimsoll/bin";
/// Where our own programs lie inside a node: the init and the filler.
pub const PROGRAMS: &str = "/plimsoll/programs";
/// Where a node finds what is its own: configuration, credentials, logs, disk images, the control socket.
pub const RUN: &str = "/plimsoll/run";
/// Where the machine's own root lies before a node on `host` puts its copy-on-write root over it.
pub const MACHINE: &str = "/plimsoll/machine";
/// Where the filesystem under the kubelet is mounted as a whole.
pub const NODEFS: &str = "/plimsoll/nodefs";
/// Where the filesystem under containerd is mounted as a whole: a filesystem of its own, or [`NODEFS`] once more.
pub const IMAGEFS: &str = "/plimsoll/imagefs";
/// Where what a node with GPUs needs besides lies: programs, the simulated driver, and its description of the node.
pub const GPU: &str = "/plimsoll/run/gpu";
/// The environment variable that names the folder of a simulated node to the simulated driver.
pub const SIMULATED_NODE: &str = "PLIMSOLL_SIMULATED_NODE";
/// Port of the API server inside the control plane's network.
pub const API_PORT: u16 = 6443;
/// Port of the kubelet's API.
pub const KUBELET_PORT: u16 = 10250;

/// What the init of a control plane or a node is told, in `config.json` in [`RUN`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitConfig {
    /// The run's identifier; it is part of the cgroup's path.
    pub run: String,
    /// `control-plane` or the node's name.
    pub name: String,
    /// What kind of machine this is to become.
    pub role: Role,
    /// Whether the init ends when its standard input does: then nothing outlives whoever started it.
    pub lifeline: bool,
}

/// What an init makes of its container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// etcd, the API server, the controller manager and the scheduler.
    ControlPlane(ControlPlaneConfig),
    /// containerd, the kubelet and pods.
    Node(Box<NodeConfig>),
}

/// The control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlaneConfig {
    /// The address that nodes reach it by; absent to take the one of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// What it does otherwise than it does by itself.
    #[serde(default)]
    pub settings: ControlPlaneSettings,
    /// Names of the hollow groups of nodes: what kwok is told of each lies in `NAME.yaml` in [`RUN`].
    #[serde(default)]
    pub hollow: Vec<String>,
}

/// How soon the control plane acts on nodes that fail. What is absent stays as Kubernetes has it. Durations are seconds
/// where they are written down.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControlPlaneSettings {
    /// `--node-monitor-grace-period` of the controller manager: how long a node may say nothing before it is unknown.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub node_monitor_grace_period: Option<Duration>,
    /// `--node-monitor-period`: how often it looks at all nodes.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub node_monitor_period: Option<Duration>,
    /// `--node-eviction-rate`: nodes a second and zone that get their NoExecute taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_eviction_rate: Option<f64>,
    /// `--secondary-node-eviction-rate`: the same in a large zone of which too much has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary_node_eviction_rate: Option<f64>,
    /// `--unhealthy-zone-threshold`: the share of a zone from which too much of it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_zone_threshold: Option<f64>,
    /// `--large-cluster-size-threshold`: the most nodes of a zone that is not large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub large_cluster_size_threshold: Option<u32>,
    /// `--terminated-pod-gc-threshold`: how many ended pods are kept; 0 keeps all.
    #[serde(rename = "terminatedPodGCThreshold", skip_serializing_if = "Option::is_none")]
    pub terminated_pod_gc_threshold: Option<u32>,
    /// `--default-not-ready-toleration-seconds` of the API server: what a pod gets that says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_not_ready_toleration_seconds: Option<u32>,
    /// `--default-unreachable-toleration-seconds` of the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_unreachable_toleration_seconds: Option<u32>,
    /// Whether DeviceTaintRules are served and followed, which Kubernetes 1.36 does not do by itself: the feature gate
    /// `DRADeviceTaintRules`, and `resource.k8s.io/v1beta2`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub device_taint_rules: bool,
}

/// Durations that may be absent, as seconds with fractions.
pub mod optional_duration_seconds {
    use super::{Deserialize, Duration, Serialize};

    /// Writes seconds.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: serde::Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
    }

    /// Reads seconds.
    ///
    /// # Errors
    /// When they are not a length of time.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom))
            .transpose()
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfig {
    /// The API server, such as `https://10.77.0.1:6443`.
    pub api_server: String,
    /// The node's own address; absent to take the one of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Memory capacity in bytes. The container's own limit is the same, and whoever starts it sets it.
    pub memory: u64,
    /// Size of the filesystem under the kubelet, in bytes, and its least number of inodes.
    pub nodefs: Filesystem,
    /// Size of the filesystem under containerd; absent where nodefs serves both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imagefs: Option<Filesystem>,
    /// Fields of the KubeletConfiguration that win over ours.
    pub kubelet: serde_json::Value,
    /// Labels of the Node object.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints to register with.
    #[serde(default)]
    pub taints: Vec<serde_json::Value>,
    /// How often the kubelet measures each container; absent for its own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub housekeeping_interval: Option<Duration>,
    /// Whether the machine's root lies at [`MACHINE`] and becomes the lower layer of the node's own.
    pub machine_root: bool,
    /// Names of images, all in the archive `images.tar` in [`RUN`], that image garbage collection must not take.
    pub pinned_images: Vec<String>,
    /// The image of pod sandboxes.
    pub sandbox_image: String,
    /// The most tasks that the node may have: the kernel's limit, and what the kubelet sees as the machine's.
    pub pids: u64,
    /// Images that are there before the kubelet starts and that nothing uses.
    #[serde(default)]
    pub ballast: Vec<BallastImage>,
    /// Whether the container runtime's events are told: which images and containers came and went.
    #[serde(default)]
    pub runtime_events: bool,
    /// Its GPUs; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuConfig>,
}

/// The GPUs of a node. Simulated ones account for memory exactly, and compute nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuConfig {
    /// Whether they are the machine's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub real: bool,
    /// Of each of the machine's own, the bytes that a process of the node holds so that no more than `memory` is left. Empty until
    /// the machine was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<u64>,
    /// How many.
    pub count: u32,
    /// Memory of each in bytes.
    pub memory: u64,
    /// The extended resource that pods request their memory by.
    pub resource: String,
    /// Bytes of memory that one unit of it is.
    pub unit: u64,
    /// The last ones, where they are given away whole and by a resource of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<WholeGpus>,
    /// Whether all are given away whole, to resource claims. Then no device plugin runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claims: bool,
    /// The options of the evictor; absent where none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evictor: Option<Vec<String>>,
}

/// GPUs that are given away whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WholeGpus {
    /// The extended resource that pods request them by.
    pub resource: String,
    /// How many.
    pub count: u32,
}

/// An image of nothing but weight. The node makes it itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BallastImage {
    /// Its full name, with registry and tag.
    pub name: String,
    /// What it takes of its filesystem in bytes, as it is stored and as it is unpacked together.
    pub size: u64,
    /// The empty files in it, an inode each.
    #[serde(default)]
    pub files: u64,
    /// Its layers, at least 1. No two images have one in common.
    pub layers: u32,
    /// Whether image garbage collection must leave it.
    #[serde(default)]
    pub pinned: bool,
}

/// A bounded filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filesystem {
    /// Bytes.
    pub size: u64,
    /// The least number of inodes; absent for one in 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
}

/// What the control socket of a node takes, one JSON document a line; each is answered by one [`ControlAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ControlRequest {
    /// Fill in a process outside every pod, from now on. There is one such process for each resource.
    Fill {
        /// The filler's arguments where none fills this resource yet; the first is the resource.
        start: Vec<String>,
        /// The options of its command `set` where one does.
        change: Vec<String>,
        /// A folder that must be there before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
    },
    /// Make these images and import them.
    Load {
        /// The images.
        images: Vec<BallastImage>,
    },
    /// End a component with SIGKILL, for tests of what happens then.
    Kill {
        /// Such as `kubelet`.
        component: String,
    },
    /// End a component on purpose, so that its end is no news.
    Stop {
        /// Such as `kubelet`.
        component: String,
    },
    /// Start a component that was stopped.
    Start {
        /// Such as `kubelet`.
        component: String,
    },
    /// Stop every process but the init, so that the node stands still.
    Freeze {
        /// A process of the node that is to go on: the one that asks, where it runs there. It sets this itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asker: Option<u32>,
    },
    /// Let them go on.
    Thaw,
    /// Let a component stand still.
    Suspend {
        /// Such as `hollow-a-0`.
        component: String,
    },
    /// Let a simulated GPU have an error, or be as new, which its device plugin or driver learns by being started anew.
    Gpu {
        /// Its index.
        device: u32,
        /// The error, by the driver's number; none to mend it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xid: Option<u64>,
    },
    /// Let a component go on that stands still.
    Resume {
        /// Such as `hollow-a-0`.
        component: String,
    },
}

/// What the control socket answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlAnswer {
    /// It is being done.
    Done,
    /// It can not be done, and why.
    Refused(String),
}
