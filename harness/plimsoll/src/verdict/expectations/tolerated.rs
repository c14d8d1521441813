//! `tolerated`: how long pods stayed on a node that had got a NoExecute taint.

use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::ends::PodEnd;
use super::super::history::PodHistory;
use super::super::model::End;
use super::super::taints::{NO_EXECUTE, Spell, spells};
use crate::plan::{Lasting, Until};

pub(super) fn judge(
    context: &Context<'_>,
    workload: &str,
    lasting: Option<&Lasting>,
    asked: Option<u64>,
    case: &mut Case,
) {
    match lasting {
        Some(lasting) => deleted(context, workload, lasting, case),
        None => stayed(context, workload, asked, case),
    }
}

/// What a pod itself says of a taint: nothing, for ever (none), or for so many seconds. Upstream: `ToleratesTaint`.
fn said_of(pod: &Pod, taint: &Spell<'_>) -> Option<Option<i64>> {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let matches = |own: &&Toleration| {
        own.key.as_deref().is_none_or(|key| key == taint.key)
            && own.effect.as_deref().is_none_or(|effect| effect == taint.effect)
    };
    tolerations.into_iter().find(matches).map(|own| own.toleration_seconds)
}

/// The NoExecute taints that a pod's node got while the pod was on it.
fn taints_of<'a>(context: &Context<'a>, pod: &PodHistory<'_>) -> Vec<Spell<'a>> {
    let (Some(node), Some(first)) = (pod.node(), pod.all_versions().next()) else { return Vec::new() };
    let gone = pod.deleted.map_or(u64::MAX, |deleted| deleted.sequence());
    let mut found = spells(&context.history, node);
    found.retain(|spell| {
        spell.effect == NO_EXECUTE
            && spell.removed.is_none_or(|removed| removed.sequence() > first.sequence())
            && spell.added.sequence() < gone
    });
    found
}

fn deleted(context: &Context<'_>, workload: &str, lasting: &Lasting, case: &mut Case) {
    let mut judged = 0;
    for (history, pod) in context.pods_of(workload) {
        let (End::DeletedByTaintManager, Some(decided)) = (&pod.end, pod.decided) else { continue };
        judged += 1;
        // The taint that was there when it was decided, or, should the watches have told it later, the first.
        let taints = taints_of(context, history);
        let before = taints.iter().rev().find(|spell| spell.added.sequence() < decided.sequence);
        let Some(spell) = before.or(taints.first()) else {
            let text = format!("{} was deleted for a taint of its node that nobody saw", pod.name);
            case.doubt(text, pod.evidence.clone());
            continue;
        };
        let length = Bounds::between(&context.history, spell.moment, decided);
        let what = format!("from {} on its node to the deletion of {}", spell.key, pod.name);
        let evidence = pod.evidence.iter().cloned().chain([spell.added.evidence()]);
        length.judge(&what, lasting, evidence, case);
    }
    if judged == 0 {
        let waited = |until: &Until| {
            matches!(until, Until::Taint { .. } | Until::Terminating(_) | Until::GoneFrom { .. })
        };
        let doubts = context.history.absence_doubts(context.plan, waited);
        let (what, evidence) = context.instead(workload);
        case.absent(format!("no pod of {workload} was deleted for a taint: {what}"), evidence, doubts);
    }
}

fn stayed(context: &Context<'_>, workload: &str, asked: Option<u64>, case: &mut Case) {
    let mut judged = 0;
    for (history, pod) in context.pods_of(workload) {
        let taints = taints_of(context, history);
        let Some(spell) = taints.first() else { continue };
        judged += 1;
        judge_stay(context, history, pod, spell, case);
        if let (Some(asked), Some(last)) = (asked, history.last()) {
            let text = match said_of(last.value, spell) {
                None => format!("{} says nothing of {}", pod.name, spell.key),
                Some(None) => format!("{} tolerates {} for ever", pod.name, spell.key),
                Some(Some(seconds)) => format!("{} tolerates {} for {seconds}s", pod.name, spell.key),
            };
            if said_of(last.value, spell) == Some(i64::try_from(asked).ok()) {
                case.proven(text, [last.evidence()]);
            } else {
                case.violated(format!("{text}; expected {asked}s"), [last.evidence()]);
            }
        }
    }
    if judged == 0 {
        let doubts =
            context.history.absence_doubts(context.plan, |until| matches!(until, Until::Taint { .. }));
        let text = format!("no node of a pod of {workload} got a taint that deletes pods");
        case.absent(text, context.instead(workload).1, doubts);
    }
}

fn judge_stay(
    context: &Context<'_>,
    history: &PodHistory<'_>,
    pod: &PodEnd,
    spell: &Spell<'_>,
    case: &mut Case,
) {
    let marked = history.all_versions().find(|version| version.value.metadata.deletion_timestamp.is_some());
    match (marked.or(history.deleted), history.last()) {
        (Some(version), _) => {
            case.violated(
                format!("{} was told to go", pod.name),
                [spell.added.evidence(), version.evidence()],
            );
        }
        (None, Some(last)) => {
            case.doubts(context.history.completeness_doubts());
            let text = format!("{} was left on its node, which had {}", pod.name, spell.key);
            case.proven(text, [spell.added.evidence(), last.evidence()]);
        }
        (None, None) => {}
    }
}
