//! The taints of nodes as they came and went, and the steps that took nodes away.

use k8s_openapi::api::core::v1::Node;

use super::context::Context;
use super::history::{History, Seen, moment};
use super::model::Moment;
use super::words;
use crate::observe::{Fact, StepOutcome};
use crate::plan::Action;

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

/// A step that took a node away. When during the step it was gone nobody knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct TakenAway {
    /// When the step began.
    pub(super) began: Moment,
    /// How long it took, in seconds.
    pub(super) took: f64,
}

/// The last step that began before an observation and took a node away.
pub(super) fn taken_away(context: &Context<'_>, node: &str, before: u64) -> Option<TakenAway> {
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
            let (began, ended) = (result.began?, result.ended?);
            let is_begin = |fact: &Fact| matches!(fact, Fact::StepBegan { step } if *step == result.step);
            let sequence = context.history.observations.iter().find(|own| is_begin(&own.fact))?.sequence;
            let moment = Moment { earliest: began, latest: began, sequence };
            Some(TakenAway { began: moment, took: words::seconds_between(began, ended) })
        })
        .find(|away| away.began.sequence < before)
}
