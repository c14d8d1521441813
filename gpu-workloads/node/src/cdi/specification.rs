//! The format of the Container Device Interface, as far as it is written or read here.

use serde::{Deserialize, Serialize};

/// The version that what is written here needs: 0.5.0 has everything in it, and names that begin with a digit.
pub const VERSION: &str = "0.5.0";

/// A specification: devices of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Specification {
    /// The version of the format.
    pub cdi_version: String,
    /// The kind: `vendor/class`.
    pub kind: String,
    /// The devices.
    pub devices: Vec<Device>,
    /// What every container gets that has any of the devices.
    #[serde(default, skip_serializing_if = "Edits::is_empty")]
    pub container_edits: Edits,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its name, unique in its kind.
    pub name: String,
    /// What a container gets that has it. A runtime refuses a device without any.
    #[serde(default)]
    pub container_edits: Edits,
}

/// What a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Edits {
    /// Environment variables: `NAME=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Device nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_nodes: Vec<DeviceNode>,
    /// Mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
}

impl Edits {
    /// Whether a container gets nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.device_nodes.is_empty() && self.mounts.is_empty()
    }
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceNode {
    /// Where it is, in the container and on the node.
    pub path: String,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What, on the node.
    pub host_path: String,
    /// Where, in the container.
    pub container_path: String,
    /// How.
    #[serde(default)]
    pub options: Vec<String>,
}
