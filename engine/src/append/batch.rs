//! What a caller wants to append, checked for all that needs no state.
//!
//! The checks of arguments and limits happen here, in the caller's own thread,
//! before anything is queued: a bad request costs nobody else anything.

use annals_codec::{Commit, Epoch, IntoName, NameError, Position, SourceName, StreamId, Tracking};
use smallvec::SmallVec;

use super::queue::Ticket;
use super::{Appended, ExpectedVersion};
use crate::error::AppendError;
use crate::event::NewEvent;
use crate::options::{Durability, Options};
use crate::store::EventStore;

/// A batch that is complete and within the limits.
#[derive(Debug)]
pub(crate) struct Request {
    /// The streams it names, each once, and what is expected of them.
    pub(crate) streams: SmallVec<[(StreamId, ExpectedVersion); 1]>,
    /// Each event, with the index of its stream.
    pub(crate) events: SmallVec<[(u32, NewEvent); 1]>,
    pub(crate) tracking: Option<(SourceName, u64)>,
    pub(crate) durability: Durability,
    /// What it takes in the log, marker included, in bytes.
    pub(crate) bytes: u64,
}

impl Request {
    /// One stream, one event: the commonest request, without a detour.
    pub(crate) fn single(
        stream: StreamId,
        expected: ExpectedVersion,
        event: NewEvent,
        options: &Options,
    ) -> Result<Request, AppendError> {
        Request {
            streams: SmallVec::from_buf([(stream, expected)]),
            events: SmallVec::from_buf([(0, event)]),
            tracking: None,
            durability: options.durability,
            bytes: 0,
        }
        .checked(options)
    }

    pub(crate) fn checked(mut self, options: &Options) -> Result<Request, AppendError> {
        if self.events.is_empty() && self.tracking.is_none() {
            return Err(AppendError::EmptyBatch);
        }
        let mut bytes = 0;
        for (stream, event) in &self.events {
            if let Some(invalid) = &event.invalid {
                return Err(invalid.clone().into());
            }
            let part = [event.data.len(), event.metadata.as_ref().map_or(0, bytes::Bytes::len)];
            let unencoded: u64 = part.iter().map(|&len| len as u64).sum();
            let stream = &self.streams[*stream as usize].0;
            let len = if unencoded > options.max_event_bytes { unencoded } else { event.in_stream(stream).frame_len() };
            if len > options.max_event_bytes {
                return Err(AppendError::EventTooLarge { bytes: len, limit: options.max_event_bytes });
            }
            bytes += len;
        }
        bytes += self.marker(Position::new(self.events.len() as u64)).frame_len();
        if bytes > options.max_batch_bytes {
            return Err(AppendError::BatchTooLarge { bytes, limit: options.max_batch_bytes });
        }
        self.bytes = bytes;
        Ok(self)
    }

    /// Its commit marker, but for what only the log can tell.
    pub(crate) fn marker(&self, last: Position) -> Commit<'_> {
        let mut marker = Commit::new(Epoch::default(), last, self.events.len() as u32);
        marker.tracking = self.tracking.as_ref().map(|(source, upstream)| Tracking { source, upstream: *upstream });
        marker
    }
}

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
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed or submitted"]
pub struct BatchBuilder<'a> {
    store: &'a EventStore,
    request: Request,
    /// The first thing that was wrong: reported by `commit` and `submit`.
    invalid: Option<NameError>,
}

impl<'a> BatchBuilder<'a> {
    pub(crate) fn new(store: &'a EventStore, durability: Durability) -> BatchBuilder<'a> {
        let request =
            Request { streams: SmallVec::new(), events: SmallVec::new(), tracking: None, durability, bytes: 0 };
        BatchBuilder { store, request, invalid: None }
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
        // The last one first: events of a stream usually come together.
        let index = streams.iter().rposition(|(known, _)| *known == stream).unwrap_or_else(|| {
            streams.push((stream, ExpectedVersion::Any));
            streams.len() - 1
        });
        Some(index as u32)
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
    /// `upstream_position` is greater than the one recorded before. A batch may
    /// consist of nothing but this.
    pub fn tracking(mut self, source: impl IntoName<SourceName>, upstream_position: u64) -> BatchBuilder<'a> {
        match source.into_name() {
            Ok(source) => self.request.tracking = Some((source, upstream_position)),
            Err(error) => {
                self.invalid.get_or_insert(error);
            }
        }
        self
    }

    /// When this batch is acknowledged. Default: as [`Options::durability`] says.
    pub fn durability(mut self, durability: Durability) -> BatchBuilder<'a> {
        self.request.durability = durability;
        self
    }

    fn request(self) -> Result<Request, AppendError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        self.request.checked(self.store.options())
    }

    /// Appends the batch and waits until it is as durable as asked for.
    ///
    /// # Errors
    ///
    /// As [`EventStore::append`], and [`AppendError::TrackingConflict`].
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
    /// What can be told at once: bad names, limits, an empty batch, a read-only store.
    pub fn submit(self) -> Result<Ticket, AppendError> {
        let store = self.store;
        store.submit(self.request()?)
    }
}
