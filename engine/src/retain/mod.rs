//! Retention: removing the oldest segments of a log, as wholes.
//!
//! ```text
//!  guard ─► floor written, synced, named ─► store.meta's floor ─► a view without them ─► unlinked, oldest first
//!           nothing has happened yet        from here on it is     readers of older        at the next open, if
//!                                           done, come what may    views go on             this did not come to it
//! ```
//!
//! What is always true:
//!
//! - What is known of removed events (where streams ended, how far sources were processed, the chain and the time) is
//!   on the disk before anything is removed.
//! - The newest segment stays, so nothing that is not durable goes.
//! - A file that somebody reads stays readable: it is unlinked, and its space is freed with the last reader.
//! - What the store's own streams say of all events is carried to the end of the log first ([`carried`]).
//! - One at a time; appends wait for nothing but the write of `store.meta`.

mod carried;
mod holders;
mod policy;

use std::fmt;
use std::io;
use std::sync::Arc;

use annals_codec::merkle::KeptTree;
use annals_codec::{Floor, Position, SegmentNumber};

pub use self::holders::{Holder, HolderKind};
pub use self::policy::Retention;

use self::holders::behind;
use crate::background::Beside;
use crate::error::ReadError;
use crate::index::floor::FloorIndex;
use crate::index::indexer;
use crate::index::merge::{MergeError, write_floor};
use crate::index::tree::TreeParts;
use crate::log::active::{LogError, is_full};
use crate::log::names;
use crate::log::small_files::create_with;
use crate::planted::{self, Bug};
use crate::storage::Storage;
use crate::view::View;

/// By which hash function the hash chain is made: SHA-256.
const SHA_256: u32 = 1;

/// Who may keep events from being removed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Guard {
    /// Consumers, and projections that keep snapshots: what one of them has not finished is not removed.
    #[default]
    Consumers,
    /// Nobody. Whoever has not finished what is removed is told when he goes on.
    Force,
}

/// What a truncation has removed, or would.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Truncation {
    /// How many segments.
    pub segments: u64,
    /// How many events are in them.
    pub events: u64,
    /// What they take, in bytes, without what is derived from them.
    pub bytes: u64,
    /// The position of the oldest event that is left.
    pub oldest: Position,
    /// Who has not finished what goes: with [`Guard::Consumers`] nobody, or nothing goes.
    pub behind: Vec<Holder>,
}

impl Truncation {
    fn of(view: &View, count: usize) -> Truncation {
        let (mut events, mut bytes) = (0, 0);
        for segment in &view.segments[..count] {
            events += segment.log.events();
            bytes += segment.log.committed();
        }
        let oldest = view.segments.get(count).map_or(Position::START, |segment| segment.log.base).plus(1);
        Truncation { segments: count as u64, events, bytes, oldest, behind: Vec::new() }
    }
}

/// Why nothing was removed, or not everything.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TruncateError {
    /// Somebody still needs what would go. Nothing was removed. Wait for him, remove him, or say
    /// [`Guard::Force`].
    #[error("{} behind position {oldest}: wait, or remove what is not needed, or force it", Names(holders))]
    Behind {
        /// The position of the oldest event that would be left.
        oldest: Position,
        /// Who.
        holders: Vec<Holder>,
    },
    /// There is no space for what is kept of removed events. Nothing was removed.
    #[error("the disk is full: nothing was removed")]
    StorageFull,
    /// What is kept of removed events cannot be made, because they cannot be read. Nothing was removed.
    #[error("nothing was removed, because what is kept of it cannot be read: {0}")]
    Read(#[from] ReadError),
    /// The operating system refused something.
    ///
    /// When a segment's file could not be removed, it does not belong to the log any more, and goes when the
    /// store is opened next. Otherwise nothing was removed.
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
    /// The store takes no more changes, since now or earlier: reopen it. Then the segments are there, or gone.
    #[error("a write or sync failed, so the store takes no more changes: reopen it")]
    Poisoned {
        /// The first failure.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The store was opened read-only.
    #[error("the store is open read-only")]
    ReadOnly,
}

/// Some of many names, for a message.
struct Names<'a>(&'a [Holder]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (number, holder) in self.0.iter().take(SHOWN).enumerate() {
            write!(out, "{}{holder}", if number == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 if self.0.len() == 1 => write!(out, " is"),
            0 => write!(out, " are"),
            more => write!(out, " and {more} more are"),
        }
    }
}

fn failed(storage: &dyn Storage, action: &'static str, path: &str) -> impl FnOnce(io::Error) -> TruncateError {
    let path = storage.describe(path);
    move |error| {
        if is_full(&error) {
            return TruncateError::StorageFull;
        }
        TruncateError::Io { action, path, source: Arc::new(error) }
    }
}

impl From<LogError> for TruncateError {
    fn from(error: LogError) -> TruncateError {
        match error {
            LogError::Full => TruncateError::StorageFull,
            LogError::Poisoned(cause) => TruncateError::Poisoned { cause },
        }
    }
}

/// How many segments hold nothing from `before` on. Never the newest, to which somebody appends.
fn droppable(view: &View, before: Position) -> usize {
    let followed = view.segments.windows(2);
    followed.take_while(|pair| pair[1].log.base < before).count()
}

/// What a truncation would remove, and who is behind it; with `settle`, by what is on the disk.
pub(crate) fn plan(
    storage: &dyn Storage,
    view: &View,
    before: Position,
    settle: bool,
) -> Result<Truncation, TruncateError> {
    let mut truncation = Truncation::of(view, droppable(view, before));
    if truncation.segments > 0 {
        let behind = behind(storage, truncation.oldest, settle);
        truncation.behind =
            behind.map_err(|(action, path, error)| TruncateError::Io { action, path, source: Arc::new(error) })?;
    }
    Ok(truncation)
}

impl Beside {
    /// Removes the segments that hold nothing from `before` on.
    pub(crate) fn truncate(&self, before: Position, guard: Guard) -> Result<Truncation, TruncateError> {
        let _one_at_a_time = self.retaining.lock();
        let (storage, commit) = (&*self.storage, &self.commit);
        if let Some(cause) = commit.poison.cause() {
            return Err(TruncateError::Poisoned { cause: Arc::clone(cause) });
        }
        let view = commit.published.view();
        let truncation = plan(storage, &view, before, guard == Guard::Consumers)?;
        let count = truncation.segments as usize;
        if count == 0 {
            return Ok(truncation);
        }
        if guard == Guard::Consumers && !truncation.behind.is_empty() {
            return Err(TruncateError::Behind { oldest: truncation.oldest, holders: truncation.behind });
        }
        let (head, view) = commit.published.pin();
        self.carry_on(&view, head, count)?;
        let view = commit.published.view();
        // Names are merged from index to index, so each segment needs a whole one.
        for segment in view.segments[..count].iter().filter(|segment| segment.is_waiting()) {
            indexer::settle(&commit.files, &commit.published, segment);
        }
        let view = commit.published.view();
        let first = &view.segments[count].log;
        let (number, base) = (first.number, first.base);
        if !planted::has(Bug::FloorAfterUnlink) && !planted::has(Bug::MetaBeforeFloor) {
            self.write_floor(&view, count)?;
        }
        commit.writer.lock().log.raise_floor(number, base)?;
        if planted::has(Bug::MetaBeforeFloor) {
            self.write_floor(&view, count)?;
        }
        let floor = Arc::new(FloorIndex::open(storage, number, base));
        commit.published.replace(|view| {
            let segments = view.segments[count..].to_vec();
            view.with(segments, view.gaps.clone()).on(Some(floor))
        });
        commit.writer.lock().log.tell_floor();
        self.unlink(&view, count, number)?;
        if planted::has(Bug::FloorAfterUnlink) {
            self.write_floor(&view, count)?;
        }
        let Truncation { segments, events, bytes, oldest, .. } = truncation;
        tracing::info!(segments, events, bytes, %oldest, "removed the oldest segments");
        Ok(truncation)
    }

    /// Writes what is kept of the first `count` segments, and of those that were removed before.
    fn write_floor(&self, view: &Arc<View>, count: usize) -> Result<(), TruncateError> {
        let (storage, first) = (&*self.storage, &view.segments[count]);
        let header = first.log.header().map_err(|error| first.unreadable(0, error))?;
        let header = header.ok_or_else(|| {
            let at = first.log.base.plus(1);
            ReadError::Corrupt(first.log.damage(0, at, at, "the header cannot be read".to_owned()))
        })?;
        let known = view.floor.as_ref().and_then(|floor| floor.anchor()).map_or(0, |floor| floor.recorded_at);
        let times = view.segments[..count].iter().filter_map(|segment| segment.log.recorded_at());
        let floor = Floor {
            log_id: header.log_id,
            segment: header.number,
            position: header.base,
            recorded_at: times.map(|(_, latest)| latest).fold(known, i64::max),
            written_at: self.commit.clock.now(),
            chain: header.chain,
            hash: header.chain_hash.map(|hash| (SHA_256, *hash.as_bytes())),
        };
        let trees = TreeParts::new(&self.commit.files, view).kept(count)?;
        let mut unreadable = None;
        let written = create_with(storage, names::FLOOR, |file| {
            write_floor(view, count, floor, &KeptTree::encode(&trees), file).map_err(|error| match error {
                MergeError::Io(error) => error,
                MergeError::Read(error) => {
                    unreadable = Some(error);
                    io::Error::other("what it is made of cannot be read")
                }
            })
        });
        if let Some(error) = unreadable {
            return Err(TruncateError::Read(error));
        }
        written.map_err(failed(storage, "write", names::FLOOR))?;
        // No second try: a later sync that goes well says nothing of this one.
        storage.sync_dir("").map_err(|error| TruncateError::Poisoned { cause: self.commit.poison.set(error) })
    }

    /// Removes the files of the first `count` segments, the oldest first, and what is derived from them.
    fn unlink(&self, view: &View, count: usize, first: SegmentNumber) -> Result<(), TruncateError> {
        let storage = &*self.storage;
        for segment in &view.segments[..count] {
            let path = names::segment(segment.log.number, segment.log.base);
            // Also for want of space: the log is without it already.
            storage.remove(&path).map_err(|error| TruncateError::Io {
                action: "remove",
                path: storage.describe(&path),
                source: Arc::new(error),
            })?;
        }
        storage
            .sync_dir(names::SEGMENTS)
            .map_err(|error| TruncateError::Poisoned { cause: self.commit.poison.set(error) })?;
        for name in self.commit.files.list() {
            if names::derived_from(&name).is_some_and(|number| number < first) {
                // Nobody asks it any more, and what stays goes at the next open.
                let _ = storage.remove(&format!("{}/{name}", names::INDEXES));
            }
        }
        Ok(())
    }

    /// Removes what the store was opened not to keep. Not, when writing what is kept of it would take more than it
    /// frees: then it waits for more.
    pub(crate) fn retain(&self) {
        let Some(retention) = &self.retention else { return };
        let (head, view) = self.commit.published.pin();
        let before = retention.begins(&view, head, self.commit.clock.now());
        let kept = view.floor.as_ref().and_then(|floor| floor.facts()).map_or(0, annals_codec::FloorHeader::file_len);
        let truncation = Truncation::of(&view, droppable(&view, before));
        if truncation.segments == 0 || truncation.bytes < kept {
            return;
        }
        drop(view);
        if let Err(error) = self.truncate(before, Guard::Consumers) {
            tracing::warn!(%error, "the oldest segments stay");
        }
    }
}
