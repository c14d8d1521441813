//! The types of a timeline.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use plimsoll_node::report::{OomKill, RuntimeEvent, Sample};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Location;

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
    /// The steps are over; what follows is the end of the run.
    Finished,
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
