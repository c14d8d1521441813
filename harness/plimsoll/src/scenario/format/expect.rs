//! What must turn out to be so.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{
    Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};

use super::disruption::{Drained, Ended, Flapping, ScaleDownObstacle, StatusCodes, TaintEffect};
use super::values::{Amount, Bounds, Count, Lasting, Names, NamesOrNone, Number, Time};
use crate::scenario::located::{Entries, Located};

/// What must turn out to be so. Each line needs evidence; without it the verdict is unknown, never a pass.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Exactly these were evicted by the kubelet because a resource ran low, one after another. A list inside the
    /// list is a set whose order is open. `[]`: nobody was.
    pub evicted: Option<Located<Vec<Names>>>,
    /// Every pod of these ran to the end of the run, without a restart.
    pub survive: Option<Located<Names>>,
    /// By eviction signal: how much the evictions gave back, or, beside `nodeReclaimed` and with nobody evicted, what came back without
    /// them.
    pub reclaimed: Option<Located<Entries<Located<Reclaimed>>>>,
    /// These node conditions were raised, and cleared again, in this order, and no other pressure condition was.
    pub conditions: Option<Located<Vec<Located<ConditionEntry>>>>,
    /// Exactly these were killed by the kernel for memory. `none`: nobody, and nothing else on the nodes either.
    pub oom_kills: Option<Located<NamesOrNone>>,
    /// Exactly these were refused by the kubelet at admission. `none`: nobody.
    pub rejected: Option<Located<NamesOrNone>>,
    /// Exactly these were evicted by the kubelet because they were over a limit of local storage, each over this one. `none`:
    /// nobody was.
    pub over_limit: Option<Located<OverLimit>>,
    /// What the kubelet removed to get space back without evicting anybody, by node.
    pub node_reclaimed: Option<Located<NodeReclaimed>>,
    /// What the kubelet said when it evicted.
    pub message: Option<Located<Vec<Located<Message>>>>,
    /// Of each eviction of these the kubelet sent exactly one event, with annotations that agree with its message, and gave the pod the
    /// condition DisruptionTarget, reason TerminationByKubelet. Over a limit of local storage it gives neither annotations nor condition.
    pub announced: Option<Located<Names>>,
    /// Pods whose ends were decided close together, as what one look of the kubelet finds.
    pub together: Option<Located<Vec<Located<Together>>>>,
    /// By eviction signal: the most time from the crossing of its threshold to the eviction. With `atLeast` also the
    /// least, such as the grace period of a soft threshold.
    pub within: Option<Located<Entries<Located<Lasting>>>>,
    /// By workload: how long its pod took to end at most, or at least and at most.
    pub terminated: Option<Located<Entries<Located<Lasting>>>>,
    /// By workload with a controller: what became of the places of evicted pods.
    pub replaced: Option<Located<Entries<Located<Replaced>>>>,
    /// These nodes got these taints, by themselves or from the control plane. `[]`: no node got one that deletes pods.
    pub tainted: Option<Located<Vec<Located<Tainted>>>>,
    /// By workload: how long its pods stayed on a node that had got a NoExecute taint until the control plane deleted them, or
    /// `always` where they were to stay.
    pub tolerated: Option<Located<Entries<Located<Tolerated>>>>,
    /// A pod of each of these was to go and its grace period was over, but at the end it was still there, as on a node that can
    /// not say that it has stopped.
    pub terminating: Option<Located<Names>>,
    /// By workload: how its pods ended. One that is expected to end holds if at least one did, and all that ended did so.
    pub ended: Option<Located<Entries<Located<Ended>>>>,
    /// By workload: what the API server answered, as HTTP status codes in order, to the `evict` steps about each of its pods. Equal
    /// answers one after another count once.
    pub answered: Option<Located<Entries<Located<StatusCodes>>>>,
    /// By workload: the same of what drains asked about each of its pods, for which a disruption budget's 429 is no end: they ask
    /// again.
    pub drain_answered: Option<Located<Entries<Located<StatusCodes>>>>,
    /// By node: what its drains came to.
    pub drained: Option<Located<Entries<Located<Drained>>>>,
    /// By workload: the node that the scheduler nominated for its pod when it preempted others there.
    pub nominated: Option<Located<Entries<Located<String>>>>,
    /// By node: exactly the workloads for whose pods a cluster autoscaler would keep it, each with the reason.
    pub scale_down_blocked: Option<Located<Entries<Located<Entries<ScaleDownObstacle>>>>>,
    /// Conditions that come and go.
    pub flapping: Option<Located<Vec<Located<Flapping>>>>,
    /// By workload with `gpuBystander`: how much longer a round of its work took while another workload held its GPU memory than before
    /// that one started.
    pub slowed: Option<Located<Entries<Located<Slowed>>>>,
    /// How many nodes of a zone of hollow nodes got a NoExecute taint, and how far apart.
    pub taint_rate: Option<Located<Vec<Located<TaintRate>>>>,
}

/// How much longer work takes beside another workload.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slowed {
    /// The workload that holds GPU memory meanwhile.
    pub by: Located<String>,
    /// How many times as long at least, by the median.
    pub at_least: Option<Located<Number>>,
    /// How many times as long at most, by the median. What is slower by less than 5 ms may be the machine's processors, and is no
    /// violation.
    pub at_most: Option<Located<Number>>,
}

/// How the nodes of a zone are tainted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaintRate {
    /// The zone.
    pub zone: Located<String>,
    /// The time from one node to the next, of all such times the middle one: at most, or at least and at most.
    pub every: Option<Located<Lasting>>,
    /// How many nodes got the taint.
    pub nodes: Option<Bounds<Count>>,
    /// How many had it at the end.
    pub left: Option<Bounds<Count>>,
}

/// A taint that a node got.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tainted {
    /// The node. Left out: the only one.
    pub node: Option<Located<String>>,
    /// The taint's key, such as `node.kubernetes.io/unreachable`.
    pub taint: Located<String>,
    /// Its effect. Left out: any.
    pub effect: Option<TaintEffect>,
    /// The time from the step that took the node away to the taint: at most, or at least and at most.
    pub within: Option<Located<Lasting>>,
    /// Whether it was taken off again before the run ended. Left out: it does not matter.
    pub removed: Option<bool>,
}

/// How long pods stay on a node that got a NoExecute taint.
#[derive(Debug, Clone, Copy)]
pub enum Tolerated {
    /// They are not deleted at all.
    Always,
    /// They are not deleted while the run lasts, and say themselves that they tolerate the taint so long.
    Asked(Time),
    /// So long from the taint to the deletion.
    Lasting(Lasting),
}

/// How it is written as a mapping.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TolerationBounds {
    /// What the pods' own toleration of the taint says, in a run that is over before that is.
    asked: Option<Time>,
    /// The least time from the taint to the deletion.
    at_least: Option<Time>,
    /// The most time from the taint to the deletion.
    at_most: Option<Time>,
}

impl<'de> Deserialize<'de> for Tolerated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl<'de> Visitor<'de> for Word {
            type Value = Tolerated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the word always, a duration such as 5s, or a mapping of atLeast and atMost, or of asked",
                )
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Tolerated, E> {
                match word {
                    "always" => Ok(Tolerated::Always),
                    _ => Lasting::deserialize(word.into_deserializer()).map(Tolerated::Lasting),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tolerated, A::Error> {
                match TolerationBounds::deserialize(MapAccessDeserializer::new(map))? {
                    TolerationBounds { asked: Some(asked), at_least: None, at_most: None } => {
                        Ok(Tolerated::Asked(asked))
                    }
                    TolerationBounds { asked: Some(_), .. } => {
                        Err(A::Error::custom("`asked` stands alone: it is of pods that are not deleted"))
                    }
                    TolerationBounds { asked: None, at_least: None, at_most: None } => {
                        Err(A::Error::custom("no bound: expected atLeast, atMost, both, or asked"))
                    }
                    TolerationBounds { asked: None, at_least, at_most } => {
                        Ok(Tolerated::Lasting(Lasting { at_least, at_most }))
                    }
                }
            }
        }

        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for Tolerated {
    fn schema_name() -> Cow<'static, str> {
        "Tolerated".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The word always, or the most time, or a mapping with atLeast, atMost or both, or with asked.",
            "anyOf": [
                { "type": "string", "enum": ["always"] },
                generator.subschema_for::<Time>(),
                generator.subschema_for::<TolerationBounds>(),
            ],
        })
    }
}

/// Who was over which limit of local storage.
#[derive(Debug, Clone)]
pub struct OverLimit(
    /// Workloads and limits; none for `none`.
    pub Entries<Located<StorageLimit>>,
);

/// A limit of local storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum StorageLimit {
    /// The `sizeLimit` of an emptyDir volume.
    EmptyDir,
    /// What all containers of the pod may use together.
    Pod,
    /// The `ephemeral-storage` limit of a container.
    Container,
}

impl<'de> Deserialize<'de> for OverLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NoneOrEntries;

        impl<'de> Visitor<'de> for NoneOrEntries {
            type Value = OverLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word none, or a mapping of workloads to EmptyDir, Pod or Container")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<OverLimit, E> {
                match word {
                    "none" => Ok(OverLimit(Entries::default())),
                    _ => Err(E::custom(format!(
                        "over which limit? Expected a mapping such as `{{{word}: EmptyDir}}`, or none"
                    ))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OverLimit, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(OverLimit)
            }
        }

        deserializer.deserialize_any(NoneOrEntries)
    }
}

impl JsonSchema for OverLimit {
    fn schema_name() -> Cow<'static, str> {
        "OverLimit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The word none, or by workload the limit of local storage that it was over: EmptyDir, Pod or Container.",
            "anyOf": [
                { "type": "string", "enum": ["none"] },
                { "type": "object", "additionalProperties": generator.subschema_for::<StorageLimit>() },
            ],
        })
    }
}

/// What the kubelet removed from a node, as the container runtime tells it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeReclaimed {
    /// The node. Left out: the only one.
    pub node: Option<Located<String>>,
    /// How many images of `images` of the node and of `load` steps.
    pub images: Option<Bounds<Count>>,
    /// How many containers that had ended, of pods that were still there.
    pub containers: Option<Bounds<Count>>,
    /// Images that were there to the end.
    #[serde(default)]
    pub kept: Vec<Located<String>>,
}

/// How much the evictions of a signal gave back: what was available after each, less the least before it, summed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reclaimed {
    /// The least that came back.
    pub at_least: Option<Located<Amount>>,
    /// The most that came back.
    pub at_most: Option<Located<Amount>>,
    /// Whether threshold and minimum reclaim together had to be available after the last eviction. Default false.
    #[serde(default)]
    pub minimum_reclaim: bool,
}

/// Pods that go in one look.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Together {
    /// The workloads, two at least or one with several pods.
    pub workloads: Names,
    /// The time from the first decision to the last: at most, or at least and at most. The kubelet looks every 10s.
    pub within: Located<Lasting>,
}

/// A condition: its name alone, or with bounds.
#[derive(Debug, Clone)]
pub struct ConditionEntry {
    /// Such as `MemoryPressure`.
    pub condition: Located<String>,
    /// Whose; absent: the only node's.
    pub node: Option<Located<String>>,
    /// The most time from the crossing of the threshold to the condition.
    pub raised_within: Option<Time>,
    /// How long from raised to cleared, at most; or at least and at most.
    pub cleared_within: Option<Located<Lasting>>,
    /// Whether it must have cleared before the run ended.
    pub cleared: bool,
}

/// A condition with bounds.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BoundedCondition {
    /// Such as `MemoryPressure`.
    condition: Located<String>,
    /// Whose. Left out: the only node's.
    node: Option<Located<String>>,
    /// The most time from the crossing of the threshold to the condition.
    raised_within: Option<Time>,
    /// How long from raised to cleared, at most; or at least and at most.
    cleared_within: Option<Located<Lasting>>,
    /// Whether it must have cleared before the run ended. Default true.
    cleared: Option<bool>,
}

impl<'de> Deserialize<'de> for ConditionEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enum Written {
            Name(String),
            Bounded(Box<BoundedCondition>),
        }

        struct NameOrBounded;

        impl<'de> Visitor<'de> for NameOrBounded {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a condition such as MemoryPressure, or a mapping")
            }

            fn visit_str<E>(self, name: &str) -> Result<Written, E> {
                Ok(Written::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                BoundedCondition::deserialize(MapAccessDeserializer::new(map))
                    .map(|bounded| Written::Bounded(Box::new(bounded)))
            }
        }

        impl<'de> Deserialize<'de> for Written {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(NameOrBounded)
            }
        }

        let written = Located::<Written>::deserialize(deserializer)?;
        let (mark, key) = (written.mark, written.key);
        Ok(match written.value {
            Written::Name(name) => Self {
                condition: Located { value: name, mark, key },
                node: None,
                raised_within: None,
                cleared_within: None,
                cleared: true,
            },
            Written::Bounded(bounded) => Self {
                condition: bounded.condition,
                node: bounded.node,
                raised_within: bounded.raised_within,
                cleared_within: bounded.cleared_within,
                cleared: bounded.cleared.unwrap_or(true),
            },
        })
    }
}

impl JsonSchema for ConditionEntry {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A node condition such as MemoryPressure, alone or with bounds.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<BoundedCondition>()],
        })
    }
}

/// What the kubelet must have said when it evicted. What is left out is not looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// The workload whose eviction it is.
    pub workload: Located<String>,
    /// The resource that was low, such as `memory`.
    pub resource: Option<Located<String>>,
    /// The threshold quantity.
    pub threshold: Option<Bounds<Amount>>,
    /// What was available.
    pub available: Option<Bounds<Amount>>,
    /// The container that it names.
    pub container: Option<String>,
    /// What that container was using.
    pub using: Option<Bounds<Amount>>,
    /// What that container had requested.
    pub request: Option<Bounds<Amount>>,
}

/// What became of the places of a controller's evicted pods.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replaced {
    /// Where the successor went: `Same` (the node of the evicted pod), `Other`, `Nowhere` (it stayed Pending), or a
    /// node's name.
    pub on: Option<Located<ReplacedOn>>,
    /// Whether the last successor runs at the end.
    pub running: Option<bool>,
    /// How many successors there were. Default: at least 1.
    pub times: Option<Bounds<Count>>,
    /// How often a successor came back to the node that its predecessor was evicted from, and was evicted again.
    pub loops: Option<Bounds<Count>>,
    /// How long from one eviction on a node to the next in such a loop.
    pub loop_period: Option<Located<Lasting>>,
    /// How long from the decision on each pod to the Running of its successor.
    pub running_within: Option<Located<Lasting>>,
    /// What the scheduler says of a successor that went nowhere, as a part of its message.
    pub reason: Option<String>,
}

/// Where a successor went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplacedOn {
    /// The node that its predecessor was evicted from.
    Same,
    /// Another node.
    Other,
    /// Nowhere: it stayed Pending.
    Nowhere,
    /// This node.
    Node(String),
}

impl<'de> Deserialize<'de> for ReplacedOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl<'de> Visitor<'de> for Word {
            type Value = ReplacedOn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Same, Other, Nowhere or the name of a node")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<ReplacedOn, E> {
                Ok(match word {
                    "Same" => ReplacedOn::Same,
                    "Other" => ReplacedOn::Other,
                    "Nowhere" => ReplacedOn::Nowhere,
                    _ => ReplacedOn::Node(word.to_owned()),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<ReplacedOn, A::Error> {
                Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self))
            }
        }

        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for ReplacedOn {
    fn schema_name() -> Cow<'static, str> {
        "ReplacedOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Same (the node of the evicted pod), Other, Nowhere (it stayed Pending), or a node's name.",
            "type": "string",
            "examples": ["Same", "Other", "Nowhere"],
        })
    }
}
