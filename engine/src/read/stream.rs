//! Walking one stream by version, in either direction.
//!
//! Segments are asked through their indexes. Going forward, the newest is asked
//! first all the same: most readers want the end of a stream, and the search
//! stops at the segment in which the wanted versions begin.

use std::ops::Range;

use annals_codec::{FRAME_ALIGN, StreamId, StreamVersion};

use super::Direction;
use super::frames::{Frames, Place};
use super::window::Gaps;
use crate::error::ReadError;
use crate::index::Span;

/// How many offsets are taken from an index in one go.
const CHUNK: u64 = 256;

#[derive(Debug)]
pub(crate) struct StreamCursor {
    stream: StreamId,
    /// The events after this version are wanted, or those before it.
    bound: StreamVersion,
    started: bool,
    /// Segments still to be visited, the next one last.
    todo: Vec<(usize, Span)>,
    /// The segment at hand, and which numbers of its events are still to come.
    segment: usize,
    numbers: Range<u64>,
    /// Where in its file the events lie that are wanted and published.
    published: Range<u64>,
    /// Offsets fetched and not used yet, the next one last.
    offsets: Vec<u32>,
    gaps: Gaps,
}

impl StreamCursor {
    pub(crate) fn new(stream: StreamId, bound: StreamVersion) -> StreamCursor {
        StreamCursor {
            stream,
            bound,
            started: false,
            todo: Vec::new(),
            segment: 0,
            numbers: 0..0,
            published: 0..0,
            offsets: Vec::new(),
            gaps: Gaps::default(),
        }
    }

    pub(crate) fn next(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        if !self.started {
            self.start(frames, direction)?;
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
            let version = frames.event(place)?.version;
            let wanted = match direction {
                Direction::Forward => version > self.bound,
                Direction::Backward => version < self.bound,
            };
            if !wanted {
                continue;
            }
            if let Some(gap) = self.gaps.before(frames, direction, position) {
                self.offsets.push(offset);
                return Err(gap);
            }
            return Ok(Some(place));
        }
    }

    /// Collects the segments to visit.
    fn start(&mut self, frames: &Frames, direction: Direction) -> Result<(), ReadError> {
        self.todo.clear();
        for (index, segment) in frames.view.segments.iter().enumerate().rev() {
            let Some(span) = segment.span(&self.stream)? else { continue };
            match direction {
                Direction::Forward => {
                    if span.last <= self.bound {
                        break;
                    }
                    self.todo.push((index, span));
                    if span.first <= self.bound.plus(1) {
                        break;
                    }
                }
                Direction::Backward => {
                    if span.first < self.bound {
                        self.todo.insert(0, (index, span));
                    }
                }
            }
        }
        Ok(())
    }

    fn next_offset(&mut self, frames: &Frames, direction: Direction) -> Result<Option<u32>, ReadError> {
        loop {
            if let Some(offset) = self.offsets.pop() {
                return Ok(Some(offset));
            }
            if self.numbers.is_empty() {
                let Some((segment, span)) = self.todo.pop() else { return Ok(None) };
                self.segment = segment;
                self.published = frames.offsets_in_window(segment);
                self.numbers = match direction {
                    Direction::Forward => span.events_before(self.bound.plus(1))..span.events,
                    Direction::Backward if self.bound > span.last => 0..span.events,
                    Direction::Backward => match span.events_before(self.bound) {
                        0 => 0..span.events,
                        before => 0..before,
                    },
                };
            }
            let index = &frames.view.segments[self.segment];
            let len = CHUNK.min(self.numbers.end - self.numbers.start);
            match direction {
                Direction::Forward => {
                    let range = self.numbers.start..self.numbers.start + len;
                    self.numbers.start += len;
                    index.offsets(&self.stream, range, &mut self.offsets)?;
                    self.offsets.reverse();
                }
                Direction::Backward => {
                    let range = self.numbers.end - len..self.numbers.end;
                    self.numbers.end -= len;
                    index.offsets(&self.stream, range, &mut self.offsets)?;
                }
            }
        }
    }
}
