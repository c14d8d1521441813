//! The types of a timeline.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use plimsoll_node::report::{OomKill, RuntimeEvent, Sample};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{DrainObstacle, Location};

/// One timestamped fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// Its place in the timeline, from 0; evidence names observations by it.
    pub sequence: u64,
    /// When it was so, or, for a watch, when we were told.
    pub at: Timestamp,
    /// What was so.
    pub fact: Fact,
}

/// What can be observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fact {
    /// The run began: nothing was started yet.
    Began {
        /// The cluster that was chosen, such as `host`.
        cluster: String,
        /// The Kubernetes version of the bundle.
        kubernetes: String,
    },
    /// Part of the boot was done.
    Boot {
        /// `control-plane` or a node's name.
        part: String,
        /// Such as `containerd`, `ready`.
        phase: String,
    },
    /// Every node was Ready and the watches stood; the steps begin.
    Started,
    /// A step began.
    StepBegan {
        /// Its index in the plan.
        step: usize,
    },
    /// A step ended.
    StepEnded {
        /// Its index in the plan.
        step: usize,
        /// Where the scenario says it.
        location: Location,
        /// How it ended.
        outcome: StepOutcome,
    },
    /// A pod was added or changed, or it was there when a watch began.
    Pod(Box<Pod>),
    /// A pod was deleted; the object as last seen.
    PodDeleted(Box<Pod>),
    /// A node was added or changed, or it was there when a watch began.
    Node(Box<Node>),
    /// A Kubernetes event.
    Event(Box<Event>),
    /// A node as its own sampler measured it.
    Sample {
        /// The node.
        node: String,
        /// The figures.
        sample: Box<Sample>,
    },
    /// The kubelet's own `/stats/summary`.
    Summary {
        /// The node.
        node: String,
        /// The document.
        summary: Box<Value>,
    },
    /// The kubelet's count of evictions by signal, from its metrics.
    EvictionMetric {
        /// The node.
        node: String,
        /// Such as `memory.available`.
        signal: String,
        /// How many so far.
        count: u64,
    },
    /// A node's container runtime added or removed an image or a container.
    Runtime {
        /// The node.
        node: String,
        /// What it was.
        event: RuntimeEvent,
    },
    /// A filler's own report.
    Filler {
        /// The pod's name, or the node's for a filler outside every pod.
        name: String,
        /// Whether it runs in a pod.
        in_pod: bool,
        /// The report.
        report: Value,
    },
    /// The kernel killed a process for memory inside a node.
    OomKill {
        /// The node.
        node: String,
        /// What the kernel said.
        kill: OomKill,
    },
    /// A component ended although it should not have.
    ComponentEnded {
        /// `control-plane` or the node's name.
        part: String,
        /// Such as `kubelet`.
        component: String,
        /// How.
        status: String,
        /// The last lines of its log.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        log: String,
    },
    /// A source was blind from one moment to another: what happened in between may be missing.
    Gap {
        /// Such as `pods`, `events`, `nodes`, `sampler worker`, `kmsg worker`.
        source: String,
        /// The last moment at which it was known to see.
        from: Timestamp,
        /// Whether it sees again, with everything that still exists listed anew.
        resumed: bool,
        /// Why.
        reason: String,
    },
    /// The API server's answer to a request that a step made about a pod.
    Answer(Box<Answer>),
    /// A drain is over.
    Drained {
        /// The node.
        node: String,
        /// What it came to.
        outcome: DrainOutcome,
    },
    /// A disruption budget was added or changed, or it was there when a watch began.
    DisruptionBudget(Box<PodDisruptionBudget>),
    /// A disruption budget was deleted; the object as last seen.
    DisruptionBudgetDeleted(Box<PodDisruptionBudget>),
    /// The steps are over; what follows is the end of the run.
    Finished,
}

/// What the API server answered to a request about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What was asked.
    pub asked: Asked,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its UID; absent for one that was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The workload that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Whether the API server was only asked what it would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether a drain asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// The HTTP status code.
    pub code: u16,
    /// The status' reason, such as `TooManyRequests`; empty where it was accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The status' message; empty where it was accepted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What was asked of the API server for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Asked {
    /// Its eviction, which disruption budgets are asked about.
    Evict,
    /// Its deletion, which nothing is asked about.
    Delete,
}

/// What a drain came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainOutcome {
    /// Everything that it takes is gone from the node.
    Emptied {
        /// The names of the pods that went.
        pods: Vec<String>,
    },
    /// Time was up.
    TimedOut {
        /// The names of the pods that were left.
        left: Vec<String>,
    },
    /// It asked for nobody.
    Refused {
        /// For the sake of these.
        pods: Vec<RefusedPod>,
    },
    /// It could not go on.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A pod for whose sake a drain refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedPod {
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The workload that it belongs to.
    pub workload: Option<String>,
    /// Why.
    pub obstacle: DrainObstacle,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepOutcome {
    /// As it should.
    Done,
    /// What was waited for did not come; the reason says what was seen instead.
    TimedOut(String),
    /// It could not be done.
    Failed(String),
    /// An earlier step failed, and so this one was not begun.
    Skipped,
}

/// All observations of a run, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The observations; `sequence` is the index.
    pub observations: Vec<Observation>,
}

impl Timeline {
    /// Adds what was so at this moment, and gives it its sequence number.
    pub fn push(&mut self, at: Timestamp, fact: Fact) -> &Observation {
        let sequence = self.observations.len() as u64;
        self.observations.push(Observation { sequence, at, fact });
        &self.observations[self.observations.len() - 1]
    }
}
