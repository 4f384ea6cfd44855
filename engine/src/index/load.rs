//! From surveyed files to segments that can be read, with their indexes.
//!
//! A sealed segment is taken as its end describes it, and nothing else of it is read. The last
//! one is scanned, and so is one whose end is damaged: a writer refuses that, a reader leaves
//! out what it cannot read and says so.

use std::sync::Arc;

use annals_codec::scan::{self, Bad, SealedEnd, Source, Stop, Totals};
use annals_codec::{Position, SEGMENT_HEADER_LEN, Seed, Tail};

use super::IndexedSegment;
use super::build::IndexBuilder;
use super::files::IndexFiles;
use super::memory::MemoryIndex;
use crate::error::{Damage, Doing, OpenError, explain};
use crate::log::recover::survey::SegmentFacts;
use crate::log::segment::{Segment, SegmentPlace};
use crate::log::source::FileSource;
use crate::storage::{File, Storage};

/// What is taken in while segments are loaded.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    pub(crate) gaps: Vec<Damage>,
    pub(crate) recorded_at: i64,
}

impl Loader {
    /// Takes a sealed segment as its end describes it: what it holds is looked at when it is asked for.
    pub(crate) fn sealed(
        &mut self,
        storage: &dyn Storage,
        facts: &SegmentFacts,
        end: &SealedEnd,
        files: &Arc<IndexFiles>,
    ) -> Result<IndexedSegment, OpenError> {
        let doing = || facts.display.clone();
        let (_, seed) = facts.header.as_ref().expect("the end of a segment is judged by its header");
        let segment = Segment::sealed(place(facts, *seed, facts.open(storage)?), end).doing("map", doing)?;
        if let Some((_, latest)) = segment.recorded_at() {
            self.recorded_at = self.recorded_at.max(latest);
        }
        Ok(IndexedSegment::sealed(Arc::new(segment), files))
    }

    /// Loads what can be read of a segment with a successor, which begins behind `end`, and whose
    /// header or end is damaged: what is left out is told.
    pub(crate) fn damaged(
        &mut self,
        storage: &dyn Storage,
        facts: &SegmentFacts,
        end: Position,
    ) -> Result<IndexedSegment, OpenError> {
        let doing = || facts.display.clone();
        let file = facts.open(storage)?;
        let index = Arc::new(MemoryIndex::default());
        let Ok((header, seed)) = &facts.header else {
            let segment = Segment::growing(place(facts, Seed::default(), file), facts.len).doing("map", doing)?;
            // Of a file that is cut within its header there is less.
            segment.publish(facts.len.min(SEGMENT_HEADER_LEN as u64), end);
            self.leave_out(facts, 0, facts.base, end, "its header is damaged");
            return Ok(IndexedSegment::in_memory(Arc::new(segment), index));
        };
        // Its own index of offsets cannot be trusted, so they are collected in memory.
        let mut source = FileSource::cached(Arc::clone(&file), facts.len);
        let segment = Segment::growing(place(facts, *seed, file), facts.len).doing("map", doing)?;
        let start = scan::first_tail(header);
        let reached = self.scan_over_gaps(facts, &mut source, *seed, start, Some(end), &segment, &index)?;
        if reached.position < end {
            self.leave_out(facts, reached.offset, reached.position, end, "the rest of the segment is damaged");
        }
        segment.publish(source.len(), end);
        Ok(IndexedSegment::in_memory(Arc::new(segment), index))
    }

    /// Loads what the last segment holds up to `limit`, into `segment`.
    pub(crate) fn last(
        &mut self,
        facts: &SegmentFacts,
        start: Tail,
        limit: u64,
        segment: &Segment,
        index: &Arc<MemoryIndex>,
    ) -> Result<Tail, OpenError> {
        let mut source = FileSource::cached(Arc::clone(facts.last_file()), limit);
        self.scan_over_gaps(facts, &mut source, segment.seed, start, None, segment, index)
    }

    /// Scans on behind every damaged region, as far as there is a batch to go on with.
    #[allow(clippy::too_many_arguments, reason = "one private step of two callers, which share all of it")]
    fn scan_over_gaps(
        &mut self,
        facts: &SegmentFacts,
        source: &mut FileSource,
        seed: Seed,
        mut tail: Tail,
        end: Option<Position>,
        segment: &Segment,
        index: &Arc<MemoryIndex>,
    ) -> Result<Tail, OpenError> {
        let doing = || facts.display.clone();
        let evidence = match end {
            Some(_) => "it was synced before the next segment began",
            None => "what was written after it says that it was durable",
        };
        loop {
            let mut builder = IndexBuilder::new(index).placing_in(segment);
            let found = scan::scan(source, seed, tail, &mut builder).doing("read", doing)?;
            builder.finish();
            self.take_time(&found.totals);
            let gap = match &found.stop {
                Stop::Bad(Bad { resume: Some(resume), at, fault, .. })
                    if end.is_none_or(|end| resume.position < end) =>
                {
                    self.leave_out(facts, *at, found.tail.position, resume.position, &explain(fault, evidence));
                    *resume
                }
                Stop::Bad(_) | Stop::End | Stop::Sealed(_) => return Ok(found.tail),
            };
            tail = gap;
        }
    }

    /// Remembers the time of the latest event.
    pub(crate) fn take_time(&mut self, totals: &Totals) {
        if let Some((_, max)) = totals.recorded_at {
            self.recorded_at = self.recorded_at.max(max);
        }
    }

    /// Notes that the events after `from`, up to `to`, are left out.
    pub(crate) fn leave_out(&mut self, facts: &SegmentFacts, offset: u64, from: Position, to: Position, fault: &str) {
        self.gaps.push(Damage {
            segment: facts.number,
            file: facts.display.clone(),
            offset,
            from: from.plus(1),
            to: Some(to),
            fault: fault.to_owned(),
        });
    }
}

/// Where the segment of these facts is read.
pub(crate) fn place(facts: &SegmentFacts, seed: Seed, file: Arc<dyn File>) -> SegmentPlace {
    SegmentPlace { number: facts.number, base: facts.base, seed, shown: facts.display.clone(), file }
}
