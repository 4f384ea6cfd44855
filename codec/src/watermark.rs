//! `WATERMARK`: how far the log was durable, as of the last sync that said so.
//!
//! Two slots of 512 bytes, written in turn after each successful sync and never
//! synced themselves on the hot path. It is a lower bound of what was
//! acknowledged: what lies below it and is bad, is damage. It is also how
//! readers in other processes learn of progress, and of segments that were removed.
//!
//! ```text
//!    0 magic 8    8 log id 16   24 sequence 8   32 epoch 4   36 reserved 4
//!   40 segment 8 48 durable offset 8            56 durable position 8          64 floor 8  72 zero    508 CRC 4
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
    /// The oldest segment that belonged to the log.
    pub floor: SegmentNumber,
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
        wire::set_u64(&mut slot, 24, self.sequence);
        wire::set_u32(&mut slot, 32, self.epoch.get());
        wire::set_u64(&mut slot, 40, self.segment.get());
        wire::set_u64(&mut slot, 48, self.offset);
        wire::set_u64(&mut slot, 56, self.position.get());
        wire::set_u64(&mut slot, 64, self.floor.get());
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
        if slot[36..40].iter().chain(&slot[72..CRC_AT]).any(|&byte| byte != 0) {
            return None;
        }
        Some(Watermark {
            log_id: LogId::from_bytes(wire::array_at(slot, 8)),
            sequence: wire::count_at(slot, 24)?,
            epoch: Epoch::new(wire::u32_at(slot, 32)),
            segment: SegmentNumber::new(wire::count_at(slot, 40)?),
            offset: wire::count_at(slot, 48)?,
            position: Position::new(wire::count_at(slot, 56)?),
            floor: SegmentNumber::new(wire::count_at(slot, 64)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, each, for_each_flip, rounds};

    fn watermark(sequence: u64) -> Watermark {
        let mut rng = Rng::new(sequence);
        Watermark {
            log_id: LogId::from_bytes(std::array::from_fn(|_| rng.next() as u8)),
            sequence,
            epoch: Epoch::new(rng.next() as u32),
            segment: SegmentNumber::new(rng.next() >> 1),
            offset: rng.next() >> 1,
            position: Position::new(rng.next() >> 1),
            floor: SegmentNumber::new(rng.next() >> 1),
        }
    }

    fn file_of(watermarks: &[Watermark]) -> Vec<u8> {
        let mut file = vec![0; WATERMARK_FILE_LEN];
        for watermark in watermarks {
            let at = watermark.slot_offset() as usize;
            file[at..at + WATERMARK_SLOT_LEN].copy_from_slice(&watermark.encode());
        }
        file
    }

    #[test]
    fn the_newer_of_two_slots_wins_whichever_it_is() {
        for sequence in 0..rounds(50) {
            let (older, newer) = (watermark(sequence), watermark(sequence + 1));
            assert_eq!(Watermark::decode(&file_of(&[older])), Some(older));
            assert_eq!(Watermark::decode(&file_of(&[older, newer])), Some(newer));
        }
    }

    #[test]
    fn any_flipped_bit_of_the_newer_slot_leaves_the_older_one() {
        for (older, newer) in [(watermark(6), watermark(7)), (watermark(7), watermark(8))] {
            let (file, at) = (file_of(&[older, newer]), newer.slot_offset() as usize);
            for_each_flip(&file, at..at + WATERMARK_SLOT_LEN, |bit, file| {
                assert_eq!(Watermark::decode(file), Some(older), "bit {bit}");
            });
        }
    }

    #[test]
    fn a_file_without_a_valid_slot_says_nothing_whatever_its_length() {
        let file = file_of(&[watermark(2), watermark(3)]);
        for len in each(0..WATERMARK_SLOT_LEN) {
            assert_eq!(Watermark::decode(&file[..len]), None, "{len}");
        }
        for len in each(WATERMARK_SLOT_LEN..WATERMARK_FILE_LEN) {
            assert_eq!(Watermark::decode(&file[..len]), Some(watermark(2)), "{len}");
        }
        assert_eq!(Watermark::decode(&[0; WATERMARK_FILE_LEN]), None);
    }

    #[test]
    fn impossible_numbers_and_reserved_bytes_make_a_slot_invalid_though_its_checksum_is_good() {
        let forged = |at: usize, bytes: &[u8]| {
            let mut slot = watermark(2).encode();
            slot[at..at + bytes.len()].copy_from_slice(bytes);
            let crc = crc32fast::hash(&slot[..CRC_AT]);
            wire::set_u32(&mut slot, CRC_AT, crc);
            Watermark::decode(&slot)
        };
        assert_eq!(forged(0, &[]), Some(watermark(2)), "the forging itself is sound");
        for at in [24, 40, 48, 56, 64] {
            assert_eq!(forged(at, &[0xFF; 8]), None, "byte {at}");
        }
        for at in [36, 72, CRC_AT - 1] {
            assert_eq!(forged(at, &[1]), None, "byte {at}");
        }
    }
}
