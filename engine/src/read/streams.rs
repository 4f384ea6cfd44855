//! Walking several streams at once, by position, in either direction.
//!
//! Segment by segment, the offsets of all the streams' events are taken from
//! the index and sorted: four bytes for each event of these streams in the
//! segment at hand, and nothing is read of any other event.

use std::collections::BTreeSet;
use std::ops::Range;

use annals_codec::{FRAME_ALIGN, Position, StreamId};

use super::Direction;
use super::frames::{Frames, Place};
use super::window::Gaps;
use crate::error::ReadError;
use crate::query::{Query, Rule};
use crate::view::View;

/// How many streams are few. With more of them, asking each segment for each
/// costs about as much as going through the log.
const FEW: usize = 1024;

/// The streams of which all events that a query describes must be, when they are few.
pub(crate) fn few_streams(query: &Query, view: &View) -> Result<Option<BTreeSet<StreamId>>, ReadError> {
    let mut names = BTreeSet::new();
    let Some(rules) = query.streams() else { return Ok(None) };
    for rule in rules {
        match rule {
            Rule::Exact(stream) => drop(names.insert(stream.clone())),
            Rule::Prefix(prefix) => {
                for segment in &view.segments {
                    segment.streams(prefix, &mut |stream, _| {
                        if names.len() <= FEW && !names.contains(stream) {
                            names.insert(StreamId::stored(stream));
                        }
                    })?;
                }
            }
        }
        if names.len() > FEW {
            return Ok(None);
        }
    }
    Ok(Some(names))
}

#[derive(Debug)]
pub(crate) struct StreamsCursor {
    streams: BTreeSet<StreamId>,
    /// The events after this position are wanted, or those before it.
    bound: Position,
    started: bool,
    /// Segments still to be visited.
    todo: Range<usize>,
    /// The segment at hand.
    segment: usize,
    /// Its offsets that are not used yet, the next one last.
    offsets: Vec<u32>,
    gaps: Gaps,
}

impl StreamsCursor {
    pub(crate) fn new(streams: BTreeSet<StreamId>, bound: Position) -> StreamsCursor {
        let (offsets, gaps) = (Vec::new(), Gaps::default());
        StreamsCursor { streams, bound, started: false, todo: 0..0, segment: 0, offsets, gaps }
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
            let Some((place, position)) = frames.find(place)? else { continue };
            if let Some(gap) = self.gaps.before(frames, direction, position) {
                self.offsets.push(offset);
                return Err(gap);
            }
            return Ok(Some(place));
        }
    }

    fn start(&mut self, frames: &mut Frames, direction: Direction) {
        let window = &mut frames.window;
        match direction {
            Direction::Forward => window.after = window.after.max(self.bound),
            Direction::Backward => window.until = window.until.min(self.bound.before()),
        }
        if !window.is_empty() {
            let (first, last) = (window.after.plus(1), window.until);
            let segment_of = |position| frames.view.segment_of(position);
            self.todo = segment_of(first).unwrap_or(0)..segment_of(last).map_or(0, |last| last + 1);
        }
    }

    fn next_offset(&mut self, frames: &Frames, direction: Direction) -> Result<Option<u32>, ReadError> {
        loop {
            if let Some(offset) = self.offsets.pop() {
                return Ok(Some(offset));
            }
            let next = match direction {
                Direction::Forward => self.todo.next(),
                Direction::Backward => self.todo.next_back(),
            };
            let Some(next) = next else { return Ok(None) };
            self.segment = next;
            let index = &frames.view.segments[self.segment];
            for stream in &self.streams {
                index.offsets(stream, 0..u64::MAX, &mut self.offsets)?;
            }
            let range = frames.offsets_in_window(self.segment);
            self.offsets.retain(|offset| range.contains(&(u64::from(*offset) * FRAME_ALIGN)));
            self.offsets.sort_unstable();
            if direction == Direction::Forward {
                self.offsets.reverse();
            }
        }
    }
}
