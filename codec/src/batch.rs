//! What makes a batch exist: the conditions between its frames.
//!
//! A batch is a run of EVENT frames and the COMMIT frame that ends it. It
//! exists if and only if every frame of it is good *and* positions run on from
//! the batch before, and count, length, epoch, chain and durable offset of the
//! marker agree with what stands before it. [`Batches`] holds the state of that
//! check; recovery, `verify` and `dump` all ask it, so they cannot disagree.

use crate::commit::{Chain, Commit};
use crate::digest::Digest;
use crate::frame::Frame;
use crate::ids::{Epoch, Position};

/// The state of a segment at the end of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tail {
    /// Where the next frame begins.
    pub offset: u64,
    /// The position of the last event so far.
    pub position: Position,
    /// The chain after the last batch; `None` behind a gap, where it is not known.
    pub chain: Option<u32>,
    /// The hash chain after the last batch, in a segment whose markers carry it. Behind a gap, that before it,
    /// until the next batch.
    pub hash: Option<Digest>,
    /// The epoch of the last batch.
    pub epoch: Epoch,
    /// The highest durable offset that a marker has stated.
    pub durable_offset: u64,
}

/// Which condition a batch fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchFault {
    /// The event is not the one that comes next.
    #[error("position {found} stands where {expected} should")]
    Position {
        /// The position that comes next.
        expected: Position,
        /// The position found.
        found: Position,
    },
    /// The event has another epoch than the marker, or the marker an earlier one than its predecessor.
    #[error("epoch {found} does not follow epoch {before}")]
    Epoch {
        /// The epoch before.
        before: Epoch,
        /// The epoch found; of an event, its low 16 bits.
        found: Epoch,
    },
    /// The marker counts other events than stand before it.
    #[error("the marker counts {stated} events, {found} stand before it")]
    Count {
        /// As the marker says.
        stated: u32,
        /// As found.
        found: u32,
    },
    /// The marker's length is not the distance to the batch's first frame.
    #[error("the marker says {stated} bytes, the batch has {found}")]
    Bytes {
        /// As the marker says.
        stated: u32,
        /// As found.
        found: u64,
    },
    /// The chain does not continue that of the batch before: a batch is missing, repeated or moved.
    #[error("the chain is {stated:08x}, the batches so far give {computed:08x}")]
    Chain {
        /// As the marker says.
        stated: u32,
        /// As computed.
        computed: u32,
    },
    /// The segment's header says that markers carry the hash chain, and this one does not.
    #[error("the marker lacks the hash chain that the header speaks of")]
    NoHash,
    /// The durable offset goes back, or reaches into the batch itself.
    #[error("the durable offset {stated} is not between {least} and {most}")]
    DurableOffset {
        /// As the marker says.
        stated: u64,
        /// That of the marker before.
        least: u64,
        /// Where the batch begins.
        most: u64,
    },
}

/// Follows the batches of one segment and checks each.
#[derive(Clone, Debug)]
pub struct Batches {
    tail: Tail,
    chain: Chain,
    /// Where the first frame of the batch at hand stands, once it has one.
    start: Option<u64>,
    events: u32,
    epoch_bits: Option<u16>,
}

impl Batches {
    /// Begins behind `tail`.
    pub fn new(tail: Tail) -> Batches {
        Batches { tail, chain: Chain::default(), start: None, events: 0, epoch_bits: None }
    }

    /// The end of the last good batch.
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// Takes in the next EVENT frame, at `offset`.
    ///
    /// # Errors
    ///
    /// [`BatchFault`] when it does not come next. The batch cannot become good then.
    #[inline]
    pub fn event(&mut self, offset: u64, frame: &Frame<'_>) -> Result<(), BatchFault> {
        let expected = self.tail.position.plus(u64::from(self.events) + 1);
        if frame.header.position != expected {
            return Err(BatchFault::Position { expected, found: frame.header.position });
        }
        let bits = *self.epoch_bits.get_or_insert(frame.header.epoch);
        if bits != frame.header.epoch {
            let found = Epoch::new(u32::from(frame.header.epoch));
            return Err(BatchFault::Epoch { before: Epoch::new(u32::from(bits)), found });
        }
        self.start.get_or_insert(offset);
        self.events += 1;
        self.chain.push(frame.header.crc);
        Ok(())
    }

    /// Takes in the marker at `offset`: the batch is good, and [`tail`](Batches::tail) lies behind it.
    ///
    /// # Errors
    ///
    /// [`BatchFault`] names the first condition that does not hold; the tail stays.
    pub fn commit(&mut self, offset: u64, frame: &Frame<'_>, commit: &Commit<'_>) -> Result<(), BatchFault> {
        let start = self.start.unwrap_or(offset);
        let found = std::mem::take(&mut self.events);
        let epoch_bits = self.epoch_bits.take();
        self.start = None;
        let computed = self.tail.chain.map(|previous| self.chain.expected(previous, frame));
        self.chain.clear();

        if commit.count != found {
            return Err(BatchFault::Count { stated: commit.count, found });
        }
        let expected = self.tail.position.plus(1);
        if commit.first != expected {
            return Err(BatchFault::Position { expected, found: commit.first });
        }
        if u64::from(commit.batch_bytes) != offset - start {
            return Err(BatchFault::Bytes { stated: commit.batch_bytes, found: offset - start });
        }
        if commit.epoch < self.tail.epoch {
            return Err(BatchFault::Epoch { before: self.tail.epoch, found: commit.epoch });
        }
        if let Some(bits) = epoch_bits.filter(|&bits| bits != commit.epoch.low_bits()) {
            return Err(BatchFault::Epoch { before: Epoch::new(u32::from(bits)), found: commit.epoch });
        }
        if !(self.tail.durable_offset..=start).contains(&commit.durable_offset) {
            let (least, most) = (self.tail.durable_offset, start);
            return Err(BatchFault::DurableOffset { stated: commit.durable_offset, least, most });
        }
        if let Some(computed) = computed.filter(|&computed| computed != commit.chain) {
            return Err(BatchFault::Chain { stated: commit.chain, computed });
        }
        if self.tail.hash.is_some() && commit.hash.is_none() {
            return Err(BatchFault::NoHash);
        }
        self.tail = Tail {
            offset: offset + frame.header.padded_len(),
            position: commit.last,
            chain: Some(commit.chain),
            // Where the header speaks of none, one that is there says nothing.
            hash: self.tail.hash.and(commit.hash),
            epoch: commit.epoch,
            durable_offset: commit.durable_offset,
        };
        Ok(())
    }

    /// Takes in a frame that this version may skip, which ends at `end`.
    ///
    /// Between batches it belongs to what is whole: the tail moves behind it,
    /// so that nothing cuts it off. In a batch it counts as the batch's bytes.
    pub fn skip(&mut self, end: u64) {
        if !self.is_inside_batch() {
            self.tail.offset = end;
        }
    }

    /// Whether events were taken in that no marker has ended yet.
    pub fn is_inside_batch(&self) -> bool {
        self.events > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, Seed};
    use crate::testing::Parts;

    const SEED: Seed = Seed::new(3);
    const TAIL: Tail = Tail {
        offset: 4096,
        position: Position::new(10),
        chain: Some(0xABCD),
        hash: None,
        epoch: Epoch::new(5),
        durable_offset: 4096,
    };

    /// What a test may get wrong about an otherwise good batch of two events behind [`TAIL`].
    struct Batch {
        first: u64,
        epochs: [u32; 2],
        previous: u32,
        marker: Commit<'static>,
    }

    fn good() -> Batch {
        let mut marker = Commit::new(Epoch::new(5), Position::new(12), 2);
        marker.batch_bytes = 2 * 88;
        marker.durable_offset = 4096;
        Batch { first: 11, epochs: [5, 5], previous: 0xABCD, marker }
    }

    fn check_from(tail: Tail, batch: &Batch) -> Result<Tail, BatchFault> {
        let (mut bytes, mut chain) = (Vec::new(), Chain::default());
        for (position, epoch) in (batch.first..).zip(batch.epochs) {
            let parts = Parts::plain(1, b"data");
            chain.push(parts.event(Position::new(position)).encode(&mut bytes, SEED, Epoch::new(epoch)));
        }
        batch.marker.encode(&mut bytes, SEED, batch.previous, &mut chain);

        let mut batches = Batches::new(tail);
        let mut at = 0;
        while at < bytes.len() {
            let (frame, offset) = (Frame::read(&bytes[at..], SEED).unwrap(), tail.offset + at as u64);
            if frame.kind == FrameKind::Event {
                batches.event(offset, &frame)?;
                assert!(batches.is_inside_batch());
            } else {
                let result = batches.commit(offset, &frame, &Commit::decode(&frame).unwrap());
                assert!(!batches.is_inside_batch());
                assert!(result.is_ok() || batches.tail() == tail, "the tail moves over good batches only");
                result?;
            }
            at += frame.header.padded_len() as usize;
        }
        Ok(batches.tail())
    }

    fn check(batch: &Batch) -> Result<Tail, BatchFault> {
        check_from(TAIL, batch)
    }

    #[test]
    fn a_good_batch_moves_the_tail_behind_itself() {
        let tail = check(&good()).unwrap();
        assert_eq!((tail.offset, tail.position, tail.epoch), (4096 + 2 * 88 + 64, Position::new(12), Epoch::new(5)));
        assert!(tail.chain.is_some_and(|chain| chain != 0xABCD));
    }

    #[test]
    fn each_condition_is_needed() {
        let gone_wrong = |spoil: fn(&mut Batch)| {
            let mut batch = good();
            spoil(&mut batch);
            check(&batch).unwrap_err()
        };
        let position =
            |expected, found| BatchFault::Position { expected: Position::new(expected), found: Position::new(found) };
        let epoch = |before, found| BatchFault::Epoch { before: Epoch::new(before), found: Epoch::new(found) };

        assert_eq!(gone_wrong(|batch| batch.first = 10), position(11, 10));
        assert_eq!(gone_wrong(|batch| batch.first = 12), position(11, 12));
        assert_eq!(gone_wrong(|batch| batch.epochs = [5, 6]), epoch(5, 6));
        assert_eq!(gone_wrong(|batch| batch.epochs = [6, 6]), epoch(6, 5));
        assert_eq!(gone_wrong(|batch| batch.marker.batch_bytes -= 8), BatchFault::Bytes { stated: 168, found: 176 });
        assert_eq!(gone_wrong(|batch| batch.marker.batch_bytes += 8), BatchFault::Bytes { stated: 184, found: 176 });
        assert!(matches!(gone_wrong(|batch| batch.previous = 0), BatchFault::Chain { .. }));
        let durable = |stated| BatchFault::DurableOffset { stated, least: 4096, most: 4096 };
        assert_eq!(gone_wrong(|batch| batch.marker.durable_offset = 4088), durable(4088));
        assert_eq!(gone_wrong(|batch| batch.marker.durable_offset = 4104), durable(4104));
        assert_eq!(
            gone_wrong(|batch| {
                batch.marker.count = 1;
                batch.marker.first = Position::new(12);
            }),
            BatchFault::Count { stated: 1, found: 2 }
        );
        assert_eq!(
            gone_wrong(|batch| {
                batch.marker.first = Position::new(12);
                batch.marker.last = Position::new(13);
            }),
            position(11, 12)
        );
        assert_eq!(
            gone_wrong(|batch| {
                batch.epochs = [4, 4];
                batch.marker.epoch = Epoch::new(4);
            }),
            epoch(5, 4)
        );
    }

    #[test]
    fn a_marker_without_a_hash_makes_no_batch_where_the_header_speaks_of_one() {
        let (before, after) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let hashed = Tail { hash: Some(before), ..TAIL };
        assert_eq!(check_from(hashed, &good()), Err(BatchFault::NoHash));
        let mut batch = good();
        batch.marker.hash = Some(after);
        assert_eq!(check_from(hashed, &batch).unwrap().hash, Some(after));
        assert_eq!(check(&batch).unwrap().hash, None, "nothing says what it would go on from");
    }

    #[test]
    fn a_later_epoch_may_follow_and_its_high_bits_count() {
        let mut batch = good();
        batch.epochs = [0x1_0005; 2];
        batch.marker.epoch = Epoch::new(0x1_0005);
        assert_eq!(check(&batch).unwrap().epoch, Epoch::new(0x1_0005));
    }

    #[test]
    fn behind_a_gap_the_chain_is_taken_from_the_first_marker() {
        let mut batch = good();
        batch.previous = 0xDEAD;
        assert!(check(&batch).is_err());
        let tail = check_from(Tail { chain: None, ..TAIL }, &batch).unwrap();
        assert!(tail.chain.is_some());
    }
}
