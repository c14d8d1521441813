//! What is written where on a device, without taking memory for it.
//!
//! A stretch that was set to one value, or to the pattern, is kept as just that, however long it is, so that a card
//! of 80 GiB is written and compared byte for byte on a machine that has less. Only what is copied from the host
//! is kept as bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::kernels::{ELEMENT, element};

/// What a stretch is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fill {
    /// One word again and again, in step with addresses.
    Word(u32),
    /// The pattern, of which the element `first` lies at `base`.
    Pattern { seed: u32, base: u64, first: u64 },
    /// Bytes, the first of them at `base`.
    Bytes { base: u64, bytes: Arc<[u8]> },
}

#[derive(Clone, Debug)]
struct Stretch {
    end: u64,
    fill: Fill,
}

/// What a comparison with the pattern found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// How many elements differ.
    pub count: u64,
    /// The index of the first.
    pub first: Option<u64>,
}

/// The contents of a process's device memory, by address. What was never written reads as zeros.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    stretches: BTreeMap<u64, Stretch>,
    flips: BTreeMap<u64, u8>,
}

impl Contents {
    /// Which bytes read back with bits inverted: the mask of each, by address.
    pub fn set_flips(&mut self, flips: BTreeMap<u64, u8>) {
        self.flips = flips;
    }

    /// Forgets what is in a stretch.
    pub fn forget(&mut self, range: Range<u64>) {
        let overlapping: Vec<u64> = self
            .stretches
            .range(..range.end)
            .rev()
            .take_while(|(_, stretch)| stretch.end > range.start)
            .map(|(start, _)| *start)
            .collect();
        for start in overlapping {
            let Some(old) = self.stretches.remove(&start) else { continue };
            if start < range.start {
                self.stretches.insert(start, Stretch { end: range.start, fill: old.fill.clone() });
            }
            if old.end > range.end {
                self.stretches.insert(range.end, old);
            }
        }
    }

    fn put(&mut self, range: Range<u64>, fill: Fill) {
        if range.is_empty() {
            return;
        }
        self.forget(range.clone());
        self.stretches.insert(range.start, Stretch { end: range.end, fill });
    }

    /// Sets a stretch to one word, which lies in step with addresses that are multiples of four.
    pub fn set(&mut self, range: Range<u64>, word: u32) {
        self.put(range, Fill::Word(word));
    }

    /// Writes `count` elements of the pattern, the one of index `first` at `start`.
    pub fn fill(&mut self, start: u64, count: u64, first: u64, seed: u32) {
        self.put(start..start + count * ELEMENT, Fill::Pattern { seed, base: start, first });
    }

    /// Copies bytes from the host.
    pub fn copy_in(&mut self, start: u64, bytes: &[u8]) {
        self.put(start..start + bytes.len() as u64, Fill::Bytes { base: start, bytes: bytes.into() });
    }

    /// Bytes of the host's memory that are taken for what was copied in.
    pub fn host_bytes(&self) -> u64 {
        let length = |stretch: &Stretch| match &stretch.fill {
            Fill::Bytes { bytes, .. } => bytes.len() as u64,
            _ => 0,
        };
        self.stretches.values().map(length).sum()
    }

    /// Copies bytes to the host.
    pub fn copy_out(&self, start: u64, into: &mut [u8]) {
        into.fill(0);
        let end = start + into.len() as u64;
        for (from, stretch) in self.overlapping(start..end) {
            for address in from.max(start)..stretch.end.min(end) {
                into[(address - start) as usize] = byte(&stretch.fill, address);
            }
        }
        for (address, mask) in self.flips.range(start..end) {
            into[(address - start) as usize] ^= mask;
        }
    }

    /// Compares `count` elements from `start` with the pattern, of which the element `first` should lie there.
    pub fn compare(&self, start: u64, count: u64, first: u64, seed: u32) -> Difference {
        let end = start + count * ELEMENT;
        let mut found = Difference::default();
        let mut note = |from: u64, to: u64| {
            found.count += to - from;
            found.first = Some(found.first.map_or(first + from, |so_far| so_far.min(first + from)));
        };
        let wanted = Fill::Pattern { seed, base: start, first };
        // The elements that are one stretch of the right pattern are right without looking; all that lies between such is
        // looked at.
        let mut unseen = 0;
        for (from, stretch) in self.overlapping(start..end) {
            if !same_pattern(&stretch.fill, &wanted) {
                continue;
            }
            let from = (from.max(start) - start).div_ceil(ELEMENT);
            let to = (stretch.end.min(end) - start) / ELEMENT;
            self.differing(start, unseen..from, &wanted, &mut note);
            unseen = to.max(unseen);
            let mut flipped: Vec<u64> = self
                .flips
                .range(start + from * ELEMENT..(start + to * ELEMENT).max(start + from * ELEMENT))
                .filter(|(_, mask)| **mask != 0)
                .map(|(address, _)| (address - start) / ELEMENT)
                .collect();
            flipped.dedup();
            for index in flipped {
                note(index, index + 1);
            }
        }
        self.differing(start, unseen..count, &wanted, &mut note);
        found
    }

    /// Notes the elements of a range that are not as wanted.
    fn differing(&self, start: u64, range: Range<u64>, wanted: &Fill, note: &mut impl FnMut(u64, u64)) {
        let mut index = range.start;
        while index < range.end {
            let address = start + index * ELEMENT;
            // A stretch of one word, or of another pattern, or that was never written, differs in every element.
            let alike = match self.overlapping(address..address + ELEMENT).next() {
                Some((from, stretch)) if from <= address => match stretch.fill {
                    Fill::Bytes { .. } => address,
                    _ => stretch.end,
                },
                Some(_) => address,
                None => self.stretches.range(address..).next().map_or(u64::MAX, |(next, _)| *next),
            };
            let whole = ((alike.saturating_sub(start)) / ELEMENT).min(range.end);
            if whole > index {
                note(index, whole);
                index = whole;
                continue;
            }
            let mut here = [0; ELEMENT as usize];
            self.copy_out(address, &mut here);
            if (0..ELEMENT).any(|place| here[place as usize] != byte(wanted, address + place)) {
                note(index, index + 1);
            }
            index += 1;
        }
    }

    fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Stretch)> {
        let before = self
            .stretches
            .range(..range.start)
            .next_back()
            .filter(|(_, stretch)| stretch.end > range.start)
            .map_or(range.start, |(start, _)| *start);
        self.stretches.range(before..range.end).map(|(start, stretch)| (*start, stretch))
    }
}

fn byte(fill: &Fill, address: u64) -> u8 {
    match fill {
        Fill::Word(word) => word.to_le_bytes()[(address % 4) as usize],
        Fill::Pattern { seed, base, first } => {
            let place = address - base;
            element(*seed, first + place / ELEMENT)[(place % ELEMENT) as usize]
        }
        Fill::Bytes { base, bytes } => bytes[(address - base) as usize],
    }
}

/// Whether two patterns have the same element at each address.
fn same_pattern(one: &Fill, other: &Fill) -> bool {
    match (one, other) {
        (
            Fill::Pattern { seed, base, first },
            Fill::Pattern { seed: other_seed, base: other_base, first: other_first },
        ) => {
            // As differences in bytes, without going below zero.
            let (one, other) = (
                u128::from(*first) * u128::from(ELEMENT) + u128::from(*other_base),
                u128::from(*other_first) * u128::from(ELEMENT) + u128::from(*base),
            );
            seed == other_seed && one == other
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GI: u64 = 1 << 30;

    #[test]
    fn eighty_gibibytes_are_compared_without_taking_them() {
        let mut contents = Contents::default();
        let count = 80 * GI / ELEMENT;
        contents.fill(4096, count, 0, 7);
        assert_eq!(contents.compare(4096, count, 0, 7), Difference::default());
        assert_eq!(contents.compare(4096, count, 0, 8), Difference { count, first: Some(0) });
        assert_eq!(contents.compare(4096, count, 1, 7).count, count);
        // A part of it, with its own indices.
        assert_eq!(contents.compare(4096 + GI, 10, GI / ELEMENT, 7), Difference::default());
        contents.copy_in(4096 + 40 * GI, &[1, 2, 3]);
        let index = 40 * GI / ELEMENT;
        assert_eq!(contents.compare(4096, count, 0, 7), Difference { count: 1, first: Some(index) });
        contents.set_flips([(4096 + 3 * ELEMENT, 1), (4096 + 3 * ELEMENT + 5, 1)].into());
        assert_eq!(contents.compare(4096, count, 0, 7), Difference { count: 2, first: Some(3) });
        assert_eq!(contents.host_bytes(), 3);
    }

    #[test]
    fn what_was_freed_or_never_written_differs() {
        let mut contents = Contents::default();
        assert_eq!(contents.compare(0, 5, 0, 1), Difference { count: 5, first: Some(0) });
        contents.fill(0, 5, 0, 1);
        contents.forget(16..48);
        assert_eq!(contents.compare(0, 5, 0, 1), Difference { count: 2, first: Some(1) });
    }

    proptest! {
        /// Beside memory that is really taken.
        #[test]
        fn it_is_as_memory_would_be(
            writes in prop::collection::vec((0u64..60, 1u64..40, 0u8..4, any::<u32>()), 0..20),
            at in 0u64..30, count in 1u64..30, flip in 0u64..1000,
        ) {
            let mut contents = Contents::default();
            let mut memory = vec![0u8; 2048];
            for (start, length, kind, value) in writes {
                let (from, to) = (start * 16, ((start + length) * 16) as usize);
                match kind {
                    0 => {
                        contents.set(from..to as u64, value);
                        for word in memory[from as usize..to].chunks_exact_mut(4) { word.copy_from_slice(&value.to_le_bytes()); }
                    }
                    1 => {
                        contents.fill(from, length, start, value % 2);
                        for index in 0..length {
                            let place = (from + index * 16) as usize;
                            memory[place..place + 16].copy_from_slice(&element(value % 2, start + index));
                        }
                    }
                    2 => {
                        let bytes: Vec<u8> = (0..length * 3).map(|byte| byte as u8).collect();
                        contents.copy_in(from, &bytes);
                        memory[from as usize..][..bytes.len()].copy_from_slice(&bytes);
                    }
                    _ => {
                        contents.forget(from..to as u64);
                        memory[from as usize..to].fill(0);
                    }
                }
            }
            contents.set_flips([(flip, 0x10)].into());
            memory[flip as usize] ^= 0x10;
            let mut read = vec![0u8; 2048];
            contents.copy_out(0, &mut read);
            prop_assert_eq!(&read, &memory);
            let wrong: Vec<u64> = (0..count)
                .filter(|index| {
                    let place = ((at + index) * 16) as usize;
                    memory[place..place + 16] != element(1, at + index)
                })
                .map(|index| at + index)
                .collect();
            let found = contents.compare(at * 16, count, at, 1);
            prop_assert_eq!(found, Difference { count: wrong.len() as u64, first: wrong.first().copied() });
        }
    }
}
