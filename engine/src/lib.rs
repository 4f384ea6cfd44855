//! Annals: an embedded event store.
//!
//! An append-only log of events in checksummed binary segments, with streams,
//! optimistic concurrency, crash-atomic batches, and memory-mapped reads. There
//! is no server: a program embeds this crate, and other processes may read the
//! same store while it runs.
//!
//! ```
//! use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
//!
//! # let dir = tempfile::tempdir()?;
//! let store = EventStore::open(dir.path(), &Options::new())?;
//! store.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", r#"{"total": 42}"#))?;
//!
//! let mut reader = store.read_all(Position::START);
//! while let Some(event) = reader.next_event()? {
//!     println!("{} {} {}", event.position, event.stream, event.event_type);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! - An acknowledged append survives: with [`Durability::Sync`] a power loss, with
//!   [`Durability::Buffered`] the death of the process. It is there as a whole, in order, once.
//! - A batch that was not acknowledged is there as a whole or not at all.
//! - What recovery has cut off never comes back, and what was durable is never
//!   cut off: damage is reported, by [`OpenError::Corrupt`] and [`ReadError::Corrupt`].
//! - Positions are dense and begin at 1; versions count the events of a stream.
//!
//! # Metrics
//!
//! [`EventStore::stats`] tells how a store stands. One that is opened with [`Options::metrics`] also measures how long
//! appends, with their stages, syncs, reads, recovery and what is done beside them take, and counts conflicts, duplicates,
//! recoveries, damage and watermarks that could not be written: [`EventStore::metrics`], or [`EventStore::prometheus`] as text for
//! a scrape. A reader in another process measures its reads and how it follows the writer
//! ([`EventStore::open_read_only_with`]). A [`Recorder`] hears of each; there is one for the crate `metrics` (feature `metrics`). Opening,
//! recovering, sealing and indexing are spans of `tracing`, at the level of debugging. Nothing of it is on unless it is asked for.
//!
//! # How it is built
//!
//! Bytes go down on the way in and facts come up on the way out; nothing
//! reaches past its neighbour.
//!
//! ```text
//! write:  caller ─► append ─► log ─► storage
//! read :  storage ─► log ─► index ─► read ─► subscription ─► caller
//! ```

// Atomics and cells under a scheduler are many times as large.
#![cfg_attr(all(test, shuttle), allow(clippy::large_enum_variant))]

mod admit;
mod append;
mod background;
mod bell;
mod clock;
mod copy;
mod crew;
mod error;
mod event;
mod follow;
mod index;
pub mod inspect;
mod log;
mod metrics;
mod news;
mod options;
mod own;
mod parallel;
#[cfg(feature = "planted-bugs")]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
#[allow(unreachable_pub, reason = "without the feature, what it would show is nobody's")]
mod planted;
mod poison;
pub mod prometheus;
mod query;
mod read;
mod redact;
mod repair;
mod report;
mod retain;
mod shown;
#[cfg(feature = "shred")]
pub mod shred;
mod stats;
pub mod storage;
mod store;
mod stores;
mod subscription;
mod sync;
mod view;
mod workers;

pub use annals_codec::proof::{ConsistencyProof, InclusionProof, ProofFault, ProvenBatch, ProvenEvent, TreeHead};
pub use annals_codec::{
    ChainPoint, ContentType, Digest, Epoch, Event, EventId, EventType, FileName, IdempotencyKey, IntoName, LogId,
    LossRecord, LostRange, Mark, NameError, NameProblem, ParseIdError, Position, RecordFault, Repair, SegmentNumber,
    SourceName, StoreName, StreamId, StreamVersion, Tag, Tags,
};

#[cfg(feature = "metrics")]
pub use self::metrics::facade::FacadeRecorder;
pub use self::metrics::histogram::Distribution;
pub use self::metrics::measure::{Counter, Measure};
pub use self::metrics::{Metrics, Recorder};
pub use admit::{Admission, Proposed, Refusal, Seal};
pub use append::condition::{AppendCondition, ConditionClause};
pub use append::queue::Ticket;
pub use append::{Appended, ExpectedVersion, Outcome};
pub use clock::{Clock, SystemClock};
pub use copy::restore::{restore, restore_on};
pub use copy::{BackupOptions, BackupReport, CopyError, RestoreReport};
pub use error::{AppendError, Damage, KeepError, OpenError, QueryError, ReadError, SubscribeError};
pub use event::{NewEvent, RecordedEvent};
pub use options::{Durability, Options, Roll};
pub use own::OwnStream;
pub use query::{Query, QueryItem};
pub use read::Reader;
pub use redact::{RedactError, RedactedEvent, RedactionReport, Redactions};
pub use repair::{
    LostVersions, RepairError, RepairPlan, is_filler, losses, losses_on, plan_repair, plan_repair_on, repair, repair_on,
};
pub use report::{RecoveryReport, TornTail};
pub use retain::{Guard, Holder, HolderKind, Retention, TruncateError, Truncation};
pub use stats::{ConsumerInfo, FloorInfo, SegmentStats, Stats, StreamInfo};
pub use store::consumer::Consumer;
pub use store::folder::Folder;
pub use store::tip::ChainTip;
pub use store::tree::LogTree;
pub use store::{BatchBuilder, EventStore};
pub use stores::{Stores, StoresError};
pub use subscription::spawned::{Spawned, SpawnedStatus};
#[cfg(feature = "async")]
pub use subscription::stream::SubscriptionStream;
pub use subscription::{Canceller, Delivery, Subscription};
pub use workers::Workers;

/// The example of the README is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
