//! Deciding on what was read, and appending if it still holds.

use annals_codec::Position;

use super::{BatchBuilder, EventStore};
use crate::append::Appended;
use crate::append::condition::AppendCondition;
use crate::error::AppendError;
use crate::query::Query;
use crate::read::Reader;

/// How many times a decision is made anew before somebody else is told that it cannot be made.
const MOST_TRIES: u32 = 100;

impl EventStore {
    /// Lets the caller decide on the events that a query describes, and appends what was decided
    /// under the condition that nothing new matches; otherwise has it decided again.
    ///
    /// `decide` gets a reader of all matching events, oldest first, and an empty batch. It returns the batch to
    /// append, or `None` when there is nothing to do; then this returns `None`, too. It is called again
    /// when an event has come in meanwhile that matches, at most 100 times in all, so it should do nothing
    /// but decide. Its own errors come through as they are.
    ///
    /// What the decision rests on must be in the query: nobody watches over anything else. The batch may carry
    /// expectations, an idempotency key, and conditions of its own, and when these fail, that is told at once.
    ///
    /// # Errors
    ///
    /// Those of `decide`; [`AppendError::InvalidQuery`]; [`AppendError::ConditionFailed`] when it was always
    /// somebody else who was quicker; otherwise as [`BatchBuilder::commit`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{AppendError, EventStore, NewEvent, Options, QueryItem, ReadError};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum Refused {
    ///     #[error("the name is taken")]
    ///     Taken,
    ///     #[error(transparent)]
    ///     Append(#[from] AppendError),
    ///     #[error(transparent)]
    ///     Read(#[from] ReadError),
    /// }
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// // However many try at the same time, one of them gets the name.
    /// let register = |user: &str, name: &str| {
    ///     let of_name = QueryItem::new().event_type("Registered").tag(format!("name:{name}"));
    ///     store.append_if(of_name, |mut found, batch| {
    ///         if found.next_event()?.is_some() {
    ///             return Err(Refused::Taken);
    ///         }
    ///         let registered = NewEvent::new("Registered", "{}").tag(format!("name:{name}"));
    ///         Ok(Some(batch.event(user, registered)))
    ///     })
    /// };
    /// assert!(register("user-1", "ada")?.is_some());
    /// assert!(matches!(register("user-2", "ada"), Err(Refused::Taken)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_if<'s, E: From<AppendError>>(
        &'s self,
        query: impl Into<Query>,
        mut decide: impl FnMut(Reader, BatchBuilder<'s>) -> Result<Option<BatchBuilder<'s>>, E>,
    ) -> Result<Option<Appended>, E> {
        let query = query.into();
        self.writer()?;
        let mut tries = 1;
        loop {
            let found = self.read(query.clone(), Position::START).map_err(AppendError::from)?;
            let head = found.head();
            let Some(batch) = decide(found, self.batch())? else { return Ok(None) };
            let nothing_new = AppendCondition::fail_if_match(query.clone()).after(head);
            match self.commit(batch.condition(nothing_new).request()?) {
                // Something that matches has come in. Of a condition of its own that has failed over
                // what `decide` could see, no other try makes anything else.
                Err(AppendError::ConditionFailed { at, .. }) if at > head && tries < MOST_TRIES => tries += 1,
                done => return Ok(Some(done?)),
            }
        }
    }
}
