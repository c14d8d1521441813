//! GPUs of a node, and their evictor.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Count, Size, Time};
use crate::scenario::located::Located;
use crate::scenario::tree::Tree;

/// The GPUs of a node: `simulated` or `real`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpus {
    /// Made up, so that no GPU is needed. Memory is accounted for exactly; nothing is computed. The verdict says SIMULATED.
    pub simulated: Option<Located<GpuBounds>>,
    /// The machine's own, which must have as many with as much memory. What a GPU has beyond that a process holds while the run lasts.
    /// Only on the host cluster, and only one node of a scenario.
    pub real: Option<Located<GpuBounds>>,
    /// The extended resource that a device plugin advertises their memory as. Default `plimsoll.dev/gpu-memory`.
    pub resource: Option<Located<String>>,
    /// How much memory one unit of the resource is. Default 1Gi.
    pub unit: Option<Located<Size>>,
    /// Gives the last GPUs away whole, by a resource of their own. Left out: all are given away by their memory.
    pub whole: Option<Located<WholeGpus>>,
    /// How pods get them. Default `DevicePlugin`: as extended resources.
    pub offered_by: Option<Located<OfferedBy>>,
}

/// How the GPUs of a node are offered to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OfferedBy {
    /// A device plugin advertises them as extended resources.
    DevicePlugin,
    /// A driver of Dynamic Resource Allocation offers them whole to resource claims, as the device class `gpu.plimsoll.dev`. One that
    /// turns unhealthy gets a NoExecute taint. Needs Kubernetes 1.36.
    ResourceClaims,
}

/// A claim of one whole GPU, where a node's are `offeredBy: ResourceClaims`. It becomes a ResourceClaimTemplate of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuClaim {
    /// Tolerations of the GPU's taints, as Kubernetes writes them in a claim.
    #[serde(default)]
    pub tolerations: Vec<Located<Tree>>,
}

/// GPUs that are given away whole. No evictor watches them: who has one has it alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WholeGpus {
    /// How many. Default 1; at least one GPU must be left.
    pub count: Option<Located<Count>>,
    /// The extended resource that a device plugin advertises them as. Default `nvidia.com/gpu`.
    pub resource: Option<Located<String>>,
}

/// How many GPUs, and their memory.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuBounds {
    /// How many. Default 1.
    pub count: Option<Located<Count>>,
    /// The memory of each.
    pub memory: Located<Size>,
}

/// An agent on the node that evicts pods through the eviction API when a GPU runs low on memory: the kubelet has no signal for it.
/// Its thresholds are written as the kubelet's, for the signal `gpu.memory.available`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuEviction {
    /// Hard thresholds by signal: `{gpu.memory.available: 5%}`.
    #[serde(default)]
    pub eviction_hard: BTreeMap<String, String>,
    /// Soft thresholds by signal.
    #[serde(default)]
    pub eviction_soft: BTreeMap<String, String>,
    /// How long each soft threshold must be met.
    #[serde(default)]
    pub eviction_soft_grace_period: BTreeMap<String, String>,
    /// How much must be free above a threshold before eviction ends.
    #[serde(default)]
    pub eviction_minimum_reclaim: BTreeMap<String, String>,
    /// The longest grace, in seconds, of a pod evicted for a soft threshold. Default 0.
    pub eviction_max_pod_grace_period: Option<Count>,
    /// How long the node's condition `GPUMemoryPressure` stays after memory was last low. Default 5m.
    pub eviction_pressure_transition_period: Option<Time>,
    /// How often the agent looks. Default 10s, as the kubelet.
    pub interval: Option<Time>,
}
