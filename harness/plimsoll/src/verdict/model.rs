//! The types of a verdict.

use jiff::Timestamp;
use plimsoll_node::report::OomScope;
use serde::{Deserialize, Serialize};

use crate::model::{MODEL, Prediction};
use crate::plan::Location;

/// What a run proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The scenario's name.
    pub scenario: String,
    /// Violated if any finding is; else unknown if any finding is; else held.
    pub state: State,
    /// One per expectation in the order of the scenario, then one per step that did not end as it should.
    pub findings: Vec<Finding>,
    /// Every pod of the run in the order of its first appearance, and what became of it.
    pub pods: Vec<PodOutcome>,
    /// Every eviction by the kubelet for a resource that was low, in the order they were decided.
    pub explanations: Vec<EvictionExplanation>,
    /// Every step of the plan that was begun or skipped.
    pub steps: Vec<StepResult>,
    /// What could not be seen while it mattered.
    pub gaps: Vec<BlindSpot>,
    /// The comparison with the scenario's snapshot, if one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<super::snapshot::Comparison>,
    /// Which run of the scenario this is of, from 1: earlier ones left something unknown.
    #[serde(default = "first")]
    pub attempts: u32,
    /// Where it ran, such as `host`; `model` for a run in virtual time, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What of the machine was made up, such as `GPUs of worker`: what was seen of it holds for no real one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub simulated: Vec<String>,
    /// What the rules say of the plan, and where this run did otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Box<Prediction>>,
    /// When the first step began; absent if the cluster never became ready.
    pub started: Option<Timestamp>,
    /// When the watching ended.
    pub ended: Option<Timestamp>,
}

fn first() -> u32 {
    1
}

impl Verdict {
    /// Whether it is of a run in virtual time.
    #[must_use]
    pub fn is_predicted(&self) -> bool {
        self.cluster.as_deref() == Some(MODEL)
    }

    /// The verdict with what the rules say of its plan. It changes nothing of what the verdict says.
    #[must_use]
    pub fn with_prediction(self, prediction: Prediction) -> Self {
        Self { prediction: Some(Box::new(prediction)), ..self }
    }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The observations show that it is so.
    Held,
    /// The observations show that it is not so.
    Violated,
    /// The observations do not show which.
    Unknown,
}

impl State {
    /// The word for people: `held`, `violated`, `unknown`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Violated => "violated",
            Self::Unknown => "unknown",
        }
    }

    /// The state of several taken together: violated if any is, else unknown if any is, else held.
    #[must_use]
    pub fn of_all(states: impl IntoIterator<Item = Self>) -> Self {
        states.into_iter().fold(Self::Held, |all, state| match (all, state) {
            (Self::Violated, _) | (_, Self::Violated) => Self::Violated,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Held, Self::Held) => Self::Held,
        })
    }
}

/// What one line of `expect:` came to, or a step that did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The key under `expect:`, such as `evicted`; `step` for a step; `snapshot` for the snapshot.
    pub key: String,
    /// Where the scenario says it.
    pub location: Location,
    /// What was expected, in a line.
    pub title: String,
    /// What it came to.
    pub state: State,
    /// Why, in words with figures.
    pub because: String,
    /// The observations that show it.
    pub evidence: Vec<Evidence>,
}

/// An observation that shows something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The observation's place in the timeline.
    pub sequence: u64,
    /// When it was made.
    pub at: Timestamp,
    /// What it says.
    pub text: String,
}

/// A time that is known to lie between two instants, and the observation that says so.
///
/// Kubernetes writes whole seconds, cut off; a watch tells us a little later than it was. Together they bound it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// Not before.
    pub earliest: Timestamp,
    /// Not after.
    pub latest: Timestamp,
    /// The observation's place in the timeline.
    pub sequence: u64,
}

/// How a pod ended. Seven of these are taken for one another elsewhere and never here: eviction by the kubelet,
/// rejection at admission, OOM kill, eviction through the API, deletion by the taint manager, preemption, and a local
/// storage limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum End {
    /// It has not ended: it was Running when the watching ended.
    Running,
    /// It has not ended and did not run either.
    Pending {
        /// What it waits for, as far as its conditions and containers say.
        reason: String,
    },
    /// The kubelet evicted it for a resource that was low: phase Failed, reason Evicted, "The node was low on resource".
    /// Upstream: `managerImpl.evictPod` of `pkg/kubelet/eviction`.
    EvictedByKubelet(KubeletEviction),
    /// The kubelet refused it at admission: it never ran. Upstream: `Kubelet.rejectPod`.
    RejectedAtAdmission {
        /// The status' reason: `Evicted` for a node under pressure, `OutOfmemory`, `NodeAffinity` and others otherwise.
        reason: String,
        /// The status' message.
        message: String,
    },
    /// The kernel killed it for memory, and it was not started again.
    OomKilled {
        /// Whose limit that was, by the kernel's log; unknown if only the container's status tells.
        scope: OomScope,
    },
    /// The eviction API removed it: `DisruptionTarget`, reason `EvictionByEvictionAPI`.
    EvictedThroughApi,
    /// The taint manager deleted it: `DisruptionTarget`, reason `DeletionByTaintManager`.
    DeletedByTaintManager,
    /// Kubernetes deleted it for a NoExecute taint of a device that its claim has: `DisruptionTarget`, reason
    /// `DeletionByDeviceTaintManager`.
    DeletedByDeviceTaintManager,
    /// It had to make room for a pod of higher priority.
    Preempted {
        /// Who decided that.
        by: Preemptor,
    },
    /// It used more local storage than its own limit allows. Upstream: `managerImpl.localStorageEviction`.
    LocalStorageLimit {
        /// Which limit.
        limit: LocalStorageLimit,
        /// The kubelet's message.
        message: String,
    },
    /// All its containers ended well.
    Completed,
    /// It failed by itself or in another way.
    Failed {
        /// The status' reason, or how its containers ended.
        reason: String,
    },
    /// It was deleted, and nothing says on whose account.
    Deleted,
}

/// An eviction by the kubelet for a resource that was low.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeletEviction {
    /// The resource the kubelet names: `memory`, `ephemeral-storage`, `inodes` or `pids`; absent if its message can
    /// not be read.
    pub resource: Option<String>,
    /// The figures of its message; absent if it can not be read.
    pub figures: Option<Figures>,
    /// The message as it was.
    pub message: String,
}

/// The figures of the kubelet's eviction message, in bytes or counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// The threshold quantity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<i64>,
    /// What was available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
    /// The containers, and the pod itself where it has a request of its own, that used more than they requested.
    pub consumers: Vec<Consumer>,
}

/// One "… was using …, request is …" of an eviction message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// The container; absent where the sentence is about the pod as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What it was using.
    pub using: i64,
    /// What it requested.
    pub request: i64,
}

/// Who makes room for a pod of higher priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Preemptor {
    /// kube-scheduler: `DisruptionTarget`, reason `PreemptionByScheduler`.
    Scheduler,
    /// The kubelet, for a critical pod: reason `Preempting`. Upstream: `CriticalPodAdmissionHandler.evictPodsToFreeRequests`.
    Kubelet,
}

/// The local storage limits that the kubelet enforces, by the names of its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LocalStorageLimit {
    /// An emptyDir volume's `sizeLimit`: `emptydirfs.limit`.
    EmptyDir,
    /// The sum of its containers' limits: `ephemeralpodfs.limit`.
    Pod,
    /// A container's limit: `ephemeralcontainerfs.limit`.
    Container,
}

/// A pod and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodOutcome {
    /// The pod's UID: names are used again, UIDs are not.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The workload that it belongs to; absent for a pod that no scenario knows.
    pub workload: Option<String>,
    /// The node it was bound to.
    pub node: Option<String>,
    /// `Guaranteed`, `Burstable` or `BestEffort`; plays no part in the kubelet's order.
    pub qos_class: Option<String>,
    /// Its priority.
    pub priority: i32,
    /// Its effective memory request in bytes.
    pub memory_request: u64,
    /// Its memory working set in bytes when it was evicted; for another pod at the last eviction on its node while it
    /// ran, or else when it was last measured.
    pub memory_usage: Option<u64>,
    /// How often its containers were started again.
    pub restarts: u32,
    /// How many OOM kills hit it, whether or not it ended by them.
    pub oom_kills: u32,
    /// How it ended.
    pub end: End,
    /// When that was decided: the kubelet's event, or the first status that says so.
    pub decided: Option<Moment>,
    /// When its last container had ended or it was gone.
    pub ended: Option<Moment>,
    /// The end in words.
    pub words: String,
    /// The observations that show the end.
    pub evidence: Vec<Evidence>,
}

/// Why the kubelet took this pod and not another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictionExplanation {
    /// The pod's name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// The workload it belongs to.
    pub workload: Option<String>,
    /// The node.
    pub node: String,
    /// When it was decided.
    pub at: Timestamp,
    /// The eviction signal, as far as it can be told from the kubelet's metric, its message and the samples.
    pub signal: Option<String>,
    /// The pods that could have gone, in the order of the kubelet's rules, with the figures those rules use.
    pub candidates: Vec<Candidate>,
    /// Whether the rules, on these figures, put this pod first (or among equals first); absent if figures are missing.
    pub agrees: Option<bool>,
    /// The explanation, a sentence an element.
    pub sentences: Vec<String>,
    /// The observations whose figures were used.
    pub evidence: Vec<Evidence>,
}

/// A pod that could have been evicted, with the figures that the kubelet's memory ranking uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The pod's name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// Its priority.
    pub priority: i32,
    /// What it used, in bytes or counts; absent if there was no measurement of it.
    pub usage: Option<i64>,
    /// What it requested.
    pub request: i64,
    /// Whether it could be evicted at all: static, mirror and critical pods are exempt.
    pub exempt: bool,
    /// Its place: 0 goes first; equals share a place.
    pub place: usize,
}

impl Candidate {
    /// Usage less request; absent if there was no measurement.
    #[must_use]
    pub fn over(&self) -> Option<i64> {
        self.usage.map(|usage| usage.saturating_sub(self.request))
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepResult {
    /// Its index in the plan.
    pub step: usize,
    /// Where the scenario says it.
    pub location: Location,
    /// The step in words.
    pub title: String,
    /// How it ended; absent if the run ended first.
    pub outcome: Option<crate::observe::StepOutcome>,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// A stretch of the run in which a source saw nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlindSpot {
    /// The source, such as `pods` or `sampler worker`.
    pub source: String,
    /// From when.
    pub from: Timestamp,
    /// Until when; absent if it never saw again.
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: String,
    /// The observation that tells.
    pub sequence: u64,
}
