//! The cheap sink: what a run came to, without writing down how.

use plimsoll_eviction::manager::EvictionCause;
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
    /// When a kubelet first saw a threshold met.
    pub pressed: Option<Micros>,
    /// When, after that, a kubelet for the first time saw none met any more, with minimum reclaim.
    pub relieved: Option<Micros>,
    /// The first step that did not end as it should.
    pub failed_step: Option<usize>,
    /// When the run was over.
    pub ended: Micros,
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
    /// What was available of the node's memory then.
    pub available: i64,
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

impl Sink for Tally {
    fn passing(&mut self, _world: &World<'_>, _from: Micros, _to: Micros) {}

    fn happening(&mut self, world: &World<'_>, happening: &Happening<'_>) {
        let now = world.now();
        match happening {
            Happening::Look { outcome, .. } => {
                if !outcome.thresholds_met.is_empty() {
                    self.pressed.get_or_insert(now);
                } else if self.pressed.is_some() {
                    self.relieved.get_or_insert(now);
                }
            }
            Happening::Evicted { node, pod, eviction } => self.evictions.push(Evicted {
                at: now,
                pod: *pod,
                workload: world.workload_of(*pod),
                node: *node,
                cause: eviction.cause,
                available: world.memory_available(*node, now),
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
            | Happening::Filled { .. } => {}
        }
    }
}
