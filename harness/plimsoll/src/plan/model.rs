//! The types of a plan. A plan holds no references to files: what a scenario named is read by then.

use std::collections::BTreeMap;
use std::time::Duration;

pub use plimsoll_hog::report::{Form, Resource};
pub use plimsoll_node::config::ControlPlaneSettings;
use plimsoll_node::config::optional_duration_seconds;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::disruption::Standing;
use super::expectations::{Expect, Expectation};
use super::nodes::{HollowPlan, NodePlan};
use super::steps::{Action, PlannedStep};
pub use crate::scenario::format::fill::WhenExhausted;

/// The label that every object of a run carries: the name under which the scenario knows it.
pub const WORKLOAD_LABEL: &str = "plimsoll.dev/workload";
/// The namespace that a run's namespaced objects live in, unless a manifest names another.
pub const NAMESPACE: &str = "plimsoll";
/// The image of the filler, as it is imported into every node.
pub const HOG_IMAGE: &str = "docker.io/plimsoll/hog:1";
/// The image of the filler of GPU memory, as it is imported into nodes with GPUs.
pub const GPU_HOG_IMAGE: &str = plimsoll_hog::image::GPU_HOG;
/// The image of the pod sandbox, as it is imported into every node.
pub const PAUSE_IMAGE: &str = "docker.io/plimsoll/pause:1";
/// The name of the volume that a filler fills.
pub const FILLED_VOLUME: &str = "filled";

/// A scenario, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The scenario's `metadata.name`.
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The scenario's `metadata.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What people say that it puts to the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimPlan>,
    /// The Kubernetes version of the bundle to run on, such as `1.36.3`.
    pub kubernetes: String,
    /// How the control plane is set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub control_plane: ControlPlaneSettings,
    /// The nodes, at least one unless there are hollow ones.
    pub nodes: Vec<NodePlan>,
    /// Nodes that exist in the API alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hollow: Option<HollowPlan>,
    /// Objects that are created before the first step, in order: priority classes, then manifests that no
    /// step starts.
    pub objects: Vec<PlannedObject>,
    /// What `start` and `apply` steps create, by name.
    pub workloads: BTreeMap<String, WorkloadPlan>,
    /// What happens, in order.
    pub steps: Vec<PlannedStep>,
    /// What must turn out to be so.
    pub expectations: Vec<Expectation>,
}

impl Plan {
    /// Whether the scenario says what the API server answers to the eviction of this workload's pods, so that a refusal
    /// is no failure of the step.
    #[must_use]
    pub fn expects_answers_of(&self, of: &str) -> bool {
        let about = |expect: &Expect| matches!(expect, Expect::Answered { workload, draining: false, .. } if workload == of);
        self.expectations.iter().any(|expectation| about(&expectation.expect))
    }

    /// Whether the scenario says what drains of this node come to, so that a refusal is no failure of the step.
    #[must_use]
    pub fn expects_drains_of(&self, node: &str) -> bool {
        let about = |expect: &Expect| matches!(expect, Expect::Drained(drained) if drained.node == node);
        self.expectations.iter().any(|expectation| about(&expectation.expect))
    }

    /// Whether a node has the machine's own GPUs.
    #[must_use]
    pub fn has_real_gpus(&self) -> bool {
        self.nodes.iter().any(|node| node.gpus.as_ref().is_some_and(|gpus| gpus.real))
    }

    /// The same plan with the machine's own GPUs where it has simulated ones.
    ///
    /// # Errors
    /// Why it can not have them.
    pub fn with_real_gpus(mut self) -> Result<Self, &'static str> {
        if self.steps.iter().any(|step| matches!(step.action, Action::Gpu { .. })) {
            return Err("a real GPU can not be given an error");
        }
        if self.nodes.iter().filter(|node| node.gpus.is_some()).count() > 1 {
            return Err("the machine's own GPUs can be those of one node only");
        }
        for gpus in self.nodes.iter_mut().filter_map(|node| node.gpus.as_mut()) {
            gpus.real = true;
        }
        Ok(self)
    }

    /// Whether a node's container runtime has to be listened to: something is expected of it, or it has images to lose.
    #[must_use]
    pub fn follows_runtime(&self, node: &NodePlan) -> bool {
        !node.images.is_empty()
            || self.steps.iter().any(
                |step| matches!(&step.action, Action::Load { node: loaded, .. } if *loaded == node.name),
            )
            || self.expectations.iter().any(
                |line| matches!(&line.expect, Expect::NodeReclaimed(reclaimed) if reclaimed.node == node.name),
            )
    }
}

/// Something that people say, and whether it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimPlan {
    /// What they say.
    pub text: String,
    /// Whether it is so, if the scenario holds.
    pub so: Standing,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether a container of this image runs a filler, of whatever.
#[must_use]
pub fn is_filler(image: Option<&str>) -> bool {
    image.is_some_and(|image| [HOG_IMAGE, GPU_HOG_IMAGE].contains(&image))
}

/// A Kubernetes object to create, whole, with our labels on it and on its pod template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedObject {
    /// `apiVersion`, `kind`, `metadata` and the rest, as plain JSON.
    pub object: Value,
    /// Where the scenario or manifest says it.
    pub location: Location,
}

/// What one name in `start:` stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPlan {
    /// The name.
    pub name: String,
    /// The objects to create, in order.
    pub objects: Vec<PlannedObject>,
    /// What its filler takes, if the scenario gave it one; manifests that run the filler by themselves have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<FillPlan>,
    /// Number of pods that it stands for at first (1 for a pod, `replicas` for a controller).
    pub pods: u32,
}

/// An amount of one resource to take at a rate and hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FillPlan {
    /// What is taken.
    pub resource: Resource,
    /// In which form, where the resource has several.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Where it is put, for what lies in a filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<FillPlace>,
    /// How much to hold in the end: bytes of memory and disk, a number of inodes and pids, thousandths of a processor.
    pub amount: u64,
    /// How much a second; absent for as fast as the machine can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// How much is taken at once, before the pace begins.
    #[serde(default)]
    pub start_at: u64,
    /// How long it is held, after which the filler ends by itself; absent for until it is told to.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub hold: Option<Duration>,
    /// Whether what was written stays when the filler ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// What it does when there is no more, where that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_exhausted: Option<WhenExhausted>,
}

/// Where a filler puts its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FillPlace {
    /// The container's own root.
    WritableLayer,
    /// The pod's emptyDir volume [`FILLED_VOLUME`].
    EmptyDir {
        /// Above this many bytes the kubelet evicts the pod.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_limit: Option<u64>,
        /// Whether it is a tmpfs.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_memory: bool,
    },
    /// This folder of the node.
    HostPath(String),
    /// The node's nodefs, for a filler outside every pod.
    Nodefs,
    /// The node's imagefs, for a filler outside every pod.
    Imagefs,
}

/// A place in a file that a person wrote. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Location {
    /// The file, as it was named on the command line or relative to the scenario.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Durations as seconds, with fractions.
pub mod duration_seconds {
    use super::*;

    /// Writes seconds.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    /// Reads seconds.
    ///
    /// # Errors
    /// When they are not a length of time.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
