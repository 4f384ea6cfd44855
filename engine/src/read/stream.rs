//! Walking one stream by version, in either direction.
//!
//! Segments are asked through their indexes. Going forward, the newest is asked
//! first all the same: most readers want the end of a stream, and the search
//! stops at the segment in which the wanted versions begin.

use annals_codec::{Position, StreamId, StreamVersion};

use super::Direction;
use super::frames::{Found, Frames, Place};
use crate::error::{Damage, ReadError};
use crate::index::{SegmentIndex, Span};

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
    numbers: std::ops::Range<u64>,
    /// Offsets fetched and not used yet, the next one last.
    offsets: Vec<u32>,
    /// Which of the view's gaps were reported.
    gaps_passed: usize,
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
            offsets: Vec::new(),
            gaps_passed: 0,
        }
    }

    pub(crate) fn next(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        if !self.started {
            self.start(frames, direction);
            self.started = true;
        }
        loop {
            let Some(offset) = self.next_offset(frames, direction) else {
                let end = if direction == Direction::Forward { Position::END } else { Position::START };
                return self.gap_before(frames, direction, end).map_or(Ok(None), Err);
            };
            let place = Place::new(self.segment, u64::from(offset) * annals_codec::FRAME_ALIGN);
            if place.offset >= frames.segment(self.segment).committed() {
                continue; // Indexed, and not published yet.
            }
            let (place, position) = match frames.verify(place, None)? {
                Found::Event(place, position) => (place, position),
                Found::Damaged(fault) => {
                    let position = position_at(frames, place)?;
                    return Err(frames.damage(place, position, position, fault));
                }
            };
            let version = frames.event(place)?.version;
            let wanted = match direction {
                Direction::Forward => version > self.bound,
                Direction::Backward => version < self.bound,
            };
            if position > frames.head || !wanted {
                continue;
            }
            if let Some(gap) = self.gap_before(frames, direction, position) {
                self.offsets.push(offset);
                return Err(gap);
            }
            return Ok(Some(place));
        }
    }

    /// Collects the segments to visit.
    fn start(&mut self, frames: &Frames, direction: Direction) {
        for (index, segment) in frames.view.segments.iter().enumerate().rev() {
            let Some(span) = segment.index.span(&self.stream) else { continue };
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
    }

    fn next_offset(&mut self, frames: &Frames, direction: Direction) -> Option<u32> {
        loop {
            if let Some(offset) = self.offsets.pop() {
                return Some(offset);
            }
            if self.numbers.is_empty() {
                let (segment, span) = self.todo.pop()?;
                self.segment = segment;
                self.numbers = match direction {
                    Direction::Forward => span.events_before(self.bound.plus(1))..span.events,
                    Direction::Backward if self.bound > span.last => 0..span.events,
                    Direction::Backward => match span.events_before(self.bound) {
                        0 => 0..span.events,
                        before => 0..before,
                    },
                };
            }
            let index = &frames.view.segments[self.segment].index;
            let len = CHUNK.min(self.numbers.end - self.numbers.start);
            match direction {
                Direction::Forward => {
                    let range = self.numbers.start..self.numbers.start + len;
                    self.numbers.start += len;
                    index.offsets(&self.stream, range, &mut self.offsets);
                    self.offsets.reverse();
                }
                Direction::Backward => {
                    let range = self.numbers.end - len..self.numbers.end;
                    self.numbers.end -= len;
                    index.offsets(&self.stream, range, &mut self.offsets);
                }
            }
        }
    }

    /// A region that is left out of the view and lies between the last event and `position`:
    /// nobody knows whether it held events of this stream, so it is reported.
    fn gap_before(&mut self, frames: &Frames, direction: Direction, position: Position) -> Option<ReadError> {
        let gaps = &frames.view.gaps;
        let gap: &Damage = match direction {
            Direction::Forward => gaps.get(self.gaps_passed).filter(|gap| gap.from < position)?,
            Direction::Backward => {
                let index = gaps.len().checked_sub(self.gaps_passed + 1)?;
                Some(&gaps[index]).filter(|gap| gap.from > position)?
            }
        };
        self.gaps_passed += 1;
        Some(ReadError::Corrupt(gap.clone()))
    }
}

/// The position of the event that should stand at `place`: its frame cannot tell.
fn position_at(frames: &Frames, place: Place) -> Result<Position, ReadError> {
    let segment = frames.segment(place.segment);
    let (mut low, mut high) = (segment.base.get() + 1, segment.last().get());
    while low < high {
        let middle = low + (high - low) / 2;
        let offset = segment.offset_of(Position::new(middle)).map_err(|error| frames.io(place, error))?;
        if offset.unwrap_or(0) < place.offset { low = middle + 1 } else { high = middle }
    }
    Ok(Position::new(low))
}
