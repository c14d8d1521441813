//! Why one pod goes before another, with the figures that decide.

use crate::figures::PodFigures;
use crate::quantity::Quantity;
use crate::rank::{Decider, RankBy, decider};

/// What tells a pod from one that is ranked after it. Amounts are bytes or counts, those beyond 64 bits cut to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are no statistics of it, and there are of the other.
    MissingStats,
    /// It uses more than it requests, and the other does not.
    OverRequest {
        /// By how much it is over its request.
        over: i64,
        /// By how much the other is within its own.
        within: i64,
    },
    /// Its priority is lower.
    Priority {
        /// Its own.
        own: i32,
        /// The other's.
        other: i32,
    },
    /// Its usage less its request is larger.
    Excess {
        /// Its own, negative for a pod within its request.
        own: i64,
        /// The other's.
        other: i64,
    },
    /// It has more inodes, as upstream counts them.
    Inodes {
        /// Its own.
        own: i64,
        /// The other's.
        other: i64,
        /// Whether upstream takes an ephemeral-storage request, in bytes, off either of them.
        less_bytes: bool,
    },
    /// It has more processes.
    Processes {
        /// Its own.
        own: u64,
        /// The other's.
        other: u64,
    },
}

/// What decides that a pod goes before another; none if nothing does, or if it does not.
#[must_use]
pub fn reason(by: RankBy, first: &PodFigures, second: &PodFigures) -> Option<Reason> {
    let over = |figures: &PodFigures| figures.over_request(by).map_or(0, |over| over.value());
    let excess = |figures: &PodFigures| figures.excess(by).map_or(0, |excess| excess.value());
    let processes = |figures: &PodFigures| figures.usage.as_ref().map_or(0, |usage| usage.processes);
    Some(match decider(by, first, second)? {
        Decider::MissingStats => Reason::MissingStats,
        Decider::OverRequest => {
            Reason::OverRequest { over: over(first), within: over(second).saturating_neg() }
        }
        Decider::Priority => Reason::Priority { own: first.priority, other: second.priority },
        Decider::Excess if by == RankBy::Processes => {
            Reason::Processes { own: processes(first), other: processes(second) }
        }
        Decider::Excess if matches!(by, RankBy::Inodes(_)) => Reason::Inodes {
            own: excess(first),
            other: excess(second),
            less_bytes: !(first.storage_request.is_zero() && second.storage_request.is_zero()),
        },
        Decider::Excess => Reason::Excess { own: excess(first), other: excess(second) },
    })
}

impl PodFigures {
    /// What the pod uses of what an order looks at, in bytes or a count; none without statistics.
    #[must_use]
    pub fn used(&self, by: RankBy) -> Option<i128> {
        let usage = self.usage.as_ref()?;
        Some(match by {
            RankBy::Memory => usage.memory.into(),
            RankBy::Disk(parts) => usage.disk(parts).bytes,
            RankBy::Inodes(parts) => usage.disk(parts).inodes,
            RankBy::Processes => usage.processes.into(),
        })
    }

    /// The request that usage is held against in an order; nothing for processes.
    #[must_use]
    pub fn requested(&self, by: RankBy) -> Quantity {
        match by {
            RankBy::Memory => self.memory_request.clone(),
            RankBy::Disk(_) => self.storage_request.clone(),
            RankBy::Inodes(_) => self.inodes_request.clone(),
            RankBy::Processes => Quantity::default(),
        }
    }

    /// Usage less request, which an order first asks the sign of; negative within the request.
    #[must_use]
    pub fn over_request(&self, by: RankBy) -> Option<Quantity> {
        Some(Quantity::from_wide(self.used(by)?) - &self.requested(by))
    }

    /// What an order compares last: usage less request, but for inodes, where upstream takes off the
    /// ephemeral-storage request in bytes. Upstream: `exceedDiskRequests` and `disk`.
    #[must_use]
    pub fn excess(&self, by: RankBy) -> Option<Quantity> {
        let request = match by {
            RankBy::Inodes(_) => self.storage_request.clone(),
            _ => self.requested(by),
        };
        Some(Quantity::from_wide(self.used(by)?) - &request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{DiskUsage, Usage};
    use crate::layout::{Filesystem, FilesystemLayout};

    fn figures(memory: i64, request: &str, priority: i32) -> PodFigures {
        PodFigures {
            priority,
            usage: Some(Usage { memory, processes: 7, ..Usage::default() }),
            memory_request: request.parse().expect("a quantity"),
            storage_request: Quantity::default(),
            inodes_request: Quantity::default(),
        }
    }

    #[test]
    fn each_step_gives_the_figures_that_decide() {
        let memory = |one: &PodFigures, other: &PodFigures| reason(RankBy::Memory, one, other);
        let unknown = PodFigures { usage: None, ..figures(0, "0", 0) };
        assert_eq!(memory(&unknown, &figures(5, "0", 0)), Some(Reason::MissingStats));
        assert_eq!(
            memory(&figures(9, "2", 5), &figures(3, "10", 0)),
            Some(Reason::OverRequest { over: 7, within: 7 })
        );
        assert_eq!(
            memory(&figures(3, "2", 1), &figures(9, "2", 5)),
            Some(Reason::Priority { own: 1, other: 5 })
        );
        assert_eq!(
            memory(&figures(9, "2", 0), &figures(3, "2", 0)),
            Some(Reason::Excess { own: 7, other: 1 })
        );
        assert_eq!(memory(&figures(3, "2", 0), &figures(9, "2", 0)), None, "it is the other that goes first");
        assert_eq!(memory(&figures(3, "2", 0), &figures(3, "2", 0)), None, "they are equal");
    }

    #[test]
    fn a_fraction_over_the_request_is_over_it() {
        assert_eq!(
            reason(RankBy::Memory, &figures(100, "99500m", 0), &figures(100, "100", 0)),
            Some(Reason::OverRequest { over: 1, within: 0 })
        );
    }

    #[test]
    fn inodes_are_compared_less_bytes_as_upstream_does() {
        let by = RankBy::Inodes(FilesystemLayout::Single.ranked_parts(Filesystem::NodeFs));
        let with = |inodes, request: &str| PodFigures {
            usage: Some(Usage { rootfs: DiskUsage { bytes: 0, inodes }, ..Usage::default() }),
            storage_request: request.parse().expect("a quantity"),
            ..figures(0, "0", 0)
        };
        assert_eq!(
            reason(by, &with(10, "0"), &with(5000, "1Ki")),
            None,
            "5000 inodes less 1024 bytes are still more"
        );
        assert_eq!(
            reason(by, &with(10, "0"), &with(5000, "1Mi")),
            Some(Reason::Inodes { own: 10, other: 5000 - (1 << 20), less_bytes: true })
        );
        assert_eq!(
            reason(by, &with(10, "0"), &with(5, "0")),
            Some(Reason::Inodes { own: 10, other: 5, less_bytes: false })
        );
    }

    #[test]
    fn processes_have_no_request() {
        let more =
            PodFigures { usage: Some(Usage { processes: 9, ..Usage::default() }), ..figures(0, "0", 0) };
        assert_eq!(
            reason(RankBy::Processes, &more, &figures(0, "1Gi", 0)),
            Some(Reason::Processes { own: 9, other: 7 })
        );
        assert_eq!(more.over_request(RankBy::Processes).map(|over| over.value()), Some(9));
    }
}
