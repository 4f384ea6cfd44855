//! The hash chain of a whole log, put together from those of its segments, and compared with witnesses.
//!
//! Each segment says in its header what its chain goes on from, so each can be checked by itself; what is left is
//! whether they continue each other. What no look at the log alone can tell is a tail that was cut off, or a chain
//! that was computed anew from some place on: that takes a witness, a [`ChainTip`] that was kept elsewhere.

use std::collections::BTreeMap;

use annals_codec::scan::Sink;
use annals_codec::{ChainCheck, ChainPoint, Commit, Digest, Event, LogId, Position, SegmentHeader, chain_start};

use super::{Finding, FindingKind};
use crate::log::recover::survey::SegmentFacts;
use crate::store::tip::ChainTip;

/// A stretch of the log that one hash chain covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ChainStretch {
    /// The anchor: the position behind which it begins, and the chain there. Everything that was computed rests on it.
    pub from: ChainPoint,
    /// Whether the chain was begun there. Otherwise it goes on from history that is not in the log any more.
    pub is_start: bool,
    /// Where it ends.
    pub to: ChainPoint,
}

/// What becomes of a witness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    /// Nothing of it yet.
    Nothing,
    /// The log is at its position what the witness says.
    Same,
    /// The log has another chain there.
    Other,
    /// Its position lies within a batch, or where no hash chain is kept.
    Nowhere,
}

/// The chain of the log so far, while segment follows segment.
#[derive(Debug)]
pub(super) struct LogChain {
    witnesses: Vec<(ChainTip, Seen)>,
    stretches: Vec<ChainStretch>,
    /// The end of the segment before, if its markers carry the chain and its end was reached.
    before: Option<ChainPoint>,
    is_first: bool,
    /// The base of the oldest segment: what came before it is not in the log any more.
    oldest: Position,
    /// The first position at which the chain itself shows that something was changed.
    first_break: Option<Position>,
}

/// The chain of one segment while it is scanned.
#[derive(Debug)]
pub(super) struct SegmentChain {
    check: ChainCheck,
    start: ChainPoint,
    /// Those of this log, each with what this segment says of it.
    witnesses: Vec<(ChainTip, Seen)>,
}

impl LogChain {
    pub(super) fn new(witnesses: &[ChainTip]) -> LogChain {
        let mut witnesses: Vec<_> = witnesses.iter().map(|witness| (*witness, Seen::Nothing)).collect();
        witnesses.sort_by_key(|(witness, _)| witness.position);
        LogChain {
            witnesses,
            stretches: Vec::new(),
            before: None,
            is_first: true,
            oldest: Position::START,
            first_break: None,
        }
    }

    /// The next segment was removed meanwhile, and all before it: the log goes on behind it.
    pub(super) fn pass_over(&mut self) {
        (self.before, self.is_first) = (None, true);
    }

    /// Takes in what was found in a segment. `checked` is `None` when its markers carry no chain or its header is lost.
    pub(super) fn finish(
        &mut self,
        segment: &SegmentFacts,
        checked: Option<(&SegmentHeader, SegmentChain)>,
        findings: &mut Vec<Finding>,
    ) {
        if self.is_first {
            self.oldest = segment.base;
        }
        let mut find = |offset, position, message| {
            findings.push(Finding {
                kind: FindingKind::Chain,
                segment: Some(segment.number),
                file: Some(segment.display.clone()),
                offset: Some(offset),
                position: Some(position),
                message,
            });
        };
        let Some((header, SegmentChain { check, start, witnesses })) = checked else {
            (self.before, self.is_first) = (None, false);
            return;
        };
        for (witness, now) in witnesses {
            for (_, seen) in self.witnesses.iter_mut().filter(|(known, _)| *known == witness) {
                *seen = if *seen == Seen::Same || now == Seen::Nothing { *seen } else { now };
            }
        }
        let first = header.base.plus(1);
        let begins = start.hash == chain_start(header.log_id, header.base);
        let has_history = self.is_first && header.number.get() > 0;
        let goes_on = match self.before {
            Some(before) => start == before,
            None => begins || has_history,
        };
        if !goes_on {
            let message = match self.before {
                Some(_) => "the hash chain in the header is not that at the end of the segment before",
                None => "the hash chain in the header goes on from nothing: the segment before keeps none",
            };
            find(0, first, message.to_owned());
            self.first_break.get_or_insert(first);
        }
        for found in check.breaks() {
            self.first_break.get_or_insert(found.first);
            let what = if found.first < found.last {
                format!("the batch with events {} to {}", found.first, found.last)
            } else {
                format!("the batch with event {}", found.first)
            };
            let what = match found.batches {
                1 => format!("{what} is not what was hashed"),
                more => {
                    format!("the {more} batches with events {} to {} are not what was hashed", found.first, found.last)
                }
            };
            let on = match found.rejoins {
                Some(position) => format!("behind position {position} the chain goes on as it was"),
                None => "behind it the segment has nothing that the chain goes on with".to_owned(),
            };
            find(found.offset, found.first, format!("{what}; {on}"));
        }
        match self.stretches.last_mut().filter(|_| self.before == Some(start)) {
            Some(stretch) => stretch.to = check.end(),
            None => self.stretches.push(ChainStretch { from: start, is_start: begins, to: check.end() }),
        }
        (self.before, self.is_first) = (Some(check.end()), false);
    }

    /// Judges the witnesses by all that was seen of a log that ends at `head`, and has this id, if that is known.
    pub(super) fn end(self, log_id: Option<LogId>, head: Position, findings: &mut Vec<Finding>) -> Vec<ChainStretch> {
        let mut vouched = Position::START;
        for (witness, seen) in &self.witnesses {
            if *seen == Seen::Same {
                vouched = witness.position;
                continue;
            }
            let from = vouched.plus(1);
            let until = witness.position;
            let (position, message) = if log_id.is_some_and(|log_id| log_id != witness.log_id) {
                (None, format!("the witness is of log {}, and this is another", witness.log_id))
            } else if until < self.oldest {
                let message = format!(
                    "everything up to position {} was removed from the log, and the witness is of position {until}: nothing \
                     can be said of it",
                    self.oldest
                );
                (None, message)
            } else if head < until {
                let gone = head.plus(1);
                let message = format!(
                    "the log ends at position {head}, and the witness saw it at position {until}: events {gone} to \
                     {until} are missing, unless others were dropped before them (from position {from} on, no witness \
                     agrees)"
                );
                (Some(self.first_break.map_or(gone, |first| first.min(gone))), message)
            } else if *seen == Seen::Other {
                let broken = self.first_break.filter(|first| (from..=until).contains(first));
                let where_it_is = match broken {
                    Some(first) => format!("it breaks at position {first}"),
                    None => format!(
                        "it was computed anew: the first event that differs is one of positions {from} to {until}"
                    ),
                };
                let message = format!("at position {until} the hash chain is not what the witness says; {where_it_is}");
                (Some(broken.unwrap_or(from)), message)
            } else {
                let message = format!(
                    "the log has no hash chain at position {until}, where the witness has one: nothing can be said of it"
                );
                (Some(from), message)
            };
            findings.push(Finding {
                kind: FindingKind::Chain,
                segment: None,
                file: None,
                offset: None,
                position,
                message,
            });
        }
        self.stretches
    }
}

/// Compares a witness with a point of the chain. At one position there may be several, for a batch without events
/// repeats that of the one before: it is enough when one of them is the witness's.
fn look(witness: &ChainTip, seen: &mut Seen, point: ChainPoint) {
    if witness.position == point.position && *seen != Seen::Same {
        *seen = if witness.hash == point.hash { Seen::Same } else { Seen::Other };
    }
}

impl SegmentChain {
    /// For a segment with this header; `None` when its markers carry no chain.
    /// `payloads` are the digests of those that were redacted.
    pub(super) fn new(
        header: &SegmentHeader,
        witnesses: &[ChainTip],
        payloads: BTreeMap<Position, Digest>,
    ) -> Option<SegmentChain> {
        let start = ChainPoint { position: header.base, hash: header.chain_hash? };
        let ours = witnesses.iter().filter(|witness| witness.log_id == header.log_id);
        let mut witnesses: Vec<_> = ours.map(|witness| (*witness, Seen::Nothing)).collect();
        for (witness, seen) in &mut witnesses {
            look(witness, seen, start);
        }
        Some(SegmentChain { check: ChainCheck::new(header.log_id, start).knowing(payloads), start, witnesses })
    }

    /// The digest of the batch that was taken in last.
    pub(super) fn batch_digest(&self) -> Option<Digest> {
        self.check.batch_digest()
    }

    /// What comes next does not follow what was before.
    pub(super) fn gap(&mut self) {
        self.check.gap();
    }
}

impl Sink for SegmentChain {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.check.event(offset, event);
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        self.check.commit(offset, commit);
        let Some(hash) = commit.hash else { return };
        for (witness, seen) in &mut self.witnesses {
            look(witness, seen, ChainPoint { position: commit.last, hash });
            if *seen == Seen::Nothing && (commit.first..commit.last).contains(&witness.position) {
                *seen = Seen::Nowhere;
            }
        }
    }

    fn discard(&mut self) {
        self.check.discard();
    }
}
