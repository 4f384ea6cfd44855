//! What recovery found when a store was opened, and what it did about it.

use annals_codec::{Epoch, Position, SegmentNumber};

use crate::error::Damage;

/// What [`open`](crate::EventStore::open) found and did.
///
/// A store that was closed properly, or whose process was killed between two
/// writes, gives an empty report: nothing removed, nothing cut.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the store was made by this open.
    pub created: bool,
    /// The position of the last event.
    pub head: Position,
    /// The epoch of the writer before this one.
    pub epoch: Epoch,
    /// Files of an interrupted operation that were removed.
    pub removed_temporaries: Vec<String>,
    /// The unfinished batch that was cut off the end, if there was one. None of
    /// it was ever acknowledged as durable.
    pub torn: Option<TornTail>,
    /// Whether an interrupted roll to the next segment was finished.
    pub finished_roll: bool,
    /// Whether the making of the store had been interrupted and was finished.
    pub finished_creation: bool,
    /// Segments that no longer belong to the log, which an interrupted retention had left and this open has removed.
    pub finished_retention: Vec<String>,
    /// Damaged regions that a read-only store leaves out. A store open for
    /// writing never has any: it refuses to open.
    pub gaps: Vec<Damage>,
    /// Anything else that a person may want to know, one sentence each.
    pub notes: Vec<String>,
}

impl RecoveryReport {
    /// Whether recovery had nothing to do.
    pub fn is_clean(&self) -> bool {
        let untouched = self.removed_temporaries.is_empty() && self.torn.is_none() && !self.finished_roll;
        let unfinished = self.finished_creation || !self.finished_retention.is_empty();
        untouched && !unfinished && self.gaps.is_empty() && self.notes.is_empty()
    }
}

/// The unfinished end of a log, which recovery cut off.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TornTail {
    /// The segment.
    pub segment: SegmentNumber,
    /// Where the log ends now.
    pub offset: u64,
    /// How many bytes were cut, up to the last one that was not zero.
    pub bytes: u64,
    /// CRC-32/IEEE of those bytes.
    pub checksum: u32,
    /// The file that keeps them, or `None` when there was no space for it.
    pub quarantine: Option<String>,
    /// What was wrong with the first of them.
    pub fault: String,
}
