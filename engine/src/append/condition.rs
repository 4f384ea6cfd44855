//! What must not have happened for an append to happen: [`AppendCondition`].
//!
//! This is the append condition of a Dynamic Consistency Boundary (dcb.events): what a
//! decision rests on is a query, of any streams, and not the version of one.

use std::fmt;

use annals_codec::Position;

use super::past::{Answer, Past};
use crate::error::{AppendError, QueryError};
use crate::query::Query;

/// What must not have happened for a batch to be appended.
///
/// Whoever decides something reads the events that the decision rests on, up to some position,
/// and appends under the condition that no event after that position matches the same query.
/// Checked inside the commit, so nobody can come between; earlier requests of the
/// same commit group count. Unlike an [`ExpectedVersion`](crate::ExpectedVersion) it is not
/// bound to a stream, and does not fail for events that the decision does not rest on.
///
/// ```
/// use annals::{AppendCondition, AppendError, EventStore, ExpectedVersion, NewEvent, Options, Position, QueryItem};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// // Each seat of a show is sold once, whoever sells it, in whichever stream.
/// let of_seat = QueryItem::new().event_type("SeatSold").tag("seat:14");
/// let mut reader = store.read(of_seat.clone(), Position::START)?;
/// assert!(reader.next_event()?.is_none(), "it is free");
///
/// let condition = AppendCondition::fail_if_match(of_seat).after(reader.head());
/// let sell = |to| {
///     let sold = NewEvent::new("SeatSold", "{}").tag("seat:14");
///     store.batch().event(to, sold).condition(condition.clone()).commit()
/// };
/// sell("order-7")?;
/// assert!(matches!(sell("order-8"), Err(AppendError::ConditionFailed { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct AppendCondition {
    fail_if_match: Option<Query>,
    after: Option<Position>,
    fail_if_exists: Option<Query>,
    allows_truncated: bool,
}

impl AppendCondition {
    /// Fails when an event matches the query: after the position that [`after`](AppendCondition::after)
    /// names, or in the whole log.
    pub fn fail_if_match(query: impl Into<Query>) -> AppendCondition {
        AppendCondition { fail_if_match: Some(query.into()), ..AppendCondition::default() }
    }

    /// Only events after this position count for [`fail_if_match`](AppendCondition::fail_if_match): the
    /// [head](crate::Reader::head) of the reader from which the events were read that the
    /// decision rests on, matching or not. A position beyond the head of the log is an error.
    pub fn after(mut self, position: Position) -> AppendCondition {
        self.after = Some(position);
        self
    }

    /// Fails, too, when any event of the whole log matches this query.
    ///
    /// `AppendCondition::default().fail_if_exists(query)` is a condition of this clause alone.
    pub fn fail_if_exists(mut self, query: impl Into<Query>) -> AppendCondition {
        self.fail_if_exists = Some(query.into());
        self
    }

    /// Asks only the events that are still in the log.
    ///
    /// Otherwise a condition that nothing left contradicts fails with [`AppendError::Truncated`] when events that it
    /// speaks of were removed: what `after` does not exclude, and anything at all for the whole log.
    pub fn allow_truncated(mut self) -> AppendCondition {
        self.allows_truncated = true;
        self
    }

    /// Whether its queries can be used.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        self.fail_if_match.iter().chain(&self.fail_if_exists).try_for_each(Query::check)
    }

    /// Checks it against the log and the group so far.
    pub(super) fn check_against(&self, past: &mut Past<'_>) -> Result<(), Answer> {
        let head = past.head();
        let after = self.after.unwrap_or(Position::START);
        if after > head {
            return Err(past.answer(Err(AppendError::AfterBeyondHead { after, head }), head));
        }
        let clauses = [
            (ConditionClause::FailIfMatch, &self.fail_if_match, after, self.after.is_some()),
            (ConditionClause::FailIfExists, &self.fail_if_exists, Position::START, false),
        ];
        for (clause, query, after, is_named) in clauses {
            if let Some(query) = query
                && let Some(at) = past.newest_match(query, after, (is_named, self.allows_truncated))?
            {
                return Err(past.answer(Err(AppendError::ConditionFailed { clause, at }), at));
            }
        }
        Ok(())
    }
}

/// A part of an [`AppendCondition`], to tell which one failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConditionClause {
    /// [`AppendCondition::fail_if_match`].
    FailIfMatch,
    /// [`AppendCondition::fail_if_exists`].
    FailIfExists,
}

impl fmt::Display for ConditionClause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            ConditionClause::FailIfMatch => "the condition that nothing new matches failed",
            ConditionClause::FailIfExists => "the condition that nothing at all matches failed",
        })
    }
}
