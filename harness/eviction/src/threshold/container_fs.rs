//! The containerfs thresholds that the kubelet puts in itself.

use super::{Operator, Threshold, ThresholdValue};
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
    let (bytes, inodes) = if layout.container_fs_is_image_fs() {
        (Signal::ImageFsAvailable, Signal::ImageFsInodesFree)
    } else {
        (Signal::NodeFsAvailable, Signal::NodeFsInodesFree)
    };
    let mut thresholds = configured.to_vec();
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
            match last(target) {
                Some(at) => thresholds[at] = copy,
                None => thresholds.push(copy),
            }
        }
    }
    thresholds
}

fn placeholder(signal: Signal) -> Threshold {
    let operator = Operator::Never;
    Threshold { operator, ..Threshold::new(signal, ThresholdValue::default(), GoDuration::ZERO) }
}
