//! `terminating`: a pod was to go and its grace period was over, but it was still there at the end.

use super::super::case::Case;
use super::super::context::Context;
use super::super::words;

pub(super) fn judge(context: &Context<'_>, workloads: &[String], case: &mut Case) {
    case.doubts(context.history.completeness_doubts());
    for workload in workloads {
        let mut stuck = 0;
        for (history, pod) in context.pods_of(workload).filter(|(history, _)| history.deleted.is_none()) {
            let versions = history.all_versions();
            let mut marked = versions
                .filter_map(|version| Some((version, version.value.metadata.deletion_timestamp.as_ref()?.0)));
            // The API server writes down when the grace period is over; a later mark may shorten it.
            let Some((version, due)) = marked.next_back() else { continue };
            let over = words::seconds_between(due, context.history.ended());
            stuck += 1;
            if over >= 0.0 {
                let late = words::seconds(over);
                let text =
                    format!("{} should have been gone {late} before the end and was still there", pod.name);
                case.proven(text, [version.evidence()]);
            } else {
                let text = format!("{} still had time to end when the run was over", pod.name);
                case.doubt(text, [version.evidence()]);
            }
        }
        if stuck == 0 {
            let (what, evidence) = context.instead(workload);
            let doubts = context.history.absence_doubts(context.plan, |_| false);
            case.absent(format!("no pod of {workload} was still to go at the end: {what}"), evidence, doubts);
        }
    }
}
