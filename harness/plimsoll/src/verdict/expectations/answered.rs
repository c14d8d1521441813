//! `answered` and `drainAnswered`: what the API server answered to the `evict` steps, or to drains, pod by pod.

use std::collections::BTreeMap;

use super::super::case::Case;
use super::super::context::Context;
use super::super::history::Seen;
use super::super::words;
use crate::observe::{Answer, Asked};

pub(super) fn judge(context: &Context<'_>, workload: &str, codes: &[u16], draining: bool, case: &mut Case) {
    let mut by_pod: BTreeMap<&str, Vec<Seen<'_, Answer>>> = BTreeMap::new();
    let ours = context.history.answers.iter().filter(|answer| {
        answer.value.draining == draining
            && answer.value.asked == Asked::Evict
            && answer.value.workload.as_deref() == Some(workload)
    });
    for answer in ours {
        by_pod.entry(&answer.value.pod).or_default().push(*answer);
    }
    if by_pod.is_empty() {
        let doubts = context.history.undone_doubts(context.plan, |_| false);
        case.absent(
            format!(
                "{} to evict {workload}",
                if draining { "no drain asked the API server" } else { "the API server was never asked" }
            ),
            [],
            doubts,
        );
    }
    for (pod, answers) in by_pod {
        let mut seen: Vec<u16> = answers.iter().map(|answer| answer.value.code).collect();
        seen.dedup();
        let evidence = answers.iter().map(Seen::evidence);
        let last = answers.iter().rev().find(|answer| !answer.value.message.is_empty());
        let said = last.map_or_else(String::new, |answer| format!(" ({})", answer.value.message));
        let asked = words::count(answers.len(), "request");
        let text = format!("{pod}: {asked} answered with {}{said}", list(&seen));
        if seen == codes {
            case.proven(text, evidence);
        } else {
            case.violated(format!("{text}; expected {}", list(codes)), evidence);
        }
    }
    case.doubts(context.history.run_doubts());
}

fn list(codes: &[u16]) -> String {
    codes.iter().map(u16::to_string).collect::<Vec<_>>().join(", then ")
}
