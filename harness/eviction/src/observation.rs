//! What a summary says about each signal.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use jiff::Timestamp;

use crate::quantity::Quantity;
use crate::signal::{Signal, StarvedResource};
use crate::summary::{FsStats, MemoryStats, Summary};

/// What was seen of one signal. Upstream: `signalObservation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What is left: bytes, or a count. Upstream reads the summary's unsigned numbers as signed ones.
    pub available: i64,
    /// What there is in all, in the same unit.
    pub capacity: i64,
    /// When it was measured; none if the summary does not say.
    pub time: Option<Timestamp>,
}

/// What was seen of all signals. A signal that the summary lacks has no observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations([Option<Observation>; Signal::ALL.len()]);

impl Observations {
    /// The observation of a signal.
    #[must_use]
    pub fn get(&self, signal: Signal) -> Option<&Observation> {
        self.0[signal as usize].as_ref()
    }

    /// Sets the observation of a signal.
    pub fn set(&mut self, signal: Signal, observation: Observation) {
        self.0[signal as usize] = Some(observation);
    }

    /// The signals with their observations, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (Signal, &Observation)> {
        Signal::ALL.into_iter().filter_map(|signal| Some((signal, self.get(signal)?)))
    }

    fn set_some(&mut self, signal: Signal, observation: Option<Observation>) {
        self.0[signal as usize] = observation;
    }
}

impl Signal {
    /// An amount of this signal as a quantity, printed as Kubernetes prints it.
    #[must_use]
    pub fn quantity(self, amount: i64) -> Quantity {
        match self.resource() {
            StarvedResource::Memory | StarvedResource::EphemeralStorage => Quantity::from_bytes(amount),
            StarvedResource::Inodes | StarvedResource::Pids => Quantity::from_count(amount),
        }
    }
}

/// Working set and what is left make up the capacity; the sum wraps around as upstream's does.
fn memory(memory: &MemoryStats) -> Option<Observation> {
    let (available, working_set) = (memory.available_bytes?, memory.working_set_bytes?);
    Some(Observation {
        available: available.cast_signed(),
        capacity: available.wrapping_add(working_set).cast_signed(),
        time: memory.time,
    })
}

fn filesystem(observations: &mut Observations, stats: &FsStats, bytes: Signal, inodes: Signal) {
    let observation = |available: Option<u64>, capacity: Option<u64>| {
        Some(Observation {
            available: available?.cast_signed(),
            capacity: capacity?.cast_signed(),
            time: stats.time,
        })
    };
    observations.set_some(bytes, observation(stats.available_bytes, stats.capacity_bytes));
    observations.set_some(inodes, observation(stats.inodes_free, stats.inodes));
}

impl From<&Summary> for Observations {
    /// Upstream: `makeSignalObservations`.
    fn from(summary: &Summary) -> Self {
        let node = &summary.node;
        let mut observations = Self::default();
        observations.set_some(Signal::MemoryAvailable, node.memory.as_ref().and_then(memory));
        let pods = node.system_containers.iter().find(|container| container.name == "pods");
        let pods_memory = pods.and_then(|pods| pods.memory.as_ref());
        observations.set_some(Signal::AllocatableMemoryAvailable, pods_memory.and_then(memory));
        let runtime = node.runtime.as_ref();
        for (stats, bytes, inodes) in [
            (node.fs.as_ref(), Signal::NodeFsAvailable, Signal::NodeFsInodesFree),
            (
                runtime.and_then(|runtime| runtime.image_fs.as_ref()),
                Signal::ImageFsAvailable,
                Signal::ImageFsInodesFree,
            ),
            (
                runtime.and_then(|runtime| runtime.container_fs.as_ref()),
                Signal::ContainerFsAvailable,
                Signal::ContainerFsInodesFree,
            ),
        ] {
            if let Some(stats) = stats {
                filesystem(&mut observations, stats, bytes, inodes);
            }
        }
        if let Some(rlimit) = &node.rlimit
            && let (Some(max_pid), Some(running)) = (rlimit.max_pid, rlimit.running_processes)
        {
            let available = max_pid.wrapping_sub(running);
            observations
                .set(Signal::PidAvailable, Observation { available, capacity: max_pid, time: rlimit.time });
        }
        observations
    }
}
