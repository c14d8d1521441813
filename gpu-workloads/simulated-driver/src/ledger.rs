//! Who holds how much of which device, across all processes of a simulated node.
//!
//! Each process that uses a device keeps a file in `clients/` and a lock on it for as long as it lives. The kernel drops
//! the lock however the process ends, so a file that can be locked is of a process that is gone, and what it held is
//! free. That holds across containers, too, where process ids mean nothing. Whoever reads or changes anything holds
//! the lock on the folder meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// What one process holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Its process id as it sees it itself.
    pub pid: u32,
    /// Bytes it holds of each device, its context among them; by index.
    pub used: Vec<u64>,
    /// Whether it has a context on each device; by index.
    pub contexts: Vec<bool>,
}

/// A process that uses a device, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its process id as the kernel says to whoever asks; its own account where the kernel does not say.
    pub pid: u32,
    /// What it holds.
    pub holding: Holding,
}

/// The ledger of one node.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    lock: File,
    own: Option<Own>,
}

/// The file of this process.
#[derive(Debug)]
struct Own {
    file: File,
    path: PathBuf,
    holding: Holding,
}

/// The ledger with its lock held, until dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a mut Ledger);

impl Ledger {
    /// The ledger in the folder of a simulated node.
    ///
    /// # Errors
    ///
    /// When the folder can not be written.
    pub fn open(folder: &Path) -> io::Result<Ledger> {
        std::fs::create_dir_all(folder.join("clients"))?;
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("ledger.lock"))?;
        Ok(Ledger { folder: folder.to_owned(), lock, own: None })
    }

    /// Waits until no other process reads or changes the ledger. Nobody keeps it for longer than a few file operations.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the lock.
    pub fn hold(&mut self) -> io::Result<Held<'_>> {
        loop {
            match flock(&self.lock, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Held(self)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let _ = flock(&self.0.lock, FlockOperation::Unlock);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Held<'_> {
    /// Bytes that all living processes hold of a device.
    ///
    /// # Errors
    ///
    /// When the ledger can not be read.
    pub fn used(&mut self, device: usize) -> io::Result<u64> {
        Ok(self.holdings()?.iter().filter_map(|(_, holding)| holding.used.get(device)).sum())
    }

    /// The living processes that have a context on a device.
    ///
    /// # Errors
    ///
    /// When the ledger can not be read.
    pub fn clients(&mut self, device: usize) -> io::Result<Vec<Client>> {
        let holdings = self.holdings()?;
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        Ok(holdings
            .into_iter()
            .filter(|(_, holding)| holding.contexts.get(device) == Some(&true))
            .map(|(inode, holding)| Client { pid: owner(&locks, inode).unwrap_or(holding.pid), holding })
            .collect())
    }

    /// What this process has written down last.
    pub fn own(&self) -> Option<Holding> {
        self.0.own.as_ref().map(|own| own.holding.clone())
    }

    /// Writes down what this process holds.
    ///
    /// # Errors
    ///
    /// When its file can not be written.
    pub fn record(&mut self, holding: Holding) -> io::Result<()> {
        if self.0.own.is_none() {
            self.0.own = Some(self.register()?);
        }
        let Some(own) = &mut self.0.own else { return Err(io::ErrorKind::NotFound.into()) };
        let text = serde_json::to_vec(&holding)?;
        own.file.write_all_at(&text, 0)?;
        own.file.set_len(text.len() as u64)?;
        own.holding = holding;
        Ok(())
    }

    fn register(&self) -> io::Result<Own> {
        let pid = std::process::id();
        for number in 0u32.. {
            let path = self.0.folder.join("clients").join(format!("{pid}-{number}"));
            let file = match OpenOptions::new().create_new(true).read(true).write(true).open(&path) {
                // Process ids of two containers may be alike, and one of a process that is gone is used again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            };
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            return Ok(Own { file, path, holding: Holding::default() });
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// What each living process holds, with the inode of its file. Files of others are removed.
    fn holdings(&mut self) -> io::Result<Vec<(u64, Holding)>> {
        let mut holdings = Vec::new();
        for entry in std::fs::read_dir(self.0.folder.join("clients"))? {
            let path = entry?.path();
            let Ok(mut file) = File::open(&path) else { continue };
            let is_own = self.0.own.as_ref().is_some_and(|own| own.path == path);
            if !is_own && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                std::fs::remove_file(&path)?;
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            // A process that was just killed in the middle of writing has lost its lock before anybody reads this.
            holdings.push((file.metadata()?.ino(), serde_json::from_str(&text)?));
        }
        Ok(holdings)
    }
}

/// Who holds the lock on a file, from `/proc/locks`, in terms of the reader's own process namespace.
fn owner(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = fields[..] else { return None };
        let number: u64 = place.rsplit(':').next()?.parse().ok()?;
        (number == inode).then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holds_another_sees_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = Ledger::open(folder.path()).unwrap();
        let mut other = Ledger::open(folder.path()).unwrap();
        let holding = Holding { pid: 7, used: vec![0, 5], contexts: vec![false, true] };
        one.hold().unwrap().record(holding.clone()).unwrap();
        assert_eq!(other.hold().unwrap().used(1).unwrap(), 5);
        let clients = other.hold().unwrap().clients(1).unwrap();
        // The kernel knows better than the file who it is.
        assert_eq!(clients, [Client { pid: std::process::id(), holding: holding.clone() }]);
        assert_eq!(other.hold().unwrap().clients(0).unwrap(), []);
        one.hold().unwrap().record(Holding { used: vec![0, 3], ..holding }).unwrap();
        assert_eq!(other.hold().unwrap().used(1).unwrap(), 3);
        drop(one);
        assert_eq!(other.hold().unwrap().used(1).unwrap(), 0);
    }

    #[test]
    fn a_file_without_a_lock_is_of_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let left = folder.path().join("clients/1-0");
        std::fs::write(&left, r#"{"pid":1,"used":[9],"contexts":[true]}"#).unwrap();
        assert_eq!(ledger.hold().unwrap().used(0).unwrap(), 0);
        assert!(!left.exists());
    }

    #[test]
    fn the_owner_of_a_lock_is_read_from_the_kernels_list() {
        let locks =
            "1: POSIX  ADVISORY  READ 9 fd:00:77 128 128\n2: FLOCK  ADVISORY  WRITE 412 fd:00:77 0 EOF\n";
        assert_eq!(owner(locks, 77), Some(412));
        assert_eq!(owner(locks, 7), None);
    }
}
