//! What a node had left of each signal, and its thresholds.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_eviction::layout::FilesystemLayout;
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::threshold::{KubeletConfiguration, Operator, ThresholdValue, with_container_fs};
use plimsoll_node::report::Sample;
use serde::Deserialize as _;

use super::coverage::STALE_SECONDS;
use super::history::{History, Seen};
use super::model::Evidence;
use super::words;
use crate::plan::NodePlan;

/// What a sample shows of a signal, in bytes or counts; nothing if the sample lacks it.
#[must_use]
pub fn available(sample: &Sample, signal: Signal) -> Option<i64> {
    let filesystem = |name: &str| sample.filesystems.get(name);
    let image = || filesystem("imagefs").or_else(|| filesystem("nodefs"));
    let amount = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    match signal {
        Signal::MemoryAvailable => sample.memory.available(),
        Signal::AllocatableMemoryAvailable => sample.kubepods.and_then(|kubepods| kubepods.available()),
        Signal::NodeFsAvailable => filesystem("nodefs").map(|filesystem| amount(filesystem.available)),
        Signal::NodeFsInodesFree => filesystem("nodefs").map(|filesystem| amount(filesystem.inodes_free)),
        Signal::ImageFsAvailable | Signal::ContainerFsAvailable => {
            image().map(|filesystem| amount(filesystem.available))
        }
        Signal::ImageFsInodesFree | Signal::ContainerFsInodesFree => {
            image().map(|filesystem| amount(filesystem.inodes_free))
        }
        Signal::PidAvailable => {
            sample.pids.map(|pids| amount(pids.maximum).saturating_sub(amount(pids.current)))
        }
    }
}

/// A threshold of one node, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The signal.
    pub signal: Signal,
    /// Below this the threshold is met: bytes or a count.
    pub value: i64,
    /// How long it must be met before pods go; absent for a hard threshold.
    pub grace: Option<Duration>,
    /// What must be available beyond the threshold before the kubelet is content again.
    pub minimum_reclaim: i64,
}

/// The thresholds of a node for one signal, the highest first.
///
/// Shares are taken of what a sample of the node shows, where there is one: a filesystem holds less than its image. A
/// configuration that the kubelet refuses has no thresholds: such a node never becomes Ready.
#[must_use]
pub fn thresholds(node: &NodePlan, signal: Signal, sample: Option<&Sample>) -> Vec<Threshold> {
    let Ok(configuration) = KubeletConfiguration::deserialize(&node.kubelet) else { return Vec::new() };
    let Ok(configured) = configuration.threshold_configuration().parse() else { return Vec::new() };
    let capacity =
        sample.and_then(|sample| capacity(sample, signal)).or_else(|| planned_capacity(node, signal));
    let mut thresholds: Vec<Threshold> = with_container_fs(&configured, layout(node))
        .iter()
        .filter(|threshold| threshold.signal == signal && threshold.operator == Operator::LessThan)
        .filter_map(|threshold| {
            // A share of something whose size is not known is not known either.
            let relative = |value: &ThresholdValue| !matches!(value, ThresholdValue::Quantity(_));
            if capacity.is_none() && relative(&threshold.value) {
                return None;
            }
            let capacity = capacity.unwrap_or_default();
            let value = threshold.value.resolve(capacity).value();
            let minimum_reclaim = threshold.minimum_reclaim.as_ref();
            Some(Threshold {
                signal,
                value,
                grace: (!threshold.is_hard()).then(|| threshold.grace_period.try_into().unwrap_or_default()),
                minimum_reclaim: minimum_reclaim.map_or(0, |reclaim| reclaim.resolve(capacity).value()),
            })
        })
        .collect();
    thresholds.sort_by_key(|threshold| std::cmp::Reverse(threshold.value));
    thresholds
}

/// How a node's filesystems are laid out.
#[must_use]
pub fn layout(node: &NodePlan) -> FilesystemLayout {
    if node.imagefs.is_some() { FilesystemLayout::DedicatedImageFs } else { FilesystemLayout::Single }
}

/// What there is of a signal in all, by a sample, in bytes or counts; nothing if the sample lacks it.
#[must_use]
pub fn capacity(sample: &Sample, signal: Signal) -> Option<i64> {
    let image = sample.filesystems.get("imagefs").or_else(|| sample.filesystems.get("nodefs"));
    let node = sample.filesystems.get("nodefs");
    let capacity = match signal {
        Signal::MemoryAvailable => sample.memory.capacity,
        Signal::AllocatableMemoryAvailable => {
            sample.kubepods.and_then(|kubepods| kubepods.capacity).or(sample.memory.capacity)
        }
        Signal::NodeFsAvailable => node.map(|filesystem| filesystem.capacity),
        Signal::NodeFsInodesFree => node.map(|filesystem| filesystem.inodes),
        Signal::ImageFsAvailable | Signal::ContainerFsAvailable => {
            image.map(|filesystem| filesystem.capacity)
        }
        Signal::ImageFsInodesFree | Signal::ContainerFsInodesFree => {
            image.map(|filesystem| filesystem.inodes)
        }
        Signal::PidAvailable => sample.pids.map(|pids| pids.maximum),
    };
    capacity.and_then(|capacity| i64::try_from(capacity).ok())
}

fn planned_capacity(node: &NodePlan, signal: Signal) -> Option<i64> {
    let image = node.imagefs.as_ref().unwrap_or(&node.nodefs);
    let capacity = match signal {
        Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => Some(node.memory),
        Signal::NodeFsAvailable => Some(node.nodefs.size),
        Signal::NodeFsInodesFree => node.nodefs.inodes,
        Signal::ImageFsAvailable | Signal::ContainerFsAvailable => Some(image.size),
        Signal::ImageFsInodesFree | Signal::ContainerFsInodesFree => image.inodes,
        Signal::PidAvailable => None,
    };
    capacity.and_then(|capacity| i64::try_from(capacity).ok())
}

/// A sample as evidence of what it shows of one signal.
pub(super) fn level_evidence(
    sample: Seen<'_, Sample>,
    node: &str,
    signal: Signal,
    available: i64,
) -> Evidence {
    let text = format!("{node}: {signal} {}", words::amount(signal.name(), available));
    Evidence { text, ..sample.evidence() }
}

/// A stretch of time in which a signal was below a threshold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spell<'a> {
    /// The first sample below.
    pub(super) first: Seen<'a, Sample>,
    /// What it showed.
    pub(super) available: i64,
    /// The last sample below.
    pub(super) last: Seen<'a, Sample>,
}

impl<'a> History<'a> {
    /// A node's samples of one signal between two instants.
    pub(super) fn levels(
        &self,
        node: &str,
        signal: Signal,
        from: Timestamp,
        to: Timestamp,
    ) -> impl DoubleEndedIterator<Item = (Seen<'a, Sample>, i64)> {
        let samples = self.samples.get(node).map(Vec::as_slice).unwrap_or_default();
        let first = samples.partition_point(|sample| sample.at() < from);
        let last = samples.partition_point(|sample| sample.at() <= to).max(first);
        samples[first..last]
            .iter()
            .copied()
            .filter_map(move |sample| available(sample.value, signal).map(|available| (sample, available)))
    }

    /// When a signal was below a threshold. A rise above it for less than the kubelet's interval between two looks does
    /// not end a spell: the kubelet may never have seen it.
    pub(super) fn spells(
        &self,
        node: &str,
        signal: Signal,
        threshold: i64,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Spell<'a>> {
        let mut spells: Vec<Spell<'a>> = Vec::new();
        for (sample, available) in self.levels(node, signal, from, to).filter(|(_, level)| *level < threshold)
        {
            match spells.last_mut() {
                Some(spell) if words::seconds_between(spell.last.at(), sample.at()) < STALE_SECONDS => {
                    spell.last = sample;
                }
                _ => spells.push(Spell { first: sample, available, last: sample }),
            }
        }
        spells
    }

    /// The least that was available of a signal on a node, and the sample that shows it.
    pub(super) fn least(
        &self,
        node: &str,
        signal: Signal,
        from: Timestamp,
        to: Timestamp,
    ) -> Option<(Seen<'a, Sample>, i64)> {
        self.levels(node, signal, from, to).min_by_key(|(_, available)| *available)
    }
}
