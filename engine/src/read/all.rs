//! Walking the whole log by position, in either direction.

use annals_codec::Position;

use super::Direction;
use super::frames::{Found, Frames, Place};
use super::window::Window;
use crate::error::ReadError;
use crate::log::segment::GROUP;

#[derive(Debug)]
pub(crate) struct AllCursor {
    /// Where the reader stands: the events after it come next, or those before it.
    at: Position,
    /// The segment of the last event, to save a search.
    segment: usize,
    /// Whether it has given an event already, and so is likely to go on.
    moving: bool,
    /// The last position up to which the events that come next are known to be good, going forward: all
    /// of them in the segment at hand, and wanted.
    good_until: Position,
}

impl AllCursor {
    pub(crate) fn new(at: Position) -> AllCursor {
        AllCursor { at, segment: 0, moving: false, good_until: Position::START }
    }

    /// Forgets what was found for other bounds.
    pub(crate) fn restart(&mut self) {
        self.good_until = Position::START;
    }

    /// The position that comes next, if there is one.
    #[inline]
    fn step(&self, window: Window, direction: Direction) -> Option<Position> {
        match direction {
            Direction::Forward => {
                let next = self.at.max(window.after).plus(1);
                Some(next).filter(|next| *next <= window.until && *next > self.at)
            }
            Direction::Backward => Some(self.at.before().min(window.until)).filter(|next| *next > window.after),
        }
    }

    #[inline]
    pub(crate) fn next(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        if self.at < self.good_until
            && let Some(place) = frames.good(self.segment, self.at.plus(1))
        {
            self.at = self.at.plus(1);
            return Ok(Some(place));
        }
        self.search(frames, direction)
    }

    /// The next event, about which nothing is known yet.
    fn search(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        let Some(position) = self.step(frames.window, direction) else { return Ok(None) };
        let Some(segment) = self.find_segment(frames, position) else { return Ok(None) };
        if self.moving {
            let event = frames.segment(segment).index_of(position);
            let first = if direction == Direction::Forward { 0 } else { GROUP - 1 };
            if event % GROUP == first && frames.verify_group(segment, event / GROUP) && direction == Direction::Forward
            {
                self.good_until = position.plus(GROUP - 1).min(frames.window.until);
            }
        }
        match look(frames, segment, position) {
            Ok(Ok(place)) => {
                self.at = position;
                self.moving = true;
                Ok(Some(place))
            }
            Ok(Err((place, fault))) => Err(self.damaged_region(frames, direction, segment, position, place, fault)),
            Err(error) => {
                // Told once: who goes on goes on behind it.
                self.at = position;
                Err(error)
            }
        }
    }

    #[inline]
    fn find_segment(&mut self, frames: &Frames, position: Position) -> Option<usize> {
        let segments = &frames.view.segments;
        let holds = |index: usize| {
            let segment = &segments[index].log;
            let ends = segments.get(index + 1).map_or(Position::END, |next| next.log.base);
            segment.base < position && position <= ends
        };
        if self.segment >= segments.len() || !holds(self.segment) {
            self.segment = frames.view.segment_of(position)?;
        }
        Some(self.segment)
    }

    /// Moves over all that is damaged in a row, as far as the segment goes, and describes it.
    fn damaged_region(
        &mut self,
        frames: &mut Frames,
        direction: Direction,
        segment: usize,
        first: Position,
        place: Place,
        fault: String,
    ) -> ReadError {
        let known = frames.view.gaps.iter().find(|gap| gap.from <= first && gap.to.is_none_or(|end| end >= first));
        let known = known.cloned();
        // A gap that is known is left in one step, however long it claims to be.
        self.at = match (&known, direction) {
            (Some(gap), Direction::Forward) => gap.to.unwrap_or(frames.head).min(frames.window.until),
            (Some(gap), Direction::Backward) => gap.from.max(frames.window.after.plus(1)),
            (None, _) => first,
        };
        let mut last_place = place;
        while known.is_none()
            && let Some(position) = self.step(frames.window, direction)
        {
            if frames.view.segment_of(position) != Some(segment) {
                break;
            }
            // What cannot be read at all is told on its own, by the next call.
            let Ok(Err((place, _))) = look(frames, segment, position) else { break };
            last_place = place;
            self.at = position;
        }
        let (from, to) = if first <= self.at { (first, self.at) } else { (self.at, first) };
        let start = if direction == Direction::Forward { place } else { last_place };
        let fault = known.as_ref().map_or(fault, |gap| gap.fault.clone());
        let start = known.map_or(start, |gap| Place { offset: gap.offset, ..start });
        frames.damage(start, from, to, fault)
    }
}

pub(super) type Looked = Result<Place, (Place, String)>;

/// Looks at the event of one position: where it stands, or what is wrong there.
#[inline]
pub(super) fn look(frames: &mut Frames, segment: usize, position: Position) -> Result<Looked, ReadError> {
    let nowhere = Place::new(segment, 0);
    let offset = frames.segment(segment).offset_of(position).map_err(|error| frames.io(nowhere, error))?;
    let Some(offset) = offset else {
        return Ok(Err((nowhere, "the event lies in a damaged region".to_owned())));
    };
    let place = Place::new(segment, offset);
    Ok(match frames.verify(place, Some(position))? {
        Found::Event(place, _) => Ok(place),
        Found::Damaged(fault) => Err((place, fault)),
    })
}
