//! `survive`: every pod of these workloads ran until the end, the same one and without a restart.

use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::ends::PodEnd;
use super::super::history::PodHistory;
use super::super::model::End;
use super::super::outcome::end_words;
use super::super::words;

pub(super) fn judge(context: &Context<'_>, workloads: &[String], case: &mut Case) {
    case.doubts(context.history.run_doubts());
    for workload in workloads {
        let pods: Vec<_> = context.pods_of(workload).collect();
        let planned =
            context.plan.workloads.get(workload).map_or(1, |workload| workload.pods.max(1)) as usize;
        if pods.len() < planned {
            let text = format!("{workload}: {} of {planned} ever appeared", words::count(pods.len(), "pod"));
            let evidence = pods.iter().flat_map(|(_, pod)| pod.evidence.clone());
            case.absent(text, evidence, context.history.absence_doubts(context.plan, |_| false));
        }
        for (history, pod) in pods {
            judge_pod(context, history, pod, case);
        }
    }
}

fn judge_pod(context: &Context<'_>, history: &PodHistory<'_>, pod: &PodEnd, case: &mut Case) {
    let name = &pod.name;
    match &pod.end {
        End::Running => {}
        End::Pending { .. } => {
            let text = format!("{name} did not run at the end: {}", end_words(&pod.end));
            case.absent(text, pod.evidence.clone(), context.history.absence_doubts(context.plan, |_| false));
            return;
        }
        end => case.violated(format!("{name} did not survive: {}", end_words(end)), pod.evidence.clone()),
    }
    if pod.restarts > 0 {
        let evidence = history.last().map(|last| last.evidence());
        case.violated(
            format!("{name} was restarted {}", words::count(pod.restarts as usize, "time")),
            evidence,
        );
    }
    if pod.end != End::Running {
        return;
    }
    let Some(last) = history.last() else { return };
    // A watch that was resumed has listed what exists: what it did not tell anew is as it was. One UID without a restart
    // has run all along, whatever went unseen.
    if context.history.gaps_of(Source::Pods).any(|gap| gap.until.is_none()) {
        case.doubts(context.history.blind(Source::Pods, context.history.began(), context.history.ended()));
    }
    case.doubts(pod.node.as_deref().and_then(|node| context.history.not_ready(node)));
    let first =
        history.versions.iter().find(|version| super::super::ends::phase(version.value) == Some("Running"));
    let since = first.map_or(last.at(), |first| first.at());
    let length = words::seconds(words::seconds_between(since, context.history.ended()));
    case.proven(format!("{name} ran for {length} to the end without a restart"), [last.evidence()]);
}
