//! `terminated`: how long a pod took from the first sign of its termination to its end.

use k8s_openapi::api::core::v1::Event;

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::ends::{self, PodEnd};
use super::super::history::{PodHistory, Seen, moment};
use super::super::model::Moment;
use super::super::words;
use crate::plan::{Lasting, Until};

pub(super) fn judge(context: &Context<'_>, workload: &str, expected: &Lasting, case: &mut Case) {
    let mut terminated = 0;
    for (history, pod) in context.pods_of(workload) {
        let Some(first) = first_sign(history, pod) else { continue };
        terminated += 1;
        let Some(ended) = pod.ended else {
            let doubts =
                context.history.absence_doubts(context.plan, |until| matches!(until, Until::Gone(_)));
            let lasted = words::seconds_between(first.latest, context.history.ended());
            let text = format!("{} was still being stopped after {}", pod.name, words::seconds(lasted));
            match expected.at_most {
                // It has lasted too long already, whenever it ends.
                Some(most) if lasted > most.as_secs_f64() => {
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
        let took = Bounds::between(&context.history, first, ended);
        took.judge(&pod.name, expected, evidence.into_iter().flatten(), case);
    }
    if terminated == 0 {
        let doubts = context.history.absence_doubts(context.plan, |until| {
            matches!(until, Until::Evictions(_) | Until::Terminating(_) | Until::Gone(_))
        });
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
        Some("Evicted" | "Killing" | "Preempting" | "TaintManagerEviction" | "DeviceTaintManagerEviction")
    )
}
