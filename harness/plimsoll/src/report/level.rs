//! How far a node is from its thresholds, as samples tell.

use std::collections::BTreeMap;

use plimsoll_eviction::signal::Signal;
use plimsoll_node::report::Sample;

use crate::plan::{NodePlan, Plan};
use crate::verdict::{signals, words};

/// What a node has left of the signal that is nearest to its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) signal: Signal,
    pub(super) available: i64,
    pub(super) threshold: i64,
    capacity: i64,
}

impl Level {
    /// Whether the threshold is met.
    pub(super) fn is_below(&self) -> bool {
        self.available < self.threshold
    }

    /// How far it is above its threshold, in thousandths of the capacity; negative below it.
    pub(super) fn headroom(&self) -> i64 {
        let difference = i128::from(self.available) - i128::from(self.threshold);
        i64::try_from(difference * 1000 / i128::from(self.capacity.max(1))).unwrap_or(i64::MAX)
    }

    /// The level in words.
    pub(super) fn words(&self) -> String {
        let amount = |amount| words::amount(self.signal.name(), amount);
        let relation = if self.is_below() { "below" } else { "above" };
        let (available, threshold) = (amount(self.available), amount(self.threshold));
        format!("{} {available}, {relation} its threshold of {threshold}", self.signal)
    }

    /// The level as a bar of this many characters: what is used is filled, and the threshold is marked.
    pub(super) fn bar(&self, width: usize) -> String {
        let place = |amount: i64| {
            let share =
                i128::from(amount.clamp(0, self.capacity)) * width as i128 / i128::from(self.capacity.max(1));
            width - usize::try_from(share).unwrap_or(0).min(width)
        };
        let (used, mark) = (place(self.available), place(self.threshold).min(width.saturating_sub(1)));
        (0..width)
            .map(|at| match at {
                _ if at == mark => '|',
                _ if at < used => '#',
                _ => '.',
            })
            .collect()
    }
}

/// The nodes of a plan and their thresholds.
#[derive(Debug, Default)]
pub(super) struct Levels {
    nodes: BTreeMap<String, NodePlan>,
    thresholds: BTreeMap<String, Vec<signals::Threshold>>,
}

/// The signals that are shown: those that a sample measures as the kubelet does.
const SHOWN: [Signal; 5] = [
    Signal::MemoryAvailable,
    Signal::AllocatableMemoryAvailable,
    Signal::NodeFsAvailable,
    Signal::NodeFsInodesFree,
    Signal::ImageFsAvailable,
];

impl Levels {
    pub(super) fn of(plan: &Plan) -> Self {
        let nodes = plan.nodes.iter().map(|node| (node.name.clone(), node.clone())).collect();
        Self { nodes, thresholds: BTreeMap::new() }
    }

    /// The signal of a node that is nearest to its threshold in this sample; nothing for a node without thresholds.
    pub(super) fn nearest(&mut self, node: &str, sample: &Sample) -> Option<Level> {
        let planned = self.nodes.get(node)?;
        let thresholds = self.thresholds.entry(node.to_owned()).or_insert_with(|| {
            SHOWN
                .into_iter()
                .filter_map(|signal| signals::thresholds(planned, signal, Some(sample)).into_iter().next())
                .collect()
        });
        let level = |threshold: &signals::Threshold| {
            let capacity = signals::capacity(sample, threshold.signal)?;
            let available = signals::available(sample, threshold.signal)?;
            Some(Level { signal: threshold.signal, available, threshold: threshold.value, capacity })
        };
        thresholds.iter().filter_map(level).min_by_key(Level::headroom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(available: i64) -> Level {
        Level { signal: Signal::MemoryAvailable, available, threshold: 400 << 20, capacity: 2000 << 20 }
    }

    #[test]
    fn the_bar_fills_up_to_the_threshold_s_mark_and_beyond() {
        assert_eq!(level(2000 << 20).bar(10), "........|.");
        assert_eq!(level(1000 << 20).bar(10), "#####...|.");
        assert_eq!(level(0).bar(10), "########|#");
        assert_eq!(level(-5).bar(0), "");
    }

    #[test]
    fn words_say_on_which_side_it_is() {
        assert_eq!(level(600 << 20).words(), "memory.available 600Mi, above its threshold of 400Mi");
        assert_eq!(level(399 << 20).words(), "memory.available 399Mi, below its threshold of 400Mi");
        assert_eq!((level(600 << 20).headroom(), level(300 << 20).headroom()), (100, -50));
    }
}
