//! Redactions in a store that is repaired: what the log says is gone is gone in the new one, too.
//!
//! What is always true:
//!
//! - A payload of which the log says that it is redacted gets into no segment of the new store, also where the old one's file
//!   still has it, because the power went out before the new file took its place.
//! - Hashes are made with the digests that the log keeps of payloads. Where what said it is lost, the digest is
//!   lost with it, and that of an empty payload stands in its place: who verifies passes such a batch over.
//! - Nothing is redacted of which the log does not say so; and where it may have said so in what is lost, somebody has to decide.

use std::collections::BTreeMap;
use std::io;

use annals_codec::{Digest, Event, Position, Redaction, RedactionMark, SegmentNumber, payload_digest};

use super::fillers::{Fillers, is_filler, may_have_told};
use super::found::FoundSegment;
use super::streams::Owner;
use crate::log::names;
use crate::planted::{self, Bug};
use crate::redact::mark_in;
use crate::storage::Storage;

/// What was found of redactions.
#[derive(Debug, Default)]
pub(super) struct Redactions {
    /// The digest of each payload that the log says is gone.
    told: BTreeMap<Position, Digest>,
    /// The events whose payload is gone, ascending.
    done: Vec<Position>,
    fillers: Fillers,
    /// New files of segments that have not taken their place.
    begun: Vec<Begun>,
    /// What the batch at hand says, and which of its events are redacted.
    now_told: Vec<(Position, Digest)>,
    now_done: Vec<Position>,
}

#[derive(Debug)]
struct Begun {
    number: SegmentNumber,
    base: Position,
    path: String,
    mark: Option<RedactionMark>,
}

impl Redactions {
    /// Looks for those that were begun.
    pub(super) fn begun_in(storage: &dyn Storage) -> io::Result<Redactions> {
        let listed = match storage.list(names::SEGMENTS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            listed => listed?,
        };
        let begun = listed.iter().filter_map(|name| {
            let (number, base) = names::parse_redacted_segment(name)?;
            let path = names::redacted_segment(number, base);
            Some(Begun { number, base, mark: mark_in(storage, &path), path })
        });
        Ok(Redactions { begun: begun.collect(), ..Redactions::default() })
    }

    /// Takes in the next event.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        if event.redacted {
            self.now_done.push(event.position);
        }
        self.fillers.see(event);
        if event.stream == Redaction::STREAM
            && event.event_type == Redaction::EVENT_TYPE
            && let Some(told) = Redaction::decode(event.data)
        {
            self.now_told.extend(told.events.into_iter().filter(|(position, _)| *position < event.position));
        }
    }

    /// The events since the last batch are one.
    pub(super) fn commit(&mut self) {
        self.done.append(&mut self.now_done);
        for (position, digest) in self.now_told.drain(..) {
            self.told.entry(position).or_insert(digest);
        }
    }

    /// They are none.
    pub(super) fn discard(&mut self) {
        self.now_done.clear();
        self.now_told.clear();
    }

    /// Whether the payload of this event is still there, and the log says that it is gone.
    pub(super) fn is_due(&self, event: &Event<'_>) -> bool {
        let is_forgotten = planted::has(Bug::RedactedRepairedBack);
        !is_forgotten && !event.redacted && self.told.contains_key(&event.position) && !is_filler(event)
    }

    /// The digest of an event's payload, which may be gone.
    pub(super) fn payload_of(&self, event: &Event<'_>) -> Digest {
        let told = self.told.get(&event.position).filter(|_| !is_filler(event));
        told.copied().unwrap_or_else(|| payload_digest(event.data, event.metadata))
    }

    fn is_done(&self, position: Position) -> bool {
        self.done.binary_search(&position).is_ok()
    }

    /// How many events of a segment still have a payload that the log says is gone.
    pub(super) fn due_in(&self, segment: &FoundSegment) -> usize {
        let is_lost = |at: Position| {
            segment.gaps.iter().any(|gap| gap.count() > 0 && (gap.after.plus(1)..=gap.upto).contains(&at))
        };
        let told = self.told.range(segment.base.plus(1)..=segment.end.max(segment.base.plus(1)));
        told.filter(|(at, _)| !self.is_done(**at) && !self.fillers.stand_at(**at) && !is_lost(**at)).count()
    }

    /// What a person is to know of redacted events of which nothing is said any more.
    pub(super) fn note(&self) -> Option<String> {
        let mut untold = self.done.iter().filter(|position| !self.told.contains_key(position));
        let first = untold.next()?;
        Some(format!(
            "what said that the event at position {first} is redacted is lost, and with it the digest of its payload; \
             that is so for {} in all",
            untold.count() + 1
        ))
    }

    /// The file of a redaction that was begun and of which nobody can tell whether it was to be done: what the log says does
    /// not speak of it, and that may be because it is lost.
    pub(super) fn unclear(&self, segments: &[FoundSegment], owners: &BTreeMap<Position, Owner>) -> Option<&str> {
        let is_unclear = |begun: &&Begun| {
            let Some(segment) = segments.iter().find(|it| (it.number, it.base) == (begun.number, begun.base)) else {
                return false;
            };
            let here = segment.base.plus(1)..=segment.end.max(segment.base.plus(1));
            let told = self.told.range(here.clone()).map(|(at, _)| *at).filter(|at| !self.fillers.stand_at(*at));
            let mut all: Vec<Position> = told.chain(self.done.iter().copied().filter(|at| here.contains(at))).collect();
            all.sort_unstable();
            all.dedup();
            let mut behind = owners.range(segment.end.plus(1)..);
            RedactionMark::of(all) != begun.mark && behind.any(|(_, owner)| may_have_told(&owner.stream))
        };
        self.begun.iter().find(is_unclear).map(|begun| begun.path.as_str())
    }
}
