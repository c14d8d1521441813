//! The types of disruptions that are no pressure: what is asked for, and what must come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;
use plimsoll_eviction::disruption::DrainOptions;
use plimsoll_node::config::optional_duration_seconds;
use serde::{Deserialize, Serialize};

use super::expectations::{Band, Lasting};
use super::model::duration_seconds;
pub use crate::scenario::format::disruption::{
    DrainEnd, DrainObstacle, EndKind, ScaleDownObstacle, Standing,
};

/// The first pause of an `evict` step between two requests for a pod that may not go yet, and the longest. Each is twice the one
/// before it, and stretched by chance to up to twice as long.
pub const EVICTION_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long kubectl pauses after a 429. Upstream: `Helper.evictPods`.
pub const DRAIN_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often a drain looks whether a pod is gone.
pub const DRAIN_LOOKS_EVERY: Duration = Duration::from_millis(250);

/// A request to the eviction API for every pod of some workloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictPlan {
    /// Whose pods.
    pub workloads: Vec<String>,
    /// Whether the API server is only asked what it would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// The grace period; absent for the pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<u32>,
    /// How long a pod that a disruption budget protects is asked for again; absent for once.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub retry_for: Option<Duration>,
}

/// Emptying a node as `kubectl drain` does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainPlan {
    /// The node.
    pub node: String,
    /// Go on although pods of DaemonSets stay.
    pub ignore_daemon_sets: bool,
    /// Go on although data of emptyDir volumes is lost.
    pub delete_empty_dir_data: bool,
    /// Go on although pods without a controller are lost.
    pub force: bool,
    /// Delete instead of evicting.
    pub disable_eviction: bool,
    /// The grace period; absent for each pod's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<u32>,
    /// How long it goes on at most.
    #[serde(with = "duration_seconds")]
    pub timeout: Duration,
    /// Whether the next step is taken while this goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
}

impl DrainPlan {
    /// What the rules of a drain are told of it.
    #[must_use]
    pub fn options(&self) -> DrainOptions {
        DrainOptions {
            force: self.force,
            ignore_daemon_sets: self.ignore_daemon_sets,
            delete_empty_dir_data: self.delete_empty_dir_data,
            skip_deleted_after_seconds: 0,
        }
    }
}

/// A taint that is put on a node or taken off it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaintPlan {
    /// The node.
    pub node: String,
    /// The taint.
    pub taint: Taint,
    /// Whether it is put on.
    pub on: bool,
}

/// Pods to delete, by a selector, in the run's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletePodsPlan {
    /// Such as `status.phase=Failed`.
    pub field_selector: String,
    /// Whether the objects go at once.
    pub force: bool,
}

/// How the pods of a workload must have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedExpectation {
    /// The workload.
    pub workload: String,
    /// The kind of end.
    pub kind: EndKind,
    /// How many ended so.
    pub count: Band,
    /// Whether the object must be gone at the end of the run, or must still be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<bool>,
    /// A part of what its status must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Parts of what else must have been said of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
    /// How often its containers were started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Band>,
}

/// What the drains of a node must have come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainedExpectation {
    /// The node.
    pub node: String,
    /// To this, or a refusal for exactly these workloads.
    pub to: DrainedTo,
}

/// What a drain must have come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainedTo {
    /// It went on to its end.
    End(DrainEnd),
    /// It refused for the pods of exactly these workloads.
    Refused(BTreeMap<String, DrainObstacle>),
}

/// The pods that must keep a cluster autoscaler from removing a node: exactly those of these workloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDownExpectation {
    /// The node.
    pub node: String,
    /// By workload.
    pub blocked_by: BTreeMap<String, ScaleDownObstacle>,
}

/// How much longer a bystander's work may take beside another workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowedExpectation {
    /// The workload whose work it is.
    pub workload: String,
    /// The workload that holds GPU memory meanwhile.
    pub by: String,
    /// How many times as long at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// How many times as long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

/// A condition that must have come and gone so often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlappingExpectation {
    /// The node.
    pub node: String,
    /// Such as `MemoryPressure`.
    pub condition: String,
    /// How often it was raised.
    pub times: Band,
    /// How long from one raise to the next, each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Lasting>,
}
