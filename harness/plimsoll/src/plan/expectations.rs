//! What must turn out to be so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_node::config::optional_duration_seconds;
use serde::{Deserialize, Serialize};

use super::disruption::{
    DrainedExpectation, EndedExpectation, FlappingExpectation, ScaleDownExpectation, SlowedExpectation,
};
use super::model::Location;

/// One line of `expect:`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// Where the scenario says it.
    pub location: Location,
    /// What it says.
    pub expect: Expect,
}

/// What must turn out to be so. Names are names of workloads; they stand for all their pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expect {
    /// Exactly these were evicted by the kubelet for a resource that was low, group after group; inside a group any order.
    /// A workload may stand in several groups (a controller's pods that go one after another).
    Evicted(Vec<BTreeSet<String>>),
    /// Every pod of these workloads ran until the end of the run, with no restart.
    Survive(Vec<String>),
    /// How much the evictions of one signal gave back.
    Reclaimed {
        /// Such as `memory.available`.
        signal: String,
        /// Bytes or counts.
        #[serde(flatten)]
        band: Band,
        /// The least that `available` must be after the last eviction: threshold and minimum reclaim together are met.
        minimum_reclaim: bool,
    },
    /// These conditions were raised and cleared in this order, and no other pressure condition was.
    Conditions(Vec<ConditionExpectation>),
    /// Whom the kernel killed for memory: exactly these workloads; empty means nobody and nothing on the node.
    OomKills(BTreeSet<String>),
    /// Exactly these were rejected by the kubelet at admission.
    Rejected(BTreeSet<String>),
    /// Exactly these were evicted by the kubelet for being over a limit of local storage, each over this one.
    OverLimit(BTreeMap<String, StorageLimit>),
    /// What the kubelet removed from a node to get space back.
    NodeReclaimed(NodeReclaimedExpectation),
    /// What the kubelet said on evicting this workload's pod.
    Message(MessageExpectation),
    /// The kubelet announced the evictions of these workloads' pods, each once, as it announces evictions.
    Announced(Vec<String>),
    /// The ends of these workloads' pods were decided so close together.
    Together {
        /// The workloads.
        workloads: Vec<String>,
        /// From the first decision to the last.
        #[serde(flatten)]
        lasting: Lasting,
    },
    /// So long from the sample at which the signal's threshold was crossed to the eviction.
    Within {
        /// Such as `memory.available`.
        signal: String,
        /// The bounds.
        #[serde(flatten)]
        lasting: Lasting,
    },
    /// So long from the first sign of termination of this workload's pod to its end.
    Terminated {
        /// The workload.
        workload: String,
        /// The bounds.
        #[serde(flatten)]
        lasting: Lasting,
    },
    /// A controller replaced this workload's evicted pods.
    Replaced(ReplacedExpectation),
    /// These nodes got these taints; none: no node got a NoExecute taint.
    Tainted(Vec<TaintedExpectation>),
    /// How long this workload's pods stayed on a node that had got a NoExecute taint.
    Tolerated {
        /// The workload.
        workload: String,
        /// How long from the taint to the deletion; absent where they must never be deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasting: Option<Lasting>,
        /// Where they must never be deleted: for how many seconds they themselves say that they tolerate the taint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<u64>,
    },
    /// A pod of each of these workloads was to go and its time was over, but it was still there at the end.
    Terminating(Vec<String>),
    /// How a workload's pods ended.
    Ended(EndedExpectation),
    /// What the API server answered to the requests of `evict` steps, or of drains, about each pod of a workload.
    Answered {
        /// The workload.
        workload: String,
        /// HTTP status codes in order; equal ones one after another count once.
        codes: Vec<u16>,
        /// Whether those of drains are meant.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        draining: bool,
    },
    /// What the drains of a node came to.
    Drained(DrainedExpectation),
    /// The scheduler nominated this node for a pod of this workload.
    Nominated {
        /// The workload.
        workload: String,
        /// The node.
        node: String,
    },
    /// Which pods keep a cluster autoscaler from removing a node.
    ScaleDownBlocked(ScaleDownExpectation),
    /// A condition came and went.
    Flapping(FlappingExpectation),
    /// A bystander's work took so much longer beside another workload.
    Slowed(SlowedExpectation),
    /// How many nodes of a zone got a NoExecute taint, and how far apart.
    TaintRate(TaintRateExpectation),
}

impl Expect {
    /// The key under `expect:` that this is written as.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Evicted(_) => "evicted",
            Self::Survive(_) => "survive",
            Self::Reclaimed { .. } => "reclaimed",
            Self::Conditions(_) => "conditions",
            Self::OomKills(_) => "oomKills",
            Self::Rejected(_) => "rejected",
            Self::OverLimit(_) => "overLimit",
            Self::NodeReclaimed(_) => "nodeReclaimed",
            Self::Message(_) => "message",
            Self::Announced(_) => "announced",
            Self::Together { .. } => "together",
            Self::Within { .. } => "within",
            Self::Terminated { .. } => "terminated",
            Self::Replaced(_) => "replaced",
            Self::Tainted(_) => "tainted",
            Self::Tolerated { .. } => "tolerated",
            Self::Terminating(_) => "terminating",
            Self::Ended(_) => "ended",
            Self::Answered { draining: true, .. } => "drainAnswered",
            Self::Answered { .. } => "answered",
            Self::Drained(_) => "drained",
            Self::Nominated { .. } => "nominated",
            Self::ScaleDownBlocked(_) => "scaleDownBlocked",
            Self::Flapping(_) => "flapping",
            Self::Slowed(_) => "slowed",
            Self::TaintRate(_) => "taintRate",
        }
    }
}

/// A limit of local storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StorageLimit {
    /// An emptyDir volume's `sizeLimit`.
    EmptyDir,
    /// The sum of the limits of a pod's containers.
    Pod,
    /// A container's limit of `ephemeral-storage`.
    Container,
}

impl std::fmt::Display for StorageLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EmptyDir => "EmptyDir",
            Self::Pod => "Pod",
            Self::Container => "Container",
        })
    }
}

/// What the kubelet must have removed from a node, as the container runtime tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReclaimedExpectation {
    /// The node.
    pub node: String,
    /// How many of the images that nothing uses; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Band>,
    /// How many containers that had ended, of pods that were still there; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Band>,
    /// The full names of images that were there to the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

/// An amount between two bounds, both included, either absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Band {
    /// The least that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i64>,
    /// The most that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i64>,
}

impl Band {
    /// Whether the amount lies in the band.
    #[must_use]
    pub fn holds(&self, amount: i64) -> bool {
        self.at_least.is_none_or(|least| amount >= least) && self.at_most.is_none_or(|most| amount <= most)
    }
}

/// A length of time between two bounds, both included, either absent. In seconds where it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lasting {
    /// The least that holds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub at_least: Option<Duration>,
    /// The most that holds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub at_most: Option<Duration>,
}

impl Lasting {
    /// No longer than this.
    #[must_use]
    pub fn at_most(limit: Duration) -> Self {
        Self { at_least: None, at_most: Some(limit) }
    }
}

/// A condition that must have been raised and, unless said otherwise, cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionExpectation {
    /// The node.
    pub node: String,
    /// Such as `MemoryPressure`.
    pub condition: String,
    /// The most time from the crossing of a threshold of its signals to the condition.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub raised_within: Option<Duration>,
    /// Whether it must also have cleared before the run ended.
    pub cleared: bool,
    /// How long from raised to cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_within: Option<Lasting>,
}

/// What the kubelet must have said. Absent fields are not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageExpectation {
    /// The workload whose eviction it is.
    pub workload: String,
    /// The starved resource, such as `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The threshold quantity in bytes or counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Band>,
    /// What was available, in bytes or counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<Band>,
    /// The container it must name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What the container was using.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub using: Option<Band>,
    /// What it requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Band>,
}

/// What became of a controller's evicted pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedExpectation {
    /// The workload, a controller.
    pub workload: String,
    /// Where the successor went; absent when it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ReplacedOn>,
    /// Whether the last successor runs at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// How many successors there were.
    #[serde(default)]
    pub times: Band,
    /// The most times that a successor came back to the node its predecessor was evicted from, and was evicted again.
    #[serde(default)]
    pub loops: Band,
    /// How long from one eviction on a node to the next in such a loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_period: Option<Lasting>,
    /// How long from the decision on each pod to the Running of its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_within: Option<Lasting>,
    /// A part of what the scheduler says of a successor that went nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A taint that a node must have got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaintedExpectation {
    /// The node.
    pub node: String,
    /// The taint's key.
    pub key: String,
    /// Its effect; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// The time from the step that took the node away to the taint; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Lasting>,
    /// Whether it had been taken off again at the end; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<bool>,
}

/// How the nodes of a zone are tainted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaintRateExpectation {
    /// The zone.
    pub zone: String,
    /// The time from one node to the next, the middle one of all; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Lasting>,
    /// How many nodes got the taint; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Band>,
    /// How many had it at the end; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Band>,
}

/// Where a successor went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplacedOn {
    /// The node that its predecessor was evicted from.
    Same,
    /// Another node.
    Other,
    /// This node.
    Node(String),
    /// Nowhere: it stayed Pending.
    Nowhere,
}
