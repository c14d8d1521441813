//! Writes a run in virtual time down as a timeline of the same observations that a real run leaves.

use std::collections::BTreeMap;

use plimsoll_eviction::message::{EVICTED, EVICTION_THRESHOLD_MET, reclaim_event_message};
use plimsoll_node::report::{MemorySample, OomKill, PodSample, Sample};
use serde_json::json;

use super::curve::{Micros, SECOND};
use super::objects;
use super::simulation::{Fate, Happening, Sink, World, timestamp};
use super::{Assumptions, MODEL, Phase, Prepared, simulate};
use crate::observe::{Fact, Observation, Timeline};
use crate::plan::Plan;

/// Time from one sample of a node to the next. Between two events everything is a straight line, so that more of them
/// would tell no more.
const SAMPLE_INTERVAL: Micros = SECOND / 2;

/// The timeline of one phase.
#[must_use]
pub fn timeline(plan: &Plan, prepared: &Prepared, assumptions: &Assumptions, phase: &Phase) -> Timeline {
    let mut recording = Recording { plan, timeline: Timeline::default(), next_sample: 0 };
    simulate(prepared, assumptions, phase, &mut recording);
    recording.timeline
}

struct Recording<'a> {
    plan: &'a Plan,
    timeline: Timeline,
    next_sample: Micros,
}

impl Recording<'_> {
    fn push(&mut self, at: Micros, fact: Fact) -> &Observation {
        self.timeline.push(timestamp(at), fact)
    }

    fn sample(&mut self, world: &World<'_>, at: Micros) {
        for node in 0..world.nodes.len() {
            let sample = Box::new(sample(world, node, at));
            let node = world.prepared.nodes[node].name.clone();
            self.push(at, Fact::Sample { node, sample });
        }
    }

    fn began(&mut self, world: &World<'_>) {
        let (cluster, kubernetes) = (MODEL.to_owned(), self.plan.kubernetes.clone());
        self.push(0, Fact::Began { cluster, kubernetes });
        for node in 0..world.nodes.len() {
            self.push(0, Fact::Node(Box::new(objects::node(world, node))));
        }
        self.push(0, Fact::Started);
    }

    /// What a kubelet had before it when it decided.
    fn summary(&mut self, world: &World<'_>, node: usize) {
        let name = world.prepared.nodes[node].name.clone();
        if let Ok(summary) = serde_json::to_value(world.summary(node)) {
            self.push(world.now, Fact::Summary { node: name, summary: Box::new(summary) });
        }
    }

    fn metrics(&mut self, world: &World<'_>) {
        for (plan, own) in world.prepared.nodes.iter().zip(&world.nodes) {
            for (signal, count) in &own.counts {
                let (node, signal) = (plan.name.clone(), signal.name().to_owned());
                self.push(world.now, Fact::EvictionMetric { node, signal, count: *count });
            }
        }
    }
}

impl Sink for Recording<'_> {
    fn passing(&mut self, world: &World<'_>, _from: Micros, to: Micros) {
        while self.next_sample <= to {
            let at = self.next_sample;
            self.sample(world, at);
            self.next_sample += SAMPLE_INTERVAL;
        }
    }

    fn happening(&mut self, world: &World<'_>, happening: &Happening<'_>) {
        let now = world.now;
        match happening {
            Happening::Started => self.began(world),
            Happening::StepBegan(step) => drop(self.push(now, Fact::StepBegan { step: *step })),
            Happening::StepEnded(step, outcome) => {
                let location =
                    self.plan.steps.get(*step).map(|step| step.location.clone()).unwrap_or_default();
                self.push(now, Fact::StepEnded { step: *step, location, outcome: outcome.clone() });
            }
            Happening::Pod(pod) => drop(self.push(now, Fact::Pod(Box::new(objects::pod(world, *pod))))),
            Happening::PodDeleted(pod) => {
                self.push(now, Fact::PodDeleted(Box::new(objects::pod(world, *pod))));
            }
            Happening::Node(node) => drop(self.push(now, Fact::Node(Box::new(objects::node(world, *node))))),
            Happening::Look { node, outcome } => {
                if !outcome.evictions.is_empty() {
                    self.sample(world, now);
                    self.summary(world, *node);
                }
                if let Some(resource) = outcome.reclaiming {
                    let message = reclaim_event_message(resource);
                    let event = objects::node_event(world, *node, EVICTION_THRESHOLD_MET, message);
                    self.push(now, Fact::Event(Box::new(event)));
                }
            }
            Happening::Evicted { pod, eviction, .. } => {
                let message = eviction.message.to_string();
                let event = objects::pod_event(world, *pod, EVICTED, message, eviction.annotations.clone());
                self.push(now, Fact::Event(Box::new(event)));
                self.metrics(world);
            }
            Happening::Rejected { pod } => {
                if let Some(Fate::Rejected { reason, message }) = &world.pod(*pod).fate {
                    let message = message.trim_start_matches("Pod was rejected: ").to_owned();
                    let event = objects::pod_event(world, *pod, reason, message, None);
                    self.push(now, Fact::Event(Box::new(event)));
                }
            }
            Happening::OomKill { node, pod, scope } => {
                self.sample(world, now);
                let kill = OomKill {
                    scope: *scope,
                    pod_uid: pod.map(|pod| world.pod(pod).rules.uid.clone()),
                    task: Some("plimsoll-hog".to_owned()),
                    source: "predicted".to_owned(),
                };
                self.push(now, Fact::OomKill { node: world.prepared.nodes[*node].name.clone(), kill });
            }
            Happening::Filled { pod, container } => {
                let own = world.pod(*pod);
                let filled = own.containers.get(*container).map_or(0, |own| own.memory.at(now));
                let report = json!({ "kind": "held", "resource": "memory", "unit": "bytes", "filled": filled, "target": filled });
                self.push(now, Fact::Filler { name: own.name().to_owned(), in_pod: true, report });
            }
            Happening::Finished => {
                self.sample(world, now);
                self.push(now, Fact::Finished);
            }
        }
    }
}

/// A node as its sampler would measure it.
fn sample(world: &World<'_>, node: usize, at: Micros) -> Sample {
    let bytes = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let plan = &world.prepared.nodes[node];
    let (whole, pods) = (world.node_memory(node, at), world.pods_memory(node, at));
    let of_pod = |pod: &usize| {
        let sample = PodSample { working_set: bytes(world.pod_memory(*pod, at)), pids: None };
        (world.pod(*pod).rules.uid.clone(), sample)
    };
    let started = world.nodes[node].pods.iter().filter(|pod| world.pod(**pod).started.is_some());
    let memory = |capacity: Option<i64>, used: i64| MemorySample {
        capacity: capacity.map(bytes),
        usage: bytes(used),
        working_set: bytes(used),
    };
    Sample {
        memory: memory(Some(plan.memory), whole),
        kubepods: Some(memory(plan.pods_memory, pods)),
        // A pod that has not started has no cgroup to measure.
        pods: started.map(of_pod).collect(),
        filesystems: BTreeMap::new(),
        pids: None,
    }
}
