//! `together`: the ends of these pods were decided within so short a time that one look of the kubelet found them all.

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::words;
use crate::plan::{Lasting, Until};

pub(super) fn judge(context: &Context<'_>, workloads: &[String], lasting: &Lasting, case: &mut Case) {
    let mut decided = Vec::new();
    for workload in workloads {
        let own = context.pods_of(workload).filter(|(_, pod)| !pod.end.is_open());
        let own: Vec<_> = own.filter_map(|(_, pod)| Some((pod, pod.decided?))).collect();
        if own.is_empty() {
            let doubts =
                context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
            let (what, evidence) = context.instead(workload);
            case.absent(format!("{workload} did not go: {what}"), evidence, doubts);
        }
        decided.extend(own);
    }
    if decided.len() == 1 {
        case.doubt("only one pod went, which shows nothing of several", []);
    }
    let first = decided.iter().min_by_key(|(_, decided)| (decided.latest, decided.sequence));
    let last = decided.iter().max_by_key(|(_, decided)| (decided.earliest, decided.sequence));
    if let (Some((first, began)), Some((last, ended))) = (first, last) {
        let evidence = first.evidence.iter().chain(&last.evidence).cloned();
        let what = format!(
            "from {} to {}, {} in all",
            first.called(),
            last.called(),
            words::count(decided.len(), "pod")
        );
        Bounds::between(&context.history, *began, *ended).judge(&what, lasting, evidence, case);
    }
    case.doubts(context.history.completeness_doubts());
}
