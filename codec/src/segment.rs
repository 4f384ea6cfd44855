//! The header of a segment: the first 4096 bytes of the file.
//!
//! ```text
//!    0 magic 8           8 major 2, minor 2   12 header length 4   16 incompatible 4   20 compatible 4
//!   24 log id 16        40 segment number 8   48 base position 8   56 epoch 4          60 reserved 4
//!   64 salt 16          80 created_at 8       88 predecessor's length 8                96 its chain 4
//!  100 reserved 4      104 chain hash at base 32                  136 zero             4092 CRC 4
//! ```
//!
//! What is always true:
//!
//! - The CRC of bytes `0..4092` stands at 4092, and is the [`Seed`] of every
//!   other checksum in the segment. The salt is random, so no two segments share it.
//! - The header is synced before the file gets its name: a bad header under a
//!   `.seg` name is damage, never an interrupted write.
//! - The base position is that of the last event *before* this segment.

use crate::frame::Seed;
use crate::ids::{Epoch, LogId, Position, SegmentNumber};
use crate::wire;

/// Length of the header, in bytes; the first frame follows it.
pub const SEGMENT_HEADER_LEN: usize = 4096;

/// The major version of the format that this crate writes and reads.
pub const FORMAT_MAJOR: u16 = 1;
/// The minor version of the format that this crate writes; it reads every minor version.
pub const FORMAT_MINOR: u16 = 0;

/// The first 8 bytes of every segment. The first has its high bit set and the
/// last are CR-free, so transfers that mangle text are noticed (as in PNG).
pub const SEGMENT_MAGIC: [u8; 8] = [0x89, 0x41, 0x4E, 0x4E, 0x53, 0x45, 0x47, 0x0A];

const CRC_AT: usize = SEGMENT_HEADER_LEN - 4;

/// Bits of features that a reader must know to read the segment at all. None exist yet.
const KNOWN_INCOMPATIBLE: u32 = 0;

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
    /// The hash chain at its base; zero when the store keeps none.
    pub chain_hash: [u8; 32],
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
        wire::put_u16(&mut out, FORMAT_MINOR);
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
        wire::put_u32(&mut out, 0);
        out.extend_from_slice(&self.chain_hash);
        out.resize(CRC_AT, 0);
        let crc = crc32fast::hash(&out);
        wire::put_u32(&mut out, crc);
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
        let bits = wire::u32_at(bytes, 16) & !KNOWN_INCOMPATIBLE;
        if bits != 0 {
            return Err(HeaderFault::Features { bits });
        }
        let header = SegmentHeader {
            log_id: LogId::from_bytes(wire::array_at(bytes, 24)),
            number: SegmentNumber::new(wire::u64_at(bytes, 40)),
            base: Position::new(wire::u64_at(bytes, 48)),
            epoch: Epoch::new(wire::u32_at(bytes, 56)),
            salt: wire::array_at(bytes, 64),
            created_at: wire::i64_at(bytes, 80),
            predecessor_len: wire::u64_at(bytes, 88),
            chain: wire::u32_at(bytes, 96),
            chain_hash: wire::array_at(bytes, 104),
        };
        let reserved_is_zero = wire::u32_at(bytes, 60) == 0 && wire::u32_at(bytes, 100) == 0;
        if wire::u32_at(bytes, 12) != SEGMENT_HEADER_LEN as u32 || !reserved_is_zero {
            return Err(HeaderFault::Field);
        }
        Ok((header, Seed(crc)))
    }
}
