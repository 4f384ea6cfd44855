//! A split-block Bloom filter: says for certain that a hash is not there, in one cache line.
//!
//! ```text
//!  block 0                                             block 1
//!  +--------+--------+--------+-----------------+-----+--------+---
//!  | word 4 | word 4 | word 4 | ... 8 words, 32 B     | word 4 | ...
//!  +--------+--------+--------+-----------------------+--------+---
//!   hash × blocks >> 32 chooses the block; the hash mixed, one bit in each of its words
//! ```
//!
//! As in Apache Parquet, after Putze, Sanders and Singler, *Cache-, Hash- and
//! Space-Efficient Bloom Filters*, JEA 14 (2009). At [`BITS_PER_KEY`] bits for
//! each hash one in 180 strangers gets by (0.55 %; a test measures it).
//!
//! What is always true:
//!
//! - A hash that was taken in is found.
//! - Ascending hashes choose ascending blocks. So a filter over any number of
//!   hashes is written from left to right, in the memory of one block.
//! - A filter has at least one block, and nothing else: no other length is one.

use super::{IndexFault, KeyHash};
use crate::wire;

/// The length of a block, in bytes.
pub const FILTER_BLOCK_LEN: usize = 32;

/// How many bits a filter has for each hash.
const BITS_PER_KEY: u64 = 12;

/// Odd numbers, one for each word, which make eight bits of one (those of Apache Parquet).
const SALTS: [u32; 8] =
    [0x47B6_137B, 0x4497_4D91, 0x8824_AD5B, 0xA2B7_289D, 0x7054_95C7, 0x2DF1_424B, 0x9EFC_4947, 0x5C6B_FB31];

/// The hashes of one block have their high bits in common, which must not show in
/// its words: every bit of the hash changes half of those that count (the last
/// step of `MurmurHash3`). One multiplication alone lets five times as many neighbours by.
fn mixed(hash: KeyHash) -> u32 {
    let mut mixed = hash.get();
    mixed = (mixed ^ mixed >> 16).wrapping_mul(0x85EB_CA6B);
    mixed = (mixed ^ mixed >> 13).wrapping_mul(0xC2B2_AE35);
    mixed ^ mixed >> 16
}

/// The bit of each word that stands for a hash.
fn bits(hash: KeyHash) -> [u32; 8] {
    let mixed = mixed(hash);
    SALTS.map(|salt| 1 << (mixed.wrapping_mul(salt) >> 27))
}

fn block_of(hash: KeyHash, blocks: u64) -> u64 {
    (u64::from(hash.get()) * blocks) >> 32
}

fn blocks_for(keys: u64) -> u64 {
    keys.saturating_mul(BITS_PER_KEY).div_ceil(8 * FILTER_BLOCK_LEN as u64).clamp(1, u64::from(u32::MAX))
}

/// A filter where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    blocks: &'a [[u8; FILTER_BLOCK_LEN]],
}

impl<'a> Filter<'a> {
    /// The filter in these bytes.
    ///
    /// # Errors
    ///
    /// [`IndexFault::Lengths`] when they are not one or more whole blocks: no
    /// filter, and not one that holds nothing.
    pub fn read(bytes: &'a [u8]) -> Result<Filter<'a>, IndexFault> {
        match bytes.as_chunks() {
            ([], _) | (_, [_, ..]) => Err(IndexFault::Lengths),
            (blocks, []) => Ok(Filter { blocks }),
        }
    }

    /// Whether the hash may be there: `false` is certain, `true` is wrong for one stranger in 180.
    #[inline]
    pub fn may_hold(self, hash: KeyHash) -> bool {
        // More blocks than hashes tell apart are never chosen.
        let block = block_of(hash, (self.blocks.len() as u64).min(1 << 32));
        let Some(block) = self.blocks.get(block as usize) else { return false };
        let (words, _) = block.as_chunks::<4>();
        words.iter().zip(bits(hash)).all(|(word, bit)| wire::u32_at(word, 0) & bit != 0)
    }
}

/// Writes a filter from left to right, of hashes that ascend.
#[derive(Debug)]
pub struct FilterBuilder {
    blocks: u64,
    /// The number of the block at hand.
    at: u64,
    block: [u32; 8],
}

impl FilterBuilder {
    /// Begins a filter for up to `keys` hashes. More make it let more strangers by.
    pub fn new(keys: u64) -> FilterBuilder {
        FilterBuilder { blocks: blocks_for(keys), at: 0, block: [0; 8] }
    }

    /// The length of the whole filter, in bytes.
    pub fn filter_len(&self) -> u64 {
        self.blocks * FILTER_BLOCK_LEN as u64
    }

    /// Takes a hash in; appends the blocks that no later one can change to `out`,
    /// which the caller may drain at any time.
    ///
    /// # Panics
    ///
    /// When hashes descend.
    pub fn push(&mut self, hash: KeyHash, out: &mut Vec<u8>) {
        let block = block_of(hash, self.blocks);
        assert!(self.at <= block, "hashes ascend");
        while self.at < block {
            self.append_block(out);
        }
        for (word, bit) in self.block.iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    /// Appends the blocks that are left.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        while self.at < self.blocks {
            self.append_block(out);
        }
    }

    fn append_block(&mut self, out: &mut Vec<u8>) {
        for word in std::mem::take(&mut self.block) {
            wire::put_u32(out, word);
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{Rng, rounds};

    fn random_hashes(seed: u64, count: usize) -> BTreeSet<KeyHash> {
        let mut rng = Rng::new(seed);
        (0..count).map(|_| KeyHash::new(rng.next() as u32)).collect()
    }

    fn filter_of(hashes: &BTreeSet<KeyHash>, keys: u64) -> Vec<u8> {
        let builder = FilterBuilder::new(keys);
        let (len, mut out) = (builder.filter_len(), Vec::new());
        let mut builder = builder;
        for &hash in hashes {
            builder.push(hash, &mut out);
        }
        builder.finish(&mut out);
        assert_eq!(out.len() as u64, len);
        out
    }

    #[test]
    fn what_was_taken_in_is_found_also_when_there_is_more_than_was_said() {
        for (count, keys) in [(0, 0), (1, 1), (21, 21), (22, 22), (500, 500), (500, 5_000), (500, 100), (100, 0)] {
            let (count, keys) = (rounds(count), rounds(keys));
            let hashes = random_hashes(count as u64, count);
            let bytes = filter_of(&hashes, keys);
            let filter = Filter::read(&bytes).unwrap();
            assert!(hashes.iter().all(|&hash| filter.may_hold(hash)), "{count} hashes, {keys} announced");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
    fn a_full_filter_lets_fewer_than_one_stranger_in_a_hundred_by() {
        for count in [1_000, 30_000, 200_000] {
            let hashes = random_hashes(7, count);
            let bytes = filter_of(&hashes, hashes.len() as u64);
            let filter = Filter::read(&bytes).unwrap();
            let strangers = random_hashes(8, 200_000);
            let passed = strangers.difference(&hashes).filter(|&&hash| filter.may_hold(hash)).count();
            let passed = passed * 10_000 / strangers.len();
            println!("{count} hashes: {passed} in ten thousand");
            assert!((40..70).contains(&passed), "{count} hashes: {passed} in ten thousand, 55 expected");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
    fn hashes_that_are_neighbours_are_strangers_too() {
        // They share a block: what tells them apart must come from their low bits.
        let hashes = (0..1_000).map(|n| KeyHash::new(n * 4_000_000)).collect::<BTreeSet<_>>();
        let bytes = filter_of(&hashes, 1_000);
        let filter = Filter::read(&bytes).unwrap();
        let passed = (0..1_000).filter(|n| filter.may_hold(KeyHash::new(n * 4_000_000 + 1))).count();
        assert!(passed < 20, "{passed} of 1000");
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
    fn a_block_is_appended_as_soon_as_no_later_hash_can_change_it() {
        let hashes = random_hashes(9, 5_000);
        let whole = filter_of(&hashes, 5_000);
        let (mut builder, mut drained) = (FilterBuilder::new(5_000), Vec::new());
        let mut out = Vec::new();
        for &hash in &hashes {
            builder.push(hash, &mut out);
            assert!(out.len() <= 4 * FILTER_BLOCK_LEN, "{} bytes at once", out.len());
            drained.append(&mut out);
        }
        builder.finish(&mut drained);
        assert!(drained == whole);
    }

    #[test]
    fn the_bits_of_a_hash_are_what_format_md_says() {
        // Written out once more, without the code under test.
        let hash = 0xDEAD_BEEF_u32;
        let bytes = filter_of(&BTreeSet::from([KeyHash::new(hash)]), 100);
        let block = ((u64::from(hash) * 5) >> 32) as usize;
        // MurmurHash3's fmix32(0xDEADBEEF).
        let mixed = 0x0DE5_C6A9_u32;
        let mut expected = vec![0; 5 * 32];
        for (word, salt) in SALTS.into_iter().enumerate() {
            let bit = (u64::from(mixed) * u64::from(salt)) as u32 >> 27;
            expected[block * 32 + word * 4 + bit as usize / 8] = 1 << (bit % 8);
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn bytes_that_are_not_whole_blocks_are_no_filter_and_not_an_empty_one() {
        for len in [0, 1, 31, 33, 63, 8] {
            assert!(matches!(Filter::read(&vec![0xFF; len]), Err(IndexFault::Lengths)), "{len}");
        }
        assert!(!Filter::read(&[0; 32]).unwrap().may_hold(KeyHash::new(0)));
    }

    #[test]
    #[should_panic(expected = "hashes ascend")]
    fn a_hash_of_a_block_that_is_gone_is_refused() {
        let (mut builder, mut out) = (FilterBuilder::new(1_000), Vec::new());
        builder.push(KeyHash::new(u32::MAX), &mut out);
        builder.push(KeyHash::new(0), &mut out);
    }
}
