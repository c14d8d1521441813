//! `tainted`: nodes got these taints, so long after a step had taken them away.

use super::super::bounds::Bounds;
use super::super::case::{Case, Reason};
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::taints::{NO_EXECUTE, Spell, spells, taken_away};
use crate::plan::{TaintedExpectation, Until, failure};

pub(super) fn judge(context: &Context<'_>, expected: &[TaintedExpectation], case: &mut Case) {
    if expected.is_empty() {
        return nobody(context, case);
    }
    for taint in expected {
        judge_one(context, taint, case);
    }
}

/// What keeps "it had no such taint" from being known.
fn doubts(context: &Context<'_>) -> Vec<Reason> {
    let mut doubts = context.history.run_doubts();
    doubts.extend(context.history.blind(Source::Nodes, context.history.began(), context.history.ended()));
    doubts.extend(context.history.script_doubts(context.plan, |until| matches!(until, Until::Taint { .. })));
    doubts
}

/// No node got a taint that deletes pods.
fn nobody(context: &Context<'_>, case: &mut Case) {
    case.doubts(doubts(context));
    for (node, versions) in &context.history.nodes {
        let found = spells(&context.history, node).into_iter().find(|spell| spell.effect == NO_EXECUTE);
        match (found, versions.last()) {
            (Some(spell), _) => {
                let taint = failure::taint(spell.key, Some(spell.effect));
                case.violated(format!("{node} got the taint {taint}"), [spell.added.evidence()]);
            }
            (None, Some(last)) => {
                case.proven(format!("{node} got no taint that deletes pods"), [last.evidence()]);
            }
            (None, None) => {}
        }
    }
}

fn judge_one(context: &Context<'_>, expected: &TaintedExpectation, case: &mut Case) {
    let (node, effect) = (expected.node.as_str(), expected.effect.as_deref());
    let taint = failure::taint(&expected.key, effect);
    let matches =
        |spell: &Spell<'_>| spell.key == expected.key && effect.is_none_or(|effect| effect == spell.effect);
    let Some(spell) = spells(&context.history, node).into_iter().find(matches) else {
        let last = context.history.nodes.get(node).and_then(|versions| versions.last());
        let evidence = last.map(|last| last.evidence());
        case.absent(format!("{node} did not get the taint {taint}"), evidence, doubts(context));
        return;
    };
    let shown = [spell.added.evidence()];
    match (&expected.within, taken_away(context, node, spell.added.sequence())) {
        (None, _) => case.proven(format!("{node} got the taint {taint}"), shown.clone()),
        (Some(within), Some(away)) => {
            let Bounds { least, most } = Bounds::between(&context.history, away.began, spell.moment);
            let length = Bounds { least: (least - away.took).max(0.0), most };
            let step = context.history.evidence_at(away.began.sequence);
            let what = format!("from the step that took {node} away to {taint}");
            length.judge(&what, within, step.into_iter().chain(shown.clone()), case);
        }
        (Some(_), None) => {
            case.violated(
                format!("{node} got the taint {taint} before any step took it away"),
                shown.clone(),
            );
        }
    }
    match (expected.removed, spell.removed) {
        (Some(true), Some(removed)) => {
            case.proven(format!("{taint} was taken off {node} again"), [removed.evidence()]);
        }
        (Some(true), None) => {
            case.absent(format!("{node} still had the taint {taint} at the end"), shown, doubts(context));
        }
        (Some(false), Some(removed)) => {
            case.violated(format!("{taint} was taken off {node} again"), [removed.evidence()]);
        }
        (Some(false), None) => {
            case.doubts(doubts(context));
            case.proven(format!("{node} had it to the end"), shown);
        }
        (None, _) => {}
    }
}
