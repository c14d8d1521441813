//! The folders that runs use on this machine, and removing what a run left that was killed.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ClusterError;

/// The file in a run's folder that says whose it is.
const OWNER: &str = "owner.json";

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

    /// The name of a run's folder while this process makes or removes it.
    fn partial(&self, run: &str) -> String {
        format!(".{}-{}-{run}", self.process, self.began)
    }

    /// The process that makes or removes a folder of this name, when it began, and the run.
    fn of_partial(name: &str) -> Option<(u32, u64, &str)> {
        let (process, rest) = name.strip_prefix('.')?.split_once('-')?;
        let (began, run) = rest.split_once('-')?;
        Some((process.parse().ok()?, began.parse().ok()?, run))
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
    /// When it can not be made, as on a full disk; nothing of it is left then.
    pub fn create() -> Result<Self, ClusterError> {
        Self::create_in(&state_folder())
    }

    /// It is made under a name of its own with its owner in it, and gets its true name then: whenever this process ends, what is
    /// there is either a run that says whose it is, or known to be none.
    fn create_in(state: &Path) -> Result<Self, ClusterError> {
        let runs = state.join("runs");
        let doing = || format!("making a run folder in {}", runs.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&runs)
            .map_err(ClusterError::doing(doing()))?;
        loop {
            let owner = Owner::current();
            let run = format!("{:x}{:x}", owner.at.as_millisecond() & 0xfff_ffff, owner.process);
            let folder = Self { path: runs.join(&run), run };
            let making = runs.join(owner.partial(&folder.run));
            let made = make(&making, &owner).and_then(|()| match fs::rename(&making, &folder.path) {
                Ok(()) => Ok(true),
                // Another run of this process began in this millisecond.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
                Err(error) => Err(error),
            });
            match made {
                Ok(true) => return Ok(folder),
                Ok(false) => {
                    let _ = fs::remove_dir_all(&making);
                    std::thread::sleep(Duration::from_millis(1));
                }
                // Another thread of this process makes it at this moment: it is not ours to remove.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => {
                    let _ = fs::remove_dir_all(&making);
                    return Err(ClusterError::doing(doing())(error));
                }
            }
        }
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

    /// Whether it was made or changed so little time ago, or nobody knows when.
    #[must_use]
    pub fn is_younger_than(&self, age: Duration) -> bool {
        let changed = fs::metadata(&self.path).and_then(|data| data.modified());
        changed.ok().and_then(|at| at.elapsed().ok()).is_none_or(|elapsed| elapsed < age)
    }

    /// The runs whose owner has ended.
    #[must_use]
    pub fn abandoned() -> Vec<Self> {
        Self::abandoned_in(&state_folder())
    }

    fn abandoned_in(state: &Path) -> Vec<Self> {
        let mut abandoned = Vec::new();
        for entry in fs::read_dir(state.join("runs")).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // The name of one that is being made or removed tells by whom, since that may be cut short at any moment.
            let (run, owner_lives) = match Owner::of_partial(&name) {
                Some((process, began, run)) => (run.to_owned(), Some(process_began(process) == Some(began))),
                None => {
                    let owner = fs::read(path.join(OWNER)).ok();
                    let owner = owner.and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
                    (name, owner.map(|owner| owner.lives()))
                }
            };
            // A folder that does not say whose it is was made by none of ours.
            let is_abandoned = owner_lives.map_or_else(|| old(&path), |lives| !lives);
            if is_abandoned {
                abandoned.push(Self { run, path });
            }
        }
        abandoned
    }

    /// Removes it. Its name says first who does: the file that says whose it is goes with all others, in any order.
    ///
    /// # Errors
    /// When something in it can not be removed.
    pub fn remove(&self) -> Result<(), ClusterError> {
        let partial = self.path.with_file_name(Owner::current().partial(&self.run));
        let gone_is_well = |done: std::io::Result<()>| match done {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        };
        // When it has that name already, an earlier try of this process did not come to its end.
        gone_is_well(fs::rename(&self.path, &partial))
            .and_then(|()| gone_is_well(fs::remove_dir_all(&partial)))
            .map_err(ClusterError::doing(format!("removing {}", self.path.display())))
    }
}

fn make(folder: &Path, owner: &Owner) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(folder.join(OWNER));
    file?.write_all(&serde_json::to_vec(owner)?)
}

fn old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age.as_secs() > 60))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::DirBuilderExt;

    use super::{OWNER, Owner, RunFolder};

    fn names(state: &std::path::Path) -> Vec<String> {
        let entries = fs::read_dir(state.join("runs")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_is_there_with_its_owner_or_not_at_all() {
        let state = tempfile::tempdir().unwrap();
        let folder = RunFolder::create_in(state.path()).unwrap();
        assert_eq!(names(state.path()), [folder.run.as_str()]);
        let owner: Owner = serde_json::from_slice(&fs::read(folder.path.join(OWNER)).unwrap()).unwrap();
        assert!(owner.lives());
        assert!(RunFolder::abandoned_in(state.path()).is_empty());
    }

    #[test]
    fn runs_that_begin_at_once_have_folders_of_their_own() {
        let state = tempfile::tempdir().unwrap();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let state = state.path().to_owned();
                std::thread::spawn(move || RunFolder::create_in(&state).unwrap().run)
            })
            .collect();
        let runs: std::collections::BTreeSet<String> =
            threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!((runs.len(), names(state.path()).len()), (8, 8));
    }

    #[test]
    fn a_folder_says_whose_it_is_for_as_long_as_it_has_its_name() {
        let state = tempfile::tempdir().unwrap();
        let folder = RunFolder::create_in(state.path()).unwrap();
        for number in 0..4096 {
            folder.write(&format!("{number}"), b"").unwrap();
        }
        let path = folder.path.clone();
        let removal = std::thread::spawn(move || folder.remove());
        while !removal.is_finished() {
            // In this order: it may be renamed between the two.
            let says = path.join(OWNER).exists();
            assert!(says || !path.exists(), "whoever ends now leaves a folder that nobody knows");
        }
        removal.join().unwrap().unwrap();
        assert!(names(state.path()).is_empty());
    }

    #[test]
    fn a_making_or_removal_that_was_cut_short_is_abandoned_at_once_and_one_that_goes_on_is_not() {
        let state = tempfile::tempdir().unwrap();
        let runs = state.path().join("runs");
        let own = Owner::current();
        let before = Owner { began: own.began + 1, ..own.clone() };
        for (owner, run) in [(&own, "r1"), (&before, "r2")] {
            // Killed before the owner was written, or after it was removed.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(runs.join(owner.partial(run))).unwrap();
        }
        let abandoned = RunFolder::abandoned_in(state.path());
        assert_eq!(abandoned.iter().map(|folder| folder.run.as_str()).collect::<Vec<_>>(), ["r2"]);
        abandoned[0].remove().unwrap();
        assert_eq!(names(state.path()), [own.partial("r1")]);
    }
}
