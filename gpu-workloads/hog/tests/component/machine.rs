//! A simulated machine with GPUs, and programs that run on it. Every wait is bounded.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use plimsoll_gpu_hog::inventory::Inventory;
use plimsoll_hog::report::{Kind, Report};
use plimsoll_simulated_driver::node::{FOLDER, Node};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How it ends after SIGTERM, as a shell counts it.
pub const TERMINATED: i32 = 128 + 15;
pub const GI: u64 = 1 << 30;

/// The bound of every wait. What is waited for comes in milliseconds; a machine may be busy.
const WITHIN: Duration = Duration::from_secs(60);

/// The folder of the programs that can load a driver, built by the script that everybody builds them with.
pub fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build");
        let output =
            Command::new("timeout").arg("900").arg(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "gpu-workloads/build failed");
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
    })
}

/// A machine with GPUs.
pub struct Machine {
    folder: TempDir,
    pub node: Node,
}

impl Machine {
    pub fn with(count: u8) -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap(), node: Node::with_h100(count) };
        machine.node.write(machine.folder.path()).unwrap();
        machine
    }

    /// Changes the machine, as a fault does. Programs that run see it with their next call.
    pub fn change(&mut self, change: impl FnOnce(&mut Node)) {
        change(&mut self.node);
        self.node.write(self.folder.path()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of the hog with the simulated driver named, and nothing else.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("plimsoll-gpu-hog"));
        command
            .args(arguments)
            .env(FOLDER, self.folder.path())
            .env("PLIMSOLL_CUDA_LIBRARY", programs().join("libplimsoll-simulated-driver.so"))
            .env_remove("PLIMSOLL_NVML_LIBRARY");
        command
    }

    /// Starts a filler with a control socket of its own.
    pub fn fill(&self, arguments: &[&str]) -> Running<Report> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let socket = self.path(&format!("control-{number}"));
        let mut command = self.command(arguments);
        command.arg("--control").arg(&socket);
        let mut running = Running::start(command);
        running.socket = socket;
        running
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        let asked = self.command(arguments);
        command.arg("60").arg(asked.get_program()).args(asked.get_args());
        command.envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.output().unwrap()
    }

    /// What there is, seen by a process that has no part in anything.
    pub fn devices(&self) -> Inventory {
        let output = self.run(&["devices"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Bytes free of a device, seen by such a process.
    pub fn free(&self, index: usize) -> u64 {
        let inventory = self.devices();
        inventory.nvml.said().unwrap().devices[index].said().unwrap().free.unwrap()
    }
}

/// A program that runs and writes JSON lines, and is killed with the test.
pub struct Running<T> {
    pub child: Child,
    lines: Receiver<String>,
    pub socket: PathBuf,
    of: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Running<T> {
    pub fn start(mut command: Command) -> Running<T> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Running { child, lines, socket: PathBuf::new(), of: std::marker::PhantomData }
    }

    /// The next line of which this is true.
    pub fn wait_until(&self, is_it: impl Fn(&T) -> bool) -> T {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("the line never came");
            let read = serde_json::from_str(&line).unwrap();
            if is_it(&read) {
                return read;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit status, once it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it never ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Running<Report> {
    /// The next report of this kind; those before it are passed over.
    pub fn wait_for(&self, kind: Kind) -> Report {
        self.wait_until(|report| report.kind == kind)
    }

    /// The answer to a command that succeeds.
    pub fn ask(&self, arguments: &[&str]) -> Report {
        let output = Command::new(programs().join("plimsoll-gpu-hog"))
            .args(arguments)
            .args([OsStr::new("--control"), self.socket.as_os_str()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Report::parse(&String::from_utf8(output.stdout).unwrap()).unwrap()
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program said on standard error.
pub fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
