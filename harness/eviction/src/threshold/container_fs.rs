//! The containerfs thresholds that the kubelet puts in itself.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use super::{Operator, Threshold, ThresholdValue, Thresholds};
use crate::duration::GoDuration;
use crate::layout::FilesystemLayout;
use crate::signal::Signal;

/// The thresholds after upstream has copied those of the filesystem that holds writable layers to containerfs, over
/// what was configured for it. A threshold that has nothing to copy from becomes a placeholder.
///
/// Those that were there keep their places; what is added comes after them.
/// Upstream: `UpdateContainerFsThresholds`.
#[must_use]
pub fn with_container_fs(configured: &[Threshold], layout: FilesystemLayout) -> Vec<Threshold> {
    let mut thresholds = configured.to_vec();
    for (place, threshold) in replacements(configured, layout) {
        match place {
            Some(at) => thresholds[at] = threshold,
            None => thresholds.push(threshold),
        }
    }
    thresholds
}

/// The thresholds that a manager's very first pass looks at: those configured, replaced as far as the replacement
/// reaches the list that the pass already holds.
///
/// What upstream adds, the pass does not see. What upstream replaces, it sees until an addition finds no room in
/// the list, which moves the list and leaves the pass with the old one. Upstream: `synchronize`.
pub(crate) fn in_first_pass(configured: &Thresholds, layout: FilesystemLayout) -> Vec<Threshold> {
    let mut seen = configured.to_vec();
    let mut room = configured.room;
    for (place, threshold) in replacements(configured, layout) {
        match (place, room.checked_sub(1)) {
            (Some(at), _) => seen[at] = threshold,
            (None, Some(left)) => room = left,
            (None, None) => break,
        }
    }
    seen
}

/// The thresholds to put in, in upstream's order, each with the place of the one that it replaces.
fn replacements(configured: &[Threshold], layout: FilesystemLayout) -> Vec<(Option<usize>, Threshold)> {
    let (bytes, inodes) = if layout.container_fs_is_image_fs() {
        (Signal::ImageFsAvailable, Signal::ImageFsInodesFree)
    } else {
        (Signal::NodeFsAvailable, Signal::NodeFsInodesFree)
    };
    let mut replacements = Vec::new();
    for (target, source) in [(Signal::ContainerFsAvailable, bytes), (Signal::ContainerFsInodesFree, inodes)] {
        for hard in [true, false] {
            let last = |signal: Signal| {
                configured
                    .iter()
                    .rposition(|threshold| threshold.signal == signal && threshold.is_hard() == hard)
            };
            let copy = match last(source) {
                Some(at) => Threshold { signal: target, ..configured[at].clone() },
                None => placeholder(target),
            };
            replacements.push((last(target), copy));
        }
    }
    replacements
}

fn placeholder(signal: Signal) -> Threshold {
    let operator = Operator::Never;
    Threshold { operator, ..Threshold::new(signal, ThresholdValue::default(), GoDuration::ZERO) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Quantity;

    #[test]
    fn what_is_added_is_the_hard_one_first() {
        let threshold = |signal, bytes, grace| {
            let value = ThresholdValue::Quantity(Quantity::from_bytes(bytes));
            Threshold::new(signal, value, GoDuration::from_seconds(grace))
        };
        let soft = threshold(Signal::NodeFsAvailable, 20, 30);
        let hard = threshold(Signal::NodeFsAvailable, 10, 0);
        let configured = [soft.clone(), hard.clone()];
        let copy =
            |threshold: &Threshold| Threshold { signal: Signal::ContainerFsAvailable, ..threshold.clone() };
        let nothing = placeholder(Signal::ContainerFsInodesFree);
        let expected = [soft.clone(), hard.clone(), copy(&hard), copy(&soft), nothing.clone(), nothing];
        assert_eq!(with_container_fs(&configured, FilesystemLayout::Single), expected);
    }
}
