//! `plimsoll accept-node` about the node of a run: a node that is accepted is told to its cluster, and one that is not stays as it is.
//! And about a node that it boots itself: one that is configured well is accepted, and one that is not is found out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::command::{self, Ran};

const SCENARIO: &str = "tests/scenarios/accept/joins.yaml";
/// The longest that the run may take, waiting for its turn included.
const RUN_WITHIN: Duration = Duration::from_secs(450);
/// The longest that an acceptance may take.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(180);
/// The longest that an acceptance may take that boots nodes.
const BOOTED_WITHIN: Duration = Duration::from_secs(600);
/// The longest that the node's devices may take to be offered.
const OFFERED_WITHIN: Duration = Duration::from_secs(120);

/// Accepts a node whose devices are not as declared, and then as they are; what waits in its cluster starts after that.
///
/// # Errors
/// With what was said instead of what was expected.
pub fn an_accepted_node_is_told_to_its_cluster() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let kubeconfig = folder.path().join("kubeconfig");
    let path = kubeconfig.display().to_string();
    let run =
        command::start(command::plimsoll(&["run", "--on", "host", "--kubeconfig-out", &path, SCENARIO])?)?;
    let accepted = accept_while_it_runs(&kubeconfig, folder.path());
    let ran = run.ended(RUN_WITHIN)?;
    accepted?;
    ran.expect(0).map(drop)
}

/// Boots a node with the devices of a simulated machine, as it is configured and then as it must not be.
///
/// # Errors
/// With what was said instead of what was expected.
pub fn a_booted_node_is_put_under_pressure() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    describe(folder.path())?;
    let good = "memory: 1Gi
kubelet: {evictionHard: {memory.available: 300Mi}, nodeStatusUpdateFrequency: 2s}
gpuEviction: {evictionHard: {gpu.memory.available: 4Gi}, interval: 2s, evictionPressureTransitionPeriod: 5s}
";
    let ran = on_host(folder.path(), good, &["--level", "standard"])?.expect(0)?;
    for name in [OVER_REQUEST, OWN_MEMORY, FAULTY, MENDED, RUNS_ON] {
        passed(&ran, "passed ", name)?;
    }
    // A pod is faster than the evictor looks, the kubelet is to answer at once, and no pod is evicted before the kernel kills.
    let bad = "memory: 1Gi
kubelet: {evictionHard: {memory.available: 1Mi}, nodeStatusUpdateFrequency: 2s}
gpuEviction: {evictionHard: {gpu.memory.available: 1Gi}, interval: 5s}
";
    let wrong = ["--level", "standard", "--gpu-rate", "100Gi/s", "--health-within", "1ms"];
    let ran = on_host(folder.path(), bad, &wrong)?.expect(1)?;
    for name in [OVER_REQUEST, OWN_MEMORY, FAULTY, MENDED] {
        passed(&ran, "FAILED ", name)?;
    }
    passed(&ran, "passed ", RUNS_ON)
}

/// Runs a scenario on the machine's own GPUs where the driver can not be found, and one that no real GPU can be used for.
///
/// # Errors
/// With what was said instead of what was expected.
pub fn without_a_card_a_run_on_real_ones_says_what_to_do() -> Result<(), String> {
    let run = |scenario: &str, code: i32, said: &[&str]| {
        let mut command = command::plimsoll(&["run", "--on", "host", "--gpus", "real", scenario])?;
        command.env("PLIMSOLL_CUDA_LIBRARY", "/nowhere/libcuda.so.1");
        let ran = command::start(command)?.ended(RUN_WITHIN)?.expect(code)?;
        match said.iter().find(|text| !ran.errors.contains(**text)) {
            Some(text) => Err(format!("`{text}` is not in\n{}", ran.errors)),
            None => Ok(()),
        }
    };
    let driver = ["CUDA's driver does not work here", "help: run it on a machine with an NVIDIA driver"];
    run("scenarios/gpu/shares-isolate-nobody.yaml", 3, &driver)?;
    let fault = "a real GPU can not be given an error";
    run("scenarios/gpu/unhealthy-gpu-keeps-its-pod-and-gets-no-new-one.yaml", 2, &[fault])
}

const OVER_REQUEST: &str = "a pod over its request leaves before a GPU is full, and nobody else";
const OWN_MEMORY: &str = "the node evicts for its own memory while GPUs are in use, and nobody on them";
const FAULTY: &str = "the kubelet takes a faulty device out of service";
const MENDED: &str = "the kubelet takes a mended device back into service";
const RUNS_ON: &str = "a pod on a faulty device runs on";

/// Whether a check went so.
fn passed(ran: &Ran, how: &str, name: &str) -> Result<(), String> {
    let is_it = |line: &&str| line.contains(how) && line.contains(name);
    match ran.output.lines().find(is_it) {
        Some(_) => Ok(()),
        None => Err(format!("`{name}` is not `{}` in\n{}", how.trim(), ran.output)),
    }
}

fn on_host(folder: &Path, configuration: &str, more: &[&str]) -> Result<Ran, String> {
    let file = folder.join("configuration.yaml");
    std::fs::write(&file, configuration).map_err(|error| error.to_string())?;
    let mut command = accept_node(folder)?;
    command
        .args(["--on", "host"])
        .arg("--configuration")
        .arg(&file)
        .arg("--evidence")
        .arg(folder.join("evidence"))
        .args(more);
    command::start(command)?.ended(BOOTED_WITHIN)
}

fn accept_while_it_runs(kubeconfig: &Path, folder: &Path) -> Result<(), String> {
    describe(folder)?;
    let deadline = Instant::now() + OFFERED_WITHIN;
    // The devices are offered once the plugin has registered. Without more it changes nothing of a node with simulated devices.
    let untold = loop {
        let ran = accept(kubeconfig, folder, &["--offered", "8"]);
        match ran.and_then(|ran| ran.expect(0)) {
            Ok(ran) => break ran,
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    };
    let contains = |ran: &Ran, text: &str| {
        if ran.output.contains(text) { Ok(()) } else { Err(format!("`{text}` is not in\n{}", ran.output)) }
    };
    contains(&untold, "the kubelet offers the devices: 8, of which pods can be given 8")?;
    contains(&untold, "worker is left as it is, since its devices are simulated")?;
    let refused = accept(kubeconfig, folder, &["--offered", "9", "--even-simulated"])?.expect(1)?;
    contains(&refused, "worker is left as it is, since it is not accepted")?;
    let told = accept(kubeconfig, folder, &["--offered", "8", "--even-simulated"])?.expect(0)?;
    contains(&told, "worker: has the label example.com/accepted=yes")?;
    contains(&told, "worker: has lost the taint example.com/new")
}

/// Describes a machine with one card.
fn describe(folder: &Path) -> Result<(), String> {
    let device = json!({
        "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-5107a7ed-0000-4000-8000-000000000000", "memory": 85_017_493_504_u64,
        "memoryBandwidth": 40_u64 << 40, "multiprocessors": 132, "computeCapability": [9, 0],
        "busId": "00000000:18:00.0", "ecc": true,
    });
    let node = json!({"driverVersion": "580.159.03", "cudaVersion": 13_000, "devices": [device]});
    std::fs::write(folder.join("node.json"), node.to_string()).map_err(|error| error.to_string())
}

fn accept(kubeconfig: &Path, folder: &Path, more: &[&str]) -> Result<Ran, String> {
    let mut command = accept_node(folder)?;
    command
        .args(["--level", "quick"])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--context", "plimsoll", "--node", "worker", "--resource", "plimsoll.dev/gpu-memory"])
        .args(["--label", "example.com/accepted=yes", "--remove-taint", "example.com/new"])
        .args(more);
    command::start(command)?.ended(ACCEPTED_WITHIN)
}

/// The command, on the simulated devices that are described in a folder.
fn accept_node(folder: &Path) -> Result<Command, String> {
    let programs = programs()?;
    let mut command = command::plimsoll(&["accept-node", "--bandwidth", "5"])?;
    command
        .arg("--hog")
        .arg(programs.join("plimsoll-gpu-hog"))
        .arg("--cuda-library")
        .arg(programs.join("libplimsoll-simulated-driver.so"))
        .env("PLIMSOLL_SIMULATED_NODE", folder);
    Ok(command)
}

/// Where `gpu-workloads/build` puts what loads a driver: target/gpu/<target>/<profile> for target/<target>/<profile>.
fn programs() -> Result<PathBuf, String> {
    let program = command::program()?;
    let names: Vec<_> = program.iter().rev().take(3).collect();
    let [_, profile, target] = names[..] else { return Err("the program lies nowhere".to_owned()) };
    let targets = program.ancestors().nth(3).ok_or("the program lies nowhere")?;
    let folder = targets.join("gpu").join(target).join(profile);
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(format!("{} is missing: gpu-workloads/build makes it", folder.display()))
    }
}
