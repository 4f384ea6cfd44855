//! The way out: events, borrowed from the mapping or owned, in order.
//!
//! A [`Reader`] is pinned to the log as of its creation and needs nothing of
//! the writer: no lock, and no reference count for each event. It finds its
//! next event through a cursor ([`all`] of them, those of one [`stream`], or what
//! [`matches`] a query) and looks at its frame through [`frames`],
//! which verifies each checksum once. Bounds of any kind, also in time ([`time`]),
//! become one [`window`] of positions before the first event is read. One event by its
//! position needs no reader: [`point`]. What was removed is told: [`removed`].

mod all;
pub(crate) mod frames;
mod matches;
pub(crate) mod point;
mod removed;
mod stream;
mod time;
mod window;

use std::fmt;
use std::sync::Arc;

use annals_codec::{Event, Position, StreamId, StreamVersion};
use bytes::Bytes;

use self::all::AllCursor;
use self::frames::{Frames, Place};
use self::matches::MatchesCursor;
use self::stream::StreamCursor;
use self::window::Window;
use crate::error::ReadError;
use crate::event::RecordedEvent;
use crate::metrics::measure::Measure;
use crate::metrics::meter::Meter;
use crate::query::Query;
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
    until: Option<Position>,
    recorded_between: Option<(i64, i64)>,
    /// Whether the bounds were made the window of the frames.
    is_bounded: bool,
    left: u64,
    skip_damaged: bool,
    allows_truncated: bool,
    /// Where a reader of positions was to begin.
    at: Position,
    /// What went wrong before the reader was made; told first.
    failed: Option<ReadError>,
    /// The segment whose committed bytes owned events share, and those bytes.
    pinned: Option<(usize, Bytes)>,
    meter: Meter,
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
    Stream(Box<StreamCursor>),
    Matches(Box<MatchesCursor>),
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
        Reader::with(view, head, Cursor::All(AllCursor::new(after)), after)
    }

    pub(crate) fn stream(view: Arc<View>, head: Position, stream: StreamId, after: StreamVersion) -> Reader {
        Reader::with(view, head, Cursor::Stream(Box::new(StreamCursor::new(stream, after))), Position::START)
    }

    /// The query must be valid.
    pub(crate) fn query(view: Arc<View>, head: Position, query: Query, after: Position) -> Reader {
        if query.is_everything() {
            return Reader::all(view, head, after);
        }
        Reader::with(view, head, Cursor::Matches(Box::new(MatchesCursor::new(query, after))), after)
    }

    fn with(view: Arc<View>, head: Position, cursor: Cursor, at: Position) -> Reader {
        let frames = Frames::new(view, head);
        Reader {
            frames,
            cursor,
            direction: Direction::Forward,
            until: None,
            recorded_between: None,
            is_bounded: false,
            left: u64::MAX,
            skip_damaged: false,
            allows_truncated: false,
            at,
            failed: None,
            pinned: None,
            meter: Meter::default(),
        }
    }

    /// Has what this reader takes measured.
    pub(crate) fn measured_by(mut self, meter: &Meter) -> Reader {
        self.meter = meter.clone();
        self
    }

    /// Tells this error before anything else.
    pub(crate) fn failing_first(mut self, error: Option<ReadError>) -> Reader {
        self.failed = self.failed.or(error);
        self
    }

    /// Reads downwards: the events *before* the position or version that the reader was given.
    ///
    /// [`Position::END`] and [`StreamVersion::END`] start at the newest event.
    #[must_use]
    pub fn backward(mut self) -> Reader {
        self.direction = Direction::Backward;
        self.is_bounded = false;
        self
    }

    /// Ends with this position of the log: with the event there, if it is wanted, as the last.
    ///
    /// It is the far end in the order of reading, so reading
    /// [`backward`](Reader::backward) it is the lowest position that is read.
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// for _ in 0..9 {
    ///     store.append("clock", ExpectedVersion::Any, NewEvent::new("Ticked", ""))?;
    /// }
    /// // After 3 up to 5: two events. Before 9 down to 5: four.
    /// assert_eq!(store.read_all(Position::new(3)).until(Position::new(5)).count(), 2);
    /// assert_eq!(store.read_all(Position::new(9)).backward().until(Position::new(5)).count(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn until(mut self, position: Position) -> Reader {
        self.until = Some(position);
        self.is_bounded = false;
        self
    }

    /// Reads only events recorded at or after `from` and before `to`: nanoseconds since 1970 UTC,
    /// in either direction of reading. Nothing, when `to` is not after `from`.
    ///
    /// `recorded_at` never decreases with the position, so both ends are found by a
    /// search, and nothing outside is read. Damaged events at the ends of which nobody can say
    /// when they were recorded are within.
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let done = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let at = done.recorded_at;
    /// assert_eq!(store.read_all(Position::START).recorded_between(at, at + 1).count(), 1);
    /// assert_eq!(store.read_all(Position::START).recorded_between(at - 1, at).count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recorded_between(mut self, from: i64, to: i64) -> Reader {
        self.recorded_between = Some((from, to));
        self.is_bounded = false;
        self
    }

    /// Reads at most `events` events: of a query, those that match.
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
    /// [`ReadError::Truncated`] for what was removed, see [`allow_truncated`](Reader::allow_truncated);
    /// [`ReadError::Corrupt`] for a damaged region, once; [`ReadError::Io`] when the
    /// operating system refuses. Never a short answer that looks like the end.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        match self.advance()? {
            Some(place) => self.lend(place).map(Some),
            None => Ok(None),
        }
    }

    /// Finds the next event; [`lend`](Reader::lend) and [`own`](Reader::own) give it.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<Option<Place>, ReadError> {
        if self.left == 0 {
            return Ok(None);
        }
        if !self.is_bounded {
            return self.begin();
        }
        self.step()
    }

    /// Finds the first event, within bounds that are new.
    #[cold]
    fn begin(&mut self) -> Result<Option<Place>, ReadError> {
        let began = self.meter.now();
        self.bound();
        if let Some(error) = self.failed.take() {
            self.meter.met(&error);
            return Err(error);
        }
        if self.frames.view.floor.is_some() {
            self.removed_before()?;
        }
        let first = self.step();
        self.meter.since(Measure::Read, began);
        first
    }

    #[inline]
    fn step(&mut self) -> Result<Option<Place>, ReadError> {
        let next = match &mut self.cursor {
            Cursor::All(cursor) => cursor.next(&mut self.frames, self.direction),
            Cursor::Stream(cursor) => cursor.next(&mut self.frames, self.direction),
            Cursor::Matches(cursor) => cursor.next(&mut self.frames, self.direction),
            Cursor::Stopped => Ok(None),
        };
        match &next {
            Ok(Some(_)) => self.left -= 1,
            Ok(None) => {
                self.left = 0;
                if self.frames.view.floor.is_some() {
                    self.removed_behind()?;
                }
            }
            Err(error) => {
                self.meter.met(error);
                if !self.skip_damaged {
                    self.cursor = Cursor::Stopped;
                }
            }
        }
        next
    }

    /// Makes all bounds one window of positions.
    fn bound(&mut self) {
        let mut window = Window::up_to(self.frames.head);
        if let Some((from, to)) = self.recorded_between {
            window = self.frames.recorded_between(from, to);
        }
        if let Some(until) = self.until {
            match self.direction {
                Direction::Forward => window.until = window.until.min(until),
                Direction::Backward => window.after = window.after.max(until.before()),
            }
        }
        if self.frames.view.floor.is_some() {
            window.after = window.after.max(self.frames.view.oldest().before());
        }
        self.frames.window = window;
        match &mut self.cursor {
            Cursor::All(cursor) => cursor.restart(),
            Cursor::Matches(cursor) => cursor.restart(),
            Cursor::Stream(cursor) => cursor.restart(&self.frames),
            Cursor::Stopped => {}
        }
        self.is_bounded = true;
    }

    /// The position of the last event recorded at or before a time, in a reader of the whole log.
    pub(crate) fn position_at(mut self, time: i64) -> Result<Position, ReadError> {
        // Before all that was recorded is before the oldest event.
        self.allows_truncated = true;
        loop {
            let moment = self.frames.moment(|recorded_at| recorded_at <= time);
            if moment.before.plus(1) == moment.behind {
                return Ok(moment.before);
            }
            // What stands between cannot be read, and reading it says why.
            self.cursor = Cursor::All(AllCursor::new(moment.before));
            self.advance()?;
        }
    }

    /// The event that was found just now, borrowed.
    #[inline]
    pub(crate) fn lend(&self, place: Place) -> Result<Event<'_>, ReadError> {
        self.frames.event(place)
    }

    /// The event that was found just now, owned.
    pub(crate) fn own(&mut self, place: Place) -> Result<RecordedEvent, ReadError> {
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
        Ok(RecordedEvent::new(frame))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordedEvent, ReadError>;

    fn next(&mut self) -> Option<Result<RecordedEvent, ReadError>> {
        match self.advance() {
            Ok(Some(place)) => Some(self.own(place)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
