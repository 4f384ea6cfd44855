//! Mending the header of a segment: its checksum says which bytes it had, if few of them have changed.
//!
//! The checksum of a header is the seed of all frames behind it. So when the header is hurt and one frame can be read
//! with some seed, that seed says what the checksum of the header has to be, and a change to one byte (or to bytes that
//! are zero in every header) can be taken back. What was mended is exactly what was written: every frame and every mark
//! that was made of the segment stays good.

use crate::frame::Seed;
use crate::segment::{HeaderFault, SEGMENT_HEADER_LEN, SegmentHeader};
use crate::wire;

const CRC_AT: usize = SEGMENT_HEADER_LEN - 4;
/// Behind this, a header of this version is zero; and from the other one on, if no event of the segment is redacted.
const RESERVED_FROM: usize = 148;
const ZERO_FROM: usize = 136;

/// The header that had this seed, if changing one byte of `bytes` gives it, or clearing those that are reserved, or both.
///
/// Of a header that was mended in this way one can be as sure as of a checksum of 32 bits that was tried a million times
/// and has to give a header that makes sense: what it says must still be compared with what its neighbours say.
pub fn mend_header(bytes: &[u8], seed: Seed) -> Option<(SegmentHeader, Vec<u8>)> {
    let found = bytes.get(..SEGMENT_HEADER_LEN)?.to_vec();
    let cleared = |from: usize| {
        let mut cleared = found.clone();
        cleared[from..CRC_AT].fill(0);
        cleared
    };
    let candidates = [cleared(RESERVED_FROM), cleared(ZERO_FROM)];
    [found.clone()].into_iter().chain(candidates).find_map(|candidate| mend_one(candidate, seed))
}

fn mend_one(mut bytes: Vec<u8>, seed: Seed) -> Option<(SegmentHeader, Vec<u8>)> {
    wire::set_u32(&mut bytes, CRC_AT, seed.get());
    if let Some(header) = decoded(&bytes, seed) {
        return Some((header, bytes));
    }
    // CRC is linear: a difference of bytes is a difference of checksums, whatever the other bytes are. What a byte at
    // `at` does to the checksum is what it does in zeros, pushed on by one zero byte for each that follows.
    let wanted = seed.get() ^ crc32fast::hash(&bytes[..CRC_AT]);
    let table: Vec<u32> = (0..=255).map(step).collect();
    let mut effects: Vec<u32> = table.clone();
    for at in (0..CRC_AT).rev() {
        for value in 1..=255_u8 {
            if effects[usize::from(value)] == wanted {
                bytes[at] ^= value;
                if let Some(header) = decoded(&bytes, seed) {
                    return Some((header, bytes));
                }
                bytes[at] ^= value;
            }
        }
        for effect in &mut effects {
            *effect = (*effect >> 8) ^ table[(*effect & 0xFF) as usize];
        }
    }
    None
}

/// What one byte does to a CRC-32/IEEE that is zero.
fn step(byte: u32) -> u32 {
    (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
}

fn decoded(bytes: &[u8], seed: Seed) -> Option<SegmentHeader> {
    let header: Result<_, HeaderFault> = SegmentHeader::decode(bytes);
    header.ok().filter(|(_, found)| *found == seed).map(|(header, _)| header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::ids::{Epoch, LogId, Position, SegmentNumber};
    use crate::redaction::RedactionMark;
    use crate::testing::{Rng, rounds};

    fn header(rng: &mut Rng) -> SegmentHeader {
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
            redacted: rng
                .chance()
                .then(|| RedactionMark { events: 1 + rng.below(9) as u32, positions: rng.next() as u32 }),
        }
    }

    #[test]
    fn one_changed_byte_anywhere_is_taken_back_exactly() {
        let mut rng = Rng::new(1);
        let plain = SegmentHeader { redacted: None, ..header(&mut rng) };
        let redacted = Some(RedactionMark { events: 3, positions: 0x1234_5678 });
        for whole in [plain, SegmentHeader { redacted, ..plain }] {
            let (bytes, seed) = whole.encode();
            for at in (0..200).chain((200..SEGMENT_HEADER_LEN).step_by(97)).chain(CRC_AT..SEGMENT_HEADER_LEN) {
                for change in [1, 0x80, 1 + rng.below(255) as u8] {
                    let mut hurt = bytes.clone();
                    hurt[at] ^= change;
                    assert_eq!(mend_header(&hurt, seed), Some((whole, bytes.clone())), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn whatever_lies_where_a_header_is_zero_is_cleared_and_one_byte_more_is_mended() {
        let mut rng = Rng::new(2);
        for round in 0..rounds(100) {
            let whole = header(&mut rng);
            let (bytes, seed) = whole.encode();
            let mut hurt = bytes.clone();
            let from = if whole.redacted.is_some() { RESERVED_FROM } else { ZERO_FROM };
            let garbage = rng.bytes(CRC_AT - from);
            hurt[from..CRC_AT].copy_from_slice(&garbage);
            hurt[rng.below(from)] ^= 4;
            assert_eq!(mend_header(&hurt, seed), Some((whole, bytes)), "round {round}");
        }
    }

    #[test]
    fn what_cannot_be_mended_is_not_made_up() {
        let mut rng = Rng::new(3);
        for round in 0..rounds(200) {
            let (bytes, seed) = header(&mut rng).encode();
            let mut hurt = bytes.clone();
            let garbage = rng.bytes(64);
            hurt[20..84].copy_from_slice(&garbage);
            assert_eq!(mend_header(&hurt, seed), None, "round {round}");
            assert_eq!(mend_header(&bytes[..SEGMENT_HEADER_LEN - 1], seed), None);
        }
    }
}
