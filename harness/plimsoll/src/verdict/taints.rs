//! The taints of nodes as they came and went, and the steps that took nodes away.

use k8s_openapi::api::core::v1::Node;

use super::context::Context;
use super::history::{History, Seen, moment};
use super::model::Moment;
use crate::observe::StepOutcome;
use crate::plan::Action;

/// The taint of a node of which nothing is heard. Upstream: `TaintNodeUnreachable`.
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The effect that deletes pods.
pub(super) const NO_EXECUTE: &str = "NoExecute";

/// A taint for as long as a node had it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spell<'a> {
    pub(super) key: &'a str,
    pub(super) effect: &'a str,
    /// When it was added; Kubernetes writes that down for NoExecute, in whole seconds.
    pub(super) moment: Moment,
    /// The first version of the node that has it.
    pub(super) added: Seen<'a, Node>,
    /// The first version after it that has it no more.
    pub(super) removed: Option<Seen<'a, Node>>,
}

/// The taints that a node got after the steps had begun, in the order in which it got them.
pub(super) fn spells<'a>(history: &History<'a>, node: &str) -> Vec<Spell<'a>> {
    let mut spells: Vec<Spell<'a>> = Vec::new();
    for version in history.nodes.get(node).into_iter().flatten() {
        let taints = version.value.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        for spell in spells.iter_mut().filter(|spell| spell.removed.is_none()) {
            if !taints.iter().any(|taint| taint.key == spell.key && taint.effect == spell.effect) {
                spell.removed = Some(*version);
            }
        }
        for taint in taints {
            let known = |spell: &Spell<'_>| {
                spell.removed.is_none() && spell.key == taint.key && spell.effect == taint.effect
            };
            if !spells.iter().any(known) {
                spells.push(Spell {
                    key: &taint.key,
                    effect: &taint.effect,
                    moment: moment(taint.time_added.as_ref().map(|time| time.0), version.observation),
                    added: *version,
                    removed: None,
                });
            }
        }
    }
    let started = history.started.map_or(0, |started| started.sequence);
    spells.retain(|spell| spell.added.sequence() > started);
    spells
}

/// When the last step before an observation took a node away.
pub(super) fn taken_away(context: &Context<'_>, node: &str, before: u64) -> Option<Moment> {
    let steps = context.history.steps.iter().rev();
    steps
        .filter(|result| {
            let action = context.plan.steps.get(result.step).map(|planned| &planned.action);
            let takes = matches!(
                action,
                Some(Action::Node { node: taken, change }) if taken == node && change.undone_by().is_some()
            );
            takes && result.outcome == Some(StepOutcome::Done)
        })
        .filter_map(|result| {
            let sequence = context.history.step_evidence(result.step)?.sequence;
            Some(Moment { earliest: result.began?, latest: result.ended?, sequence })
        })
        .find(|moment| moment.sequence < before)
}
