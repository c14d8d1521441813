//! The flags of the device plugin and of the evictor.

use crate::config::{GPU, GpuConfig, SIMULATED_NODE};

/// Where a pod finds the simulated driver's library.
const POD_LIBRARY: &str = "/usr/lib/plimsoll-gpu/libplimsoll-simulated-driver.so";
/// Where a pod finds the folder of its simulated node.
const POD_NODE: &str = "/run/plimsoll-gpu";

/// The driver, and who asks it. The reader is linked dynamically, and a node's root may have no C library; so it is started
/// by the dynamic loader that lies beside it, with the libraries there.
fn driver(gpus: &GpuConfig) -> Vec<String> {
    let library = format!("--library={GPU}/libplimsoll-simulated-driver.so");
    let (folder, reader) = (format!("{GPU}/lib"), format!("{GPU}/plimsoll-gpu-reader"));
    let mut arguments = vec![
        format!("--resource-name={}", gpus.resource),
        format!("--unit={}", gpus.unit),
        format!("--reader={GPU}/lib/ld.so"),
    ];
    let reader = ["--library-path", &folder, &reader, &library, "--interval=250"];
    arguments.extend(reader.map(|argument| format!("--reader-argument={argument}")));
    arguments
}

/// The arguments of the device plugin: shares of memory; the simulated driver's library and the node that it describes reach pods.
#[must_use]
pub fn gpu_device_plugin(gpus: &GpuConfig) -> Vec<String> {
    let mut arguments = vec![
        "device-plugin".to_owned(),
        "--share=memory".to_owned(),
        // All of a simulated node's devices are in its one folder, so a filler is told which of them are its own.
        "--list-variable=PLIMSOLL_GPU_DEVICES".to_owned(),
        format!("--mount={GPU}/node:{POD_NODE}"),
        format!("--mount={GPU}/libplimsoll-simulated-driver.so:{POD_LIBRARY}:ro"),
        format!("--env={SIMULATED_NODE}={POD_NODE}"),
        format!("--env=PLIMSOLL_CUDA_LIBRARY={POD_LIBRARY}"),
    ];
    arguments.extend(driver(gpus));
    arguments
}

/// The arguments of the evictor, if the node has one.
#[must_use]
pub fn gpu_evictor(node: &str, gpus: &GpuConfig) -> Option<Vec<String>> {
    let mut arguments = vec!["evictor".to_owned(), format!("--node-name={node}")];
    arguments.push("--listen=127.0.0.1:9401".to_owned());
    arguments.extend(gpus.evictor.as_ref()?.iter().cloned());
    arguments.extend(driver(gpus));
    Some(arguments)
}

/// The description that the simulated driver reads.
#[must_use]
pub fn simulated_node(gpus: &GpuConfig) -> serde_json::Value {
    let device = |index: u32| {
        serde_json::json!({
            "name": "Simulated GPU",
            "uuid": format!("GPU-5107a7ed-0000-4000-8000-{index:012x}"),
            "memory": gpus.memory,
            "contextMemory": 64 << 20,
            "memoryBandwidth": 1_u64 << 40,
            "multiprocessors": 1,
            "computeCapability": [9, 0],
            "busId": format!("00000000:{:02X}:00.0", 0x18 + index),
        })
    };
    serde_json::json!({
        "driverVersion": "580.159.03",
        "cudaVersion": 13_000,
        "devices": (0..gpus.count).map(device).collect::<Vec<_>>(),
    })
}
