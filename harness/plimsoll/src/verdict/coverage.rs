//! What the run could have seen: the ground on which "it did not happen" stands.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::case::Reason;
use super::history::{History, evidence};
use super::model::{BlindSpot, Evidence};
use super::words;
use crate::observe::{Fact, StepOutcome};
use crate::plan::{Action, Plan, Until};

/// The most time between two samples that still counts as watching: the kubelet's own interval between two looks.
/// Upstream: `evictionMonitoringPeriod` of `pkg/kubelet`.
pub(super) const STALE_SECONDS: f64 = 10.0;

/// Where observations come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
    Pods,
    Nodes,
    /// A node's own measurements.
    Sampler(&'a str),
    /// A node's kernel log.
    KernelLog(&'a str),
    /// The events of a node's container runtime.
    Runtime(&'a str),
    DisruptionBudgets,
    /// Kubernetes' events.
    Events,
}

impl Source<'_> {
    /// Whether a gap of this name hides something of this source. A name that is not known hides everything: better
    /// an unknown too many than a pass too many.
    fn is_hidden_by(self, name: &str) -> bool {
        let of = |kind: &str| name.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' '));
        if HARMLESS.iter().any(|harmless| name == *harmless || of(harmless).is_some()) {
            return false;
        }
        if let Some(node) = of("runtime events") {
            return self == Source::Runtime(node);
        }
        // A step took the node's power: nothing but what it measures itself is missing.
        if let Some(node) = of("node") {
            return [Source::Sampler(node), Source::KernelLog(node), Source::Runtime(node)].contains(&self);
        }
        match (name, of("sampler"), of("kernel log")) {
            ("pods", ..) => self == Self::Pods,
            ("nodes", ..) => self == Self::Nodes,
            ("events", ..) => self == Self::Events,
            ("disruption budgets", ..) => self == Self::DisruptionBudgets,
            (_, Some(node), _) => self == Source::Sampler(node),
            (_, _, Some(node)) => self == Source::KernelLog(node),
            // A node's init carries everything that the node is.
            _ => true,
        }
    }
}

/// Sources on which no finding rests: they serve explanations, or tell what others tell too.
const HARMLESS: [&str; 3] = ["summary of", "metrics of", "filler of"];

impl History<'_> {
    /// What keeps "it did not happen" from being known of anything: the run ended early, or a component died.
    pub(super) fn run_doubts(&self) -> Vec<Reason> {
        let died = self.broken.iter().map(|observation| {
            let text = words::describe(observation);
            Reason::new(format!("what followed can not be trusted: {text}"), [evidence(observation)])
        });
        let died = died.collect();
        let (text, last) = match (self.started, self.finished) {
            (None, _) => ("the cluster never became ready, so no step began", self.observations.last()),
            (Some(_), None) => ("the run ended before its steps were over", self.observations.last()),
            (Some(_), Some(_)) => return died,
        };
        std::iter::once(Reason::new(text, last.map(evidence))).chain(died).collect()
    }

    /// The stretches in which a source was blind.
    pub(super) fn gaps_of(&self, source: Source<'_>) -> impl Iterator<Item = &BlindSpot> {
        self.gaps.iter().filter(move |gap| source.is_hidden_by(&gap.source))
    }

    /// The stretches in which a source was blind between two instants, as a doubt. Several at once mostly have one
    /// cause, and are told together.
    pub(super) fn blind(&self, source: Source<'_>, from: Timestamp, to: Timestamp) -> Option<Reason> {
        let meets = |gap: &&BlindSpot| gap.from <= to && gap.until.is_none_or(|until| until >= from);
        let gaps: Vec<&BlindSpot> = self.gaps_of(source).filter(meets).collect();
        let first = gaps.first()?;
        let names: BTreeSet<&str> = gaps.iter().map(|gap| gap.source.as_str()).collect();
        let length = gaps.iter().try_fold(0.0_f64, |longest, gap| {
            Some(longest.max(words::seconds_between(gap.from, gap.until?)))
        });
        let length = length.map_or_else(
            || "for the rest of the run".to_owned(),
            |longest| format!("for {}", words::seconds(longest)),
        );
        let text = format!("{} went unwatched {length} ({})", words::list(names), first.reason);
        Some(Reason::new(text, gaps.iter().filter_map(|gap| self.evidence_at(gap.sequence))))
    }

    /// An observation as evidence, by its place.
    pub(super) fn evidence_at(&self, sequence: u64) -> Option<Evidence> {
        usize::try_from(sequence).ok().and_then(|index| self.observations.get(index)).map(evidence)
    }

    /// The stretches between two instants for which a node has no samples, and those in which its sampler said that
    /// it was blind.
    pub(super) fn unsampled(&self, node: &str, from: Timestamp, to: Timestamp) -> Vec<Reason> {
        let mut doubts = Vec::from_iter(self.blind(Source::Sampler(node), from, to));
        let mut last = from;
        let mut widest = 0.0_f64;
        let samples = self.samples.get(node).map(Vec::as_slice).unwrap_or_default();
        let times = samples.iter().map(super::history::Seen::at).filter(|at| (from..=to).contains(at));
        for at in times.chain([to]) {
            widest = widest.max(words::seconds_between(last, at));
            last = at;
        }
        if widest > STALE_SECONDS {
            let text = format!("{node} was not measured for {}", words::seconds(widest));
            doubts.push(Reason::new(text, []));
        }
        doubts
    }

    /// Whether a node's kubelet still reported at the end; what its pods' statuses say is stale otherwise.
    pub(super) fn not_ready(&self, node: &str) -> Option<Reason> {
        let Some(last) = self.nodes.get(node).and_then(|versions| versions.last()) else {
            return Some(Reason::new(format!("node {node} was never seen"), []));
        };
        let conditions = last.value.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let ready =
            conditions.filter(|condition| condition.type_ == "Ready").any(|ready| ready.status == "True");
        (!ready).then(|| Reason::new(format!("node {node} was not Ready at the end"), [last.evidence()]))
    }

    /// What keeps "it did not happen" from being a violation: steps that were to bring it about and were not taken.
    ///
    /// A wait that timed out on the very thing (`waited_for`) is no excuse for it, nor are the steps that were skipped
    /// for that reason.
    pub(super) fn script_doubts(&self, plan: &Plan, waited_for: impl Fn(&Until) -> bool) -> Vec<Reason> {
        let mut doubts = Vec::new();
        if self.started.is_none() {
            // Said once, for all steps.
            return self.run_doubts();
        }
        for result in &self.steps {
            let Some(planned) = plan.steps.get(result.step) else { continue };
            match (&planned.action, &result.outcome) {
                (Action::Wait(wait), Some(StepOutcome::TimedOut(_))) if waited_for(&wait.until) => {
                    return doubts;
                }
                (_, Some(StepOutcome::Done))
                | (Action::Wait(_) | Action::Observe(_), Some(StepOutcome::Skipped)) => {}
                (_, outcome) => {
                    let ended =
                        outcome.as_ref().map_or_else(|| "did not end".to_owned(), words::outcome_words);
                    doubts.push(Reason::new(
                        format!("step {} ({}) {ended}", result.step + 1, result.title),
                        self.step_evidence(result.step),
                    ));
                }
            }
        }
        for (step, planned) in plan.steps.iter().enumerate() {
            if !self.steps.iter().any(|result| result.step == step) {
                let title = words::action(&planned.action);
                doubts.push(Reason::new(format!("step {} ({title}) was not taken", step + 1), []));
            }
        }
        doubts
    }

    /// What keeps "a step did not bring it about" from being known: the run and the steps.
    pub(super) fn undone_doubts(&self, plan: &Plan, waited_for: impl Fn(&Until) -> bool) -> Vec<Reason> {
        let mut doubts = self.run_doubts();
        doubts.extend(self.script_doubts(plan, waited_for));
        doubts
    }

    /// The end of a step as evidence.
    pub(super) fn step_evidence(&self, of: usize) -> Option<Evidence> {
        let ended = |fact: &Fact| matches!(fact, Fact::StepEnded { step, .. } if *step == of);
        self.observations.iter().find(|observation| ended(&observation.fact)).map(evidence)
    }

    /// Everything that keeps "it did not happen to any pod" from being known: the pods' watch, the run, the steps.
    pub(super) fn absence_doubts(&self, plan: &Plan, waited_for: impl Fn(&Until) -> bool) -> Vec<Reason> {
        let mut doubts = self.completeness_doubts();
        doubts.extend(self.script_doubts(plan, waited_for));
        doubts
    }

    /// Everything that keeps "this is all that happened to pods" from being known: the pods' watch and the run.
    pub(super) fn completeness_doubts(&self) -> Vec<Reason> {
        let mut doubts = self.run_doubts();
        doubts.extend(self.blind(Source::Pods, self.began(), self.ended()));
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn a_gap_hides_its_own_source_and_an_unknown_one_hides_all() {
        let all = [
            Source::Pods,
            Source::Nodes,
            Source::Sampler("worker"),
            Source::KernelLog("worker"),
            Source::Runtime("worker"),
            Source::DisruptionBudgets,
            Source::Events,
        ];
        for (name, hidden) in [
            ("pods", [true, false, false, false, false, false, false]),
            ("nodes", [false, true, false, false, false, false, false]),
            ("sampler worker", [false, false, true, false, false, false, false]),
            ("kernel log worker", [false, false, false, true, false, false, false]),
            ("runtime events worker", [false, false, false, false, true, false, false]),
            ("disruption budgets", [false, false, false, false, false, true, false]),
            ("init of worker", [true; 7]),
            ("node worker", [false, false, true, true, true, false, false]),
            ("node other", [false; 7]),
            ("sampler other", [false; 7]),
            ("events", [false, false, false, false, false, false, true]),
            ("summary of worker", [false; 7]),
            ("metrics of worker", [false; 7]),
            ("something new", [true; 7]),
        ] {
            assert_eq!(all.map(|source| source.is_hidden_by(name)), hidden, "{name}");
        }
    }
}
