//! Cheap facts about a store, all of one moment.

use annals_codec::{Epoch, FileName, LogId, Position, SegmentNumber, StreamId, StreamVersion};

/// Facts about a store. Every field is always there, also for an empty store.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// The log's identity.
    pub log_id: LogId,
    /// The position of the last event that can be read.
    pub head: Position,
    /// The position of the last event that is durable.
    pub durable_head: Position,
    /// The position of the oldest event that can be read; one more than `head` when there is none.
    pub oldest: Position,
    /// How many events were ever appended.
    pub total_events: u64,
    /// How many of them are still there.
    pub retained_events: u64,
    /// What the log takes, without what is reserved ahead, in bytes.
    pub bytes: u64,
    /// The segments, oldest first.
    pub segments: Vec<SegmentStats>,
    /// What is known of removed events, where there are any; `None` too when that cannot be read.
    pub floor: Option<FloorInfo>,
    /// The epoch of the latest writer.
    pub epoch: Epoch,
    /// How many times the watermark could not be written since the store was opened.
    pub watermark_errors: u64,
    /// How many appends are queued at this moment in this process, waiting for those before them.
    pub queue_depth: u64,
    /// How many mappings of segments this process still has that are not of the log any more, removed or redacted or
    /// replaced: somebody holds a reader of them, or an event. Their space on the disk is free when the last is let go.
    pub pinned_mappings: u64,
    /// The consumers, in the order of their names, as far as they could be read;
    /// [`EventStore::consumers`](crate::EventStore::consumers) tells why not.
    pub consumers: Vec<ConsumerInfo>,
}

/// Facts about what was removed from a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FloorInfo {
    /// Everything up to this position was removed.
    pub position: Position,
    /// The greatest time of recording that was removed: nanoseconds since 1970 UTC.
    pub recorded_at: i64,
    /// When the last of it was removed: nanoseconds since 1970 UTC.
    pub removed_at: i64,
    /// How many streams are known of which events were removed.
    pub streams: u64,
    /// What takes to know that, in bytes.
    pub bytes: u64,
}

/// Facts about a consumer.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConsumerInfo {
    /// Its name.
    pub name: FileName,
    /// What it has finished; `None` when its file cannot be used.
    pub position: Option<Position>,
    /// How many events of the log come after that.
    pub lag: Option<u64>,
    /// When that was written: nanoseconds since 1970 UTC.
    pub written_at: Option<i64>,
    /// Why its file cannot be used, or belongs to another log.
    pub fault: Option<String>,
}

/// Facts about one segment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number.
    pub number: SegmentNumber,
    /// Its file, relative to the store.
    pub path: String,
    /// The position of the last event before it.
    pub base: Position,
    /// The position of its last event; `base` when it has none.
    pub last: Position,
    /// What it takes, without what is reserved ahead, in bytes.
    pub bytes: u64,
    /// Whether it is sealed.
    pub sealed: bool,
}

/// Facts about one stream.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamId,
    /// How many events it holds.
    pub version: StreamVersion,
    /// The position of its last event.
    pub last_position: Position,
}
