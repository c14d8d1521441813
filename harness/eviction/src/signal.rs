//! What the kubelet watches, what it stands for: signals, the resources and node conditions behind them.
//!
//! Follows `pkg/kubelet/eviction` and `pkg/kubelet/nodestatus` of Kubernetes 1.36.3.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that can run out on a node. Upstream: `evictionapi.Signal`.
///
/// The order is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Signal {
    /// Memory left to pods below their cgroup's limit, in bytes.
    #[serde(rename = "allocatableMemory.available")]
    AllocatableMemoryAvailable,
    /// Free bytes where containers' writable layers are.
    #[serde(rename = "containerfs.available")]
    ContainerFsAvailable,
    /// Free inodes where containers' writable layers are.
    #[serde(rename = "containerfs.inodesFree")]
    ContainerFsInodesFree,
    /// Free bytes where images are.
    #[serde(rename = "imagefs.available")]
    ImageFsAvailable,
    /// Free inodes where images are.
    #[serde(rename = "imagefs.inodesFree")]
    ImageFsInodesFree,
    /// Memory of the node less its working set, in bytes.
    #[serde(rename = "memory.available")]
    MemoryAvailable,
    /// Free bytes where volumes and logs are.
    #[serde(rename = "nodefs.available")]
    NodeFsAvailable,
    /// Free inodes where volumes and logs are.
    #[serde(rename = "nodefs.inodesFree")]
    NodeFsInodesFree,
    /// Process identifiers that are left.
    #[serde(rename = "pid.available")]
    PidAvailable,
}

/// A name that is none of the signals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown eviction signal {0:?}: expected memory.available, allocatableMemory.available, pid.available, or nodefs, \
     imagefs or containerfs with .available or .inodesFree"
)]
pub struct UnknownSignal(pub String);

impl Signal {
    /// Every signal, in the order of their names.
    pub const ALL: [Self; 9] = [
        Self::AllocatableMemoryAvailable,
        Self::ContainerFsAvailable,
        Self::ContainerFsInodesFree,
        Self::ImageFsAvailable,
        Self::ImageFsInodesFree,
        Self::MemoryAvailable,
        Self::NodeFsAvailable,
        Self::NodeFsInodesFree,
        Self::PidAvailable,
    ];

    /// The name, as in a `KubeletConfiguration`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllocatableMemoryAvailable => "allocatableMemory.available",
            Self::ContainerFsAvailable => "containerfs.available",
            Self::ContainerFsInodesFree => "containerfs.inodesFree",
            Self::ImageFsAvailable => "imagefs.available",
            Self::ImageFsInodesFree => "imagefs.inodesFree",
            Self::MemoryAvailable => "memory.available",
            Self::NodeFsAvailable => "nodefs.available",
            Self::NodeFsInodesFree => "nodefs.inodesFree",
            Self::PidAvailable => "pid.available",
        }
    }

    /// The node condition that says that it runs out. Upstream: `signalToNodeCondition`.
    #[must_use]
    pub const fn condition(self) -> NodeCondition {
        match self {
            Self::AllocatableMemoryAvailable | Self::MemoryAvailable => NodeCondition::MemoryPressure,
            Self::PidAvailable => NodeCondition::PidPressure,
            _ => NodeCondition::DiskPressure,
        }
    }

    /// The resource that is starved then. Upstream: `signalToResource`.
    #[must_use]
    pub const fn resource(self) -> StarvedResource {
        match self {
            Self::AllocatableMemoryAvailable | Self::MemoryAvailable => StarvedResource::Memory,
            Self::ContainerFsAvailable | Self::ImageFsAvailable | Self::NodeFsAvailable => {
                StarvedResource::EphemeralStorage
            }
            Self::ContainerFsInodesFree | Self::ImageFsInodesFree | Self::NodeFsInodesFree => {
                StarvedResource::Inodes
            }
            Self::PidAvailable => StarvedResource::Pids,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == text)
            .ok_or_else(|| UnknownSignal(text.to_owned()))
    }
}

/// What an eviction frees, named as in messages and annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StarvedResource {
    /// Bytes on a filesystem.
    #[serde(rename = "ephemeral-storage")]
    EphemeralStorage,
    /// Inodes of a filesystem.
    #[serde(rename = "inodes")]
    Inodes,
    /// Bytes of memory.
    #[serde(rename = "memory")]
    Memory,
    /// Process identifiers.
    #[serde(rename = "pids")]
    Pids,
}

impl StarvedResource {
    /// Every resource, in the order of their names.
    pub const ALL: [Self; 4] = [Self::EphemeralStorage, Self::Inodes, Self::Memory, Self::Pids];

    /// The name, as in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EphemeralStorage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// The resource of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.name() == name)
    }
}

impl fmt::Display for StarvedResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A node condition that the kubelet raises under pressure. The order is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeCondition {
    /// A filesystem is short of bytes or inodes.
    DiskPressure,
    /// Memory is short.
    MemoryPressure,
    /// Process identifiers are short.
    #[serde(rename = "PIDPressure")]
    PidPressure,
}

impl NodeCondition {
    /// Every condition, in the order of their names.
    pub const ALL: [Self; 3] = [Self::DiskPressure, Self::MemoryPressure, Self::PidPressure];

    /// The condition's type, as in a node's status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskPressure => "DiskPressure",
            Self::MemoryPressure => "MemoryPressure",
            Self::PidPressure => "PIDPressure",
        }
    }

    /// The condition of that type.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.name() == name)
    }

    /// The reason in the node's status while the condition is true. Upstream: `nodestatus.MemoryPressureCondition` and
    /// its siblings.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::DiskPressure => "KubeletHasDiskPressure",
            Self::MemoryPressure => "KubeletHasInsufficientMemory",
            Self::PidPressure => "KubeletHasInsufficientPID",
        }
    }

    /// The key of the NoSchedule taint that the node gets for it.
    #[must_use]
    pub const fn taint_key(self) -> &'static str {
        match self {
            Self::DiskPressure => "node.kubernetes.io/disk-pressure",
            Self::MemoryPressure => "node.kubernetes.io/memory-pressure",
            Self::PidPressure => "node.kubernetes.io/pid-pressure",
        }
    }
}

impl fmt::Display for NodeCondition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
