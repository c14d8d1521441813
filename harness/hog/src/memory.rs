//! Anonymous memory: every page touched, none alike, none shared, counted page by page.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{self, Advice, MapFlags, MlockFlags, ProtFlags};

use crate::filler::{Filler, Shortage};
use crate::report::{Form, Resource, Unit};

/// The most that one step takes; at a few GiB a second this stays in the order of ten milliseconds.
const STEP: usize = 16 << 20;

/// Where the kernel may use one huge page. A block that is filled in parts is kept on small pages, so
/// that touching its first byte does not take all of it; one that is filled whole may be huge.
const BLOCK: usize = 2 << 20;

/// A filler of anonymous memory.
#[derive(Debug)]
pub struct Memory {
    page: usize,
    lock: bool,
    populates: bool,
    regions: Vec<Region>,
}

/// One private anonymous mapping, of which the first `touched` bytes are taken.
#[derive(Debug)]
struct Region {
    start: NonNull<c_void>,
    length: usize,
    touched: usize,
}

impl Memory {
    /// A filler that holds nothing. With `lock`, what it takes can not be swapped out.
    pub fn new(lock: bool) -> Memory {
        Memory { page: rustix::param::page_size(), lock, populates: true, regions: Vec::new() }
    }

    fn capacity(&self) -> usize {
        self.regions.iter().map(|region| region.length).sum()
    }

    fn touched(&self) -> usize {
        self.regions.iter().map(|region| region.touched).sum()
    }

    /// Gives back what lies above `goal`, to the start of the block that `goal` is in; the next steps
    /// take the rest of that block again, on small pages. Cutting a huge page would give nothing back.
    fn shrink(&mut self, goal: usize) -> Result<(), Shortage> {
        let mut excess = self.touched() - goal;
        for region in self.regions.iter_mut().rev() {
            if excess == 0 {
                break;
            }
            let kept = region.touched.saturating_sub(excess);
            excess -= region.touched - kept;
            region
                .cut(region.block_start(kept), self.lock)
                .map_err(|error| Shortage::new("giving memory back", error))?;
        }
        Ok(())
    }

    fn grow(&mut self, goal: usize) -> Result<(), Shortage> {
        let mut missing = (goal - self.touched()).min(STEP);
        let mut stamp = self.touched() / self.page;
        for region in &mut self.regions {
            let part = missing.min(region.length - region.touched);
            if part == 0 {
                continue;
            }
            let (from, to) = (region.touched, region.touched + part);
            region.keep_parts_small(from, to);
            if self.populates && part > self.page {
                self.populates = region.populate(from, to)?;
            }
            for offset in (from..to).step_by(self.page) {
                stamp += 1;
                region.stamp(offset, stamp);
                region.touched = offset + self.page;
            }
            if self.lock {
                region.lock(from, to)?;
            }
            missing -= part;
        }
        Ok(())
    }
}

impl Filler for Memory {
    fn resource(&self) -> Resource {
        Resource::Memory
    }

    fn form(&self) -> Option<Form> {
        Some(Form::Anonymous)
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn granule(&self) -> u64 {
        self.page as u64
    }

    fn prepare(&mut self, target: u64) -> Result<(), Shortage> {
        let wanted = usize::try_from(target)
            .map_err(|_| Shortage::new(format!("mapping {target} bytes"), rustix::io::Errno::NOMEM))?;
        let missing = wanted.saturating_sub(self.capacity());
        if missing > 0 {
            self.regions.push(Region::map(missing)?);
        }
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        let goal = usize::try_from(goal).unwrap_or(usize::MAX).min(self.capacity());
        if goal < self.touched() {
            self.shrink(goal)?;
        }
        self.grow(goal)
    }

    fn filled(&self) -> u64 {
        self.touched() as u64
    }

    fn holds(&mut self) -> io::Result<u64> {
        let mut pages = 0;
        for region in &self.regions {
            pages += region.resident(self.page)?;
        }
        Ok(pages * self.page as u64)
    }

    fn release(&mut self) -> io::Result<()> {
        self.regions.clear();
        Ok(())
    }
}

#[expect(unsafe_code, reason = "memory is mapped, written and counted through its address")]
impl Region {
    fn map(length: usize) -> Result<Region, Shortage> {
        // Without a reservation the kernel's overcommit heuristic does not refuse what could be had.
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: A new mapping at an address of the kernel's choice touches no memory that exists.
        let start = unsafe {
            mm::mmap_anonymous(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, flags)
        }
        .map_err(|error| Shortage::new(format!("mapping {length} bytes"), error))?;
        let start =
            NonNull::new(start).ok_or_else(|| Shortage::new("mapping memory", rustix::io::Errno::FAULT))?;
        Ok(Region { start, length, touched: 0 })
    }

    /// The address `offset` bytes into the mapping.
    fn at(&self, offset: usize) -> *mut c_void {
        assert!(offset <= self.length, "an offset outside the mapping");
        self.start.as_ptr().wrapping_byte_add(offset)
    }

    /// How far the address at `offset` is into its block.
    fn offset_in_block(&self, offset: usize) -> usize {
        self.at(offset).addr() % BLOCK
    }

    /// The start of the block that `offset` is in, as far as it lies in the mapping.
    fn block_start(&self, offset: usize) -> usize {
        offset.saturating_sub(self.offset_in_block(offset))
    }

    /// The first end of a block from `offset` on, as far as it lies in the mapping.
    fn block_end(&self, offset: usize) -> usize {
        (offset + (BLOCK - self.offset_in_block(offset)) % BLOCK).min(self.length)
    }

    /// Keeps the blocks that `from..to` covers only in part on small pages.
    fn keep_parts_small(&self, from: usize, to: usize) {
        let (whole_from, whole_to) = (self.block_end(from), self.block_start(to));
        if whole_from >= whole_to {
            self.small_pages(from, to);
        } else {
            self.small_pages(from, whole_from);
            self.small_pages(whole_to, to);
        }
    }

    fn small_pages(&self, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let (from, to) = (self.block_start(from), self.block_end(to));
        let address = self.at(from);
        // SAFETY: The range lies within this mapping, and the advice changes no contents. A kernel
        // without huge pages refuses it, and needs it as little.
        let _ = unsafe { mm::madvise(address, to - from, Advice::LinuxNoHugepage) };
    }

    /// Takes `from..to` in one call, which is faster than a fault for each page. Answers whether the
    /// kernel knows how to (since 5.14).
    fn populate(&self, from: usize, to: usize) -> Result<bool, Shortage> {
        let address = self.at(from);
        // SAFETY: The range lies within this mapping; populating it keeps what it contains.
        match unsafe { mm::madvise(address, to - from, Advice::LinuxPopulateWrite) } {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::INVAL) => Ok(false),
            // A signal came in between; the pages are touched one by one then.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Ok(true),
            Err(error) => Err(Shortage::new(format!("taking {} bytes", to - from), error)),
        }
    }

    /// Writes a number that no other page has, so that no two pages can be made one.
    fn stamp(&self, offset: usize, number: usize) {
        assert!(offset + size_of::<usize>() <= self.length, "a page outside the mapping");
        let address = self.at(offset).cast::<usize>();
        // SAFETY: The mapping is writable, the assertion keeps the address inside it, pages are aligned
        // for any number, and nothing else refers to this memory.
        unsafe { address.write_volatile(number) };
    }

    fn lock(&self, from: usize, to: usize) -> Result<(), Shortage> {
        let address = self.at(from);
        // SAFETY: The range lies within this mapping, which exists until it is dropped.
        unsafe { mm::mlock_with(address, to - from, MlockFlags::empty()) }.map_err(|error| {
            Shortage::new(format!("locking {} bytes in memory (ulimit -l)", to - from), error)
        })
    }

    /// Gives back everything from `offset` on and keeps the addresses.
    fn cut(&mut self, offset: usize, locked: bool) -> rustix::io::Result<()> {
        let (address, length) = (self.at(offset), self.touched.saturating_sub(offset));
        if length == 0 {
            return Ok(());
        }
        if locked {
            // SAFETY: The range lies within this mapping.
            unsafe { mm::munlock(address, length) }?;
        }
        // SAFETY: The range lies within this mapping, and nothing refers to what it contained.
        unsafe { mm::madvise(address, length, Advice::LinuxDontNeed) }?;
        self.touched = offset;
        Ok(())
    }

    /// How many pages of the mapping are in memory.
    fn resident(&self, page: usize) -> io::Result<u64> {
        let mut states = [0u8; 16384];
        let mut pages = 0;
        for offset in (0..self.length).step_by(states.len() * page) {
            let length = (self.length - offset).min(states.len() * page);
            let address = self.at(offset);
            // SAFETY: The range lies within this mapping, starts at a page, and `states` has room for
            // one byte for each of its pages.
            if unsafe { libc::mincore(address, length, states.as_mut_ptr()) } != 0 {
                return Err(io::Error::last_os_error());
            }
            pages += states[..length.div_ceil(page)].iter().filter(|state| **state & 1 == 1).count() as u64;
        }
        Ok(pages)
    }
}

#[expect(unsafe_code, reason = "memory is given back through its address")]
impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: The mapping is this region's own, and nothing refers to it any more. It can not fail
        // for a range that is one whole mapping.
        let _ = unsafe { mm::munmap(self.start.as_ptr(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(memory: &mut Memory, goal: u64) {
        memory.prepare(goal).unwrap();
        while memory.filled() != goal {
            memory.advance(goal).unwrap();
        }
    }

    #[test]
    fn it_holds_what_it_says_to_the_page_on_any_way_up_and_down() {
        let mut memory = Memory::new(false);
        let page = memory.granule();
        // Odd goals, within blocks and across them, growing past what was mapped first.
        for pages in [1, 700, 699, 5_000, 513, 0, 12_345, 12_345, 3] {
            fill(&mut memory, pages * page);
            assert_eq!(memory.holds().unwrap(), pages * page);
        }
        memory.release().unwrap();
        assert_eq!((memory.filled(), memory.holds().unwrap()), (0, 0));
    }

    #[test]
    fn small_steps_take_no_more_than_they_should() {
        let mut memory = Memory::new(false);
        let page = memory.granule();
        memory.prepare(3_000 * page).unwrap();
        for pages in (1..3_000).step_by(37) {
            memory.advance(pages * page).unwrap();
            assert_eq!(memory.holds().unwrap(), pages * page);
        }
    }

    #[test]
    fn huge_pages_take_nothing_that_is_not_filled() {
        let mut memory = Memory::new(false);
        let page = memory.granule();
        memory.prepare(40_000 * page).unwrap();
        memory.regions[0].wish_for_huge_pages();
        for pages in [1, 30, 1_500, 9_000, 9_001, 30_000, 20_011, 20_012, 40_000] {
            fill(&mut memory, pages * page);
            assert_eq!(memory.holds().unwrap(), pages * page);
        }
    }

    #[expect(unsafe_code, reason = "advice is given by address")]
    impl Region {
        /// As on a machine whose administrator wants huge pages everywhere.
        fn wish_for_huge_pages(&self) {
            // SAFETY: The range is this mapping, and the advice changes no contents. Where there are no
            // huge pages it is refused, and the test still holds.
            let _ = unsafe { mm::madvise(self.at(0), self.length, Advice::LinuxHugepage) };
        }
    }

    #[test]
    fn what_no_address_space_has_room_for_is_a_shortage() {
        let error = Memory::new(false).prepare(1 << 60).unwrap_err();
        assert!(error.to_string().starts_with("mapping 1152921504606846976 bytes: "), "{error}");
    }
}
