//! What makes a batch exist: the conditions between its frames.
//!
//! A batch is a run of EVENT frames and the COMMIT frame that ends it. It
//! exists if and only if every frame of it is good *and* positions run on from
//! the batch before, and count, length, epoch, chain and durable offset of the
//! marker agree with what stands before it. [`Batches`] holds the state of that
//! check; recovery, `verify` and `dump` all ask it, so they cannot disagree.

use crate::commit::{Chain, Commit};
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
        self.tail = Tail {
            offset: offset + frame.header.padded_len(),
            position: commit.last,
            chain: Some(commit.chain),
            epoch: commit.epoch,
            durable_offset: commit.durable_offset,
        };
        Ok(())
    }

    /// Whether events were taken in that no marker has ended yet.
    pub fn is_inside_batch(&self) -> bool {
        self.events > 0
    }
}
