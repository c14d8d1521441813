//! The flags of the device plugin, of the driver for claims, and of the evictor.

use crate::config::{GPU, GpuConfig, SIMULATED_NODE};

/// Where a pod finds the simulated driver's library.
const POD_LIBRARY: &str = "/usr/lib/plimsoll-gpu/libplimsoll-simulated-driver.so";
/// Where a pod finds the folder of its simulated node.
const POD_NODE: &str = "/run/plimsoll-gpu";

/// Who describes the devices to containers, as the Container Device Interface has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// `nvidia-ctk cdi generate`.
    Toolkit,
    /// The device plugin itself.
    Own,
}

/// Who describes these devices: NVIDIA's own tool where it is there, since it knows every file of every driver. Of a simulated driver it
/// knows nothing.
#[must_use]
pub fn generator(gpus: &GpuConfig, toolkit_is_there: bool) -> Generator {
    if gpus.real && toolkit_is_there { Generator::Toolkit } else { Generator::Own }
}

/// The arguments of `nvidia-ctk`: devices by UUID, since their numbers may change.
#[must_use]
pub fn gpu_toolkit() -> Vec<String> {
    ["cdi", "generate", "--output=/var/run/cdi/nvidia.yaml", "--device-name-strategy=uuid"]
        .map(str::to_owned)
        .into()
}

/// A program that is linked dynamically, and its arguments. A node's root may have no C library; so it is started by the dynamic loader
/// that lies beside it, with the libraries there.
fn loaded(program: &str) -> [String; 3] {
    ["--library-path".to_owned(), format!("{GPU}/lib"), format!("{GPU}/{program}")]
}

/// The dynamic loader.
fn loader() -> String {
    format!("{GPU}/lib/ld.so")
}

/// Which of a node's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those that are given away by their memory.
    Shared,
    /// Those that are given away whole.
    Whole,
}

/// The resource that devices are advertised as, the driver, and who asks it for which devices.
fn driver(gpus: &GpuConfig, which: Which) -> Vec<String> {
    let shared = gpus.count - gpus.whole.as_ref().map_or(0, |whole| whole.count.min(gpus.count));
    let (mut arguments, devices) = match (which, &gpus.whole) {
        (Which::Whole, Some(whole)) => (
            vec![format!("--resource-name={}", whole.resource)],
            vec![format!("--skip={shared}"), format!("--first={}", whole.count)],
        ),
        _ => (
            vec![format!("--resource-name={}", gpus.resource), format!("--unit={}", gpus.unit)],
            vec![format!("--first={shared}")],
        ),
    };
    arguments.extend(reader(gpus, devices));
    arguments
}

/// Who asks the driver for these devices.
fn reader(gpus: &GpuConfig, devices: Vec<String>) -> Vec<String> {
    let mut arguments = vec![format!("--reader={}", loader())];
    let mut reader: Vec<String> = loaded("plimsoll-gpu-reader").into();
    reader.extend(devices);
    if gpus.real {
        reader.push(format!("--memory={}", gpus.memory));
    } else {
        reader.push(format!("--library={GPU}/libplimsoll-simulated-driver.so"));
    }
    reader.push("--interval=250".to_owned());
    arguments.extend(reader.iter().map(|argument| format!("--reader-argument={argument}")));
    arguments
}

/// The arguments of the device plugin: shares of memory. Of simulated devices the driver's library and the node that it describes reach
/// pods.
#[must_use]
pub fn gpu_device_plugin(gpus: &GpuConfig, generator: Generator) -> Vec<String> {
    plugin(gpus, generator, Which::Shared)
}

/// The arguments of the device plugin for those devices that are given away whole, if there are any.
#[must_use]
pub fn gpu_whole_device_plugin(gpus: &GpuConfig, generator: Generator) -> Option<Vec<String>> {
    gpus.whole.as_ref().map(|_| plugin(gpus, generator, Which::Whole))
}

fn plugin(gpus: &GpuConfig, generator: Generator, which: Which) -> Vec<String> {
    let share = if which == Which::Whole { "--share=device" } else { "--share=memory" };
    let mut arguments = vec!["device-plugin".to_owned(), share.to_owned()];
    if !gpus.real {
        // All of a simulated node's devices are in its one folder, so a filler is told which of them are its own.
        arguments.push("--list-variable=PLIMSOLL_GPU_DEVICES".to_owned());
    }
    arguments.extend(containers(gpus, generator));
    if generator == Generator::Own && which == Which::Whole {
        // Each plugin writes the description of its own devices, in a file that is named after the kind.
        arguments.push("--cdi-kind=plimsoll.dev/whole-gpu".to_owned());
    }
    arguments.extend(driver(gpus, which));
    arguments
}

/// How devices reach containers, and what else does with simulated ones.
fn containers(gpus: &GpuConfig, generator: Generator) -> Vec<String> {
    let mut arguments = Vec::new();
    if !gpus.real {
        arguments.extend([
            format!("--mount={GPU}/node:{POD_NODE}"),
            format!("--mount={GPU}/libplimsoll-simulated-driver.so:{POD_LIBRARY}:ro"),
            format!("--env={SIMULATED_NODE}={POD_NODE}"),
            format!("--env=PLIMSOLL_CUDA_LIBRARY={POD_LIBRARY}"),
        ]);
    }
    if generator == Generator::Toolkit {
        arguments.extend(["--cdi-existing", "--cdi-kind=nvidia.com/gpu"].map(str::to_owned));
    }
    arguments
}

/// The arguments of the driver that offers all devices to claims.
#[must_use]
pub fn gpu_dra_driver(node: &str, gpus: &GpuConfig, generator: Generator) -> Vec<String> {
    let mut arguments = vec!["dra-driver".to_owned(), format!("--node-name={node}")];
    arguments.extend(containers(gpus, generator));
    arguments.extend(reader(gpus, vec![format!("--first={}", gpus.count)]));
    arguments
}

/// What holds the memory of the machine's own devices that the node is not to have: a program and its arguments for each device.
#[must_use]
pub fn gpu_withholders(gpus: &GpuConfig) -> Vec<(String, Vec<String>)> {
    let held = gpus.withheld.iter().enumerate().filter(|(_, bytes)| **bytes > 0);
    let withholder = |(device, bytes): (usize, &u64)| {
        let mut arguments: Vec<String> = loaded("plimsoll-gpu-hog").into();
        arguments.extend([
            format!("--device={device}"),
            format!("--amount={bytes}"),
            format!("--control=/run/plimsoll-gpu-{device}.sock"),
        ]);
        (loader(), arguments)
    };
    held.map(withholder).collect()
}

/// The arguments of the evictor, if the node has one.
#[must_use]
pub fn gpu_evictor(node: &str, gpus: &GpuConfig) -> Option<Vec<String>> {
    let mut arguments = vec!["evictor".to_owned(), format!("--node-name={node}")];
    arguments.push("--listen=127.0.0.1:9401".to_owned());
    arguments.extend(gpus.evictor.as_ref()?.iter().cloned());
    arguments.extend(driver(gpus, Which::Shared));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WholeGpus;

    fn gpus(real: bool) -> GpuConfig {
        GpuConfig {
            real,
            withheld: if real { vec![64 << 30, 0] } else { Vec::new() },
            count: 2,
            memory: 16 << 30,
            resource: "nvidia.com/gpu-memory".to_owned(),
            unit: 1 << 30,
            whole: None,
            claims: false,
            evictor: Some(vec!["--eviction-hard=gpu.memory.available<5%".to_owned()]),
        }
    }

    #[test]
    fn the_toolkit_describes_real_devices_where_it_is_there() {
        assert_eq!(generator(&gpus(true), true), Generator::Toolkit);
        assert_eq!(generator(&gpus(true), false), Generator::Own);
        // It would find the machine's driver, and not the simulated one.
        assert_eq!(generator(&gpus(false), true), Generator::Own);
        let existing = |arguments: Vec<String>| arguments.contains(&"--cdi-existing".to_owned());
        assert!(existing(gpu_device_plugin(&gpus(true), Generator::Toolkit)));
        assert!(!existing(gpu_device_plugin(&gpus(true), Generator::Own)));
    }

    #[test]
    fn nothing_of_the_simulated_driver_is_on_a_node_with_real_devices() {
        for arguments in [
            gpu_device_plugin(&gpus(true), Generator::Own),
            gpu_dra_driver("worker", &gpus(true), Generator::Own),
            gpu_evictor("worker", &gpus(true)).expect("an evictor"),
        ] {
            assert!(!arguments.iter().any(|argument| argument.contains("simulated")), "{arguments:?}");
            assert!(
                !arguments.iter().any(|argument| argument.contains("PLIMSOLL_SIMULATED")),
                "{arguments:?}"
            );
            assert!(
                arguments.contains(&"--reader-argument=--memory=17179869184".to_owned()),
                "{arguments:?}"
            );
            assert!(arguments.contains(&"--reader-argument=--first=2".to_owned()), "{arguments:?}");
        }
        let simulated = gpu_device_plugin(&gpus(false), Generator::Own);
        assert!(simulated.iter().any(|argument| argument.contains("simulated")));
        assert!(!simulated.iter().any(|argument| argument.contains("--memory")));
    }

    #[test]
    fn claims_have_all_devices_and_no_resource() {
        let driver = gpu_dra_driver("worker", &gpus(false), Generator::Own);
        assert_eq!(driver[..2], ["dra-driver", "--node-name=worker"]);
        for argument in [
            "--mount=/plimsoll/run/gpu/node:/run/plimsoll-gpu",
            "--env=PLIMSOLL_CUDA_LIBRARY=/usr/lib/plimsoll-gpu/libplimsoll-simulated-driver.so",
            "--reader-argument=--first=2",
        ] {
            assert!(driver.contains(&argument.to_owned()), "{argument}: {driver:?}");
        }
        assert!(!driver.iter().any(|argument| argument.contains("resource-name")), "{driver:?}");
        let real = gpu_dra_driver("worker", &gpus(true), Generator::Toolkit);
        assert!(real.contains(&"--cdi-kind=nvidia.com/gpu".to_owned()), "{real:?}");
    }

    #[test]
    fn devices_that_are_given_away_whole_have_a_plugin_of_their_own() {
        let both = GpuConfig {
            whole: Some(WholeGpus { resource: "nvidia.com/gpu".to_owned(), count: 1 }),
            ..gpus(false)
        };
        let shared = gpu_device_plugin(&both, Generator::Own);
        assert!(shared.contains(&"--reader-argument=--first=1".to_owned()), "{shared:?}");
        assert!(!shared.iter().any(|argument| argument.contains("--skip")), "{shared:?}");
        let whole = gpu_whole_device_plugin(&both, Generator::Own).expect("a plugin");
        for argument in [
            "--share=device",
            "--resource-name=nvidia.com/gpu",
            "--cdi-kind=plimsoll.dev/whole-gpu",
            "--reader-argument=--skip=1",
            "--reader-argument=--first=1",
        ] {
            assert!(whole.contains(&argument.to_owned()), "{argument}: {whole:?}");
        }
        let evictor = gpu_evictor("worker", &both).expect("an evictor");
        assert!(evictor.contains(&"--reader-argument=--first=1".to_owned()), "{evictor:?}");
        assert_eq!(gpu_whole_device_plugin(&gpus(false), Generator::Own), None);
    }

    #[test]
    fn memory_is_withheld_from_those_devices_that_have_more() {
        let withholders = gpu_withholders(&gpus(true));
        assert_eq!(withholders.len(), 1);
        let (program, arguments) = &withholders[0];
        assert_eq!(program, "/plimsoll/run/gpu/lib/ld.so");
        assert_eq!(
            arguments.join(" "),
            "--library-path /plimsoll/run/gpu/lib /plimsoll/run/gpu/plimsoll-gpu-hog --device=0 --amount=68719476736 \
             --control=/run/plimsoll-gpu-0.sock"
        );
        assert_eq!(gpu_withholders(&gpus(false)), []);
    }
}
