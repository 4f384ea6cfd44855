//! Why something did not happen, sorted by what the caller does next.
//!
//! Variants are for branching, fields are for telling a person. A message is
//! one line, says what to do where that is not obvious, and does not repeat its
//! cause: `source()` carries that.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use annals_codec::scan::Fault;
use annals_codec::{EventId, IdempotencyKey, NameError, Position, SegmentNumber, StreamId, StreamVersion};

use crate::admit::Refusal;
use crate::append::condition::ConditionClause;
use crate::append::{Appended, ExpectedVersion};

/// Bytes that are wrong and are not an unfinished tail: they were durable once.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("segment {segment} is damaged at offset {offset} of {file}, {}: {fault}", describe_range(*from, *to))]
#[non_exhaustive]
pub struct Damage {
    /// The segment.
    pub segment: SegmentNumber,
    /// Its file, as a path a person can open.
    pub file: String,
    /// Where in the file the first bad frame begins.
    pub offset: u64,
    /// The first position that cannot be read.
    pub from: Position,
    /// The last position that cannot be read, where that is known.
    pub to: Option<Position>,
    /// What is wrong, and what says that it was durable.
    pub fault: String,
}

fn describe_range(from: Position, to: Option<Position>) -> String {
    match to {
        Some(to) if to == from => format!("position {from}"),
        Some(to) => format!("positions {from} to {to}"),
        None => format!("from position {from} on"),
    }
}

fn describe_events(appended: &Appended) -> String {
    match (appended.first, appended.last) {
        (first, last) if first < last => format!(", at positions {first} to {last}"),
        (first, last) if first == last => format!(", at position {first}"),
        _ => String::new(),
    }
}

/// Why a store was not opened. Nothing of it was changed on disk; at most the file LOCK was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another part of this one, has it open for writing.
    #[error("the store is already open for writing by {}; close it there, or open it read-only",
            pid.map_or_else(|| "another store".to_owned(), |pid| format!("process {pid}")))]
    AlreadyOpen {
        /// That process, when it could be told.
        pid: Option<u32>,
    },
    /// There is no store at this place, and none was to be made.
    #[error("there is no store in {}", path.display())]
    NotFound {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// Durable data is damaged. Read what is left with
    /// [`open_read_only`](crate::EventStore::open_read_only); restore the file from a backup.
    #[error(
        "{0}. Nothing was changed; opening read-only serves the rest, `annals verify` lists all findings, `annals repair` saves what is whole"
    )]
    Corrupt(Damage),
    /// The files do not make up a store: one is missing, foreign, or contradicts the others.
    #[error(
        "the store's files do not fit together: {problem}. Nothing was changed; restore the file from a backup, or see what `annals repair --dry-run` can save"
    )]
    Inconsistent {
        /// Which file, and what is wrong with it.
        problem: String,
    },
    /// A later version of Annals wrote it. Use that one.
    #[error("{problem}")]
    Newer {
        /// Which version was found.
        problem: String,
    },
    /// An option has a value that cannot be.
    #[error("{what} is {value}, and must be between {least} and {most}")]
    InvalidOptions {
        /// The option.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The least value allowed.
        least: u64,
        /// The greatest value allowed.
        most: u64,
    },
    /// The operating system refused something. Says nothing about the data.
    #[error("cannot {action} {path}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether a file was not there: beside a writer, one that it has just removed.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, OpenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Why an append did not happen, sorted by what the caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Someone else appended to the stream first. Nothing was written. Read the
    /// new events, decide again, and retry.
    #[error("stream {stream} is at version {actual}, not {expected}: read what is new, decide again, and retry")]
    ConcurrencyConflict {
        /// The stream.
        stream: StreamId,
        /// What the caller expected.
        expected: ExpectedVersion,
        /// The version it has.
        actual: StreamVersion,
        /// The position of its last event; `START` when it has none.
        last_position: Position,
    },
    /// The source was already processed that far. Nothing was written: skip what was processed.
    #[error("source {source_name} is already at {recorded}, and {given} is not after it")]
    TrackingConflict {
        /// The source.
        source_name: String,
        /// The position given.
        given: u64,
        /// The position recorded.
        recorded: u64,
    },
    /// An event with this id is in the log, and it is another one. Nothing was written. Give
    /// the new event an id of its own; or, if this was meant as a retry, send what was sent before.
    #[error("event {id} is at position {existing} already, and is another event: give this one an id of its own")]
    EventIdConflict {
        /// The id.
        id: EventId,
        /// Where the event with this id is.
        existing: Position,
    },
    /// Some of the events are in the log already, but not all of them side by side as they are
    /// here. Nothing was written. Append the others on their own; or, if this was meant as a retry, send
    /// what was sent before.
    #[error("event {id} is at position {existing} already, but not the whole batch: append the rest on its own")]
    PartialDuplicate {
        /// The first of the ids that is in the log.
        id: EventId,
        /// Where the event with this id is.
        existing: Position,
    },
    /// Two events of the batch have the same id. Nothing was written. Give each an id of its own.
    #[error("two events of the batch have the id {id}: give each an id of its own")]
    DuplicateIdInBatch {
        /// The id.
        id: EventId,
    },
    /// The key has named another request before. Nothing was written. Give each request a key of
    /// its own; or, if this was meant as a retry, send what was sent before.
    #[error(
        "the idempotency key {key} was used for another request{}: give each request a key of its own",
        describe_events(original)
    )]
    IdempotencyKeyReused {
        /// The key.
        key: IdempotencyKey,
        /// What came of that request.
        original: Appended,
    },
    /// An event that the caller did not reckon with. Nothing was written. Read the
    /// new events, decide again, and retry.
    #[error("{clause}: the event at position {at} matches; read what is new, decide again, and retry")]
    ConditionFailed {
        /// Which part of the condition failed.
        clause: ConditionClause,
        /// The position of the newest event that matches.
        at: Position,
    },
    /// The caller claims to have seen more than there is. Nothing was written. The position comes from
    /// another log, or from before a backup was restored: read again, and decide again.
    #[error("the condition speaks of what is after position {after}, and the log ends at {head}: read it again")]
    AfterBeyondHead {
        /// The position in the condition.
        after: Position,
        /// The last position of the log.
        head: Position,
    },
    /// The condition speaks of events that were removed from the log, so nobody can tell. Nothing was written. Decide
    /// on what is left, if that is [enough](crate::AppendCondition::allow_truncated).
    #[error("the condition speaks of events that were removed: the log begins at position {oldest}")]
    Truncated {
        /// The position of the oldest event that can be read.
        oldest: Position,
    },
    /// A query of a condition cannot be used. Nothing was written.
    #[error(transparent)]
    InvalidQuery(#[from] QueryError),
    /// A batch needs an event or a tracking record.
    #[error("the batch is empty")]
    EmptyBatch,
    /// The event can never fit. Nothing was written.
    #[error("the event takes {bytes} bytes; at most {limit} are allowed (Options::max_event_bytes)")]
    EventTooLarge {
        /// Its size with all overhead, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The batch can never fit. Nothing was written.
    #[error("the batch takes {bytes} bytes; at most {limit} are allowed (Options::max_batch_bytes)")]
    BatchTooLarge {
        /// Its size with all overhead, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A stream id, event type, tag, source name or key is not one. Nothing was written.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// Who was asked whether the events may be appended ([`Options::admission`](crate::Options::admission)) says no.
    /// Nothing was written. The cause says why; `downcast_ref` gives it in its own type.
    #[error("the events were not admitted")]
    Refused {
        /// Why.
        #[source]
        cause: Refusal,
    },
    /// The disk is full. Nothing was written, reads go on, and appends work
    /// again once there is space.
    #[error("the disk is full: nothing was written; free some space and retry")]
    StorageFull,
    /// The sync of this very batch failed: it may or may not survive. Reopen
    /// the store and look; or append it again there, if it has an idempotency key or its events have ids.
    #[error("the sync of this batch failed, so it may or may not survive: reopen the store and look")]
    CommitUnknown {
        /// What the operating system said. Shared, because the whole group failed with it.
        #[source]
        cause: Arc<io::Error>,
    },
    /// An earlier write or sync failed, so the store takes no more appends.
    /// Nothing of this batch was written. Reopen the store, and recovery decides.
    #[error("an earlier write or sync failed, so the store takes no more appends: reopen it")]
    Poisoned {
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },
    /// What the append has to be checked against cannot be read: an event, or the index of a
    /// segment that is damaged itself. Nothing was written. Restore the file from a backup.
    #[error("what the append has to be checked against cannot be read: {cause}")]
    Unreadable {
        /// Why. An error of a file, or damage in it.
        cause: ReadError,
    },
    /// The store was opened read-only.
    #[error("the store is open read-only")]
    ReadOnly,
}

/// Why events could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Events that were asked for were removed from the log. What is left can be read: ask for what comes from
    /// `oldest` on, or say that this is [enough](crate::Reader::allow_truncated).
    #[error("the log begins at position {oldest}: what comes before it was removed")]
    Truncated {
        /// The position of the oldest event that can be read.
        oldest: Position,
    },
    /// These events are damaged. Reading can go on behind them: ask again, having called
    /// [`skip_damaged`](crate::Reader::skip_damaged).
    #[error("{0}")]
    Corrupt(Damage),
    /// The name cannot be that of a stream.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// The query cannot be used.
    #[error(transparent)]
    InvalidQuery(#[from] QueryError),
    /// The operating system refused to read.
    #[error("cannot read {path} at offset {offset}")]
    Io {
        /// The file.
        path: String,
        /// Where in it.
        offset: u64,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
}

/// Why a log is not followed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The query cannot be used.
    #[error(transparent)]
    InvalidQuery(#[from] QueryError),
    /// The log is shorter than what the caller has seen of it. The position comes from another log, or from
    /// before an older backup was restored.
    #[error("position {position} lies beyond the head of the log, {head}: was an older backup restored?")]
    PositionBeyondHead {
        /// The position given.
        position: Position,
        /// The last position of the log.
        head: Position,
    },
    /// Events that come after the position were removed from the log.
    #[error("the log begins at position {oldest}: what comes before it was removed")]
    Truncated {
        /// The position of the oldest event that can be read.
        oldest: Position,
    },
    /// The writer's progress could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The system has no thread to give.
    #[error("no thread can be started")]
    NoThread(#[source] Arc<io::Error>),
}

/// Why something that is kept beside the log, such as the checkpoint of a consumer, was not read, used or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// It belongs to another log, or to another history of this one: the log was restored from a backup and
    /// has gone on differently. It is not used. Whoever knows that this is right starts anew.
    #[error("{what} was made in another history of the log: {difference}")]
    DivergedLog {
        /// What it is.
        what: String,
        /// What tells the histories apart.
        difference: String,
    },
    /// The log is shorter than that: an older backup was restored, or the position is of another log.
    #[error("position {position} lies beyond the head of the log, {head}: was an older backup restored?")]
    PositionBeyondHead {
        /// The position.
        position: Position,
        /// The last position of the log.
        head: Position,
    },
    /// What the log was at this position cannot be told any more.
    #[error("the log begins at position {oldest}: what comes before it was removed")]
    Truncated {
        /// The position of the oldest event that can be read.
        oldest: Position,
    },
    /// A checkpoint only moves forward. Nothing was written.
    #[error("consumer {consumer} is at {checkpoint} already; going back to {position} takes a rewind")]
    GoesBack {
        /// The consumer.
        consumer: String,
        /// The position given.
        position: Position,
        /// Where it is.
        checkpoint: Position,
    },
    /// Nobody has registered this consumer, or it was removed.
    #[error("there is no consumer {consumer}")]
    NoConsumer {
        /// The consumer.
        consumer: String,
    },
    /// The file is damaged, or of a later version. It is not used, and not overwritten: remove it to start anew.
    #[error("{path} cannot be used: {problem}")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else of this process writes it.
    #[error("{what} is in use already")]
    InUse {
        /// What it is.
        what: String,
    },
    /// It cannot have this name.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// What it speaks of could not be made durable, so it was not written.
    #[error("the events that it speaks of could not be made durable: {0}")]
    NotDurable(AppendError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused something. What was there before still holds.
    #[error("cannot {action} {path}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file.
        path: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The store was opened read-only.
    #[error("the store is open read-only")]
    ReadOnly,
}

/// Why a query cannot be used. Nothing was read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// It describes nothing: a list of items that came out empty is not taken for "everything".
    #[error("the query has no items; use Query::All to read everything")]
    NoItems,
    /// An event type, tag, stream or prefix in it cannot be one.
    #[error(transparent)]
    InvalidName(#[from] NameError),
}

/// A scan's fault in words, with the evidence that it was durable.
pub(crate) fn explain(fault: &Fault, evidence: &str) -> String {
    format!("{fault}; {evidence}")
}

/// Adds to an I/O error what was being done, for [`OpenError::Io`].
pub(crate) trait Doing<T> {
    fn doing(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, OpenError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Io { action, path: path(), source })
    }
}
