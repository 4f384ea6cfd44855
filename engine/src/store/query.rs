//! Finding events by what they are, and positions by time.

use annals_codec::Position;

use super::EventStore;
use crate::error::{QueryError, ReadError};
use crate::query::Query;
use crate::read::Reader;

impl EventStore {
    /// Reads the events that a query describes after a position, in the order of the log.
    ///
    /// The reader sees the log as it is now. [`Reader::backward`], [`Reader::until`],
    /// [`Reader::recorded_between`] and [`Reader::limit`] say which part of it; a limit counts
    /// the events that match.
    ///
    /// # Cost
    ///
    /// Where every item of the query names streams, and they are few (about a thousand, those that
    /// a prefix stands for included), only events of these streams are read. Finding the streams of
    /// a prefix looks at every name that the index of each segment holds.
    ///
    /// Any other query reads every event of the range asked for and leaves out those that do not
    /// match: types and tags have no index yet. Bounds make that cheap, a limit only when matches
    /// come early. A damaged event that is read in this way is reported, because it might match.
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
        Ok(Reader::query(view, head, query, after).failing_first(followed.err()))
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
