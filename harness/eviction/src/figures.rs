//! The figures that pods are ranked by, computed once for any number of rankings.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::collections::HashMap;

use crate::layout::DiskParts;
use crate::pod::{EPHEMERAL_STORAGE, MEMORY, Pod};
use crate::quantity::Quantity;
use crate::summary::{FsStats, PodStats, Summary};

/// Bytes and inodes. Sums of what upstream reads as signed 64-bit numbers; they do not overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes.
    pub bytes: i128,
    /// Inodes.
    pub inodes: i128,
}

impl DiskUsage {
    fn add(&mut self, bytes: Option<u64>, inodes: Option<u64>) {
        self.bytes += i128::from(bytes.unwrap_or(0).cast_signed());
        self.inodes += i128::from(inodes.unwrap_or(0).cast_signed());
    }

    fn add_stats(&mut self, stats: Option<&FsStats>) {
        if let Some(stats) = stats {
            self.add(stats.used_bytes, stats.inodes_used);
        }
    }
}

/// What a pod uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The working set, in bytes.
    pub memory: i64,
    /// Processes.
    pub processes: u64,
    /// The containers' writable layers.
    pub rootfs: DiskUsage,
    /// The containers' logs.
    pub logs: DiskUsage,
    /// The local volumes.
    pub local_volumes: DiskUsage,
}

impl Usage {
    /// What a pod uses according to its statistics, whatever they leave out counting as nothing.
    /// Upstream: `memoryUsage`, `processUsage`, `containerUsage` and `podLocalVolumeUsage`.
    #[must_use]
    pub fn new(pod: &Pod, stats: &PodStats) -> Self {
        let memory = stats.memory.as_ref().and_then(|memory| memory.working_set_bytes);
        let mut usage = Self {
            memory: memory.unwrap_or(0).cast_signed(),
            processes: stats.processes.as_ref().and_then(|processes| processes.process_count).unwrap_or(0),
            ..Self::default()
        };
        for container in &stats.containers {
            usage.rootfs.add_stats(container.rootfs.as_ref());
            usage.logs.add_stats(container.logs.as_ref());
        }
        for volume in pod.volumes.iter().filter(|volume| volume.local) {
            if let Some(stats) = stats.volumes.iter().find(|stats| stats.name == volume.name) {
                usage.local_volumes.add(stats.used_bytes, stats.inodes_used);
            }
        }
        usage
    }

    /// The sum of some parts of the disk usage. Upstream: `podDiskUsage`.
    #[must_use]
    pub fn disk(&self, parts: DiskParts) -> DiskUsage {
        let mut sum = DiskUsage::default();
        for (counts, part) in
            [(parts.rootfs, self.rootfs), (parts.logs, self.logs), (parts.local_volumes, self.local_volumes)]
        {
            if counts {
                sum.bytes += part.bytes;
                sum.inodes += part.inodes;
            }
        }
        sum
    }
}

/// Everything that ranks a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFigures {
    /// The priority, 0 if it has none.
    pub priority: i32,
    /// What it uses; none if there are no statistics of it.
    pub usage: Option<Usage>,
    /// Its memory request in bytes.
    pub memory_request: Quantity,
    /// Its ephemeral-storage request in bytes.
    pub storage_request: Quantity,
    /// Its request of a resource called `inodes`, which no API server lets through.
    pub inodes_request: Quantity,
}

impl PodFigures {
    /// The figures of one pod.
    #[must_use]
    pub fn new(pod: &Pod, stats: Option<&PodStats>) -> Self {
        Self {
            priority: pod.effective_priority(),
            usage: stats.map(|stats| Usage::new(pod, stats)),
            memory_request: pod.request(MEMORY),
            storage_request: pod.request(EPHEMERAL_STORAGE),
            inodes_request: pod.request("inodes"),
        }
    }

    /// The figures of each of the pods, in their order.
    #[must_use]
    pub fn of_all<'a>(pods: impl IntoIterator<Item = &'a Pod>, summary: &Summary) -> Vec<Self> {
        let stats = StatsByUid::new(summary);
        pods.into_iter().map(|pod| Self::new(pod, stats.get(pod))).collect()
    }
}

/// The statistics of a summary by pod. Of several with one uid the last counts. Upstream: `cachedStatsFunc`.
#[derive(Clone, Debug)]
pub struct StatsByUid<'a>(HashMap<&'a str, &'a PodStats>);

impl<'a> StatsByUid<'a> {
    /// Sorts a summary by uid.
    #[must_use]
    pub fn new(summary: &'a Summary) -> Self {
        Self(summary.pods.iter().map(|stats| (stats.pod_ref.uid.as_str(), stats)).collect())
    }

    /// The statistics of a pod.
    #[must_use]
    pub fn get(&self, pod: &Pod) -> Option<&'a PodStats> {
        self.0.get(pod.uid.as_str()).copied()
    }
}
