//! Finding events by what they are, and positions by time.

use std::sync::Arc;

use annals_codec::{Position, StreamId, StreamVersion};

use super::EventStore;
use crate::error::{QueryError, ReadError};
use crate::index::Span;
use crate::index::floor::Removed;
use crate::query::Query;
use crate::read::Reader;
use crate::stats::StreamInfo;
use crate::view::View;

impl EventStore {
    /// Reads the events that a query describes after a position, in the order of the log.
    ///
    /// The reader sees the log as it is now. [`Reader::backward`], [`Reader::until`],
    /// [`Reader::recorded_between`] and [`Reader::limit`] say which part of it; a limit counts
    /// the events that match.
    ///
    /// # Cost
    ///
    /// What a query describes is looked up, segment by segment when the reader gets there, and only the events that
    /// may match are read, in either direction. So a query that matches little reads little, however long the
    /// log is, and with a [`limit`](Reader::limit) no more than it takes.
    ///
    /// - Types, tags and streams narrow each other before anything is read. Where that costs more than it
    ///   spares, some events are read that do not match: of a short range, of streams that hold a large part of a segment.
    /// - Prefixes cost a look at every name in a segment that begins so, and more than that in the newest one.
    /// - The first query by type or tag takes in the events of the newest segment, each once; later ones those
    ///   that were appended since. Appends do nothing for it.
    /// - An item about which nothing is said makes the query one for everything.
    ///
    /// A damaged event that might match is reported. One of which an index knows that it does not match need not be.
    ///
    /// # Errors
    ///
    /// [`QueryError`] for a query without items, or with a name or prefix that cannot be one.
    /// What goes wrong with reading is told by the reader, event by event.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position, Query, QueryItem};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// for order in ["order-7", "order-8", "order-9"] {
    ///     store.append(order, ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    ///     store.append(order, ExpectedVersion::Any, NewEvent::new("Paid", "{}"))?;
    /// }
    /// let paid = QueryItem::new().event_type("Paid");
    /// assert_eq!(store.read(paid.clone(), Position::START)?.count(), 3);
    ///
    /// // The newest that matches.
    /// let mut newest = store.read(paid, Position::END)?.backward().limit(1);
    /// assert_eq!(newest.next_event()?.map(|event| event.position), Some(Position::new(6)));
    ///
    /// // A list of items that came out empty is not taken for "everything".
    /// assert!(store.read(Query::Items(Vec::new()), Position::START).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&self, query: impl Into<Query>, after: Position) -> Result<Reader, QueryError> {
        let query = query.into();
        query.check()?;
        let followed = self.follow();
        let (head, view) = self.inner.published.pin();
        let reader = Reader::query(view, head, query, after).measured_by(&self.inner.meter);
        Ok(reader.failing_first(followed.err()))
    }

    /// The position of the last event recorded at or before a time, in nanoseconds since 1970 UTC;
    /// the position before the oldest event when there is none.
    ///
    /// So reading after it gives what was recorded later. It looks at a number of events that
    /// grows with the logarithm of the log's length.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`], when events that cannot be read stand where the answer lies.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let done = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// assert_eq!(store.position_at(done.recorded_at)?, Position::new(1));
    /// assert_eq!(store.position_at(done.recorded_at - 1)?, Position::START);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn position_at(&self, time: i64) -> Result<Position, ReadError> {
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        Reader::all(view, head, Position::START).position_at(time)
    }
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamEnd {
    /// In this segment, which holds so much of it.
    Here(usize, Span),
    /// Among events that were removed.
    Removed(Removed),
}

/// What is known of a stream as of `head`.
pub(super) fn stream_info(
    view: &Arc<View>,
    head: Position,
    stream: StreamId,
    end: Option<StreamEnd>,
) -> Result<Option<StreamInfo>, ReadError> {
    let removed = match end {
        Some(StreamEnd::Removed(Removed { version, last })) => {
            Some(StreamInfo { stream: stream.clone(), version, last_position: last })
        }
        _ => None,
    };
    if view.gaps.is_empty() {
        let Some(StreamEnd::Here(segment, span)) = end else { return Ok(removed) };
        let last = view.last_in(segment, &span)?;
        if let Some(last_position) = last.filter(|last| *last <= head) {
            return Ok(Some(StreamInfo { version: span.last, last_position, stream }));
        }
    }
    // What is left out may be of this stream, and its newest event may not be published yet.
    let reader = Reader::stream(Arc::clone(view), head, stream.clone(), StreamVersion::END);
    let mut newest = reader.backward().allow_truncated().limit(1);
    let Some(event) = newest.next_event()? else { return Ok(removed) };
    Ok(Some(StreamInfo { version: event.version, last_position: event.position, stream }))
}
