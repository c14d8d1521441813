//! The kubelet's statistics, `/stats/summary` (stats/v1alpha1), as far as eviction looks at them.
//!
//! Follows `k8s.io/kubelet/pkg/apis/stats/v1alpha1` 0.36.3.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::document::null_as_default;

/// A whole summary: the node, and the pods on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The node's own statistics.
    #[serde(deserialize_with = "null_as_default")]
    pub node: NodeStats,
    /// Those of each pod.
    #[serde(default, deserialize_with = "null_as_default")]
    pub pods: Vec<PodStats>,
}

/// Statistics of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStats {
    /// The node's name.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    /// The cgroups besides pods; the one named `pods` holds all pods.
    #[serde(deserialize_with = "null_as_default")]
    pub system_containers: Vec<ContainerStats>,
    /// Memory of the whole node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// The filesystem of volumes and logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs: Option<FsStats>,
    /// The container runtime's filesystems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeStats>,
    /// Process identifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rlimit: Option<RlimitStats>,
}

/// Statistics of the container runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuntimeStats {
    /// The filesystem of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_fs: Option<FsStats>,
    /// The filesystem of writable layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_fs: Option<FsStats>,
}

/// Process identifiers of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RlimitStats {
    /// When they were counted.
    #[serde(deserialize_with = "time")]
    pub time: Option<Timestamp>,
    /// How many there can be.
    #[serde(rename = "maxpid", skip_serializing_if = "Option::is_none")]
    pub max_pid: Option<i64>,
    /// How many there are.
    #[serde(rename = "curproc", skip_serializing_if = "Option::is_none")]
    pub running_processes: Option<i64>,
}

/// Statistics of one pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStats {
    /// Which pod.
    #[serde(deserialize_with = "null_as_default")]
    pub pod_ref: PodReference,
    /// Its containers.
    #[serde(deserialize_with = "null_as_default")]
    pub containers: Vec<ContainerStats>,
    /// Its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Its volumes.
    #[serde(rename = "volume", deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeStats>,
    /// Local disk of containers, logs and volumes together.
    #[serde(rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<FsStats>,
    /// Its processes.
    #[serde(rename = "process_stats", skip_serializing_if = "Option::is_none")]
    pub processes: Option<ProcessStats>,
}

/// A pod's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodReference {
    /// The name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// The uid, which alone tells whose statistics these are.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
}

/// Statistics of one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// The name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStats>,
    /// Its writable layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<FsStats>,
    /// Its logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<FsStats>,
}

/// How many processes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessStats {
    /// The count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_count: Option<u64>,
}

/// Memory, in bytes. What upstream reads as signed numbers is kept as it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MemoryStats {
    /// When it was measured.
    #[serde(deserialize_with = "time")]
    pub time: Option<Timestamp>,
    /// What is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// What is used, caches included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    /// What is used and can not be dropped at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_set_bytes: Option<u64>,
}

/// Bytes and inodes of a filesystem, or of a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FsStats {
    /// When they were counted.
    #[serde(deserialize_with = "time")]
    pub time: Option<Timestamp>,
    /// Free bytes of the filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// All bytes of the filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// Bytes used by what this describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Free inodes of the filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_free: Option<u64>,
    /// All inodes of the filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// Inodes used by what this describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_used: Option<u64>,
}

/// Bytes and inodes of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeStats {
    /// The volume's name in its pod.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Bytes used by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Inodes used by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_used: Option<u64>,
}

/// The second at which Go's zero time is, 0001-01-01T00:00:00Z, which stands for no time.
const GO_ZERO_SECOND: i64 = -62_135_596_800;

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let time: Option<Timestamp> = Option::deserialize(deserializer)?;
    Ok(time.filter(|time| time.as_second() != GO_ZERO_SECOND || time.subsec_nanosecond() != 0))
}

impl Summary {
    /// The statistics of the pod with this uid; of several, the last. Upstream: `cachedStatsFunc`.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&PodStats> {
        self.pods.iter().rev().find(|pod| pod.pod_ref.uid == uid)
    }
}
