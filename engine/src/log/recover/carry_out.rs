//! Carry out: the plan, step by step. May be stopped at each; the next
//! recovery comes to the same result.
//!
//! The order matters: what is cut is kept first; what is cut is cut durably
//! before anything is appended; what is shown is durable before it is shown.

use std::io;
use std::sync::Arc;

use annals_codec::scan::{SealedEnd, Source, Totals};
use annals_codec::{
    Epoch, LogId, Position, SEGMENT_HEADER_LEN, SegmentNumber, StoreMeta, Watermark, chain_start, seal_room,
};

use super::decide::{Cut, Usable};
use super::survey::{Facts, SegmentFacts};
use crate::error::{Doing, OpenError};
use crate::log::active::{CreateError, LogState, NewSegment, create_segment, is_full};
use crate::log::names;
use crate::log::segment::{Segment, SegmentPlace};
use crate::log::small_files::{MetaFile, UpdateError, WatermarkFile, write_all};
use crate::log::source::FileSource;
use crate::planted::{self, Bug};
use crate::report::{RecoveryReport, TornTail};
use crate::storage::{Access, File, Storage};

/// What the bytes are read in when they are copied, in bytes.
const COPY: usize = 1 << 20;

/// Removes what an interrupted operation has left. Nothing refers to it, so the
/// removal need not be durable.
fn remove_temporaries(storage: &dyn Storage, facts: &Facts) -> Result<Vec<String>, OpenError> {
    let mut removed = Vec::with_capacity(facts.temporaries.len());
    for path in &facts.temporaries {
        match storage.remove(path) {
            // Nothing among the index files keeps a store from opening.
            Err(error) if path.starts_with(names::INDEXES) => {
                tracing::warn!(path, %error, "what is left of an index file cannot be removed");
            }
            done => {
                done.doing("remove", || storage.describe(path))?;
                removed.push(path.clone());
            }
        }
    }
    Ok(removed)
}

/// Makes a new store: segment 0, then WATERMARK, then `store.meta`, whose name says
/// that the store is whole.
pub(crate) fn create(
    storage: &Arc<dyn Storage>,
    facts: &Facts,
    (segment_bytes, hash_chain): (u64, bool),
    now: i64,
) -> Result<(LogState, RecoveryReport), OpenError> {
    let removed_temporaries = remove_temporaries(&**storage, facts)?;
    let here = |path: &'static str| || storage.describe(path);
    storage.create_dir(names::SEGMENTS).doing("create", here(names::SEGMENTS))?;
    let mut log_id = [0; 16];
    storage.fill_random(&mut log_id).doing("make a log id for", here(""))?;
    let log_id = LogId::from_bytes(log_id);
    let hash = hash_chain.then(|| chain_start(log_id, Position::START));
    let new = NewSegment {
        log_id,
        number: SegmentNumber::FIRST,
        base: Position::START,
        epoch: Epoch::default(),
        created_at: now,
        predecessor_len: 0,
        chain: 0,
        hash,
    };
    let place = create_segment(&**storage, &new, None).map_err(|error| cannot_create(&**storage, error))?;
    let (meta, watermark) = finish_creation(&**storage, &place, new.log_id, now, None)?;
    let file = Arc::clone(&place.file);
    let segment = Segment::growing(place, segment_bytes).doing("map", here(names::SEGMENTS))?;
    segment.publish(SEGMENT_HEADER_LEN as u64, Position::START);
    let report = RecoveryReport { created: true, removed_temporaries, ..RecoveryReport::default() };
    let state = LogState {
        segment: Arc::new(segment),
        file,
        capacity: segment_bytes,
        written: SEGMENT_HEADER_LEN as u64,
        position: Position::START,
        chain: 0,
        hash,
        totals: Totals::default(),
        epoch: Epoch::default(),
        sealed_len: None,
        meta,
        watermark,
    };
    Ok((state, report))
}

fn cannot_create(storage: &dyn Storage, error: CreateError) -> OpenError {
    let (CreateError::BeforeName(source) | CreateError::Name(source)) = error;
    OpenError::Io { action: "create a segment in", path: storage.describe(names::SEGMENTS), source }
}

/// Writes what comes after segment 0: WATERMARK and `store.meta`.
fn finish_creation(
    storage: &dyn Storage,
    segment: &SegmentPlace,
    log_id: LogId,
    now: i64,
    watermark: Option<WatermarkFile>,
) -> Result<(MetaFile, WatermarkFile), OpenError> {
    let watermark = match watermark {
        Some(watermark) => watermark,
        None => WatermarkFile::create(storage).doing("create", || storage.describe(names::WATERMARK))?,
    };
    let meta = StoreMeta {
        sequence: 0,
        log_id,
        created_at: now,
        epoch: Epoch::default(),
        active: segment.number,
        active_base: segment.base,
        active_seed: segment.seed,
        floor: SegmentNumber::FIRST,
        floor_base: Position::START,
    };
    // Before the name `store.meta`: it must not outlive what it speaks of.
    storage.sync_dir("").doing("sync", || storage.describe(""))?;
    let meta = MetaFile::create(storage, meta).doing("create", || storage.describe(names::META))?;
    storage.sync_dir("").doing("sync", || storage.describe(""))?;
    Ok((meta, watermark))
}

/// Brings an existing store into use. `None` when it has changed what the plan was made of, to
/// begin anew: then the next recovery finds other facts.
pub(crate) fn carry_out(
    storage: &Arc<dyn Storage>,
    facts: &Facts,
    plan: &Usable,
    segment_bytes: u64,
    now: i64,
) -> Result<Option<(LogState, RecoveryReport)>, OpenError> {
    let mut report = RecoveryReport {
        head: plan.end.position,
        epoch: plan.end.epoch,
        removed_temporaries: remove_temporaries(&**storage, facts)?,
        notes: plan.notes.clone(),
        ..RecoveryReport::default()
    };
    for &(index, len) in &plan.trims {
        trim(&**storage, &facts.segments[index], len)?;
    }
    let last = facts.segments.last().expect("a plan to use a store has a segment");
    let (_, seed) = last.header.as_ref().expect("a plan to write has whole headers");
    let doing = || last.display.clone();
    if let Some(from) = plan.write_back_from {
        let end = plan.finish_roll.map_or(plan.end.offset, |sealed| sealed.trailer.file_len);
        write_back(last.last_file(), from, end).doing("rewrite", doing)?;
    }
    if let Some(cut) = &plan.cut {
        report.torn = Some(cut_tail(&**storage, last, cut)?);
    }
    // What is shown from here on is durable: the bytes, and the names that lead to them.
    let is_left_out = planted::has(Bug::NoSyncAtOpen) || planted::has(Bug::CutNotSynced) && plan.cut.is_some();
    if !is_left_out {
        last.last_file().sync().doing("sync", doing)?;
    }
    if !planted::has(Bug::NoSyncAtOpen) {
        storage.sync_dir(names::SEGMENTS).doing("sync", || storage.describe(names::SEGMENTS))?;
        storage.sync_dir("").doing("sync", || storage.describe(""))?;
    }

    let renewed = if is_unused(last, plan) && !planted::has(Bug::NameNotRenewed) {
        let renewed = renew(&**storage, last)?;
        if renewed.is_none() {
            // There is no space to give it a durable name, and nothing may be written under another.
            storage.remove(&last.path).doing("remove", doing)?;
            return Ok(None);
        }
        renewed
    } else {
        None
    };
    let is_renewed = renewed.is_some();
    let place = renewed.unwrap_or_else(|| SegmentPlace {
        number: last.number,
        base: last.base,
        seed: *seed,
        shown: last.display.clone(),
        file: Arc::clone(last.last_file()),
    });
    let (mut meta, mut watermark) = small_files(&**storage, plan, &place, is_renewed, now)?;
    report.finished_creation = plan.meta.is_none();
    report.finished_retention = finish_retention(&**storage, facts, plan, &mut meta)?;
    let active = match plan.finish_roll {
        None => {
            let capacity = segment_bytes.max(plan.end.offset + seal_room(plan.end.totals.events));
            Active {
                file: Arc::clone(&place.file),
                segment: Segment::growing(place, capacity).doing("map", doing)?,
                capacity,
                written: plan.end.offset,
                totals: plan.end.totals,
                sealed_len: None,
            }
        }
        Some(sealed) => {
            if last.len != sealed.trailer.file_len {
                trim(&**storage, last, sealed.trailer.file_len)?;
            }
            let finished = finish_roll(&**storage, plan, place, &sealed, segment_bytes, now, &mut meta)?;
            report.finished_roll = finished.sealed_len.is_none();
            if !report.finished_roll {
                report.notes.push("the disk is full: there is no space for the next segment yet".to_owned());
            }
            finished
        }
    };
    let Active { segment, file, capacity, written, totals, sealed_len } = active;
    segment.publish(written, plan.end.position);
    tell_others(&mut watermark, plan, &segment, written);
    let state = LogState {
        segment: Arc::new(segment),
        file,
        capacity,
        written,
        position: plan.end.position,
        chain: plan.end.chain,
        hash: plan.end.hash,
        totals,
        epoch: plan.end.epoch,
        sealed_len,
        meta,
        watermark,
    };
    Ok(Some((state, report)))
}

/// Removes the segments that no longer belong to the log; returns their paths.
fn finish_retention(
    storage: &dyn Storage,
    facts: &Facts,
    plan: &Usable,
    meta: &mut MetaFile,
) -> Result<Vec<String>, OpenError> {
    let (first, base) = plan.floor;
    if !facts.removed.is_empty() || meta.meta().floor < first {
        // Before any of them goes: with an older floor the log would have a hole.
        let settled = if meta.meta().floor < first {
            meta.update(|meta| (meta.floor, meta.floor_base) = (first, base))
        } else {
            meta.settle()
        };
        match settled {
            // They are left out also as long as they are there.
            Err(UpdateError::Write(error)) if is_full(&error) => return Ok(Vec::new()),
            settled => settled.map_err(io::Error::from).doing("update", || storage.describe(names::META))?,
        }
    }
    for path in &facts.removed {
        storage.remove(path).doing("remove", || storage.describe(path))?;
    }
    if !facts.removed.is_empty() {
        storage.sync_dir(names::SEGMENTS).doing("sync", || storage.describe(names::SEGMENTS))?;
    }
    for path in &facts.removed_indexes {
        // Nobody asks them any more.
        let _ = storage.remove(path);
    }
    Ok(facts.removed.clone())
}

/// Opens WATERMARK and `store.meta`, making what is missing of them. `is_renewed` when the
/// segment at `place` is a new file, which `store.meta` names then.
fn small_files(
    storage: &dyn Storage,
    plan: &Usable,
    place: &SegmentPlace,
    is_renewed: bool,
    now: i64,
) -> Result<(MetaFile, WatermarkFile), OpenError> {
    let watermark = plan
        .watermark_exists
        .then(|| WatermarkFile::open(storage, plan.watermark))
        .transpose()
        .doing("open", || storage.describe(names::WATERMARK))?;
    let Some(meta) = plan.meta else {
        return finish_creation(storage, place, plan.log_id, now, watermark);
    };
    let mut meta = MetaFile::open(storage, meta).doing("open", || storage.describe(names::META))?;
    let watermark = match watermark {
        Some(watermark) => watermark,
        None => WatermarkFile::create(storage).doing("create", || storage.describe(names::WATERMARK))?,
    };
    if is_renewed {
        name_active(&mut meta, place).doing("update", || storage.describe(names::META))?;
    }
    Ok((meta, watermark))
}

/// The segment that the writer goes on with.
struct Active {
    segment: Segment,
    file: Arc<dyn File>,
    capacity: u64,
    written: u64,
    totals: Totals,
    /// Its length, when it is sealed and its successor could not be made.
    sealed_len: Option<u64>,
}

/// Makes the successor of the last segment, which is sealed. A full disk does not keep a
/// store from opening: the first append tries again.
fn finish_roll(
    storage: &dyn Storage,
    plan: &Usable,
    sealed_place: SegmentPlace,
    sealed: &SealedEnd,
    segment_bytes: u64,
    now: i64,
    meta: &mut MetaFile,
) -> Result<Active, OpenError> {
    let doing = || storage.describe(names::SEGMENTS);
    let new = NewSegment {
        log_id: plan.log_id,
        number: sealed_place.number.next(),
        base: plan.end.position,
        epoch: plan.end.epoch,
        created_at: now,
        predecessor_len: sealed.trailer.file_len,
        chain: sealed.seal.chain,
        hash: plan.end.hash,
    };
    match create_segment(storage, &new, None) {
        Ok(successor) => {
            name_active(meta, &successor).doing("update", || storage.describe(names::META))?;
            Ok(Active {
                file: Arc::clone(&successor.file),
                segment: Segment::growing(successor, segment_bytes).doing("map", doing)?,
                capacity: segment_bytes,
                written: SEGMENT_HEADER_LEN as u64,
                totals: Totals::default(),
                sealed_len: None,
            })
        }
        Err(CreateError::BeforeName(error)) if is_full(&error) => Ok(Active {
            file: Arc::clone(&sealed_place.file),
            segment: Segment::sealed(sealed_place, sealed).doing("map", doing)?,
            capacity: segment_bytes,
            written: plan.end.offset,
            totals: plan.end.totals,
            sealed_len: Some(sealed.trailer.file_len),
        }),
        Err(error) => Err(cannot_create(storage, error)),
    }
}

/// What is shown was synced just now: readers in other processes may see it too, and if
/// it is damaged from here on, that is no unfinished tail. WATERMARK is left alone when it says so already.
fn tell_others(watermark: &mut WatermarkFile, plan: &Usable, segment: &Segment, written: u64) {
    let nothing = (SegmentNumber::FIRST, SEGMENT_HEADER_LEN as u64);
    let known = plan.watermark.map_or(nothing, |watermark| (watermark.segment, watermark.offset));
    if known < (segment.number, written) {
        watermark.advance(Watermark {
            log_id: plan.log_id,
            sequence: 0,
            epoch: plan.end.epoch,
            segment: segment.number,
            offset: written,
            position: plan.end.position,
            floor: plan.floor.0,
        });
    }
}

/// Whether the last segment was begun and nothing says that its name is durable:
/// the sync of its directory may have failed, and no later one would cover it. Both
/// WATERMARK and `store.meta` name a segment only after that sync.
fn is_unused(last: &SegmentFacts, plan: &Usable) -> bool {
    let is_empty = plan.cut.is_none() && plan.end.offset == SEGMENT_HEADER_LEN as u64;
    let is_active = plan.meta.is_some_and(|meta| meta.active == last.number);
    let is_told = plan.watermark.is_some_and(|watermark| watermark.segment == last.number);
    is_empty && !is_active && !is_told && plan.finish_roll.is_none()
}

/// Makes a segment that holds nothing yet once more, over itself: then its name is a new
/// one, which the next sync of the directory covers. `None` when there is no space.
fn renew(storage: &dyn Storage, last: &SegmentFacts) -> Result<Option<SegmentPlace>, OpenError> {
    let (header, _) = last.header.as_ref().expect("a plan to write has whole headers");
    let new = NewSegment {
        log_id: header.log_id,
        number: header.number,
        base: header.base,
        epoch: header.epoch,
        created_at: header.created_at,
        predecessor_len: header.predecessor_len,
        chain: header.chain,
        hash: header.chain_hash,
    };
    match create_segment(storage, &new, None) {
        Ok(place) => Ok(Some(place)),
        Err(CreateError::BeforeName(error)) if is_full(&error) => Ok(None),
        Err(error) => Err(cannot_create(storage, error)),
    }
}

/// Says in `store.meta` which segment is active. It can be found without that, so a full disk is no error.
fn name_active(meta: &mut MetaFile, place: &SegmentPlace) -> io::Result<()> {
    let updated = meta.update(|meta| {
        meta.active = place.number;
        meta.active_base = place.base;
        meta.active_seed = place.seed;
    });
    match updated {
        Err(UpdateError::Write(error)) if is_full(&error) => Ok(()),
        done => Ok(done?),
    }
}

/// Cuts the zeros off a sealed segment that a crash kept from being trimmed.
fn trim(storage: &dyn Storage, segment: &SegmentFacts, len: u64) -> Result<(), OpenError> {
    let doing = || segment.display.clone();
    let file = storage.open(&segment.path, Access::ReadWrite).doing("open", doing)?;
    file.set_len(len).and_then(|()| file.sync()).doing("trim", doing)
}

/// Writes bytes that were judged good, but may be in the page cache only, once
/// more: then the next sync answers for them.
fn write_back(file: &Arc<dyn File>, from: u64, end: u64) -> io::Result<()> {
    let from = from.max(SEGMENT_HEADER_LEN as u64);
    copy(file, from, end, |at, part| write_all(&**file, from + at, part))
}

/// Keeps a copy of an unfinished tail, then cuts it off, durably.
fn cut_tail(storage: &dyn Storage, segment: &SegmentFacts, cut: &Cut) -> Result<TornTail, OpenError> {
    let doing = || segment.display.clone();
    let len = cut.data_end - cut.offset;
    let mut hasher = crc32fast::Hasher::new();
    copy(segment.last_file(), cut.offset, cut.data_end, |_, part| {
        hasher.update(part);
        Ok(())
    })
    .doing("read", doing)?;
    let checksum = hasher.finalize();
    let path = names::quarantined(segment.number, cut.offset, checksum);
    let quarantine = match keep(storage, &path, segment.last_file(), cut) {
        Ok(()) => Some(storage.describe(&path)),
        // A full disk must not keep a store from opening: then length and checksum are all that is told.
        Err(error) if is_full(&error) => None,
        Err(source) => {
            let path = storage.describe(&path);
            return Err(OpenError::Io { action: "keep a copy of the unfinished tail in", path, source });
        }
    };
    if !planted::has(Bug::TailNotCut) {
        let durably = || if planted::has(Bug::CutNotSynced) { Ok(()) } else { segment.last_file().sync() };
        segment.last_file().set_len(cut.offset).and_then(|()| durably()).doing("cut", doing)?;
    }
    tracing::warn!(segment = %segment.number, offset = cut.offset, bytes = len, "cut an unfinished tail");
    Ok(TornTail {
        segment: segment.number,
        offset: cut.offset,
        bytes: len,
        checksum,
        quarantine,
        fault: cut.fault.clone(),
    })
}

/// Copies an unfinished tail to a file of its own, durably.
fn keep(storage: &dyn Storage, path: &str, file: &Arc<dyn File>, cut: &Cut) -> io::Result<()> {
    storage.create_dir(names::QUARANTINE)?;
    // When a recovery was interrupted after this step, the copy is there: its name tells its content.
    if storage.open(path, Access::Read).is_err() {
        let temporary = format!("{path}{}", names::TEMPORARY);
        let kept = storage.create(&temporary)?;
        let copied = copy(file, cut.offset, cut.data_end, |at, part| write_all(&*kept, at, part))
            .and_then(|()| kept.sync())
            .and_then(|()| storage.rename(&temporary, path));
        if let Err(error) = copied {
            // Best effort: what stays is removed at the next open.
            let _ = storage.remove(&temporary);
            return Err(error);
        }
    }
    storage.sync_dir(names::QUARANTINE)?;
    storage.sync_dir("")
}

/// Hands the bytes of a range to `take`, in parts, with their distance from its start.
fn copy(
    file: &Arc<dyn File>,
    from: u64,
    end: u64,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut source = FileSource::cached(Arc::clone(file), end);
    let mut at = from;
    while at < end {
        let part = source.bytes(at, COPY.min((end - at) as usize))?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(at - from, part)?;
        at += part.len() as u64;
    }
    Ok(())
}
