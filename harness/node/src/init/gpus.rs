//! The device plugin, or the driver for claims, and the evictor of a node with GPUs.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::InitError;
use super::supervise::{Supervisor, log_file};
use crate::component::{
    Generator, generator, gpu_device_plugin, gpu_dra_driver, gpu_evictor, gpu_toolkit,
    gpu_whole_device_plugin, gpu_withholders, kubeconfig,
};
use crate::config::{BIN, GPU, GpuConfig, NodeConfig, RUN, SIMULATED_NODE};

/// The device plugin's name among the components.
const DEVICE_PLUGIN: &str = "gpu-device-plugin";
/// That of the one for devices that are given away whole.
const WHOLE_DEVICE_PLUGIN: &str = "gpu-whole-device-plugin";
/// That of the driver that offers devices to claims.
const DRA_DRIVER: &str = "gpu-dra-driver";
/// That of the evictor.
const EVICTOR: &str = "gpu-evictor";

/// Starts what a node with GPUs has besides. Both wait for whatever they need: the kubelet's socket, the API server.
pub(super) fn start(supervisor: &Supervisor, name: &str, role: &NodeConfig) -> Result<(), InitError> {
    let Some(gpus) = &role.gpus else { return Ok(()) };
    for (index, (program, arguments)) in gpu_withholders(gpus).iter().enumerate() {
        spawn_program(supervisor, &format!("gpu-withheld-{index}"), program, arguments)?;
    }
    if chosen(gpus) == Generator::Toolkit {
        describe(supervisor)?;
    }
    if gpus.claims {
        introduce(DRA_DRIVER, role)?;
    }
    start_plugins(supervisor, name, gpus)?;
    if let Some(arguments) = gpu_evictor(name, gpus) {
        introduce(EVICTOR, role)?;
        spawn(supervisor, EVICTOR, &arguments)?;
    }
    Ok(())
}

/// Where a program finds the API server, and how it says who it is.
fn kubeconfig_path(name: &str) -> String {
    format!("{RUN}/{name}.kubeconfig")
}

fn introduce(name: &str, role: &NodeConfig) -> Result<(), InitError> {
    let path = kubeconfig_path(name);
    std::fs::write(&path, kubeconfig(&role.api_server, name)).map_err(InitError::context(&path))
}

fn start_plugins(supervisor: &Supervisor, node: &str, gpus: &GpuConfig) -> Result<(), InitError> {
    if gpus.claims {
        return spawn(supervisor, DRA_DRIVER, &gpu_dra_driver(node, gpus, chosen(gpus)));
    }
    spawn(supervisor, DEVICE_PLUGIN, &gpu_device_plugin(gpus, chosen(gpus)))?;
    match gpu_whole_device_plugin(gpus, chosen(gpus)) {
        Some(arguments) => spawn(supervisor, WHOLE_DEVICE_PLUGIN, &arguments),
        None => Ok(()),
    }
}

/// The bundle's nvidia-ctk, which only one has that was built so.
fn toolkit() -> String {
    format!("{BIN}/nvidia-ctk")
}

/// Who describes the devices to containers here.
fn chosen(gpus: &GpuConfig) -> Generator {
    generator(gpus, std::path::Path::new(&toolkit()).is_file())
}

/// Has NVIDIA's tool describe the devices and the driver's files.
fn describe(supervisor: &Supervisor) -> Result<(), InitError> {
    let log = log_file("nvidia-ctk")?;
    let errors = log.try_clone().map_err(InitError::context("log"))?;
    let mut command = Command::new(toolkit());
    command.args(gpu_toolkit()).stdin(Stdio::null()).stdout(log).stderr(errors);
    supervisor.run_to_end("nvidia-ctk", &mut command)
}

/// Lets a GPU of a node have an error, or mends it.
pub(super) fn change(
    supervisor: &Supervisor,
    node: &str,
    gpus: &GpuConfig,
    device: u32,
    xid: Option<u64>,
) -> Result<(), InitError> {
    if gpus.real {
        return Err(InitError("a real GPU can not be given an error".to_owned()));
    }
    let path = format!("{GPU}/node/node.json");
    let text = std::fs::read_to_string(&path).map_err(InitError::context(&path))?;
    let described = serde_json::from_str(&text).map_err(InitError::context(&path))?;
    let described = changed(described, device, xid)?;
    // Programs read it while it is written, so it is put in place whole.
    let fresh = format!("{GPU}/node/.node.json.new");
    std::fs::write(&fresh, described.to_string()).map_err(InitError::context(&fresh))?;
    std::fs::rename(&fresh, &path).map_err(InitError::context(&path))?;
    if xid.is_none() {
        supervisor.stop(if gpus.claims { DRA_DRIVER } else { DEVICE_PLUGIN })?;
        if gpus.whole.is_some() {
            supervisor.stop(WHOLE_DEVICE_PLUGIN)?;
        }
        start_plugins(supervisor, node, gpus)?;
    }
    Ok(())
}

/// The description of a node in which a device has one error more, or nothing is wrong with it any more. Errors that were are kept: who listens
/// counts them.
fn changed(mut node: Value, device: u32, xid: Option<u64>) -> Result<Value, InitError> {
    let index = usize::try_from(device).unwrap_or(usize::MAX);
    let device = node["devices"].get_mut(index).and_then(Value::as_object_mut);
    let device = device.ok_or_else(|| InitError(format!("no GPU {index} is here")))?;
    let mut xids = device.get("faults").map_or_else(|| json!([]), |faults| faults["xids"].clone());
    if let (Some(xid), Some(xids)) = (xid, xids.as_array_mut()) {
        xids.push(json!(xid));
    }
    device.insert("faults".to_owned(), json!({ "xids": xids }));
    Ok(node)
}

fn spawn(supervisor: &Supervisor, name: &str, arguments: &[String]) -> Result<(), InitError> {
    spawn_program(supervisor, name, &format!("{GPU}/plimsoll-gpu-node"), arguments)
}

fn spawn_program(
    supervisor: &Supervisor,
    name: &str,
    program: &str,
    arguments: &[String],
) -> Result<(), InitError> {
    let log = log_file(name)?;
    let errors = log.try_clone().map_err(InitError::context("log"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env(SIMULATED_NODE, format!("{GPU}/node"))
        .env("KUBECONFIG", kubeconfig_path(name))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    supervisor.spawn(name, &mut command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_added_and_kept_when_a_gpu_is_mended() {
        let node = json!({"devices": [{"name": "a"}, {"name": "b", "faults": {"xids": [48], "lost": true}}]});
        let failed = changed(node, 1, Some(79)).expect("there are two");
        assert_eq!(failed["devices"][1]["faults"], json!({"xids": [48, 79]}));
        let mended = changed(failed, 1, None).expect("there are two");
        assert_eq!(mended["devices"][1]["faults"], json!({"xids": [48, 79]}));
        let first = changed(mended, 0, Some(48)).expect("there are two");
        assert_eq!(first["devices"][0], json!({"name": "a", "faults": {"xids": [48]}}));
        assert!(changed(first, 2, None).is_err());
    }
}
