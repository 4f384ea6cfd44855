//! Appending to the streams that speak of the log itself, and asking who admits events to all others.

use annals_codec::{StreamId, StreamVersion};

use super::{EventStore, Role};
use crate::admit::{Admission, Proposed};
use crate::append::request::Request;
use crate::append::{Appended, ExpectedVersion};
use crate::error::{AppendError, ReadError};
use crate::event::NewEvent;
use crate::options::Durability;
use crate::own::OwnStream;
use crate::read::Reader;
use crate::sync::atomic::Ordering;

impl EventStore {
    /// Appends one event to a stream of the store's own, durably.
    ///
    /// # Errors
    ///
    /// As [`append`](EventStore::append).
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, OwnStream, StreamVersion};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// store.append_own(OwnStream::Schemas, ExpectedVersion::NoStream, NewEvent::new("$schema", "{}"))?;
    /// assert_eq!(store.own_version(OwnStream::Schemas)?, StreamVersion::new(1));
    /// // Nobody else can.
    /// assert!(store.append("$schema", ExpectedVersion::Any, NewEvent::new("$schema", "{}")).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_own(
        &self,
        stream: OwnStream,
        expected: ExpectedVersion,
        event: NewEvent,
    ) -> Result<Appended, AppendError> {
        let side = self.writer()?;
        let mut request = Request::single(StreamId::stored(stream.name()), expected, event, Durability::Sync);
        request.check_own(&self.inner.options)?;
        let done = side.queue.commit(request, &*side.commit);
        side.commit.note_own_append();
        done
    }

    /// Reads a stream of the store's own after a version, in order.
    pub fn read_own(&self, stream: OwnStream, after: StreamVersion) -> Reader {
        let followed = self.follow();
        let (head, view) = self.inner.published.pin();
        Reader::stream(view, head, StreamId::stored(stream.name()), after).failing_first(followed.err())
    }

    /// How many events a stream of the store's own holds.
    ///
    /// # Errors
    ///
    /// As [`stream_version`](EventStore::stream_version).
    pub fn own_version(&self, stream: OwnStream) -> Result<StreamVersion, ReadError> {
        self.stream_version(StreamId::stored(stream.name()))
    }

    /// How many times this store, by any of its handles, has appended to a stream of its own since it was opened. One
    /// atomic load: who has read such a stream and finds the number unchanged has read all of it, because nobody else
    /// writes while the store is open for writing. In a store that is open read-only it never changes, and says nothing.
    pub fn own_appends(&self) -> u64 {
        match &self.inner.role {
            Role::Writer(side) => side.commit.own_appends.load(Ordering::Acquire),
            Role::Follower(_) => 0,
        }
    }

    /// Whether another process may append to this store.
    pub fn is_read_only(&self) -> bool {
        matches!(self.inner.role, Role::Follower(_))
    }

    /// Asks whether the events of a request are admitted, if there is somebody to ask. What is refused goes its way all the
    /// same, and is answered in its turn: a retry is recognised first.
    #[inline]
    pub(super) fn ask(&self, request: &mut Request) {
        if let Some(admission) = &self.inner.options.admission {
            self.ask_of(&**admission, request);
        }
    }

    #[cold]
    fn ask_of(&self, admission: &dyn Admission, request: &mut Request) {
        let Request { streams, events, .. } = &*request;
        let mut proposed = events.iter().map(|(stream, event)| Proposed::new(&streams[*stream as usize].0, event));
        request.refused = admission.admit(self, &mut proposed).err();
    }
}
