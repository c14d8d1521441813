//! The device plugin and the evictor of a node with GPUs.

use std::process::{Command, Stdio};

use super::InitError;
use super::supervise::{Supervisor, log_file};
use crate::component::{gpu_device_plugin, gpu_evictor, kubeconfig};
use crate::config::{GPU, NodeConfig, RUN, SIMULATED_NODE};

/// Starts what a node with GPUs has besides. Both wait for whatever they need: the kubelet's socket, the API server.
pub(super) fn start(supervisor: &Supervisor, name: &str, role: &NodeConfig) -> Result<(), InitError> {
    let Some(gpus) = &role.gpus else { return Ok(()) };
    spawn(supervisor, "gpu-device-plugin", &gpu_device_plugin(gpus))?;
    if let Some(arguments) = gpu_evictor(name, gpus) {
        let path = format!("{RUN}/gpu-evictor.kubeconfig");
        std::fs::write(&path, kubeconfig(&role.api_server, "gpu-evictor"))
            .map_err(InitError::context(&path))?;
        spawn(supervisor, "gpu-evictor", &arguments)?;
    }
    Ok(())
}

fn spawn(supervisor: &Supervisor, name: &str, arguments: &[String]) -> Result<(), InitError> {
    let log = log_file(name)?;
    let errors = log.try_clone().map_err(InitError::context("log"))?;
    let mut command = Command::new(format!("{GPU}/plimsoll-gpu-node"));
    command
        .args(arguments)
        .env(SIMULATED_NODE, format!("{GPU}/node"))
        .env("KUBECONFIG", format!("{RUN}/gpu-evictor.kubeconfig"))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    supervisor.spawn(name, &mut command).map(drop)
}
