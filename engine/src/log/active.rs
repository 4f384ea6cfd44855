//! The end of the log, where the writer appends, syncs and rolls.
//!
//! One [`ActiveLog`] exists per open store, behind the writer's lock. Think of
//! each line here as the place where the power goes out.
//!
//! What is always true:
//!
//! - `durable <= written <= allocated`, and `[written, allocated)` is zero: room
//!   to seal the segment is reserved before each append, so that a full disk can
//!   always be sealed.
//! - Every sync of a segment goes through [`ActiveLog::sync_file`], one door under
//!   one lock: the kernel reports a failed writeback once, to whoever asks first.
//! - A full disk met by a write is rewound (cut, synced) and the log stays
//!   usable. Any other error of a write, and every error of a sync, a cut or a
//!   directory's sync, poisons: nobody knows what is on the disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use annals_codec::scan::Totals;
use annals_codec::{
    Digest, Epoch, LogId, Position, SEGMENT_HEADER_LEN, Seed, SegmentHeader, SegmentNumber, StoreMeta, Watermark,
    chain_start, seal_room,
};

use crate::log::names;
use crate::log::segment::{Segment, SegmentPlace};
use crate::log::small_files::{MetaFile, UpdateError, WatermarkFile, write_all};
use crate::log::zero_ahead::Frontier;
use crate::metrics::measure::{Counter, Measure};
use crate::metrics::meter::{Laps, Meter};
use crate::planted::{self, Bug};
use crate::poison::Poison;
use crate::storage::{File, Storage};
use crate::sync::Mutex;

/// The least and the most that is reserved in one go, in bytes.
const RESERVE: std::ops::RangeInclusive<u64> = 64 << 10..=8 << 20;

/// How much is written without a sync before the kernel is asked to begin with
/// it, in bytes: so that the sync at the next roll does not find a whole segment to write.
const WRITEBACK: u64 = 1 << 20;

/// Why the log did not take something.
#[derive(Debug)]
pub(crate) enum LogError {
    /// There is no space. Nothing has changed, and later tries may succeed.
    Full,
    /// The store is poisoned, now or since earlier.
    Poisoned(Arc<io::Error>),
}

/// Whether an error says that there is no space, which is no fault of the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// A segment file that was made ahead of its need.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) number: SegmentNumber,
    pub(crate) path: String,
    pub(crate) file: Arc<dyn File>,
    /// How far it is filled with zeros, durably.
    pub(crate) zeroed: u64,
}

/// Where the background work leaves the next segment's file for the roll to find.
pub(crate) type PreparedSlot = Arc<Mutex<Option<Prepared>>>;

/// What recovery, or the making of a store, hands to the writer.
#[derive(Debug)]
pub(crate) struct LogState {
    pub(crate) segment: Arc<Segment>,
    /// Its file, open for writing unless it is sealed.
    pub(crate) file: Arc<dyn File>,
    pub(crate) capacity: u64,
    pub(crate) written: u64,
    pub(crate) position: Position,
    pub(crate) chain: u32,
    /// The hash chain, if the segment's markers carry it.
    pub(crate) hash: Option<Digest>,
    pub(crate) totals: Totals,
    /// The highest epoch that any file speaks of.
    pub(crate) epoch: Epoch,
    /// The length of `segment`, if it is sealed and there was no space for its successor.
    pub(crate) sealed_len: Option<u64>,
    pub(crate) meta: MetaFile,
    pub(crate) watermark: WatermarkFile,
}

#[derive(Debug)]
pub(crate) struct ActiveLog {
    storage: Arc<dyn Storage>,
    poison: Arc<Poison>,
    prepared: PreparedSlot,
    meter: Meter,
    segment: Arc<Segment>,
    /// The segment's file; readers have its mapping.
    file: Arc<dyn File>,
    frontier: Arc<Frontier>,
    segment_bytes: u64,
    /// Where this segment ends at the latest: `segment_bytes`, or more for one huge batch.
    capacity: u64,
    written: u64,
    durable: u64,
    /// How far the kernel was asked to begin writing what is not synced.
    writing_back: u64,
    /// How much was written when somebody was told to ask it.
    wanted_writeback: u64,
    allocated: u64,
    position: Position,
    chain: u32,
    /// The hash chain so far, if the segment's markers carry it, and whether they should.
    hash: Option<Digest>,
    hash_chain: bool,
    totals: Totals,
    /// The highest epoch so far, and whether it is ours.
    epoch: Epoch,
    epoch_begun: bool,
    /// Sealed, and its successor could not be made yet.
    sealed_len: Option<u64>,
    meta: MetaFile,
    watermark: WatermarkFile,
    /// What this writer has said last in the watermark: the segment, and how far it is durable.
    announced: (SegmentNumber, u64),
}

/// A group of batches, encoded for this log, that goes to disk in one write.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub(crate) bytes: &'a [u8],
    /// The position after it, and how many batches it holds.
    pub(crate) last: Position,
    pub(crate) batches: u64,
    /// The chain after it.
    pub(crate) chain: u32,
    /// The hash chain after it, if the segment's markers carry it.
    pub(crate) hash: Option<Digest>,
    /// The least and greatest `recorded_at` of its events, if it has any.
    pub(crate) recorded_at: Option<(i64, i64)>,
}

impl ActiveLog {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        poison: Arc<Poison>,
        prepared: PreparedSlot,
        (segment_bytes, hash_chain): (u64, bool),
        meter: Meter,
        state: LogState,
    ) -> ActiveLog {
        let frontier = Frontier::new(Arc::clone(&state.file), state.written, state.capacity);
        if state.watermark.errors() > 0 {
            // Of the recovery.
            meter.count(Counter::WatermarkErrors, state.watermark.errors());
        }
        if state.sealed_len.is_some() {
            frontier.close();
        }
        ActiveLog {
            storage,
            poison,
            prepared,
            meter,
            frontier: Arc::new(frontier),
            segment: state.segment,
            file: state.file,
            segment_bytes,
            capacity: state.capacity,
            written: state.written,
            // Recovery has synced what it exposes.
            durable: state.written,
            writing_back: state.written,
            wanted_writeback: state.written,
            allocated: state.written,
            position: state.position,
            chain: state.chain,
            hash: state.hash,
            hash_chain,
            totals: state.totals,
            epoch: state.epoch,
            epoch_begun: false,
            sealed_len: state.sealed_len,
            announced: (SegmentNumber::FIRST, 0),
            meta: state.meta,
            watermark: state.watermark,
        }
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(crate) fn frontier(&self) -> &Arc<Frontier> {
        &self.frontier
    }

    pub(crate) fn seed(&self) -> Seed {
        self.segment.seed
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(crate) fn chain(&self) -> u32 {
        self.chain
    }

    /// The hash chain, if this segment's markers carry it.
    pub(crate) fn hash(&self) -> Option<Digest> {
        self.hash
    }

    /// Whether this segment's markers carry the hash chain if they should, and do not if they should not.
    pub(crate) fn hashes_as_wanted(&self) -> bool {
        self.hash.is_some() == self.hash_chain
    }

    pub(crate) fn log_id(&self) -> LogId {
        self.meta.meta().log_id
    }

    /// The end of what was written to this segment.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The end of what is known to be durable in this segment.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn watermark_errors(&self) -> u64 {
        self.watermark.errors()
    }

    /// Whether something was written that is not known to be durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.durable < self.written
    }

    /// Whether more than half of the segment is used: time to prepare the next one.
    pub(crate) fn is_half_full(&self) -> bool {
        self.was_half_full(self.written)
    }

    /// Whether it was, when this was the end of what was written to it.
    pub(crate) fn was_half_full(&self, written: u64) -> bool {
        written > self.capacity / 2
    }

    pub(crate) fn next_segment(&self) -> SegmentNumber {
        self.segment.number.next()
    }

    /// Whether `bytes` of frames with `events` events fit into this segment.
    pub(crate) fn fits(&self, bytes: u64, events: u64) -> bool {
        self.sealed_len.is_none() && self.written + bytes + seal_room(self.totals.events + events) <= self.capacity
    }

    /// Whether `bytes` of frames with `events` events can be appended with no more ado.
    pub(crate) fn is_ready(&self, bytes: u64, events: u64) -> bool {
        self.epoch_begun && self.hashes_as_wanted() && self.fits(bytes, events)
    }

    /// Whether it takes appends at all, or waits for its successor.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed_len.is_some()
    }

    /// The least and the greatest time of recording of the segment's events, if it has any.
    pub(crate) fn recorded_at(&self) -> Option<(i64, i64)> {
        self.totals.recorded_at
    }

    /// Whether it holds no batch yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.totals.batches == 0
    }

    fn poisoned(&self, error: io::Error) -> LogError {
        LogError::Poisoned(self.poison.set(error))
    }

    fn full_or_poisoned(&self, error: io::Error) -> LogError {
        if is_full(&error) { LogError::Full } else { self.poisoned(error) }
    }

    /// Begins this writer's epoch, durably, before its first frame. Opening alone changes nothing.
    pub(crate) fn begin_epoch(&mut self) -> Result<(), LogError> {
        if self.epoch_begun {
            return Ok(());
        }
        let next = self.epoch.next().ok_or_else(|| self.poisoned(io::Error::other("all epochs are used up")))?;
        self.meta.update(|meta| meta.epoch = next).map_err(|error| match error {
            UpdateError::Write(error) => self.full_or_poisoned(error),
            UpdateError::Sync(error) => self.poisoned(error),
        })?;
        self.epoch = next;
        self.epoch_begun = true;
        Ok(())
    }

    /// Appends a group that [fits](ActiveLog::fits): one write, and one sync if asked for.
    ///
    /// Nothing of it is visible to readers before [`publish`](ActiveLog::publish).
    pub(crate) fn append(&mut self, group: &Group<'_>, sync: bool, laps: &mut Laps<'_>) -> Result<(), LogError> {
        let events = group.last.get() - self.position.get();
        let end = self.written + group.bytes.len() as u64;
        self.reserve(end + seal_room(self.totals.events + events))?;
        self.frontier.pass(end);
        let written = write_all(&*self.file, self.written, group.bytes);
        laps.lap(Measure::Write);
        if let Err(error) = written {
            return Err(if is_full(&error) { self.rewind() } else { self.poisoned(error) });
        }
        self.written = end;
        self.position = group.last;
        self.chain = group.chain;
        self.hash = group.hash;
        self.totals.events += events;
        self.totals.batches += group.batches;
        self.totals.recorded_at = match (self.totals.recorded_at, group.recorded_at) {
            (Some((min, max)), Some((low, high))) => Some((min.min(low), max.max(high))),
            (before, new) => before.or(new),
        };
        if sync && !planted::has(Bug::AcknowledgedBeforeSync) {
            let synced = self.sync_file();
            laps.lap(Measure::Sync);
            return synced;
        }
        Ok(())
    }

    /// Whether it is time to ask the kernel to begin writing what is not synced. Says so once for as much as
    /// [`take_writeback`](ActiveLog::take_writeback) gives.
    #[inline]
    pub(crate) fn wants_writeback(&mut self) -> bool {
        let wants = self.written >= self.wanted_writeback.max(self.durable) + WRITEBACK;
        if wants {
            self.wanted_writeback = self.written;
        }
        wants
    }

    /// What the kernel should be asked to begin writing: the file, and the range. Counts as asked.
    pub(crate) fn take_writeback(&mut self) -> (Arc<dyn File>, Range<u64>) {
        let range = self.writing_back.max(self.durable)..self.written;
        self.writing_back = range.end;
        (Arc::clone(&self.file), range)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), LogError> {
        let began = self.meter.now();
        let synced = self.sync_file();
        self.meter.since(Measure::Sync, began);
        synced
    }

    /// The one door for syncs.
    fn sync_file(&mut self) -> Result<(), LogError> {
        if let Some(cause) = self.poison.cause() {
            return Err(LogError::Poisoned(Arc::clone(cause)));
        }
        // Captured before the call: what is written meanwhile is not covered by it.
        let written = self.written;
        if planted::has(Bug::WatermarkBeforeSync) {
            self.durable = written;
            self.advance_watermark();
        }
        let mut synced = if planted::has(Bug::NoFdatasync) { Ok(()) } else { self.file.sync() };
        if planted::has(Bug::FailedSyncRetried) && synced.is_err() {
            synced = self.file.sync();
        }
        synced.map_err(|error| self.poisoned(error))?;
        // The zeroing may have met an error on this very file, which the kernel
        // then does not report to us.
        if let Some(cause) = self.poison.cause() {
            return Err(LogError::Poisoned(Arc::clone(cause)));
        }
        self.durable = written;
        Ok(())
    }

    /// Lets readers see everything written; the caller publishes the head next.
    pub(crate) fn publish(&self) {
        self.segment.publish(self.written, self.position);
    }

    /// Tells readers in other processes, and the next recovery, how far the log is durable.
    /// Called when everything written is.
    pub(crate) fn advance_watermark(&mut self) {
        let watermark = Watermark {
            log_id: self.meta.meta().log_id,
            sequence: 0,
            epoch: self.epoch,
            segment: self.segment.number,
            offset: self.durable,
            position: self.position,
            floor: self.meta.meta().floor,
        };
        if self.watermark.advance(watermark) {
            self.announced = (self.segment.number, self.durable);
        } else {
            self.meter.count(Counter::WatermarkErrors, 1);
        }
    }

    /// Says, durably, that the log begins with this segment.
    pub(crate) fn raise_floor(&mut self, floor: SegmentNumber, base: Position) -> Result<(), LogError> {
        if let Some(cause) = self.poison.cause() {
            return Err(LogError::Poisoned(Arc::clone(cause)));
        }
        self.meta.update(|meta| (meta.floor, meta.floor_base) = (floor, base)).map_err(|error| match error {
            UpdateError::Write(error) => self.full_or_poisoned(error),
            UpdateError::Sync(error) => self.poisoned(error),
        })
    }

    /// Tells readers in other processes with which segment the log begins; now, or when what was written is synced.
    pub(crate) fn tell_floor(&mut self) {
        if !self.is_dirty() && !self.is_sealed() && self.poison.cause().is_none() {
            self.advance_watermark();
        }
    }

    /// Advances the watermark if it does not say yet how far the log is durable. A rewind
    /// and a seal make everything durable too, and leave it to somebody else to say so.
    pub(crate) fn announce(&mut self) {
        if self.epoch_begun && !self.is_dirty() && self.announced != (self.segment.number, self.durable) {
            self.advance_watermark();
        }
    }

    /// Reserves space up to `end`, and more, so that this is not called for each append.
    fn reserve(&mut self, end: u64) -> Result<(), LogError> {
        let zeroed = self.frontier.at();
        if end <= self.allocated.max(if zeroed == u64::MAX { 0 } else { zeroed }) {
            return Ok(());
        }
        let file = &self.file;
        let ahead = self.written.clamp(*RESERVE.start(), *RESERVE.end());
        let generous = (end + ahead).min(self.capacity).max(end);
        let from = self.written;
        let reserved = match file.allocate(from, generous - from) {
            Err(error) if is_full(&error) && generous > end => file.allocate(from, end - from).map(|()| end),
            done => done.map(|()| generous),
        };
        self.allocated = reserved.map_err(|error| self.full_or_poisoned(error))?;
        Ok(())
    }

    /// Undoes a write that met a full disk half-way: the torn bytes are cut off
    /// and the cut is made durable, so that nothing of them can ever come back.
    fn rewind(&mut self) -> LogError {
        let file = Arc::clone(&self.file);
        let written = self.written;
        let durably = || if planted::has(Bug::RewindNotDurable) { Ok(()) } else { file.sync() };
        let cut = self.frontier.retreat(written, || file.set_len(written)).and_then(|()| durably());
        if let Err(error) = cut {
            return self.poisoned(error);
        }
        self.durable = self.written;
        self.allocated = self.written;
        LogError::Full
    }

    /// Seals the segment: SEAL, dense index and trailer, trimmed and durable.
    /// Returns it as readers see it from now on.
    pub(crate) fn seal(&mut self) -> Result<Arc<Segment>, LogError> {
        let _span = tracing::debug_span!("seal", segment = %self.segment.number).entered();
        let began = self.meter.now();
        let seal = self.totals.seal(self.epoch, self.position, self.chain);
        let mut bytes = Vec::new();
        let offsets = self.segment.growing_offsets(self.totals.events);
        let trailer = seal.encode(&mut bytes, self.segment.seed, self.written, offsets);
        self.reserve(trailer.file_len)?;
        self.frontier.pass(trailer.file_len);
        let file = Arc::clone(&self.file);
        if let Err(error) = write_all(&*file, self.written, &bytes) {
            return Err(if is_full(&error) { self.rewind() } else { self.poisoned(error) });
        }
        self.frontier.close();
        file.set_len(trailer.file_len).map_err(|error| self.poisoned(error))?;
        if !planted::has(Bug::SealNotSynced) {
            self.sync()?;
        }
        self.sealed_len = Some(trailer.file_len);
        self.segment = Arc::new(self.segment.as_sealed(&seal, &trailer));
        self.meter.since(Measure::Seal, began);
        tracing::info!(segment = %self.segment.number, events = self.totals.events, bytes = trailer.file_len, "sealed");
        Ok(Arc::clone(&self.segment))
    }

    /// Begins the segment after the sealed one, with room for at least `room` bytes of frames.
    pub(crate) fn begin_successor(&mut self, room: u64) -> Result<Arc<Segment>, LogError> {
        let predecessor_len = self.sealed_len.expect("only a sealed segment has a successor");
        let number = self.next_segment();
        let capacity = self.segment_bytes.max(room);
        let log_id = self.log_id();
        let before = self.hash.filter(|_| !planted::has(Bug::ChainAnchorLost));
        let hash = self.hash_chain.then(|| before.unwrap_or_else(|| chain_start(log_id, self.position)));
        let header = NewSegment {
            log_id,
            number,
            base: self.position,
            epoch: self.epoch,
            created_at: self.totals.recorded_at.map_or(0, |(_, max)| max),
            predecessor_len,
            chain: self.chain,
            hash,
        };
        let prepared = self.prepared.lock().take().filter(|prepared| prepared.number == number);
        let zeroed = prepared.as_ref().map_or(0, |prepared| prepared.zeroed);
        let place = create_segment(&*self.storage, &header, prepared).map_err(|error| match error {
            CreateError::BeforeName(error) => self.full_or_poisoned(error),
            CreateError::Name(error) => self.poisoned(error),
        })?;
        let file = Arc::clone(&place.file);
        let segment = Segment::growing(place, capacity).map_err(|error| self.poisoned(error))?;
        segment.publish(SEGMENT_HEADER_LEN as u64, self.position);
        self.segment = Arc::new(segment);
        self.file = file;
        self.hash = hash;
        self.sealed_len = None;
        self.capacity = capacity;
        self.written = SEGMENT_HEADER_LEN as u64;
        self.durable = self.written;
        (self.writing_back, self.wanted_writeback) = (self.written, self.written);
        self.allocated = self.written;
        self.totals = Totals::default();
        let frontier = Frontier::new(Arc::clone(&self.file), self.written.max(zeroed), capacity);
        self.frontier = Arc::new(frontier);
        match self.meta.update(|meta| name_active(meta, &self.segment)) {
            // It still names the segment before, which is enough: recovery
            // finds the active one by its name. Only its seed is not kept twice.
            Err(UpdateError::Write(error)) if is_full(&error) => {
                tracing::warn!(%error, "store.meta could not be updated at a roll");
            }
            done => done.map_err(|error| self.poisoned(error.into()))?,
        }
        Ok(Arc::clone(&self.segment))
    }

    /// Makes room for `room` bytes of frames in this segment, which is empty.
    pub(crate) fn enlarge(&mut self, room: u64) -> Result<Arc<Segment>, LogError> {
        let old = &self.segment;
        let place = SegmentPlace {
            number: old.number,
            base: old.base,
            seed: old.seed,
            shown: old.shown.clone(),
            file: Arc::clone(&self.file),
        };
        let segment = Segment::growing(place, room).map_err(|error| self.full_or_poisoned(error))?;
        segment.publish(old.committed(), self.position);
        self.frontier.close();
        self.frontier = Arc::new(Frontier::new(Arc::clone(&self.file), self.allocated, room));
        self.capacity = room;
        self.segment = Arc::new(segment);
        Ok(Arc::clone(&self.segment))
    }

    /// Leaves everything durable, the watermark too.
    pub(crate) fn close(&mut self) -> Result<(), LogError> {
        if self.is_dirty() {
            self.sync()?;
        }
        self.announce();
        if let Err(error) = self.watermark.sync() {
            // A lower bound that is lost leaves a lower one: nothing acknowledged is in danger.
            tracing::warn!(%error, "the watermark could not be synced at close");
        }
        Ok(())
    }
}

/// The room that a batch of `bytes` with `events` events needs in a segment of its own.
pub(crate) fn room_for(bytes: u64, events: u64) -> u64 {
    SEGMENT_HEADER_LEN as u64 + bytes + seal_room(events)
}

/// Writes into the store's facts which segment is active.
fn name_active(meta: &mut StoreMeta, segment: &Segment) {
    meta.active = segment.number;
    meta.active_base = segment.base;
    meta.active_seed = segment.seed;
}

/// What a new segment's header says, but for its salt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewSegment {
    pub(crate) log_id: LogId,
    pub(crate) number: SegmentNumber,
    pub(crate) base: Position,
    pub(crate) epoch: Epoch,
    pub(crate) created_at: i64,
    pub(crate) predecessor_len: u64,
    pub(crate) chain: u32,
    /// The hash chain at its base, if its markers are to carry it.
    pub(crate) hash: Option<Digest>,
}

/// Why a segment was not made.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// Before it got its name: nothing has happened.
    BeforeName(io::Error),
    /// It has its name, and nobody knows whether the disk knows it.
    Name(io::Error),
}

/// Makes a segment: header written and synced, then named, then the name synced.
pub(crate) fn create_segment(
    storage: &dyn Storage,
    new: &NewSegment,
    prepared: Option<Prepared>,
) -> Result<SegmentPlace, CreateError> {
    let mut salt = [0; 16];
    storage.fill_random(&mut salt).map_err(CreateError::BeforeName)?;
    let header = SegmentHeader {
        log_id: new.log_id,
        number: new.number,
        base: new.base,
        epoch: new.epoch,
        salt,
        created_at: new.created_at,
        predecessor_len: new.predecessor_len,
        chain: new.chain,
        chain_hash: new.hash,
        redacted: None,
    };
    let (bytes, seed) = header.encode();
    let (temporary, file) = match prepared {
        Some(prepared) => (prepared.path, Ok(prepared.file)),
        None => {
            let temporary = names::unnamed_segment(new.number);
            // Of a try that met a full disk before this one; usually there is none.
            let _ = storage.remove(&temporary);
            let file = storage.create(&temporary);
            (temporary, file)
        }
    };
    let written = file.and_then(|file| {
        write_all(&*file, 0, &bytes)?;
        file.sync()?;
        Ok(file)
    });
    let file = written.map_err(|error| {
        // Best effort: what stays is removed at the next open.
        let _ = storage.remove(&temporary);
        CreateError::BeforeName(error)
    })?;
    let path = names::segment(new.number, new.base);
    storage.rename(&temporary, &path).map_err(|error| {
        let _ = storage.remove(&temporary);
        CreateError::BeforeName(error)
    })?;
    if !planted::has(Bug::NoDirectorySync) {
        storage.sync_dir(names::SEGMENTS).map_err(CreateError::Name)?;
    }
    Ok(SegmentPlace { number: new.number, base: new.base, seed, shown: storage.describe(&path), file })
}
