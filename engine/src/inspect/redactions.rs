//! Redactions: the log says what is redacted, the frames say that they are, and each has to agree with the other.
//!
//! The digests of payloads that are gone stand in events behind those that they were of, and whoever hashes events needs
//! them before: where a segment says in its header that it holds redacted events, what follows it is looked through first.
//!
//! What is always true: a redaction that goes on meanwhile is no finding, wherever it is met. What the log says is looked for
//! again, behind what was known, before it is missed; and as long as the new file of a segment lies beside it, it is only
//! about to take its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_codec::scan::{self, Sink, Stop};
use annals_codec::{
    Commit, Digest, Event, Position, Redaction, RedactionMark, SEGMENT_HEADER_LEN, SegmentHeader, SegmentNumber,
};

use super::report::{Finding, FindingKind, VerifyReport};
use super::segment::finding;
use crate::error::{Doing, OpenError};
use crate::log::names;
use crate::log::recover::survey::{Facts, SegmentFacts};
use crate::log::recover::survey_beside_writer;
use crate::log::source::FileSource;
use crate::parallel;
use crate::repair::fillers::Fillers;
use crate::storage::{File, Storage};
use crate::sync::Mutex;

/// What one segment says of redactions, and which of its events are redacted.
#[derive(Debug, Default)]
pub(super) struct SegmentRedactions {
    /// The digest of each payload that it says is gone.
    told: Vec<(Position, Digest)>,
    /// The events whose payload is gone, and where they stand.
    done: Vec<(Position, u64)>,
    /// How many of each are of batches that exist.
    existing: (usize, usize),
    /// What stands where a repair found something lost.
    fillers: Fillers,
}

impl SegmentRedactions {
    /// How many events are redacted.
    pub(super) fn count(&self) -> u64 {
        self.existing.1 as u64
    }

    /// What the header has to say of them.
    pub(super) fn mark(&self) -> Option<RedactionMark> {
        RedactionMark::of(self.done[..self.existing.1].iter().map(|(position, _)| *position))
    }

    /// Whether an event is redacted of which these digests do not say what it was.
    pub(super) fn has_unknown(&self, digests: &BTreeMap<Position, Digest>) -> bool {
        self.done[..self.existing.1].iter().any(|(position, _)| !digests.contains_key(position))
    }
}

impl Sink for SegmentRedactions {
    #[inline]
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        if event.redacted {
            self.done.push((event.position, offset));
        }
        self.fillers.see(event);
        if event.stream == Redaction::STREAM
            && event.event_type == Redaction::EVENT_TYPE
            && let Some(told) = Redaction::decode(event.data)
        {
            // It speaks of what was there before it.
            self.told.extend(told.events.into_iter().filter(|(position, _)| *position < event.position));
        }
    }

    #[inline]
    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {
        self.existing = (self.told.len(), self.done.len());
    }

    fn discard(&mut self) {
        self.told.truncate(self.existing.0);
        self.done.truncate(self.existing.1);
    }
}

/// What the header of this file says is redacted in it.
pub(super) fn said_in(file: &Arc<dyn File>) -> Option<RedactionMark> {
    let mut head = [0; SEGMENT_HEADER_LEN];
    // What cannot be read here cannot be read there, and that is told by who reads the frames.
    let read = file.read_at(0, &mut head).unwrap_or(0);
    SegmentHeader::decode(&head[..read]).ok()?.0.redacted
}

/// Scans a segment over every bad place. What cannot be read is told by others.
fn scan_all(storage: &dyn Storage, segment: &SegmentFacts) -> Result<SegmentRedactions, OpenError> {
    let mut found = SegmentRedactions::default();
    let Ok((header, seed)) = &segment.header else { return Ok(found) };
    let file = match segment.open(storage) {
        // Retention has removed it meanwhile.
        Err(error) if error.is_not_found() => return Ok(found),
        file => file?,
    };
    let mut source = FileSource::cached(file, segment.len);
    let mut tail = scan::first_tail(header);
    loop {
        let scan = scan::scan(&mut source, *seed, tail, &mut found).doing("read", || segment.display.clone())?;
        let Stop::Bad(bad) = scan.stop else { break };
        let Some(resume) = bad.resume else { break };
        tail = resume;
    }
    found.discard();
    Ok(found)
}

/// What these segments say of redactions, and what is redacted in them, in their order.
fn scan_each(
    storage: &dyn Storage,
    segments: &[SegmentFacts],
    threads: usize,
) -> Result<Vec<SegmentRedactions>, OpenError> {
    parallel::each(threads, segments.len(), |index| scan_all(storage, &segments[index])).into_iter().collect()
}

/// The digests of payloads that are gone, for who hashes events.
#[derive(Debug)]
pub(super) struct Digests<'a> {
    storage: &'a dyn Storage,
    facts: &'a Facts,
    known: Mutex<BTreeMap<Position, Digest>>,
}

impl<'a> Digests<'a> {
    /// Looks through what may speak of a segment of which events are hashed, from the one of this index on.
    pub(super) fn ahead(
        storage: &'a dyn Storage,
        facts: &'a Facts,
        wanted: usize,
        threads: usize,
    ) -> Result<Digests<'a>, OpenError> {
        let is_redacted = |segment: &SegmentFacts| {
            segment.header.as_ref().is_ok_and(|(header, _)| header.redacted.is_some() && header.chain_hash.is_some())
        };
        let segments = facts.segments.get(wanted..).unwrap_or_default();
        let first = segments.iter().position(is_redacted).unwrap_or(segments.len());
        let digests = Digests::none(storage, facts);
        for found in scan_each(storage, &segments[first..], threads)? {
            digests.learn(found);
        }
        Ok(digests)
    }

    /// Nobody is going to ask.
    pub(super) fn none(storage: &'a dyn Storage, facts: &'a Facts) -> Digests<'a> {
        Digests { storage, facts, known: Mutex::new(BTreeMap::new()) }
    }

    /// Of which events the log says that they are redacted, as far as it was looked through.
    pub(super) fn told(self) -> impl Iterator<Item = Position> {
        std::mem::take(&mut *self.known.lock()).into_keys()
    }

    fn learn(&self, found: SegmentRedactions) {
        let mut known = self.known.lock();
        for (position, digest) in found.told {
            known.entry(position).or_insert(digest);
        }
    }

    /// Of the events of a segment, whose file says now that these are redacted.
    pub(super) fn of(
        &self,
        index: usize,
        said: Option<RedactionMark>,
    ) -> Result<BTreeMap<Position, Digest>, OpenError> {
        if said.is_none() {
            return Ok(BTreeMap::new());
        }
        let segment = &self.facts.segments[index];
        let surveyed = segment.header.as_ref().ok().and_then(|(header, _)| header.redacted);
        if said != surveyed {
            // Somebody has redacted some of them since the survey, and has said so behind all that was there.
            let (now, _) = survey_beside_writer(self.storage)?;
            let last = self.facts.segments.last().map_or(segment.number, |last| last.number);
            let newer = now.segments.partition_point(|segment| segment.number < last);
            scan_each(self.storage, &now.segments[newer..], 1)?.into_iter().for_each(|found| self.learn(found));
        }
        let last = self.facts.segments.get(index + 1).map_or(Position::END, |next| next.base);
        let known = self.known.lock();
        Ok(known.range(segment.base.plus(1)..=last).map(|(position, digest)| (*position, *digest)).collect())
    }
}

/// What the log says is redacted, and what is.
#[derive(Debug, Default)]
pub(super) struct RedactionCheck {
    told: BTreeSet<Position>,
    /// Where each of these events stands.
    done: BTreeMap<Position, u64>,
    /// The segments of which every event was seen.
    whole: BTreeSet<SegmentNumber>,
}

impl RedactionCheck {
    /// Takes in what was found in the next segment.
    pub(super) fn take(&mut self, number: SegmentNumber, is_whole: bool, found: SegmentRedactions) {
        if is_whole {
            self.whole.insert(number);
        }
        self.told.extend(found.told.into_iter().map(|(position, _)| position));
        self.done.extend(found.done);
    }

    /// The log says that these events are redacted.
    pub(super) fn know(&mut self, told: impl Iterator<Item = Position>) {
        self.told.extend(told);
    }

    fn untold(&self) -> impl Iterator<Item = (Position, u64)> {
        self.done.iter().filter(|(position, _)| !self.told.contains(position)).map(|(position, at)| (*position, *at))
    }

    /// With their segments. Of one that was not seen as a whole, nothing is missed.
    fn undone<'a>(&self, facts: &'a Facts) -> impl Iterator<Item = (Position, &'a SegmentFacts)> {
        let undone = self.told.iter().copied().filter(|position| !self.done.contains_key(position));
        let with_segment = undone.filter_map(|position| Some((position, segment_of(facts, position)?)));
        with_segment.filter(|(_, segment)| self.whole.contains(&segment.number))
    }

    /// What one side says, and the other does not.
    pub(super) fn end(
        mut self,
        storage: &dyn Storage,
        facts: &Facts,
        report: &mut VerifyReport,
    ) -> Result<(), OpenError> {
        let (mut oldest, mut unfinished) = (Position::START, BTreeSet::new());
        // What a repair had to give up is not missed: what stands in its place tells that it is lost.
        let mut fillers = Fillers::default();
        let undone = self.undone(facts).map(|(position, _)| position).next();
        let first = self.untold().map(|(position, _)| position).chain(undone).min();
        if let Some(first) = first {
            // Listed before the survey: the new file of a segment that is not there has taken its place already.
            unfinished = in_the_making(storage)?;
            let (now, _) = survey_beside_writer(storage)?;
            // Retention may have gone on, too.
            oldest = now.segments.first().map_or(oldest, |segment| segment.base);
            let from = now.segments.partition_point(|segment| segment.base < first).saturating_sub(1);
            for found in scan_each(storage, &now.segments[from..], 1)? {
                fillers.extend(found.fillers);
                // What was said only now may not have been done yet when its segment was read.
                let is_asked = |position: &Position| self.done.contains_key(position) || self.told.contains(position);
                let told: Vec<_> = found.told.into_iter().map(|(position, _)| position).filter(is_asked).collect();
                self.told.extend(told);
                self.done.extend(found.done.into_iter().filter(|(position, _)| self.told.contains(position)));
            }
        }
        for (position, offset) in
            self.untold().filter(|(position, _)| *position > oldest && !fillers.may_have_told_of(*position))
        {
            let Some(segment) = segment_of(facts, position) else { continue };
            let message = "the event is redacted, and the log does not say so: its digest is lost".to_owned();
            report.findings.push(finding(FindingKind::Redaction, segment, offset, position, message));
        }
        for (position, segment) in
            self.undone(facts).filter(|(position, _)| *position > oldest && !fillers.stand_at(*position))
        {
            if unfinished.contains(&segment.number) {
                report.unfinished_redactions += 1;
                continue;
            }
            let message = "the log says that the event is redacted, and it is not: redact it again".to_owned();
            let found = finding(FindingKind::Redaction, segment, 0, position, message);
            report.findings.push(Finding { offset: None, ..found });
        }
        Ok(())
    }
}

/// The segment that holds the event at a position.
fn segment_of(facts: &Facts, position: Position) -> Option<&SegmentFacts> {
    let index = facts.segments.partition_point(|segment| segment.base < position);
    facts.segments.get(index.checked_sub(1)?)
}

/// The segments whose new file lies beside them.
fn in_the_making(storage: &dyn Storage) -> Result<BTreeSet<SegmentNumber>, OpenError> {
    let listed = storage.list(names::SEGMENTS).doing("list", || storage.describe(names::SEGMENTS))?;
    Ok(listed.iter().filter_map(|name| names::parse_redacted_segment(name)).map(|(number, _)| number).collect())
}
