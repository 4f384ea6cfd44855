//! The body of a COMMIT frame: the marker that makes a batch exist.
//!
//! ```text
//!  frame offset   20       24       28               36                 44       48
//!                 +--------+--------+----------------+------------------+--------+--------+
//!                 | epoch 4| count 4| first pos 8    | durable offset 8 | bytes 4| chain 4|
//!                 +--------+--------+----------------+------------------+--------+--------+
//!                 52      54      56          58            64
//!                 +-------+-------+-----------+-------------+-- if there -------------------+
//!                 |flags 2|key   2|tracking  2| reserved   6| hash 32, key, tracking record |
//!                 +-------+-------+-----------+-------------+-------------------------------+
//!                 tracking record: upstream position 8, source name
//! ```
//!
//! - The frame's own position is that of the last event of the log so far; a
//!   batch without events (it only moves a tracking position) repeats it.
//! - `durable offset` is the written end of this segment as it was captured
//!   *before* the latest successful sync call: everything below it was on disk
//!   when this marker was written. It is what tells damage from a torn tail.
//! - `bytes` is the distance from the batch's first EVENT frame to this frame.
//! - `chain` is a CRC over the previous chain, the checksum of each event frame
//!   of the batch, and this body's fields before it: a batch that is missing,
//!   repeated or out of order breaks it.

use crate::digest::Digest;
use crate::frame::{self, FRAME_HEADER_LEN, Frame, FrameKind, Seed};
use crate::ids::{Epoch, Position};
use crate::name::{IdempotencyKey, NameError, SourceName};
use crate::wire;

const FIXED_LEN: usize = 44;
/// How many bytes of the body come before the chain, and go into it.
const CHAINED_LEN: usize = 28;
const HAS_HASH: u16 = 1;
const UPSTREAM_LEN: usize = 8;

/// The lengths that the frame of a marker can have, without padding, in bytes.
pub(crate) const FRAME_LENS: std::ops::RangeInclusive<u32> = {
    let least = FRAME_HEADER_LEN + FIXED_LEN;
    let most = least + Digest::LEN + IdempotencyKey::MAX_LEN + UPSTREAM_LEN + SourceName::MAX_LEN;
    least as u32..=most as u32
};

/// How far a foreign source was processed, recorded together with the events made of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tracking<'a> {
    /// The source.
    pub source: &'a str,
    /// The position in that source, in whatever it counts; it only ever grows.
    pub upstream: u64,
}

/// A commit marker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Commit<'a> {
    /// The epoch of the writer.
    pub epoch: Epoch,
    /// How many events the batch holds.
    pub count: u32,
    /// The position of its first event: one more than the last of the batch before.
    pub first: Position,
    /// The position of its last event; the one before `first` when there is none.
    pub last: Position,
    /// The offset in this segment below which everything was durable when this was written.
    pub durable_offset: u64,
    /// From the first EVENT frame to this frame, in bytes.
    pub batch_bytes: u32,
    /// The chain at the end of this batch.
    pub chain: u32,
    /// The hash chain at the end of this batch, when the store keeps one.
    pub hash: Option<Digest>,
    /// The request's idempotency key, when it had one.
    pub key: Option<&'a str>,
    /// The tracking record, when the batch has one.
    pub tracking: Option<Tracking<'a>>,
}

/// Why the body of a frame with a good checksum is not a commit marker.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitFault {
    /// The lengths of the parts do not add up to the length of the frame.
    #[error("the lengths of the parts do not add up to the length of the frame")]
    Lengths,
    /// A flag or reserved field is set that this version does not know.
    #[error("a flag or reserved field is set that this version does not know")]
    Reserved,
    /// `first`, `count` and the frame's position contradict each other.
    #[error("{count} events from position {first} do not end at position {last}")]
    Positions {
        /// The stored position of the first event.
        first: Position,
        /// The stored number of events.
        count: u32,
        /// The stored position of the last event.
        last: Position,
    },
    /// The epoch's low bits differ from those in the frame's header.
    #[error("the epoch differs from the one in the frame header")]
    Epoch,
    /// A name in it is not one.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The chain of one batch while it is built or checked: what its commit marker must say.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    checksums: Vec<u8>,
}

impl Chain {
    /// Takes in the checksum of the next event frame.
    #[inline]
    pub fn push(&mut self, event_crc: u32) {
        wire::put_u32(&mut self.checksums, event_crc);
    }

    /// The chain value after a batch with these events whose commit marker
    /// begins with `fields`; then starts over for the next batch.
    fn close(&mut self, previous: u32, fields: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&wire::bytes_of(previous));
        hasher.update(&self.checksums);
        hasher.update(fields);
        self.checksums.clear();
        hasher.finalize()
    }

    /// The chain value that the marker in `frame` should carry, if the batch
    /// before it ended with `previous`; then starts over.
    pub fn expected(&mut self, previous: u32, frame: &Frame<'_>) -> u32 {
        let body = frame.body();
        self.close(previous, &body[..CHAINED_LEN.min(body.len())])
    }

    /// Forgets the events taken in.
    pub fn clear(&mut self) {
        self.checksums.clear();
    }
}

impl<'a> Commit<'a> {
    /// A marker for `count` events, the last of which is at `last`.
    pub fn new(epoch: Epoch, last: Position, count: u32) -> Commit<'a> {
        Commit {
            epoch,
            count,
            first: Position::new(last.plus(1).get().saturating_sub(u64::from(count))),
            last,
            durable_offset: 0,
            batch_bytes: 0,
            chain: 0,
            hash: None,
            key: None,
            tracking: None,
        }
    }

    /// Decodes the marker in `frame`, checking all that it alone can tell.
    ///
    /// # Errors
    ///
    /// [`CommitFault`] when the body is not a marker of this version.
    ///
    /// # Panics
    ///
    /// When the frame is of another kind.
    pub fn decode(frame: &Frame<'a>) -> Result<Commit<'a>, CommitFault> {
        assert!(frame.kind == FrameKind::Commit, "the caller has looked at the kind");
        let body = frame.body();
        if body.len() < FIXED_LEN {
            return Err(CommitFault::Lengths);
        }
        let (fixed, mut rest) = body.split_at(FIXED_LEN);
        let flags = wire::u16_at(fixed, 32);
        if flags & !HAS_HASH != 0 || frame.header.flags != 0 || fixed[38..].iter().any(|&byte| byte != 0) {
            return Err(CommitFault::Reserved);
        }
        let mut take = |len: usize| {
            let (part, tail) = rest.split_at_checked(len).ok_or(CommitFault::Lengths)?;
            rest = tail;
            Ok::<&'a [u8], CommitFault>(part)
        };
        let hash =
            if flags & HAS_HASH == 0 { None } else { Some(Digest::from_bytes(wire::array_at(take(Digest::LEN)?, 0))) };
        let key = match wire::u16_at(fixed, 34) {
            0 => None,
            len => Some(IdempotencyKey::check_bytes(take(len as usize)?)?),
        };
        let tracking = match wire::u16_at(fixed, 36) as usize {
            0 => None,
            len if len <= UPSTREAM_LEN => return Err(CommitFault::Lengths),
            len => {
                let (upstream, source) = take(len)?.split_at(UPSTREAM_LEN);
                Some(Tracking { source: SourceName::check_bytes(source)?, upstream: wire::u64_at(upstream, 0) })
            }
        };
        if !rest.is_empty() {
            return Err(CommitFault::Lengths);
        }
        let commit = Commit {
            epoch: Epoch::new(wire::u32_at(fixed, 0)),
            count: wire::u32_at(fixed, 4),
            first: Position::new(wire::u64_at(fixed, 8)),
            last: frame.header.position,
            durable_offset: wire::u64_at(fixed, 16),
            batch_bytes: wire::u32_at(fixed, 24),
            chain: wire::u32_at(fixed, CHAINED_LEN),
            hash,
            key,
            tracking,
        };
        if commit.epoch.low_bits() != frame.header.epoch {
            return Err(CommitFault::Epoch);
        }
        // An overflow on one side must not agree with an overflow on the other.
        match commit.first.get().checked_add(u64::from(commit.count)) {
            Some(behind) if Some(behind) == commit.last.get().checked_add(1) => Ok(commit),
            _ => Err(CommitFault::Positions { first: commit.first, count: commit.count, last: commit.last }),
        }
    }

    /// The length of the frame that holds this marker, padding included, in bytes.
    pub fn frame_len(&self) -> u64 {
        let optional = self.hash.map_or(0, |_| Digest::LEN)
            + self.key.map_or(0, str::len)
            + self.tracking.map_or(0, |tracking| UPSTREAM_LEN + tracking.source.len());
        frame::padded((FRAME_HEADER_LEN + FIXED_LEN + optional) as u64)
    }

    /// Appends the frame of this marker to `out`. Its chain is computed from
    /// `previous`, the chain of the batch before, and the events `chain` has
    /// taken in; it is returned, and `chain` starts over.
    ///
    /// # Panics
    ///
    /// When the key or source name is longer than a name can be.
    pub fn encode(&self, out: &mut Vec<u8>, seed: Seed, previous: u32, chain: &mut Chain) -> u32 {
        let start = frame::begin(out, FrameKind::Commit, 0, self.epoch, self.last);
        let short = |len: usize| u16::try_from(len).expect("names are short");
        let mut fixed = [0; FIXED_LEN];
        wire::set_u32(&mut fixed, 0, self.epoch.get());
        wire::set_u32(&mut fixed, 4, self.count);
        wire::set_u64(&mut fixed, 8, self.first.get());
        wire::set_u64(&mut fixed, 16, self.durable_offset);
        wire::set_u32(&mut fixed, 24, self.batch_bytes);
        let value = chain.close(previous, &fixed[..CHAINED_LEN]);
        wire::set_u32(&mut fixed, CHAINED_LEN, value);
        wire::set_u16(&mut fixed, 32, if self.hash.is_some() { HAS_HASH } else { 0 });
        wire::set_u16(&mut fixed, 34, short(self.key.map_or(0, str::len)));
        wire::set_u16(&mut fixed, 36, short(self.tracking.map_or(0, |tracking| UPSTREAM_LEN + tracking.source.len())));
        out.extend_from_slice(&fixed);
        out.extend_from_slice(self.hash.as_ref().map_or(&[], |hash| hash.as_bytes().as_slice()));
        out.extend_from_slice(self.key.unwrap_or_default().as_bytes());
        if let Some(tracking) = self.tracking {
            wire::put_u64(out, tracking.upstream);
            out.extend_from_slice(tracking.source.as_bytes());
        }
        frame::finish(out, start, seed);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::for_each_flip;

    const SEED: Seed = Seed::new(99);

    fn every_kind_of_marker() -> Vec<Commit<'static>> {
        const LETTERS: [u8; 255] = [b'k'; 255];
        const LONGEST: &str = match std::str::from_utf8(&LETTERS) {
            Ok(letters) => letters,
            Err(_) => unreachable!(),
        };
        let longest = (&LONGEST[..128], LONGEST);
        let mut markers = Vec::new();
        for count in [0, 1, 7] {
            for hash in [None, Some(Digest::from_bytes([0xCD; 32]))] {
                for key in [None, Some("request-1"), Some(longest.0)] {
                    for source in [None, Some("upstream"), Some(longest.1)] {
                        let mut commit = Commit::new(Epoch::new(0x0001_0002), Position::new(40), count);
                        commit.durable_offset = 4096;
                        commit.batch_bytes = count * 88;
                        commit.hash = hash;
                        commit.key = key;
                        commit.tracking = source.map(|source| Tracking { source, upstream: u64::MAX });
                        markers.push(commit);
                    }
                }
            }
        }
        markers
    }

    fn encoded(commit: &Commit<'_>) -> (Vec<u8>, u32) {
        let mut out = Vec::new();
        let chain = commit.encode(&mut out, SEED, 5, &mut Chain::default());
        (out, chain)
    }

    /// A marker for one event at position 40 with one field replaced and a good checksum.
    fn decode_forged(at: usize, bytes: &[u8]) -> Result<(), CommitFault> {
        let (mut frame, _) = encoded(&Commit::new(Epoch::new(1), Position::new(40), 1));
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = SEED.checksum(&frame[4..]);
        wire::set_u32(&mut frame, 0, crc);
        Commit::decode(&Frame::read(&frame, SEED).unwrap()).map(|_| ())
    }

    #[test]
    fn a_marker_decodes_to_what_was_encoded_with_every_choice_of_optional_parts() {
        for commit in every_kind_of_marker() {
            let (bytes, chain) = encoded(&commit);
            assert_eq!(bytes.len() as u64, commit.frame_len());
            let frame = Frame::read(&bytes, SEED).unwrap();
            assert!(FRAME_LENS.contains(&frame.header.len));
            assert_eq!(Commit::decode(&frame), Ok(Commit { chain, ..commit }));
        }
    }

    #[test]
    fn the_search_for_markers_knows_the_shortest_and_the_longest() {
        let lens = every_kind_of_marker().iter().map(|commit| wire::u32_at(&encoded(commit).0, 4)).collect::<Vec<_>>();
        assert_eq!((lens.iter().min(), lens.iter().max()), (Some(FRAME_LENS.start()), Some(FRAME_LENS.end())));
    }

    #[test]
    fn any_flipped_bit_of_a_marker_is_noticed() {
        for commit in every_kind_of_marker() {
            let (bytes, _) = encoded(&commit);
            for_each_flip(&bytes, 0..bytes.len(), |bit, bytes| assert!(Frame::read(bytes, SEED).is_err(), "bit {bit}"));
        }
    }

    #[test]
    fn the_chain_depends_on_the_batch_before_on_each_event_and_on_their_order() {
        let commit = Commit::new(Epoch::new(1), Position::new(40), 2);
        let chain_of = |previous, crcs: &[u32], commit: &Commit<'_>| {
            let mut chain = Chain::default();
            for &crc in crcs {
                chain.push(crc);
            }
            let value = commit.encode(&mut Vec::new(), SEED, previous, &mut chain);
            assert!(chain.checksums.is_empty(), "it starts over");
            value
        };
        let value = chain_of(5, &[1, 2], &commit);
        assert_ne!(value, chain_of(6, &[1, 2], &commit));
        assert_ne!(value, chain_of(5, &[1, 3], &commit));
        assert_ne!(value, chain_of(5, &[2, 1], &commit));
        assert_ne!(value, chain_of(5, &[1], &commit));
        assert_ne!(value, chain_of(5, &[1, 2], &Commit { durable_offset: 8, ..commit }));
    }

    #[test]
    fn markers_that_contradict_themselves_are_refused_though_their_checksum_is_good() {
        assert_eq!(decode_forged(20, &1_u32.to_le_bytes()), Ok(()), "the forging itself is sound");
        assert_eq!(decode_forged(9, &[1]), Err(CommitFault::Reserved));
        assert_eq!(decode_forged(20, &2_u32.to_le_bytes()), Err(CommitFault::Epoch));
        assert_eq!(decode_forged(52, &[1, 0]), Err(CommitFault::Lengths));
        assert_eq!(decode_forged(52, &[2, 0]), Err(CommitFault::Reserved));
        assert_eq!(decode_forged(54, &[1, 0]), Err(CommitFault::Lengths));
        assert_eq!(decode_forged(56, &[8, 0]), Err(CommitFault::Lengths));
        assert_eq!(decode_forged(56, &[9, 0]), Err(CommitFault::Lengths));
        for at in 58..64 {
            assert_eq!(decode_forged(at, &[1]), Err(CommitFault::Reserved));
        }
    }

    #[test]
    fn positions_that_do_not_add_up_are_refused_even_where_both_sides_overflow() {
        let check = |first: u64, count: u32, last: u64| {
            let mut fields = [0; 12];
            fields[..4].copy_from_slice(&count.to_le_bytes());
            fields[4..].copy_from_slice(&first.to_le_bytes());
            let (mut frame, _) = encoded(&Commit::new(Epoch::new(1), Position::new(last), 1));
            frame[24..36].copy_from_slice(&fields);
            let crc = SEED.checksum(&frame[4..]);
            wire::set_u32(&mut frame, 0, crc);
            Commit::decode(&Frame::read(&frame, SEED).unwrap()).is_ok()
        };
        assert!(check(40, 1, 40) && check(41, 0, 40) && check(1, 0, 0));
        assert!(!check(40, 2, 40) && !check(40, 0, 40) && !check(39, 1, 40));
        for count in 0..3 {
            assert!(!check(u64::MAX, count, u64::MAX), "{count}");
            assert!(!check(u64::MAX - 1, count, u64::MAX), "{count}");
            assert!(!check(0, count, u64::MAX), "{count}");
        }
    }
}
