//! `plimsoll accept-node` on simulated machines: what it accepts, what it does not, and what it says it could not see.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use plimsoll_acceptance::report::{Acceptance, Outcome};
use plimsoll_simulated_driver::ledger::Ledger;
use plimsoll_simulated_driver::node::{FOLDER, Flip, Node};
use tempfile::TempDir;

/// The folder of the programs that can load a driver, built by the script that everybody builds them with.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gpu-workloads/build");
        let output =
            Command::new("timeout").arg("900").arg(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "gpu-workloads/build failed");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
    })
}

fn node(count: u8) -> Node {
    let mut node = Node::with_h100(count);
    for device in &mut node.devices {
        device.memory_bandwidth = 40 << 40;
    }
    node
}

struct Run {
    output: Output,
    folder: TempDir,
}

fn accept(node: &Node, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    node.write(folder.path()).unwrap();
    let output = Command::new("timeout")
        // A busy machine must not look like a slow card: what is asked for here is far below what is described.
        .args(["300", env!("CARGO_BIN_EXE_plimsoll"), "accept-node", "--level", "quick", "--bandwidth", "5"])
        .arg("--hog")
        .arg(programs().join("plimsoll-gpu-hog"))
        .arg("--cuda-library")
        .arg(programs().join("libplimsoll-simulated-driver.so"))
        .arg("--json")
        .arg(folder.path().join("acceptance.json"))
        .arg("--junit")
        .arg(folder.path().join("acceptance.xml"))
        .args(arguments)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    Run { output, folder }
}

impl Run {
    fn acceptance(&self) -> Acceptance {
        serde_json::from_slice(&std::fs::read(self.folder.path().join("acceptance.json")).unwrap()).unwrap()
    }

    fn failed(&self) -> Vec<String> {
        let checks = self.acceptance().checks;
        checks.into_iter().filter(|check| check.outcome == Outcome::Failed).map(|check| check.name).collect()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }
}

#[test]
fn a_good_node_is_accepted_and_the_stamp_is_everywhere() {
    let run = accept(
        &node(1),
        &["--devices", "1", "--driver", "580", "--cuda", "12.4", "--product", "NVIDIA H100 80GB HBM3"],
    );
    assert_eq!(run.output.status.code(), Some(0), "{}", run.text());
    let acceptance = run.acceptance();
    assert_eq!(acceptance.outcome, Outcome::Passed);
    assert!(acceptance.stamp.is_some());
    assert!(acceptance.checks.len() >= 16, "{acceptance:?}");
    assert!(acceptance.not_checked.iter().any(|sentence| sentence.contains("kubelet")));
    let junit = std::fs::read_to_string(run.folder.path().join("acceptance.xml")).unwrap();
    assert!(junit.contains("accept-node quick (SIMULATED)") && junit.contains(r#"failures="0""#), "{junit}");
    assert!(run.text().contains("accept-node quick (SIMULATED): accepted"), "{}", run.text());
    // Nothing is left taken, and no socket.
    assert_eq!(std::fs::read_dir(run.folder.path().join("clients")).unwrap().count(), 0);
}

#[test]
fn each_fault_is_found_where_it_is() {
    let mut bad = node(1);
    let device = &mut bad.devices[0];
    device.ecc = Some(false);
    device.faults.flipped = vec![Flip { at: 70 << 30, mask: 4 }];
    device.faults.leak = 1 << 16;
    let run = accept(&bad, &["--devices", "2", "--driver", "590"]);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.text());
    assert_eq!(
        run.failed(),
        [
            "driver version",
            "device count",
            "ECC is on",
            "the driver answers as CUDA workloads rely on",
            "memory keeps what is written",
            "all memory comes back",
        ],
        "{}",
        run.text()
    );
    let checks = run.acceptance().checks;
    let memory = checks.iter().find(|check| check.name == "memory keeps what is written").unwrap();
    assert!(
        memory.seen.contains("1 of ") && memory.seen.contains("do not read back as written"),
        "{memory:?}"
    );
    // It ended before it held, so how fast memory is was not seen.
    let bandwidth = checks.iter().find(|check| check.name.contains("as fast as")).unwrap();
    assert_eq!(bandwidth.outcome, Outcome::CouldNotCheck, "{bandwidth:?}");
}

#[test]
fn a_slow_card_is_not_accepted() {
    let mut slow = node(1);
    // A hundredth of the data sheet.
    slow.devices[0].faults.slower = Some(1300);
    let run = accept(&slow, &[]);
    assert_eq!(run.failed(), ["memory is as fast as its data sheet says"], "{}", run.text());
}

#[test]
fn a_node_without_a_driver_is_not_accepted_and_one_without_nvml_is_not_known() {
    let mut without = node(1);
    without.cuda_init = 999;
    let run = accept(&without, &[]);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.text());
    assert_eq!(run.failed(), ["CUDA driver works"]);
    let run = accept(&node(1), &["--nvml-library", "/nowhere/libnvidia-ml.so.1"]);
    assert_eq!(run.failed(), ["NVML works"], "{}", run.text());
    let unseen =
        run.acceptance().checks.iter().filter(|check| check.outcome == Outcome::CouldNotCheck).count();
    assert!(unseen >= 4, "{}", run.text());
}

/// The acceptance is killed while its filler holds a card for half an hour.
#[test]
fn nothing_outlives_an_acceptance_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    node(1).write(folder.path()).unwrap();
    let mut acceptance = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["accept-node", "--level", "burn-in", "--quiet", "--bandwidth", "5", "--hog"])
        .arg(programs().join("plimsoll-gpu-hog"))
        .arg("--cuda-library")
        .arg(programs().join("libplimsoll-simulated-driver.so"))
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let mut used = || ledger.hold().unwrap().used(0).unwrap();
    let within = |mut is_it: Box<dyn FnMut() -> bool + '_>, seconds: u64| {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !is_it() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    };
    // Steps before that one take all there is, too, but only for a moment.
    let mut since = Instant::now();
    let holds = || {
        if used() < 70 << 30 {
            since = Instant::now();
        }
        since.elapsed() >= Duration::from_secs(5)
    };
    let filled = within(Box::new(holds), 60);
    acceptance.kill().unwrap();
    acceptance.wait().unwrap();
    assert!(filled, "no filler came to hold the card");
    assert!(within(Box::new(|| used() == 0), 60), "what was held is still held");
}

#[test]
fn what_it_can_not_run_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["accept-node", "--hog"])
        .arg(folder.path().join("nothing"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--hog names the GPU hog, which gpu-workloads/build makes"), "{error}");
    let output = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["accept-node", "--driver", "new"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("'new' is not a version"));
}
