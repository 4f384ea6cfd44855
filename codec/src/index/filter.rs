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
/// the words: a multiplication brings all bits of a hash into those that count.
fn mixed(hash: KeyHash) -> u32 {
    (u64::from(hash.get()).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
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
