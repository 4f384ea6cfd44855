//! Frames by their place, each verified before it is believed.
//!
//! Finding an event and lending it are two steps: [`Frames::verify`] looks at
//! the frame and says whether it is good, [`Frames::event`] lends it. Between
//! the two nothing is borrowed, which is what lets a cursor go on looking.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use annals_codec::{Event, Frame, FrameKind, Position};
use bytes::Bytes;

use crate::error::{Damage, ReadError};
use crate::log::segment::{GROUP, Segment};
use crate::view::View;

/// Where an event stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Index in the view.
    pub(crate) segment: usize,
    /// In the segment's file.
    pub(crate) offset: u64,
}

/// What was found where an event should stand.
#[derive(Debug)]
pub(crate) enum Found {
    /// It, with its position and version.
    Event(Position, annals_codec::StreamVersion),
    /// Something else, and what is wrong with it.
    Damaged(String),
}

#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) view: Arc<View>,
    /// The last position that may be read.
    pub(crate) head: Position,
    /// The frame at hand, where segments are not mapped.
    buffer: Vec<u8>,
    run: VerifiedRun,
}

/// A run of events, one after the other, that this reader has verified.
#[derive(Debug, Default)]
struct VerifiedRun {
    segment: usize,
    /// Numbers of events in the segment.
    events: Range<u64>,
}

impl VerifiedRun {
    /// Takes in one more event; whoever completes a group remembers it for everybody.
    #[inline]
    fn extend(&mut self, place: usize, segment: &Segment, event: u64) {
        if self.segment == place && event == self.events.end {
            self.events.end += 1;
        } else if self.segment == place && event + 1 == self.events.start {
            self.events.start -= 1;
        } else {
            *self = VerifiedRun { segment: place, events: event..event + 1 };
        }
        let group = event / GROUP;
        if self.events.start <= group * GROUP && self.events.end >= (group + 1) * GROUP {
            segment.set_verified(group);
        }
    }
}

impl Frames {
    pub(crate) fn new(view: Arc<View>, head: Position) -> Frames {
        Frames { view, head, buffer: Vec::new(), run: VerifiedRun::default() }
    }

    #[inline]
    pub(crate) fn segment(&self, index: usize) -> &Segment {
        &self.view.segments[index].log
    }

    /// Looks at the frame at `place`. `expected` is the position of its event, where that is known.
    #[inline]
    pub(crate) fn verify(&mut self, place: Place, expected: Option<Position>) -> Result<Found, ReadError> {
        let Frames { view, buffer, run, .. } = self;
        let segment = &*view.segments[place.segment].log;
        let bytes = if segment.is_mapped() {
            segment.mapped_frame(place.offset)
        } else {
            let read = segment.read_frame(place.offset, buffer).map_err(|error| io_error(segment, place, error))?;
            read.then_some(buffer.as_slice())
        };
        let Some(bytes) = bytes else {
            return Ok(Found::Damaged("the length of the frame is impossible".to_owned()));
        };
        let known = expected.is_some_and(|position| segment.is_verified(segment.index_of(position) / GROUP));
        if known {
            // Only what decoding needs is looked at again.
            return Ok(match Frame::read_unverified(bytes).map(|frame| Event::decode_again(&frame)) {
                Ok(Ok(event)) => Found::Event(event.position, event.version),
                Ok(Err(fault)) => Found::Damaged(fault.to_string()),
                Err(fault) => Found::Damaged(fault.to_string()),
            });
        }
        let frame = match Frame::read(bytes, segment.seed) {
            Ok(frame) if frame.kind == FrameKind::Event => frame,
            Ok(_) => return Ok(Found::Damaged("another kind of frame stands there".to_owned())),
            Err(fault) => return Ok(Found::Damaged(fault.to_string())),
        };
        let event = match Event::decode(&frame) {
            Ok(event) => event,
            Err(fault) => return Ok(Found::Damaged(fault.to_string())),
        };
        if expected.is_some_and(|expected| expected != event.position) {
            return Ok(Found::Damaged(format!("the event of position {} stands there", event.position)));
        }
        run.extend(place.segment, segment, segment.index_of(event.position));
        Ok(Found::Event(event.position, event.version))
    }

    /// Lends the event at a place that [`verify`](Frames::verify) has found good just before.
    #[inline]
    pub(crate) fn event(&self, place: Place) -> Result<Event<'_>, ReadError> {
        let segment = self.segment(place.segment);
        let bytes = if segment.is_mapped() { segment.mapped_frame(place.offset) } else { Some(&*self.buffer) };
        let frame = bytes.and_then(|bytes| Frame::read_unverified(bytes).ok());
        let event = frame.and_then(|frame| Event::decode_again(&frame).ok());
        event.ok_or_else(|| changed(segment, place))
    }

    /// Where the mapped frame at `place` lies in the segment's bytes; `None` when it is not mapped.
    pub(crate) fn range(&self, place: Place) -> Result<Option<Range<usize>>, ReadError> {
        let segment = self.segment(place.segment);
        if !segment.is_mapped() {
            return Ok(None);
        }
        let len = segment.mapped_frame(place.offset).ok_or_else(|| changed(segment, place))?.len();
        let start = place.offset as usize;
        Ok(Some(start..start + len))
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
        let segment = self.segment(place.segment);
        ReadError::Corrupt(Damage {
            segment: segment.number,
            file: segment.path.clone(),
            offset: place.offset,
            from,
            to: Some(to),
            fault,
        })
    }

    /// The error for an offset that could not be looked up.
    pub(crate) fn io(&self, place: Place, error: io::Error) -> ReadError {
        io_error(self.segment(place.segment), place, error)
    }
}

fn io_error(segment: &Segment, place: Place, error: io::Error) -> ReadError {
    ReadError::Io { path: segment.path.clone(), offset: place.offset, source: Arc::new(error) }
}

/// Bytes that were good a moment ago and are not now: somebody has changed the file.
fn changed(segment: &Segment, place: Place) -> ReadError {
    let error = io::Error::new(io::ErrorKind::InvalidData, "the file was changed while it was read");
    io_error(segment, place, error)
}
