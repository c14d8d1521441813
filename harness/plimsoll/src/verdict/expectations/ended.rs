//! `ended`: how the pods of a workload ended, told apart, and whether their objects are gone.

use super::super::case::Case;
use super::super::context::Context;
use super::super::ends::{PodEnd, container_statuses};
use super::super::history::PodHistory;
use super::super::model::{End, Evidence, Preemptor};
use super::super::outcome::end_words;
use super::super::words;
use crate::plan::{EndKind, EndedExpectation, Until};

impl End {
    /// Its kind, as scenarios call it.
    #[must_use]
    pub fn kind(&self) -> EndKind {
        match self {
            Self::Running => EndKind::Running,
            Self::Pending { .. } => EndKind::Pending,
            Self::EvictedByKubelet(_) => EndKind::EvictedByKubelet,
            Self::RejectedAtAdmission { .. } => EndKind::Rejected,
            Self::OomKilled { .. } => EndKind::OomKilled,
            Self::EvictedThroughApi => EndKind::EvictedThroughApi,
            Self::DeletedByTaintManager => EndKind::DeletedByTaintManager,
            Self::DeletedByDeviceTaintManager => EndKind::DeletedByDeviceTaintManager,
            Self::Preempted { by: Preemptor::Scheduler } => EndKind::PreemptedByScheduler,
            Self::Preempted { by: Preemptor::Kubelet } => EndKind::PreemptedByKubelet,
            Self::LocalStorageLimit { .. } => EndKind::OverLimit,
            Self::Completed => EndKind::Completed,
            Self::Failed { .. } => EndKind::Failed,
            Self::Deleted => EndKind::Deleted,
        }
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &EndedExpectation, case: &mut Case) {
    let workload = expected.workload.as_str();
    let of_waits = |until: &Until| {
        matches!(until, Until::Gone(_) | Until::Terminating(_) | Until::Evictions(_) | Until::Drained { .. })
    };
    case.doubts(context.history.completeness_doubts());
    let mut number = 0;
    let mut evidence: Vec<Evidence> = Vec::new();
    for (history, pod) in context.pods_of(workload) {
        let as_expected = pod.end.kind() == expected.kind;
        if !as_expected {
            // Of a workload that is to end so, the ones that have not ended are successors, and so are those that the kubelet
            // refused: they never ran. Of one that is to run or to wait, nobody was to end.
            if !pod.end.is_open() && !matches!(pod.end, End::RejectedAtAdmission { .. }) {
                let text =
                    format!("{} did not end as {}: {}", pod.name, expected.kind.name(), end_words(&pod.end));
                case.violated(text, pod.evidence.clone());
            }
            continue;
        }
        if let Some(wanted) = &expected.reason {
            let said = said(history, pod);
            if !said.contains(wanted.as_str()) {
                let text = format!("{}: `{}` does not say `{wanted}`", pod.name, said.trim_end());
                case.violated(text, pod.evidence.clone());
                continue;
            }
        }
        if !judge_sayings(context, history, pod, &expected.says, case) {
            continue;
        }
        if let Some(wanted) = &expected.restarts
            && !wanted.holds(i64::from(pod.restarts))
        {
            let text = format!(
                "{} was started again {} times; expected {}",
                pod.name,
                pod.restarts,
                words::band("pid", wanted)
            );
            case.violated(text, pod.evidence.clone());
            continue;
        }
        number += 1;
        evidence.extend(pod.evidence.iter().cloned());
        if let Some(gone) = expected.gone {
            judge_gone(context, history, pod, gone, case);
        }
    }
    let count = i64::try_from(number).unwrap_or(i64::MAX);
    let what = format!("{} of {workload}: {}", words::count(number, "pod"), expected.kind.name());
    if expected.count.holds(count) {
        case.proven(what, evidence);
        return;
    }
    let wanted = words::band("pid", &expected.count);
    let (instead, others) = context.instead(workload);
    let text = format!("{what}; expected {wanted}: {instead}");
    if expected.count.at_most.is_some_and(|most| count > most) {
        case.violated(text, evidence);
    } else {
        case.absent(text, others, context.history.absence_doubts(context.plan, of_waits));
    }
}

/// What the API says of a pod's end or of what it waits for.
fn said(history: &PodHistory<'_>, pod: &PodEnd) -> String {
    let status = history.last().and_then(|last| last.value.status.as_ref());
    let [reason, message] = [
        status.and_then(|status| status.reason.as_deref()),
        status.and_then(|status| status.message.as_deref()),
    ];
    let pending = match &pod.end {
        End::Pending { reason } => Some(reason.as_str()),
        _ => None,
    };
    [reason, message, pending].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Whether all of this was said of a pod; what was not may have been said while nobody listened.
fn judge_sayings(
    context: &Context<'_>,
    history: &PodHistory<'_>,
    pod: &PodEnd,
    wanted: &[String],
    case: &mut Case,
) -> bool {
    let sayings = sayings(history);
    let mut all = true;
    for wanted in wanted {
        match sayings.iter().find(|(text, _)| text.contains(wanted.as_str())) {
            Some((text, evidence)) => {
                case.proven(format!("{}: {}", pod.name, text.trim_end()), [evidence.clone()]);
            }
            None => {
                let doubts =
                    context.history.absence_doubts(context.plan, |until| matches!(until, Until::Gone(_)));
                let text = format!("nothing that was said of {} has `{wanted}` in it", pod.name);
                case.absent(text, pod.evidence.clone(), doubts);
                all = false;
            }
        }
    }
    all
}

/// What was said of a pod in its conditions, in events, and by the ends of its containers.
fn sayings(history: &PodHistory<'_>) -> Vec<(String, Evidence)> {
    let mut sayings = Vec::new();
    for event in &history.events {
        let [reason, message] = [&event.value.reason, &event.value.message];
        let text =
            [reason.as_deref(), message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
        sayings.push((text, event.evidence()));
    }
    for version in history.all_versions() {
        let conditions =
            version.value.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        for condition in conditions.filter(|condition| condition.message.is_some()) {
            let message = condition.message.as_deref().unwrap_or_default();
            sayings.push((format!("{}: {message}", condition.type_), version.evidence()));
        }
        for container in container_statuses(version.value) {
            let states = [container.state.as_ref(), container.last_state.as_ref()];
            for ended in states.into_iter().flatten().filter_map(|state| state.terminated.as_ref()) {
                let reason = ended.reason.as_deref().unwrap_or("ended");
                let text = format!("{}: {reason}, exit code {}", container.name, ended.exit_code);
                sayings.push((text, version.evidence()));
            }
        }
    }
    sayings
}

fn judge_gone(context: &Context<'_>, history: &PodHistory<'_>, pod: &PodEnd, gone: bool, case: &mut Case) {
    match (gone, history.deleted) {
        (true, Some(deleted)) => case.proven(format!("{} is gone", pod.name), [deleted.evidence()]),
        (false, None) => {
            let last = history.last();
            let marked = last.is_some_and(|last| last.value.metadata.deletion_timestamp.is_some());
            let state = if marked { "is Terminating" } else { "is still there" };
            case.proven(format!("{} {state} at the end", pod.name), last.map(|last| last.evidence()));
        }
        (true, None) => {
            let doubts =
                context.history.absence_doubts(context.plan, |until| matches!(until, Until::Gone(_)));
            let text = format!("{} is still there at the end", pod.name);
            case.absent(text, history.last().map(|last| last.evidence()), doubts);
        }
        (false, Some(deleted)) => {
            case.violated(format!("{} is gone at the end", pod.name), [deleted.evidence()]);
        }
    }
}
