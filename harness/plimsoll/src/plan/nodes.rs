//! Nodes and their bounds, and nodes that exist in the API alone.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_node::config::optional_duration_seconds;
pub use plimsoll_node::config::{BallastImage, GpuConfig, WholeGpus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One node and its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePlan {
    /// The node's name.
    pub name: String,
    /// Memory in bytes: both the kernel's limit and the capacity that the kubelet sees.
    pub memory: u64,
    /// The filesystem of the kubelet, in bytes.
    pub nodefs: FilesystemPlan,
    /// The filesystem of images and writable layers; absent where one filesystem serves both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imagefs: Option<FilesystemPlan>,
    /// The most processes and threads that it may have: both the kernel's limit and the maximum that the kubelet sees.
    #[serde(default = "default_pids")]
    pub pids: u64,
    /// Images that are there before the kubelet starts and that nothing uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<BallastImage>,
    /// Its GPUs; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuConfig>,
    /// Labels of the Node object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints that the node registers with, as `core/v1` Taint objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Value>,
    /// The kubelet's `--housekeeping-interval`: how often it measures each container. Absent for its own 10 s, which it
    /// stretches by a random part of up to as much again.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub housekeeping_interval: Option<Duration>,
    /// The scenario's own KubeletConfiguration fields, verbatim. The node adds what it needs for itself
    /// (runtime endpoint, certificates) and never overrides what stands here.
    pub kubelet: Value,
}

/// The most processes and threads of a node that says nothing of them.
pub const DEFAULT_PIDS: u64 = 8192;

fn default_pids() -> u64 {
    DEFAULT_PIDS
}

/// The bounds of one filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemPlan {
    /// Size of the backing image in bytes.
    pub size: u64,
    /// Number of inodes; absent for the filesystem's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
}

/// Nodes that exist in the API alone, by zone. Programs play their kubelets, one for each group of nodes that fails together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HollowPlan {
    /// The zones.
    pub zones: Vec<HollowZone>,
    /// `nodeLeaseDurationSeconds` of their kubelets; a quarter of it is how often they renew their leases.
    pub node_lease_duration_seconds: u32,
}

/// A zone of hollow nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HollowZone {
    /// Its name: the nodes' label `topology.kubernetes.io/zone`.
    pub name: String,
    /// How many nodes each group has, in the order of the nodes.
    pub groups: Vec<u32>,
}

impl HollowZone {
    /// The nodes of it.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.groups.iter().sum()
    }

    /// The name of one of its groups, by which its program is known too.
    #[must_use]
    pub fn group(&self, index: usize) -> String {
        format!("hollow-{}-{index}", self.name)
    }

    /// The names of the groups that its first nodes make up.
    #[must_use]
    pub fn groups_of(&self, nodes: u32) -> Vec<String> {
        let mut before = 0;
        let mut names = Vec::new();
        for (index, size) in self.groups.iter().enumerate() {
            if before < nodes {
                names.push(self.group(index));
            }
            before += size;
        }
        names
    }
}

/// The label of hollow nodes: their group.
pub const HOLLOW_LABEL: &str = "plimsoll.dev/hollow";
/// The label of a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
