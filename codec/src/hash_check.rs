//! Checking a hash chain: a sink that computes again what the markers of one segment say.
//!
//! Of a redacted event the payload's digest has to be told; without it nothing can be said of its batch.
//!
//! Each batch is checked against the chain that the marker *before* it states. So a batch that was changed shows
//! as itself, and those behind it only if they were changed too; where all behind it was computed anew, nothing
//! shows here but the end, which is what witnesses are for.

use std::collections::BTreeMap;

use crate::commit::Commit;
use crate::digest::Digest;
use crate::event::Event;
use crate::hash_chain::{BatchHasher, chain_after, event_digest};
use crate::ids::{LogId, Position};
use crate::scan::Sink;

/// Batches, one after the other, that are not what was hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainBreak {
    /// Where the marker of the first of them stands.
    pub offset: u64,
    /// The position of the first event of the first of them.
    pub first: Position,
    /// The position of the last event of the last of them.
    pub last: Position,
    /// How many they are.
    pub batches: u64,
    /// The position behind which the chain goes on as if nothing had happened; `None` when it does not,
    /// in this segment.
    pub rejoins: Option<Position>,
}

/// What somebody knows of the chain: a position, and the chain after a batch that ends there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainPoint {
    /// The position.
    pub position: Position,
    /// The chain there.
    pub hash: Digest,
}

/// Takes in the batches of one segment, and checks each.
#[derive(Debug)]
pub struct ChainCheck {
    batch: BatchHasher,
    /// As the marker before says; `None` behind a gap.
    before: Option<Digest>,
    breaks: Vec<ChainBreak>,
    is_broken: bool,
    end: ChainPoint,
    digest: Option<Digest>,
    /// Of the payloads of redacted events.
    payloads: BTreeMap<Position, Digest>,
    /// The batch at hand holds an event whose payload is gone, and nobody knows its digest.
    is_unknown: bool,
    unknown: u64,
}

impl ChainCheck {
    /// For a segment of this log, whose header states the chain `start`.
    pub fn new(log_id: LogId, start: ChainPoint) -> ChainCheck {
        ChainCheck {
            batch: BatchHasher::new(log_id),
            before: Some(start.hash),
            breaks: Vec::new(),
            is_broken: false,
            end: start,
            digest: None,
            payloads: BTreeMap::new(),
            is_unknown: false,
            unknown: 0,
        }
    }

    /// Knowing the digests of payloads that were redacted.
    #[must_use]
    pub fn knowing(mut self, payloads: BTreeMap<Position, Digest>) -> ChainCheck {
        self.payloads = payloads;
        self
    }

    /// How many batches were not checked, because they hold redacted events whose payload's digest is not known.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The next batch does not follow the one before: what lies between cannot be read.
    pub fn gap(&mut self) {
        self.before = None;
        self.is_unknown = false;
        self.batch.clear();
    }

    /// What the last marker states; what the header does, where there is none.
    pub fn end(&self) -> ChainPoint {
        self.end
    }

    /// The digest of the batch that was taken in last, if it could be computed.
    pub fn batch_digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Where the chain is broken, in order.
    pub fn breaks(&self) -> &[ChainBreak] {
        &self.breaks
    }
}

impl Sink for ChainCheck {
    fn event(&mut self, _offset: u64, event: &Event<'_>) {
        match self.payloads.get(&event.position).filter(|_| event.redacted) {
            Some(payload) => self.batch.push(&event_digest(event, payload)),
            None => {
                self.is_unknown |= event.redacted;
                self.batch.event(event);
            }
        }
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        let is_unknown = std::mem::take(&mut self.is_unknown);
        let digest = Some(self.batch.close(commit)).filter(|_| !is_unknown);
        self.unknown += u64::from(is_unknown);
        let follows = match (self.before, digest, commit.hash) {
            (Some(before), Some(digest), Some(stated)) => chain_after(&before, &digest) == stated,
            (None, ..) | (_, None, _) => true,
            (.., None) => false,
        };
        self.before = commit.hash;
        self.digest = digest;
        if let Some(hash) = commit.hash {
            self.end = ChainPoint { position: commit.last, hash };
        }
        match self.breaks.last_mut().filter(|_| self.is_broken) {
            Some(found) if follows => found.rejoins = Some(commit.first.before()),
            Some(found) => (found.last, found.batches) = (commit.last, found.batches + 1),
            None if follows => (),
            None => {
                let (first, last) = (commit.first, commit.last);
                self.breaks.push(ChainBreak { offset, first, last, batches: 1, rejoins: None });
            }
        }
        self.is_broken = !follows;
    }

    fn discard(&mut self) {
        self.is_unknown = false;
        self.batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_chain::chain_start;
    use crate::scan;
    use crate::segment::SegmentHeader;
    use crate::testing::{Parts, Writer, header};

    /// Five batches of two events; `spoil` may change the chain before the batch with its number.
    fn writer(spoil: impl Fn(u64, &mut Digest)) -> (ChainPoint, Writer) {
        let plain = header();
        let start = ChainPoint { position: plain.base, hash: chain_start(plain.log_id, plain.base) };
        let mut writer = Writer::new(SegmentHeader { chain_hash: Some(start.hash), ..plain });
        for n in 0..5 {
            spoil(n, writer.hash.as_mut().unwrap());
            writer.batch(&[Parts::plain(2 * n + 1, b"one"), Parts::plain(2 * n + 2, b"two")]);
        }
        (start, writer)
    }

    fn check(start: ChainPoint, writer: &Writer) -> ChainCheck {
        let mut check = ChainCheck::new(writer.header.log_id, start);
        let mut source = writer.bytes.as_slice();
        let Ok(found) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut check);
        assert_eq!((found.totals.batches, found.tail.hash), (5, Some(check.end().hash)));
        check
    }

    #[test]
    fn a_chain_that_is_whole_has_no_break_and_ends_where_the_last_marker_says() {
        let (start, writer) = writer(|_, _| ());
        let check = check(start, &writer);
        assert_eq!(check.breaks(), []);
        assert_eq!(check.end(), ChainPoint { position: Position::new(10), hash: writer.hash.unwrap() });
    }

    #[test]
    fn a_break_names_the_first_batch_that_does_not_follow_and_where_the_chain_goes_on() {
        let (start, broken) = writer(|n, hash| {
            if n == 2 {
                *hash = Digest::from_bytes([1; 32]);
            }
        });
        let offset = broken.markers[2];
        let found = [ChainBreak {
            offset,
            first: Position::new(5),
            last: Position::new(6),
            batches: 1,
            rejoins: Some(Position::new(6)),
        }];
        assert_eq!(check(start, &broken).breaks(), found);

        // Neighbours are one break; and where all is broken to the end, it does not go on.
        let (start, broken) = writer(|n, hash| {
            if n >= 3 {
                *hash = Digest::from_bytes([n as u8; 32]);
            }
        });
        let all = check(start, &broken);
        let found = all.breaks().first().unwrap();
        assert_eq!((found.first, found.last, found.batches), (Position::new(7), Position::new(10), 2));
        assert_eq!((found.rejoins, all.breaks().len()), (None, 1));
    }

    #[test]
    fn a_chain_that_goes_on_from_another_start_is_broken_at_its_first_batch() {
        let (start, writer) = writer(|_, _| ());
        let other = ChainPoint { hash: chain_start(writer.header.log_id, Position::new(1)), ..start };
        let check = check(other, &writer);
        assert_eq!(check.breaks().iter().map(|found| found.first).collect::<Vec<_>>(), [Position::new(1)]);
    }

    #[test]
    fn behind_a_gap_the_chain_is_taken_from_the_first_marker() {
        let (start, writer) = writer(|_, _| ());
        let mut check =
            ChainCheck::new(writer.header.log_id, ChainPoint { hash: Digest::from_bytes([0; 32]), ..start });
        check.gap();
        let mut source = writer.bytes.as_slice();
        let Ok(_) = scan::scan(&mut source, writer.seed, scan::first_tail(&writer.header), &mut check);
        assert_eq!(check.breaks(), []);
    }
}
