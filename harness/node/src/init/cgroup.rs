//! The node's own cgroups: version 1 or 2, the root of this container's cgroup namespace.

use std::fs;
use std::path::{Path, PathBuf};

use super::InitError;

/// Where cgroups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// How cgroups are laid out here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One hierarchy a controller.
    V1,
    /// One hierarchy.
    V2,
}

impl Layout {
    /// Reads which one this container has.
    pub(super) fn detect() -> Self {
        if Path::new(ROOT).join("cgroup.controllers").exists() { Self::V2 } else { Self::V1 }
    }

    /// The folder that counts memory.
    pub(super) fn memory(self) -> PathBuf {
        match self {
            Self::V1 => Path::new(ROOT).join("memory"),
            Self::V2 => PathBuf::from(ROOT),
        }
    }

    /// The folder that counts tasks.
    pub(super) fn pids(self) -> PathBuf {
        match self {
            Self::V1 => Path::new(ROOT).join("pids"),
            Self::V2 => PathBuf::from(ROOT),
        }
    }
}

/// On version 2 moves this process out of the container's root, where controllers can not be handed on while
/// processes are there, and hands them on. On version 1 there is nothing to do.
pub(super) fn prepare() -> Result<Layout, InitError> {
    let layout = Layout::detect();
    if layout == Layout::V2 {
        let root = Path::new(ROOT);
        let own = root.join("init");
        fs::create_dir_all(&own).map_err(InitError::context(own.display()))?;
        for process in fs::read_to_string(root.join("cgroup.procs")).unwrap_or_default().lines() {
            // A kernel thread or a process that has just ended can not be moved, and does not matter.
            let _ = fs::write(own.join("cgroup.procs"), process);
        }
        let controllers = fs::read_to_string(root.join("cgroup.controllers"))
            .map_err(InitError::context("cgroup.controllers"))?;
        for controller in controllers.split_whitespace() {
            let handed = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
            if matches!(controller, "memory" | "pids" | "cpu") {
                handed.map_err(InitError::context(format_args!(
                    "handing on the cgroup controller {controller}"
                )))?;
            }
        }
    }
    Ok(layout)
}
