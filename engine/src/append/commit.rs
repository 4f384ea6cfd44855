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

use std::ops::Range;
use std::sync::Arc;

use annals_codec::{BatchHasher, Digest, FRAME_ALIGN, IdMaker, Position, StreamId, StreamVersion};

use super::group::Encoded;
use super::labels::Labels;
use super::past::{Answer, Past};
use super::queue::{Committer, Few, Reply};
use super::request::Request;
use super::{Appended, Outcome};
use crate::bell::Bell;
use crate::clock::Clock;
use crate::crew::Caller;
use crate::error::AppendError;
use crate::index::IndexedSegment;
use crate::index::files::IndexFiles;
use crate::index::heads::Heads;
use crate::index::indexer;
use crate::index::memory::{MemoryIndex, Run};
use crate::index::recent::Place;
use crate::log::active::{ActiveLog, Group, LogError, room_for};
use crate::log::segment::Segment;
use crate::metrics::meter::{Laps, Meter};
use crate::options::{Durability, Roll};
use crate::planted::{self, Bug};
use crate::poison::Poison;
use crate::storage::{File, LockGuard};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::view::Published;

/// The writer: everything that changes when something is appended.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) log: ActiveLog,
    pub(crate) heads: Heads,
    index: Arc<MemoryIndex>,
    recorded_at: i64,
    ids: IdMaker,
    /// Where the heads stand of the streams of the request that was checked last.
    places: Vec<Place>,
    encoded: Encoded,
    hasher: BatchHasher,
    labels: Labels,
}

/// Everything the leader of a group needs, behind the writer's lock.
pub(crate) struct CommitState {
    pub(crate) writer: Mutex<Writer>,
    pub(crate) published: Arc<Published>,
    pub(crate) poison: Arc<Poison>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What zeroing keeps ahead of the writer, in bytes.
    pub(crate) zero_ahead: u64,
    /// When a segment ends, besides when it is full.
    pub(crate) roll: Roll,
    pub(crate) bell: Arc<Bell>,
    /// Whether the store was opened to have no thread that the bell wakes.
    pub(crate) is_alone: bool,
    pub(crate) files: Arc<IndexFiles>,
    pub(crate) meter: Meter,
    /// Calls for who makes the indexes of sealed segments; without it the writer does.
    pub(crate) sealed: Option<Caller>,
    /// How many times something was appended to a stream of the store's own, or may have been.
    pub(crate) own_appends: AtomicU64,
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
        Writer {
            hasher: BatchHasher::new(log.log_id()),
            log,
            heads,
            index,
            recorded_at,
            ids: IdMaker::new(salt),
            places: Vec::new(),
            encoded: Encoded::default(),
            labels: Labels::default(),
        }
    }
}

impl Committer for CommitState {
    fn commit(&self, requests: &[Request], replies: &mut Few<Reply>) {
        let mut writer = self.writer.lock();
        let queued = || requests.iter().map(|request| request.queued_at);
        let mut laps = self.meter.group(queued());
        while replies.len() < requests.len() {
            if !replies.is_empty() {
                // What has made the others visible is no stage.
                laps.begin();
            }
            let rest = &requests[replies.len()..];
            if let Err(error) = self.commit_some(&mut writer, rest, replies, &mut laps) {
                // Nothing of the first of them was written, and the others would fare no better.
                replies.extend(rest.iter().map(|_| Err(error.clone())));
            }
        }
        drop(writer);
        laps.end(queued());
        let is_duplicate = |done: &Appended| done.outcome == Outcome::Duplicate;
        self.meter.answered(replies.iter().map(|reply| reply.as_ref().map(is_duplicate)));
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

/// When a group is recorded, where that matters before it is encoded.
#[derive(Clone, Copy)]
struct Day {
    /// One time for the whole group: it must not pass midnight in the middle.
    now: Option<i64>,
    /// Whether that is another day than the one of the active segment.
    begins: bool,
}

/// The number of the day, in UTC, since 1970.
fn day_of(time: i64) -> i64 {
    time.div_euclid(86_400_000_000_000)
}

/// What was decided about one request before the group was written.
enum Decided {
    /// It is part of what is written.
    Encoded(Appended),
    /// Nothing of it is written.
    Answered {
        answer: Answer,
        /// Whether the answer speaks of events that have to be durable when it is given.
        must_sync: bool,
    },
}

impl CommitState {
    /// Something was appended to a stream of the store's own, or may have been: who knows the stream looks again.
    pub(crate) fn note_own_append(&self) {
        self.own_appends.fetch_add(1, Ordering::Release);
    }

    /// Commits as many of `requests` as fit into one segment, at least one of them.
    fn commit_some(
        &self,
        writer: &mut Writer,
        requests: &[Request],
        replies: &mut Few<Reply>,
        laps: &mut Laps<'_>,
    ) -> Result<(), AppendError> {
        if let Some(cause) = self.poison.cause().filter(|_| !planted::has(Bug::PoisonForgotten)) {
            return Err(AppendError::Poisoned { cause: Arc::clone(cause) });
        }
        let request = &requests[0];
        writer.start_group();
        let day = self.day(writer);
        if day.begins || !writer.log.is_ready(request.bytes, request.events.len() as u64) {
            // A request that is refused, or was made before, changes nothing on disk, not even this.
            if let Err(answer) = writer.check(request, &self.published) {
                laps.checked();
                let decided = self.answered(answer, request);
                self.write(writer, requests, Few::from_buf([decided]), replies, laps);
                return Ok(());
            }
            writer.log.begin_epoch().map_err(not_written)?;
            self.make_room(writer, request, day.begins)?;
            writer.start_group();
            laps.begin();
        }
        let mut decided = Few::with_capacity(requests.len());
        for request in requests {
            let bytes = writer.encoded.bytes.len() as u64 + request.bytes;
            let events = (writer.encoded.offsets.len() + request.events.len()) as u64;
            if !decided.is_empty() && !writer.log.fits(bytes, events) {
                break;
            }
            let checked = writer.check(request, &self.published);
            laps.checked();
            decided.push(match checked {
                Ok(()) => {
                    let appended = writer.encode(request, day.now, &*self.clock);
                    laps.encoded();
                    Decided::Encoded(appended)
                }
                Err(answer) => self.answered(answer, request),
            });
        }
        self.write(writer, requests, decided, replies, laps);
        Ok(())
    }

    /// The time for a group that is written now, where segments end with their day, and whether it is of another day
    /// than the segment's.
    #[inline]
    fn day(&self, writer: &Writer) -> Day {
        match self.roll {
            Roll::WhenFull => Day { now: None, begins: false },
            Roll::Daily => {
                let now = writer.recorded_at.max(self.clock.now());
                let begins = writer.log.recorded_at().is_some_and(|(first, _)| day_of(first) != day_of(now));
                Day { now: Some(now), begins }
            }
        }
    }

    fn answered(&self, answer: Answer, request: &Request) -> Decided {
        // Of a batch without events, no position tells.
        let is_durable = |done: &Appended| done.first <= done.last && done.last <= self.published.durable();
        let must_sync =
            request.durability == Durability::Sync && answer.reply.as_ref().is_ok_and(|done| !is_durable(done));
        Decided::Answered { answer, must_sync }
    }

    /// Writes what was decided, as durable as it has to be, and replies to everybody.
    fn write(
        &self,
        writer: &mut Writer,
        requests: &[Request],
        decided: Few<Decided>,
        replies: &mut Few<Reply>,
        laps: &mut Laps<'_>,
    ) {
        laps.decided(writer.encoded.batches > 0);
        let failure = if writer.encoded.batches == 0 {
            writer.heads.keep();
            None
        } else {
            let sync = requests.iter().zip(&decided).any(|(request, decided)| match decided {
                Decided::Encoded(_) => request.durability == Durability::Sync,
                Decided::Answered { must_sync, .. } => *must_sync,
            });
            self.append(writer, sync, laps).err().map(in_doubt)
        };
        // What was in the log before is not durable with the group where there is none, or none was written.
        let rests_on_log = |decided: &Decided| {
            matches!(decided, Decided::Answered { answer: Answer { with_group: false, .. }, must_sync: true })
        };
        let unsynced = if decided.iter().any(rests_on_log) { self.sync(writer).err() } else { None };
        for decided in decided {
            replies.push(reply(decided, failure.as_ref(), unsynced.as_ref()));
        }
    }

    /// Writes the group at hand, and publishes it.
    fn append(&self, writer: &mut Writer, sync: bool, laps: &mut Laps<'_>) -> Result<(), LogError> {
        let group = Group {
            bytes: &writer.encoded.bytes,
            last: writer.encoded.last,
            batches: writer.encoded.batches,
            chain: writer.encoded.chain,
            hash: writer.encoded.hash,
            recorded_at: writer.encoded.recorded_at,
        };
        let start = writer.log.written();
        match writer.log.append(&group, sync, laps) {
            Ok(()) => {
                writer.heads.keep();
                self.publish(writer, start, sync);
                Ok(())
            }
            Err(error) => {
                if planted::has(Bug::PublishedBeforeSync) && !matches!(error, LogError::Full) {
                    self.publish(writer, start, false);
                }
                if planted::has(Bug::FailedGroupKept) {
                    writer.heads.keep();
                }
                writer.heads.undo();
                Err(error)
            }
        }
    }

    /// Makes the group at hand visible, and tells others how far the log is durable.
    fn publish(&self, writer: &mut Writer, start: u64, synced: bool) {
        let Writer { log, index, encoded, .. } = writer;
        let segment = log.segment();
        let first = encoded.base.get() + 1;
        for (position, offset) in (first..).zip(&encoded.offsets) {
            segment.place_event(Position::new(position), u64::from(*offset) * FRAME_ALIGN);
        }
        let mut adding = index.add();
        adding.runs(&encoded.runs, &encoded.offsets);
        for (source, upstream) in encoded.tracking.drain(..) {
            adding.tracking(source, upstream);
        }
        if !planted::has(Bug::KeysNotIndexed) {
            encoded.marks.add_to(&mut adding);
        }
        drop(adding);
        log.publish();
        self.published.advance(log.position());
        if synced {
            self.published.advance_durable(log.position());
            log.advance_watermark();
            self.look_ahead(log, start);
        } else {
            if log.durable() == start {
                self.bell.dirty();
            }
            if log.wants_writeback() {
                self.have_written_back(log);
            }
        }
        self.published.set_facts(log.epoch(), log.watermark_errors());
    }

    /// Has the kernel asked to begin writing what is not synced.
    #[cold]
    fn have_written_back(&self, log: &mut ActiveLog) {
        if self.is_alone {
            write_back(log.take_writeback());
        } else {
            self.bell.write_back();
        }
    }

    /// Asks the kernel to begin writing what is not synced, beside the writer.
    pub(crate) fn start_writeback(&self) {
        let range = self.writer.lock().log.take_writeback();
        write_back(range);
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
    #[cold]
    fn make_room(&self, writer: &mut Writer, request: &Request, is_new_day: bool) -> Result<(), AppendError> {
        let events = request.events.len() as u64;
        let is_as_wanted = writer.log.hashes_as_wanted();
        if is_as_wanted && !is_new_day && writer.log.fits(request.bytes, events) {
            return Ok(());
        }
        let room = room_for(request.bytes, events);
        // An empty segment has no day, so it did not fit.
        if is_as_wanted && writer.log.is_empty() && !writer.log.is_sealed() {
            let segment = writer.log.enlarge(room).map_err(not_written)?;
            self.show_instead(writer, &segment);
            return Ok(());
        }
        self.roll(writer, room).map_err(not_written)
    }

    /// Seals the active segment and begins the next one.
    #[cold]
    fn roll(&self, writer: &mut Writer, room: u64) -> Result<(), LogError> {
        if !writer.log.is_sealed() {
            let sealed = writer.log.seal()?;
            writer.index.shrink();
            self.show_instead(writer, &sealed);
            self.published.advance_durable(writer.log.position());
        }
        let segment = writer.log.begin_successor(room)?;
        writer.index = Arc::new(MemoryIndex::default());
        writer.heads.forget_numbers();
        let added = IndexedSegment::in_memory(segment, Arc::clone(&writer.index));
        self.published.replace(|view| {
            let mut segments = view.segments.clone();
            segments.push(added);
            view.with(segments, Vec::new())
        });
        writer.log.advance_watermark();
        self.bell.look_ahead();
        self.index_sealed();
        Ok(())
    }

    /// Seals the active segment, unless there is nothing in it: everything that is published is in sealed ones then.
    pub(crate) fn roll_now(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        if let Some(cause) = self.poison.cause() {
            return Err(LogError::Poisoned(Arc::clone(cause)));
        }
        if writer.log.is_empty() && !writer.log.is_sealed() {
            return Ok(());
        }
        writer.log.begin_epoch()?;
        self.roll(&mut writer, room_for(0, 0))
    }

    /// Has the indexes made of the segments that were sealed.
    fn index_sealed(&self) {
        match &self.sealed {
            // When it was told before and has not heard it yet, it finds these too.
            Some(sealed) => sealed.call(),
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
            view.with(segments, Vec::new())
        });
    }

    /// Makes everything acknowledged durable.
    pub(crate) fn flush(&self) -> Result<Position, AppendError> {
        let mut writer = self.writer.lock();
        if let Some(cause) = self.poison.cause() {
            return Err(AppendError::Poisoned { cause: Arc::clone(cause) });
        }
        self.sync(&mut writer)?;
        Ok(writer.log.position())
    }

    /// Makes everything acknowledged durable; the position of its end, and the hash chain there.
    pub(crate) fn durable_tip(&self) -> Result<(Position, Option<Digest>), AppendError> {
        let mut writer = self.writer.lock();
        if let Some(cause) = self.poison.cause() {
            return Err(AppendError::Poisoned { cause: Arc::clone(cause) });
        }
        self.sync(&mut writer)?;
        Ok((writer.log.position(), writer.log.hash()))
    }

    /// Makes everything written durable.
    fn sync(&self, writer: &mut Writer) -> Result<(), AppendError> {
        if writer.log.is_dirty() && !planted::has(Bug::FlushWithoutSync) {
            writer.log.sync().map_err(in_doubt)?;
        }
        // Also where a rewind has synced what was written before it.
        self.published.advance_durable(writer.log.position());
        writer.log.announce();
        self.published.set_facts(writer.log.epoch(), writer.log.watermark_errors());
        Ok(())
    }
}

/// Not with the writer's lock held, unless nobody else could do it: it may take long.
fn write_back((file, range): (Arc<dyn File>, Range<u64>)) {
    if !range.is_empty() {
        file.start_writeback(range.start, range.end - range.start);
    }
}

/// What the caller is told, when writing the group, or syncing what was there before, may have failed.
fn reply(decided: Decided, failure: Option<&AppendError>, unsynced: Option<&AppendError>) -> Reply {
    let (reply, failure) = match decided {
        Decided::Encoded(appended) => (Ok(appended), failure),
        Decided::Answered { answer, .. } if answer.with_group => (answer.reply, failure),
        Decided::Answered { answer, must_sync } => (answer.reply, unsynced.filter(|_| must_sync)),
    };
    failure.map_or(reply, |failure| Err(failure.clone()))
}

impl Writer {
    /// Begins a group behind all that is in the log.
    fn start_group(&mut self) {
        self.encoded.start(&self.log);
        self.labels.clear();
    }

    /// Checks one request against the state so far; the answer, if there is nothing to write.
    fn check(&mut self, request: &Request, published: &Published) -> Result<(), Answer> {
        if request.may_be_retry() {
            Past::new(&self.encoded, &mut self.labels, published).check(request)?;
        }
        if let Err(error) = self.check_expected(request) {
            return Err(Answer { reply: Err(error), with_group: self.depends_on_group(request) });
        }
        if !request.conditions.is_empty() {
            let mut past = Past::new(&self.encoded, &mut self.labels, published);
            request.conditions.iter().try_for_each(|condition| condition.check_against(&mut past))?;
        }
        match &request.refused {
            None => Ok(()),
            Some(cause) => {
                let refused = AppendError::Refused { cause: Arc::clone(cause) };
                Err(Answer { reply: Err(refused), with_group: false })
            }
        }
    }

    fn check_expected(&mut self, request: &Request) -> Result<(), AppendError> {
        let unreadable = |cause| AppendError::Unreadable { cause };
        if let Some((source, given)) = &request.tracking
            && let Some(recorded) =
                self.heads.tracking(source).map_err(unreadable)?.filter(|recorded| given <= recorded)
        {
            return Err(AppendError::TrackingConflict { source_name: source.to_string(), given: *given, recorded });
        }
        self.places.clear();
        for (stream, expected) in &request.streams {
            // Also where anything is expected: who writes it has to know where it ends.
            let place = self.heads.find(stream).map_err(unreadable)?;
            let actual = self.heads.head(place).version;
            if !expected.is_met_by(actual) {
                return Err(AppendError::ConcurrencyConflict {
                    stream: stream.clone(),
                    expected: *expected,
                    actual,
                    last_position: self.heads.last(stream, place).map_err(unreadable)?,
                });
            }
            self.places.push(place);
        }
        Ok(())
    }

    /// Whether an earlier request of the group has moved anything that this one was checked against.
    fn depends_on_group(&self, request: &Request) -> bool {
        let on_source = request.tracking.as_ref().is_some_and(|(source, _)| self.heads.has_moved_source(source));
        on_source || request.streams.iter().any(|(stream, _)| self.heads.has_moved(stream))
    }

    /// Encodes the request that was just [checked](Writer::check) straight into the group's buffer.
    fn encode(&mut self, request: &Request, now: Option<i64>, clock: &dyn Clock) -> Appended {
        let Writer { log, heads, index, encoded, ids, places, hasher, .. } = self;
        if !request.events.is_empty() {
            self.recorded_at = self.recorded_at.max(now.unwrap_or_else(|| clock.now()));
        }
        let recorded_at = self.recorded_at;
        let millis = IdMaker::millis_of(recorded_at);
        let first = encoded.last.plus(1);
        let batch_start = encoded.bytes.len();
        let mut version = StreamVersion::EMPTY;
        // Run by run, so that a stream is looked up once for all its events that stand together.
        for run in request.events.chunk_by(|(one, _), (next, _)| one == next) {
            let at = run[0].0 as usize;
            let (stream, place): (&StreamId, _) = (&request.streams[at].0, places[at]);
            let before = heads.advance(place, run.len() as u64, encoded.last.plus(run.len() as u64));
            let start = encoded.offsets.len();
            let offsets = start..start + run.len();
            let number = heads.number(place, || index.number(stream, || stream.clone()));
            encoded.runs.push(Run { stream: number, first: before.plus(1), offsets });
            version = before;
            for (_, new) in run {
                encoded.last = encoded.last.plus(1);
                version = version.plus(1);
                let mut event = new.in_stream(stream);
                event.position = encoded.last;
                event.version = version;
                event.recorded_at = recorded_at;
                event.id = new.id.unwrap_or_else(|| {
                    let id = ids.make(event.position, millis);
                    encoded.marks.made(event.position, recorded_at, id);
                    id
                });
                encoded.offsets.push((encoded.end() / FRAME_ALIGN) as u32);
                let crc = event.encode(&mut encoded.bytes, log.seed(), log.epoch());
                encoded.checksums.push(crc);
            }
        }
        if request.may_be_retry() {
            encoded.mark(request);
        }
        let mut marker = request.marker(encoded.last);
        marker.epoch = log.epoch();
        marker.durable_offset = if planted::has(Bug::MarkerAheadOfDisk) { log.written() } else { log.durable() };
        marker.batch_bytes = (encoded.bytes.len() - batch_start) as u32;
        if encoded.hash.is_some() {
            encoded.hash_batch(&mut marker, &request.payloads, hasher);
        }
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
