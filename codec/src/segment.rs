//! The header of a segment: the first 4096 bytes of the file.
//!
//! ```text
//!    0 magic 8           8 major 2, minor 2   12 header length 4   16 incompatible 4   20 compatible 4
//!   24 log id 16        40 segment number 8   48 base position 8   56 epoch 4          60 reserved 4
//!   64 salt 16          80 created_at 8       88 predecessor's length 8                96 its chain 4
//!  100 hash function 1 101 reserved 3        104 chain hash at base 32
//!  136 balance 4      140 redacted events 4  144 CRC of their positions 4              (zero where none is redacted)
//!  148 zero           4092 CRC 4
//! ```
//!
//! What is always true:
//!
//! - The CRC of bytes `0..4092` stands at 4092, and is the [`Seed`] of every
//!   other checksum in the segment. The salt is random, so no two segments share it.
//! - The header is synced before the file gets its name: a bad header under a
//!   `.seg` name is damage, never an interrupted write.
//! - The base position is that of the last event *before* this segment.
//! - Where a hash function is named, every marker of the segment carries the hash
//!   chain, which goes on from that in the header. Such a header has minor version 1.

use std::ops::Range;

use crate::balance::{BALANCE_LEN, balance};
use crate::digest::Digest;
use crate::frame::Seed;
use crate::ids::{Epoch, LogId, Position, SegmentNumber};
use crate::redaction::RedactionMark;
use crate::wire;

/// Length of the header, in bytes; the first frame follows it.
pub const SEGMENT_HEADER_LEN: usize = 4096;

/// The major version of the format that this crate writes and reads.
pub const FORMAT_MAJOR: u16 = 1;
/// The minor version of the format that this crate writes, but for the header of a segment whose markers carry
/// a hash chain; it reads every minor version.
pub const FORMAT_MINOR: u16 = 0;

/// The minor version of a header that names a hash function: the highest one known.
const MINOR_WITH_HASH: u16 = 1;
/// The number of SHA-256 among hash functions. There is no other yet.
const SHA_256: u8 = 1;

/// The first 8 bytes of every segment. The first has its high bit set and the
/// last are CR-free, so transfers that mangle text are noticed (as in PNG).
pub const SEGMENT_MAGIC: [u8; 8] = [0x89, 0x41, 0x4E, 0x4E, 0x53, 0x45, 0x47, 0x0A];

const CRC_AT: usize = SEGMENT_HEADER_LEN - 4;

/// The feature of a segment that holds redacted events.
const REDACTED: u32 = 1;
/// Bits of features that a reader must know to read the segment at all.
const KNOWN_INCOMPATIBLE: u32 = REDACTED;

/// Where it is said which events are redacted.
const BALANCE_AT: usize = 136;
const REDACTED_AT: Range<usize> = BALANCE_AT + BALANCE_LEN..148;

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentHeader {
    /// The log that the segment belongs to.
    pub log_id: LogId,
    /// Which segment of the log it is.
    pub number: SegmentNumber,
    /// The position of the last event before it.
    pub base: Position,
    /// The epoch of the writer that began it.
    pub epoch: Epoch,
    /// Random bytes that make the [`Seed`] of each segment its own.
    pub salt: [u8; 16],
    /// When it was begun: nanoseconds since 1970 UTC.
    pub created_at: i64,
    /// The length of the segment before it, in bytes; 0 for the first.
    pub predecessor_len: u64,
    /// The chain at the end of the segment before it; 0 for the first.
    pub chain: u32,
    /// The hash chain at its base; `None` when its markers carry none.
    pub chain_hash: Option<Digest>,
    /// Which of its events are redacted, if any is.
    pub redacted: Option<RedactionMark>,
}

/// Writes into the header of a segment which events are redacted, so that its CRC stays what it is.
pub(crate) fn mark_redacted(bytes: &mut [u8], mark: RedactionMark) {
    let crc = wire::u32_at(bytes, CRC_AT);
    wire::set_u32(bytes, 16, REDACTED);
    wire::set_u32(bytes, REDACTED_AT.start, mark.events);
    wire::set_u32(bytes, REDACTED_AT.start + 4, mark.positions);
    balance(&mut bytes[..CRC_AT], BALANCE_AT, crc, crc32fast::hash);
}

/// Why the first bytes of a file are not the header of a segment that can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// The file is shorter than a header.
    #[error("the file has {len} bytes, fewer than a segment header")]
    Short {
        /// Its length, in bytes.
        len: u64,
    },
    /// It does not begin with the magic: something else, or badly damaged.
    #[error("this is not an Annals segment")]
    Magic,
    /// A later version of the format wrote it.
    #[error("the segment has format version {major}; this program reads version {FORMAT_MAJOR}: use a newer one")]
    Newer {
        /// The major version found.
        major: u16,
    },
    /// It uses features that this version does not know.
    #[error("the segment uses features {bits:#x} that this program does not know: use a newer one")]
    Features {
        /// The unknown bits.
        bits: u32,
    },
    /// The checksum does not match.
    #[error("the checksum of the segment header does not match")]
    Checksum,
    /// The checksum matches, and a field has a value that cannot be.
    #[error("a field of the segment header has an impossible value")]
    Field,
}

impl SegmentHeader {
    /// Encodes the header; the second value is the seed for everything that follows it.
    pub fn encode(&self) -> (Vec<u8>, Seed) {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_LEN);
        out.extend_from_slice(&SEGMENT_MAGIC);
        wire::put_u16(&mut out, FORMAT_MAJOR);
        wire::put_u16(&mut out, if self.chain_hash.is_some() { MINOR_WITH_HASH } else { FORMAT_MINOR });
        wire::put_u32(&mut out, SEGMENT_HEADER_LEN as u32);
        wire::put_u32(&mut out, 0);
        wire::put_u32(&mut out, 0);
        out.extend_from_slice(self.log_id.as_bytes());
        wire::put_u64(&mut out, self.number.get());
        wire::put_u64(&mut out, self.base.get());
        wire::put_u32(&mut out, self.epoch.get());
        wire::put_u32(&mut out, 0);
        out.extend_from_slice(&self.salt);
        wire::put_i64(&mut out, self.created_at);
        wire::put_u64(&mut out, self.predecessor_len);
        wire::put_u32(&mut out, self.chain);
        wire::put_u32(&mut out, self.chain_hash.map_or(0, |_| u32::from(SHA_256)));
        out.extend_from_slice(self.chain_hash.map_or([0; Digest::LEN], |hash| *hash.as_bytes()).as_slice());
        out.resize(CRC_AT, 0);
        let crc = crc32fast::hash(&out);
        wire::put_u32(&mut out, crc);
        if let Some(mark) = self.redacted {
            mark_redacted(&mut out, mark);
        }
        (out, Seed(crc))
    }

    /// Decodes the header at the start of `bytes`, with the seed for what follows it.
    ///
    /// # Errors
    ///
    /// [`HeaderFault`] says whether it is something else, newer, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<(SegmentHeader, Seed), HeaderFault> {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER_LEN) else {
            return Err(HeaderFault::Short { len: bytes.len() as u64 });
        };
        if bytes[..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::Magic);
        }
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        if wire::u32_at(bytes, CRC_AT) != crc {
            return Err(HeaderFault::Checksum);
        }
        let major = wire::u16_at(bytes, 8);
        if major != FORMAT_MAJOR {
            return Err(HeaderFault::Newer { major });
        }
        let features = wire::u32_at(bytes, 16);
        if features & !KNOWN_INCOMPATIBLE != 0 {
            return Err(HeaderFault::Features { bits: features & !KNOWN_INCOMPATIBLE });
        }
        // A later minor version may have given the reserved bytes a meaning that this one can do without.
        let minor = wire::u16_at(bytes, 10);
        let is_later = minor > MINOR_WITH_HASH;
        let hash: [u8; Digest::LEN] = wire::array_at(bytes, 104);
        let chain_hash = match bytes[100] {
            0 if hash == [0; Digest::LEN] || is_later => None,
            SHA_256 if minor >= MINOR_WITH_HASH => Some(Digest::from_bytes(hash)),
            // Another function: events can be read without it.
            2.. if is_later => None,
            _ => return Err(HeaderFault::Field),
        };
        let redacted = (features & REDACTED != 0).then(|| RedactionMark {
            events: wire::u32_at(bytes, REDACTED_AT.start),
            positions: wire::u32_at(bytes, REDACTED_AT.start + 4),
        });
        let header = SegmentHeader {
            log_id: LogId::from_bytes(wire::array_at(bytes, 24)),
            number: SegmentNumber::new(wire::count_at(bytes, 40).ok_or(HeaderFault::Field)?),
            base: Position::new(wire::count_at(bytes, 48).ok_or(HeaderFault::Field)?),
            epoch: Epoch::new(wire::u32_at(bytes, 56)),
            salt: wire::array_at(bytes, 64),
            created_at: wire::i64_at(bytes, 80),
            predecessor_len: wire::u64_at(bytes, 88),
            chain: wire::u32_at(bytes, 96),
            chain_hash,
            redacted,
        };
        if redacted.is_some_and(|mark| mark.events == 0) {
            return Err(HeaderFault::Field);
        }
        let is_zero = |range: Range<usize>| bytes[range].iter().all(|&byte| byte == 0);
        let reserved_is_zero = is_zero(60..64)
            && is_zero(101..104)
            && (redacted.is_some() || is_zero(BALANCE_AT..REDACTED_AT.end))
            && is_zero(REDACTED_AT.end..CRC_AT);
        if wire::u32_at(bytes, 12) != SEGMENT_HEADER_LEN as u32 || !(reserved_is_zero || is_later) {
            return Err(HeaderFault::Field);
        }
        Ok((header, Seed(crc)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, for_each_flip, rounds};

    fn random_header(rng: &mut Rng) -> SegmentHeader {
        SegmentHeader {
            log_id: LogId::from_bytes(std::array::from_fn(|_| rng.next() as u8)),
            number: SegmentNumber::new(rng.next() >> 1),
            base: Position::new(rng.next() >> 1),
            epoch: Epoch::new(rng.next() as u32),
            salt: std::array::from_fn(|_| rng.next() as u8),
            created_at: rng.next().cast_signed(),
            predecessor_len: rng.next(),
            chain: rng.next() as u32,
            chain_hash: rng.chance().then(|| Digest::from_bytes(std::array::from_fn(|_| rng.next() as u8))),
            redacted: None,
        }
    }

    /// A header with one field replaced and a good checksum.
    fn forged(at: usize, bytes: &[u8]) -> Result<SegmentHeader, HeaderFault> {
        forged_from(&random_header(&mut Rng::new(1)), at, bytes)
    }

    fn forged_from(header: &SegmentHeader, at: usize, bytes: &[u8]) -> Result<SegmentHeader, HeaderFault> {
        let (mut header, _) = header.encode();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32fast::hash(&header[..CRC_AT]);
        wire::set_u32(&mut header, CRC_AT, crc);
        SegmentHeader::decode(&header).map(|(header, _)| header)
    }

    #[test]
    fn a_header_decodes_to_what_was_encoded_and_gives_the_same_seed() {
        let mut rng = Rng::new(2);
        for _ in 0..rounds(200) {
            let header = random_header(&mut rng);
            let (mut bytes, seed) = header.encode();
            assert_eq!(bytes.len(), SEGMENT_HEADER_LEN);
            bytes.extend_from_slice(b"frames");
            assert_eq!(SegmentHeader::decode(&bytes), Ok((header, seed)));
        }
    }

    #[test]
    fn another_salt_gives_another_seed() {
        let header = random_header(&mut Rng::new(3));
        let other = SegmentHeader { salt: [0; 16], ..header };
        assert_ne!(header.encode().1, other.encode().1);
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let (bytes, _) = random_header(&mut Rng::new(4)).encode();
        for_each_flip(&bytes, 0..bytes.len(), |bit, bytes| {
            let expected = if bit < 64 { HeaderFault::Magic } else { HeaderFault::Checksum };
            assert_eq!(SegmentHeader::decode(bytes), Err(expected), "bit {bit}");
        });
    }

    #[test]
    fn a_file_that_is_shorter_than_a_header_says_so() {
        let (bytes, _) = random_header(&mut Rng::new(5)).encode();
        for len in [0, 1, 8, 4095] {
            let short = HeaderFault::Short { len: len as u64 };
            assert_eq!(SegmentHeader::decode(&bytes[..len]), Err(short));
        }
    }

    #[test]
    fn a_newer_major_version_and_unknown_features_are_named_and_not_taken_for_damage() {
        assert_eq!(forged(8, &[2, 0]), Err(HeaderFault::Newer { major: 2 }));
        assert_eq!(forged(16, &[0, 1, 0, 0]), Err(HeaderFault::Features { bits: 0x100 }));
        assert!(forged(20, &[0xFF; 4]).is_ok(), "compatible features may be ignored");
    }

    #[test]
    fn reserved_bytes_are_zero_in_this_minor_version_and_free_in_later_ones() {
        for at in [60, 101, 136, 140, 144, 148, CRC_AT - 1] {
            assert_eq!(forged(at, &[1]), Err(HeaderFault::Field), "byte {at}");
        }
        let (mut later, _) = random_header(&mut Rng::new(6)).encode();
        later[10] = 2;
        later[200] = 1;
        let crc = crc32fast::hash(&later[..CRC_AT]);
        wire::set_u32(&mut later, CRC_AT, crc);
        assert!(SegmentHeader::decode(&later).is_ok());
    }

    #[test]
    fn a_hash_function_is_named_in_minor_version_1_and_an_unknown_one_is_passed_over_in_later_ones() {
        let some = Some(Digest::from_bytes([9; 32]));
        let plain = SegmentHeader { chain_hash: None, ..random_header(&mut Rng::new(1)) };
        let hashed = SegmentHeader { chain_hash: some, ..plain };
        let minor = |header: &SegmentHeader| wire::u16_at(&header.encode().0, 10);
        assert_eq!((minor(&plain), minor(&hashed)), (0, 1));
        assert_eq!(SegmentHeader::decode(&hashed.encode().0).unwrap().0, hashed);
        let chain_hash = |header, at, bytes: &[u8]| forged_from(header, at, bytes).map(|header| header.chain_hash);
        assert_eq!(chain_hash(&plain, 100, &[1]), Err(HeaderFault::Field), "version 1.0 names none");
        assert_eq!(chain_hash(&plain, 104, &[1]), Err(HeaderFault::Field), "a chain of no function");
        assert_eq!(chain_hash(&hashed, 100, &[2]), Err(HeaderFault::Field), "version 1.1 knows one");
        assert_eq!(chain_hash(&hashed, 10, &[2]), Ok(some));
        let mut later = hashed.encode().0;
        (later[10], later[100]) = (2, 2);
        let crc = crc32fast::hash(&later[..CRC_AT]);
        wire::set_u32(&mut later, CRC_AT, crc);
        assert_eq!(SegmentHeader::decode(&later).unwrap().0.chain_hash, None, "events can be read without it");
    }

    #[test]
    fn numbers_that_later_ones_are_made_from_cannot_be_near_the_end() {
        assert_eq!(forged(12, &[1]), Err(HeaderFault::Field), "the header's length");
        assert_eq!(forged(40, &[0xFF; 8]), Err(HeaderFault::Field), "the segment's number");
        assert_eq!(forged(48, &[0xFF; 8]), Err(HeaderFault::Field), "the base position");
    }
}
