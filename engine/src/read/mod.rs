//! The way out: events, borrowed from the mapping or owned, in order.
//!
//! A [`Reader`] is pinned to the log as of its creation and needs nothing of
//! the writer: no lock, and no reference count for each event. It finds its
//! next event through a cursor ([`all`] by position, [`stream`] by version) and
//! looks at its frame through [`frames`], which verifies each checksum once.

mod all;
pub(crate) mod frames;
mod stream;

use std::fmt;
use std::sync::Arc;

use annals_codec::{Event, Position, StreamId, StreamVersion};
use bytes::Bytes;

use self::all::AllCursor;
use self::frames::{Frames, Place};
use self::stream::StreamCursor;
use crate::error::ReadError;
use crate::event::RecordedEvent;
use crate::view::View;

/// Reads events in order, from the log as it was when the reader was made.
///
/// [`next_event`](Reader::next_event) lends each event straight from the
/// mapping and is the fastest way; as an [`Iterator`] a reader gives owned
/// events, whose payloads share the mapping and are not copied either.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-1", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let mut reader = store.read_all(Position::START);
/// while let Some(event) = reader.next_event()? {
///     println!("{} {} {}", event.position, event.stream, event.event_type);
/// }
///
/// for event in store.read_all(Position::END).backward().limit(10) {
///     println!("{:?}", event?.data());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    frames: Frames,
    cursor: Cursor,
    direction: Direction,
    left: u64,
    skip_damaged: bool,
    /// What went wrong before the reader was made; told first.
    failed: Option<ReadError>,
    /// The segment whose committed bytes owned events share, and those bytes.
    pinned: Option<(usize, Bytes)>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reader { frames, cursor, direction, left, .. } = self;
        let mut out = out.debug_struct("Reader");
        out.field("head", &frames.head).field("cursor", cursor).field("direction", direction).field("left", left);
        out.finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum Cursor {
    All(AllCursor),
    Stream(StreamCursor),
    /// An error was met, and the reader was not asked to go on behind it.
    Stopped,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

impl Reader {
    pub(crate) fn all(view: Arc<View>, head: Position, after: Position) -> Reader {
        Reader::with(view, head, Cursor::All(AllCursor::new(after)))
    }

    pub(crate) fn stream(view: Arc<View>, head: Position, stream: StreamId, after: StreamVersion) -> Reader {
        Reader::with(view, head, Cursor::Stream(StreamCursor::new(stream, after)))
    }

    fn with(view: Arc<View>, head: Position, cursor: Cursor) -> Reader {
        let frames = Frames::new(view, head);
        Reader {
            frames,
            cursor,
            direction: Direction::Forward,
            left: u64::MAX,
            skip_damaged: false,
            failed: None,
            pinned: None,
        }
    }

    /// Tells this error before anything else.
    pub(crate) fn failing_first(mut self, error: Option<ReadError>) -> Reader {
        self.failed = error;
        self
    }

    /// Reads downwards: the events *before* the position or version that the reader was given.
    ///
    /// [`Position::END`] and [`StreamVersion::END`] start at the newest event.
    #[must_use]
    pub fn backward(mut self) -> Reader {
        self.direction = Direction::Backward;
        self
    }

    /// Reads at most `events` events.
    #[must_use]
    pub fn limit(mut self, events: u64) -> Reader {
        self.left = events;
        self
    }

    /// Goes on behind what cannot be read: each damaged region, and each event that the
    /// operating system refuses to read, is still reported, by one error, and then left out.
    ///
    /// Without this the reader ends with the first error.
    #[must_use]
    pub fn skip_damaged(mut self) -> Reader {
        self.skip_damaged = true;
        self
    }

    /// The last position that this reader can reach: the head of the log when it was made.
    pub fn head(&self) -> Position {
        self.frames.head
    }

    /// The next event, borrowed until the next call; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] for a damaged region, once; [`ReadError::Io`] when the
    /// operating system refuses. Never a short answer that looks like the end.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        match self.advance()? {
            Some(place) => self.frames.event(place).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn advance(&mut self) -> Result<Option<Place>, ReadError> {
        if self.left == 0 {
            return Ok(None);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let next = match &mut self.cursor {
            Cursor::All(cursor) => cursor.next(&mut self.frames, self.direction),
            Cursor::Stream(cursor) => cursor.next(&mut self.frames, self.direction),
            Cursor::Stopped => Ok(None),
        };
        match &next {
            Ok(Some(_)) => self.left -= 1,
            Ok(None) => self.left = 0,
            Err(_) if self.skip_damaged => {}
            Err(_) => self.cursor = Cursor::Stopped,
        }
        next
    }

    fn next_owned(&mut self) -> Result<Option<RecordedEvent>, ReadError> {
        let Some(place) = self.advance()? else { return Ok(None) };
        // An owned event is decoded again whenever it is asked, so it must decode.
        self.frames.event(place)?;
        let frame = if self.frames.segment(place.segment).is_mapped() {
            let (start, end) = (place.offset as usize, place.offset as usize + place.len);
            let pinned = match self.pinned.take() {
                Some((segment, bytes)) if segment == place.segment && bytes.len() >= end => bytes,
                _ => self.frames.pin(place),
            };
            let frame = pinned.slice(start..end);
            self.pinned = Some((place.segment, pinned));
            frame
        } else {
            Bytes::copy_from_slice(self.frames.read_frame())
        };
        Ok(Some(RecordedEvent::new(frame)))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordedEvent, ReadError>;

    fn next(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        self.next_owned().transpose()
    }
}
