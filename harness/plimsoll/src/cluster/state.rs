//! The folders that runs use on this machine, and removing what a run left that was killed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ClusterError;

/// Names the folder that holds the runs.
pub const STATE_VARIABLE: &str = "PLIMSOLL_STATE";

/// The folder of all runs: of the machine for root, of the user otherwise.
#[must_use]
pub fn state_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable(STATE_VARIABLE) {
        return folder;
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/plimsoll");
    }
    variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("plimsoll")
}

/// Who a run belongs to. A process identifier alone is used again by the system, so the time that the process
/// began stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The process.
    pub process: u32,
    /// When it began, in clock ticks since the machine's start, as `/proc` has it.
    pub began: u64,
    /// When the run began.
    pub at: Timestamp,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn current() -> Self {
        let process = std::process::id();
        Self { process, began: process_began(process).unwrap_or(0), at: Timestamp::now() }
    }

    /// Whether the process still runs.
    #[must_use]
    pub fn lives(&self) -> bool {
        process_began(self.process) == Some(self.began)
    }
}

/// Field 22 of `/proc/PID/stat`; the name before it may hold anything, so counting begins after its closing bracket.
fn process_began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The folder of one run. Everything that a run keeps on disk lies in it.
#[derive(Debug, Clone)]
pub struct RunFolder {
    /// The run's identifier: unique on this machine, fit for a name of anything.
    pub run: String,
    /// The folder.
    pub path: PathBuf,
}

impl RunFolder {
    /// A new one, owned by this process.
    ///
    /// # Errors
    /// When it can not be made, as on a full disk.
    pub fn create() -> Result<Self, ClusterError> {
        let state = state_folder();
        let runs = state.join("runs");
        let doing = || format!("making a run folder in {}", runs.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&runs)
            .map_err(ClusterError::doing(doing()))?;
        let (owner, folder) = loop {
            let owner = Owner::current();
            let run = format!("{:x}{:x}", owner.at.as_millisecond() & 0xfff_ffff, owner.process);
            let folder = Self { path: runs.join(&run), run };
            match fs::DirBuilder::new().mode(0o700).create(&folder.path) {
                Ok(()) => break (owner, folder),
                // Another run of this process began in this millisecond.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err(error) => return Err(ClusterError::doing(doing())(error)),
            }
        };
        let text = serde_json::to_vec(&owner).map_err(ClusterError::doing(doing()))?;
        folder.write("owner.json", &text)?;
        Ok(folder)
    }

    /// Writes a file that only its owner reads.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), ClusterError> {
        let path = self.path.join(name);
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            }
            fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&path)?
                .write_all(contents)
        };
        write().map_err(ClusterError::doing(format!("writing {}", path.display())))
    }

    /// The runs whose owner has ended.
    #[must_use]
    pub fn abandoned() -> Vec<Self> {
        let mut abandoned = Vec::new();
        for entry in fs::read_dir(state_folder().join("runs")).into_iter().flatten().flatten() {
            let path = entry.path();
            let owner = fs::read(path.join("owner.json"))
                .ok()
                .and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
            let run = entry.file_name().to_string_lossy().into_owned();
            match owner {
                Some(owner) if owner.lives() => {}
                Some(_) => abandoned.push(Self { run, path }),
                // A folder without an owner is one being made at this moment, or one whose making was cut short.
                None if old(&path) => abandoned.push(Self { run, path }),
                None => {}
            }
        }
        abandoned
    }

    /// Removes it.
    ///
    /// # Errors
    /// When something in it can not be removed.
    pub fn remove(&self) -> Result<(), ClusterError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ClusterError::doing(format!("removing {}", self.path.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

fn old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age.as_secs() > 60))
}
