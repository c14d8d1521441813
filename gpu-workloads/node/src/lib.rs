//! GPUs on a Kubernetes node: a device plugin that advertises them, and an evictor that keeps their memory from running out.
//!
//! - [`driver`]: what the driver says of devices, memory and processes, read by a program of its own.
//! - [`device_plugin`]: the kubelet's device plugin API: devices or shares of their memory, their health, their allocation.
//! - [`cdi`]: how devices and driver files reach containers.
//! - [`evictor`]: evicts pods when a device runs low on memory.
//! - [`pods`]: which pod holds which device and which process.
//! - [`api`]: the messages of the kubelet's gRPC services.

pub mod api;
pub mod cdi;
pub mod cli;
pub mod device_plugin;
pub mod driver;
pub mod evictor;
pub mod pods;
