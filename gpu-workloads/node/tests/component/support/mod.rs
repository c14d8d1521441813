//! What tests of the program as a process share: a driver that says what it is told to, and the program.

pub mod api_server;
pub mod dra;
pub mod kubelet;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A reader of a driver that says whatever lines a test has it say: all of them, from the first, whenever it is started.
pub struct Driver {
    folder: TempDir,
}

impl Driver {
    /// A driver that has said nothing.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let driver = Self { folder };
        fs::write(driver.lines(), "").expect("a file");
        // It ends when its file of lines is another one, so that a test can end it.
        let script = format!(
            "#!/bin/sh\necho $$ >>'{}'\nexec tail -n +1 -f '{}'\n",
            driver.path("pids").display(),
            driver.lines().display()
        );
        fs::write(driver.program(), script).expect("a script");
        fs::set_permissions(driver.program(), fs::Permissions::from_mode(0o755)).expect("executable");
        driver
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lines(&self) -> PathBuf {
        self.path("lines")
    }

    /// The program to run as reader.
    pub fn program(&self) -> PathBuf {
        self.path("reader")
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        let mut file = OpenOptions::new().append(true).open(self.lines()).expect("the file of lines");
        writeln!(file, "{line}").expect("a line");
    }

    /// Ends the reader that runs.
    pub fn end(&self) {
        let pids = fs::read_to_string(self.path("pids")).expect("the file of processes");
        let pid = pids.lines().last().expect("a process");
        let status = Command::new("kill").arg(pid).status().expect("kill");
        assert!(status.success());
    }
}

/// A device `GPU-<index>` with so many GiB of memory, of which so many are used by nobody in particular.
pub fn device(index: u32, total: u64, used: u64) -> serde_json::Value {
    serde_json::json!({
        "index": index,
        "uuid": format!("GPU-{index}"),
        "name": "Test",
        "minor": index,
        "memoryTotal": total << 30,
        "memoryUsed": used << 30,
        "processes": [],
    })
}

/// A reading of these devices, made now.
pub fn reading(simulated: bool, devices: &[serde_json::Value]) -> String {
    serde_json::json!({
        "reading": {
            "time": jiff::Timestamp::now(),
            "driverVersion": "1.0",
            "simulated": simulated,
            "devices": devices,
        }
    })
    .to_string()
}

/// A share of a device, as it is advertised.
pub fn share_of(device: u32, share: u32) -> String {
    format!("GPU-{device}::{share}")
}

/// Waits until something is so, and fails if it does not come to be.
pub fn eventually(within: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The program as a process. It is killed when dropped.
pub struct Program {
    child: Child,
    errors: PathBuf,
    _folder: TempDir,
}

impl Program {
    /// Starts it with these arguments, and a driver to ask.
    pub fn start(driver: &Driver, arguments: &[String]) -> Self {
        Self::with_environment(driver, arguments, &[])
    }

    /// Starts it with environment variables besides.
    pub fn with_environment(driver: &Driver, arguments: &[String], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let errors = folder.path().join("errors");
        let child = Command::new(env!("CARGO_BIN_EXE_plimsoll-gpu-node"))
            .args(arguments)
            .arg(format!("--reader={}", driver.program().display()))
            // A test may take longer than the driver it stands in for may be silent.
            .arg("--reader-silence=10m")
            .envs(environment.iter().copied())
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors).expect("a file"))
            .spawn()
            .expect("the program");
        Self { child, errors, _folder: folder }
    }

    /// What it said on standard error so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.errors).expect("what it said")
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        eventually(within, "the program ends", || {
            status = self.child.try_wait().expect("a status");
            status.is_some()
        });
        status.expect("a status")
    }

    /// Asks it to end, and waits for that.
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        assert!(status.success());
        self.wait(within)
    }

    /// Kills it, as if the node lost power.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program said:\n{}", self.errors());
        }
    }
}
