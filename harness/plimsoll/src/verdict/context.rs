//! What every expectation is judged from.

use std::cmp::Ordering;

use jiff::Timestamp;
use plimsoll_eviction::signal::Signal;

use super::coverage::STALE_SECONDS;
use super::ends::{self, PodEnd};
use super::history::{History, PodHistory};
use super::model::{End, Evidence, KubeletEviction, Moment};
use super::outcome::end_words;
use super::signals::{self, Threshold};
use super::words;
use crate::observe::{Fact, Timeline};
use crate::plan::{NodePlan, Plan};

/// The plan, the timeline sorted, and how each pod ended.
pub(super) struct Context<'a> {
    pub(super) plan: &'a Plan,
    pub(super) history: History<'a>,
    /// As `history.pods`.
    pub(super) ends: Vec<PodEnd>,
}

/// An eviction by the kubelet for a resource that was low.
#[derive(Clone, Copy)]
pub(super) struct Eviction<'c> {
    pub(super) pod: &'c PodEnd,
    pub(super) what: &'c KubeletEviction,
    pub(super) decided: Moment,
}

impl Eviction<'_> {
    /// The node's name; empty if the pod was never seen bound.
    pub(super) fn node(&self) -> &str {
        self.pod.node.as_deref().unwrap_or_default()
    }

    /// When the pod was gone from memory, as far as is known.
    pub(super) fn ended(&self) -> Option<Timestamp> {
        self.pod.ended.map(|ended| ended.latest)
    }
}

impl PodEnd {
    /// The workload's name, or the pod's own where no workload is known.
    pub(super) fn called(&self) -> &str {
        self.workload.as_deref().unwrap_or(&self.name)
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(plan: &'a Plan, timeline: &'a Timeline) -> Self {
        let history = History::new(Some(plan), timeline);
        let ends = ends::of_history(&history);
        Self { plan, history, ends }
    }

    /// The pods of a workload, in the order of their first appearance.
    pub(super) fn pods_of<'c>(
        &'c self,
        workload: &'c str,
    ) -> impl Iterator<Item = (&'c PodHistory<'a>, &'c PodEnd)> {
        let pods = self.history.pods.iter().zip(&self.ends);
        pods.filter(move |(_, end)| end.workload.as_deref() == Some(workload))
    }

    /// The kubelet's evictions for a low resource, in the order they were decided as far as that can be told.
    pub(super) fn evictions(&self) -> Vec<Eviction<'_>> {
        let mut evictions: Vec<Eviction<'_>> = self
            .ends
            .iter()
            .filter_map(|pod| match (&pod.end, pod.decided) {
                (End::EvictedByKubelet(what), Some(decided)) => Some(Eviction { pod, what, decided }),
                _ => None,
            })
            .collect();
        evictions.sort_by_key(|eviction| eviction.decided.sequence);
        evictions
    }

    /// The evictions that were, or may have been, for this signal. Of several signals of one resource that are below
    /// their thresholds in one pass the kubelet acts on any, and counts that one alone: the eviction was for each.
    pub(super) fn evictions_for(&self, signal: Signal) -> Vec<Eviction<'_>> {
        let mut evictions = self.evictions();
        evictions.retain(|eviction| {
            let resource = eviction.what.resource.as_deref();
            resource.is_none_or(|resource| resource == signal.resource().name())
                && self
                    .signal_of(eviction)
                    .is_none_or(|found| found == signal || self.was_below(eviction, signal))
        });
        evictions
    }

    /// The one signal that an eviction is put down to, the same from run to run: where several of one resource were
    /// below their thresholds the kubelet's choice is chance, and what comes first here is not.
    pub(super) fn main_signal_of(&self, eviction: &Eviction<'_>) -> Option<Signal> {
        let resource = eviction.what.resource.as_deref()?;
        let node_wide = [
            Signal::MemoryAvailable,
            Signal::NodeFsAvailable,
            Signal::NodeFsInodesFree,
            Signal::ImageFsAvailable,
            Signal::ImageFsInodesFree,
        ];
        node_wide
            .into_iter()
            .find(|signal| signal.resource().name() == resource && self.was_below(eviction, *signal))
            .or_else(|| self.signal_of(eviction))
    }

    /// Whether the samples show a signal below its threshold when an eviction was decided.
    pub(super) fn was_below(&self, eviction: &Eviction<'_>, signal: Signal) -> bool {
        let node = eviction.node();
        let before = jiff::SignedDuration::from_secs_f64(STALE_SECONDS);
        let from = eviction.decided.earliest.checked_sub(before).unwrap_or(eviction.decided.earliest);
        let highest = self.thresholds(node, signal).first().map_or(0, |threshold| threshold.value);
        let least = self.history.least(node, signal, from, eviction.decided.latest);
        least.is_some_and(|(_, least)| least < highest)
    }

    pub(super) fn node(&self, name: &str) -> Option<&'a NodePlan> {
        self.plan.nodes.iter().find(|node| node.name == name)
    }

    /// A node's thresholds for a signal, the highest first.
    pub(super) fn thresholds(&self, node: &str, signal: Signal) -> Vec<Threshold> {
        let sample =
            self.history.samples.get(node).and_then(|samples| samples.first()).map(|sample| sample.value);
        self.node(node).map(|node| signals::thresholds(node, signal, sample)).unwrap_or_default()
    }

    /// The threshold that an eviction was for: the one that its message quotes, or else the highest.
    pub(super) fn threshold_of(&self, eviction: &Eviction<'_>, signal: Signal) -> Option<Threshold> {
        let thresholds = self.thresholds(eviction.node(), signal);
        let quoted = eviction.what.figures.as_ref().and_then(|figures| figures.threshold);
        thresholds.iter().find(|threshold| Some(threshold.value) == quoted).or(thresholds.first()).cloned()
    }

    /// The signal of an eviction. The message names a resource, which several signals share: of those with a threshold
    /// on that node the kubelet's own count decides, and if that leaves several, the samples.
    pub(super) fn signal_of(&self, eviction: &Eviction<'_>) -> Option<Signal> {
        let node = eviction.node();
        let resource = eviction.what.resource.as_deref()?;
        let mut candidates: Vec<Signal> = Signal::ALL
            .into_iter()
            .filter(|signal| {
                signal.resource().name() == resource && !self.thresholds(node, *signal).is_empty()
            })
            .collect();
        let counted = |signal: &Signal| {
            self.history.metrics.get(&(node, signal.name())).is_some_and(|(count, _)| *count > 0)
        };
        if candidates.len() > 1 && candidates.iter().any(counted) {
            candidates.retain(counted);
        }
        if candidates.len() > 1 {
            candidates.retain(|signal| self.was_below(eviction, *signal));
        }
        match candidates.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// What became of a workload's pods, for where something else was expected of them.
    pub(super) fn instead(&self, workload: &str) -> (String, Vec<Evidence>) {
        let ends: Vec<String> = self.pods_of(workload).map(|(_, pod)| end_words(&pod.end)).collect();
        let evidence = self.pods_of(workload).flat_map(|(_, pod)| pod.evidence.clone()).collect();
        (if ends.is_empty() { "no pod of it was seen".to_owned() } else { ends.join(", ") }, evidence)
    }

    /// How near each node came to its thresholds of memory, for where more was expected.
    pub(super) fn nearest(&self) -> (Vec<String>, Vec<Evidence>) {
        let mut told = Vec::new();
        let mut evidence = Vec::new();
        let (began, ended) = (self.history.began(), self.history.ended());
        for node in &self.plan.nodes {
            let levels = [Signal::MemoryAvailable, Signal::AllocatableMemoryAvailable]
                .into_iter()
                .filter_map(|signal| {
                    let highest = self.thresholds(&node.name, signal).first()?.value;
                    let (sample, least) = self.history.least(&node.name, signal, began, ended)?;
                    Some((signal, highest, sample, least))
                });
            if let Some((signal, highest, sample, least)) =
                levels.min_by_key(|(_, highest, _, least)| least.saturating_sub(*highest))
            {
                let (least, highest) = (words::bytes(least), words::bytes(highest));
                told.push(format!(
                    "{signal} of {} never fell below {least}; its threshold is {highest}",
                    node.name
                ));
                evidence.push(sample.evidence());
            }
        }
        (told, evidence)
    }

    /// Which of two evictions was decided first; nothing if that can not be told.
    ///
    /// The events of one kubelet are written in the order of its decisions, and one watch hands them on in that order.
    /// Otherwise only times tell, and those of Kubernetes are cut to seconds.
    pub(super) fn order(&self, one: &Eviction<'_>, other: &Eviction<'_>) -> Option<Ordering> {
        let (first, second) = (one.decided, other.decided);
        let is_event = |moment: Moment| {
            let observation =
                usize::try_from(moment.sequence).ok().and_then(|index| self.history.observations.get(index));
            observation.is_some_and(|observation| matches!(observation.fact, Fact::Event(_)))
        };
        let source = if is_event(first) { "events" } else { "pods" };
        let seen_live = is_event(first) == is_event(second)
            && !self.history.gaps.iter().any(|gap| {
                let until = gap.until.unwrap_or(Timestamp::MAX);
                let inside = |moment: Moment| moment.latest >= gap.from && moment.earliest <= until;
                gap.source == source && (inside(first) || inside(second))
            });
        if seen_live && one.node() == other.node() && first.sequence != second.sequence {
            return Some(first.sequence.cmp(&second.sequence));
        }
        if first.latest < second.earliest {
            Some(Ordering::Less)
        } else if second.latest < first.earliest {
            Some(Ordering::Greater)
        } else {
            None
        }
    }
}
