//! What becomes of a pod that is evicted for a threshold: the message, the annotations, the grace it gets.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::collections::BTreeMap;

use crate::message::{Offender, PodMessage, ThresholdFigures, annotation};
use crate::observation::Observations;
use crate::pod::{EPHEMERAL_STORAGE, MEMORY, Pod};
use crate::quantity::Quantity;
use crate::signal::StarvedResource;
use crate::summary::{ContainerStats, PodStats};
use crate::threshold::Threshold;

/// Seconds that a pod gets when there is no time to lose. Upstream: `immediateEvictionGracePeriodSeconds`.
pub const IMMEDIATE_GRACE_PERIOD_SECONDS: i64 = 1;

/// The annotations of an eviction's event.
pub type Annotations = BTreeMap<String, String>;

/// Seconds of grace handed to whatever kills the pod: 1 for a hard threshold; for a soft one the smaller of the
/// kubelet's maximum and the pod's own. Upstream: `synchronize`.
#[must_use]
pub fn kill_grace_period_seconds(threshold: &Threshold, pod: &Pod, maximum: i64) -> i64 {
    if threshold.is_hard() {
        return IMMEDIATE_GRACE_PERIOD_SECONDS;
    }
    pod.termination_grace_period_seconds.map_or(maximum, |own| own.min(maximum))
}

/// What a container used of a resource, where its statistics say so in full.
fn container_usage(resource: StarvedResource, stats: &ContainerStats) -> Option<Quantity> {
    let bytes = match resource {
        StarvedResource::Memory => stats.memory.as_ref()?.working_set_bytes?,
        StarvedResource::EphemeralStorage => {
            let rootfs = stats.rootfs.as_ref()?.used_bytes?;
            rootfs.wrapping_add(stats.logs.as_ref()?.used_bytes?)
        }
        StarvedResource::Inodes | StarvedResource::Pids => return None,
    };
    Some(Quantity::from_bytes(bytes.cast_signed()))
}

/// The key of a resource in a container's requests.
fn request_key(resource: StarvedResource) -> &'static str {
    match resource {
        StarvedResource::Memory => MEMORY,
        StarvedResource::EphemeralStorage => EPHEMERAL_STORAGE,
        StarvedResource::Inodes => "inodes",
        StarvedResource::Pids => "pids",
    }
}

/// The containers, init containers too, that used more than they had requested, in the order of the statistics.
fn offending_containers(resource: StarvedResource, pod: &Pod, stats: &PodStats) -> Vec<Offender> {
    let offender = |stats: &ContainerStats| {
        let container =
            pod.containers.iter().chain(&pod.init_containers).find(|own| own.name == stats.name)?;
        let usage = container_usage(resource, stats)?;
        let request = container.resources.requests.get(request_key(resource)).cloned().unwrap_or_default();
        (usage > request).then(|| Offender { name: container.name.clone(), usage, request })
    };
    stats.containers.iter().filter_map(offender).collect()
}

/// The pod itself, where it requests memory at pod level.
fn offending_pod(resource: StarvedResource, pod: &Pod, stats: &PodStats) -> Option<Offender> {
    if resource != StarvedResource::Memory || !pod.has_pod_level_resources() {
        return None;
    }
    let request = pod.resources.as_ref()?.requests.get(MEMORY)?.clone();
    let bytes = stats.memory.as_ref()?.working_set_bytes.unwrap_or(0);
    Some(Offender { name: pod.name.clone(), usage: Quantity::from_bytes(bytes.cast_signed()), request })
}

/// The message that a pod is left with, and the annotations of its event, when it is evicted for a threshold.
/// Without statistics of the pod there are no annotations. Upstream: `evictionMessage`.
#[must_use]
pub fn eviction_message(
    threshold: &Threshold,
    observations: &Observations,
    pod: &Pod,
    stats: Option<&PodStats>,
) -> (PodMessage, Annotations) {
    let resource = threshold.signal.resource();
    let figures = observations.get(threshold.signal).map(|observation| ThresholdFigures {
        threshold: threshold.value.resolve(observation.capacity),
        available: threshold.signal.quantity(observation.available),
    });
    let Some(stats) = stats else {
        let message = PodMessage::NodeLow { resource, figures, pod: None, containers: Vec::new() };
        return (message, Annotations::new());
    };
    let offending_pod = offending_pod(resource, pod, stats);
    let containers = offending_containers(resource, pod, stats);
    let message = PodMessage::NodeLow { resource, figures, pod: offending_pod, containers };
    let annotations = annotations(&message);
    (message, annotations)
}

/// The annotations of an event that says this; none where it names no resource. Upstream: `evictionMessage`.
#[must_use]
pub fn annotations(message: &PodMessage) -> Annotations {
    let mut annotations = Annotations::new();
    let PodMessage::NodeLow { resource, pod, containers, .. } = message else { return annotations };
    let mut annotate = |key: &str, value: String| annotations.insert(key.to_owned(), value);
    if let Some(pod) = pod {
        annotate(annotation::OFFENDING_POD, pod.name.clone());
        annotate(annotation::OFFENDING_POD_USAGE, pod.usage.to_string());
    }
    let joined = |part: fn(&Offender) -> String| containers.iter().map(part).collect::<Vec<_>>().join(",");
    annotate(annotation::OFFENDING_CONTAINERS, joined(|container| container.name.clone()));
    annotate(annotation::OFFENDING_CONTAINERS_USAGE, joined(|container| container.usage.to_string()));
    annotate(annotation::STARVED_RESOURCE, resource.to_string());
    annotations
}
