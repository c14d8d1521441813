//! How a node's files are spread over filesystems, and what follows from it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::signal::Signal;

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

impl FilesystemLayout {
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
