//! The runs on this machine, and what is found of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::look;
use crate::command::Running;

/// How long a run may take to have a folder: whole bundles are looked at before, on a machine that does other things.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

/// The folder of runs that a run takes when nothing else is said.
fn runs_folder() -> PathBuf {
    let state = std::env::var_os("PLIMSOLL_STATE").filter(|folder| !folder.is_empty());
    state.map_or_else(|| PathBuf::from("/var/lib/plimsoll"), PathBuf::from).join("runs")
}

/// A run that goes on, and its process.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its identifier.
    pub run: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// Waits until a command that was started has a run.
///
/// # Errors
/// When it ends before, or none comes in time.
pub fn begun(running: &mut Running) -> Result<Begun, String> {
    let process = u64::from(running.child.id());
    let deadline = Instant::now() + BEGINS_WITHIN;
    loop {
        for folder in listed() {
            if owner(&folder) == Some(process) {
                return Ok(Begun { run: identifier(&folder), folder });
            }
        }
        if let Some(status) = running.child.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("no run began: {status}"));
        }
        if Instant::now() > deadline {
            return Err(format!("no run began within {} s", BEGINS_WITHIN.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The runs whose process lives, wherever their folders are: a run's identifier ends with the one of its process.
pub(super) fn alive() -> Vec<String> {
    let is_plimsoll = |process: &String| {
        fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "plimsoll")
    };
    let processes = look::process_identifiers().into_iter().filter(is_plimsoll);
    let endings: Vec<String> =
        processes.filter_map(|process| Some(format!("{:x}", process.parse::<u32>().ok()?))).collect();
    let mut runs: Vec<String> = look::runs_with_cgroups();
    runs.extend(listed().iter().map(|folder| identifier(folder)));
    runs.retain(|run| endings.iter().any(|ending| run.ends_with(ending.as_str())));
    runs.sort();
    runs.dedup();
    runs
}

/// The folders of runs, less those of some, and less one that is being made.
pub(super) fn folders(others: &[String]) -> Vec<String> {
    let mut folders: Vec<String> = listed().iter().map(|folder| identifier(folder)).collect();
    folders.retain(|run| !others.contains(run));
    folders.sort();
    folders
}

/// What is found of a run on this machine, a line a thing; empty when nothing is left of it. That a loop device is left only the whole
/// machine shows, since the kernel tells its file as the node saw it.
#[must_use]
pub fn traces(run: &str) -> Vec<String> {
    let mut found = Vec::new();
    // One that is being made or removed has the run at the end of its name.
    let folders = listed().into_iter().filter(|folder| identifier(folder).ends_with(run));
    found.extend(folders.map(|folder| format!("folder {}", folder.display())));
    found.extend(
        look::all_cgroups()
            .into_iter()
            .filter(|path| path.contains(run))
            .map(|path| format!("cgroup {path}")),
    );
    for process in look::process_identifiers() {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        if read("cgroup").contains(run) {
            found.push(format!("process {process} {}", read("comm").trim()));
        }
        let mounts = read("mountinfo");
        found.extend(mounts.lines().filter(|line| line.contains(run)).map(|line| format!("mount {line}")));
    }
    found
}

/// The processes of a run that are called by the last part of a program's path, as the machine numbers them.
#[must_use]
pub fn processes_of(run: &str, program: &str) -> Vec<i32> {
    let called = |process: &String| {
        let command_line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let first = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(first).rsplit('/').next() == Some(program)
            && fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default().contains(run)
    };
    let processes = look::process_identifiers().into_iter().filter(called);
    processes.filter_map(|process| process.parse().ok()).collect()
}

fn listed() -> Vec<PathBuf> {
    fs::read_dir(runs_folder()).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn identifier(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The process that a run belongs to.
fn owner(folder: &Path) -> Option<u64> {
    let text = fs::read(folder.join("owner.json")).ok()?;
    serde_json::from_slice::<Value>(&text).ok()?["process"].as_u64()
}
