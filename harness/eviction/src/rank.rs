//! The order in which pods are evicted, as groups of equals.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::cmp::{Ordering, Reverse};

use crate::figures::{PodFigures, Usage};
use crate::layout::{DiskParts, FilesystemLayout};
use crate::quantity::Quantity;
use crate::signal::{Signal, StarvedResource};

/// What pods are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankBy {
    /// Memory over its request. Upstream: `rankMemoryPressure`.
    Memory,
    /// Bytes on disk over the ephemeral-storage request. Upstream: `rankDiskPressureFunc`.
    Disk(DiskParts),
    /// Inodes; the last step takes the ephemeral-storage request in bytes off the number of inodes, as upstream does.
    /// Upstream: `rankDiskPressureFunc`.
    Inodes(DiskParts),
    /// Processes. Upstream: `rankPIDPressure`.
    Processes,
}

impl RankBy {
    /// What pods are ranked by when a signal is short. Upstream: `buildSignalToRankFunc`.
    #[must_use]
    pub fn signal(signal: Signal, layout: FilesystemLayout) -> Self {
        let Some(filesystem) = signal.filesystem() else {
            return if signal == Signal::PidAvailable { Self::Processes } else { Self::Memory };
        };
        let parts = layout.ranked_parts(filesystem);
        if signal.resource() == StarvedResource::Inodes { Self::Inodes(parts) } else { Self::Disk(parts) }
    }
}

/// Which step of an order tells a pod from the one ranked after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decider {
    /// There are no statistics of the one, and there are of the other.
    MissingStats,
    /// The one uses more than it requests, and the other does not.
    OverRequest,
    /// The one has the lower priority.
    Priority,
    /// The one is further over its request, or has more processes.
    Excess,
}

/// A difference of usage and request, small where it can be: `10^-9` of the unit, or the exact number.
#[derive(Clone, Debug)]
enum Excess {
    Nanos(i128),
    Wide(Quantity),
}

impl Excess {
    fn new(usage: i128, request: &Quantity) -> Self {
        let nanos = |usage: i128| usage.checked_mul(1_000_000_000)?.checked_sub(request.nanos()?);
        match nanos(usage) {
            Some(nanos) => Self::Nanos(nanos),
            None => Self::Wide(Quantity::from_wide(usage) - request),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Nanos(nanos) => *nanos > 0,
            Self::Wide(quantity) => quantity.sign().is_gt(),
        }
    }

    fn to_quantity(&self) -> Quantity {
        match self {
            Self::Nanos(nanos) => Quantity::from_nanos(*nanos),
            Self::Wide(quantity) => quantity.clone(),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Nanos(a), Self::Nanos(b)) => a.cmp(b),
            _ => self.to_quantity().cmp(&other.to_quantity()),
        }
    }
}

/// How far a pod is up the order before its priority is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    NoStats,
    OverRequest,
    WithinRequest,
}

/// One pod's place in an order over memory or disk.
#[derive(Clone, Debug)]
struct Key {
    standing: Standing,
    priority: i32,
    excess: Excess,
    pod: usize,
}

impl Key {
    fn new(pod: usize, figures: &PodFigures, figure: impl Fn(&Usage) -> (Excess, bool)) -> Self {
        let (standing, excess) = match &figures.usage {
            None => (Standing::NoStats, Excess::Nanos(0)),
            Some(usage) => {
                let (excess, over) = figure(usage);
                (if over { Standing::OverRequest } else { Standing::WithinRequest }, excess)
            }
        };
        Self { standing, priority: figures.priority, excess, pod }
    }

    fn compare(&self, other: &Self) -> Ordering {
        (self.standing, self.priority)
            .cmp(&(other.standing, other.priority))
            .then_with(|| other.excess.compare(&self.excess))
    }
}

fn keys(by: RankBy, figures: &[PodFigures]) -> Vec<Key> {
    let key = |(pod, figures): (usize, &PodFigures)| {
        Key::new(pod, figures, |usage| match by {
            RankBy::Memory => {
                let excess = Excess::new(i128::from(usage.memory), &figures.memory_request);
                let over = excess.is_over();
                (excess, over)
            }
            RankBy::Disk(parts) => {
                let excess = Excess::new(usage.disk(parts).bytes, &figures.storage_request);
                let over = excess.is_over();
                (excess, over)
            }
            RankBy::Inodes(parts) => {
                let inodes = usage.disk(parts).inodes;
                let over = Excess::new(inodes, &figures.inodes_request).is_over();
                (Excess::new(inodes, &figures.storage_request), over)
            }
            RankBy::Processes => (Excess::Nanos(i128::from(usage.processes)), false),
        })
    };
    figures.iter().enumerate().map(key).collect()
}

/// The order of eviction: groups of pods, by their index in `figures`, the first to go first. Within a group the
/// order is upstream's to choose, and the indexes rise.
#[must_use]
pub fn rank(by: RankBy, figures: &[PodFigures]) -> Vec<Vec<usize>> {
    match by {
        RankBy::Processes => rank_processes(figures),
        RankBy::Memory | RankBy::Disk(_) | RankBy::Inodes(_) => {
            let mut keys = keys(by, figures);
            keys.sort_unstable_by(|a, b| a.compare(b).then(a.pod.cmp(&b.pod)));
            keys.chunk_by(|a, b| a.compare(b).is_eq())
                .map(|group| group.iter().map(|key| key.pod).collect())
                .collect()
        }
    }
}

/// A place in the order over processes, but for the number of them.
fn process_class(figures: &PodFigures) -> (i32, bool) {
    (figures.priority, figures.usage.is_some())
}

fn processes(figures: &PodFigures) -> u64 {
    figures.usage.as_ref().map_or(0, |usage| usage.processes)
}

/// Upstream: `rankPIDPressure`, which unlike the others asks for the priority first.
fn rank_processes(figures: &[PodFigures]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..figures.len()).collect();
    let key = |pod: usize| (process_class(&figures[pod]), Reverse(processes(&figures[pod])));
    order.sort_by_key(|&pod| key(pod));
    let mut groups = Vec::new();
    for class in order.chunk_by_mut(|&a, &b| process_class(&figures[a]) == process_class(&figures[b])) {
        start_after_the_gap(class, figures);
        let same = class.chunk_by(|&a, &b| processes(&figures[a]) == processes(&figures[b]));
        groups.extend(same.map(<[usize]>::to_vec));
    }
    groups
}

/// Upstream compares counts by the sign of their 64-bit difference, which wraps around. Counts less than 2^63
/// apart on that circle have an order, which begins after the gap that is larger than half the circle.
fn start_after_the_gap(class: &mut [usize], figures: &[PodFigures]) {
    let count = |pod: usize| processes(&figures[pod]);
    let gap = class.windows(2).position(|pair| count(pair[0]) - count(pair[1]) > 1 << 63);
    if let Some(before) = gap {
        class.rotate_left(before + 1);
    }
}

/// What decides that a pod goes before another; none if nothing does, or if it does not.
#[must_use]
pub fn decider(by: RankBy, first: &PodFigures, second: &PodFigures) -> Option<Decider> {
    if by == RankBy::Processes {
        match first.priority.cmp(&second.priority) {
            Ordering::Less => return Some(Decider::Priority),
            Ordering::Greater => return None,
            Ordering::Equal => {}
        }
        if first.usage.is_none() != second.usage.is_none() {
            return first.usage.is_none().then_some(Decider::MissingStats);
        }
        let difference = processes(second).wrapping_sub(processes(first)).cast_signed();
        return (difference < 0).then_some(Decider::Excess);
    }
    let both = [first.clone(), second.clone()];
    let [first, second] = <[Key; 2]>::try_from(keys(by, &both)).ok()?;
    if first.compare(&second).is_ge() {
        return None;
    }
    Some(if first.standing == Standing::NoStats && second.standing != Standing::NoStats {
        Decider::MissingStats
    } else if first.standing != second.standing {
        Decider::OverRequest
    } else if first.priority != second.priority {
        Decider::Priority
    } else {
        Decider::Excess
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_processes(processes: u64) -> PodFigures {
        PodFigures {
            priority: 0,
            usage: Some(Usage { processes, ..Usage::default() }),
            memory_request: Quantity::default(),
            storage_request: Quantity::default(),
            inodes_request: Quantity::default(),
        }
    }

    fn order(counts: &[u64]) -> Vec<Vec<usize>> {
        let figures: Vec<PodFigures> = counts.iter().map(|count| with_processes(*count)).collect();
        rank(RankBy::Processes, &figures)
    }

    #[test]
    fn requests_beyond_128_bits_are_compared_with_small_ones() {
        let with = |memory, request: &str| PodFigures {
            usage: Some(Usage { memory, ..Usage::default() }),
            memory_request: request.parse().expect("a quantity"),
            ..with_processes(0)
        };
        let order = |figures: &[PodFigures]| rank(RankBy::Memory, figures);
        let huge = "1e40";
        assert_eq!(order(&[with(9, huge), with(5, "10"), with(7, "10")]), [[2], [1], [0]]);
        assert_eq!(order(&[with(9, huge), with(8, huge), with(5, "2e40")]), [[0], [1], [2]]);
        assert_eq!(order(&[with(9, huge), with(9, huge)]), [vec![0, 1]]);
        assert_eq!(order(&[with(9, "-1e40"), with(9, "5")]), [[0], [1]]);
        let decides = |first, second| decider(RankBy::Memory, &first, &second);
        assert_eq!(decides(with(1, "-1e40"), with(5, "7")), Some(Decider::OverRequest));
        assert_eq!(decides(with(5, "10"), with(9, huge)), Some(Decider::Excess));
        assert_eq!(decides(with(9, huge), with(5, "10")), None);
    }

    #[test]
    fn counts_of_processes_lie_on_a_circle() {
        assert_eq!(order(&[5, 10, 5]), [vec![1], vec![0, 2]]);
        assert_eq!(order(&[u64::MAX - 1, 5, 10]), [[2], [1], [0]]);
        assert_eq!(order(&[u64::MAX, u64::MAX - 1, 5]), [[2], [0], [1]]);
        assert_eq!(order(&[(1 << 63) + 1, (1 << 63) - 1]), [[0], [1]]);
        assert_eq!(order(&[0, (1 << 63) + 1]), [[0], [1]]);
        // Half a circle apart they have none, and the greater number goes first.
        assert_eq!(order(&[0, 1 << 63]), [[1], [0]]);
    }

    #[test]
    fn more_processes_decide_in_the_same_sense() {
        let decides =
            |first, second| decider(RankBy::Processes, &with_processes(first), &with_processes(second));
        assert_eq!(decides(10, 5), Some(Decider::Excess));
        assert_eq!(decides(5, 10), None);
        assert_eq!(decides(5, 5), None);
        assert_eq!(decides(5, u64::MAX), Some(Decider::Excess));
        let important = PodFigures { priority: 1, ..with_processes(10) };
        assert_eq!(decider(RankBy::Processes, &important, &with_processes(5)), None);
        assert_eq!(decider(RankBy::Processes, &with_processes(5), &important), Some(Decider::Priority));
    }
}
