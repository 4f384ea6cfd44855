//! Events that were asked for and were removed: told, and not passed over.
//!
//! Going forward they come first, so that is told first. Going backward they come last: who wants the newest few never
//! hears of it, and who goes to the end does not take that for the beginning of the log.

use annals_codec::{Position, StreamVersion};

use super::{Cursor, Direction, Reader};
use crate::error::ReadError;
use crate::view::View;

impl Reader {
    /// Goes on without what was removed from the log, and says nothing about it.
    ///
    /// Otherwise a reader that is asked for events before the [oldest](crate::EventStore::oldest) gives
    /// [`ReadError::Truncated`]: as the first thing going forward, and where they would come going backward.
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, Guard, NewEvent, Options, Position, ReadError};
    ///
    /// let store = EventStore::in_memory(&Options::new().segment_bytes(64 << 10))?;
    /// for _ in 0..100 {
    ///     store.append("clock", ExpectedVersion::Any, NewEvent::new("Ticked", vec![0; 4096]))?;
    /// }
    /// store.truncate_before(Position::new(50), Guard::Consumers)?;
    /// let first = store.read_all(Position::START).next();
    /// assert!(matches!(first, Some(Err(ReadError::Truncated { oldest })) if oldest == store.oldest()));
    ///
    /// let left = store.read_all(Position::START).allow_truncated();
    /// assert_eq!(left.count() as u64, store.stats().retained_events);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn allow_truncated(mut self) -> Reader {
        self.allows_truncated = true;
        self
    }

    /// The error for events before the first one, if some were removed that were asked for.
    pub(super) fn removed_before(&mut self) -> Result<(), ReadError> {
        if self.direction == Direction::Forward { self.told_of_removed() } else { Ok(()) }
    }

    /// The same for events behind the last one.
    pub(super) fn removed_behind(&mut self) -> Result<(), ReadError> {
        if self.direction == Direction::Backward { self.told_of_removed() } else { Ok(()) }
    }

    #[cold]
    fn told_of_removed(&mut self) -> Result<(), ReadError> {
        if self.allows_truncated {
            return Ok(());
        }
        let error = match self.wants_removed() {
            Ok(false) => return Ok(()),
            Ok(true) => ReadError::Truncated { oldest: self.frames.view.oldest() },
            Err(error) if self.skip_damaged => return Err(error),
            Err(error) => error,
        };
        self.cursor = Cursor::Stopped;
        Err(error)
    }

    /// Whether events were removed that may be among those that were asked for.
    fn wants_removed(&self) -> Result<bool, ReadError> {
        let view = &*self.frames.view;
        let Some(floor) = &view.floor else { return Ok(false) };
        if self.recorded_between.is_some_and(|(from, to)| from >= to || floor.is_before(from)) {
            return Ok(false);
        }
        let until = self.until;
        let [low, high] = match self.direction {
            Direction::Forward => [Position::START, until.unwrap_or(Position::END)],
            Direction::Backward => [until.map_or(Position::START, Position::before), Position::END],
        };
        // What is wanted lies behind the one and up to the other.
        let is_in = |low: Position, high: Position| low < high.min(view.oldest().before());
        Ok(match (&self.cursor, self.direction) {
            (Cursor::Stopped, _) => false,
            (Cursor::Stream(cursor), direction) => {
                is_in(low, high) && has_lost(view, cursor.stream(), cursor.bound(), direction)?
            }
            (_, Direction::Forward) => is_in(low.max(self.at), high),
            (_, Direction::Backward) => is_in(low, high.min(self.at.before())),
        })
    }
}

/// Whether events of a stream after a version, or backward before it, were removed.
fn has_lost(view: &View, stream: &str, bound: StreamVersion, direction: Direction) -> Result<bool, ReadError> {
    let Some(removed) = view.removed(stream)? else { return Ok(false) };
    let mut last = removed.version;
    if removed.last >= view.oldest() {
        // The floor is ahead of the log, of a retention that did not come to its end: the segments know.
        for segment in &view.segments {
            if let Some(span) = segment.span(stream)? {
                last = span.first.before();
                break;
            }
        }
    }
    let first = StreamVersion::new(1);
    Ok(last >= first && if direction == Direction::Forward { bound < last } else { bound > first })
}
