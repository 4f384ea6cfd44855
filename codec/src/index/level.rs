//! A filter over many segments, `idx/<level>-<group>.flt`: one look says that none of 16, or of 256, has it.
//!
//! ```text
//!  +-----------+----------------------------------------+
//!  | header 72 | filter over all hashes of the segments |
//!  +-----------+----------------------------------------+
//!
//!  header    0 magic 8    8 major 2, minor 2    12 level 4    16 log id 16    32 first segment 8
//!           40 digest of the seeds 4   44 CRC of the filter 4   48 keys 8   56 filter's length 8
//!           64 reserved 4             68 CRC 4
//! ```
//!
//! Level *l*, group *g* covers the segments from *g* × 16ˡ on, 16ˡ of them.
//!
//! What is always true:
//!
//! - The digest is over the seeds of all its segments in order. A seed is random
//!   for each segment, so a filter of other segments is known by its header.
//! - It holds what the filters of its segments' indexes hold, nothing else.

use super::filter::FilterBuilder;
use super::{FILTER_BLOCK_LEN, IndexFault, KeyHash, MAJOR, MINOR};
use crate::frame::Seed;
use crate::ids::{LogId, SegmentNumber};
use crate::wire;

/// How many segments, or filters of the level below, one filter covers.
pub const LEVEL_FAN: u64 = 16;

/// The highest level that a header can say: the segments of one more cannot be numbered.
pub const MOST_LEVELS: u32 = 15;

/// Length of the header, in bytes; the filter follows it.
pub const LEVEL_HEADER_LEN: usize = 72;

const MAGIC: [u8; 8] = *b"\x89ANNFLT\n";
const CRC_AT: usize = LEVEL_HEADER_LEN - 4;

/// How many segments a filter of this level covers.
///
/// # Panics
///
/// Above [`MOST_LEVELS`].
pub const fn level_span(level: u32) -> u64 {
    assert!(level <= MOST_LEVELS);
    LEVEL_FAN.pow(level)
}

/// What the seeds of segments, in order, amount to.
pub fn seeds_digest(seeds: impl IntoIterator<Item = Seed>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for seed in seeds {
        hasher.update(&wire::bytes_of(seed.get()));
    }
    hasher.finalize()
}

/// Which segments a filter is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LevelIdentity {
    /// The log that they belong to.
    pub log_id: LogId,
    /// The level: at least 1.
    pub level: u32,
    /// The first of them: a multiple of [`level_span`].
    pub first: SegmentNumber,
    /// The digest of their seeds: see [`seeds_digest`].
    pub seeds: u32,
}

/// How a merged filter's file begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LevelHeader {
    /// Which segments it is over.
    pub identity: LevelIdentity,
    /// For how many hashes it has room.
    pub keys: u64,
    /// The length of the filter, in bytes.
    pub filter_len: u64,
    /// The checksum of the filter, begun with the digest of the seeds.
    pub filter_crc: u32,
}

impl LevelHeader {
    /// Encodes the header.
    pub fn encode(&self) -> [u8; LEVEL_HEADER_LEN] {
        let LevelIdentity { log_id, level, first, seeds } = self.identity;
        let mut header = [0; LEVEL_HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        wire::set_u16(&mut header, 8, MAJOR);
        wire::set_u16(&mut header, 10, MINOR);
        wire::set_u32(&mut header, 12, level);
        header[16..32].copy_from_slice(log_id.as_bytes());
        wire::set_u64(&mut header, 32, first.get());
        wire::set_u32(&mut header, 40, seeds);
        wire::set_u32(&mut header, 44, self.filter_crc);
        wire::set_u64(&mut header, 48, self.keys);
        wire::set_u64(&mut header, 56, self.filter_len);
        let crc = crc32fast::hash(&header[..CRC_AT]);
        wire::set_u32(&mut header, CRC_AT, crc);
        header
    }

    /// Decodes the header at the start of `bytes`, which begin a file of `file_len` bytes.
    ///
    /// # Errors
    ///
    /// [`IndexFault`] when there is none that this version reads, or header and
    /// filter are not exactly the file.
    pub fn decode(bytes: &[u8], file_len: u64) -> Result<LevelHeader, IndexFault> {
        let Some(bytes) = bytes.get(..LEVEL_HEADER_LEN).filter(|bytes| bytes[..8] == MAGIC) else {
            return Err(IndexFault::Magic);
        };
        if wire::u32_at(bytes, CRC_AT) != crc32fast::hash(&bytes[..CRC_AT]) {
            return Err(IndexFault::Directory);
        }
        let (major, minor) = (wire::u16_at(bytes, 8), wire::u16_at(bytes, 10));
        if (major, minor) != (MAJOR, MINOR) {
            return Err(IndexFault::Version { major, minor });
        }
        let identity = LevelIdentity {
            log_id: LogId::from_bytes(wire::array_at(bytes, 16)),
            level: wire::u32_at(bytes, 12),
            first: SegmentNumber::new(wire::count_at(bytes, 32).ok_or(IndexFault::Field)?),
            seeds: wire::u32_at(bytes, 40),
        };
        let is_level = (1..=MOST_LEVELS).contains(&identity.level);
        if !is_level || !identity.first.get().is_multiple_of(level_span(identity.level)) || wire::u32_at(bytes, 64) != 0
        {
            return Err(IndexFault::Field);
        }
        let header = LevelHeader {
            identity,
            keys: wire::u64_at(bytes, 48),
            filter_len: wire::u64_at(bytes, 56),
            filter_crc: wire::u32_at(bytes, 44),
        };
        let is_whole = header.filter_len > 0 && header.filter_len.is_multiple_of(FILTER_BLOCK_LEN as u64);
        if !is_whole || header.filter_len.checked_add(LEVEL_HEADER_LEN as u64) != Some(file_len) {
            return Err(IndexFault::Lengths);
        }
        Ok(header)
    }

    /// Whether these bytes are the filter: length and checksum.
    pub fn is_good(&self, filter: &[u8]) -> bool {
        filter.len() as u64 == self.filter_len && Seed::new(self.identity.seeds).checksum(filter) == self.filter_crc
    }
}

/// Writes a merged filter from left to right, in the memory of what the caller has not drained yet.
///
/// The header comes last, because it holds a checksum, and stands first: leave [`LEVEL_HEADER_LEN`] bytes for it.
#[derive(Debug)]
pub struct LevelWriter {
    identity: LevelIdentity,
    keys: u64,
    filter: FilterBuilder,
    filter_len: u64,
    crc: crc32fast::Hasher,
}

impl LevelWriter {
    /// Begins the filter over these segments, which have up to `keys` hashes in all.
    pub fn new(identity: LevelIdentity, keys: u64) -> LevelWriter {
        let filter = FilterBuilder::new(keys);
        let filter_len = filter.filter_len();
        let crc = crc32fast::Hasher::new_with_initial(identity.seeds);
        LevelWriter { identity, keys, filter, filter_len, crc }
    }

    /// Takes a hash in; appends what is finished of the filter to `out`.
    ///
    /// # Panics
    ///
    /// When hashes descend. Those of a [`Merge`](super::Merge) of [`hashes`](super::hashes) never do.
    pub fn push(&mut self, hash: KeyHash, out: &mut Vec<u8>) {
        let before = out.len();
        self.filter.push(hash, out);
        self.crc.update(&out[before..]);
    }

    /// Appends the rest of the filter to `out`; returns what stands before it in the file.
    pub fn finish(mut self, out: &mut Vec<u8>) -> LevelHeader {
        let before = out.len();
        self.filter.finish(out);
        self.crc.update(&out[before..]);
        LevelHeader {
            identity: self.identity,
            keys: self.keys,
            filter_len: self.filter_len,
            filter_crc: self.crc.finalize(),
        }
    }
}
