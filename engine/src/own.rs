//! The streams of the log that speak of the log itself. Their names begin with `$`, and no program's stream does.

/// A stream of the store's own to which other parts than the engine append.
///
/// There is no other way to write to one of them than [`EventStore::append_own`](crate::EventStore::append_own), and what is
/// appended there is asked of nobody ([`Admission`](crate::Admission)).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum OwnStream {
    /// `$schema`: the schemas of events, which the crate `annals-schema` reads and writes.
    Schemas,
}

impl OwnStream {
    /// All of them.
    pub const ALL: [OwnStream; 1] = [OwnStream::Schemas];

    /// The name of the stream.
    pub const fn name(self) -> &'static str {
        match self {
            OwnStream::Schemas => "$schema",
        }
    }
}
