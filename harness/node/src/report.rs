//! What a node's init says on its standard output: one JSON document a line.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of a node's, or the control plane's, init.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When it was so, by the machine's wall clock.
    pub at: Timestamp,
    /// What was so.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What an init reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A phase of the boot ended.
    Phase {
        /// Such as `mounts`, `containerd`, `images`.
        name: String,
        /// Seconds since the init began.
        seconds: f64,
    },
    /// A supervised component ended although it should not have.
    ComponentEnded {
        /// Such as `kubelet`.
        component: String,
        /// How: `exit status 1`, `signal 9`.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// The node as it measures itself.
    Sample(Box<Sample>),
    /// The kernel killed a process of this node for memory.
    OomKill(OomKill),
    /// The container runtime added or removed something.
    Runtime(RuntimeEvent),
    /// A line of a filler that runs on the node outside every pod.
    Filler {
        /// The line as it was, JSON.
        line: serde_json::Value,
    },
    /// A source of observations failed; what it would have said is missing from here on. A sampler sees again with its next sample,
    /// which says so by itself; nothing else does.
    Blind {
        /// Such as `kmsg`, `sampler`.
        source: String,
        /// Why.
        reason: String,
    },
    /// The init can not go on; it ends after this line.
    Fatal {
        /// What failed and what to do.
        message: String,
    },
    /// Something worth a line in the run's log.
    Note {
        /// The sentence.
        message: String,
    },
}

/// The node's resources at one moment. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Memory of the whole node, as the kubelet's root container counts it.
    pub memory: MemorySample,
    /// Memory of all pods together (the `kubepods` cgroup); absent before the kubelet made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubepods: Option<MemorySample>,
    /// Working set by pod UID (with dashes, as the API writes it).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pods: BTreeMap<String, PodSample>,
    /// The node's filesystems: `nodefs`, and `imagefs` where it is one of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filesystems: BTreeMap<String, FilesystemSample>,
    /// Process identifiers: the kubelet counts them on the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<PidSample>,
}

/// A cgroup's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemorySample {
    /// The bound: the node's capacity, or the cgroup's limit (absent when unlimited).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// All memory charged.
    pub usage: u64,
    /// Usage less inactive page cache: what the kubelet and the OOM killer's neighbours count.
    pub working_set: u64,
}

impl MemorySample {
    /// Capacity less working set, as the kubelet's `memory.available`; absent when there is no bound.
    #[must_use]
    pub fn available(&self) -> Option<i64> {
        self.capacity.map(|capacity| {
            i64::try_from(i128::from(capacity) - i128::from(self.working_set)).unwrap_or(i64::MAX)
        })
    }
}

/// One pod at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSample {
    /// Working set of the pod's cgroup.
    pub working_set: u64,
    /// Tasks in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// A filesystem at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemSample {
    /// Size.
    pub capacity: u64,
    /// What an ordinary user may still write.
    pub available: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes left.
    pub inodes_free: u64,
}

/// Process identifiers at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PidSample {
    /// The machine's bound.
    pub maximum: u64,
    /// Tasks on the machine.
    pub current: u64,
}

/// An event of the container runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeEvent {
    /// What it is about.
    pub what: RuntimeObject,
    /// Whether it is there from now on, or no more.
    pub added: bool,
    /// An image's name, or a container's identifier.
    pub name: String,
}

/// What a container runtime keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuntimeObject {
    /// An image.
    Image,
    /// A container, running or not.
    Container,
}

/// One OOM kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OomKill {
    /// Whose limit was reached.
    pub scope: OomScope,
    /// The pod of the process that was killed; absent for a process outside every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// The process's name, as the kernel cuts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The kernel's line, or the counter that rose.
    pub source: String,
}

/// Whose limit an OOM kill enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OomScope {
    /// A container's or pod's own limit.
    Container,
    /// The limit of all pods together (enforced allocatable).
    Kubepods,
    /// The node's bound.
    Node,
    /// A counter rose, and nothing says whose limit it was.
    Unknown,
}
