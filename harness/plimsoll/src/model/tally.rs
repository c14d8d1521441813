//! The cheap sink: what a run came to, without writing down how.

use plimsoll_eviction::manager::{EvictionCause, MetThreshold};
use plimsoll_eviction::signal::Signal;
use plimsoll_node::report::OomScope;

use super::curve::Micros;
use super::simulation::{Happening, Sink, World};
use crate::observe::StepOutcome;

/// What a run in virtual time came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Evictions by the kubelet, in order.
    pub evictions: Vec<Evicted>,
    /// OOM kills, in order.
    pub oom_kills: Vec<Killed>,
    /// Rejections at admission: when, and of which workload, by place.
    pub rejections: Vec<(Micros, Option<usize>)>,
    /// The pressure of each node that came under any, by the first time.
    pub pressures: Vec<Pressure>,
    /// The first step that did not end as it should.
    pub failed_step: Option<usize>,
    /// When the run was over.
    pub ended: Micros,
}

/// A node's first time under pressure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pressure {
    /// The node, by place.
    pub node: usize,
    /// When its kubelet first saw a threshold met.
    pub since: Micros,
    /// When, after that, its kubelet for the first time saw none met any more, with minimum reclaim.
    pub relieved: Option<Micros>,
    /// What its kubelet saw met when it last looked.
    met: Vec<MetThreshold>,
}

/// An eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// When it was decided.
    pub at: Micros,
    /// The pod, by place.
    pub pod: usize,
    /// Its workload, by place.
    pub workload: Option<usize>,
    /// The node, by place.
    pub node: usize,
    /// Why.
    pub cause: EvictionCause,
    /// What was missing of the node's memory then, or of that of its pods, for the thresholds met and their minimum reclaim; absent where it was
    /// no threshold of memory.
    pub missing: Option<i64>,
    /// What the pod held of it.
    pub held: i64,
}

/// An OOM kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed {
    /// When.
    pub at: Micros,
    /// The workload, by place; absent outside every pod and every workload.
    pub workload: Option<usize>,
    /// The node, by place.
    pub node: usize,
    /// Whose limit that was.
    pub scope: OomScope,
}

impl Tally {
    /// What a node lacks for the thresholds of this signal that its kubelet saw met, soft ones whose grace period is over among
    /// them.
    fn missing(&self, world: &World<'_>, node: usize, cause: EvictionCause) -> Option<i64> {
        let EvictionCause::Threshold(signal) = cause else { return None };
        let now = world.now();
        let (capacity, available) = match signal {
            Signal::MemoryAvailable => {
                (world.prepared().nodes()[node].memory, world.memory_available(node, now))
            }
            Signal::AllocatableMemoryAvailable => {
                let limit = world.prepared().nodes()[node].memory_of_pods();
                (limit, limit - world.pods_memory(node, now))
            }
            _ => return None,
        };
        let met = &self.pressures.iter().find(|own| own.node == node)?.met;
        let counts = |signal, grace_period| met.contains(&MetThreshold { signal, grace_period });
        let thresholds = world.prepared().nodes()[node].thresholds().iter();
        let target = thresholds
            .filter(|own| own.signal == signal && counts(signal, own.grace_period))
            .map(|own| own.resolve(capacity, true).value())
            .max()?;
        Some(target.saturating_sub(available).max(0))
    }
}

impl Sink for Tally {
    fn passing(&mut self, _world: &World<'_>, _from: Micros, _to: Micros) {}

    fn happening(&mut self, world: &World<'_>, happening: &Happening<'_>) {
        let now = world.now();
        match happening {
            Happening::Look { node, outcome } => {
                let met = &outcome.thresholds_met;
                match self.pressures.iter_mut().find(|own| own.node == *node) {
                    Some(own) => {
                        if met.is_empty() {
                            own.relieved.get_or_insert(now);
                        }
                        own.met.clone_from(met);
                    }
                    None if met.is_empty() => {}
                    None => {
                        let pressure = Pressure { node: *node, since: now, relieved: None, met: met.clone() };
                        self.pressures.push(pressure);
                    }
                }
            }
            Happening::Evicted { node, pod, eviction } => self.evictions.push(Evicted {
                at: now,
                pod: *pod,
                workload: world.workload_of(*pod),
                node: *node,
                cause: eviction.cause,
                missing: self.missing(world, *node, eviction.cause),
                held: world.pod_memory(*pod, now),
            }),
            Happening::OomKill { node, pod, scope } => self.oom_kills.push(Killed {
                at: now,
                workload: pod.and_then(|pod| world.workload_of(pod)),
                node: *node,
                scope: *scope,
            }),
            Happening::Rejected { pod } => self.rejections.push((now, world.workload_of(*pod))),
            Happening::StepEnded(step, outcome) => {
                if *outcome != StepOutcome::Done && self.failed_step.is_none() {
                    self.failed_step = Some(*step);
                }
            }
            Happening::Finished => self.ended = now,
            Happening::Started
            | Happening::StepBegan(_)
            | Happening::Pod(_)
            | Happening::PodDeleted(_)
            | Happening::Node(_)
            | Happening::Reclaimed { .. }
            | Happening::Loaded { .. }
            | Happening::Answered(_)
            | Happening::Drained { .. }
            | Happening::Filled { .. } => {}
        }
    }
}
