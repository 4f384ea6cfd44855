//! What verification says: each thing that is not as it should be, and what was read.

use annals_codec::{LogId, Mark, Position, SegmentNumber};

use super::chain::ChainStretch;
use super::floor::Anchor;
use crate::log::recover::survey::Facts;

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FindingKind {
    /// A file is missing, foreign, or contradicts the others.
    Files,
    /// The header of a segment is damaged.
    Header,
    /// A frame is damaged.
    Frame,
    /// Frames are whole, and do not make up a batch that continues the one before.
    Batch,
    /// The seal, dense index or trailer of a sealed segment is damaged.
    Seal,
    /// Something that was durable is not there any more.
    Lost,
    /// An event's version, or its time, does not follow the one before.
    Order,
    /// The file `floor`, which keeps what is known of removed events, is damaged.
    Floor,
    /// The hash chain does not agree with the events, or with a witness.
    Chain,
    /// An event is redacted and the log does not say so, or the other way round.
    Redaction,
    /// The file of a consumer is damaged, or of another history than the log.
    Consumer,
    /// So is a snapshot of a state. It is passed over for an older one, or for the log.
    State,
    /// An index file, a part of the tree over batches, or a filter over several segments, is not what its segments
    /// give. No answer depends on it: it can be deleted, and is made anew.
    Index,
}

impl FindingKind {
    /// The kind as one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::Files => "files",
            FindingKind::Header => "header",
            FindingKind::Frame => "frame",
            FindingKind::Batch => "batch",
            FindingKind::Seal => "seal",
            FindingKind::Lost => "lost",
            FindingKind::Order => "order",
            FindingKind::Floor => "floor",
            FindingKind::Chain => "chain",
            FindingKind::Redaction => "redaction",
            FindingKind::Consumer => "consumer",
            FindingKind::State => "snapshot",
            FindingKind::Index => "index",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The segment, if it is about one.
    pub segment: Option<SegmentNumber>,
    /// Its file, as a path a person can open.
    pub file: Option<String>,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The first position concerned.
    pub position: Option<Position>,
    /// What is wrong, in words.
    pub message: String,
}

/// What verification found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The log's identity, where it could be read.
    pub log_id: Option<LogId>,
    /// The position of the last whole event.
    pub head: Position,
    /// How many segments were read.
    pub segments: u64,
    /// How many events are whole.
    pub events: u64,
    /// How many of them are redacted.
    pub redacted: u64,
    /// How many batches are whole.
    pub batches: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many index files, parts of the tree and filters were compared with what their segments give. One that is
    /// missing is no finding: it may be about to be made.
    pub index_files: u64,
    /// How many files of consumers and snapshots were judged.
    pub kept_files: u64,
    /// Files in `idx/` that are of no sealed segment of the log, and segments that no longer belong to it. Nobody
    /// reads them; they can be deleted.
    pub unused_files: Vec<String>,
    /// What the log goes on from, where older events were removed.
    pub anchor: Option<Anchor>,
    /// Of a backup: the position that it ends at, and which history that is of; its files were compared with
    /// their digests.
    pub backup: Option<Mark>,
    /// The stretches of the log that a hash chain covers, in order; none, if the store keeps none. Without a witness
    /// they show that nothing in them was changed by somebody who did not compute all that follows anew.
    pub chain: Vec<ChainStretch>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
    /// The unfinished batch at the end, in bytes, if there is one: normal after a
    /// crash, and while a program is writing. The next open cuts it off.
    pub unfinished_bytes: u64,
    /// How many events the log says are redacted whose segment's new file is there, and has not taken its place: normal after
    /// a crash, and while a program is redacting. The next open for writing puts it there.
    pub unfinished_redactions: u64,
}

impl VerifyReport {
    /// Nothing was read yet.
    pub(super) fn new(facts: &Facts) -> VerifyReport {
        VerifyReport {
            log_id: facts.meta.as_ref().and_then(|meta| meta.as_ref().ok()).map(|meta| meta.log_id),
            head: Position::START,
            segments: 0,
            events: 0,
            redacted: 0,
            batches: 0,
            bytes: 0,
            index_files: 0,
            kept_files: 0,
            unused_files: Vec::new(),
            anchor: None,
            backup: None,
            chain: Vec::new(),
            findings: Vec::new(),
            unfinished_bytes: 0,
            unfinished_redactions: 0,
        }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}
