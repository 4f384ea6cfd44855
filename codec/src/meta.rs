//! `store.meta`: the few facts about a store that no segment can hold.
//!
//! Two slots, each in a disk block of its own and rewritten in turn, so that a
//! torn write leaves the other one. The valid slot with the higher sequence wins.
//!
//! ```text
//!    0 magic 8     8 major 2, minor 2   12 reserved 4   16 sequence 8   24 log id 16   40 created_at 8
//!   48 epoch 4    52 active seed 4      56 active segment 8             64 active base position 8
//!   72 floor segment 8                  80 floor position 8             88 zero        508 CRC 4
//! ```
//!
//! The active segment's number, base and seed stand here so that its frames
//! stay readable when its own header is hurt.

use crate::frame::Seed;
use crate::ids::{Epoch, LogId, Position, SegmentNumber};
use crate::segment::{FORMAT_MAJOR, FORMAT_MINOR};
use crate::wire;

/// Length of a slot, in bytes.
pub const META_SLOT_LEN: usize = 512;
/// Distance from one slot to the other, in bytes: more than any disk's block.
pub(crate) const META_SLOT_STRIDE: usize = 4096;
/// Length of the whole file, in bytes.
pub const META_FILE_LEN: usize = 2 * META_SLOT_STRIDE;

const MAGIC: [u8; 8] = *b"\x89ANNMET\n";
const CRC_AT: usize = META_SLOT_LEN - 4;

/// What `store.meta` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoreMeta {
    /// Counts the rewrites; its lowest bit is the slot it is written to.
    pub sequence: u64,
    /// The log's identity.
    pub log_id: LogId,
    /// When the store was made: nanoseconds since 1970 UTC.
    pub created_at: i64,
    /// The epoch of the latest writer.
    pub epoch: Epoch,
    /// The segment that was active when this was written.
    pub active: SegmentNumber,
    /// Its base position.
    pub active_base: Position,
    /// Its seed.
    pub active_seed: Seed,
    /// The oldest segment that still belongs to the log.
    pub floor: SegmentNumber,
    /// The base position of that segment.
    pub floor_base: Position,
}

/// Why `store.meta` cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaFault {
    /// Neither slot is valid.
    #[error("neither slot of store.meta is valid")]
    NoSlot,
    /// A later version of the format wrote it.
    #[error("the store has format version {major}; this program reads version {FORMAT_MAJOR}: use a newer one")]
    Newer {
        /// The major version found.
        major: u16,
    },
}

impl StoreMeta {
    /// Where in the file this is written: the slots take turns.
    pub const fn slot_offset(&self) -> u64 {
        (self.sequence % 2) * META_SLOT_STRIDE as u64
    }

    /// Encodes one slot.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(META_SLOT_LEN);
        out.extend_from_slice(&MAGIC);
        wire::put_u16(&mut out, FORMAT_MAJOR);
        wire::put_u16(&mut out, FORMAT_MINOR);
        wire::put_u32(&mut out, 0);
        wire::put_u64(&mut out, self.sequence);
        out.extend_from_slice(self.log_id.as_bytes());
        wire::put_i64(&mut out, self.created_at);
        wire::put_u32(&mut out, self.epoch.get());
        wire::put_u32(&mut out, self.active_seed.get());
        wire::put_u64(&mut out, self.active.get());
        wire::put_u64(&mut out, self.active_base.get());
        wire::put_u64(&mut out, self.floor.get());
        wire::put_u64(&mut out, self.floor_base.get());
        out.resize(CRC_AT, 0);
        let crc = crc32fast::hash(&out);
        wire::put_u32(&mut out, crc);
        out
    }

    /// Decodes the file: the valid slot with the higher sequence.
    ///
    /// # Errors
    ///
    /// [`MetaFault`] when there is none, or it is of a later format.
    pub fn decode(file: &[u8]) -> Result<StoreMeta, MetaFault> {
        let mut newest: Option<StoreMeta> = None;
        for slot in file.chunks(META_SLOT_STRIDE).take(2) {
            if let Some(meta) = StoreMeta::decode_slot(slot)?
                && newest.is_none_or(|newest| newest.sequence < meta.sequence)
            {
                newest = Some(meta);
            }
        }
        newest.ok_or(MetaFault::NoSlot)
    }

    fn decode_slot(slot: &[u8]) -> Result<Option<StoreMeta>, MetaFault> {
        let Some(slot) = slot.get(..META_SLOT_LEN) else { return Ok(None) };
        if slot[..8] != MAGIC || wire::u32_at(slot, CRC_AT) != crc32fast::hash(&slot[..CRC_AT]) {
            return Ok(None);
        }
        let major = wire::u16_at(slot, 8);
        if major != FORMAT_MAJOR {
            return Err(MetaFault::Newer { major });
        }
        Ok(Some(StoreMeta {
            sequence: wire::u64_at(slot, 16),
            log_id: LogId::from_bytes(wire::array_at(slot, 24)),
            created_at: wire::i64_at(slot, 40),
            epoch: Epoch::new(wire::u32_at(slot, 48)),
            active_seed: Seed(wire::u32_at(slot, 52)),
            active: SegmentNumber::new(wire::u64_at(slot, 56)),
            active_base: Position::new(wire::u64_at(slot, 64)),
            floor: SegmentNumber::new(wire::u64_at(slot, 72)),
            floor_base: Position::new(wire::u64_at(slot, 80)),
        }))
    }
}
