//! Removing the oldest events, from the store's side; what is done is in `retain`.

use annals_codec::Position;

use super::{EventStore, Role};
use crate::retain::{Guard, Retention, TruncateError, Truncation, plan};

impl EventStore {
    /// Removes the oldest segments: those that hold nothing from `before` on.
    ///
    /// Only whole segments go, and never the newest one. What is [oldest](EventStore::oldest) afterwards is in the answer:
    /// the event at `before` itself, or one before it in the same segment.
    ///
    /// What was known of the removed events stays: the versions of their streams, so that nobody takes a stream for a
    /// new one; how far foreign sources were processed; the chain and the time. Their ids and
    /// idempotency keys are forgotten. Whoever asks for one of them is told
    /// [`ReadError::Truncated`](crate::ReadError::Truncated). Readers that were made before go on undisturbed, and the space is
    /// free when the last of them is dropped.
    ///
    /// After a crash in the middle all of it is done or nothing. What the log says of all its events, as the stream `$schema` does,
    /// is appended once more before it goes, so the head may be a few positions further afterwards.
    ///
    /// # Cost
    ///
    /// The names of all streams that were ever removed are written: about 60 bytes for each, in one file. Appends
    /// go on meanwhile.
    ///
    /// # Errors
    ///
    /// - [`TruncateError::Behind`] names whoever needs what would go, unless the guard is [`Guard::Force`].
    /// - [`TruncateError::StorageFull`], [`TruncateError::Read`]: nothing was removed.
    /// - [`TruncateError::Io`], [`TruncateError::Poisoned`], [`TruncateError::ReadOnly`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, Guard, NewEvent, Options, Position, StreamVersion, TruncateError};
    ///
    /// let store = EventStore::in_memory(&Options::new().segment_bytes(64 << 10))?;
    /// for _ in 0..100 {
    ///     store.append("clock", ExpectedVersion::Any, NewEvent::new("Ticked", vec![0; 4096]))?;
    /// }
    /// let mailer = store.consumer("mailer")?;
    /// let refused = store.truncate_before(Position::new(50), Guard::Consumers);
    /// assert!(matches!(refused, Err(TruncateError::Behind { holders, .. }) if holders[0].name == "mailer"));
    ///
    /// mailer.checkpoint(store.head())?;
    /// let done = store.truncate_before(Position::new(50), Guard::Consumers)?;
    /// assert!(done.oldest <= Position::new(50));
    /// assert_eq!(store.oldest(), done.oldest);
    /// assert_eq!(store.stream_version("clock")?, StreamVersion::new(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn truncate_before(&self, before: Position, guard: Guard) -> Result<Truncation, TruncateError> {
        match &self.inner.role {
            Role::Writer(side) => side.beside.truncate(before, guard),
            Role::Follower(_) => Err(TruncateError::ReadOnly),
        }
    }

    /// What [`truncate_before`](EventStore::truncate_before) would remove, and who is behind it. Removes nothing.
    ///
    /// # Errors
    ///
    /// [`TruncateError::Read`], [`TruncateError::Io`].
    pub fn plan_truncation(&self, before: Position) -> Result<Truncation, TruncateError> {
        self.follow()?;
        plan(&*self.inner.storage, &self.inner.published.view(), before, false)
    }

    /// Removes what a policy does not keep, as [`truncate_before`](EventStore::truncate_before) does.
    ///
    /// With [`Options::retention`](crate::Options::retention) the store does this by itself.
    ///
    /// # Errors
    ///
    /// As [`truncate_before`](EventStore::truncate_before).
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, Guard, NewEvent, Options, Retention};
    ///
    /// let store = EventStore::in_memory(&Options::new().segment_bytes(64 << 10))?;
    /// for _ in 0..100 {
    ///     store.append("clock", ExpectedVersion::Any, NewEvent::new("Ticked", vec![0; 4096]))?;
    /// }
    /// store.truncate_to(&Retention::new().events(20), Guard::Consumers)?;
    /// assert!((20..40).contains(&store.stats().retained_events));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn truncate_to(&self, retention: &Retention, guard: Guard) -> Result<Truncation, TruncateError> {
        self.truncate_before(self.kept_from(retention), guard)
    }

    /// The position with which that begins which a policy keeps, as the log and its clock are now.
    pub fn kept_from(&self, retention: &Retention) -> Position {
        let _ = self.follow();
        let (head, view) = self.inner.published.pin();
        retention.begins(&view, head, self.now())
    }
}
