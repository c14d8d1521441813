//! Which pod holds what: devices by the kubelet's account, processes by their cgroup.
//!
//! - [`cgroup`]: a process's container, from its cgroup path.
//! - [`holdings`]: the devices of containers, from the kubelet's pod resources API.

pub mod cgroup;
mod resources;

pub use resources::{Holding, HoldingsError, holdings};
