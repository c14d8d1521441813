//! Memory that belongs to a file: page cache, which the kernel takes back when it needs memory, and
//! tmpfs, which it can not.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Advice, MemfdFlags, fadvise, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::filler::{Filler, Shortage};
use crate::report::{Form, Resource, Unit};

/// The most that one step takes.
const STEP: u64 = 8 << 20;
/// What is read or written at a time.
const BUFFER: usize = 64 << 10;

/// A filler of memory by way of a file without a name, which is gone when the filler is.
#[derive(Debug)]
pub struct FileMemory {
    form: Form,
    file: File,
    page: u64,
    filled: u64,
    buffer: Vec<u8>,
}

impl FileMemory {
    /// Page cache of a file in `path`. The file has holes only, so that it takes no disk space. With
    /// `active` it is read twice, which moves it to what the kubelet counts as the working set.
    ///
    /// # Errors
    ///
    /// When no file can be made there.
    pub fn page_cache(path: &Path, active: bool) -> Result<FileMemory, Shortage> {
        let file = nameless(path)?;
        // Nothing must be read ahead, or more would be taken than is due.
        fadvise(&file, 0, None, Advice::Random)
            .map_err(|error| Shortage::new("turning off read-ahead", error))?;
        let mut cache = FileMemory::new(if active { Form::ActivePageCache } else { Form::PageCache }, file);
        if !cache
            .fills()
            .map_err(|error| Shortage::new(format!("reading a file in {}", path.display()), error))?
        {
            let what = io::Error::other("its files have no page cache; is it a tmpfs?");
            return Err(Shortage::new(path.display().to_string(), what));
        }
        Ok(cache)
    }

    /// Memory of a file in a tmpfs that is mounted at `path`, or of none that is mounted.
    ///
    /// # Errors
    ///
    /// When no file can be made there.
    pub fn tmpfs(path: Option<&Path>) -> Result<FileMemory, Shortage> {
        let file = match path {
            Some(path) => nameless(path)?,
            None => memfd_create("plimsoll-hog", MemfdFlags::CLOEXEC)
                .map_err(|error| Shortage::new("making a file in memory", error))?
                .into(),
        };
        Ok(FileMemory::new(Form::Tmpfs, file))
    }

    fn new(form: Form, file: File) -> FileMemory {
        FileMemory { form, file, page: rustix::param::page_size() as u64, filled: 0, buffer: vec![0; BUFFER] }
    }

    /// Whether reading a page takes a page.
    fn fills(&mut self) -> io::Result<bool> {
        self.file.set_len(self.page)?;
        self.take(self.page)?;
        let pages = cached_pages(&self.file, self.page, self.page)?;
        self.cut(0)?;
        Ok(pages > 0)
    }

    fn take(&mut self, goal: u64) -> io::Result<()> {
        let end = goal.min(self.filled + STEP);
        while self.filled < end {
            let part = (end - self.filled).min(BUFFER as u64);
            let length = match self.form {
                Form::Tmpfs => {
                    for (page, bytes) in
                        (1..).zip(self.buffer[..part as usize].chunks_mut(self.page as usize))
                    {
                        bytes[..8].copy_from_slice(&(self.filled + page).to_le_bytes());
                    }
                    self.file.write_at(&self.buffer[..part as usize], self.filled)?
                }
                form => {
                    if form == Form::ActivePageCache {
                        self.file.read_at(&mut self.buffer[..part as usize], self.filled)?;
                    }
                    self.file.read_at(&mut self.buffer[..part as usize], self.filled)?
                }
            };
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.filled += length as u64;
        }
        Ok(())
    }

    fn cut(&mut self, goal: u64) -> io::Result<()> {
        self.file.set_len(goal)?;
        self.filled = goal;
        Ok(())
    }
}

/// A file in the folder `path` that has no name, and so ends with its last user.
fn nameless(path: &Path) -> Result<File, Shortage> {
    let file = path.join(format!(".plimsoll-hog-{}", std::process::id()));
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|open| std::fs::remove_file(&file).map(|()| open))
        .map_err(|error| Shortage::new(format!("making a file in {}", path.display()), error))
}

impl Filler for FileMemory {
    fn resource(&self) -> Resource {
        Resource::Memory
    }

    fn form(&self) -> Option<Form> {
        Some(self.form)
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn granule(&self) -> u64 {
        self.page
    }

    fn prepare(&mut self, target: u64) -> Result<(), Shortage> {
        if self.form != Form::Tmpfs && target > self.filled {
            return self
                .file
                .set_len(target)
                .map_err(|error| Shortage::new(format!("a file of {target} bytes"), error));
        }
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        if goal < self.filled {
            return self.cut(goal).map_err(|error| Shortage::new("giving memory back", error));
        }
        let from = self.filled;
        self.take(goal).map_err(|error| Shortage::new(format!("taking memory after {from} bytes"), error))
    }

    fn filled(&self) -> u64 {
        self.filled
    }

    fn holds(&mut self) -> io::Result<u64> {
        match self.form {
            Form::Tmpfs => Ok(self.file.metadata()?.blocks() * 512),
            _ => Ok(cached_pages(&self.file, self.filled, self.page)? * self.page),
        }
    }

    fn release(&mut self) -> io::Result<()> {
        self.cut(0)
    }
}

/// How many pages of the first `length` bytes of a file are in memory.
#[expect(unsafe_code, reason = "the kernel counts a file's pages by the address of a mapping")]
fn cached_pages(file: &File, length: u64, page: u64) -> io::Result<u64> {
    let (length, page) = (length as usize, page as usize);
    let mut states = [0u8; 16384];
    let mut pages = 0;
    for offset in (0..length).step_by(states.len() * page) {
        let part = (length - offset).min(states.len() * page);
        // SAFETY: A new mapping at an address of the kernel's choice, which is never read or written.
        let start: *mut c_void = unsafe {
            mmap(std::ptr::null_mut(), part, ProtFlags::READ, MapFlags::SHARED, file.as_fd(), offset as u64)
        }?;
        // SAFETY: The range is the mapping made above, and `states` has a byte for each of its pages.
        let counted = unsafe { libc::mincore(start, part, states.as_mut_ptr()) };
        let error = io::Error::last_os_error();
        // SAFETY: The mapping made above, to which nothing refers.
        unsafe { munmap(start, part) }?;
        if counted != 0 {
            return Err(error);
        }
        pages += states[..part.div_ceil(page)].iter().filter(|state| **state & 1 == 1).count() as u64;
    }
    Ok(pages)
}
