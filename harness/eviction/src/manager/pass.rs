//! One pass of the loop. Upstream: `managerImpl.synchronize`.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Choose, Manager, State};
use crate::duration::GoDuration;
use crate::figures::{PodFigures, StatsByUid};
use crate::layout::NodeReclaim;
use crate::limits::exceeded_limit;
use crate::message::PodMessage;
use crate::observation::Observations;
use crate::pod::Pod;
use crate::rank::{RankBy, rank};
use crate::signal::{NodeCondition, Signal, StarvedResource};
use crate::summary::Summary;
use crate::threshold::Threshold;
use crate::victim::{
    Annotations, IMMEDIATE_GRACE_PERIOD_SECONDS, eviction_message, kill_grace_period_seconds,
};

/// What one pass of the loop gets to see.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    /// The clock.
    pub now: Timestamp,
    /// The pods that run.
    pub pods: &'a [&'a Pod],
    /// The statistics; none if there are none to be had, which leaves everything as it was.
    pub summary: Option<&'a Summary>,
}

/// A threshold that is met, or was met and is not resolved, and whose grace period is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetThreshold {
    /// Its signal.
    pub signal: Signal,
    /// Its grace period.
    pub grace_period: GoDuration,
}

/// What made the kubelet evict a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvictionCause {
    /// A threshold of this signal.
    Threshold(Signal),
    /// An emptyDir over its size limit.
    EmptyDirLimit,
    /// A pod over its ephemeral-storage limit.
    PodLimit,
    /// A container over its ephemeral-storage limit.
    ContainerLimit,
}

impl EvictionCause {
    /// The label `eviction_signal` of the kubelet's metric `kubelet_evictions`.
    #[must_use]
    pub const fn metric_label(self) -> &'static str {
        match self {
            Self::Threshold(signal) => signal.name(),
            Self::EmptyDirLimit => "emptydirfs.limit",
            Self::PodLimit => "ephemeralpodfs.limit",
            Self::ContainerLimit => "ephemeralcontainerfs.limit",
        }
    }
}

/// A pod's eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The pod, by its index in the pass.
    pub pod: usize,
    /// What caused it.
    pub cause: EvictionCause,
    /// The grace handed to the killer, in seconds.
    pub grace_period_seconds: i64,
    /// The message in the pod's status and event.
    pub message: PodMessage,
    /// The annotations of the event; none for limits on local storage, which also leave no DisruptionTarget condition.
    pub annotations: Option<Annotations>,
}

/// What the kubelet did in a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The node's conditions afterwards, in the order of their names.
    pub conditions: Vec<NodeCondition>,
    /// The thresholds that count as met afterwards, sorted.
    pub thresholds_met: Vec<MetThreshold>,
    /// The resource in the node's event; none if nothing was short enough to act.
    pub reclaiming: Option<StarvedResource>,
    /// What was tried on the node itself, in order.
    pub node_reclaim: Vec<NodeReclaim>,
    /// The pods that were evicted, in their order of the pass.
    pub evictions: Vec<Eviction>,
}

/// Where a pass has got to.
#[derive(Debug)]
pub enum Step<'a> {
    /// It is over.
    Done(State, Outcome),
    /// The node itself is to be reclaimed, and the pass to be finished with the statistics after that.
    Reclaim(PendingReclaim<'a>),
}

/// A pass that waits for node-level reclaim.
#[derive(Debug)]
pub struct PendingReclaim<'a> {
    manager: &'a Manager,
    pass: Pass<'a>,
    summary: &'a Summary,
    state: State,
    threshold: usize,
    outcome: Outcome,
}

impl Manager {
    /// One whole pass. `reclaim` does what it is told to the node and gives the statistics after that, if there are any.
    pub fn step(
        &self,
        state: &State,
        pass: Pass<'_>,
        choose: &mut impl Choose,
        reclaim: impl FnOnce(&[NodeReclaim]) -> Option<Summary>,
    ) -> (State, Outcome) {
        match self.begin(state, pass, choose) {
            Step::Done(state, outcome) => (state, outcome),
            Step::Reclaim(pending) => {
                let after = reclaim(pending.node_reclaim());
                pending.finish(after.as_ref(), choose)
            }
        }
    }

    /// A pass up to the point where the node itself is reclaimed, or to its end.
    pub fn begin<'a>(&'a self, state: &State, pass: Pass<'a>, choose: &mut impl Choose) -> Step<'a> {
        if self.first_pass.is_empty() && !self.options.local_storage_capacity_isolation {
            return Step::Done(state.clone(), self.outcome(state));
        }
        let mut next = State { begun: true, ..state.clone() };
        let Some(summary) = pass.summary else {
            let outcome = self.outcome(&next);
            return Step::Done(next, outcome);
        };
        let observations = Observations::from(summary);
        self.observe(&mut next, state, pass.now, &observations);
        let fresh = self.fresh(&next, &observations, &state.last_observations);
        next.last_observations = observations;
        let mut outcome = self.outcome(&next);

        if self.options.local_storage_capacity_isolation {
            outcome.evictions = self.over_limits(pass.pods, summary);
            if !outcome.evictions.is_empty() {
                return Step::Done(next, outcome);
            }
        }
        let memory_first: Vec<usize> = fresh
            .iter()
            .copied()
            .filter(|&at| self.thresholds[at].signal.resource() == StarvedResource::Memory)
            .collect();
        let candidates = if memory_first.is_empty() { &fresh } else { &memory_first };
        let Some(&threshold) = choose.pick(candidates) else {
            return Step::Done(next, outcome);
        };
        let signal = self.thresholds[threshold].signal;
        outcome.reclaiming = Some(signal.resource());
        outcome.node_reclaim = self.options.layout.node_reclaim(signal).to_vec();
        let pending = PendingReclaim { manager: self, pass, summary, state: next, threshold, outcome };
        if pending.node_reclaim().is_empty() {
            let (state, outcome) = pending.evict(choose);
            return Step::Done(state, outcome);
        }
        Step::Reclaim(pending)
    }

    /// Which thresholds are met and since when, and what conditions follow.
    fn observe(&self, next: &mut State, before: &State, now: Timestamp, observations: &Observations) {
        let watched = if before.begun { (0..self.effective).collect() } else { self.first_pass.clone() };
        let is_met = |at: usize, with_minimum_reclaim: bool| {
            self.thresholds[at].is_met_by(observations, with_minimum_reclaim)
        };
        let mut met: Vec<usize> = watched.into_iter().filter(|&at| is_met(at, false)).collect();
        for &at in before.met.iter().filter(|&&at| is_met(at, true)) {
            if !met.iter().any(|&other| self.thresholds[other].matches(&self.thresholds[at])) {
                met.push(at);
            }
        }

        let since = |key: usize| {
            before.first_observed.iter().find(|(other, _)| *other == key).map_or(now, |(_, since)| *since)
        };
        let first_observed: BTreeMap<usize, Timestamp> =
            met.iter().map(|&at| (self.keys[at], since(self.keys[at]))).collect();
        for &at in &met {
            next.conditions_last_observed.insert(self.thresholds[at].signal.condition(), now);
        }
        let period = self.options.pressure_transition_period;
        let stays = |last: Timestamp| elapsed(last, now) < i128::from(period.nanoseconds());
        next.conditions = next
            .conditions_last_observed
            .iter()
            .filter(|(_, last)| stays(**last))
            .map(|(condition, _)| *condition)
            .collect();
        next.first_observed = first_observed.into_iter().collect();
        let is_over = |at: usize, since: Timestamp| {
            elapsed(since, now) >= i128::from(self.thresholds[at].grace_period.nanoseconds())
        };
        next.met = next
            .first_observed
            .iter()
            .filter(|(at, since)| is_over(*at, *since))
            .map(|(at, _)| *at)
            .collect();
    }

    /// The thresholds to act on whose statistics are newer than at the pass before.
    /// Upstream: `thresholdsUpdatedStats`.
    fn fresh(&self, state: &State, observations: &Observations, before: &Observations) -> Vec<usize> {
        let is_fresh = |&at: &usize| {
            let signal = self.thresholds[at].signal;
            let Some(observed) = observations.get(signal) else { return false };
            let (Some(last), Some(time)) = (before.get(signal), observed.time) else { return true };
            last.time.is_none_or(|last| time > last)
        };
        state.met.iter().copied().filter(is_fresh).collect()
    }

    fn outcome(&self, state: &State) -> Outcome {
        let met = |at: &usize| {
            let Threshold { signal, grace_period, .. } = self.thresholds[*at];
            MetThreshold { signal, grace_period }
        };
        let mut thresholds_met: Vec<MetThreshold> = state.met.iter().map(met).collect();
        thresholds_met.sort_unstable();
        Outcome { conditions: state.conditions.clone(), thresholds_met, ..Outcome::default() }
    }

    /// Every pod over a limit on local storage. Upstream: `localStorageEviction`.
    fn over_limits(&self, pods: &[&Pod], summary: &Summary) -> Vec<Eviction> {
        let stats = StatsByUid::new(summary);
        let eviction = |(pod, &own): (usize, &&Pod)| {
            let message = exceeded_limit(own, stats.get(own)?, self.options.layout)?;
            let cause = match message {
                PodMessage::EmptyDirOverLimit { .. } => EvictionCause::EmptyDirLimit,
                PodMessage::PodOverLimit { .. } => EvictionCause::PodLimit,
                _ => EvictionCause::ContainerLimit,
            };
            let grace_period_seconds = IMMEDIATE_GRACE_PERIOD_SECONDS;
            let evictable = own.exemption().is_none();
            evictable.then_some(Eviction { pod, cause, grace_period_seconds, message, annotations: None })
        };
        pods.iter().enumerate().filter_map(eviction).collect()
    }
}

impl PendingReclaim<'_> {
    /// What is to be done to the node, in order; not empty where a pass halts for it.
    #[must_use]
    pub fn node_reclaim(&self) -> &[NodeReclaim] {
        &self.outcome.node_reclaim
    }

    /// The rest of the pass, with the statistics after node-level reclaim, if there are any. No pod goes if every
    /// threshold is clear of its minimum reclaim then. Upstream: `reclaimNodeLevelResources`.
    #[must_use]
    pub fn finish(self, after: Option<&Summary>, choose: &mut impl Choose) -> (State, Outcome) {
        let is_clear = |summary: &Summary| {
            let observations = Observations::from(summary);
            !self.manager.thresholds().iter().any(|threshold| threshold.is_met_by(&observations, true))
        };
        if after.is_some_and(is_clear) { (self.state, self.outcome) } else { self.evict(choose) }
    }

    /// Evicts the first pod of the order that may be evicted.
    fn evict(mut self, choose: &mut impl Choose) -> (State, Outcome) {
        let threshold = &self.manager.thresholds[self.threshold];
        let options = &self.manager.options;
        let figures = PodFigures::of_all(self.pass.pods.iter().copied(), self.summary);
        let groups = rank(RankBy::signal(threshold.signal, options.layout), &figures);
        let evictable = |group: Vec<usize>| -> Vec<usize> {
            group.into_iter().filter(|&pod| self.pass.pods[pod].exemption().is_none()).collect()
        };
        let candidates =
            groups.into_iter().map(evictable).find(|group| !group.is_empty()).unwrap_or_default();
        if let Some(&pod) = choose.pick(&candidates) {
            let own = self.pass.pods[pod];
            let observations = &self.state.last_observations;
            let stats = self.summary.pod(&own.uid);
            let (message, annotations) = eviction_message(threshold, observations, own, stats);
            self.outcome.evictions.push(Eviction {
                pod,
                cause: EvictionCause::Threshold(threshold.signal),
                grace_period_seconds: kill_grace_period_seconds(
                    threshold,
                    own,
                    options.max_pod_grace_period_seconds,
                ),
                message,
                annotations: Some(annotations),
            });
        }
        (self.state, self.outcome)
    }
}

/// Nanoseconds from one time to another.
fn elapsed(from: Timestamp, to: Timestamp) -> i128 {
    to.as_nanosecond() - from.as_nanosecond()
}
