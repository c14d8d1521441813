//! A kubelet's thresholds as configured.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::ops::Deref;

use super::Threshold;

/// Thresholds, in upstream's order: the hard ones, the soft ones, those of allocatableMemory.available.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds {
    list: Vec<Threshold>,
    /// How many more upstream's list has room for before it must move in memory. This shows: see
    /// [`in_first_pass`](super::container_fs::in_first_pass).
    pub(super) room: usize,
}

impl Thresholds {
    /// The thresholds of three kinds, put together as upstream does.
    pub(super) fn joined(
        hard_and_soft: Vec<Threshold>,
        hard: usize,
        allocatable: Option<Vec<Threshold>>,
    ) -> Self {
        let configured = hard_and_soft.len();
        let mut capacity = grown(grown(0, hard), configured);
        let mut list = hard_and_soft;
        if let Some(allocatable) = allocatable {
            list.extend(allocatable);
            capacity = grown(grown(0, configured), list.len());
        }
        Self { room: capacity.saturating_sub(list.len()), list }
    }
}

impl Deref for Thresholds {
    type Target = [Threshold];

    fn deref(&self) -> &[Threshold] {
        &self.list
    }
}

impl From<Vec<Threshold>> for Thresholds {
    /// A list made otherwise than by reading a configuration has no room to spare.
    fn from(list: Vec<Threshold>) -> Self {
        Self { list, room: 0 }
    }
}

/// The capacity of one of Go's slices of thresholds after what makes it this long was appended at once.
/// Upstream: `growslice` and `roundupsize` of Go's runtime.
fn grown(capacity: usize, length: usize) -> usize {
    /// A threshold's size in bytes.
    const SIZE: usize = 64;
    /// The largest object without a header, and the size of the header, in bytes.
    const WITHOUT_HEADER: usize = 512;
    const HEADER: usize = 8;
    if length <= capacity {
        return capacity;
    }
    let bytes = length.max(2 * capacity) * SIZE;
    if bytes <= WITHOUT_HEADER {
        return bytes / SIZE;
    }
    /// The sizes Go's allocator has between 512 bytes and 4 KiB.
    const CLASSES: [usize; 22] = [
        576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456,
        4096, 4864, 5376, 6144, 6528,
    ];
    let class = CLASSES.into_iter().find(|class| *class >= bytes + HEADER).unwrap_or(bytes + HEADER);
    (class - HEADER) / SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::GoDuration;
    use crate::signal::Signal;
    use crate::threshold::ThresholdValue;

    #[test]
    fn a_list_made_otherwise_is_that_list() {
        let threshold =
            Threshold::new(Signal::PidAvailable, ThresholdValue::Percentage(0.1), GoDuration::ZERO);
        let thresholds = Thresholds::from(vec![threshold.clone()]);
        assert_eq!((&thresholds[..], thresholds.room), (&[threshold][..], 0));
    }

    #[test]
    fn capacities_are_those_of_go() {
        let lengths = [1, 3, 8, 9, 12, 13, 14, 15, 16, 18];
        assert_eq!(lengths.map(|length| grown(0, length)), [1, 3, 8, 9, 13, 13, 15, 15, 17, 19]);
        assert_eq!(grown(3, 4), 6);
        assert_eq!(grown(3, 7), 7);
        assert_eq!(grown(6, 7), 13);
        assert_eq!(grown(6, 6), 6);
        // Longer than any kubelet's, and than the sizes that are known here: no room to spare.
        assert_eq!(grown(0, 200), 200);
    }
}
