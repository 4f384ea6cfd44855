//! `WATERMARK`: how far the log was durable, as of the last sync that said so.
//!
//! Two slots of 512 bytes, written in turn after each successful sync and never
//! synced themselves on the hot path. It is a lower bound of what was
//! acknowledged: what lies below it and is bad, is damage. It is also how
//! readers in other processes learn of progress.
//!
//! ```text
//!    0 magic 8    8 log id 16   24 sequence 8   32 epoch 4   36 reserved 4
//!   40 segment 8 48 durable offset 8            56 durable position 8          64 zero    508 CRC 4
//! ```

use crate::ids::{Epoch, LogId, Position, SegmentNumber};
use crate::wire;

/// Length of a slot, in bytes: one disk sector, which is written whole or not at all.
pub const WATERMARK_SLOT_LEN: usize = 512;
/// Length of the whole file, in bytes.
pub const WATERMARK_FILE_LEN: usize = 2 * WATERMARK_SLOT_LEN;

const MAGIC: [u8; 8] = *b"\x89ANNWTM\n";
const CRC_AT: usize = WATERMARK_SLOT_LEN - 4;

/// What `WATERMARK` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Watermark {
    /// The log it speaks of.
    pub log_id: LogId,
    /// Counts the rewrites; its lowest bit is the slot it is written to.
    pub sequence: u64,
    /// The epoch of the writer.
    pub epoch: Epoch,
    /// The segment that was active.
    pub segment: SegmentNumber,
    /// The offset in that segment below which everything was durable.
    pub offset: u64,
    /// The position of the last durable event.
    pub position: Position,
}

impl Watermark {
    /// Where in the file this is written: the slots take turns.
    pub const fn slot_offset(&self) -> u64 {
        (self.sequence % 2) * WATERMARK_SLOT_LEN as u64
    }

    /// Encodes one slot.
    pub fn encode(&self) -> [u8; WATERMARK_SLOT_LEN] {
        let mut slot = [0; WATERMARK_SLOT_LEN];
        slot[..8].copy_from_slice(&MAGIC);
        slot[8..24].copy_from_slice(self.log_id.as_bytes());
        slot[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        wire::set_u32(&mut slot, 32, self.epoch.get());
        slot[40..48].copy_from_slice(&self.segment.get().to_le_bytes());
        slot[48..56].copy_from_slice(&self.offset.to_le_bytes());
        slot[56..64].copy_from_slice(&self.position.get().to_le_bytes());
        let crc = crc32fast::hash(&slot[..CRC_AT]);
        wire::set_u32(&mut slot, CRC_AT, crc);
        slot
    }

    /// Decodes the file: the valid slot with the higher sequence, if there is one.
    pub fn decode(file: &[u8]) -> Option<Watermark> {
        let slots = file.chunks(WATERMARK_SLOT_LEN).take(2);
        slots.filter_map(Watermark::decode_slot).max_by_key(|watermark| watermark.sequence)
    }

    fn decode_slot(slot: &[u8]) -> Option<Watermark> {
        let slot = slot.get(..WATERMARK_SLOT_LEN)?;
        if slot[..8] != MAGIC || wire::u32_at(slot, CRC_AT) != crc32fast::hash(&slot[..CRC_AT]) {
            return None;
        }
        Some(Watermark {
            log_id: LogId::from_bytes(wire::array_at(slot, 8)),
            sequence: wire::u64_at(slot, 24),
            epoch: Epoch::new(wire::u32_at(slot, 32)),
            segment: SegmentNumber::new(wire::u64_at(slot, 40)),
            offset: wire::u64_at(slot, 48),
            position: Position::new(wire::u64_at(slot, 56)),
        })
    }
}
