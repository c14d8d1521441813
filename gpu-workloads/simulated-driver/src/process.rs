//! Contexts, allocations and modules of the calling process.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::codes::{self, CudaCode};
use crate::contents::Contents;
use crate::kernels::Kernel;
use crate::ledger::{Client, Holding, Ledger};
use crate::node::{Device, FILE, FOLDER, Node};

/// What an allocation takes is a multiple of this; smaller ones share such a block.
const BLOCK: u64 = 2 << 20;
/// Allocations below this share blocks.
const SMALL: u64 = 1 << 20;
/// The least distance of two allocations.
const ALIGNMENT: u64 = 512;
/// Where a process sees the memory of its first device. No host address lies there, so whoever uses one by
/// mistake faults, as with a real device.
const FIRST: u64 = 0x00a0_0000_0000_0000;
/// How far apart the addresses of two devices are.
const APART: u64 = 1 << 44;
/// What is copied from the host is really kept; this much of it at most.
const MOST_COPIED: u64 = 256 << 20;

/// All that a process knows of the node's devices.
#[derive(Debug)]
pub struct Process {
    folder: PathBuf,
    ledger: Ledger,
    node: Node,
    read: (u64, i64, i64),
    contexts: BTreeMap<usize, Context>,
    allocations: BTreeMap<u64, u64>,
    leaked: BTreeMap<usize, u64>,
    contents: Contents,
    modules: BTreeMap<u64, Vec<String>>,
    functions: Vec<(u64, Option<Kernel>)>,
    next: u64,
    busy_until: BTreeMap<usize, Instant>,
}

#[derive(Debug)]
struct Context {
    retained: u32,
    ecc_uncorrected: u64,
}

static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The device of the calling thread's current context.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// Makes a device's context the calling thread's current one.
pub fn set_current(device: Option<usize>) {
    CURRENT.set(device);
}

/// The process, opened if it is not yet.
///
/// # Errors
///
/// When no node is named or its description can not be read; the message says so on standard error, once.
pub fn process() -> io::Result<Guard> {
    let mut guard = PROCESS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if guard.is_none() {
        *guard = Some(Process::open()?);
    }
    Ok(Guard(guard))
}

/// The process, for the calling thread alone.
#[derive(Debug)]
pub struct Guard(MutexGuard<'static, Option<Process>>);

impl Guard {
    /// The process.
    pub fn get(&mut self) -> Result<&mut Process, CudaCode> {
        self.0.as_mut().ok_or(codes::ERROR_NOT_INITIALIZED)
    }
}

impl Process {
    fn open() -> io::Result<Process> {
        let folder = PathBuf::from(std::env::var_os(FOLDER).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{FOLDER} is not set; it names the folder of a simulated node, with its {FILE}"),
            )
        })?);
        let node = Node::read(&folder)?;
        Ok(Process {
            ledger: Ledger::open(&folder)?,
            folder,
            node,
            read: (0, 0, 0),
            contexts: BTreeMap::new(),
            allocations: BTreeMap::new(),
            leaked: BTreeMap::new(),
            contents: Contents::default(),
            modules: BTreeMap::new(),
            functions: Vec::new(),
            next: 1,
            busy_until: BTreeMap::new(),
        })
    }

    /// The node as it is described now. A description that can not be read leaves the last one in force.
    pub fn node(&mut self) -> &Node {
        if let Ok(metadata) = std::fs::metadata(self.folder.join(FILE)) {
            let read = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
            if read != self.read
                && let Ok(node) = Node::read(&self.folder)
            {
                let flips = node.devices.iter().enumerate().flat_map(|(index, device)| {
                    let base = base(index);
                    device.faults.flipped.iter().map(move |flip| (base + flip.at, flip.mask))
                });
                self.contents.set_flips(flips.collect());
                (self.node, self.read) = (node, read);
            }
        }
        &self.node
    }

    /// A device.
    pub fn device(&mut self, index: usize) -> Result<&Device, CudaCode> {
        self.node().devices.get(index).ok_or(codes::ERROR_INVALID_DEVICE)
    }

    /// Makes a context on a device, or one use more of the one there.
    pub fn retain(&mut self, index: usize) -> Result<(), CudaCode> {
        let device = self.device(index)?.clone();
        if let Some(context) = self.contexts.get_mut(&index) {
            context.retained += 1;
            return Ok(());
        }
        if device.faults.lost {
            return Err(codes::ERROR_UNKNOWN);
        }
        if device.faults.busy {
            return Err(codes::ERROR_DEVICE_UNAVAILABLE);
        }
        let context = Context { retained: 1, ecc_uncorrected: device.faults.ecc_uncorrected };
        self.contexts.insert(index, context);
        self.settle(index, &device).inspect_err(|_| {
            self.contexts.remove(&index);
        })
    }

    /// One use of a context less; with the last it goes, and all that was allocated in it.
    pub fn release(&mut self, index: usize) -> Result<(), CudaCode> {
        let device = self.device(index)?.clone();
        let context = self.contexts.get_mut(&index).ok_or(codes::ERROR_INVALID_CONTEXT)?;
        context.retained -= 1;
        if context.retained > 0 {
            return Ok(());
        }
        self.contexts.remove(&index);
        let range = base(index)..base(index) + APART;
        self.allocations.retain(|start, _| !range.contains(start));
        self.contents.forget(range);
        self.settle(index, &device)
    }

    /// The device of the current context, if that can be used.
    pub fn usable(&mut self) -> Result<usize, CudaCode> {
        let index = current().ok_or(codes::ERROR_INVALID_CONTEXT)?;
        let faults = self.device(index)?.faults.clone();
        let context = self.contexts.get(&index).ok_or(codes::ERROR_INVALID_CONTEXT)?;
        if faults.lost {
            return Err(codes::ERROR_LAUNCH_FAILED);
        }
        if faults.ecc_uncorrected > context.ecc_uncorrected {
            return Err(codes::ERROR_ECC_UNCORRECTABLE);
        }
        Ok(index)
    }

    /// Free bytes and all bytes of the current device.
    pub fn memory(&mut self) -> Result<(u64, u64), CudaCode> {
        let index = self.usable()?;
        let total = self.device(index)?.memory;
        let used = self.used(index).map_err(|_| codes::ERROR_OPERATING_SYSTEM)?;
        Ok((total.saturating_sub(used), total))
    }

    /// Bytes that all processes hold of a device.
    ///
    /// # Errors
    ///
    /// When the ledger can not be read.
    pub fn used(&mut self, index: usize) -> io::Result<u64> {
        self.ledger.hold()?.used(index)
    }

    /// The processes that have a context on a device.
    ///
    /// # Errors
    ///
    /// When the ledger can not be read.
    pub fn clients(&mut self, index: usize) -> io::Result<Vec<Client>> {
        self.ledger.hold()?.clients(index)
    }

    /// Allocates on the current device.
    pub fn allocate(&mut self, size: u64) -> Result<u64, CudaCode> {
        let index = self.usable()?;
        if size == 0 {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        let device = self.device(index)?.clone();
        let start = self.gap(index, size).ok_or(codes::ERROR_OUT_OF_MEMORY)?;
        self.allocations.insert(start, size);
        self.settle(index, &device).inspect_err(|_| {
            self.allocations.remove(&start);
        })?;
        Ok(start)
    }

    /// Frees an allocation of any device.
    pub fn free(&mut self, start: u64) -> Result<(), CudaCode> {
        self.usable()?;
        let size = self.allocations.remove(&start).ok_or(codes::ERROR_INVALID_VALUE)?;
        let index = ((start - FIRST) / APART) as usize;
        let device = self.device(index)?.clone();
        *self.leaked.entry(index).or_default() += device.faults.leak;
        self.contents.forget(start..start + size);
        self.settle(index, &device)
    }

    /// The first gap between allocations that is large enough.
    fn gap(&self, index: usize, size: u64) -> Option<u64> {
        let (from, end) = (base(index), base(index) + APART);
        let mut free = from;
        for (start, length) in self.allocations.range(from..end) {
            if start - free >= size {
                break;
            }
            free = (start + length).next_multiple_of(ALIGNMENT);
        }
        (size <= end - free).then_some(free)
    }

    /// What this process takes of a device.
    fn taken(&self, index: usize, device: &Device) -> u64 {
        let sizes = || self.allocations.range(base(index)..base(index) + APART).map(|(_, size)| *size);
        let large: u64 = sizes().filter(|size| *size >= SMALL).map(|size| size.next_multiple_of(BLOCK)).sum();
        let small: u64 =
            sizes().filter(|size| *size < SMALL).map(|size| size.next_multiple_of(ALIGNMENT)).sum();
        let context = if self.contexts.contains_key(&index) { device.context_memory } else { 0 };
        large + small.next_multiple_of(BLOCK) + context + self.leaked.get(&index).copied().unwrap_or(0)
    }

    /// Writes down what this process holds of a device now, unless that is more than the device has.
    fn settle(&mut self, index: usize, device: &Device) -> Result<(), CudaCode> {
        let failed = |_| codes::ERROR_OPERATING_SYSTEM;
        let count = self.node.devices.len();
        let taken: Vec<u64> = (0..count).map(|index| self.taken(index, &self.node.devices[index])).collect();
        let contexts = (0..count).map(|index| self.contexts.contains_key(&index)).collect();
        let mut ledger = self.ledger.hold().map_err(failed)?;
        let before = ledger.own();
        let others = ledger.used(index).map_err(failed)?
            - before.as_ref().map_or(0, |own| own.used.get(index).copied().unwrap_or(0));
        let more = taken[index] > before.map_or(0, |own| own.used.get(index).copied().unwrap_or(0));
        if more && others + taken[index] > device.memory {
            return Err(codes::ERROR_OUT_OF_MEMORY);
        }
        ledger.record(Holding { pid: std::process::id(), used: taken, contexts }).map_err(failed)
    }

    /// Checks that a stretch lies in one allocation of the current device and answers that device.
    pub fn within(&mut self, start: u64, length: u64) -> Result<usize, CudaCode> {
        let index = self.usable()?;
        let (from, size) = self.allocations.range(..=start).next_back().ok_or(codes::ERROR_INVALID_VALUE)?;
        let end = start.checked_add(length).ok_or(codes::ERROR_INVALID_VALUE)?;
        let mine = base(index)..base(index) + APART;
        if end > from + size || !mine.contains(from) {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        Ok(index)
    }

    /// What is written where.
    pub fn contents(&mut self) -> &mut Contents {
        &mut self.contents
    }

    /// Copies bytes from the host.
    pub fn copy_in(&mut self, start: u64, bytes: &[u8]) -> Result<(), CudaCode> {
        self.within(start, bytes.len() as u64)?;
        if self.contents.host_bytes() + bytes.len() as u64 > MOST_COPIED {
            return Err(codes::ERROR_NOT_SUPPORTED);
        }
        self.contents.copy_in(start, bytes);
        Ok(())
    }

    /// Sets a stretch to one word.
    pub fn set(&mut self, range: Range<u64>, word: u32) -> Result<(), CudaCode> {
        let index = self.within(range.start, range.end - range.start)?;
        self.contents.set(range.clone(), word);
        self.take_time(index, range.end - range.start)
    }

    /// The device is at work for as long as moving these bytes takes.
    pub fn take_time(&mut self, index: usize, bytes: u64) -> Result<(), CudaCode> {
        let device = self.device(index)?;
        let slower = u128::from(device.faults.slower.unwrap_or(1).max(1));
        let nanoseconds = u128::from(bytes) * 1_000_000_000 * slower / u128::from(device.memory_bandwidth);
        self.work(index, Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)));
        Ok(())
    }

    /// The device is at work for this long, after what it has been given before.
    pub fn work(&mut self, index: usize, duration: Duration) {
        let until = self.busy_until.entry(index).or_insert_with(Instant::now);
        *until = (*until).max(Instant::now()) + duration;
    }

    /// When the device will have done what it has been given.
    pub fn done_at(&self, index: usize) -> Option<Instant> {
        self.busy_until.get(&index).copied()
    }

    /// Takes a module's text and answers its handle.
    pub fn load(&mut self, text: &str) -> Result<u64, CudaCode> {
        self.usable()?;
        let entries: Vec<String> = text
            .split(".entry")
            .skip(1)
            .filter_map(|after| after.split('(').next().map(|name| name.trim().to_owned()))
            .collect();
        if !text.contains(".version") || !text.contains(".target") || entries.is_empty() {
            return Err(codes::ERROR_INVALID_PTX);
        }
        let handle = self.next;
        self.next += 1;
        self.modules.insert(handle, entries);
        Ok(handle)
    }

    /// The handle of a module's kernel.
    pub fn function(&mut self, module: u64, name: &str) -> Result<u64, CudaCode> {
        let entries = self.modules.get(&module).ok_or(codes::ERROR_INVALID_HANDLE)?;
        if !entries.iter().any(|entry| entry == name) {
            return Err(codes::ERROR_NOT_FOUND);
        }
        self.functions.push((module, Kernel::by_name(name)));
        Ok(self.functions.len() as u64)
    }

    /// The kernel behind a handle.
    pub fn kernel(&self, function: u64) -> Result<Kernel, CudaCode> {
        let place = usize::try_from(function).ok().and_then(|number| number.checked_sub(1));
        let (module, kernel) =
            place.and_then(|place| self.functions.get(place)).ok_or(codes::ERROR_INVALID_HANDLE)?;
        if !self.modules.contains_key(module) {
            return Err(codes::ERROR_INVALID_HANDLE);
        }
        kernel.ok_or(codes::ERROR_NOT_SUPPORTED)
    }

    /// Drops a module.
    pub fn unload(&mut self, module: u64) -> Result<(), CudaCode> {
        self.modules.remove(&module).map(drop).ok_or(codes::ERROR_INVALID_HANDLE)
    }
}

/// Where a process sees a device's memory.
pub fn base(index: usize) -> u64 {
    FIRST + index as u64 * APART
}
