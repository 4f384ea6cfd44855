//! Marks: what identifies the history of the log up to a position, for whoever keeps something that was made of it.

use annals_codec::{Mark, Position};

use super::{EventStore, Role};
use crate::error::{KeepError, ReadError};
use crate::index::find::mark_of;
use crate::planted::{self, Bug};

impl EventStore {
    /// What identifies the history of the log up to a position; to be kept beside what was made of the events
    /// up to there, and compared by [`check_mark`](EventStore::check_mark) before that is used again.
    ///
    /// What is kept must not outlive the events it was made of: so everything up to the position is made
    /// durable first, if it is not.
    ///
    /// # Errors
    ///
    /// [`KeepError::PositionBeyondHead`], [`KeepError::NotDurable`], [`KeepError::Truncated`], and
    /// [`KeepError::Read`] when the end of the batch there cannot be read.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, KeepError, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let mark = store.mark(store.head())?;
    /// store.check_mark("the total of all orders", &mark)?;
    ///
    /// let other = EventStore::in_memory(&Options::new())?;
    /// other.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let refused = other.check_mark("the total of all orders", &mark);
    /// assert!(matches!(refused, Err(KeepError::DivergedLog { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mark(&self, position: Position) -> Result<Mark, KeepError> {
        let is_durable = planted::has(Bug::SnapshotAheadOfDisk) || planted::has(Bug::SnapshotNewerThanLog);
        self.durable_mark(position, is_durable)
    }

    /// As [`mark`](EventStore::mark), unless it is said to be durable already.
    pub(super) fn durable_mark(&self, position: Position, is_durable: bool) -> Result<Mark, KeepError> {
        let mark = self.mark_as_it_is(position)?;
        if let Role::Writer(side) = &self.inner.role
            && position > self.inner.published.durable()
            && !is_durable
        {
            side.commit.flush().map_err(KeepError::NotDurable)?;
        }
        Ok(mark)
    }

    /// Whether `mark` is of this log and of its history. `what` names what it was kept with, for the error.
    ///
    /// # Errors
    ///
    /// [`KeepError::DivergedLog`] when it is not; [`KeepError::PositionBeyondHead`] when the log does not reach
    /// so far; [`KeepError::Truncated`] and [`KeepError::Read`] when that cannot be told any more.
    pub fn check_mark(&self, what: &str, mark: &Mark) -> Result<(), KeepError> {
        let diverged = |difference| Err(KeepError::DivergedLog { what: what.to_owned(), difference });
        if mark.log_id != self.inner.log_id {
            return diverged(format!("its log is {}, and this is {}", mark.log_id, self.inner.log_id));
        }
        let here = self.mark_as_it_is(mark.position)?;
        if !here.agrees_with(mark) {
            return diverged(format!("another batch was written at position {}", mark.position));
        }
        Ok(())
    }

    fn mark_as_it_is(&self, position: Position) -> Result<Mark, KeepError> {
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        if position > head {
            return Err(KeepError::PositionBeyondHead { position, head });
        }
        let (oldest, log_id) = (view.oldest(), self.inner.log_id);
        if position == Position::START {
            return Ok(Mark { log_id, position, chain: 0, hash: None });
        }
        if position.plus(1) < oldest {
            return Err(KeepError::Truncated { oldest });
        }
        if position.plus(1) == oldest {
            // The batch itself is gone. The oldest segment says what the log goes on from.
            let first = &view.segments[0];
            let header = first.log.header().map_err(|error| first.unreadable(0, error))?;
            let lost = || first.log.damage(0, oldest, oldest, "the header cannot be read".to_owned());
            let header = header.ok_or_else(|| ReadError::Corrupt(lost()))?;
            return Ok(Mark { log_id, position, chain: header.chain, hash: header.chain_hash });
        }
        mark_of(&view, log_id, position)?.ok_or(KeepError::Truncated { oldest })
    }
}
