//! One commit group: check, encode, write once, sync once, publish.
//!
//! What is always true:
//!
//! - Every request of a group is checked against the state that the earlier
//!   requests of the group leave, and none against anything later.
//! - Nothing is visible to readers before it is as durable as it asked to be.
//! - Answers share fate: an answer that depends on an earlier request of the
//!   group (a success, or a conflict with one) is given after the group's sync,
//!   and is the group's failure when that fails.

use std::sync::Arc;

use annals_codec::{Chain, EventId, FRAME_ALIGN, Position, StreamVersion};
use parking_lot::Mutex;

use super::queue::{Committer, Few, Reply};
use super::request::Request;
use super::{Appended, Outcome};
use crate::bell::Bell;
use crate::clock::Clock;
use crate::error::AppendError;
use crate::index::IndexedSegment;
use crate::index::files::IndexFiles;
use crate::index::heads::Heads;
use crate::index::indexer::{self, Sealed};
use crate::index::memory::{MemoryIndex, Run};
use crate::log::active::{ActiveLog, Group, LogError, room_for};
use crate::log::segment::Segment;
use crate::options::Durability;
use crate::poison::Poison;
use crate::storage::LockGuard;
use crate::view::{Published, View};

/// What stays allocated for the next group, in bytes.
const KEPT_BUFFER: usize = 1 << 20;

/// The same, in events.
const KEPT_EVENTS: usize = 4096;

/// The writer: everything that changes when something is appended.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) log: ActiveLog,
    pub(crate) heads: Heads,
    index: Arc<MemoryIndex>,
    recorded_at: i64,
    ids: EventIds,
    encoded: Encoded,
}

/// The group at hand, encoded.
#[derive(Debug, Default)]
struct Encoded {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// Offset/8 of each event, in the order of positions.
    offsets: Vec<u32>,
    tracking: Vec<(annals_codec::SourceName, u64)>,
    batches: u64,
    last: Position,
    chain: u32,
    recorded_at: Option<(i64, i64)>,
    checksums: Chain,
}

impl Encoded {
    fn start(&mut self, log: &ActiveLog) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BUFFER);
        self.runs.clear();
        self.runs.shrink_to(KEPT_EVENTS);
        self.offsets.clear();
        self.offsets.shrink_to(KEPT_EVENTS);
        self.tracking.clear();
        self.batches = 0;
        self.last = log.position();
        self.chain = log.chain();
        self.recorded_at = None;
        self.checksums.clear();
    }
}

/// Makes ids that are new by construction: no look-up is needed.
///
/// UUIDs of version 7. Their last 62 bits are a permutation of the event's position, moved by a random number that is drawn when the store is opened.
/// So two events of one log never share an id, and those of different logs only
/// by an accident of 2⁻⁶² within one millisecond.
#[derive(Debug)]
struct EventIds {
    salt: u64,
}

impl EventIds {
    /// Odd, so that multiplying by it is a permutation; its bits are those of the golden ratio.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

    fn make(&self, position: Position, recorded_at: i64) -> EventId {
        let spread = position.get().wrapping_mul(EventIds::SPREAD).wrapping_add(self.salt);
        let millis = u64::try_from(recorded_at / 1_000_000).unwrap_or(0);
        EventId::version_7(millis, (self.salt >> 52) as u16, spread)
    }
}

/// Everything the leader of a group needs, behind the writer's lock.
pub(crate) struct CommitState {
    pub(crate) writer: Mutex<Writer>,
    pub(crate) published: Arc<Published>,
    pub(crate) poison: Arc<Poison>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What zeroing keeps ahead of the writer, in bytes.
    pub(crate) zero_ahead: u64,
    pub(crate) bell: Arc<Bell>,
    pub(crate) files: Arc<IndexFiles>,
    /// Wakes who makes the indexes of sealed segments; without it the writer does.
    pub(crate) sealed: Option<Sealed>,
    /// The store's lock. Let go when the store is closed, and not only when this is
    /// dropped: a ticket that nobody waits for may keep this alive for long.
    pub(crate) lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl std::fmt::Debug for CommitState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CommitState").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(log: ActiveLog, heads: Heads, index: Arc<MemoryIndex>, recorded_at: i64, salt: u64) -> Writer {
        Writer { log, heads, index, recorded_at, ids: EventIds { salt }, encoded: Encoded::default() }
    }
}

impl Committer for CommitState {
    fn commit(&self, requests: &[Request]) -> Few<Reply> {
        let mut writer = self.writer.lock();
        let mut replies = Few::with_capacity(requests.len());
        while replies.len() < requests.len() {
            let rest = &requests[replies.len()..];
            match self.commit_some(&mut writer, rest) {
                Ok(some) => replies.extend(some),
                // Nothing of the first of them was written, and the others would fare no better.
                Err(error) => replies.extend(rest.iter().map(|_| Err(error.clone()))),
            }
        }
        replies
    }

    fn abort(&self) -> AppendError {
        let cause = self.poison.set(std::io::Error::other("a panic in the middle of a commit"));
        AppendError::CommitUnknown { cause }
    }
}

/// An error met before anything of the batch was written.
fn not_written(error: LogError) -> AppendError {
    match error {
        LogError::Full => AppendError::StorageFull,
        LogError::Poisoned(cause) => AppendError::Poisoned { cause },
    }
}

/// An error met while the batch was written or synced.
fn in_doubt(error: LogError) -> AppendError {
    match error {
        LogError::Full => AppendError::StorageFull,
        LogError::Poisoned(cause) => AppendError::CommitUnknown { cause },
    }
}

/// What was decided about one request before the group was written.
enum Decided {
    Encoded {
        appended: Appended,
    },
    /// It fails, whatever becomes of the group.
    Fails(AppendError),
    /// It fails because of an earlier request of the group.
    FailsWithGroup(AppendError),
}

impl CommitState {
    /// Commits as many of `requests` as fit into one segment, at least one of them.
    fn commit_some(&self, writer: &mut Writer, requests: &[Request]) -> Result<Few<Reply>, AppendError> {
        if let Some(cause) = self.poison.cause() {
            return Err(AppendError::Poisoned { cause: Arc::clone(cause) });
        }
        let request = &requests[0];
        if !writer.log.is_ready(request.bytes, request.events.len() as u64) {
            // A request that is refused changes nothing on disk, not even this.
            if let Err(error) = writer.check(request) {
                return Ok(Few::from_buf([Err(error)]));
            }
            writer.log.begin_epoch().map_err(not_written)?;
            self.make_room(writer, request)?;
        }
        writer.encoded.start(&writer.log);
        let mut decided = Few::with_capacity(requests.len());
        for request in requests {
            let bytes = writer.encoded.bytes.len() as u64 + request.bytes;
            let events = (writer.encoded.offsets.len() + request.events.len()) as u64;
            if !decided.is_empty() && !writer.log.fits(bytes, events) {
                break;
            }
            decided.push(writer.decide(request, &*self.clock));
        }
        if writer.encoded.batches == 0 {
            return Ok(decided.into_iter().map(|decided| reply(decided, None)).collect());
        }
        let sync = requests.iter().zip(&decided).any(|(request, decided)| {
            matches!(decided, Decided::Encoded { .. }) && request.durability == Durability::Sync
        });
        let group = Group {
            bytes: &writer.encoded.bytes,
            last: writer.encoded.last,
            batches: writer.encoded.batches,
            chain: writer.encoded.chain,
            recorded_at: writer.encoded.recorded_at,
        };
        let start = writer.log.written();
        let failure = match writer.log.append(&group, sync) {
            Ok(()) => {
                writer.heads.keep();
                self.publish(writer, start, sync);
                None
            }
            Err(error) => {
                writer.heads.undo();
                Some(in_doubt(error))
            }
        };
        Ok(decided.into_iter().map(|decided| reply(decided, failure.as_ref())).collect())
    }

    /// Makes the group at hand visible, and tells others how far the log is durable.
    fn publish(&self, writer: &mut Writer, start: u64, synced: bool) {
        let Writer { log, index, encoded, .. } = writer;
        let segment = log.segment();
        let first = encoded.last.get() + 1 - encoded.offsets.len() as u64;
        for (position, offset) in (first..).zip(&encoded.offsets) {
            segment.place_event(Position::new(position), u64::from(*offset) * FRAME_ALIGN);
        }
        index.add(encoded.runs.drain(..), &encoded.offsets, encoded.tracking.drain(..));
        log.publish();
        self.published.advance(log.position());
        if synced {
            self.published.advance_durable(log.position());
            log.advance_watermark();
            self.look_ahead(log, start);
        } else if log.durable() == start {
            self.bell.dirty();
        }
        self.published.set_facts(log.epoch(), log.watermark_errors());
    }

    /// Has space zeroed ahead of the writer, but never more than the log has taken in.
    fn look_ahead(&self, log: &ActiveLog, start: u64) {
        let ahead = self.zero_ahead.min(log.written());
        let wanted = ahead > 0 && log.frontier().want(log.written() + ahead, ahead / 2);
        let half_full_now = log.is_half_full() && !log.was_half_full(start);
        if wanted || half_full_now {
            self.bell.look_ahead();
        }
    }

    /// Makes sure that at least `request` fits into the active segment: rolls to
    /// the next one, and makes one of its own for a batch that is larger than a segment.
    fn make_room(&self, writer: &mut Writer, request: &Request) -> Result<(), AppendError> {
        let events = request.events.len() as u64;
        if writer.log.fits(request.bytes, events) {
            return Ok(());
        }
        let room = room_for(request.bytes, events);
        if writer.log.is_empty() && !writer.log.is_sealed() {
            let segment = writer.log.enlarge(room).map_err(not_written)?;
            self.show_instead(writer, &segment);
            return Ok(());
        }
        self.roll(writer, room).map_err(not_written)
    }

    /// Seals the active segment and begins the next one.
    fn roll(&self, writer: &mut Writer, room: u64) -> Result<(), LogError> {
        if !writer.log.is_sealed() {
            let sealed = writer.log.seal()?;
            writer.index.shrink();
            self.show_instead(writer, &sealed);
            self.published.advance_durable(writer.log.position());
        }
        let segment = writer.log.begin_successor(room)?;
        writer.index = Arc::new(MemoryIndex::default());
        let added = IndexedSegment::in_memory(segment, Arc::clone(&writer.index));
        self.published.replace(|view| {
            let mut segments = view.segments.clone();
            segments.push(added);
            View { segments, gaps: Vec::new() }
        });
        writer.log.advance_watermark();
        self.bell.look_ahead();
        self.index_sealed();
        Ok(())
    }

    /// Has the indexes made of the segments that were sealed.
    fn index_sealed(&self) {
        match &self.sealed {
            // When it was told before and has not heard it yet, it finds these too.
            Some(sealed) => drop(sealed.try_send(())),
            None => {
                for segment in self.published.view().segments.iter().filter(|segment| segment.is_waiting()) {
                    indexer::settle(&self.files, &self.published, segment);
                }
            }
        }
    }

    /// Replaces the newest segment of the view by another picture of the same one.
    fn show_instead(&self, writer: &Writer, segment: &Arc<Segment>) {
        let shown = IndexedSegment::in_memory(Arc::clone(segment), Arc::clone(&writer.index));
        self.published.replace(|view| {
            let mut segments = view.segments.clone();
            segments.pop();
            segments.push(shown);
            View { segments, gaps: Vec::new() }
        });
    }

    /// Makes everything acknowledged durable.
    pub(crate) fn flush(&self) -> Result<Position, AppendError> {
        let mut writer = self.writer.lock();
        if let Some(cause) = self.poison.cause() {
            return Err(AppendError::Poisoned { cause: Arc::clone(cause) });
        }
        if writer.log.is_dirty() {
            writer.log.sync().map_err(in_doubt)?;
        }
        // Also where a rewind has synced what was written before it.
        self.published.advance_durable(writer.log.position());
        writer.log.announce();
        self.published.set_facts(writer.log.epoch(), writer.log.watermark_errors());
        Ok(writer.log.position())
    }
}

fn reply(decided: Decided, failure: Option<&AppendError>) -> Reply {
    match (decided, failure) {
        (Decided::Fails(error), _) | (Decided::FailsWithGroup(error), None) => Err(error),
        (Decided::Encoded { .. } | Decided::FailsWithGroup(_), Some(failure)) => Err(failure.clone()),
        (Decided::Encoded { appended }, None) => Ok(appended),
    }
}

impl Writer {
    /// Checks one request against the state so far, and encodes it if it stands.
    fn decide(&mut self, request: &Request, clock: &dyn Clock) -> Decided {
        if let Err(error) = self.check(request) {
            return if self.depends_on_group(request) { Decided::FailsWithGroup(error) } else { Decided::Fails(error) };
        }
        Decided::Encoded { appended: self.encode(request, clock) }
    }

    fn check(&mut self, request: &Request) -> Result<(), AppendError> {
        let unreadable = |cause| AppendError::Unreadable { cause };
        if let Some((source, given)) = &request.tracking
            && let Some(recorded) =
                self.heads.tracking(source).map_err(unreadable)?.filter(|recorded| given <= recorded)
        {
            return Err(AppendError::TrackingConflict { source_name: source.to_string(), given: *given, recorded });
        }
        for (stream, expected) in &request.streams {
            // Also where anything is expected: who writes it has to know where it ends.
            let head = self.heads.head(stream).map_err(unreadable)?;
            if !expected.is_met_by(head.version) {
                return Err(AppendError::ConcurrencyConflict {
                    stream: stream.clone(),
                    expected: *expected,
                    actual: head.version,
                    last_position: self.heads.last(stream, head).map_err(unreadable)?,
                });
            }
        }
        Ok(())
    }

    /// Whether an earlier request of the group has moved anything that this one was checked against.
    fn depends_on_group(&self, request: &Request) -> bool {
        let on_source = request.tracking.as_ref().is_some_and(|(source, _)| self.heads.has_moved_source(source));
        on_source || request.streams.iter().any(|(stream, _)| self.heads.has_moved(stream))
    }

    /// Encodes a request straight into the group's buffer.
    fn encode(&mut self, request: &Request, clock: &dyn Clock) -> Appended {
        let Writer { log, heads, encoded, ids, .. } = self;
        if !request.events.is_empty() {
            self.recorded_at = self.recorded_at.max(clock.now());
        }
        let recorded_at = self.recorded_at;
        let first = encoded.last.plus(1);
        let batch_start = encoded.bytes.len();
        let mut version = StreamVersion::EMPTY;
        // Run by run, so that a stream is looked up once for all its events that stand together.
        for run in request.events.chunk_by(|(one, _), (next, _)| one == next) {
            let stream = &request.streams[run[0].0 as usize].0;
            let before = heads.advance(stream, run.len() as u64, encoded.last.plus(run.len() as u64));
            let number = encoded.offsets.len();
            let offsets = number..number + run.len();
            encoded.runs.push(Run { stream: stream.clone(), first: before.plus(1), offsets });
            version = before;
            for (_, new) in run {
                encoded.last = encoded.last.plus(1);
                version = version.plus(1);
                let mut event = new.in_stream(stream);
                event.position = encoded.last;
                event.version = version;
                event.recorded_at = recorded_at;
                event.id = new.id.unwrap_or_else(|| ids.make(event.position, recorded_at));
                encoded.offsets.push(((log.written() + encoded.bytes.len() as u64) / FRAME_ALIGN) as u32);
                let crc = event.encode(&mut encoded.bytes, log.seed(), log.epoch());
                encoded.checksums.push(crc);
            }
        }
        let mut marker = request.marker(encoded.last);
        marker.epoch = log.epoch();
        marker.durable_offset = log.durable();
        marker.batch_bytes = (encoded.bytes.len() - batch_start) as u32;
        encoded.chain = marker.encode(&mut encoded.bytes, log.seed(), encoded.chain, &mut encoded.checksums);
        encoded.batches += 1;
        if !request.events.is_empty() {
            let (min, max) = encoded.recorded_at.unwrap_or((recorded_at, recorded_at));
            encoded.recorded_at = Some((min.min(recorded_at), max.max(recorded_at)));
        }
        if let Some((source, upstream)) = &request.tracking {
            heads.track(source, *upstream);
            encoded.tracking.push((source.clone(), *upstream));
        }
        Appended { outcome: Outcome::Appended, first, last: encoded.last, version, recorded_at }
    }
}
