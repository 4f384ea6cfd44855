//! Frames by their place, each verified before it is believed.
//!
//! Finding an event and lending it are two steps: [`Frames::verify`] looks at
//! the frame and says whether it is good, [`Frames::event`] lends it. Between
//! the two nothing is borrowed, which is what lets a cursor go on looking.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use annals_codec::{Event, Frame, FrameKind, Position};
use bytes::Bytes;

use super::window::Window;
use crate::error::ReadError;
use crate::log::segment::{GROUP, Segment};
use crate::view::View;

/// How many events ahead of the reader are asked for, where it jumps from one to the next, and how few of them
/// are left when it asks again. While one is used, the others come from memory into the processor's cache; each
/// would be waited for otherwise.
///
/// They are asked for together, and only where each begins: it is in a page of its own, the processor waits until
/// it has found out where in memory that is, and does so for several at once only if nothing stands in between.
/// The rest of a frame is asked for just before it is used, because few lines can be on their way at a time. Both
/// together, events of 400 bytes in 400 MB: 180 ns an event; each on its own, 320.
pub(super) const AHEAD: RangeInclusive<usize> = 2..=10;

/// So many events before it is its turn, the rest of a frame is asked for.
pub(super) const SOON: usize = 1;

/// Where an event stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Index in the view.
    pub(crate) segment: usize,
    /// In the segment's file.
    pub(crate) offset: u64,
    /// Of the frame, with its padding; 0 as long as nobody has looked at it.
    pub(crate) len: usize,
}

impl Place {
    pub(crate) fn new(segment: usize, offset: u64) -> Place {
        Place { segment, offset, len: 0 }
    }
}

/// What was found where an event should stand.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its frame, which is good, and the position it says.
    Event(Place, Position),
    /// Something else, and what is wrong with it.
    Damaged(String),
}

#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) view: Arc<View>,
    /// The head of the log as the reader sees it.
    pub(crate) head: Position,
    /// The positions that are wanted, none of them beyond the head.
    pub(crate) window: Window,
    /// The frame at hand, where segments are not mapped.
    buffer: Vec<u8>,
    /// How far a segment was brought into memory ahead of the reader: which, and up to where.
    populated: (usize, u64),
}

impl Frames {
    pub(crate) fn new(view: Arc<View>, head: Position) -> Frames {
        Frames { view, head, window: Window::up_to(head), buffer: Vec::new(), populated: (usize::MAX, 0) }
    }

    #[inline]
    pub(crate) fn segment(&self, index: usize) -> &Segment {
        &self.view.segments[index].log
    }

    /// Looks at the frame at `place`. `expected` is the position of its event, where that is known.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: otherwise reading a stream takes 3 % more instructions")]
    pub(crate) fn verify(&mut self, place: Place, expected: Option<Position>) -> Result<Found, ReadError> {
        let Frames { view, buffer, .. } = self;
        let segment = &*view.segments[place.segment].log;
        let Some(bytes) = segment.frame(place.offset, buffer).map_err(|error| io_error(segment, place, error))? else {
            return Ok(Found::Damaged("the length of the frame is impossible".to_owned()));
        };
        let known = expected.is_some_and(|position| segment.is_verified(segment.index_of(position) / GROUP));
        let frame = if known { Frame::read_unverified(bytes) } else { Frame::read(bytes, segment.seed) };
        let frame = match frame {
            Ok(frame) if frame.kind == FrameKind::Event => frame,
            Ok(_) => return Ok(Found::Damaged("another kind of frame stands there".to_owned())),
            Err(fault) => return Ok(Found::Damaged(fault.to_string())),
        };
        let position = frame.header.position;
        if expected.is_some_and(|expected| expected != position) {
            return Ok(Found::Damaged(format!("the event of position {position} stands there")));
        }
        let place = Place { len: bytes.len(), ..place };
        Ok(Found::Event(place, position))
    }

    /// Looks at an event whose place an index gives: its position, unless it is not wanted.
    pub(crate) fn find(&mut self, place: Place) -> Result<Option<(Place, Position)>, ReadError> {
        match self.verify(place, None)? {
            Found::Event(place, position) => Ok(Some((place, position)).filter(|_| self.window.holds(position))),
            Found::Damaged(fault) => {
                // Its frame cannot tell.
                let position =
                    self.segment(place.segment).position_at(place.offset).map_err(|error| self.io(place, error))?;
                if self.window.holds(position) { Err(self.damage(place, position, position, fault)) } else { Ok(None) }
            }
        }
    }

    /// Asks for the beginnings of frames, which the reader needs after others.
    #[inline]
    pub(crate) fn prefetch_starts(&self, places: impl Iterator<Item = Place>) {
        for place in places {
            self.segment(place.segment).prefetch_start(place.offset);
        }
    }

    /// Asks for the rest of a frame, which the reader needs soon.
    #[inline]
    pub(crate) fn prefetch_rest(&self, place: Place) {
        self.segment(place.segment).prefetch_rest(place.offset);
    }

    /// Where in a segment the wanted positions lie, as narrowly as its own index tells
    /// without a search: all that is published, where the neighbours are damaged.
    pub(crate) fn offsets_in_window(&self, segment: usize) -> Range<u64> {
        let (segment, window) = (self.segment(segment), self.window);
        if window.until <= segment.base || window.after >= segment.last() {
            return 0..0;
        }
        let offset_of = |position| segment.offset_of(position).ok().flatten();
        let start = if window.after > segment.base { offset_of(window.after.plus(1)) } else { None };
        let end = if window.until < segment.last() { offset_of(window.until.plus(1)) } else { None };
        let published = segment.committed();
        start.unwrap_or(0)..end.map_or(published, |end| end.min(published))
    }

    /// Verifies all events of a group in one go, for a reader that is about to go
    /// through it, and remembers it for everybody: whether all are there, mapped, and good. Says nothing
    /// about a bad one: the reader finds it where it stands.
    pub(crate) fn verify_group(&mut self, segment: usize, group: u64) -> bool {
        let log = Arc::clone(&self.view.segments[segment].log);
        let first = Position::new(log.base.get() + 1 + group * GROUP);
        let last = first.plus(GROUP - 1);
        if !log.is_mapped() || last > self.head.min(log.last()) {
            return false;
        }
        if log.is_verified(group) {
            return true;
        }
        if let Ok(Some(start)) = log.offset_of(first) {
            self.populate(segment, start);
        }
        let is_good = |position: u64| {
            let offset = log.offset_of(Position::new(position)).ok().flatten()?;
            let frame = Frame::read(log.mapped_frame(offset)?, log.seed).ok()?;
            Some(frame.kind == FrameKind::Event && frame.header.position.get() == position)
        };
        let all_good = (first.get()..=last.get()).all(|position| is_good(position) == Some(true));
        if all_good {
            log.set_verified(group);
        }
        all_good
    }

    /// Where the event of a position stands that is known to be good, in a mapped segment.
    #[inline]
    pub(crate) fn good(&self, segment: usize, position: Position) -> Option<Place> {
        let log = self.segment(segment);
        let offset = log.offset_of(position).ok().flatten()?;
        Some(Place { segment, offset, len: log.mapped_frame(offset)?.len() })
    }

    /// Maps what comes behind `offset` in one system call rather than page by page.
    fn populate(&mut self, segment: usize, offset: u64) {
        const AHEAD: u64 = 2 << 20;
        let (before, end) = self.populated;
        if before != segment || offset >= end || offset + 2 * AHEAD < end {
            self.view.segments[segment].log.populate(offset, AHEAD);
            self.populated = (segment, offset + AHEAD);
        }
    }

    /// Lends the event at a place that [`verify`](Frames::verify) has found good just before.
    #[inline]
    pub(crate) fn event(&self, place: Place) -> Result<Event<'_>, ReadError> {
        let segment = self.segment(place.segment);
        let bytes = if segment.is_mapped() { segment.mapped(place.offset, place.len) } else { Some(&*self.buffer) };
        let Some(Ok(frame)) = bytes.map(Frame::read_unverified) else { return Err(changed(segment, place)) };
        // Names and lengths are checked here; what a whole frame says about itself is not doubted.
        Event::decode_again(&frame).map_err(|fault| {
            let position = frame.header.position;
            self.damage(place, position, position, fault.to_string())
        })
    }

    /// The frame that was read last, where segments are not mapped.
    pub(crate) fn read_frame(&self) -> &[u8] {
        &self.buffer
    }

    /// The committed bytes of a mapped segment, as a value that keeps the mapping alive.
    pub(crate) fn pin(&self, place: Place) -> Bytes {
        self.segment(place.segment).pin().unwrap_or_default()
    }

    /// The error for a damaged region.
    pub(crate) fn damage(&self, place: Place, from: Position, to: Position, fault: String) -> ReadError {
        ReadError::Corrupt(self.segment(place.segment).damage(place.offset, from, to, fault))
    }

    /// The error for an offset that could not be looked up.
    pub(crate) fn io(&self, place: Place, error: io::Error) -> ReadError {
        io_error(self.segment(place.segment), place, error)
    }
}

fn io_error(segment: &Segment, place: Place, error: io::Error) -> ReadError {
    ReadError::Io { path: segment.shown.clone(), offset: place.offset, source: Arc::new(error) }
}

/// Bytes that were good a moment ago and are not now: somebody has changed the file.
fn changed(segment: &Segment, place: Place) -> ReadError {
    let error = io::Error::new(io::ErrorKind::InvalidData, "the file was changed while it was read");
    io_error(segment, place, error)
}
