//! Taking the payload out of chosen events, from the store's side; what is done is in `redact`.

use annals_codec::Position;

use super::{EventStore, Role};
use crate::error::ReadError;
use crate::redact::announced::announced_at;
use crate::redact::{RedactError, RedactedEvent, RedactionReport, Redactions, plan};

impl EventStore {
    /// Takes data and metadata out of the events at these positions: out of the files, not only out of sight.
    ///
    /// The events stay, with everything else that they say, and say that they are redacted ([`Event::redacted`]); their data is
    /// empty, and they have no metadata. What is gone is replaced by its digest, which is kept in an event of
    /// the stream `$redactions`, with the reason ([`redaction`](EventStore::redaction)). Positions, versions, ids, both chains
    /// and every witness of them stay what they were. One that is redacted already is passed over.
    ///
    /// Each segment that holds one of the events is written anew, and takes the place of the old one. If one is in the newest
    /// segment, that is sealed first. After a crash in the middle, opening the store finishes what was recorded.
    ///
    /// # What this reaches, and what it does not
    ///
    /// When it returns, no file of the store's directory has the payload any more, and no reader that is made later in this process
    /// sees it. It is still
    ///
    /// - with **readers and events that were there before**, in this process or another, until they are dropped; a store
    ///   that is open read-only in another process reads the old file until it is opened anew;
    /// - in **backups** that were taken before, also in those that share files with the store: the next backup into the same directory
    ///   replaces them there; **archives** and **exports** likewise are the caller's to look after;
    /// - in **`quarantine/`**, if the event was part of what a recovery cut off; those files are nobody's and can be deleted;
    /// - in **states that were folded from it**: snapshots and projections keep what they made of it until they are
    ///   rebuilt;
    /// - in **snapshots of the file system** and in blocks of the disk that were freed and not overwritten yet.
    ///
    /// And its **digest** stays, and its length: whoever can guess the payload can see that he was right. What is little
    /// and guessable, or must be gone from every copy at once, is better encrypted with a key that can be destroyed
    /// (feature `shred`) before it is written. Redaction is for what was written in the clear and should not have been.
    ///
    /// # Cost
    ///
    /// For each segment: reading and writing all of it, twice its space meanwhile, two syncs of a directory, and one
    /// durable append. Appends go on.
    ///
    /// # Errors
    ///
    /// - [`RedactError::Reason`], [`RedactError::NoEvent`], [`RedactError::OfTheStore`], and [`RedactError::Read`] of an event
    ///   that was removed: nothing was redacted.
    /// - [`RedactError::Damaged`], [`RedactError::StorageFull`], [`RedactError::Append`], [`RedactError::Io`],
    ///   [`RedactError::Poisoned`]: some may be, each of them wholly.
    /// - [`RedactError::ReadOnly`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let done = store.append("customer-7", ExpectedVersion::Any, NewEvent::new("Moved", "to 5 Elm Street"))?;
    /// store.redact([done.last], "erasure request 4711")?;
    ///
    /// let event = store.get(done.last)?.expect("the event stays");
    /// assert!(event.is_redacted() && event.data().is_empty());
    /// let known = store.redaction(done.last)?.expect("the log says so");
    /// assert_eq!(&*known.reason, "erasure request 4711");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Event::redacted`]: crate::Event::redacted
    pub fn redact(
        &self,
        positions: impl IntoIterator<Item = Position>,
        reason: &str,
    ) -> Result<RedactionReport, RedactError> {
        let positions: Vec<Position> = positions.into_iter().collect();
        match &self.inner.role {
            Role::Writer(side) => side.beside.redact(&positions, reason, &self.inner.options),
            Role::Follower(_) => Err(RedactError::ReadOnly),
        }
    }

    /// What [`redact`](EventStore::redact) would do. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`RedactError::NoEvent`], [`RedactError::OfTheStore`], [`RedactError::Read`].
    pub fn plan_redaction(
        &self,
        positions: impl IntoIterator<Item = Position>,
    ) -> Result<RedactionReport, RedactError> {
        self.follow()?;
        let positions: Vec<Position> = positions.into_iter().collect();
        let (head, view) = self.inner.published.pin();
        plan(&view, head, &positions).map(|plan| plan.report())
    }

    /// What the log says of the redaction of the event at a position; `None` when it says nothing of it.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`](crate::Reader::next_event).
    pub fn redaction(&self, position: Position) -> Result<Option<RedactedEvent>, ReadError> {
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        announced_at(&view, head, position)
    }

    /// The same, for who asks for many events in a row: `known` remembers what the log says of a segment.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`](crate::Reader::next_event).
    pub fn redaction_in<'a>(
        &self,
        known: &'a mut Redactions,
        position: Position,
    ) -> Result<Option<&'a RedactedEvent>, ReadError> {
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        known.of(&view, head, position)
    }
}
