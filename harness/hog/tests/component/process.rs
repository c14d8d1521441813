//! A real filler, with its reports read as they come and every wait bounded.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use plimsoll_hog::report::{Kind, Report};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const HOG: &str = env!("CARGO_BIN_EXE_plimsoll-hog");
/// How it ends after SIGTERM, as a shell counts it.
pub const TERMINATED: i32 = 128 + 15;

/// The bound of every wait. What is waited for comes in milliseconds; a machine may be busy.
const WITHIN: Duration = Duration::from_secs(60);

/// Says that a test is left out for want of a right; where nobody would notice, that is a failure.
pub fn left_out(why: &str) {
    let in_ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    assert!(!in_ci, "can not be tested: {why}");
    eprintln!("left out: {why}");
}

/// A filler that runs, and is killed with the test.
pub struct Hog {
    pub child: Child,
    reports: Receiver<String>,
    folder: TempDir,
}

impl Hog {
    /// Starts `plimsoll-hog ARGUMENTS` with a control socket of its own.
    pub fn start(arguments: &[&str]) -> Hog {
        Hog::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// The same, with a folder that the test has made.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Hog {
        let mut child = Command::new(HOG)
            .args(arguments)
            .arg("--control")
            .arg(folder.path().join("control"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Hog { child, reports, folder }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// The next report of this kind; those before it are passed over.
    pub fn wait_for(&self, kind: Kind) -> Report {
        self.wait_until(|report| report.kind == kind)
    }

    /// The next report of which this is true.
    pub fn wait_until(&self, is_it: impl Fn(&Report) -> bool) -> Report {
        let deadline = Instant::now() + WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.reports.recv_timeout(left).expect("the report never came");
            let report = Report::parse(&line).unwrap();
            if is_it(&report) {
                return report;
            }
        }
    }

    /// All reports to the end.
    pub fn rest(&self) -> Vec<Report> {
        let deadline = Instant::now() + WITHIN;
        let mut reports = Vec::new();
        while let Ok(line) = self.reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            reports.push(Report::parse(&line).unwrap());
        }
        assert!(Instant::now() < deadline, "the reports never ended");
        reports
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit status, once it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child)
    }

    /// Runs a command against this filler.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(HOG).args(arguments).arg("--control").arg(self.socket()).output().unwrap()
    }

    /// The answer to a command that succeeds.
    pub fn ask(&self, arguments: &[&str]) -> Report {
        let output = self.command(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Report::parse(&String::from_utf8(output.stdout).unwrap()).unwrap()
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command line is refused with: the exit code and standard error.
pub fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(HOG).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A process's exit status, once it has ended by itself.
pub fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("it never ended");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
