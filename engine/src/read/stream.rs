//! Walking one stream by version, in either direction.
//!
//! Segments are asked through their indexes. Going forward, the newest is asked
//! first all the same: most readers want the end of a stream, and the search
//! stops at the segment in which the wanted versions begin. Going backward, a segment
//! is asked when the reader gets there.

use std::ops::Range;

use annals_codec::index::KeyHash;
use annals_codec::{FRAME_ALIGN, StreamId, StreamVersion};

use super::Direction;
use super::frames::{AHEAD, Frames, Place};
use super::window::Gaps;
use crate::error::ReadError;
use crate::index::Span;

/// How many offsets are taken from an index in one go.
const CHUNK: u64 = 256;

#[derive(Debug)]
pub(crate) struct StreamCursor {
    stream: StreamId,
    hash: KeyHash,
    /// The events after this version are wanted, or those before it.
    bound: StreamVersion,
    started: bool,
    /// Forward, the segments still to be visited, the next one last; of some nobody can say what they hold.
    todo: Vec<(usize, Result<Span, ReadError>)>,
    /// Backward, how many of the oldest segments may still hold some of it: they are asked in turn.
    older: usize,
    /// The segment at hand, and which numbers of its events are still to come.
    segment: usize,
    numbers: Range<u64>,
    /// Whether the numbers leave it to the events themselves which versions they have.
    by_version: bool,
    /// Where in its file the events lie that are wanted and published.
    published: Range<u64>,
    /// Offsets fetched and not used yet, the next one last.
    offsets: Vec<u32>,
    gaps: Gaps,
}

impl StreamCursor {
    pub(crate) fn new(stream: StreamId, bound: StreamVersion) -> StreamCursor {
        StreamCursor {
            hash: KeyHash::stream(&stream),
            stream,
            bound,
            started: false,
            todo: Vec::new(),
            older: 0,
            segment: 0,
            numbers: 0..0,
            by_version: false,
            published: 0..0,
            offsets: Vec::new(),
            gaps: Gaps::default(),
        }
    }

    pub(crate) fn next(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        if !self.started {
            self.start(frames, direction);
            self.started = true;
        }
        loop {
            let Some(offset) = self.next_offset(frames, direction)? else {
                return self.gaps.rest(frames, direction).map_or(Ok(None), Err);
            };
            let place = Place::new(self.segment, u64::from(offset) * FRAME_ALIGN);
            if !self.published.contains(&place.offset) {
                continue; // Not wanted, or indexed and not published yet.
            }
            let Some((place, position)) = frames.find(place)? else { continue };
            if self.by_version && !self.is_wanted(frames.event(place)?.version, direction) {
                continue;
            }
            if let Some(gap) = self.gaps.before(frames, direction, position) {
                self.offsets.push(offset);
                return Err(gap);
            }
            return Ok(Some(place));
        }
    }

    fn is_wanted(&self, version: StreamVersion, direction: Direction) -> bool {
        match direction {
            Direction::Forward => version > self.bound,
            Direction::Backward => version < self.bound,
        }
    }

    /// Finds out where to begin.
    fn start(&mut self, frames: &Frames, direction: Direction) {
        let segments = &frames.view.segments;
        match direction {
            Direction::Backward => self.older = segments.len(),
            Direction::Forward => {
                for index in frames.view.candidates(self.hash) {
                    let Some(span) = segments[index].span(&self.stream).transpose() else { continue };
                    // Of one that cannot be asked, who gets there is told, and may go on behind it.
                    let (is_before, is_first) = match &span {
                        Ok(span) => (span.last <= self.bound, span.first <= self.bound.plus(1)),
                        Err(_) => (false, false),
                    };
                    if is_before {
                        break;
                    }
                    self.todo.push((index, span));
                    if is_first {
                        break;
                    }
                }
            }
        }
    }

    /// The segment that comes next, and what it holds of the stream.
    fn next_segment(&mut self, frames: &Frames) -> Result<Option<(usize, Span)>, ReadError> {
        if let Some((index, span)) = self.todo.pop() {
            return Ok(Some((index, span?)));
        }
        for index in frames.view.candidates_before(self.older, self.hash) {
            self.older = index;
            let Some(span) = frames.view.segments[index].span(&self.stream)? else { continue };
            if span.first == StreamVersion::new(1) {
                self.older = 0; // It begins here.
            }
            if span.first < self.bound {
                return Ok(Some((index, span)));
            }
            if self.older == 0 {
                break;
            }
        }
        self.older = 0;
        Ok(None)
    }

    fn next_offset(&mut self, frames: &Frames, direction: Direction) -> Result<Option<u32>, ReadError> {
        loop {
            if let Some(offset) = self.offsets.pop() {
                if let Some(ahead) = self.offsets.len().checked_sub(AHEAD) {
                    self.prefetch(frames, self.offsets[ahead]);
                }
                return Ok(Some(offset));
            }
            if self.numbers.is_empty() {
                let Some((segment, span)) = self.next_segment(frames)? else { return Ok(None) };
                self.segment = segment;
                self.published = frames.offsets_in_window(segment);
                self.by_version = !span.is_whole();
                self.numbers = match direction {
                    Direction::Forward => span.events_before(self.bound.plus(1))..span.events,
                    Direction::Backward if self.by_version => 0..span.events,
                    Direction::Backward => 0..span.events_before(self.bound),
                };
            }
            let index = &frames.view.segments[self.segment];
            let len = CHUNK.min(self.numbers.end - self.numbers.start);
            let range = match direction {
                Direction::Forward => self.numbers.start..self.numbers.start + len,
                Direction::Backward => self.numbers.end - len..self.numbers.end,
            };
            if let Err(error) = index.offsets(&self.stream, range.clone(), &mut self.offsets) {
                // Told once for all that is left of the segment.
                self.numbers = 0..0;
                self.offsets.clear();
                return Err(error);
            }
            match direction {
                Direction::Forward => {
                    self.numbers.start = range.end;
                    self.offsets.reverse();
                }
                Direction::Backward => self.numbers.end = range.start,
            }
            for offset in self.offsets.iter().rev().take(AHEAD) {
                self.prefetch(frames, *offset);
            }
        }
    }

    fn prefetch(&self, frames: &Frames, offset: u32) {
        frames.segment(self.segment).prefetch(u64::from(offset) * FRAME_ALIGN);
    }
}
