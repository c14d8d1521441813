//! What became of each pod, for the closing table.

use plimsoll_eviction::pod::MEMORY;
use plimsoll_node::report::OomScope;

use super::context::{Context, Eviction};
use super::ends::PodEnd;
use super::history::PodHistory;
use super::measure;
use super::model::{End, LocalStorageLimit, PodOutcome, Preemptor};
use super::words;

/// An end in words.
#[must_use]
pub fn end_words(end: &End) -> String {
    match end {
        End::Running => "still running".to_owned(),
        End::Pending { reason } => format!("pending: {reason}"),
        End::EvictedByKubelet(eviction) => {
            let resource = eviction.resource.as_deref().unwrap_or("a resource");
            let mut text = format!("evicted by the kubelet: {resource} was low");
            let figures = eviction.figures.iter();
            for (available, threshold) in
                figures.filter_map(|figures| figures.available.zip(figures.threshold))
            {
                let (available, threshold) =
                    (words::amount(resource, available), words::amount(resource, threshold));
                text.push_str(&format!(" ({available} available, threshold {threshold})"));
            }
            text
        }
        End::RejectedAtAdmission { reason, message } => {
            let message = message.trim_start_matches("Pod was rejected: ").trim_end().trim_end_matches('.');
            format!("rejected at admission ({reason}): {message}")
        }
        End::OomKilled { scope } => match scope {
            OomScope::Container => "OOM-killed: its container's limit was exhausted".to_owned(),
            OomScope::Kubepods => "OOM-killed: the limit of all pods together was exhausted".to_owned(),
            OomScope::Node => "OOM-killed: the node's memory was exhausted".to_owned(),
            OomScope::Unknown => "OOM-killed".to_owned(),
        },
        End::EvictedThroughApi => "evicted through the API".to_owned(),
        End::DeletedByTaintManager => "deleted by the taint manager".to_owned(),
        End::DeletedByDeviceTaintManager => {
            "deleted for a NoExecute taint of a device that it had".to_owned()
        }
        End::Preempted { by: Preemptor::Scheduler } => "preempted by the scheduler".to_owned(),
        End::Preempted { by: Preemptor::Kubelet } => "preempted by the kubelet for a critical pod".to_owned(),
        End::LocalStorageLimit { limit, message } => {
            let limit = match limit {
                LocalStorageLimit::EmptyDir => "an emptyDir's",
                LocalStorageLimit::Pod => "its own",
                LocalStorageLimit::Container => "a container's",
            };
            format!("over {limit} local storage limit: {}", message.trim_end().trim_end_matches('.'))
        }
        End::Completed => "completed".to_owned(),
        End::Failed { reason } => format!("failed: {reason}"),
        End::Deleted => "deleted".to_owned(),
    }
}

/// The closing table.
pub(super) fn outcomes(context: &Context<'_>) -> Vec<PodOutcome> {
    let evictions = context.evictions();
    let pods = context.history.pods.iter().zip(&context.ends);
    // A UID of which only the kernel's log speaks is no pod that a table could name.
    pods.filter(|(history, _)| !history.name.is_empty())
        .map(|(history, end)| outcome(context, &evictions, history, end))
        .collect()
}

fn outcome(
    context: &Context<'_>,
    evictions: &[Eviction<'_>],
    history: &PodHistory<'_>,
    pod: &PodEnd,
) -> PodOutcome {
    let last = history.last().map(|version| version.value);
    let rules = last.and_then(measure::pod);
    let request = rules.as_ref().map_or(0, |pod| pod.request(MEMORY).value());
    PodOutcome {
        uid: pod.uid.clone(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        workload: pod.workload.clone(),
        node: pod.node.clone(),
        qos_class: last.and_then(|pod| pod.status.as_ref()?.qos_class.clone()),
        priority: rules.as_ref().map_or(0, plimsoll_eviction::pod::Pod::effective_priority),
        memory_request: u64::try_from(request).unwrap_or(0),
        memory_usage: usage(context, evictions, history, pod),
        restarts: pod.restarts,
        oom_kills: pod.oom_kills,
        end: pod.end.clone(),
        decided: pod.decided,
        ended: pod.ended,
        words: words(pod),
        evidence: pod.evidence.clone(),
    }
}

fn words(pod: &PodEnd) -> String {
    let mut text = end_words(&pod.end);
    if pod.oom_kills > 0 && !matches!(pod.end, End::OomKilled { .. }) {
        text.push_str(&format!(", OOM-killed {}", words::count(pod.oom_kills as usize, "time")));
    }
    // Whoever was to end it could not be told, or could not say that it had.
    if !pod.end.is_open() && pod.ended.is_none() {
        text.push_str(", still there at the end");
    }
    if pod.restarts > 0 {
        text.push_str(&format!(", restarted {}", words::count(pod.restarts as usize, "time")));
    }
    text
}

fn usage(
    context: &Context<'_>,
    evictions: &[Eviction<'_>],
    history: &PodHistory<'_>,
    pod: &PodEnd,
) -> Option<u64> {
    let node = pod.node.as_deref()?;
    if let Some(own) = evictions.iter().find(|eviction| eviction.pod.uid == pod.uid) {
        let said = history.last().and_then(|last| measure::said(own.what, last.value));
        return said.and_then(|said| u64::try_from(said).ok()).or_else(|| {
            measure::memory(&context.history, node, &pod.uid, own.decided.latest).map(|(usage, _)| usage)
        });
    }
    let on_this_node = evictions.iter().rev().filter(|eviction| eviction.node() == node);
    on_this_node
        .filter_map(|eviction| measure::memory(&context.history, node, &pod.uid, eviction.decided.latest))
        .chain(measure::last_memory(&context.history, node, &pod.uid))
        .map(|(usage, _)| usage)
        .next()
}
