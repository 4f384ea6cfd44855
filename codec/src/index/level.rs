//! A filter over many segments, `idx/<level>-<group>.flt`: one look says that none of 16, or of 256, has it.
//!
//! ```text
//!  +-----------+----------------------------------------+
//!  | header 72 | filter over all hashes of the segments |
//!  +-----------+----------------------------------------+
//!
//!  header    0 magic 8    8 major 2, minor 2    12 level 4    16 log id 16    32 first segment 8
//!           40 digest 4                44 CRC of the filter 4   48 keys 8   56 filter's length 8
//!           64 reserved 4             68 CRC 4
//! ```
//!
//! Level *l*, group *g* covers the segments from *g* × 16ˡ on, 16ˡ of them.
//!
//! What is always true:
//!
//! - The digest is over the seeds and chains of all its segments in order. A seed is random
//!   for each segment, and a chain follows from what it holds, so a filter of other segments
//!   is known by its header.
//! - It holds what the filters of its segments' indexes hold, nothing else.

use super::filter::FilterBuilder;
use super::{FILTER_BLOCK_LEN, IndexFault, KeyHash, MAJOR, MINOR, checked_head};
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

/// What the seeds and chains of segments, in order, amount to.
pub fn segments_digest(segments: impl IntoIterator<Item = (Seed, u32)>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for (seed, chain) in segments {
        hasher.update(&wire::bytes_of(seed.get()));
        hasher.update(&wire::bytes_of(chain));
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
    /// The digest of their seeds and chains: see [`segments_digest`].
    pub segments: u32,
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
    /// The checksum of the filter, begun with the digest of the segments.
    pub filter_crc: u32,
}

impl LevelHeader {
    /// Encodes the header.
    pub fn encode(&self) -> [u8; LEVEL_HEADER_LEN] {
        let LevelIdentity { log_id, level, first, segments } = self.identity;
        let mut header = [0; LEVEL_HEADER_LEN];
        header[..8].copy_from_slice(&MAGIC);
        wire::set_u16(&mut header, 8, MAJOR);
        wire::set_u16(&mut header, 10, MINOR);
        wire::set_u32(&mut header, 12, level);
        header[16..32].copy_from_slice(log_id.as_bytes());
        wire::set_u64(&mut header, 32, first.get());
        wire::set_u32(&mut header, 40, segments);
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
        let bytes = checked_head(bytes, MAGIC, LEVEL_HEADER_LEN)?;
        let identity = LevelIdentity {
            log_id: LogId::from_bytes(wire::array_at(bytes, 16)),
            level: wire::u32_at(bytes, 12),
            first: SegmentNumber::new(wire::count_at(bytes, 32).ok_or(IndexFault::Field)?),
            segments: wire::u32_at(bytes, 40),
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
        filter.len() as u64 == self.filter_len && Seed::new(self.identity.segments).checksum(filter) == self.filter_crc
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
        let crc = crc32fast::Hasher::new_with_initial(identity.segments);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Filter, Merge};
    use crate::testing::{Rng, each, for_each_flip};

    fn identity(level: u32, group: u64) -> LevelIdentity {
        LevelIdentity {
            log_id: LogId::from_bytes(*b"the log under te"),
            level,
            first: SegmentNumber::new(group * level_span(level)),
            segments: segments_digest((0..3).map(|seed| (Seed::new(seed), 7))),
        }
    }

    /// Ascending hashes of a child, some of them twice.
    fn child(rng: &mut Rng, count: usize) -> Vec<KeyHash> {
        let mut hashes = (0..count).map(|_| KeyHash::new(rng.next() as u32)).collect::<Vec<_>>();
        hashes.extend_from_within(..count / 3);
        hashes.sort_unstable();
        hashes
    }

    fn written(identity: LevelIdentity, children: &[Vec<KeyHash>]) -> (LevelHeader, Vec<u8>) {
        let keys = children.iter().map(|child| child.len() as u64).sum();
        let (mut writer, mut filter, mut out) = (LevelWriter::new(identity, keys), Vec::new(), Vec::new());
        let parts = children.iter().map(|child| child.iter().map(|&hash| Ok::<_, IndexFault>(hash)));
        for hash in Merge::new(parts) {
            writer.push(hash.unwrap(), &mut out);
            if out.len() > 100 {
                filter.append(&mut out);
            }
        }
        let header = writer.finish(&mut out);
        filter.append(&mut out);
        (header, filter)
    }

    /// The header of an empty filter with some bytes replaced and a good checksum.
    fn forged(at: usize, bytes: &[u8]) -> Result<LevelHeader, IndexFault> {
        let (header, filter) = written(identity(1, 3), &[]);
        let mut bytes_of_header = header.encode();
        bytes_of_header[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32fast::hash(&bytes_of_header[..CRC_AT]);
        wire::set_u32(&mut bytes_of_header, CRC_AT, crc);
        LevelHeader::decode(&bytes_of_header, (LEVEL_HEADER_LEN + filter.len()) as u64)
    }

    #[test]
    #[cfg_attr(miri, ignore = "needs more than Miri does in a minute")]
    fn a_merged_filter_holds_what_its_segments_hold_and_few_strangers() {
        for (seed, counts) in
            [(1, vec![]), (2, vec![0, 0]), (3, vec![1]), (4, vec![100; 16]), (5, vec![3, 9_000, 0, 700])]
        {
            let mut rng = Rng::new(seed);
            let children = counts.iter().map(|&count| child(&mut rng, count)).collect::<Vec<_>>();
            let (header, bytes) = written(identity(1, 2), &children);
            assert_eq!(LevelHeader::decode(&header.encode(), (LEVEL_HEADER_LEN + bytes.len()) as u64), Ok(header));
            assert!(header.is_good(&bytes));
            assert_eq!(header.keys, children.iter().map(|child| child.len() as u64).sum());
            let filter = Filter::read(&bytes).unwrap();
            assert!(children.iter().flatten().all(|&hash| filter.may_hold(hash)), "seed {seed}");
            let passed = (0..10_000).filter(|_| filter.may_hold(KeyHash::new(rng.next() as u32))).count();
            assert!(passed < 100, "seed {seed}: {passed} of 10,000");
        }
    }

    #[test]
    fn it_is_the_filter_that_one_segment_with_all_of_it_would_have() {
        let mut rng = Rng::new(6);
        let children = (0..5).map(|_| child(&mut rng, 200)).collect::<Vec<_>>();
        let mut all = children.concat();
        all.sort_unstable();
        assert!(written(identity(1, 0), &children) == written(identity(1, 0), &[all]));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let (header, filter) = written(identity(2, 1), &[child(&mut Rng::new(7), 50)]);
        let file = [&header.encode()[..], &filter].concat();
        let is_read = |file: &[u8]| {
            let header = LevelHeader::decode(file, file.len() as u64);
            header.is_ok_and(|header| header.is_good(&file[LEVEL_HEADER_LEN..]))
        };
        assert!(is_read(&file));
        for_each_flip(&file, 0..file.len(), |bit, file| assert!(!is_read(file), "bit {bit}"));
        assert!(each(0..file.len()).all(|len| !is_read(&file[..len])));
        assert!(!is_read(&[&file[..], &[0; 32]].concat()));
    }

    #[test]
    fn headers_that_no_writer_makes_are_refused_though_their_checksum_is_good() {
        assert!(forged(0, &[]).is_ok());
        assert_eq!(forged(0, b"\x89ANNIDX\n"), Err(IndexFault::Magic));
        assert_eq!(forged(8, &[2]), Err(IndexFault::Version { major: 2, minor: 0 }));
        assert_eq!(forged(10, &[1]), Err(IndexFault::Version { major: 1, minor: 1 }));
        assert_eq!(forged(12, &[0]), Err(IndexFault::Field), "level 0 is the segments themselves");
        assert_eq!(forged(12, &[2]), Err(IndexFault::Field), "segment 48 begins no group of level 2");
        assert_eq!(forged(12, &[16]), Err(IndexFault::Field));
        assert_eq!(forged(12, &[0xFF; 4]), Err(IndexFault::Field));
        assert_eq!(forged(32, &[49]), Err(IndexFault::Field), "segment 49 begins no group");
        assert_eq!(forged(32, &[0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), Err(IndexFault::Field));
        assert_eq!(forged(56, &[0]), Err(IndexFault::Lengths));
        assert_eq!(forged(56, &[31]), Err(IndexFault::Lengths));
        assert_eq!(forged(56, &[64]), Err(IndexFault::Lengths));
        assert_eq!(forged(56, &[0xFF; 8]), Err(IndexFault::Lengths));
        assert_eq!(forged(64, &[1]), Err(IndexFault::Field));
    }

    #[test]
    fn the_digest_tells_other_seeds_other_chains_and_another_order() {
        let digest =
            |segments: &[(u32, u32)]| segments_digest(segments.iter().map(|&(seed, chain)| (Seed::new(seed), chain)));
        let some: [&[(u32, u32)]; 8] = [
            &[],
            &[(1, 0)],
            &[(0, 1)],
            &[(1, 1)],
            &[(1, 0), (2, 0)],
            &[(2, 0), (1, 0)],
            &[(1, 0), (2, 1)],
            &[(1, 0), (2, 0), (0, 0)],
        ];
        let all = some.map(digest);
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        assert_eq!(digest(&[(number(b"1234"), number(b"5678"))]), crc32fast::hash(b"12345678"));
    }

    #[test]
    fn a_merge_ends_with_the_first_fault() {
        let fault = Err(IndexFault::Lengths);
        let hash = |value| Ok(KeyHash::new(value));
        let merge = Merge::new([vec![hash(1), hash(5), fault, hash(7)], vec![hash(2), hash(9)]].map(Vec::into_iter));
        assert_eq!(merge.collect::<Vec<_>>(), [hash(1), hash(2), fault]);
        let merge = Merge::new([vec![hash(1)], vec![fault]].map(Vec::into_iter));
        assert_eq!(merge.collect::<Vec<_>>(), [fault]);
    }
}
