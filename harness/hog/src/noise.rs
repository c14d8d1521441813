//! Bytes that no compression shrinks and no deduplication finds twice.

use std::io::{self, Read};

/// A stretch of noise. SplitMix64: short, fast, and the same for the same seed.
#[derive(Clone, Debug)]
pub struct Noise {
    state: u64,
    left: u64,
}

impl Noise {
    /// `length` bytes; another seed gives others.
    pub fn new(seed: u64, length: u64) -> Noise {
        Noise { state: seed, left: length }
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        for chunk in buffer[..length].chunks_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
        self.left -= length as u64;
        Ok(length)
    }
}
