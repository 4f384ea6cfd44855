//! The end of a sealed segment: SEAL frame, dense index, trailer.
//!
//! ```text
//!  ... events and commits ... | SEAL 64 B | offset/8 of each event, 4 B each | pad to 8 | trailer 40 B | end of file
//!
//!  SEAL body    +--------+--------+----------+-----------+-------------------+-------------------+-----------+
//!  (from 20)    | epoch 4| chain 4| events 8 | batches 8 | min recorded_at 8 | max recorded_at 8 | reserved 4|
//!               +--------+--------+----------+-----------+-------------------+-------------------+-----------+
//!
//!  trailer      +----------+-----------+----------------+----------+--------------+-----------+--------+
//!               | magic  8 | file len 8| index offset 8 | events 4 | index CRC  4 | reserved 4| CRC   4|
//!               +----------+-----------+----------------+----------+--------------+-----------+--------+
//! ```
//!
//! What is always true:
//!
//! - The dense index holds one entry for each event, in order: position *p* is
//!   entry *p − base − 1*. It makes a position one read away from its bytes.
//! - A file with a good trailer ends with it. While the last segment may still
//!   be longer (a crash between the write and the trim), what follows is zero.

use crate::frame::{self, FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameKind, Seed};
use crate::ids::{Epoch, Position};
use crate::wire;

const BODY_LEN: usize = 44;

/// Length of a SEAL frame, in bytes.
pub const SEAL_LEN: u64 = frame::padded((FRAME_HEADER_LEN + BODY_LEN) as u64);

/// Length of the trailer, in bytes.
pub const TRAILER_LEN: usize = 40;

const TRAILER_MAGIC: [u8; 8] = *b"\x89ANNEND\n";
const TRAILER_CRC_AT: usize = TRAILER_LEN - 4;

/// The room that sealing a segment of `events` events takes, in bytes.
pub const fn seal_room(events: u64) -> u64 {
    SEAL_LEN + index_len(events) + TRAILER_LEN as u64
}

/// The length of a dense index of `events` entries, padding included, in bytes.
pub const fn index_len(events: u64) -> u64 {
    (events * 4).next_multiple_of(FRAME_ALIGN)
}

/// What a segment holds, as its SEAL frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seal {
    /// The epoch of the writer that sealed it.
    pub epoch: Epoch,
    /// The position of its last event; the base position when it has none.
    pub last: Position,
    /// The chain after its last batch.
    pub chain: u32,
    /// How many events it holds.
    pub events: u64,
    /// How many batches it holds.
    pub batches: u64,
    /// The least `recorded_at`, nanoseconds since 1970 UTC; 0 when it has no events.
    pub min_recorded_at: i64,
    /// The greatest `recorded_at`, nanoseconds since 1970 UTC; 0 when it has no events.
    pub max_recorded_at: i64,
}

impl Seal {
    /// Decodes the seal in `frame`; `None` when its length or a reserved field is wrong.
    ///
    /// # Panics
    ///
    /// When the frame is of another kind.
    pub fn decode(frame: &Frame<'_>) -> Option<Seal> {
        assert!(frame.kind == FrameKind::Seal, "the caller has looked at the kind");
        let body = frame.body();
        if body.len() != BODY_LEN || frame.header.flags != 0 || wire::u32_at(body, 40) != 0 {
            return None;
        }
        let seal = Seal {
            epoch: Epoch::new(wire::u32_at(body, 0)),
            last: frame.header.position,
            chain: wire::u32_at(body, 4),
            events: wire::u64_at(body, 8),
            batches: wire::u64_at(body, 16),
            min_recorded_at: wire::i64_at(body, 24),
            max_recorded_at: wire::i64_at(body, 32),
        };
        (seal.epoch.low_bits() == frame.header.epoch).then_some(seal)
    }

    /// Appends SEAL frame, dense index and trailer to `out`, which then ends the file.
    ///
    /// `at` is the offset in the segment at which they will stand; `offsets`
    /// yields the offset of each event, divided by 8, in order.
    ///
    /// # Panics
    ///
    /// When `offsets` does not yield `events` entries.
    pub fn encode(&self, out: &mut Vec<u8>, seed: Seed, at: u64, offsets: impl Iterator<Item = u32>) -> Trailer {
        let start = frame::begin(out, FrameKind::Seal, 0, self.epoch, self.last);
        wire::put_u32(out, self.epoch.get());
        wire::put_u32(out, self.chain);
        wire::put_u64(out, self.events);
        wire::put_u64(out, self.batches);
        wire::put_i64(out, self.min_recorded_at);
        wire::put_i64(out, self.max_recorded_at);
        wire::put_u32(out, 0);
        frame::finish(out, start, seed);

        let index = out.len();
        for offset in offsets {
            wire::put_u32(out, offset);
        }
        assert_eq!((out.len() - index) as u64, self.events * 4, "one entry for each event");
        let index_crc = seed.checksum(&out[index..]);
        out.resize(index + index_len(self.events) as usize, 0);

        let index_offset = at + (index - start) as u64;
        let trailer = Trailer {
            file_len: index_offset + index_len(self.events) + TRAILER_LEN as u64,
            index_offset,
            events: u32::try_from(self.events).expect("offsets/8 in 32 bits bound the events of a segment"),
            index_crc,
        };
        trailer.encode(out, seed);
        trailer
    }
}

/// The last 40 bytes of a sealed segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trailer {
    /// The length of the whole file, in bytes.
    pub file_len: u64,
    /// Where the dense index begins.
    pub index_offset: u64,
    /// How many entries it has.
    pub events: u32,
    /// Its checksum, begun with the segment's seed, without padding.
    pub index_crc: u32,
}

impl Trailer {
    /// Decodes a trailer; `None` when these 40 bytes are not a good one.
    ///
    /// Good means: magic and checksum, and an index that ends where the trailer begins.
    pub fn decode(bytes: &[u8; TRAILER_LEN], seed: Seed) -> Option<Trailer> {
        if bytes[..8] != TRAILER_MAGIC
            || wire::u32_at(bytes, TRAILER_CRC_AT) != seed.checksum(&bytes[..TRAILER_CRC_AT])
            || wire::u32_at(bytes, 32) != 0
        {
            return None;
        }
        let trailer = Trailer {
            file_len: wire::u64_at(bytes, 8),
            index_offset: wire::u64_at(bytes, 16),
            events: wire::u32_at(bytes, 24),
            index_crc: wire::u32_at(bytes, 28),
        };
        let end =
            trailer.index_offset.checked_add(index_len(u64::from(trailer.events)))?.checked_add(TRAILER_LEN as u64)?;
        (end == trailer.file_len).then_some(trailer)
    }

    /// Where the SEAL frame begins.
    pub fn seal_offset(&self) -> Option<u64> {
        self.index_offset.checked_sub(SEAL_LEN)
    }

    fn encode(&self, out: &mut Vec<u8>, seed: Seed) {
        let start = out.len();
        out.extend_from_slice(&TRAILER_MAGIC);
        wire::put_u64(out, self.file_len);
        wire::put_u64(out, self.index_offset);
        wire::put_u32(out, self.events);
        wire::put_u32(out, self.index_crc);
        wire::put_u32(out, 0);
        let crc = seed.checksum(&out[start..]);
        wire::put_u32(out, crc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_flip;

    const SEED: Seed = Seed::new(11);

    fn seal_of(events: u64) -> Seal {
        Seal {
            epoch: Epoch::new(0x0002_0003),
            last: Position::new(1_000 + events),
            chain: 0xFEED,
            events,
            batches: 2,
            min_recorded_at: -5,
            max_recorded_at: i64::MAX,
        }
    }

    #[test]
    fn the_end_of_a_segment_decodes_to_what_was_encoded_and_fills_the_room_kept_for_it() {
        for events in 0..7 {
            let (seal, at) = (seal_of(events), 4096);
            let mut bytes = Vec::new();
            let trailer = seal.encode(&mut bytes, SEED, at, (0..events as u32).map(|event| 512 + event * 11));
            assert_eq!(bytes.len() as u64, seal_room(events));
            assert_eq!(trailer.file_len, at + seal_room(events));

            let frame = Frame::read(&bytes, SEED).unwrap();
            assert_eq!(Seal::decode(&frame), Some(seal));
            assert_eq!(trailer.seal_offset(), Some(at));
            let index = &bytes[(trailer.index_offset - at) as usize..][..events as usize * 4];
            assert_eq!(trailer.index_crc, SEED.checksum(index));
            let last = bytes.last_chunk().unwrap();
            assert_eq!(Trailer::decode(last, SEED), Some(trailer));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_trailer_is_noticed() {
        let mut bytes = Vec::new();
        seal_of(1).encode(&mut bytes, SEED, 4096, std::iter::once(512));
        let trailer: [u8; TRAILER_LEN] = *bytes.last_chunk().unwrap();
        for_each_flip(&trailer, 0..TRAILER_LEN, |bit, bytes| {
            assert_eq!(Trailer::decode(bytes.first_chunk().unwrap(), SEED), None, "bit {bit}");
        });
        assert_eq!(Trailer::decode(&trailer, Seed::new(12)), None, "nor is that of another segment valid");
    }

    #[test]
    fn a_trailer_with_numbers_near_the_end_is_refused_without_overflow() {
        for (file_len, index_offset, events) in
            [(u64::MAX, u64::MAX, 0), (u64::MAX, u64::MAX - 40, 0), (u64::MAX, u64::MAX - 40, u32::MAX), (40, 8, 0)]
        {
            let mut bytes = Vec::new();
            Trailer { file_len, index_offset, events, index_crc: 0 }.encode(&mut bytes, SEED);
            let trailer = Trailer::decode(bytes.first_chunk().unwrap(), SEED);
            assert!(trailer.is_none_or(|trailer| trailer.seal_offset().is_some()), "{file_len} {index_offset}");
        }
        let mut bytes = Vec::new();
        Trailer { file_len: 40, index_offset: 0, events: 0, index_crc: 0 }.encode(&mut bytes, SEED);
        let trailer = Trailer::decode(bytes.first_chunk().unwrap(), SEED).unwrap();
        assert_eq!(trailer.seal_offset(), None, "no seal fits before it");
    }
}
