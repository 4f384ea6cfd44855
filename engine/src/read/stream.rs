//! Walking one stream by version, in either direction.
//!
//! Segments are asked through their indexes. Going forward, the newest is asked
//! first all the same: most readers want the end of a stream, and the search
//! stops at the segment in which the wanted versions begin. Going backward, a segment
//! is asked when the reader gets there.
//!
//! The places of the next events are known a little ahead of the reader, over the border of
//! segments too, and their frames are asked for. While one is used the others come
//! from memory into the processor's cache; each would be waited for otherwise.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

use annals_codec::index::KeyHash;
use annals_codec::{FRAME_ALIGN, StreamId, StreamVersion};

use super::Direction;
use super::frames::{AHEAD, Frames, Place, SOON};
use super::window::Gaps;
use crate::error::ReadError;
use crate::index::Span;

/// How many offsets are taken from an index in one go: few at first, for who wants the end of a
/// stream and no more; then more and more.
const CHUNK: RangeInclusive<u64> = 8..=256;

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
    span: Option<Span>,
    numbers: Range<u64>,
    chunk: u64,
    /// How many places are to be known before frames are asked for: at first one, for who wants no more.
    depth: usize,
    /// Where in its file the events lie that are wanted and published.
    published: Range<u64>,
    /// Where the next events stand.
    next: VecDeque<Next>,
    /// For how many of these the frames were asked for.
    asked: usize,
    /// Offsets on their way from an index.
    offsets: Vec<u32>,
    /// Why what comes behind these could not be fetched: told when the reader gets there.
    failed: Option<ReadError>,
    gaps: Gaps,
    /// The event that was given last.
    given: Option<Place>,
}

/// Where an event stands that may be the next.
#[derive(Clone, Copy, Debug)]
struct Next {
    place: Place,
    /// Whether only the event itself can tell its version.
    by_version: bool,
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
            span: None,
            numbers: 0..0,
            chunk: *CHUNK.start(),
            depth: 1,
            published: 0..0,
            next: VecDeque::new(),
            asked: 0,
            offsets: Vec::new(),
            failed: None,
            gaps: Gaps::default(),
            given: None,
        }
    }

    /// Forgets what was found for other bounds, and goes on from the event that was given last.
    pub(crate) fn restart(&mut self, frames: &Frames) {
        if !self.started {
            return;
        }
        let given = self.given.and_then(|place| frames.event(place).ok()).map(|event| event.version);
        *self =
            StreamCursor { given: self.given, ..StreamCursor::new(self.stream.clone(), given.unwrap_or(self.bound)) };
    }

    /// Which stream it is.
    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// The events after this version are wanted, or those before it.
    pub(crate) fn bound(&self) -> StreamVersion {
        self.bound
    }

    pub(crate) fn next(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        if !self.started {
            self.started = true;
            self.start(frames, direction);
        }
        loop {
            let Some(next) = self.take_next(frames, direction)? else {
                return self.gaps.rest(frames, direction).map_or(Ok(None), Err);
            };
            let Some((place, position)) = frames.find(next.place)? else { continue };
            if next.by_version && !self.is_wanted(frames.event(place)?.version, direction) {
                continue;
            }
            if let Some(gap) = self.gaps.before(frames, direction, position) {
                self.next.push_front(next);
                self.asked += 1;
                return Err(gap);
            }
            self.given = Some(place);
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
        if direction == Direction::Backward {
            self.older = segments.len();
            return;
        }
        for index in frames.view.candidates(self.hash) {
            let Some(span) = segments[index].span(&self.stream).transpose() else { continue };
            let is_first = match &span {
                Ok(span) if span.last <= self.bound => break,
                Ok(span) => span.first <= self.bound.plus(1),
                Err(_) if frames.offsets_in_window(index).is_empty() => continue,
                // Who gets there is told, and may go on behind it.
                Err(_) => false,
            };
            self.todo.push((index, span));
            if is_first {
                break;
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

    fn take_next(&mut self, frames: &Frames, direction: Direction) -> Result<Option<Next>, ReadError> {
        if self.asked <= *AHEAD.start() {
            while self.next.len() < self.depth && self.failed.is_none() {
                match self.fetch(frames, direction) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => self.failed = Some(error),
                }
            }
            self.depth = *AHEAD.end();
            let asked = self.next.len().min(*AHEAD.end());
            frames.prefetch_starts(self.next.range(self.asked..asked).map(|next| next.place));
            self.asked = asked;
        }
        let Some(next) = self.next.pop_front() else { return self.failed.take().map_or(Ok(None), Err) };
        self.asked -= 1;
        if let Some(soon) = self.next.get(SOON) {
            frames.prefetch_rest(soon.place);
        }
        Ok(Some(next))
    }

    /// Fetches the places of more events; `false` when there are none.
    fn fetch(&mut self, frames: &Frames, direction: Direction) -> Result<bool, ReadError> {
        let span = match self.span.filter(|_| !self.numbers.is_empty()) {
            Some(span) => span,
            None => {
                let Some((segment, span)) = self.next_segment(frames)? else { return Ok(false) };
                (self.segment, self.span) = (segment, Some(span));
                self.published = frames.offsets_in_window(segment);
                self.numbers = match direction {
                    Direction::Forward => span.events_before(self.bound.plus(1))..span.events,
                    Direction::Backward if !span.is_whole() => 0..span.events,
                    Direction::Backward => 0..span.events_before(self.bound),
                };
                span
            }
        };
        let len = self.chunk.min(self.numbers.end - self.numbers.start);
        self.chunk = (self.chunk * 4).min(*CHUNK.end());
        let range = match direction {
            Direction::Forward => self.numbers.start..self.numbers.start + len,
            Direction::Backward => self.numbers.end - len..self.numbers.end,
        };
        match direction {
            Direction::Forward => self.numbers.start = range.end,
            Direction::Backward => self.numbers.end = range.start,
        }
        self.offsets.clear();
        if let Err(error) = frames.view.segments[self.segment].offsets(&span, range, &mut self.offsets) {
            // Told once for all that is left of the segment.
            self.numbers = 0..0;
            return Err(error);
        }
        if direction == Direction::Backward {
            self.offsets.reverse();
        }
        let (segment, by_version) = (self.segment, !span.is_whole());
        let places = self.offsets.iter().map(|offset| Place::new(segment, u64::from(*offset) * FRAME_ALIGN));
        // Those that are not wanted are left out, and those that are indexed and not published yet.
        let wanted = places.filter(|place| self.published.contains(&place.offset));
        self.next.extend(wanted.map(|place| Next { place, by_version }));
        Ok(true)
    }
}
