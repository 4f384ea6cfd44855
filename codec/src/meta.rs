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
        // A later minor version may have given the reserved bytes a meaning that this one can do without.
        let is_later = wire::u16_at(slot, 10) > FORMAT_MINOR;
        let reserved_is_zero = slot[12..16].iter().chain(&slot[88..CRC_AT]).all(|&byte| byte == 0);
        Ok(if is_later || reserved_is_zero { StoreMeta::decode_fields(slot) } else { None })
    }

    fn decode_fields(slot: &[u8]) -> Option<StoreMeta> {
        Some(StoreMeta {
            sequence: wire::count_at(slot, 16)?,
            log_id: LogId::from_bytes(wire::array_at(slot, 24)),
            created_at: wire::i64_at(slot, 40),
            epoch: Epoch::new(wire::u32_at(slot, 48)),
            active_seed: Seed(wire::u32_at(slot, 52)),
            active: SegmentNumber::new(wire::count_at(slot, 56)?),
            active_base: Position::new(wire::count_at(slot, 64)?),
            floor: SegmentNumber::new(wire::count_at(slot, 72)?),
            floor_base: Position::new(wire::count_at(slot, 80)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, each, for_each_flip, rounds};

    fn meta(sequence: u64) -> StoreMeta {
        let mut rng = Rng::new(sequence);
        StoreMeta {
            sequence,
            log_id: LogId::from_bytes(std::array::from_fn(|_| rng.next() as u8)),
            created_at: rng.next().cast_signed(),
            epoch: Epoch::new(rng.next() as u32),
            active: SegmentNumber::new(rng.next() >> 1),
            active_base: Position::new(rng.next() >> 1),
            active_seed: Seed::new(rng.next() as u32),
            floor: SegmentNumber::new(rng.next() >> 1),
            floor_base: Position::new(rng.next() >> 1),
        }
    }

    fn file_of(metas: &[StoreMeta]) -> Vec<u8> {
        let mut file = vec![0; META_FILE_LEN];
        for meta in metas {
            let at = meta.slot_offset() as usize;
            file[at..at + META_SLOT_LEN].copy_from_slice(&meta.encode());
        }
        file
    }

    /// A file with one slot, in which bytes are replaced and the checksum is good.
    fn decode_forged(at: usize, bytes: &[u8]) -> Result<StoreMeta, MetaFault> {
        let mut file = file_of(&[meta(4)]);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32fast::hash(&file[..CRC_AT]);
        wire::set_u32(&mut file, CRC_AT, crc);
        StoreMeta::decode(&file)
    }

    #[test]
    fn the_newer_of_two_slots_wins_whichever_it_is() {
        for sequence in 0..rounds(50) {
            let (older, newer) = (meta(sequence), meta(sequence + 1));
            assert_eq!(StoreMeta::decode(&file_of(&[older])), Ok(older));
            assert_eq!(StoreMeta::decode(&file_of(&[older, newer])), Ok(newer));
        }
    }

    #[test]
    fn any_flipped_bit_of_the_newer_slot_leaves_the_older_one() {
        for (older, newer) in [(meta(6), meta(7)), (meta(7), meta(8))] {
            let (file, at) = (file_of(&[older, newer]), newer.slot_offset() as usize);
            for_each_flip(&file, at..at + META_SLOT_LEN, |bit, file| {
                assert_eq!(StoreMeta::decode(file), Ok(older), "bit {bit}");
            });
        }
    }

    #[test]
    fn a_slot_torn_anywhere_leaves_the_older_one() {
        let (older, newer) = (meta(6), meta(7));
        let (before, after) = (file_of(&[older]), file_of(&[older, newer]));
        for cut in each(0..META_SLOT_LEN) {
            let at = newer.slot_offset() as usize + cut;
            let torn = [&after[..at], &before[at..]].concat();
            let decoded = StoreMeta::decode(&torn);
            assert!(decoded == Ok(older) || (decoded == Ok(newer) && torn == after), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_without_a_valid_slot_is_refused_whatever_its_length() {
        let file = file_of(&[meta(3)]);
        assert_eq!(StoreMeta::decode(&vec![0; META_FILE_LEN]), Err(MetaFault::NoSlot));
        for len in [0, 1, 511, 512, 4096, 4096 + 511] {
            assert_eq!(StoreMeta::decode(&file[..len]), Err(MetaFault::NoSlot), "{len}");
        }
        assert!(StoreMeta::decode(&file[..4096 + 512]).is_ok(), "the rest of the second block holds nothing");
    }

    #[test]
    fn a_newer_major_version_is_named() {
        assert_eq!(decode_forged(8, &[2, 0]), Err(MetaFault::Newer { major: 2 }));
    }

    #[test]
    fn reserved_bytes_are_zero_in_this_minor_version_and_free_in_later_ones() {
        for at in [12, 88, CRC_AT - 1] {
            assert_eq!(decode_forged(at, &[1]), Err(MetaFault::NoSlot), "byte {at}");
        }
        assert_eq!(decode_forged(10, &[1, 0, 7]), Ok(meta(4)));
    }

    #[test]
    fn numbers_that_later_ones_are_made_from_cannot_be_near_the_end() {
        for at in [16, 56, 64, 72, 80] {
            assert_eq!(decode_forged(at, &[0xFF; 8]), Err(MetaFault::NoSlot), "byte {at}");
        }
    }
}
