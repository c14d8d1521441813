//! `terminated`: how long a pod took from the first sign of its termination to its end.

use k8s_openapi::api::core::v1::Event;

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::ends::{self, PodEnd};
use super::super::history::{PodHistory, Seen, moment};
use super::super::model::Moment;
use super::super::words;
use crate::plan::{Band, Until};

pub(super) fn judge(context: &Context<'_>, workload: &str, seconds: &Band, case: &mut Case) {
    let mut terminated = 0;
    for (history, pod) in context.pods_of(workload) {
        let Some(first) = first_sign(history, pod) else { continue };
        terminated += 1;
        let Some(ended) = pod.ended else {
            let doubts =
                context.history.absence_doubts(context.plan, |until| matches!(until, Until::Gone(_)));
            let lasted = words::seconds_between(first.latest, context.history.ended());
            let text = format!("{} was still being stopped after {}", pod.name, words::seconds(lasted));
            match seconds.at_most {
                // It has lasted too long already, whenever it ends.
                Some(most) if lasted > as_seconds(most) => {
                    case.violated(text, context.history.evidence_at(first.sequence));
                }
                _ => {
                    case.doubt(text, context.history.evidence_at(first.sequence));
                    case.doubts(doubts);
                }
            }
            continue;
        };
        let evidence = [first.sequence, ended.sequence].map(|sequence| context.history.evidence_at(sequence));
        judge_length(
            pod,
            Bounds::between(&context.history, first, ended),
            seconds,
            evidence.into_iter().flatten().collect(),
            case,
        );
    }
    if terminated == 0 {
        let doubts = context
            .history
            .absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_) | Until::Gone(_)));
        let (what, evidence) = context.instead(workload);
        case.absent(format!("no pod of {workload} was terminated: {what}"), evidence, doubts);
    }
}

/// The earliest sign that a pod is being stopped: the kubelet's event about its eviction or its containers, the mark
/// of its deletion, or the decision that ended it.
fn first_sign(history: &PodHistory<'_>, pod: &PodEnd) -> Option<Moment> {
    let event = history.events.iter().find(|event| is_sign(event)).map(|event| ends::event_moment(*event));
    let marked = history.all_versions().find(|version| version.value.metadata.deletion_timestamp.is_some());
    let marked = marked.map(|version| moment(None, version.observation));
    [event, marked, pod.decided].into_iter().flatten().min_by_key(|moment| (moment.latest, moment.sequence))
}

fn is_sign(event: &Seen<'_, Event>) -> bool {
    matches!(
        event.value.reason.as_deref(),
        Some("Evicted" | "Killing" | "Preempting" | "TaintManagerEviction")
    )
}

fn judge_length(
    pod: &PodEnd,
    bounds: Bounds,
    seconds: &Band,
    evidence: Vec<super::super::model::Evidence>,
    case: &mut Case,
) {
    let text = format!("{} took {bounds}; expected {} seconds", pod.name, words::band("pid", seconds));
    let too_short = seconds.at_least.map(as_seconds);
    let too_long = seconds.at_most.map(as_seconds);
    if too_short.is_some_and(|least| bounds.most < least) || too_long.is_some_and(|most| bounds.least > most)
    {
        case.violated(text, evidence);
    } else if too_short.is_some_and(|least| bounds.least < least)
        || too_long.is_some_and(|most| bounds.most > most)
    {
        case.doubt(format!("{text}, which the times at hand can not tell"), evidence);
    } else {
        case.proven(text, evidence);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a bound in seconds is far below 2^52")]
fn as_seconds(seconds: i64) -> f64 {
    seconds as f64
}
