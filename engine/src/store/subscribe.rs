//! Following the log, from the store's side; the loop is in `subscription`.

use annals_codec::{Event, Position};

use super::EventStore;
use crate::error::SubscribeError;
use crate::query::Query;
use crate::subscription::spawned::Spawned;
use crate::subscription::{Delivery, Subscription};

impl EventStore {
    /// Follows what a query describes, from behind a position on: history first, then each event as it is
    /// appended, in one loop without a gap or a duplicate.
    ///
    /// The subscription has a position of its own and waits in its own thread; appends do not wait for it,
    /// and it does not keep the store open. See [`Subscription`] for how it is asked and how it ends,
    /// [`Delivery`] for what it gives.
    ///
    /// Events are given once they can be read: with [`Durability::Buffered`](crate::Durability) before they are
    /// durable in the process of the writer, and never before in others.
    ///
    /// # Errors
    ///
    /// - [`SubscribeError::PositionBeyondHead`] when the log is shorter than that.
    /// - [`SubscribeError::Truncated`] when events behind the position were removed.
    /// - [`SubscribeError::InvalidQuery`]; [`SubscribeError::Read`], for a store opened read-only.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{Delivery, EventStore, ExpectedVersion, NewEvent, Options, Position, QueryItem};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// for name in ["Placed", "Paid", "Shipped"] {
    ///     store.append("order-7", ExpectedVersion::Any, NewEvent::new(name, "{}"))?;
    /// }
    /// let mut paid = store.subscribe(Position::START, QueryItem::new().event_type("Paid"))?;
    /// let Some(Delivery::Event(event)) = paid.next_item()? else { panic!("there is one") };
    /// assert_eq!(event.position, Position::new(2));
    /// // What the query hides is passed too: who resumes here reads none of it again.
    /// assert_eq!(paid.next_item()?, Some(Delivery::CaughtUp(Position::new(3))));
    ///
    /// store.append("order-8", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// assert_eq!(paid.next_item()?, Some(Delivery::Checkpoint(Position::new(4))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe(&self, after: Position, query: impl Into<Query>) -> Result<Subscription, SubscribeError> {
        Subscription::new(self.source(), after, query.into())
    }

    /// Follows the log as [`subscribe`](EventStore::subscribe) does, in a thread that calls `callback` with
    /// each item, until the handle is dropped or the store is closed.
    ///
    /// A callback that panics ends this subscription and nothing else: [`Spawned::status`] says so. It may
    /// append (through a handle of its own, which keeps the store open); what it appends comes in its turn.
    ///
    /// # Errors
    ///
    /// As [`subscribe`](EventStore::subscribe), and [`SubscribeError::NoThread`].
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use annals::{Delivery, EventStore, ExpectedVersion, NewEvent, Options, Position, Query};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let (seen, told) = mpsc::channel();
    /// let spawned = store.spawn_subscription(Position::START, Query::All, move |item| {
    ///     if let Delivery::Event(event) = item {
    ///         let _ = seen.send(event.event_type.to_owned());
    ///     }
    /// })?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// assert_eq!(told.recv()?, "Placed");
    /// drop(spawned);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn_subscription(
        &self,
        after: Position,
        query: impl Into<Query>,
        callback: impl FnMut(Delivery<Event<'_>>) + Send + 'static,
    ) -> Result<Spawned, SubscribeError> {
        Spawned::start(self.subscribe(after, query)?, callback)
    }
}
