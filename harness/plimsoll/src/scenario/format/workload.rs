//! Pods that fill.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fill::{Fill, GpuBystander};
use super::gpu::GpuClaim;
use super::values::{Amount, Count, Name, Time};
use crate::scenario::located::{Entries, Located};
use crate::scenario::tree::Tree;

/// A pod, or a Deployment of pods, that runs the filler.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// The name under which steps and expectations know it; also the Pod's or Deployment's own name.
    pub name: Located<Name>,
    /// How many pods. Present, it is a Deployment of that many; left out, it is one bare Pod.
    pub replicas: Option<Located<Count>>,
    /// The node that it must go to. Left out: wherever the scheduler puts it.
    pub node: Option<Located<String>>,
    /// The container's resource requests.
    #[serde(default)]
    pub requests: Entries<Amount>,
    /// The container's resource limits.
    #[serde(default)]
    pub limits: Entries<Amount>,
    /// A priority. A PriorityClass of this value is made for it, called `plimsoll-<value>`.
    pub priority: Option<Located<i64>>,
    /// A PriorityClass that there is: the system's, or one of the manifests.
    pub priority_class_name: Option<Located<String>>,
    /// Tolerations, as Kubernetes writes them.
    #[serde(default)]
    pub tolerations: Vec<Located<Tree>>,
    /// How long the pod may take to end. Default 5.
    pub termination_grace_period_seconds: Option<Located<Count>>,
    /// What becomes of the container when it ends. Default: Never for a Pod, so that an OOM kill stays visible;
    /// a Deployment knows only Always.
    pub restart_policy: Option<Located<RestartPolicy>>,
    /// How long the filler ignores the request to end.
    pub shutdown_delay: Option<Located<Time>>,
    /// Further labels of the pods.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What it takes. Left out: nothing, it only runs.
    pub fill: Option<Located<Fill>>,
    /// A claim of one whole GPU, where nodes offer them to claims.
    pub gpu_claim: Option<Located<GpuClaim>>,
    /// Work on a GPU's memory beside fillers, instead of a fill.
    pub gpu_bystander: Option<Located<GpuBystander>>,
}

/// What becomes of a container when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// It is started again.
    Always,
    /// It is started again if it failed.
    OnFailure,
    /// It stays as it is.
    Never,
}

impl RestartPolicy {
    /// The word that Kubernetes has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
        }
    }
}
