//! Finding what callers have named: events by their ids, and batches by their keys.

use annals_codec::{EventId, IdempotencyKey, IntoName};

use super::EventStore;
use crate::append::{Appended, past};
use crate::error::ReadError;
use crate::event::RecordedEvent;
use crate::index::find;
use crate::read::point::event_at;

impl EventStore {
    /// The event with this id, whether the store has made the id or its author has given it; `None`
    /// when there is none.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`](crate::Reader::next_event); also when it may be among events that cannot be read.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventId, EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let id: EventId = "01234567-89ab-cdef-0011-223344556677".parse()?;
    /// assert_eq!(store.get_event(id)?, None);
    /// let done = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}").id(id))?;
    /// assert_eq!(store.get_event(id)?.map(|event| event.position()), Some(done.last));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_event(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        self.measure_get(|| {
            self.follow()?;
            let (head, view) = self.inner.published.pin();
            let Some((_, position)) = find::find_id(&view, head, id)? else { return Ok(None) };
            event_at(&view, head, position)
        })
    }

    /// What was answered to the request with this [idempotency key](crate::BatchBuilder::idempotency_key);
    /// `None` when there was none, or nothing of it was appended.
    ///
    /// It is the first answer, whose outcome is [`Outcome::Appended`](crate::Outcome::Appended). Whoever has lost an
    /// answer, and does not have the request any more either, learns here what became of it.
    ///
    /// # Errors
    ///
    /// [`ReadError::InvalidName`] when it cannot be a key; otherwise as [`get_event`](EventStore::get_event).
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// assert_eq!(store.find_append("req-1")?, None);
    /// let done = store.batch().event("order-7", NewEvent::new("Paid", "100")).idempotency_key("req-1").commit()?;
    /// assert_eq!(store.find_append("req-1")?, Some(done));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_append(&self, key: impl IntoName<IdempotencyKey>) -> Result<Option<Appended>, ReadError> {
        let key = key.into_name()?;
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        past::find_append(&view, head, &key)
    }
}
