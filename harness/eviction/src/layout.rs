//! How a node's files are spread over filesystems, and what follows from it.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::signal::Signal;
use crate::summary::{FsStats, Summary};

/// Which filesystems a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FilesystemLayout {
    /// One filesystem for everything.
    #[default]
    Single,
    /// Images and writable layers on a second filesystem.
    DedicatedImageFs,
    /// Images on a second filesystem, writable layers with the node's files.
    Split,
}

/// A text that names no layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown filesystem layout {0:?}: expected single, dedicatedImageFs or split")]
pub struct UnknownLayout(pub String);

impl FromStr for FilesystemLayout {
    type Err = UnknownLayout;

    /// Reads `single`, `dedicatedImageFs` (or `dedicated`) or `split`.
    fn from_str(text: &str) -> Result<Self, UnknownLayout> {
        match text {
            "single" => Ok(Self::Single),
            "dedicatedImageFs" | "dedicated" => Ok(Self::DedicatedImageFs),
            "split" => Ok(Self::Split),
            _ => Err(UnknownLayout(text.to_owned())),
        }
    }
}

impl fmt::Display for FilesystemLayout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Single => "single",
            Self::DedicatedImageFs => "dedicatedImageFs",
            Self::Split => "split",
        })
    }
}

/// A filesystem that a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filesystem {
    /// Where volumes and logs are.
    NodeFs,
    /// Where images are.
    ImageFs,
    /// Where writable layers are.
    ContainerFs,
}

/// The parts of a pod's disk usage that count against a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskParts {
    /// The containers' writable layers.
    pub rootfs: bool,
    /// The containers' logs.
    pub logs: bool,
    /// The local volumes.
    pub local_volumes: bool,
}

/// Something the kubelet does to free room on the node before it evicts a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeReclaim {
    /// Deletes dead containers.
    Containers,
    /// Deletes unused images.
    Images,
}

/// Whether two statistics describe one filesystem, as far as sizes tell; none if they leave it open.
///
/// The kubelet compares devices, which no summary names. Filesystems whose sizes differ are two. Equal sizes are
/// taken for one filesystem unless what is free differs by more than a twentieth, which two measurements of the same one
/// hardly do.
fn same_filesystem(one: &FsStats, other: &FsStats) -> Option<bool> {
    let (capacity, other_capacity) = (one.capacity_bytes?, other.capacity_bytes?);
    if capacity != other_capacity || one.inodes != other.inodes {
        return Some(false);
    }
    let free = one.available_bytes?.abs_diff(other.available_bytes?);
    (free <= capacity / 20).then_some(true)
}

impl FilesystemLayout {
    /// The layout that a summary shows; none where it leaves that open.
    /// Upstream asks the devices instead: `HasDedicatedImageFs` and `IsContainerFsSeparateFromImageFs`.
    #[must_use]
    pub fn seen_in(summary: &Summary) -> Option<Self> {
        let node = summary.node.fs.as_ref()?;
        let runtime = summary.node.runtime.as_ref()?;
        let image = runtime.image_fs.as_ref()?;
        if same_filesystem(image, node)? {
            return Some(Self::Single);
        }
        // Kubelets that know nothing of a split do not report where writable layers are: they are with the images.
        let Some(container) = &runtime.container_fs else { return Some(Self::DedicatedImageFs) };
        match (same_filesystem(container, image)?, same_filesystem(container, node)?) {
            (true, false) => Some(Self::DedicatedImageFs),
            (false, true) => Some(Self::Split),
            _ => None,
        }
    }

    /// Whether images are on a filesystem of their own. Upstream: `HasDedicatedImageFs`.
    #[must_use]
    pub const fn has_image_fs(self) -> bool {
        !matches!(self, Self::Single)
    }

    /// Whether writable layers share the filesystem of images rather than that of volumes and logs, so that
    /// containerfs thresholds are those of imagefs. Upstream: `UpdateContainerFsThresholds`.
    #[must_use]
    pub const fn container_fs_is_image_fs(self) -> bool {
        matches!(self, Self::DedicatedImageFs)
    }

    /// What of a pod's usage ranks it when a filesystem is short. Upstream: `buildSignalToRankFunc`.
    #[must_use]
    pub const fn ranked_parts(self, filesystem: Filesystem) -> DiskParts {
        let all = DiskParts { rootfs: true, logs: true, local_volumes: true };
        match (self, filesystem) {
            (Self::Single, _) | (Self::Split, Filesystem::NodeFs | Filesystem::ContainerFs) => all,
            (Self::DedicatedImageFs, Filesystem::NodeFs) => {
                DiskParts { rootfs: false, logs: true, local_volumes: true }
            }
            (Self::DedicatedImageFs, Filesystem::ImageFs | Filesystem::ContainerFs) => {
                DiskParts { rootfs: true, logs: false, local_volumes: false }
            }
            // Upstream names read-only layers here and never adds them up.
            (Self::Split, Filesystem::ImageFs) => {
                DiskParts { rootfs: false, logs: false, local_volumes: false }
            }
        }
    }

    /// What is tried on the node itself before a pod goes. Upstream: `buildSignalToNodeReclaimFuncs`.
    #[must_use]
    pub fn node_reclaim(self, signal: Signal) -> &'static [NodeReclaim] {
        const BOTH: &[NodeReclaim] = &[NodeReclaim::Containers, NodeReclaim::Images];
        match (self, signal.filesystem()) {
            (_, None) | (Self::DedicatedImageFs, Some(Filesystem::NodeFs)) => &[],
            (Self::Single, _) | (Self::DedicatedImageFs, _) => BOTH,
            (Self::Split, Some(Filesystem::ImageFs)) => &[NodeReclaim::Images],
            (Self::Split, _) => &[NodeReclaim::Containers],
        }
    }
}

impl Signal {
    /// The filesystem that the signal is about; none for memory and processes.
    #[must_use]
    pub const fn filesystem(self) -> Option<Filesystem> {
        match self {
            Self::NodeFsAvailable | Self::NodeFsInodesFree => Some(Filesystem::NodeFs),
            Self::ImageFsAvailable | Self::ImageFsInodesFree => Some(Filesystem::ImageFs),
            Self::ContainerFsAvailable | Self::ContainerFsInodesFree => Some(Filesystem::ContainerFs),
            Self::AllocatableMemoryAvailable | Self::MemoryAvailable | Self::PidAvailable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{NodeStats, RuntimeStats};

    fn filesystem(capacity: u64, available: u64) -> FsStats {
        FsStats {
            capacity_bytes: Some(capacity),
            available_bytes: Some(available),
            inodes: Some(capacity / 4),
            ..FsStats::default()
        }
    }

    fn seen(fs: FsStats, image: Option<FsStats>, container: Option<FsStats>) -> Option<FilesystemLayout> {
        let runtime = RuntimeStats { image_fs: image, container_fs: container };
        let node = NodeStats { fs: Some(fs), runtime: Some(runtime), ..NodeStats::default() };
        FilesystemLayout::seen_in(&Summary { node, pods: Vec::new() })
    }

    #[test]
    fn sizes_tell_the_layout_where_they_differ() {
        let (node, image) = (filesystem(1000, 500), filesystem(2000, 900));
        let a_moment_later = filesystem(1000, 470);
        assert_eq!(seen(node.clone(), Some(a_moment_later), None), Some(FilesystemLayout::Single));
        assert_eq!(seen(node.clone(), Some(image.clone()), None), Some(FilesystemLayout::DedicatedImageFs));
        assert_eq!(
            seen(node.clone(), Some(image.clone()), Some(image.clone())),
            Some(FilesystemLayout::DedicatedImageFs)
        );
        assert_eq!(seen(node.clone(), Some(image), Some(node)), Some(FilesystemLayout::Split));
    }

    #[test]
    fn where_sizes_do_not_tell_nothing_is_said() {
        let node = filesystem(1000, 500);
        assert_eq!(seen(node.clone(), None, None), None);
        assert_eq!(seen(node.clone(), Some(filesystem(1000, 900)), None), None, "two disks of one size");
        assert_eq!(seen(node.clone(), Some(FsStats::default()), None), None);
        let third = filesystem(3000, 1);
        assert_eq!(seen(node.clone(), Some(filesystem(2000, 1)), Some(third)), None, "three filesystems");
        assert_eq!(FilesystemLayout::seen_in(&Summary::default()), None);
    }
}
