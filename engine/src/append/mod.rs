//! The way in: from a caller's batch to a durable, visible place in the log.
//!
//! - [`request`]: what a caller wants to append, checked for all that needs no state.
//! - [`queue`]: who waits for whom. The caller that finds nobody committing leads.
//! - [`commit`]: one group: check, encode, write, sync, publish.
//! - [`group`]: the group at hand, encoded, and [`labels`]: what its events are called.
//! - [`past`]: what was appended before, to know a request that comes again.
//! - [`condition`]: what must not have happened for an append to happen.

pub(crate) mod commit;
pub(crate) mod condition;
mod group;
mod labels;
pub(crate) mod past;
pub(crate) mod queue;
pub(crate) mod request;

use std::fmt;

use annals_codec::{Position, StreamVersion};

/// What a caller believes of a stream before an append.
///
/// Checked inside the commit, against the state before the batch and together
/// with the earlier requests of the same commit group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ExpectedVersion {
    /// Nothing.
    Any,
    /// It has no events. The same as `Exact(StreamVersion::EMPTY)`.
    NoStream,
    /// It has at least one event.
    StreamExists,
    /// It has exactly this version.
    Exact(StreamVersion),
}

impl ExpectedVersion {
    pub(crate) fn is_met_by(self, actual: StreamVersion) -> bool {
        match self {
            ExpectedVersion::Any => true,
            ExpectedVersion::NoStream => actual == StreamVersion::EMPTY,
            ExpectedVersion::StreamExists => actual > StreamVersion::EMPTY,
            ExpectedVersion::Exact(version) => actual == version,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpectedVersion::Any => out.write_str("any version"),
            ExpectedVersion::NoStream => out.write_str("a stream without events"),
            ExpectedVersion::StreamExists => out.write_str("a stream with events"),
            ExpectedVersion::Exact(version) => write!(out, "version {version}"),
        }
    }
}

/// Whether an append wrote something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// The events were written now.
    Appended,
    /// Nothing was written: the same was appended before, and this is where it is.
    Duplicate,
}

/// Where an append's events are: now, or since it was made for the first time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Appended {
    /// Whether they were written now.
    pub outcome: Outcome,
    /// The position of the first event. Of a batch without events, the position after the head.
    pub first: Position,
    /// The position of the last event. Of a batch without events, the head.
    pub last: Position,
    /// The version of the stream that the batch's last event went to, after it. Of a batch
    /// without events, [`StreamVersion::EMPTY`].
    pub version: StreamVersion,
    /// When the store took it in: nanoseconds since 1970 UTC. Of a batch without events, the
    /// time of the last event before it.
    pub recorded_at: i64,
}
