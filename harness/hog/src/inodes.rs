//! Inodes: empty files, a thousand to a folder. The folders are inodes too, and counted.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use crate::filler::{Filler, Shortage};
use crate::folder::Folder;
use crate::report::{Resource, Unit};

/// A folder and its files.
const GROUP: u64 = 1 + 1000;
/// The most that one step makes or removes.
const STEP: u64 = 256;

/// A filler of inodes. The first is the folder that all others are in.
#[derive(Debug)]
pub struct Inodes {
    folder: Folder,
    keeps: bool,
    filled: u64,
}

/// What the inode with this number is.
enum Place {
    Root,
    Folder(PathBuf),
    File(PathBuf),
}

impl Inodes {
    /// A filler that holds nothing, in a folder of its own in `path`. With `keeps`, what is held stays when
    /// the filler ends.
    ///
    /// # Errors
    ///
    /// When `path` is no folder that can be filled.
    pub fn new(path: &Path, keeps: bool) -> Result<Inodes, Shortage> {
        Ok(Inodes { folder: Folder::claim(path, "plimsoll-hog-inodes")?, keeps, filled: 0 })
    }

    fn place(&self, number: u64) -> Place {
        let Some(number) = number.checked_sub(1) else { return Place::Root };
        let folder = self.folder.path().join(format!("{:06}", number / GROUP));
        match number % GROUP {
            0 => Place::Folder(folder),
            file => Place::File(folder.join(file.to_string())),
        }
    }

    fn make_next(&mut self) -> io::Result<()> {
        match self.place(self.filled) {
            Place::Root => self.folder.make()?,
            Place::Folder(path) => std::fs::create_dir(path)?,
            Place::File(path) => drop(OpenOptions::new().write(true).create_new(true).open(path)?),
        }
        self.filled += 1;
        Ok(())
    }

    fn remove_last(&mut self) -> io::Result<()> {
        match self.place(self.filled - 1) {
            Place::Root => self.folder.remove()?,
            Place::Folder(path) => std::fs::remove_dir(path)?,
            Place::File(path) => std::fs::remove_file(path)?,
        }
        self.filled -= 1;
        Ok(())
    }
}

impl Filler for Inodes {
    fn resource(&self) -> Resource {
        Resource::Inodes
    }

    fn unit(&self) -> Unit {
        Unit::Count
    }

    fn prepare(&mut self, _target: u64) -> Result<(), Shortage> {
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        for _ in 0..STEP.min(self.filled.saturating_sub(goal)) {
            self.remove_last().map_err(|error| Shortage::new("giving inodes back", error))?;
        }
        for _ in 0..STEP.min(goal.saturating_sub(self.filled)) {
            let number = self.filled + 1;
            self.make_next().map_err(|error| {
                Shortage::new(format!("taking inode {number} in {}", self.folder.path().display()), error)
            })?;
        }
        Ok(())
    }

    fn filled(&self) -> u64 {
        self.filled
    }

    /// Counts what is there, file by file.
    fn holds(&mut self) -> io::Result<u64> {
        if !self.folder.exists() {
            return Ok(0);
        }
        let mut count = 1;
        for entry in std::fs::read_dir(self.folder.path())? {
            count += 1;
            for file in std::fs::read_dir(entry?.path())? {
                file?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn release(&mut self) -> io::Result<()> {
        self.folder.remove()?;
        self.filled = 0;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.keeps { Ok(()) } else { self.release() }
    }
}
