//! Disk space: files of a folder, written with noise and synced, or only allocated.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, statvfs};

use crate::filler::{Filler, Shortage};
use crate::folder::Folder;
use crate::noise::Noise;
use crate::report::{Form, Resource, Unit};

/// How large each file gets.
const FILE: u64 = 64 << 20;
/// The most that one step writes.
const STEP: u64 = 4 << 20;
/// How much may be written before it is synced, so that dirty pages do not pile up.
const SYNC: u64 = 16 << 20;
/// What is written at a time.
const BUFFER: usize = 128 << 10;

/// A filler of disk space.
#[derive(Debug)]
pub struct Disk {
    folder: Folder,
    allocates: bool,
    keeps: bool,
    block: u64,
    filled: u64,
    unsynced: u64,
    current: Option<(u64, File)>,
    noise: Vec<u8>,
}

impl Disk {
    /// A filler that holds nothing, in a folder of its own in `path`. With `allocates`, space is taken
    /// without being written; with `keeps`, what is held stays when the filler ends.
    ///
    /// # Errors
    ///
    /// When `path` is no folder that can be filled.
    pub fn new(path: &Path, allocates: bool, keeps: bool) -> Result<Disk, Shortage> {
        let folder = Folder::claim(path, "plimsoll-hog-disk")?;
        let block = statvfs(path)
            .map_err(|error| Shortage::new(format!("filling {}", path.display()), error))?
            .f_frsize;
        let mut noise = vec![0; if allocates { 0 } else { BUFFER }];
        Noise::new(u64::from(std::process::id()), u64::MAX)
            .read_exact(&mut noise)
            .map_err(|error| Shortage::new("making noise", error))?;
        Ok(Disk {
            folder,
            allocates,
            keeps,
            block: block.max(1),
            filled: 0,
            unsynced: 0,
            current: None,
            noise,
        })
    }

    fn file_path(&self, index: u64) -> PathBuf {
        self.folder.path().join(format!("{index:06}"))
    }

    fn open(&mut self, index: u64) -> io::Result<&File> {
        if self.current.as_ref().is_none_or(|(open, _)| *open != index) {
            self.sync()?;
            let file =
                OpenOptions::new().write(true).create(true).truncate(false).open(self.file_path(index))?;
            self.current = Some((index, file));
        }
        self.current.as_ref().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes what was written stay, and gives its pages in memory back.
    fn sync(&mut self) -> io::Result<()> {
        if let Some((_, file)) = &self.current
            && self.unsynced > 0
        {
            rustix::fs::fdatasync(file)?;
            fadvise(file, 0, None, Advice::DontNeed)?;
        }
        self.unsynced = 0;
        Ok(())
    }

    fn shrink(&mut self, goal: u64) -> io::Result<()> {
        while self.filled > goal {
            let index = (self.filled - 1) / FILE;
            let kept = goal.saturating_sub(index * FILE);
            if kept == 0 {
                self.current = None;
                std::fs::remove_file(self.file_path(index))?;
            } else {
                self.open(index)?.set_len(kept)?;
            }
            self.filled = index * FILE + kept;
        }
        Ok(())
    }

    /// Takes space in one file, to its end or to `goal`.
    fn grow(&mut self, goal: u64) -> io::Result<()> {
        self.folder.make()?;
        let (index, offset) = (self.filled / FILE, self.filled % FILE);
        let length = (goal - self.filled).min(FILE - offset);
        if self.allocates {
            fallocate(self.open(index)?.as_fd(), FallocateFlags::empty(), offset, length)?;
            self.filled += length;
            return Ok(());
        }
        let mut length = length.min(STEP);
        while length > 0 {
            let part = length.min(BUFFER as u64);
            let mut noise = std::mem::take(&mut self.noise);
            // No two blocks of the fill are alike.
            for (block, bytes) in noise[..part as usize].chunks_mut(self.block.max(8) as usize).enumerate() {
                let stamp = (self.filled + block as u64).to_le_bytes();
                let stamped = bytes.len().min(stamp.len());
                bytes[..stamped].copy_from_slice(&stamp[..stamped]);
            }
            let offset = self.filled % FILE;
            let written = self.open(index).and_then(|file| file.write_at(&noise[..part as usize], offset));
            self.noise = noise;
            let written = written? as u64;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.filled += written;
            self.unsynced += written;
            length -= written;
        }
        if self.unsynced >= SYNC {
            self.sync()?;
        }
        Ok(())
    }
}

impl Filler for Disk {
    fn resource(&self) -> Resource {
        Resource::Disk
    }

    fn form(&self) -> Option<Form> {
        Some(if self.allocates { Form::Allocated } else { Form::Written })
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn granule(&self) -> u64 {
        self.block
    }

    fn prepare(&mut self, _target: u64) -> Result<(), Shortage> {
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        if goal < self.filled {
            return self.shrink(goal).map_err(|error| Shortage::new("giving disk space back", error));
        }
        let from = self.filled;
        self.grow(goal).map_err(|error| {
            Shortage::new(
                format!("taking disk space in {} after {from} bytes", self.folder.path().display()),
                error,
            )
        })
    }

    fn settle(&mut self) -> Result<(), Shortage> {
        self.sync().map_err(|error| Shortage::new("syncing", error))
    }

    fn filled(&self) -> u64 {
        self.filled
    }

    fn holds(&mut self) -> io::Result<u64> {
        let mut blocks = 0;
        for index in 0..self.filled.div_ceil(FILE) {
            blocks += std::fs::metadata(self.file_path(index))?.blocks();
        }
        Ok(blocks * 512)
    }

    fn release(&mut self) -> io::Result<()> {
        (self.current, self.filled, self.unsynced) = (None, 0, 0);
        self.folder.remove()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.keeps { self.sync() } else { self.release() }
    }
}
