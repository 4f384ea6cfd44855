//! Redaction: data and metadata of chosen events are taken out of the log's files, and their digest stays.
//!
//! ```text
//!  roll, if one of them is in the newest segment; then for each segment, and in it for so many as one event can tell of:
//!
//!  <segment>.redacted written, synced, read through ─► the event in $redactions, durable ─► renamed over the segment
//!  nothing has happened yet                            from here on it is done, come       ─► the view shows the new file
//!                                                      what may: opening finishes it
//! ```
//!
//! What is always true:
//!
//! - No event is redacted of which the log does not say so, durably, with the digest of what is gone.
//! - A segment's new file was on the disk, whole, before the event that speaks of it was written. So what is left to do
//!   after a crash takes no space.
//! - Length, offsets and checksums stay (FORMAT.md, section 25), so indexes, chains and copies of the names do too.
//! - Who reads from the old file goes on reading it. It is gone when the last of them lets go.
//! - One at a time, and not while segments are removed; appends wait for nothing but the roll.

pub(crate) mod announced;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use annals_codec::{
    ContentType, Position, Redaction, RedactionMark, SEGMENT_HEADER_LEN, SegmentHeader, SegmentNumber, StreamId,
};

pub use self::announced::{RedactedEvent, Redactions};

use self::announced::{announced, announced_at};
use self::rewrite::Rewritten;
use crate::append::ExpectedVersion;
use crate::append::request::Request;
use crate::background::Beside;
use crate::copy::CopyError;
use crate::error::{AppendError, Damage, ReadError};
use crate::event::NewEvent;
use crate::log::active::{LogError, is_full};
use crate::log::names;
use crate::log::segment::Segment;
use crate::options::{Durability, Options};
use crate::planted::{self, Bug};
use crate::read::point::event_at;
use crate::repair::fillers::is_filler;
use crate::storage::{Access, Storage};
use crate::view::View;

/// The most events that one event tells of.
const MOST_AT_ONCE: u64 = 50_000;

/// What a redaction has done, or would.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RedactionReport {
    /// How many events lost their data and metadata.
    pub redacted: u64,
    /// How many of those that were named had lost it before.
    pub already: u64,
    /// How many segments were written anew.
    pub segments: u64,
    /// The positions of the events in the stream `$redactions` that say so.
    pub announced: Vec<Position>,
}

/// Why nothing was redacted, or not everything.
///
/// What was redacted before the error stays so; to ask for the same again is always right.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedactError {
    /// The reason cannot be one. Nothing was redacted.
    #[error("a reason has 1 to {} bytes and is one line", Redaction::MAX_REASON_LEN)]
    Reason,
    /// There is no such event. Nothing was redacted.
    #[error("there is no event at position {position}: the log ends at {head}")]
    NoEvent {
        /// The position.
        position: Position,
        /// The last one.
        head: Position,
    },
    /// An event is of one of the store's own streams, which begin with `$`. Nothing was redacted.
    #[error("the event at position {position} is the store's own, and is not redacted")]
    OfTheStore {
        /// Its position.
        position: Position,
    },
    /// A segment is damaged: nothing in it was redacted, and nothing in those behind it. Repair or restore it first.
    #[error("{0}. No event of a damaged segment is redacted")]
    Damaged(Damage),
    /// What was to be redacted cannot be read, or is not in the log any more.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk has no space for a segment's new file: as much as the largest of the segments takes.
    #[error("the disk is full: a segment is written anew before the old one goes")]
    StorageFull,
    /// The event that says so could not be appended. After [`AppendError::CommitUnknown`] the next opening finds out
    /// whether it was, and does what it says.
    #[error("the redaction could not be recorded: {0}")]
    Append(#[from] AppendError),
    /// The operating system refused something. If the redaction was recorded before that, it is finished by the next
    /// call, or when the store is opened.
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
    /// The store takes no more changes, since now or earlier: reopen it, which finishes what was begun.
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

impl From<LogError> for RedactError {
    fn from(error: LogError) -> RedactError {
        match error {
            LogError::Full => RedactError::StorageFull,
            LogError::Poisoned(cause) => RedactError::Poisoned { cause },
        }
    }
}

impl From<CopyError> for RedactError {
    fn from(error: CopyError) -> RedactError {
        match error {
            CopyError::Damaged(damage) => RedactError::Damaged(damage),
            CopyError::Read(error) => RedactError::Read(error),
            CopyError::Io { action, path, source } => RedactError::Io { action, path, source },
            other => RedactError::Io { action: "read", path: String::new(), source: Arc::new(io::Error::other(other)) },
        }
    }
}

/// Says what was being done to which file.
trait Doing<T> {
    fn doing(self, action: &'static str, storage: &dyn Storage, path: &str) -> Result<T, RedactError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, storage: &dyn Storage, path: &str) -> Result<T, RedactError> {
        self.map_err(|error| {
            if is_full(&error) {
                return RedactError::StorageFull;
            }
            RedactError::Io { action, path: storage.describe(path), source: Arc::new(error) }
        })
    }
}

/// What is to be done, by segment.
pub(crate) struct Plan {
    pub(crate) already: u64,
    pub(crate) parts: BTreeMap<SegmentNumber, Vec<Position>>,
}

impl Plan {
    pub(crate) fn report(&self) -> RedactionReport {
        let redacted = self.parts.values().map(|positions| positions.len() as u64).sum();
        RedactionReport { redacted, already: self.already, segments: self.parts.len() as u64, announced: Vec::new() }
    }
}

impl Beside {
    /// What redacting these positions takes: each is that of an event that can be, or was before.
    pub(crate) fn plan_redaction(&self, positions: &[Position]) -> Result<Plan, RedactError> {
        let (head, view) = self.commit.published.pin();
        plan(&view, head, positions)
    }

    /// Redacts the events at these positions.
    pub(crate) fn redact(
        &self,
        positions: &[Position],
        reason: &str,
        options: &Options,
    ) -> Result<RedactionReport, RedactError> {
        if !Redaction::is_reason(reason) {
            return Err(RedactError::Reason);
        }
        let _one_at_a_time = self.retaining.lock();
        if let Some(cause) = self.commit.poison.cause() {
            return Err(RedactError::Poisoned { cause: Arc::clone(cause) });
        }
        self.finish_redactions()?;
        let plan = self.plan_redaction(positions)?;
        let mut report = RedactionReport { already: plan.already, ..RedactionReport::default() };
        let active = self.commit.published.view().segments.last().map(|segment| segment.log.number);
        if active.is_some_and(|active| plan.parts.contains_key(&active)) {
            self.commit.roll_now()?;
        }
        let room = options.max_event_bytes.min(options.max_batch_bytes).saturating_sub(4096);
        let at_once = (room / Redaction::MAX_LINE_LEN as u64).clamp(1, MOST_AT_ONCE);
        for (number, positions) in plan.parts {
            for some in positions.chunks(at_once as usize) {
                let announced = self.redact_in(number, some, reason, options)?;
                report.announced.push(announced);
                report.redacted += some.len() as u64;
            }
            report.segments += 1;
        }
        tracing::info!(events = report.redacted, segments = report.segments, "redacted");
        Ok(report)
    }

    /// Redacts events of one sealed segment; the position of the event that says so.
    fn redact_in(
        &self,
        number: SegmentNumber,
        positions: &[Position],
        reason: &str,
        options: &Options,
    ) -> Result<Position, RedactError> {
        let storage = &*self.storage;
        let log = self.shown(number).expect("segments are removed by who holds the same lock");
        let rewritten = match rewrite::rewrite(storage, &log, positions) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                // Best effort: what stays is removed at the next open.
                let _ = storage.remove(&names::redacted_segment(log.number, log.base));
                return Err(error);
            }
        };
        if planted::has(Bug::RedactedBeforeTold) {
            self.replace(&log, &rewritten)?;
        }
        let events = rewritten.digests.clone();
        let text = Redaction { reason: reason.to_owned(), events }.encode();
        let event =
            NewEvent::new(Redaction::EVENT_TYPE, text).content_type(ContentType::TEXT).tag(Redaction::tag(number));
        match self.tell(event, options) {
            Err(error) => {
                if !matches!(error, AppendError::CommitUnknown { .. }) {
                    let _ = storage.remove(&names::redacted_segment(log.number, log.base));
                }
                Err(RedactError::Append(error))
            }
            Ok(announced) => {
                if !planted::has(Bug::RedactedBeforeTold) {
                    self.replace(&log, &rewritten)?;
                }
                Ok(announced)
            }
        }
    }

    /// Appends an event to the stream that nobody else appends to.
    fn tell(&self, event: NewEvent, options: &Options) -> Result<Position, AppendError> {
        let stream = StreamId::stored(Redaction::STREAM);
        let mut request = Request::single(stream, ExpectedVersion::Any, event, Durability::Sync);
        request.check_own(options)?;
        self.queue.commit(request, &*self.commit).map(|done| done.last)
    }

    /// Puts the new file of a segment in the place of the old one, on disk and in the view.
    fn replace(&self, log: &Segment, rewritten: &Rewritten) -> Result<(), RedactError> {
        let storage = &*self.storage;
        let (from, to) = (names::redacted_segment(log.number, log.base), names::segment(log.number, log.base));
        storage.rename(&from, &to).doing("rename", storage, &from)?;
        // No second try: a later sync that goes well says nothing of this one.
        storage
            .sync_dir(names::SEGMENTS)
            .map_err(|error| RedactError::Poisoned { cause: self.commit.poison.set(error) })?;
        let shown = rewritten.open(storage, log).doing("open", storage, &to)?;
        self.commit.published.replace_log(&Arc::new(shown));
        Ok(())
    }

    fn shown(&self, number: SegmentNumber) -> Option<Arc<Segment>> {
        let view = self.commit.published.view();
        view.segments.iter().find(|segment| segment.log.number == number).map(|segment| Arc::clone(&segment.log))
    }

    /// Finishes what was begun before and recorded, and removes what was begun and not recorded.
    pub(crate) fn finish_redactions(&self) -> Result<(), RedactError> {
        let storage = &*self.storage;
        let listed = storage.list(names::SEGMENTS).doing("list", storage, names::SEGMENTS)?;
        for (number, base) in listed.iter().filter_map(|name| names::parse_redacted_segment(name)) {
            self.finish_redaction(number, base)?;
        }
        Ok(())
    }

    fn finish_redaction(&self, number: SegmentNumber, base: Position) -> Result<(), RedactError> {
        let storage = &*self.storage;
        let path = names::redacted_segment(number, base);
        if let Some(log) = self.shown(number).filter(|log| log.base == base && log.sealed) {
            let (head, view) = self.commit.published.pin();
            let told = announced(&view, head, &log)?;
            let done = rewrite::redacted_in(&log)?;
            let mut left = Vec::new();
            for position in told.keys().copied().filter(|position| !done.contains(position)) {
                // Where a repair found it lost, another event stands in its place.
                if event_at(&view, head, position)?.is_some_and(|event| !is_filler(&event.as_event())) {
                    left.push(position);
                }
            }
            if !left.is_empty() {
                let all: BTreeSet<Position> = done.iter().chain(&left).copied().collect();
                let is_wanted = RedactionMark::of(all) == mark_in(storage, &path);
                let rewritten = match rewrite::rewritten(storage, &log).ok().filter(|_| is_wanted) {
                    Some(rewritten) => rewritten,
                    None => rewrite::rewrite(storage, &log, &left)?,
                };
                tracing::info!(segment = %number, events = left.len(), "finished a redaction");
                return self.replace(&log, &rewritten);
            }
        }
        storage.remove(&path).doing("remove", storage, &path)
    }
}

/// Which events are redacted, as the header of this file says it.
pub(crate) fn mark_in(storage: &dyn Storage, path: &str) -> Option<RedactionMark> {
    let file = storage.open(path, Access::Read).ok()?;
    let mut head = [0; SEGMENT_HEADER_LEN];
    let read = file.read_at(0, &mut head).ok()?;
    SegmentHeader::decode(&head[..read]).ok()?.0.redacted
}

/// What redacting these positions takes.
pub(crate) fn plan(view: &Arc<View>, head: Position, positions: &[Position]) -> Result<Plan, RedactError> {
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    positions.dedup();
    let mut plan = Plan { already: 0, parts: BTreeMap::new() };
    for position in positions {
        let Some(event) = event_at(view, head, position)? else {
            return Err(RedactError::NoEvent { position, head });
        };
        let event = event.as_event();
        if event.stream.starts_with('$') {
            return Err(RedactError::OfTheStore { position });
        }
        if event.redacted || is_filler(&event) && announced_at(view, head, position)?.is_some() {
            plan.already += 1;
            continue;
        }
        let segment = view.segment_of(position).expect("the event was read from one");
        plan.parts.entry(view.segments[segment].log.number).or_default().push(position);
    }
    Ok(plan)
}
