//! A consumer's file: how far it has come, and in which history.
//!
//! Two slots, each in a disk block of its own and rewritten in turn, so that a
//! torn write leaves the other one. The valid slot with the higher sequence wins.
//!
//! ```text
//!    0 magic 8    8 version 2   10 reserved 6   16 sequence 8   24 written at 8   32 mark 64   96 zero   508 CRC 4
//! ```

use crate::ids::Position;
use crate::mark::Mark;
use crate::wire;

const SLOT_LEN: usize = 512;
/// Distance from one slot to the other, in bytes: more than any disk's block.
const SLOT_STRIDE: usize = 4096;
const MAGIC: [u8; 8] = *b"\x89ANNCON\n";
const VERSION: u16 = 1;
const MARK_AT: usize = 32;
const CRC_AT: usize = SLOT_LEN - 4;

/// How far a consumer has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Counts the rewrites; its lowest bit is the slot it is written to.
    pub sequence: u64,
    /// When it was written: nanoseconds since 1970 UTC.
    pub written_at: i64,
    /// The position that was finished, and its history.
    pub mark: Mark,
}

/// Why a consumer's file cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// Neither slot is valid.
    #[error("neither of its two slots is valid")]
    NoSlot,
    /// A later version of the format wrote it.
    #[error("it has version {version}, and this program reads version {VERSION}: use a newer one")]
    Newer {
        /// The version found.
        version: u16,
    },
}

impl Checkpoint {
    /// Length of the whole file, in bytes.
    pub const FILE_LEN: usize = 2 * SLOT_STRIDE;

    /// The position that was finished.
    pub fn position(&self) -> Position {
        self.mark.position
    }

    /// Where in the file this is written: the slots take turns.
    pub const fn slot_offset(&self) -> u64 {
        (self.sequence % 2) * SLOT_STRIDE as u64
    }

    /// Encodes one slot.
    pub fn encode(&self) -> Vec<u8> {
        let mut slot = vec![0; SLOT_LEN];
        slot[..8].copy_from_slice(&MAGIC);
        wire::set_u16(&mut slot, 8, VERSION);
        wire::set_u64(&mut slot, 16, self.sequence);
        wire::set_i64(&mut slot, 24, self.written_at);
        slot[MARK_AT..MARK_AT + Mark::LEN].copy_from_slice(&self.mark.encode());
        let crc = crc32fast::hash(&slot[..CRC_AT]);
        wire::set_u32(&mut slot, CRC_AT, crc);
        slot
    }

    /// Decodes the file: the valid slot with the higher sequence.
    ///
    /// # Errors
    ///
    /// [`CheckpointFault`] when there is none, or one is of a later version.
    pub fn decode(file: &[u8]) -> Result<Checkpoint, CheckpointFault> {
        let mut newest: Option<Checkpoint> = None;
        for slot in file.chunks(SLOT_STRIDE).take(2) {
            if let Some(checkpoint) = Checkpoint::decode_slot(slot)?
                && newest.is_none_or(|newest| newest.sequence < checkpoint.sequence)
            {
                newest = Some(checkpoint);
            }
        }
        newest.ok_or(CheckpointFault::NoSlot)
    }

    fn decode_slot(slot: &[u8]) -> Result<Option<Checkpoint>, CheckpointFault> {
        let Some(slot) = slot.get(..SLOT_LEN) else { return Ok(None) };
        if slot[..8] != MAGIC || wire::u32_at(slot, CRC_AT) != crc32fast::hash(&slot[..CRC_AT]) {
            return Ok(None);
        }
        let version = wire::u16_at(slot, 8);
        if version != VERSION {
            return Err(CheckpointFault::Newer { version });
        }
        if slot[10..16].iter().chain(&slot[MARK_AT + Mark::LEN..CRC_AT]).any(|&byte| byte != 0) {
            return Ok(None);
        }
        let (Some(sequence), Some(mark)) = (wire::count_at(slot, 16), Mark::decode(&slot[MARK_AT..])) else {
            return Ok(None);
        };
        Ok(Some(Checkpoint { sequence, written_at: wire::i64_at(slot, 24), mark }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LogId;
    use crate::testing::{each, for_each_flip};

    fn checkpoint(sequence: u64) -> Checkpoint {
        let mark = Mark {
            log_id: LogId::from_bytes([7; 16]),
            position: Position::new(sequence * 10),
            chain: 0xC78D_DCC1,
            hash: None,
        };
        Checkpoint { sequence, written_at: -5, mark }
    }

    fn file_of(checkpoints: &[Checkpoint]) -> Vec<u8> {
        let mut file = vec![0; Checkpoint::FILE_LEN];
        for checkpoint in checkpoints {
            let at = checkpoint.slot_offset() as usize;
            file[at..at + SLOT_LEN].copy_from_slice(&checkpoint.encode());
        }
        file
    }

    #[test]
    fn the_newer_of_two_slots_wins_and_any_flipped_bit_of_it_leaves_the_older_one() {
        for (older, newer) in [(checkpoint(6), checkpoint(7)), (checkpoint(7), checkpoint(8))] {
            assert_eq!(Checkpoint::decode(&file_of(&[older])), Ok(older));
            let (file, at) = (file_of(&[older, newer]), newer.slot_offset() as usize);
            assert_eq!(Checkpoint::decode(&file), Ok(newer));
            for_each_flip(&file, at..at + SLOT_LEN, |bit, file| {
                assert_eq!(Checkpoint::decode(file), Ok(older), "bit {bit}");
            });
        }
    }

    #[test]
    fn a_file_without_a_valid_slot_says_nothing_whatever_its_length() {
        let file = file_of(&[checkpoint(2)]);
        for len in each(0..SLOT_LEN) {
            assert_eq!(Checkpoint::decode(&file[..len]), Err(CheckpointFault::NoSlot), "{len}");
        }
        assert_eq!(Checkpoint::decode(&file[..SLOT_LEN]), Ok(checkpoint(2)));
        assert_eq!(Checkpoint::decode(&[0; Checkpoint::FILE_LEN]), Err(CheckpointFault::NoSlot));
    }

    #[test]
    fn a_later_version_is_told_from_damage_and_forged_numbers_are_damage() {
        let forged = |at: usize, bytes: &[u8]| {
            let mut slot = checkpoint(2).encode();
            slot[at..at + bytes.len()].copy_from_slice(bytes);
            let crc = crc32fast::hash(&slot[..CRC_AT]);
            wire::set_u32(&mut slot, CRC_AT, crc);
            Checkpoint::decode(&slot)
        };
        assert_eq!(forged(0, &[]), Ok(checkpoint(2)), "the forging itself is sound");
        assert_eq!(forged(8, &[2]), Err(CheckpointFault::Newer { version: 2 }));
        for (at, bytes) in [(10, [1; 1].as_slice()), (16, &[0xFF; 8]), (48, &[0xFF; 8]), (60, &[9]), (96, &[1])] {
            assert_eq!(forged(at, bytes), Err(CheckpointFault::NoSlot), "byte {at}");
        }
    }
}
