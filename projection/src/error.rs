//! What goes wrong with a projection, sorted by what whoever runs it does next.

use std::fmt;
use std::time::Duration;

use annals::{Event, KeepError, NameError, Position, QueryError, ReadError, SubscribeError};

use crate::progress::Refused;

/// An event that a projection could not take. State and position are as they were before it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Fault {
    /// The event.
    pub position: Position,
    /// Its stream.
    pub stream: String,
    /// Its type.
    pub event_type: String,
    /// What the handler said, or its panic.
    pub reason: String,
    /// Whether it was a panic.
    pub is_panic: bool,
    /// How many times it was tried.
    pub attempts: u32,
}

impl Fault {
    pub(crate) fn new(event: &Event<'_>, refused: Refused, attempts: u32) -> Fault {
        Fault {
            position: event.position,
            stream: event.stream.to_owned(),
            event_type: event.event_type.to_owned(),
            reason: refused.reason,
            is_panic: refused.is_panic,
            attempts,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { position, stream, event_type, reason, is_panic, attempts } = self;
        let how = if *is_panic { "panicked" } else { "failed" };
        write!(out, "the handler of {event_type} {how} at position {position} of stream {stream}")?;
        if *attempts > 1 {
            write!(out, ", {attempts} times")?;
        }
        write!(out, ": {reason}")
    }
}

/// What is done about an event that cannot be taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnError {
    /// The projection stops before it, until somebody says what to do.
    #[default]
    Stop,
    /// It is tried again, after a pause that doubles each time; after so many attempts the projection stops.
    Retry {
        /// How many times it is tried in all.
        attempts: u32,
        /// The first pause.
        pause: Duration,
        /// The longest.
        longest_pause: Duration,
    },
    /// It is left out, and that is recorded.
    Skip,
}

/// An event that was left out.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[non_exhaustive]
pub struct Skipped {
    /// The event.
    #[serde(with = "as_number")]
    pub position: Position,
    /// Its type.
    pub event_type: String,
    /// Why.
    pub reason: String,
}

mod as_number {
    use annals::Position;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(position.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        u64::deserialize(deserializer).map(Position::new)
    }
}

/// Why a projection does not go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// A handler failed. See to its cause and [`resume`](crate::LiveProjection::resume), or leave the event out with
    /// [`skip_one`](crate::LiveProjection::skip_one).
    #[error("{0}")]
    Faulted(Fault),
    /// Events that it needs were removed from the log. It cannot be made again from what is left.
    #[error("the log begins at position {oldest}, and the projection needs what comes after {position}")]
    HistoryTruncated {
        /// The position of the oldest event that can be read.
        oldest: Position,
        /// Where the projection stands.
        position: Position,
    },
    /// Another projection of this name is attached to the store.
    #[error("a projection of the name {name} is attached already")]
    NameInUse {
        /// The name.
        name: String,
    },
    /// It was stopped, or the store was closed.
    #[error("the projection was stopped")]
    Stopped,
    /// It has not come so far in time.
    #[error("the projection is at position {position}, and {wanted} was waited for")]
    TimedOut {
        /// Where it is.
        position: Position,
        /// What was waited for.
        wanted: Position,
    },
    /// There is nothing to skip: no event has failed.
    #[error("no event has failed")]
    NoFault,
    /// The name cannot be one.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// The query cannot be used.
    #[error(transparent)]
    InvalidQuery(#[from] QueryError),
    /// Events cannot be read.
    #[error(transparent)]
    Read(ReadError),
    /// What is kept beside the log cannot be read or written.
    #[error(transparent)]
    Keep(KeepError),
    /// The state cannot be encoded or decoded.
    #[error("the state cannot be kept: {0}")]
    State(String),
    /// The system has no thread to give.
    #[error("no thread can be started: {0}")]
    NoThread(String),
}

impl From<ReadError> for ProjectionError {
    fn from(error: ReadError) -> ProjectionError {
        match error {
            ReadError::Truncated { oldest } => ProjectionError::HistoryTruncated { oldest, position: Position::START },
            error => ProjectionError::Read(error),
        }
    }
}

impl From<SubscribeError> for ProjectionError {
    fn from(error: SubscribeError) -> ProjectionError {
        match error {
            SubscribeError::InvalidQuery(error) => ProjectionError::InvalidQuery(error),
            SubscribeError::Read(error) => error.into(),
            SubscribeError::PositionBeyondHead { position, head } => {
                ProjectionError::Keep(KeepError::PositionBeyondHead { position, head })
            }
            SubscribeError::Truncated { oldest } => {
                ProjectionError::HistoryTruncated { oldest, position: Position::START }
            }
            error => ProjectionError::NoThread(error.to_string()),
        }
    }
}

impl From<KeepError> for ProjectionError {
    fn from(error: KeepError) -> ProjectionError {
        match error {
            KeepError::InUse { what } => ProjectionError::NameInUse { name: what },
            KeepError::InvalidName(error) => ProjectionError::InvalidName(error),
            KeepError::Read(error) => error.into(),
            error => ProjectionError::Keep(error),
        }
    }
}

/// The message of a panic, where it is one.
pub(crate) fn what_it_said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked with something that is no text").to_owned()
}
