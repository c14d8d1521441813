//! The reader as a process, on the simulated driver.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use plimsoll_gpu_reader::report::{Event, Reading, Report};
use plimsoll_simulated_driver::node::{FOLDER, Node};
use tempfile::TempDir;

/// The bound of every wait. What is waited for comes in milliseconds; a machine may be busy.
const WITHIN: Duration = Duration::from_secs(60);

/// The folder of the programs that can load a driver, built by the script that everybody builds them with.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build");
        let output = Command::new("timeout")
            .arg("900")
            .arg(script)
            .stderr(Stdio::inherit())
            .output()
            .expect("a script");
        assert!(output.status.success(), "gpu-workloads/build failed");
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
    })
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A reader that runs on a machine of its own.
struct Reader {
    _process: Killed,
    lines: Receiver<Report>,
    folder: TempDir,
    node: Node,
}

impl Reader {
    fn start(node: Node) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        node.write(folder.path()).expect("a description");
        let mut child = Command::new(programs().join("plimsoll-gpu-reader"))
            .arg("--interval=100")
            .arg("--library")
            .arg(programs().join("libplimsoll-simulated-driver.so"))
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the reader");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let report = serde_json::from_str(&line).expect("a report");
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        Self { _process: Killed(child), lines, folder, node }
    }

    fn next(&self) -> Report {
        self.lines.recv_timeout(WITHIN).expect("a line in time")
    }

    /// The first report of which something is so.
    fn until<T>(&self, find: impl Fn(&Report) -> Option<T>) -> T {
        let began = std::time::Instant::now();
        loop {
            assert!(began.elapsed() < WITHIN, "it is never said");
            if let Some(found) = find(&self.next()) {
                return found;
            }
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Node)) {
        change(&mut self.node);
        self.node.write(self.folder.path()).expect("a description");
    }
}

fn reading(report: &Report) -> Option<Reading> {
    match report {
        Report::Reading(reading) => Some(reading.clone()),
        _ => None,
    }
}

#[test]
fn devices_are_read_again_and_again_and_stamped() {
    let reader = Reader::start(Node::with_h100(2));
    let first = reader.until(reading);
    assert!(first.simulated);
    assert_eq!(first.driver_version, "580.159.03");
    assert_eq!(first.devices.len(), 2);
    let device = &first.devices[1];
    assert_eq!(device.uuid, "GPU-5107a7ed-0000-4000-8000-000000000001");
    assert_eq!(device.memory_total, (81_079 + 480) << 20);
    assert_eq!(device.memory_used, 480 << 20, "what the driver keeps is nobody's to take");
    assert!(device.processes.is_empty());
    assert!(reader.until(reading).time > first.time);
}

#[test]
fn errors_are_told_and_lost_devices_are_left_out() {
    let mut reader = Reader::start(Node::with_h100(2));
    reader.until(reading);
    reader.change(|node| node.devices[1].faults.xids.push(79));
    let event = reader.until(|report| match report {
        Report::Event(event) => Some(event.clone()),
        _ => None,
    });
    let uuid = reader.node.devices[1].uuid.clone();
    assert_eq!(event, Event { uuid: Some(uuid), xid: 79 });
    reader.change(|node| node.devices[1].faults.lost = true);
    reader.until(|report| reading(report).filter(|reading| reading.devices.len() == 1));
}

#[test]
fn a_device_that_lets_nobody_listen_is_named_and_the_others_are_heard() {
    let mut node = Node::with_h100(3);
    node.devices[1].faults.events_refused = true;
    let mut reader = Reader::start(node);
    let Report::Unwatched(unwatched) = reader.next() else { panic!("it comes before the first reading") };
    assert_eq!(unwatched.uuid.as_deref(), Some(reader.node.devices[1].uuid.as_str()));
    reader.until(reading);
    for index in [0, 2] {
        reader.change(|node| node.devices[index].faults.xids.push(79));
        let uuid = reader.node.devices[index].uuid.clone();
        reader.until(|report| {
            matches!(report, Report::Event(event) if event.uuid.as_ref() == Some(&uuid)).then_some(())
        });
    }
}

#[test]
fn a_device_that_was_lost_at_first_is_heard_when_it_is_back() {
    let mut node = Node::with_h100(2);
    node.devices[1].faults.lost = true;
    let mut reader = Reader::start(node);
    assert_eq!(reader.until(reading).devices.len(), 1);
    reader.change(|node| node.devices[1].faults.lost = false);
    reader.until(|report| reading(report).filter(|reading| reading.devices.len() == 2));
    // What is added from then on is told.
    reader.until(reading);
    reader.change(|node| node.devices[1].faults.xids.push(48));
    let uuid = reader.node.devices[1].uuid.clone();
    reader.until(|report| {
        matches!(report, Report::Event(event) if event.uuid.as_ref() == Some(&uuid)).then_some(())
    });
}

#[test]
fn what_is_missing_is_named() {
    let run = |library: Option<&Path>, path: Option<&Path>| {
        let mut command = Command::new(programs().join("plimsoll-gpu-reader"));
        command.arg("--once").env(FOLDER, "/nowhere").args(library.map(|_| "--library")).args(library);
        if let Some(path) = path {
            command.env("LD_LIBRARY_PATH", path);
        }
        let output = command.output().expect("the reader");
        assert_eq!(output.status.code(), Some(1));
        match serde_json::from_slice(&output.stdout).expect("a report") {
            Report::Failure(failure) => failure,
            report => panic!("no failure: {report:?}"),
        }
    };
    let missing = run(Some(Path::new("/nowhere/lib.so")), None);
    assert!(missing.contains("/nowhere/lib.so") && missing.contains("No such file"), "{missing}");
    let simulated = programs().join("libplimsoll-simulated-driver.so");
    let unset = run(Some(&simulated), None);
    assert!(unset.contains("NVML does not start"), "{unset}");
    // The simulated driver where the machine's own is looked for.
    let place = tempfile::tempdir().expect("a folder");
    std::fs::copy(&simulated, place.path().join("libnvidia-ml.so.1")).expect("copied");
    let unasked = run(None, Some(place.path()));
    assert!(unasked.contains("only when --library names it"), "{unasked}");
}

/// The driver is asked for one thing after another, and a process may end in between. What it held would be nobody's.
#[test]
fn what_a_process_held_that_ends_is_never_nobodys() {
    let mut reader = Reader::start(Node::with_h100(1));
    // One reading takes longer than is between two, so that the next has begun when one is told.
    reader.change(|node| node.devices[0].faults.slow_processes = 100);
    let kept = 480 << 20;
    for _ in 0..10 {
        let hog = Command::new(programs().join("plimsoll-gpu-hog"))
            .args(["--amount", "1Gi"])
            .env(FOLDER, reader.folder.path())
            .env("PLIMSOLL_CUDA_LIBRARY", programs().join("libplimsoll-simulated-driver.so"))
            .stdout(Stdio::null())
            .spawn()
            .expect("the filler");
        let hog = Killed(hog);
        let device = |report: &Report| Some(reading(report)?.devices.remove(0));
        reader.until(|report| device(report).filter(|device| device.memory_used > kept + (1 << 30)));
        drop(hog);
        reader.until(|report| {
            let device = device(report)?;
            assert!(device.memory_used == kept || !device.processes.is_empty(), "{device:?}");
            (device.memory_used == kept).then_some(())
        });
    }
}
