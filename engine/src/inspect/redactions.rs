//! Redactions: the log says what is redacted, the frames say that they are, and each has to agree with the other.
//!
//! The digests of payloads that are gone stand in events behind those that they were of, and the hash chain needs them
//! before: where a segment says in its header that it holds redacted events, what follows it is looked through first.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_codec::scan::{self, Sink, Stop};
use annals_codec::{Commit, Digest, Event, Position, Redaction, RedactionMark, SEGMENT_HEADER_LEN, SegmentHeader};

use super::{Finding, FindingKind};
use crate::error::{Doing, OpenError};
use crate::log::recover::survey::{Facts, SegmentFacts};
use crate::log::recover::survey_beside_writer;
use crate::log::source::FileSource;
use crate::storage::{File, Storage};

/// What the log says is redacted, and what is.
#[derive(Debug, Default)]
pub(super) struct RedactionCheck {
    /// The digest of each payload that the log says is gone.
    told: BTreeMap<Position, Digest>,
    /// Where the events stand whose payload is gone.
    done: BTreeMap<Position, u64>,
    /// What the batch at hand says.
    now_told: Vec<(Position, Digest)>,
    /// Which of its events are redacted.
    now_done: Vec<(Position, u64)>,
}

impl Sink for RedactionCheck {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        if event.redacted {
            self.now_done.push((event.position, offset));
        }
        if event.stream == Redaction::STREAM
            && event.event_type == Redaction::EVENT_TYPE
            && let Some(told) = Redaction::decode(event.data)
        {
            // It speaks of what was there before it.
            self.now_told.extend(told.events.into_iter().filter(|(position, _)| *position < event.position));
        }
    }

    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {
        for (position, digest) in self.now_told.drain(..) {
            self.told.entry(position).or_insert(digest);
        }
        self.done.extend(self.now_done.drain(..));
    }

    fn discard(&mut self) {
        self.now_told.clear();
        self.now_done.clear();
    }
}

/// Scans a segment over every bad place. What cannot be read is told by others.
fn scan_all(storage: &dyn Storage, segment: &SegmentFacts, sink: &mut RedactionCheck) -> Result<(), OpenError> {
    let Ok((header, seed)) = &segment.header else { return Ok(()) };
    let mut source = FileSource::cached(segment.open(storage)?, segment.len);
    let mut tail = scan::first_tail(header);
    loop {
        let found = scan::scan(&mut source, *seed, tail, sink).doing("read", || segment.display.clone())?;
        let Stop::Bad(bad) = found.stop else { return Ok(()) };
        let Some(resume) = bad.resume else { return Ok(()) };
        tail = resume;
    }
}

impl RedactionCheck {
    /// What the log says is redacted, where the hash chain of a segment cannot be checked without.
    pub(super) fn ahead(storage: &dyn Storage, facts: &Facts) -> Result<RedactionCheck, OpenError> {
        let is_redacted = |segment: &SegmentFacts| {
            segment.header.as_ref().is_ok_and(|(header, _)| header.redacted.is_some() && header.chain_hash.is_some())
        };
        match facts.segments.iter().position(is_redacted) {
            Some(first) => Ok(RedactionCheck { told: told_in(storage, &facts.segments[first..])?, ..Self::default() }),
            None => Ok(RedactionCheck::default()),
        }
    }

    /// The digests of the payloads of events after `base` that are gone.
    pub(super) fn digests_after(&self, base: Position, last: Option<Position>) -> BTreeMap<Position, Digest> {
        let range = self.told.range(base.plus(1)..=last.unwrap_or(Position::END));
        range.map(|(position, digest)| (*position, *digest)).collect()
    }

    /// What the header of this file says is redacted, and what is.
    pub(super) fn marks(
        &self,
        file: &Arc<dyn File>,
        segment: &SegmentFacts,
        last: Position,
    ) -> [Option<RedactionMark>; 2] {
        let mut head = [0; SEGMENT_HEADER_LEN];
        let read = file.read_at(0, &mut head).unwrap_or(0);
        let said = SegmentHeader::decode(&head[..read]).ok().and_then(|(header, _)| header.redacted);
        let done = self.done.range(segment.base.plus(1)..=last.max(segment.base.plus(1)));
        [said, RedactionMark::of(done.map(|(position, _)| *position))]
    }

    /// How many events are redacted.
    pub(super) fn count(&self) -> u64 {
        self.done.len() as u64
    }

    /// What one side says, and the other does not.
    pub(super) fn end(
        mut self,
        storage: &dyn Storage,
        facts: &Facts,
        findings: &mut Vec<Finding>,
    ) -> Result<(), OpenError> {
        let oldest = facts.segments.first().map_or(Position::START, |segment| segment.base).plus(1);
        let differs = |check: &RedactionCheck| {
            check.done.keys().any(|position| !check.told.contains_key(position))
                || check.told.range(oldest..).any(|(position, _)| !check.done.contains_key(position))
        };
        if differs(&self) {
            // A writer may have redacted something since the first look: what he says he has done, he said before.
            let (now, _) = survey_beside_writer(storage)?;
            let first =
                self.done.keys().next().into_iter().chain(self.told.range(oldest..).map(|(at, _)| at).next()).min();
            let begins = |first: &Position| now.segments.partition_point(|segment| segment.base < *first);
            let from = first.map_or(0, begins).saturating_sub(1);
            let mut again = RedactionCheck::default();
            for segment in &now.segments[from..] {
                scan_all(storage, segment, &mut again)?;
            }
            self.told.append(&mut again.told);
            self.done.append(&mut again.done);
        }
        let mut find = |position: Position, offset: Option<u64>, message: &str| {
            let index = facts.segments.partition_point(|segment| segment.base < position).saturating_sub(1);
            let segment = facts.segments.get(index);
            findings.push(Finding {
                kind: FindingKind::Redaction,
                segment: segment.map(|segment| segment.number),
                file: segment.map(|segment| segment.display.clone()),
                offset,
                position: Some(position),
                message: message.to_owned(),
            });
        };
        for (position, offset) in self.done.iter().filter(|(position, _)| !self.told.contains_key(position)) {
            find(*position, Some(*offset), "the event is redacted, and the log does not say so: its digest is lost");
        }
        for (position, _) in self.told.range(oldest..).filter(|(position, _)| !self.done.contains_key(position)) {
            let message =
                "the log says that the event is redacted, and it is not: opening the store for writing finishes it";
            find(*position, None, message);
        }
        Ok(())
    }
}

fn told_in(storage: &dyn Storage, segments: &[SegmentFacts]) -> Result<BTreeMap<Position, Digest>, OpenError> {
    let mut found = RedactionCheck::default();
    for segment in segments {
        match scan_all(storage, segment, &mut found) {
            // Retention has removed it meanwhile.
            Err(error) if error.is_not_found() => {}
            done => done?,
        }
    }
    Ok(found.told)
}
