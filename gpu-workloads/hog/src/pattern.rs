//! What is written to a card's memory, so that whatever reads back can be told from what should.
//!
//! `kernels.ptx` computes the same on the device. Each element depends on its index, so that memory that is seen at two
//! addresses is noticed, and has as many ones as zeros, so that each line carries both.

/// Bytes of one element.
pub const ELEMENT: u64 = 16;

/// The element at an index. Two seeds differ in every element.
pub fn element(seed: u32, index: u64) -> [u8; ELEMENT as usize] {
    // The finalizer of MurmurHash3: every bit of the index has a part in every bit of the word.
    let (low, high) = (index as u32, (index >> 32) as u32);
    let mut word = low.wrapping_mul(0x9e37_79b1) ^ high.wrapping_mul(0x85eb_ca6b) ^ seed;
    word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^= word >> 16;
    let turned = word.rotate_left(16);
    let mut bytes = [0; ELEMENT as usize];
    bytes[0..4].copy_from_slice(&word.to_le_bytes());
    bytes[4..8].copy_from_slice(&(!word).to_le_bytes());
    bytes[8..12].copy_from_slice(&turned.to_le_bytes());
    bytes[12..16].copy_from_slice(&(!turned).to_le_bytes());
    bytes
}

/// How many elements at `bytes`, the first of index `first`, are not as they should be.
pub fn differing(bytes: &[u8], seed: u32, first: u64) -> u64 {
    let elements = bytes.chunks_exact(ELEMENT as usize).zip(first..);
    elements.filter(|(found, index)| *found != element(seed, *index)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn seeds_and_indices_differ_and_ones_are_half(seed: u32, other: u32, index: u64) {
            let here = element(seed, index);
            prop_assert_eq!(here.iter().map(|byte| byte.count_ones()).sum::<u32>(), 64);
            prop_assert_ne!(here, element(seed, index ^ 1));
            prop_assert_eq!(here == element(other, index), seed == other);
            // The simulated driver's kernels are written on their own.
            prop_assert_eq!(here, plimsoll_simulated_driver::kernels::element(seed, index));
        }
    }

    #[test]
    fn what_differs_is_counted() {
        let mut bytes: Vec<u8> = (5..9).flat_map(|index| element(1, index)).collect();
        assert_eq!(differing(&bytes, 1, 5), 0);
        bytes[17] ^= 1;
        assert_eq!((differing(&bytes, 1, 5), differing(&bytes, 2, 5)), (1, 4));
    }
}
