//! Whose the processes on the devices are.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;

use crate::pods::cgroup::{PodProcess, of_process};

/// The pods of processes, remembered from reading to reading: the kernel forgets the cgroup (version 1) of a process before the
/// process has given back what it holds, and memory that seems to be nobody's would have another pod evicted for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    by_pid: HashMap<u32, PodProcess>,
}

impl Owners {
    /// Finds the pods of the processes of a reading, forgets all others, and gives those of the reading that have ended since it was made.
    /// `proc` is where `/proc` of the machine is.
    pub fn look(&mut self, proc: &Path, pids: impl Iterator<Item = u32>) -> BTreeSet<u32> {
        let mut before = std::mem::take(&mut self.by_pid);
        let mut ended = BTreeSet::new();
        for pid in pids {
            let found = of_process(proc, pid);
            if found.as_ref().is_err_and(is_gone) {
                ended.insert(pid);
            }
            if let Some(owner) = found.ok().flatten().or_else(|| before.remove(&pid)) {
                self.by_pid.insert(pid, owner);
            }
        }
        ended
    }

    /// The pods, by the identifier of the process.
    #[must_use]
    pub const fn by_pid(&self) -> &HashMap<u32, PodProcess> {
        &self.by_pid
    }
}

/// Whether a file of `/proc/<pid>` could not be read since there is no such process; it may end between opening and reading.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const UID: &str = "1b2c3d4e-0000-4fff-8aaa-0123456789ab";

    fn write(proc: &Path, pid: u32, path: &str) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("cgroup"), format!("4:memory:{path}\n")).expect("a file");
    }

    #[test]
    fn a_process_that_is_ending_is_still_its_pods() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut owners = Owners::default();
        write(proc.path(), 7, &format!("/kubepods/pod{UID}"));
        write(proc.path(), 8, "/");
        assert!(owners.look(proc.path(), [7, 8].into_iter()).is_empty());
        assert_eq!(owners.by_pid().keys().collect::<Vec<_>>(), [&7], "8 is of no pod");
        write(proc.path(), 7, "/");
        assert!(owners.look(proc.path(), [7, 8].into_iter()).is_empty());
        assert_eq!(owners.by_pid()[&7].pod_uid, UID);
        assert!(owners.look(proc.path(), [8].into_iter()).is_empty());
        owners.look(proc.path(), [7, 8].into_iter());
        assert!(owners.by_pid().is_empty(), "it had left the devices, so that its number may be another's");
    }

    #[test]
    fn a_process_that_has_ended_is_told() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut owners = Owners::default();
        write(proc.path(), 7, &format!("/kubepods/pod{UID}"));
        assert_eq!(owners.look(proc.path(), [7, 9].into_iter()), [9].into());
        fs::remove_dir_all(proc.path().join("7")).expect("removed");
        assert_eq!(owners.look(proc.path(), [7, 9].into_iter()), [7, 9].into());
        assert_eq!(owners.by_pid().keys().collect::<Vec<_>>(), [&7], "while it is listed, its pod holds it");
    }
}
