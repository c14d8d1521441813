//! The program as a process, against the kubelet, the API server and the driver that each test needs.

mod device_plugin;
mod dra_driver;
mod evictor;
mod pod_resources;
mod support;
