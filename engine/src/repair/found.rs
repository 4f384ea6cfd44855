//! What a repair has found of a store: facts about every segment, from its first frame to its end, over every bad place.

use annals_codec::scan::{SealedEnd, Totals};
use annals_codec::{Epoch, LogId, Position, Seed, SegmentHeader, SegmentNumber, StoreMeta, Tail};

use super::redactions::Redactions;
use super::streams::Streams;

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) log_id: LogId,
    pub(super) created_at: i64,
    /// The highest epoch that any file speaks of.
    pub(super) epoch: Epoch,
    pub(super) meta: Option<StoreMeta>,
    /// Every segment from the first on, without a hole: of one that is missing, its place.
    pub(super) segments: Vec<FoundSegment>,
    /// The chain before the first of them, where older ones were removed.
    pub(super) chain_before: u32,
    pub(super) streams: Streams,
    pub(super) redactions: Redactions,
    /// What is known of lost positions without guessing: the stream and version of each.
    pub(super) known: std::collections::BTreeMap<Position, super::streams::Owner>,
    /// What was wrong and needs no loss to be made right, one sentence each.
    pub(super) mended: Vec<String>,
    /// What a person may want to know besides.
    pub(super) notes: Vec<String>,
}

/// One segment, or the place of one that is missing.
#[derive(Debug)]
pub(super) struct FoundSegment {
    pub(super) number: SegmentNumber,
    pub(super) base: Position,
    /// Where its file is, or should be.
    pub(super) path: String,
    /// `None` when there is no file that could be read at all.
    pub(super) file: Option<FoundFile>,
    /// What was lost of it, in order.
    pub(super) gaps: Vec<Gap>,
    /// The position that it ends with: where the next one begins.
    pub(super) end: Position,
    /// Whether it is the last one, which takes appends and need not be sealed.
    pub(super) is_last: bool,
}

/// A segment's file of which at least the seed is known.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) len: u64,
    pub(super) seed: Seed,
    /// Its header: as it is, or mended.
    pub(super) header: Option<SegmentHeader>,
    pub(super) is_header_good: bool,
    /// The batches that are whole, in order: where each run of them begins, and where it ends.
    pub(super) runs: Vec<(Tail, Tail)>,
    pub(super) totals: Totals,
    /// Whether its markers carry a hash.
    pub(super) is_hashed: bool,
    /// Its end, if it is sealed and all of that is whole.
    pub(super) sealed: Option<SealedEnd>,
    /// What follows its last batch and was never acknowledged: from here to there.
    pub(super) unfinished: Option<(u64, u64)>,
}

impl FoundFile {
    /// Where its last whole batch ends.
    pub(super) fn tail(&self) -> Option<&Tail> {
        self.runs.last().map(|(_, end)| end)
    }
}

/// Bytes of a segment that cannot be used, and the positions that stood there.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    /// Where they begin and end in the file.
    pub(super) offset: u64,
    pub(super) to: u64,
    /// The last event before them, and the last of those lost.
    pub(super) after: Position,
    pub(super) upto: Position,
    pub(super) why: String,
    /// The time of recording of the event before them, if there is one.
    pub(super) recorded_at: Option<i64>,
    /// Of the bytes; `None` when there are none.
    pub(super) checksum: Option<u32>,
    /// Whether only the end of a sealed segment stood there, which can be made again.
    pub(super) is_end: bool,
}

impl Gap {
    /// How many positions were lost.
    pub(super) fn count(&self) -> u64 {
        self.upto.get() - self.after.get()
    }
}
