//! What the bytes of an Annals event store mean.
//!
//! This crate is format version 1 and nothing else: it opens no file, reads no
//! clock, takes no lock and starts no thread. It turns events into bytes and
//! bytes into facts, so that the engine, the command-line tools, the fuzzers
//! and the crash tests all share one judgement. The format itself is described
//! in `FORMAT.md` beside this file, with pictures and a worked example.
//!
//! The parts, from small to large:
//!
//! - [`Position`], [`StreamVersion`] and the other numbers; [`StreamId`] and the other names;
//! - [`Frame`]: the checksummed unit; [`Event`], [`Commit`] and [`Seal`]: what frames hold;
//! - [`SegmentHeader`]: how a segment file begins; [`Trailer`]: how a sealed one ends;
//! - [`Redaction`]: what takes the payload of an event out of a segment, and leaves everything else;
//! - [`Batches`]: what makes a batch exist; [`scan`](scan::scan): the judgement over a whole segment;
//! - [`StoreMeta`] and [`Watermark`]: the two small files beside the segments; [`Floor`]: what is known of
//!   events that were removed;
//! - [`Mark`]: what tells one history from another; [`Checkpoint`]: how far a consumer of one has
//!   come; [`Snapshot`]: a state that was folded from one;
//! - [`Digest`]: 32 bytes that stand for any number of them;
//! - [`LossRecord`]: what repairs had to give up;
//! - [`merkle`]: the tree over batches; [`proof`]: proofs that need no store;
//! - [`Manifest`]: what a copy of a store consists of; [`ArchivedSegment`]: what one segment in an archive is;
//! - [`index`]: what is derived from a sealed segment, to search it.

// For `testing`, which the golden tests include from outside.
#[cfg(test)]
extern crate self as annals_codec;

mod archived;
mod balance;
mod batch;
mod checkpoint;
mod commit;
mod digest;
mod event;
mod floor;
mod frame;
mod hash_chain;
mod hash_check;
mod ids;
pub mod index;
mod interner;
mod loss;
mod made;
mod manifest;
mod mark;
mod mend;
pub mod merkle;
mod meta;
mod name;
#[cfg(feature = "payload")]
pub mod payload;
pub mod proof;
mod redaction;
pub mod scan;
mod seal;
mod segment;
mod snapshot;
pub mod subject;
#[cfg(test)]
mod testing;
mod text;
mod watermark;
mod wire;

pub use archived::{ArchivedSegment, Likeness};
pub use batch::{BatchFault, Batches, Tail};
pub use checkpoint::{Checkpoint, CheckpointFault};
pub use commit::{Chain, Commit, CommitFault, Tracking};
pub use digest::{Digest, Hasher, ParseDigestError};
pub use event::{ContentType, Event, EventFault, Tags, push_tag};
pub use floor::{
    FLOOR_HEADER_LEN, Floor, FloorFault, FloorHeader, FloorKind, FloorRecord, FloorSection, FloorWriter, find_in_floor,
    floor_records,
};
pub use frame::{FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameFault, FrameHeader, FrameKind, Seed, padded, reseed};
pub use hash_chain::{BatchHasher, chain_after, chain_start, encoded_event_digest, event_digest, payload_digest};
pub use hash_check::{ChainBreak, ChainCheck, ChainPoint};
pub use ids::{Epoch, EventId, LogId, ParseIdError, Position, SegmentNumber, StreamVersion};
pub use interner::Interner;
pub use loss::{LossRecord, LostRange, RecordFault, Repair};
pub use made::{IdMaker, MadeIds};
pub use manifest::{ListedFile, Manifest, ManifestFault};
pub use mark::Mark;
pub use mend::mend_header;
pub use meta::{META_FILE_LEN, META_SLOT_LEN, MetaFault, StoreMeta};
pub use name::{
    EventType, FileName, IdempotencyKey, IntoName, NameError, NameProblem, SourceName, StoreName, StreamId, Subject,
    Tag,
};
pub use redaction::{RedactFault, Redaction, RedactionMark, mark_redacted, redact_frame};
pub use roaring::RoaringBitmap;
pub use seal::{SEAL_LEN, Seal, TRAILER_LEN, Trailer, index_len, seal_room};
pub use segment::{FORMAT_MAJOR, FORMAT_MINOR, HeaderFault, SEGMENT_HEADER_LEN, SEGMENT_MAGIC, SegmentHeader};
pub use snapshot::{SNAPSHOT_HEADER_LEN, Snapshot, SnapshotFault, snapshot_mark, snapshot_origin};
pub use watermark::{WATERMARK_FILE_LEN, WATERMARK_SLOT_LEN, Watermark};
pub use wire::{u32_at, u64_at};
