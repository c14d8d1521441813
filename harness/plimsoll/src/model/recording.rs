//! Writes a run in virtual time down as a timeline of the same observations that a real run leaves.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_eviction::message::{EVICTED, EVICTION_THRESHOLD_MET, reclaim_event_message};
use plimsoll_node::report::{
    FilesystemSample, MemorySample, OomKill, PidSample, PodSample, RuntimeEvent, RuntimeObject, Sample,
};
use serde_json::json;

use super::curve::{Micros, SECOND};
use super::node::{IMAGEFS, NODEFS};
use super::objects;
use super::simulation::{Fate, Happening, Sink, World, timestamp};
use super::{Assumptions, MODEL, Phase, Prepared, simulate};
use crate::observe::{Fact, Observation, Timeline};
use crate::plan::{Plan, Resource, filler};

/// Time from one sample of a node to the next. Between two events everything is a straight line, so that more of them
/// would tell no more.
const SAMPLE_INTERVAL: Micros = SECOND / 2;

/// The timeline of one phase.
#[must_use]
pub fn timeline(plan: &Plan, prepared: &Prepared, assumptions: &Assumptions, phase: &Phase) -> Timeline {
    let mut recording = Recording {
        plan,
        timeline: Timeline::default(),
        next_sample: 0,
        followed: plan.nodes.iter().map(|node| plan.follows_runtime(node)).collect(),
        containers: BTreeSet::new(),
    };
    simulate(prepared, assumptions, phase, &mut recording);
    recording.timeline
}

struct Recording<'a> {
    plan: &'a Plan,
    timeline: Timeline,
    next_sample: Micros,
    /// Which nodes' container runtimes are listened to.
    followed: Vec<bool>,
    /// The containers that the runtimes have told of.
    containers: BTreeSet<String>,
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
        for (node, state) in world.nodes.iter().enumerate() {
            for image in state.storage.images() {
                self.runtime(world, node, RuntimeObject::Image, true, image.to_owned());
            }
        }
        self.push(0, Fact::Started);
    }

    /// What a node's container runtime tells, where it is listened to.
    fn runtime(&mut self, world: &World<'_>, node: usize, what: RuntimeObject, added: bool, name: String) {
        if self.followed.get(node) == Some(&true) {
            let node = world.prepared.nodes[node].name.clone();
            self.push(world.now, Fact::Runtime { node, event: RuntimeEvent { what, added, name } });
        }
    }

    /// The containers of a pod that the runtime has not told of.
    fn containers_of(&mut self, world: &World<'_>, pod: usize) {
        let own = world.pod(pod);
        let (Some(node), Some(_)) = (own.node, own.started) else { return };
        if self.followed.get(node) != Some(&true) {
            return;
        }
        for (index, container) in own.containers.iter().enumerate() {
            let id = objects::container_id(world, pod, index, container.restarts);
            if self.containers.insert(id.clone()) {
                self.runtime(world, node, RuntimeObject::Container, true, id);
            }
        }
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
            Happening::Pod(pod) => {
                self.containers_of(world, *pod);
                self.push(now, Fact::Pod(Box::new(objects::pod(world, *pod))));
            }
            Happening::PodDeleted(pod) => {
                self.push(now, Fact::PodDeleted(Box::new(objects::pod(world, *pod))));
            }
            Happening::Node(node) => drop(self.push(now, Fact::Node(Box::new(objects::node(world, *node))))),
            Happening::Look { node, outcome } => {
                if !outcome.evictions.is_empty() || !outcome.node_reclaim.is_empty() {
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
            Happening::Reclaimed { node, containers, images } => {
                for (pod, container) in *containers {
                    let restarts = world.pod(*pod).containers.get(*container).map_or(0, |own| own.restarts);
                    let id = objects::container_id(world, *pod, *container, restarts);
                    self.runtime(world, *node, RuntimeObject::Container, false, id);
                }
                for image in *images {
                    self.runtime(world, *node, RuntimeObject::Image, false, image.clone());
                }
            }
            Happening::Loaded { node, images } => {
                for image in *images {
                    self.runtime(world, *node, RuntimeObject::Image, true, (*image).to_owned());
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
                let filled = own.containers.get(*container).map_or(0, |own| own.held.at(now));
                let fill = world.template(*pod).containers.get(*container).and_then(|own| own.fill);
                let resource = fill.map_or(Resource::Memory, |fill| fill.kind.resource());
                let unit = match resource {
                    Resource::Memory | Resource::Disk => "bytes",
                    _ => "count",
                };
                let resource = filler::word(resource);
                let report = json!({ "kind": "held", "resource": resource, "unit": unit, "filled": filled, "target": filled });
                self.push(now, Fact::Filler { name: own.name().to_owned(), in_pod: true, report });
            }
            Happening::Answered(answer) => drop(self.push(now, Fact::Answer(Box::new((*answer).clone())))),
            Happening::Drained { node, outcome } => {
                let (node, outcome) = (world.prepared.nodes[*node].name.clone(), (*outcome).clone());
                self.push(now, Fact::Drained { node, outcome });
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
        let tasks = world.prepared.processes.then(|| bytes(world.pod_tasks(*pod, at)));
        let sample = PodSample { working_set: bytes(world.pod_memory(*pod, at)), pids: tasks };
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
        filesystems: if world.prepared.storage { filesystems(world, node, at) } else { BTreeMap::new() },
        pids: world
            .prepared
            .processes
            .then(|| PidSample { maximum: bytes(plan.tasks), current: bytes(world.node_tasks(node, at)) }),
    }
}

/// A node's filesystems as its sampler would measure them.
fn filesystems(world: &World<'_>, node: usize, at: Micros) -> BTreeMap<String, FilesystemSample> {
    let figure = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let names = [(NODEFS, "nodefs"), (IMAGEFS, "imagefs")];
    let found = names.into_iter().filter_map(|(place, name)| {
        let capacity = world.prepared.nodes[node].filesystems[place]?.capacity;
        let left = world.storage_available(node, place, at)?;
        let sample = FilesystemSample {
            capacity: figure(capacity.bytes),
            available: figure(left.bytes),
            inodes: figure(capacity.inodes),
            inodes_free: figure(left.inodes),
        };
        Some((name.to_owned(), sample))
    });
    found.collect()
}
