//! A script of passes through the whole manager.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::KUBERNETES;
use crate::admission::refusal;
use crate::document::null_as_default;
use crate::duration::GoDuration;
use crate::layout::{FilesystemLayout, NodeReclaim};
use crate::manager::{Choose, Eviction, First, Manager, Outcome, Pass, State, every};
use crate::message::{
    DISRUPTION_TARGET, EVICTED, EVICTION_THRESHOLD_MET, TERMINATION_BY_KUBELET, reclaim_event_message,
};
use crate::pod::Pod;
use crate::signal::{NodeCondition, Signal};
use crate::summary::Summary;
use crate::threshold::{KubeletConfiguration, ThresholdError};
use crate::victim::Annotations;

/// Passes to be made, one after the other.
#[derive(Clone, Debug, Deserialize)]
pub struct LoopScript {
    /// The passes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ticks: Vec<Tick>,
}

/// One pass of a script.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tick {
    /// The clock, as written.
    pub at: String,
    /// The pods that run, unless they were killed before, as `namespace/name`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub active: Vec<String>,
    /// The statistics.
    #[serde(default, deserialize_with = "null_as_default")]
    pub summary: Summary,
    /// The statistics once anything was reclaimed on the node; absent if they stay the same.
    #[serde(default)]
    pub summary_after_reclaim: Option<Summary>,
    /// The pods that do not die at this pass.
    #[serde(default, deserialize_with = "null_as_default")]
    pub kill_fails: Vec<String>,
    /// Whether there are no statistics at the start.
    #[serde(default, deserialize_with = "null_as_default")]
    pub summary_error: bool,
    /// Whether there are none after the node was reclaimed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reclaim_summary_error: bool,
}

/// What a script can leave.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoopAnswer {
    /// Whose rules these are.
    pub kubernetes: &'static str,
    /// Why a kubelet refuses the thresholds; then there are no traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_error: Option<String>,
    /// Every trace, each once; only one if there are too many.
    pub traces: Vec<Trace>,
}

/// One way that a script can go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// What happened at each pass.
    pub ticks: Vec<TickAnswer>,
}

/// What happened at a pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickAnswer {
    /// The clock, as written.
    pub at: String,
    /// The node's conditions afterwards, sorted.
    pub conditions: Vec<NodeCondition>,
    /// The thresholds that count as met, in no order.
    pub thresholds_met: Vec<MetThresholdAnswer>,
    /// What was tried on the node itself, in order.
    pub reclaim: Vec<NodeReclaim>,
    /// The pods evicted, sorted.
    pub evicted: Vec<String>,
    /// How they were killed, sorted by pod.
    pub kills: Vec<KillAnswer>,
    /// The events, that of the node first, then by pod.
    pub events: Vec<EventAnswer>,
    /// The pods that would not be let in now, sorted.
    pub rejects: Vec<String>,
}

/// A threshold that counts as met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetThresholdAnswer {
    /// Its signal.
    pub signal: Signal,
    /// Its grace period.
    pub grace_period: GoDuration,
}

/// A pod's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KillAnswer {
    /// The pod.
    pub pod: String,
    /// The grace handed to the killer, in seconds.
    pub grace_period_seconds: i64,
    /// The status's phase.
    pub phase: &'static str,
    /// The status's reason.
    pub reason: &'static str,
    /// The status's message.
    pub message: String,
    /// The DisruptionTarget condition; absent for limits on local storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionAnswer>,
}

/// A pod's condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionAnswer {
    /// The type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status.
    pub status: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
    /// The pod's generation, absent where that is 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventAnswer {
    /// `node`, or the pod.
    pub object: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
    /// The annotations; absent for the node and for limits on local storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// A script being run.
struct Run<'a> {
    manager: &'a Manager,
    pods: &'a [Pod],
    by_name: BTreeMap<String, &'a Pod>,
    ticks: Vec<(Timestamp, &'a Tick)>,
    limit: usize,
}

/// Where a script has got to: the manager's state and the pods that are dead.
#[derive(Clone, Default, PartialEq)]
struct Node {
    state: State,
    dead: BTreeSet<String>,
}

impl LoopAnswer {
    /// Runs a script. If there are more than `limit` traces, there is only the first in the answer.
    ///
    /// # Errors
    /// [`jiff::Error`] if the clock of a pass is no time.
    pub fn new(
        pods: &[Pod],
        script: &LoopScript,
        configuration: &KubeletConfiguration,
        layout: FilesystemLayout,
        limit: usize,
    ) -> Result<Self, jiff::Error> {
        let manager = Manager::from_configuration(configuration, layout);
        let config_error = manager.as_ref().err().map(ThresholdError::to_string);
        let traces = match &manager {
            Ok(manager) => Run::new(manager, pods, script, limit)?.traces(),
            Err(_) => Vec::new(),
        };
        Ok(Self { kubernetes: KUBERNETES, config_error, traces })
    }
}

impl<'a> Run<'a> {
    fn new(
        manager: &'a Manager,
        pods: &'a [Pod],
        script: &'a LoopScript,
        limit: usize,
    ) -> Result<Self, jiff::Error> {
        let by_name = pods.iter().map(|pod| (pod.full_name(), pod)).collect();
        let ticks = script
            .ticks
            .iter()
            .map(|tick| Ok((tick.at.parse()?, tick)))
            .collect::<Result<_, jiff::Error>>()?;
        Ok(Self { manager, pods, by_name, ticks, limit })
    }

    fn traces(&self) -> Vec<Trace> {
        let mut traces = Vec::new();
        if !self.follow(0, &Node::default(), &mut Vec::new(), &mut traces) {
            traces = vec![self.first()];
        }
        traces
    }

    /// Adds every trace that goes on from here; false if there are too many.
    fn follow(&self, at: usize, node: &Node, so_far: &mut Vec<TickAnswer>, traces: &mut Vec<Trace>) -> bool {
        if at == self.ticks.len() {
            let trace = Trace { ticks: so_far.clone() };
            if !traces.contains(&trace) {
                traces.push(trace);
            }
            return traces.len() <= self.limit;
        }
        every(|path| self.tick(at, node, path)).into_iter().all(|(next, answer)| {
            so_far.push(answer);
            let bounded = self.follow(at + 1, &next, so_far, traces);
            so_far.pop();
            bounded
        })
    }

    fn first(&self) -> Trace {
        let mut node = Node::default();
        let ticks = (0..self.ticks.len())
            .map(|at| {
                let (next, answer) = self.tick(at, &node, &mut First);
                node = next;
                answer
            })
            .collect();
        Trace { ticks }
    }

    fn tick(&self, at: usize, node: &Node, choose: &mut impl Choose) -> (Node, TickAnswer) {
        let (now, tick) = self.ticks[at];
        let running = |name: &&String| !node.dead.contains(*name);
        let active: Vec<&Pod> =
            tick.active.iter().filter(running).filter_map(|name| self.by_name.get(name).copied()).collect();
        let summary = Some(&tick.summary).filter(|_| !tick.summary_error);
        let after = |_: &[NodeReclaim]| {
            let summary = tick.summary_after_reclaim.as_ref().unwrap_or(&tick.summary);
            Some(summary.clone()).filter(|_| !tick.reclaim_summary_error)
        };
        let (state, outcome) =
            self.manager.step(&node.state, Pass { now, pods: &active, summary }, choose, after);
        let mut dead = node.dead.clone();
        for eviction in &outcome.evictions {
            let name = active[eviction.pod].full_name();
            if !tick.kill_fails.contains(&name) {
                dead.insert(name);
            }
        }
        let answer = self.answer(&tick.at, &active, &outcome, &state);
        (Node { state, dead }, answer)
    }

    fn answer(&self, at: &str, active: &[&Pod], outcome: &Outcome, state: &State) -> TickAnswer {
        let mut kills: Vec<KillAnswer> =
            outcome.evictions.iter().map(|eviction| kill(active[eviction.pod], eviction)).collect();
        kills.sort_by(|a, b| a.pod.cmp(&b.pod));
        let mut events: Vec<EventAnswer> = outcome
            .evictions
            .iter()
            .map(|eviction| EventAnswer {
                object: active[eviction.pod].full_name(),
                kind: "Warning",
                reason: EVICTED,
                message: eviction.message.to_string(),
                annotations: eviction.annotations.clone(),
            })
            .collect();
        events.sort_by(|a, b| a.object.cmp(&b.object));
        if let Some(resource) = outcome.reclaiming {
            let message = reclaim_event_message(resource);
            let object = "node".to_owned();
            let event = EventAnswer {
                object,
                kind: "Warning",
                reason: EVICTION_THRESHOLD_MET,
                message,
                annotations: None,
            };
            events.insert(0, event);
        }
        let refused = |pod: &&Pod| refusal(pod, state.conditions()).is_some();
        let rejects: BTreeSet<String> = self.pods.iter().filter(refused).map(Pod::full_name).collect();
        TickAnswer {
            at: at.to_owned(),
            conditions: outcome.conditions.clone(),
            thresholds_met: outcome
                .thresholds_met
                .iter()
                .map(|met| MetThresholdAnswer { signal: met.signal, grace_period: met.grace_period })
                .collect(),
            reclaim: outcome.node_reclaim.clone(),
            evicted: kills.iter().map(|kill| kill.pod.clone()).collect(),
            kills,
            events,
            rejects: rejects.into_iter().collect(),
        }
    }
}

fn kill(pod: &Pod, eviction: &Eviction) -> KillAnswer {
    let message = eviction.message.to_string();
    KillAnswer {
        pod: pod.full_name(),
        grace_period_seconds: eviction.grace_period_seconds,
        phase: "Failed",
        reason: EVICTED,
        condition: eviction.annotations.is_some().then(|| ConditionAnswer {
            kind: DISRUPTION_TARGET,
            status: "True",
            reason: TERMINATION_BY_KUBELET,
            message: message.clone(),
            observed_generation: pod.generation,
        }),
        message,
    }
}
