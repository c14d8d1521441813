//! Limits on local storage, which are enforced before any threshold.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::collections::HashMap;

use crate::layout::FilesystemLayout;
use crate::message::PodMessage;
use crate::pod::{EPHEMERAL_STORAGE, Pod, Volume};
use crate::quantity::Quantity;
use crate::summary::{FsStats, PodStats};

/// What a limit on local storage is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOn {
    /// An emptyDir volume, by its name: `sizeLimit`.
    EmptyDir(String),
    /// The whole pod: the limits of its containers together.
    Pod,
    /// A container, by its name.
    Container(String),
}

/// How much of a limit on local storage is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// What the limit is on.
    pub on: LimitOn,
    /// What is used, in bytes.
    pub used: Quantity,
    /// The limit, in bytes.
    pub limit: Quantity,
}

impl LimitUse {
    /// Whether more is used than the limit.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used > self.limit
    }

    /// The message that the pod is evicted with when the limit is exceeded.
    #[must_use]
    pub fn message(&self) -> PodMessage {
        let limit = self.limit.clone();
        match &self.on {
            LimitOn::EmptyDir(volume) => PodMessage::EmptyDirOverLimit { volume: volume.clone(), limit },
            LimitOn::Pod => PodMessage::PodOverLimit { limit },
            LimitOn::Container(container) => {
                PodMessage::ContainerOverLimit { container: container.clone(), limit }
            }
        }
    }
}

/// The limits on a pod's local storage whose use is known, in the order in which they are enforced: those of
/// emptyDirs, then the pod's, then the containers'. Upstream: `localStorageEviction`.
pub fn limit_uses<'a>(
    pod: &'a Pod,
    stats: &'a PodStats,
    layout: FilesystemLayout,
) -> impl Iterator<Item = LimitUse> + 'a {
    let whole_pod = std::iter::once_with(move || whole_pod(pod, stats)).flatten();
    let containers = std::iter::once_with(move || containers(pod, stats, layout)).flatten();
    empty_dirs(pod, stats).chain(whole_pod).chain(containers)
}

/// The first limit on local storage that the pod exceeds: that of an emptyDir, then the pod's, then a container's. What
/// is returned is the message it would be evicted with. Whether it may be evicted is not asked.
/// Upstream: `localStorageEviction`.
#[must_use]
pub fn exceeded_limit(pod: &Pod, stats: &PodStats, layout: FilesystemLayout) -> Option<PodMessage> {
    limit_uses(pod, stats, layout).find(LimitUse::is_exceeded).map(|exceeded| exceeded.message())
}

/// Upstream: `emptyDirLimitEviction`. Of several statistics for one volume the last counts here.
fn empty_dirs<'a>(pod: &'a Pod, stats: &'a PodStats) -> impl Iterator<Item = LimitUse> + 'a {
    let limited = |volume: &Volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let stats = stats.volumes.iter().rfind(|stats| stats.name == volume.name)?;
        let used = Quantity::from_bytes(stats.used_bytes?.cast_signed());
        let on = LimitOn::EmptyDir(volume.name.clone());
        limit.sign().is_gt().then(|| LimitUse { on, used, limit: limit.clone() })
    };
    pod.volumes.iter().filter_map(limited)
}

/// Upstream: `podEphemeralStorageLimitEviction`.
fn whole_pod(pod: &Pod, stats: &PodStats) -> Option<LimitUse> {
    let limit = pod.limit(EPHEMERAL_STORAGE)?;
    let used = Quantity::from_bytes(used_bytes(stats.ephemeral_storage.as_ref()));
    Some(LimitUse { on: LimitOn::Pod, used, limit })
}

/// Upstream: `containerEphemeralStorageLimitEviction`. A limit that upstream reads as zero is none.
fn containers<'a>(
    pod: &'a Pod,
    stats: &'a PodStats,
    layout: FilesystemLayout,
) -> impl Iterator<Item = LimitUse> + 'a {
    let limits: HashMap<&str, &Quantity> = pod
        .containers
        .iter()
        .filter_map(|container| {
            Some((container.name.as_str(), container.resources.limits.get(EPHEMERAL_STORAGE)?))
        })
        .filter(|(_, limit)| limit.upstream_value() != 0)
        .collect();
    stats.containers.iter().filter_map(move |container| {
        let limit = *limits.get(container.name.as_str())?;
        let mut used = Quantity::from_bytes(used_bytes(container.logs.as_ref()));
        if !layout.has_image_fs() {
            used += &Quantity::from_bytes(used_bytes(container.rootfs.as_ref()));
        }
        Some(LimitUse { on: LimitOn::Container(container.name.clone()), used, limit: limit.clone() })
    })
}

/// Upstream: `diskUsage`.
fn used_bytes(stats: Option<&FsStats>) -> i64 {
    stats.and_then(|stats| stats.used_bytes).unwrap_or(0).cast_signed()
}
