//! The cgroups of runs on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::ClusterError;

const ROOT: &str = "/sys/fs/cgroup";

/// How this machine lays out cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    V1,
    V2,
}

impl Layout {
    pub(super) fn detect() -> Result<Self, ClusterError> {
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            return Ok(Self::V2);
        }
        if Path::new(ROOT).join("memory/memory.limit_in_bytes").exists()
            || Path::new(ROOT).join("memory/cgroup.procs").exists()
        {
            return Ok(Self::V1);
        }
        Err(ClusterError::Machine(format!(
            "no memory cgroup at {ROOT}: a node can not be bounded without one\nhelp: mount cgroups there, or switch the memory controller on (kernel parameter cgroup_enable=memory)"
        )))
    }

    /// Whether swap can be bounded with memory.
    pub(super) fn bounds_swap(self) -> bool {
        match self {
            Self::V1 => Path::new(ROOT).join("memory/memory.memsw.limit_in_bytes").exists(),
            Self::V2 => Path::new("/proc/swaps").exists(),
        }
    }

    /// The folders that hold the cgroups of a path.
    fn folders(self, path: &str) -> Vec<PathBuf> {
        match self {
            Self::V2 => vec![Path::new(ROOT).join(path)],
            Self::V1 => fs::read_dir(ROOT)
                .into_iter()
                .flatten()
                .flatten()
                .map(|hierarchy| hierarchy.path().join(path))
                .collect(),
        }
    }
}

/// Ends every process of a run and removes its cgroups.
pub(super) fn remove(run: &str, within: Duration) -> Result<(), ClusterError> {
    let Ok(layout) = Layout::detect() else { return Ok(()) };
    let deadline = Instant::now() + within;
    let path = format!("plimsoll/{run}");
    loop {
        let mut left = Vec::new();
        for folder in layout.folders(&path) {
            if folder.exists() && !remove_tree(&folder) {
                left.push(folder);
            }
        }
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            return Err(ClusterError::doing("removing the run's cgroups")(format!(
                "{} does not become empty",
                left[0].display()
            )));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // Shared by all runs; the last one takes it away, and with others left this fails as it should.
    for folder in layout.folders("plimsoll") {
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Ends what is in a tree of cgroups and removes it from the leaves up. False when something is still there.
fn remove_tree(folder: &Path) -> bool {
    let mut removed = true;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            removed &= remove_tree(&entry.path());
        }
    }
    for process in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(process) = process.parse().ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
    removed && fs::remove_dir(folder).is_ok()
}
