//! Limits on local storage, which are enforced before any threshold.

use std::collections::HashMap;

use crate::layout::FilesystemLayout;
use crate::message::PodMessage;
use crate::pod::{EPHEMERAL_STORAGE, Pod};
use crate::quantity::Quantity;
use crate::summary::{FsStats, PodStats};

/// The first limit on local storage that the pod exceeds: that of an emptyDir, then the pod's, then a container's. What
/// is returned is the message it would be evicted with. Whether it may be evicted is not asked.
/// Upstream: `localStorageEviction`.
#[must_use]
pub fn exceeded_limit(pod: &Pod, stats: &PodStats, layout: FilesystemLayout) -> Option<PodMessage> {
    empty_dir(pod, stats).or_else(|| whole_pod(pod, stats)).or_else(|| container(pod, stats, layout))
}

/// Upstream: `emptyDirLimitEviction`. Of several statistics for one volume the last counts here.
fn empty_dir(pod: &Pod, stats: &PodStats) -> Option<PodMessage> {
    let limited = |volume: &crate::pod::Volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let stats = stats.volumes.iter().rfind(|stats| stats.name == volume.name)?;
        let used = Quantity::from_bytes(stats.used_bytes?.cast_signed());
        (limit.sign().is_gt() && used > *limit)
            .then(|| PodMessage::EmptyDirOverLimit { volume: volume.name.clone(), limit: limit.clone() })
    };
    pod.volumes.iter().find_map(limited)
}

/// Upstream: `podEphemeralStorageLimitEviction`.
fn whole_pod(pod: &Pod, stats: &PodStats) -> Option<PodMessage> {
    let limit = pod.limit(EPHEMERAL_STORAGE)?;
    let used = Quantity::from_bytes(used_bytes(stats.ephemeral_storage.as_ref()));
    (used > limit).then_some(PodMessage::PodOverLimit { limit })
}

/// Upstream: `containerEphemeralStorageLimitEviction`. A limit that upstream reads as zero is none.
fn container(pod: &Pod, stats: &PodStats, layout: FilesystemLayout) -> Option<PodMessage> {
    let limits: HashMap<&str, &Quantity> = pod
        .containers
        .iter()
        .filter_map(|container| {
            Some((container.name.as_str(), container.resources.limits.get(EPHEMERAL_STORAGE)?))
        })
        .filter(|(_, limit)| limit.upstream_value() != 0)
        .collect();
    stats.containers.iter().find_map(|container| {
        let limit = *limits.get(container.name.as_str())?;
        let mut used = Quantity::from_bytes(used_bytes(container.logs.as_ref()));
        if !layout.has_image_fs() {
            used += &Quantity::from_bytes(used_bytes(container.rootfs.as_ref()));
        }
        (used > *limit).then(|| PodMessage::ContainerOverLimit {
            container: container.name.clone(),
            limit: limit.clone(),
        })
    })
}

/// Upstream: `diskUsage`.
fn used_bytes(stats: Option<&FsStats>) -> i64 {
    stats.and_then(|stats| stats.used_bytes).unwrap_or(0).cast_signed()
}
