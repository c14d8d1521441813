//! GPUs on a Kubernetes node: a device plugin or a driver of Dynamic Resource Allocation that offers them, and an evictor that keeps
//! their memory from running out.
//!
//! - [`driver`]: what the driver says of devices, memory and processes, read by a program of its own.
//! - [`device_plugin`]: the kubelet's device plugin API: devices or shares of their memory, their health, their allocation.
//! - [`dra`]: the driver of Dynamic Resource Allocation: whole devices for claims, and taints by which pods leave one that is not healthy.
//! - [`cdi`]: how devices and driver files reach containers.
//! - [`evictor`]: evicts pods when a device runs low on memory.
//! - [`pods`]: which pod holds which device and which process.
//! - [`api`]: the messages of the kubelet's gRPC services.

pub mod api;
pub mod cdi;
pub mod cli;
pub mod device_plugin;
pub mod dra;
pub mod driver;
pub mod evictor;
pub mod pods;
pub mod socket;
