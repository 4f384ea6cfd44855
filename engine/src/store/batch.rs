//! Building a batch over several streams, call by call.
//!
//! It stands beside the store, because it ends in one: `append` knows requests,
//! and nothing of who makes them.

use annals_codec::{IdempotencyKey, IntoName, NameError, SourceName, StreamId};
use hashbrown::HashMap;

use super::EventStore;
use crate::append::condition::AppendCondition;
use crate::append::queue::Ticket;
use crate::append::request::Request;
use crate::append::{Appended, ExpectedVersion};
use crate::error::AppendError;
use crate::event::NewEvent;
use crate::options::Durability;

/// So many streams are compared one by one; with more, a map is quicker.
const FEW: usize = 32;

/// Builds one atomic batch, over any number of streams.
///
/// All of it is written or nothing; readers see all of it or nothing; a crash
/// leaves all of it or nothing. The events get their positions in the order in
/// which they were added.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store
///     .batch()
///     .expect("account-1", ExpectedVersion::NoStream)
///     .event("account-1", NewEvent::new("Withdrawn", "100"))
///     .event("account-2", NewEvent::new("Deposited", "100"))
///     .commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Retries
///
/// An answer can be lost, and then nobody knows whether the batch was appended. With an
/// [idempotency key](BatchBuilder::idempotency_key), or with [ids](NewEvent::id) that the caller gives to the
/// events, it can be appended again without fear: if it is in the log already, nothing is written, and the answer is
/// [`Outcome::Duplicate`](crate::Outcome::Duplicate) with the positions it has had from the beginning. This holds over
/// restarts and crashes, and is looked at before anything else is expected of the log, because a retry expects what
/// was true before the batch.
///
/// - A key stands for a whole batch: as many events that say the same in the same order, and the same
///   tracking record. For anything else it is an error ([`AppendError::IdempotencyKeyReused`]).
/// - Ids stand for single events. All that have one must be found side by side in one batch, and those without one
///   between them must say the same. Events that are only partly there are an error
///   ([`AppendError::PartialDuplicate`]), and so is an event that says something else under an old
///   id ([`AppendError::EventIdConflict`]). A tracking record is not looked at, and not recorded when the
///   events are there already.
/// - Events say the same when stream, type, tags, payload, metadata, schema version and `occurred_at` are the
///   same. Content type, correlation and causation are not compared.
/// - A retry that asks for [`Durability::Sync`] is answered when the batch is durable, even if it was
///   appended with less.
/// - Ids and keys are looked up; a batch without any pays nothing for it. Ids that the store makes are never looked
///   up, and can be looked for like others.
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed or submitted"]
pub struct BatchBuilder<'a> {
    store: &'a EventStore,
    request: Request,
    /// The number of each stream in the request, once there are more than a few.
    numbers: HashMap<StreamId, u32>,
    /// The first thing that was wrong: reported by `commit` and `submit`.
    invalid: Option<NameError>,
}

impl<'a> BatchBuilder<'a> {
    pub(crate) fn new(store: &'a EventStore, durability: Durability) -> BatchBuilder<'a> {
        BatchBuilder { store, request: Request::empty(durability), numbers: HashMap::new(), invalid: None }
    }

    /// The index of a stream in the request, added if need be.
    fn stream(&mut self, stream: impl IntoName<StreamId>) -> Option<u32> {
        let stream = match stream.into_name() {
            Ok(stream) => stream,
            Err(error) => {
                self.invalid.get_or_insert(error);
                return None;
            }
        };
        let streams = &mut self.request.streams;
        let found = if self.numbers.is_empty() {
            // The last one first: events of a stream usually come together.
            streams.iter().rposition(|(known, _)| *known == stream).map(|number| number as u32)
        } else {
            self.numbers.get(&stream).copied()
        };
        Some(found.unwrap_or_else(|| {
            let number = streams.len() as u32;
            streams.push((stream.clone(), ExpectedVersion::Any));
            if !self.numbers.is_empty() {
                self.numbers.insert(stream, number);
            } else if streams.len() > FEW {
                self.numbers = streams.iter().map(|(stream, _)| stream.clone()).zip(0..).collect();
            }
            number
        }))
    }

    /// Expects a stream to be at a version; it may be one that the batch does not write.
    /// Of several expectations of a stream the last one counts.
    pub fn expect(mut self, stream: impl IntoName<StreamId>, expected: ExpectedVersion) -> BatchBuilder<'a> {
        if let Some(index) = self.stream(stream) {
            self.request.streams[index as usize].1 = expected;
        }
        self
    }

    /// Adds an event to a stream.
    pub fn event(mut self, stream: impl IntoName<StreamId>, event: NewEvent) -> BatchBuilder<'a> {
        if let Some(index) = self.stream(stream) {
            self.request.events.push((index, event));
        }
        self
    }

    /// Adds events to a stream.
    pub fn events(
        mut self,
        stream: impl IntoName<StreamId>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> BatchBuilder<'a> {
        if let Some(index) = self.stream(stream) {
            self.request.events.extend(events.into_iter().map(|event| (index, event)));
        }
        self
    }

    /// Records in the same commit how far a foreign source was processed, so that
    /// each of its items is taken in exactly once.
    ///
    /// The commit fails with [`AppendError::TrackingConflict`] unless
    /// `upstream_position` is greater than the one recorded before; the first one may be any. A
    /// batch may consist of nothing but this. What the numbers count is the source's affair.
    ///
    /// ```
    /// use annals::{AppendError, EventStore, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let take_in = |line, data| store.batch().event("intake", NewEvent::new("Line", data)).tracking("a.csv", line).commit();
    /// take_in(1, "first")?;
    /// // Again, after a crash before the answer arrived:
    /// assert!(matches!(take_in(1, "first"), Err(AppendError::TrackingConflict { recorded: 1, .. })));
    /// assert_eq!(store.tracking("a.csv")?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tracking(mut self, source: impl IntoName<SourceName>, upstream_position: u64) -> BatchBuilder<'a> {
        match source.into_name() {
            Ok(source) => self.request.tracking = Some((source, upstream_position)),
            Err(error) => {
                self.invalid.get_or_insert(error);
            }
        }
        self
    }

    /// Names the request, so that its retry is recognised: 1 to 128 bytes, of which no two requests
    /// may have the same. See [retries](BatchBuilder#retries).
    ///
    /// ```
    /// use annals::{AppendError, EventStore, NewEvent, Options, Outcome};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let pay = |amount| store.batch().event("order-7", NewEvent::new("Paid", amount)).idempotency_key("req-1").commit();
    /// let done = pay("100")?;
    /// // Again, because the answer did not arrive:
    /// let again = pay("100")?;
    /// assert_eq!((again.outcome, again.last), (Outcome::Duplicate, done.last));
    /// // A key is not used for anything else.
    /// assert!(matches!(pay("200"), Err(AppendError::IdempotencyKeyReused { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn idempotency_key(mut self, key: impl IntoName<IdempotencyKey>) -> BatchBuilder<'a> {
        match key.into_name() {
            Ok(key) => self.request.key = Some(key),
            Err(error) => {
                self.invalid.get_or_insert(error);
            }
        }
        self
    }

    /// Says what must not have happened. Called again: each of the conditions must hold.
    ///
    /// See [`AppendCondition`] for an example.
    pub fn condition(mut self, condition: AppendCondition) -> BatchBuilder<'a> {
        self.request.conditions.push(condition);
        self
    }

    /// When this batch is acknowledged. Default: as [`Options::durability`](crate::Options::durability) says.
    pub fn durability(mut self, durability: Durability) -> BatchBuilder<'a> {
        self.request.durability = durability;
        self
    }

    pub(super) fn request(mut self) -> Result<Request, AppendError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        self.request.check(self.store.options())?;
        self.store.ask(&mut self.request);
        Ok(self.request)
    }

    /// Appends the batch and waits until it is as durable as asked for.
    ///
    /// # Errors
    ///
    /// As [`EventStore::append`], and what the parts of a batch bring with them:
    /// [`AppendError::TrackingConflict`], [`AppendError::IdempotencyKeyReused`],
    /// [`AppendError::ConditionFailed`], [`AppendError::AfterBeyondHead`].
    pub fn commit(self) -> Result<Appended, AppendError> {
        let store = self.store;
        store.commit(self.request()?)
    }

    /// Queues the batch without waiting; the [`Ticket`] can be waited for.
    ///
    /// Tickets that are queued together share one write and one sync. Dropping
    /// the ticket does not cancel the batch.
    ///
    /// # Errors
    ///
    /// What can be told at once: bad names and queries, limits, an id that is given twice, an empty batch, a
    /// read-only store.
    pub fn submit(self) -> Result<Ticket, AppendError> {
        let store = self.store;
        store.submit(self.request()?)
    }
}
