//! The folder that a filler of a filesystem makes for itself, so that what it leaves can be told from
//! what others have there.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::filler::Shortage;

/// A folder of one filler. It is locked while the filler lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: Option<File>,
}

impl Folder {
    /// A folder `name` in `parent`, which must exist. What a filler left there that was killed is removed.
    ///
    /// # Errors
    ///
    /// When `parent` is no folder, or another filler is at work there.
    pub fn claim(parent: &Path, name: &str) -> Result<Folder, Shortage> {
        let fail = |error| Shortage::new(format!("filling {}", parent.display()), error);
        if !std::fs::metadata(parent).map_err(fail)?.is_dir() {
            return Err(fail(io::Error::from(ErrorKind::NotADirectory)));
        }
        let mut folder = Folder { path: parent.join(name), lock: None };
        if folder.path.exists() {
            folder.take().map_err(fail)?;
            folder.remove().map_err(fail)?;
        }
        Ok(folder)
    }

    /// Where it is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.lock.is_some()
    }

    /// Makes it, if it is not there.
    ///
    /// # Errors
    ///
    /// When it can not be made.
    pub fn make(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            std::fs::create_dir(&self.path)?;
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => io::Error::new(
                ErrorKind::ResourceBusy,
                format!("another filler is at work in {}", self.path.display()),
            ),
            other => other.into(),
        })?;
        self.lock = Some(file);
        Ok(())
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    ///
    /// When something in it can not be removed.
    pub fn remove(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            std::fs::remove_dir_all(&self.path)?;
            self.lock = None;
        }
        Ok(())
    }
}
