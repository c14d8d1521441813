//! Disruptions that are no pressure: what asks for them, and what must come of them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use super::values::{
    Bounds, Count, Either, Lasting, Names, Scalar, Time, deserialize_scalar, value_or_mapping,
};
use crate::scenario::located::{Entries, Located};
use crate::scenario::nearest;
use crate::scenario::tree::shortened;

/// A request to the eviction API for every pod of some workloads.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvictStep {
    /// Whose pods. A bare pod that is gone is asked for by its name all the same.
    pub pods: Names,
    /// Whether the API server is only asked what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// The grace period of the deletion. Left out: the pod's own.
    pub grace_period_seconds: Option<Located<Count>>,
    /// How long a pod that a disruption budget protects (429) is asked for again, with exponential back-off. Left out:
    /// it is asked for once.
    pub retry_for: Option<Located<Time>>,
}

/// Emptying a node as `kubectl drain` does: cordon it, leave what a DaemonSet manages, refuse what would be lost, evict
/// the rest, and wait until it is gone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrainStep {
    /// The node. Left out: the only one.
    pub node: Option<Located<String>>,
    /// Go on although pods of DaemonSets stay. Default false, which refuses.
    #[serde(default)]
    pub ignore_daemon_sets: bool,
    /// Go on although data of emptyDir volumes is lost. Default false, which refuses.
    #[serde(default)]
    pub delete_empty_dir_data: bool,
    /// Go on although pods without a controller are lost. Default false, which refuses.
    #[serde(default)]
    pub force: bool,
    /// Delete instead of evicting, so that no disruption budget protects anybody. Default false.
    #[serde(default)]
    pub disable_eviction: bool,
    /// The grace period of each pod. Left out: the pod's own.
    pub grace_period_seconds: Option<Located<Count>>,
    /// How long it goes on at most. Default 60s.
    pub timeout: Option<Located<Time>>,
    /// Whether the next step is taken at once, while this goes on; `wait: {for: Drained}` waits for it. Default false.
    #[serde(default)]
    pub background: bool,
}

/// A taint of a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaintStep {
    /// The node. Left out: the only one.
    pub node: Option<Located<String>>,
    /// The taint's key.
    pub key: Located<String>,
    /// The taint's value.
    pub value: Option<Located<String>>,
    /// What it does to pods that do not tolerate it.
    pub effect: Located<TaintEffect>,
}

/// Pods to delete, by a selector, as a clean-up job does.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeletePodsStep {
    /// Such as `status.phase=Failed`. The pods are those of the run's namespace.
    pub field_selector: Located<String>,
    /// Whether the objects go at once, without waiting for the kubelet: grace period 0. Default false.
    #[serde(default)]
    pub force: bool,
}

/// A type of a few words, written by their names.
macro_rules! words {
    ($(#[$about:meta])* $type:ident, $expected:literal { $($(#[$doc:meta])* $word:ident),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum $type {
            $($(#[$doc])* $word,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word),*];

            /// The word for it in a scenario.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)*
                }
            }
        }

        impl Scalar for $type {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Result<Self, String> {
                if let Some(word) = Self::ALL.iter().find(|word| word.name() == text) {
                    return Ok(*word);
                }
                let names: Vec<&str> = Self::ALL.iter().map(|word| word.name()).collect();
                let help = match nearest(text, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("expected one of {}", names.join(", ")),
                };
                Err(format!("`{}` is not {}\n{help}", shortened(text), Self::EXPECTED))
            }
        }

        deserialize_scalar!($type);

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let names: Vec<&str> = Self::ALL.iter().map(|word| word.name()).collect();
                json_schema!({ "description": $expected, "type": "string", "enum": names })
            }
        }
    };
}

words!(
    /// What a taint does to pods that do not tolerate it.
    TaintEffect, "an effect of a taint" {
        /// None is scheduled to the node.
        NoSchedule,
        /// None is, where another node has room.
        PreferNoSchedule,
        /// None is, and those that run there are deleted.
        NoExecute,
    }
);

words!(
    /// How a pod ends.
    EndKind, "a way in which a pod ends" {
        /// It runs at the end of the run.
        Running,
        /// It neither runs nor has ended.
        Pending,
        /// Evicted by the kubelet for a resource that was low.
        EvictedByKubelet,
        /// Refused by the kubelet at admission.
        Rejected,
        /// Killed by the kernel for memory.
        OomKilled,
        /// Over a limit of local storage of its own.
        OverLimit,
        /// Removed by the eviction API.
        EvictedThroughApi,
        /// Deleted for a NoExecute taint of its node.
        DeletedByTaintManager,
        /// Deleted for a NoExecute taint of a device that its resource claim has.
        DeletedByDeviceTaintManager,
        /// Removed by the scheduler for a pod of higher priority.
        PreemptedByScheduler,
        /// Removed by the kubelet for a critical pod.
        PreemptedByKubelet,
        /// All its containers ended well.
        Completed,
        /// It failed by itself.
        Failed,
        /// Deleted, and nothing says on whose account.
        Deleted,
    }
);

words!(
    /// Why a drain refuses a pod.
    DrainObstacle, "a reason for which a drain refuses" {
        /// A DaemonSet manages it, and would make it anew.
        DaemonSet,
        /// It has an emptyDir volume.
        LocalStorage,
        /// No controller would make it anew elsewhere.
        Unmanaged,
    }
);

words!(
    /// Why a cluster autoscaler leaves a node alone.
    ScaleDownObstacle, "a reason for which a cluster autoscaler keeps a node" {
        /// No controller would make the pod anew elsewhere.
        Unmanaged,
        /// A pod of kube-system that no disruption budget covers.
        System,
        /// Its annotation `cluster-autoscaler.kubernetes.io/safe-to-evict` says `"false"`.
        NotSafeToEvict,
        /// It has a volume that lies on the node.
        LocalStorage,
        /// A disruption budget does not allow it to go.
        DisruptionBudget,
    }
);

words!(
    /// What a drain came to.
    DrainEnd, "what a drain comes to" {
        /// All that it takes is gone from the node.
        Emptied,
        /// Time was up, and pods were left.
        TimedOut,
    }
);

words!(
    /// Whether something that people say is so.
    Standing, "whether a claim is so" {
        /// It is so as they say.
        Yes,
        /// It is not.
        No,
        /// Some of it is.
        Partly,
    }
);

/// How the pods of a workload ended: the kind alone, or with bounds.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The kind of end.
    pub kind: EndKind,
    /// How many ended so; absent for at least one.
    pub count: Option<Bounds<Count>>,
    /// Whether the object is gone at the end of the run. `false` of a pod that was deleted: it is stuck Terminating; of
    /// one that failed: the Failed object is kept.
    pub gone: Option<bool>,
    /// What its status must say, as a part of its reason or message.
    pub reason: Option<String>,
    /// What else must have been said of it, each as a part of one such saying: of the messages of its conditions, of events about it, and
    /// of how its containers ended.
    pub says: Vec<String>,
    /// How often its containers were started again.
    pub restarts: Option<Bounds<Count>>,
}

/// How the pods of a workload ended, with bounds.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BoundedEnd {
    /// The kind of end.
    #[serde(rename = "as")]
    kind: EndKind,
    /// How many ended so. Left out: at least one.
    count: Option<Bounds<Count>>,
    /// Whether the object is gone at the end of the run. `false` of a pod that was deleted: it is stuck Terminating; of
    /// one that failed: the Failed object is kept.
    gone: Option<bool>,
    /// What its status must say, as a part of its reason or message.
    reason: Option<String>,
    /// What else must have been said of it, each as a part of one such saying: of the messages of its conditions, of events about it, and
    /// of how its containers ended, such as `filler: Error, exit code 3`.
    #[serde(default)]
    says: Vec<String>,
    /// How often its containers were started again.
    restarts: Option<Bounds<Count>>,
}

impl<'de> Deserialize<'de> for Ended {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match value_or_mapping::<EndKind, BoundedEnd, D>(deserializer)? {
            Either::Value(kind) => {
                Self { kind, count: None, gone: None, reason: None, says: Vec::new(), restarts: None }
            }
            Either::Mapping(BoundedEnd { kind, count, gone, reason, says, restarts }) => {
                Self { kind, count, gone, reason, says, restarts }
            }
        })
    }
}

impl JsonSchema for Ended {
    fn schema_name() -> Cow<'static, str> {
        "Ended".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How the pods of a workload ended: the kind alone, or a mapping with bounds.",
            "anyOf": [generator.subschema_for::<EndKind>(), generator.subschema_for::<BoundedEnd>()],
        })
    }
}

/// HTTP status codes in the order in which they were answered.
pub type StatusCodes = Vec<Located<Count>>;

/// What a drain of a node came to.
#[derive(Debug, Clone)]
pub enum Drained {
    /// It went on to its end.
    To(DrainEnd),
    /// It refused, and evicted nobody, for these pods: exactly these.
    Refused(Entries<DrainObstacle>),
}

/// A drain that refused.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefusedDrain {
    /// Exactly the workloads whose pods it refused for, each with the reason.
    refused: Entries<DrainObstacle>,
}

impl<'de> Deserialize<'de> for Drained {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match value_or_mapping::<DrainEnd, RefusedDrain, D>(deserializer)? {
            Either::Value(end) => Self::To(end),
            Either::Mapping(RefusedDrain { refused }) => Self::Refused(refused),
        })
    }
}

impl JsonSchema for Drained {
    fn schema_name() -> Cow<'static, str> {
        "Drained".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What the drains of a node came to: Emptied, TimedOut, or whom they refused for.",
            "anyOf": [generator.subschema_for::<DrainEnd>(), generator.subschema_for::<RefusedDrain>()],
        })
    }
}

/// A condition that comes and goes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flapping {
    /// Such as `MemoryPressure`.
    pub condition: Located<String>,
    /// Whose. Left out: the only node's.
    pub node: Option<Located<String>>,
    /// How often it was raised.
    pub times: Bounds<Count>,
    /// How long from one raise to the next, each time.
    pub period: Option<Located<Lasting>>,
}
