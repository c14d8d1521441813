//! What the kernels that this driver knows do. It does not run their code; it knows them by name.
//!
//! A kernel that is not among them answers `CUDA_ERROR_NOT_SUPPORTED` when it is launched.

/// Bytes of one element of the pattern.
pub const ELEMENT: u64 = 16;

/// A kernel that this driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `plimsoll_fill(pointer: u64, count: u64, first: u64, seed: u32)`: writes `count` elements of the pattern.
    Fill,
    /// `plimsoll_verify(pointer: u64, count: u64, first: u64, seed: u32, result: u64)`: compares `count` elements with the
    /// pattern. Adds to the first 8 bytes of `result` how many differ, and lowers the second 8 to the least index
    /// that does.
    Verify,
    /// `plimsoll_busy(nanoseconds: u64, sink: u64)`: computes for that long.
    Busy,
}

impl Kernel {
    /// The kernel of this name.
    pub fn by_name(name: &str) -> Option<Kernel> {
        match name {
            "plimsoll_fill" => Some(Kernel::Fill),
            "plimsoll_verify" => Some(Kernel::Verify),
            "plimsoll_busy" => Some(Kernel::Busy),
            _ => None,
        }
    }
}

/// The element of the pattern at an index. Two seeds differ in every element, and no element is four times one word.
pub fn element(seed: u32, index: u64) -> [u8; ELEMENT as usize] {
    let (low, high) = (index as u32, (index >> 32) as u32);
    let mut word = low.wrapping_mul(0x9e37_79b1) ^ high.wrapping_mul(0x85eb_ca6b) ^ seed;
    word ^= word >> 16;
    word = word.wrapping_mul(0x85eb_ca6b);
    word ^= word >> 13;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^= word >> 16;
    let turned = word.rotate_left(16);
    let mut bytes = [0; ELEMENT as usize];
    for (part, word) in bytes.chunks_exact_mut(4).zip([word, !word, turned, !turned]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
