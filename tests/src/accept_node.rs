//! `plimsoll accept-node` about the node of a run: a node that is accepted is told to its cluster, and one that is not stays as it is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::command::{self, Ran};

const SCENARIO: &str = "tests/scenarios/accept/joins.yaml";
/// The longest that the run may take, waiting for its turn included.
const RUN_WITHIN: Duration = Duration::from_secs(450);
/// The longest that an acceptance may take.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(180);
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

fn accept_while_it_runs(kubeconfig: &Path, folder: &Path) -> Result<(), String> {
    let device = json!({
        "name": "NVIDIA H100 80GB HBM3", "uuid": "GPU-5107a7ed-0000-4000-8000-000000000000", "memory": 85_017_493_504_u64,
        "memoryBandwidth": 40_u64 << 40, "multiprocessors": 132, "computeCapability": [9, 0],
        "busId": "00000000:18:00.0", "ecc": true,
    });
    let node = json!({"driverVersion": "580.159.03", "cudaVersion": 13_000, "devices": [device]});
    std::fs::write(folder.join("node.json"), node.to_string()).map_err(|error| error.to_string())?;
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

fn accept(kubeconfig: &Path, folder: &Path, more: &[&str]) -> Result<Ran, String> {
    let programs = programs()?;
    let mut command = command::plimsoll(&["accept-node", "--level", "quick", "--bandwidth", "5"])?;
    command
        .arg("--hog")
        .arg(programs.join("plimsoll-gpu-hog"))
        .arg("--cuda-library")
        .arg(programs.join("libplimsoll-simulated-driver.so"))
        .env("PLIMSOLL_SIMULATED_NODE", folder)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--context", "plimsoll", "--node", "worker", "--resource", "plimsoll.dev/gpu-memory"])
        .args(["--label", "example.com/accepted=yes", "--remove-taint", "example.com/new"])
        .args(more);
    command::start(command)?.ended(ACCEPTED_WITHIN)
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
