//! What pods used, from the kubelet's own figures and from the node's samples.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use plimsoll_eviction::document::{read_json, read_pods};
use plimsoll_eviction::summary::Summary;

use super::coverage::STALE_SECONDS;
use super::history::History;
use super::model::{Evidence, KubeletEviction};
use super::words;
use crate::observe::Observation;

/// A pod as the rules of eviction look at it; nothing for one that they can not read.
pub(super) fn pod(pod: &Pod) -> Option<plimsoll_eviction::pod::Pod> {
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "PodList", "items": [pod] });
    read_pods(&list.to_string()).ok()?.pop()
}

/// What the kubelet said that a pod was using, where its message names the pod as a whole or every container.
pub(super) fn said(eviction: &KubeletEviction, pod: &Pod) -> Option<i64> {
    let consumers = &eviction.figures.as_ref()?.consumers;
    if let Some(whole) = consumers.iter().find(|consumer| consumer.container.is_none()) {
        return Some(whole.using);
    }
    let containers = &pod.spec.as_ref()?.containers;
    (containers.len() == consumers.len()).then(|| consumers.iter().map(|consumer| consumer.using).sum())
}

/// A pod's working set by the last sample at or before an instant, unless that is stale.
pub(super) fn memory(history: &History<'_>, node: &str, uid: &str, at: Timestamp) -> Option<(u64, Evidence)> {
    let samples = history.samples.get(node)?;
    let until = samples.partition_point(|sample| sample.at() <= at);
    let sample = samples[..until].last()?;
    if words::seconds_between(sample.at(), at) > STALE_SECONDS {
        return None;
    }
    Some((sample.value.pods.get(uid)?.working_set, sample.evidence()))
}

/// A pod's working set by the last sample that has it.
pub(super) fn last_memory(history: &History<'_>, node: &str, uid: &str) -> Option<(u64, Evidence)> {
    let samples = history.samples.get(node)?;
    samples.iter().rev().find_map(|sample| Some((sample.value.pods.get(uid)?.working_set, sample.evidence())))
}

/// The kubelet's own statistics as last read at or before an instant, unless they are stale.
pub(super) fn summary<'a>(
    history: &History<'a>,
    node: &str,
    at: Timestamp,
) -> Option<(Summary, &'a Observation)> {
    let summaries = history.summaries.get(node)?;
    let until = summaries.partition_point(|summary| summary.at() <= at);
    let seen = summaries[..until].last()?;
    if words::seconds_between(seen.at(), at) > STALE_SECONDS {
        return None;
    }
    read_json(&seen.value.to_string()).ok().map(|summary| (summary, seen.observation))
}
