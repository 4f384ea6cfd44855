//! The survey: reads a whole store, and states what is there and what is not. Changes nothing.
//!
//! It begins with recovery's own survey, so that the two cannot disagree about what a store's files are. Then every
//! segment is read from its first frame to its end, over every bad place.

use std::collections::BTreeMap;
use std::io;

use annals_codec::scan::{self, Sink, Source as _, Stop, Totals, Verdict};
use annals_codec::{
    Checkpoint, Commit, Epoch, Event, Frame, HeaderFault, LogId, MetaFault, Position, SEGMENT_HEADER_LEN,
    SNAPSHOT_HEADER_LEN, Seed, SegmentHeader, SegmentNumber, StoreMeta, Tail, mend_header, snapshot_mark, u32_at,
};

use super::found::{Found, FoundFile, FoundSegment, Gap};
use super::hints::{self, Hints};
use super::redactions::Redactions;
use super::streams::{Owner, Streams};
use super::{RepairError, Repairing as _};
use crate::index::floor::FloorIndex;
use crate::log::floor::FloorFact;
use crate::log::names;
use crate::log::recover::survey::{Facts, SegmentFacts, WatermarkFact, read_end};
use crate::log::small_files::{list_whole, read_whole};
use crate::log::source::FileSource;
use crate::storage::{Access, Storage};

/// What is known of a store before its segments are read.
struct Known<'a> {
    storage: &'a dyn Storage,
    facts: &'a Facts,
    log_id: LogId,
    meta: Option<StoreMeta>,
    /// Every segment that is there, by its number.
    files: BTreeMap<SegmentNumber, &'a SegmentFacts>,
    /// Where segments begin, as far as anybody says.
    bases: BTreeMap<SegmentNumber, Position>,
    last: SegmentNumber,
    use_hints: bool,
}

/// Reads the store in `storage`, of which recovery's survey has said these facts. `progress` is told how many bytes were read.
pub(super) fn survey(
    storage: &dyn Storage,
    facts: &Facts,
    use_hints: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Found, RepairError> {
    let (mut mended, mut notes) = (Vec::new(), Vec::new());
    let meta = match &facts.meta {
        Some(Ok(meta)) => Some(*meta),
        Some(Err(fault @ MetaFault::Newer { .. })) => return Err(RepairError::Newer { problem: fault.to_string() }),
        Some(Err(fault)) => {
            mended.push(format!("store.meta is made anew: {fault}"));
            None
        }
        None => {
            mended.push("store.meta is made anew: it is missing".to_owned());
            None
        }
    };
    let known = Known::new(storage, facts, meta, use_hints, &mut notes)?;
    let floor = known.floor()?;
    let chain_before = floor.as_ref().and_then(FloorIndex::anchor).map_or(0, |floor| floor.chain);
    let mut pass = Pass {
        streams: Streams::new(floor),
        redactions: Redactions::begun_in(storage).repairing("list", || storage.describe(names::SEGMENTS))?,
        owners: BTreeMap::new(),
        recorded_at: None,
        first_recorded_at: None,
        epoch: known.meta.map_or(Epoch::default(), |meta| meta.epoch),
        created_at: None,
        mended,
        notes,
        read: 0,
        progress,
    };
    if let Some(watermark) = known.watermark() {
        pass.epoch = pass.epoch.max(watermark.epoch);
    }
    let mut segments = Vec::new();
    let mut at = if facts.first == SegmentNumber::FIRST { Position::START } else { known.first_base(facts.first)? };
    let mut number = facts.first;
    loop {
        let segment = pass.segment(&known, number, at)?;
        at = segment.end;
        segments.push(segment);
        if number == known.last {
            break;
        }
        number = number.next();
    }
    for gap in segments.iter_mut().flat_map(|segment| &mut segment.gaps) {
        gap.recorded_at = gap.recorded_at.or(pass.first_recorded_at);
    }
    let created_at = known.meta.map(|meta| meta.created_at).or(pass.created_at).unwrap_or_default();
    Ok(Found {
        log_id: known.log_id,
        created_at,
        epoch: pass.epoch,
        meta: known.meta,
        segments,
        chain_before,
        streams: pass.streams,
        redactions: pass.redactions,
        known: pass.owners,
        mended: pass.mended,
        notes: pass.notes,
    })
}

impl<'a> Known<'a> {
    fn new(
        storage: &'a dyn Storage,
        facts: &'a Facts,
        meta: Option<StoreMeta>,
        use_hints: bool,
        notes: &mut Vec<String>,
    ) -> Result<Known<'a>, RepairError> {
        for segment in &facts.segments {
            if let Err(fault @ (HeaderFault::Newer { .. } | HeaderFault::Features { .. })) = &segment.header {
                return Err(RepairError::Newer { problem: format!("{}: {fault}", segment.display) });
            }
        }
        let good = |segment: &SegmentFacts| segment.header.as_ref().ok().map(|(header, _)| *header);
        let by_header = || facts.segments.iter().find_map(|segment| good(segment).map(|header| header.log_id));
        let by_watermark = || match facts.watermark {
            WatermarkFact::Valid(watermark) => Some(watermark.log_id),
            WatermarkFact::Missing | WatermarkFact::Blank => None,
        };
        let log_id = meta.map(|meta| meta.log_id).or_else(by_header).or_else(by_watermark);
        let log_id =
            log_id.ok_or_else(|| RepairError::Hopeless { problem: "no file says which log it is of".to_owned() })?;
        let mut files: BTreeMap<SegmentNumber, &SegmentFacts> = BTreeMap::new();
        for segment in &facts.segments {
            let is_ours = good(segment).is_none_or(|header| {
                (header.log_id, header.number, header.base) == (log_id, segment.number, segment.base)
            });
            if !is_ours {
                notes.push(format!("{} says of itself that it is another segment, and is left out", segment.path));
                continue;
            }
            match files.get(&segment.number) {
                Some(other) if good(other).is_some() => {
                    notes.push(format!("{} is left out: it is there twice", segment.path));
                }
                Some(other) => {
                    notes.push(format!("{} is left out: it is there twice", other.path));
                    files.insert(segment.number, segment);
                }
                None => drop(files.insert(segment.number, segment)),
            }
        }
        if files.is_empty() {
            return Err(RepairError::Hopeless { problem: "there is no segment of the log".to_owned() });
        }
        let mut bases: BTreeMap<_, _> = files.values().map(|segment| (segment.number, segment.base)).collect();
        let mut last = *files.keys().next_back().expect("there is one");
        if let Some(meta) = meta {
            bases.entry(meta.active).or_insert(meta.active_base);
            last = last.max(meta.active);
        }
        let mut known = Known { storage, facts, log_id, meta, files, bases, last, use_hints };
        if let Some(watermark) = known.watermark() {
            known.last = known.last.max(watermark.segment);
        }
        if known.last.get().saturating_sub(facts.first.get()) > 1 << 20 {
            return Err(RepairError::Hopeless { problem: format!("segment {} is far from all others", known.last) });
        }
        let mut number = facts.first;
        while use_hints && number < known.last {
            if !known.bases.contains_key(&number)
                && let Some(base) = hints::base_of(storage, log_id, number)
            {
                known.bases.insert(number, base);
            }
            number = number.next();
        }
        Ok(known)
    }

    fn watermark(&self) -> Option<annals_codec::Watermark> {
        match self.facts.watermark {
            WatermarkFact::Valid(watermark) if watermark.log_id == self.log_id => Some(watermark),
            _ => None,
        }
    }

    fn floor(&self) -> Result<Option<FloorIndex>, RepairError> {
        if self.facts.first == SegmentNumber::FIRST {
            return Ok(None);
        }
        let base = self.first_base(self.facts.first)?;
        let floor = FloorIndex::open(self.storage, self.facts.first, base);
        match (&self.facts.floor, floor.check()) {
            (FloorFact::Good(_), Ok(())) => Ok(Some(floor)),
            (_, Err(damage)) => Err(RepairError::Hopeless { problem: damage.to_string() }),
            (_, Ok(())) => Err(RepairError::Hopeless { problem: "what is known of removed events is lost".to_owned() }),
        }
    }

    fn first_base(&self, first: SegmentNumber) -> Result<Position, RepairError> {
        let by_floor = match &self.facts.floor {
            FloorFact::Good(header) if header.floor.segment == first => Some(header.floor.position),
            _ => None,
        };
        let by_meta = self.meta.filter(|meta| meta.floor == first).map(|meta| meta.floor_base);
        let base = by_floor.or(by_meta).or_else(|| self.bases.get(&first).copied());
        base.ok_or_else(|| RepairError::Hopeless { problem: "nothing says where the log begins".to_owned() })
    }

    /// Where the first segment behind this one begins of which anybody knows it.
    fn base_behind(&self, number: SegmentNumber) -> Option<Position> {
        self.bases.range(number.next()..).next().map(|(_, base)| *base)
    }

    /// The last position that anybody knows to have been durable.
    fn durable(&self, notes: &mut Vec<String>) -> Position {
        let by_watermark = self.watermark().map(|watermark| watermark.position);
        let by_meta = self.meta.map(|meta| meta.active_base);
        let by_files = by_watermark.max(by_meta).unwrap_or_default();
        let kept = self.kept_positions().unwrap_or_else(|error| {
            notes.push(format!("consumers and snapshots could not be asked how far the log went: {error}"));
            Position::START
        });
        by_files.max(kept)
    }

    /// The farthest position that a checkpoint or a snapshot speaks of: those are only written at durable ones.
    fn kept_positions(&self) -> io::Result<Position> {
        let (storage, mut farthest) = (self.storage, Position::START);
        for name in list_whole(storage, names::CONSUMERS)? {
            let path = format!("{}/{name}", names::CONSUMERS);
            let bytes = read_whole(storage, &path, Checkpoint::FILE_LEN)?.unwrap_or_default();
            if let Some(mark) = Checkpoint::decode(&bytes).ok().map(|checkpoint| checkpoint.mark) {
                farthest = farthest.max(if mark.log_id == self.log_id { mark.position } else { Position::START });
            }
        }
        for name in list_whole(storage, names::STATES)? {
            let dir = format!("{}/{name}", names::STATES);
            for file in list_whole(storage, &dir)?.iter().filter(|file| names::is_state(file)) {
                let head = read_whole(storage, &format!("{dir}/{file}"), SNAPSHOT_HEADER_LEN)?.unwrap_or_default();
                if let Some(mark) = snapshot_mark(&head).filter(|mark| mark.log_id == self.log_id) {
                    farthest = farthest.max(mark.position);
                }
            }
        }
        Ok(farthest)
    }
}

/// The pass over all segments.
struct Pass<'a> {
    streams: Streams,
    redactions: Redactions,
    owners: BTreeMap<Position, Owner>,
    recorded_at: Option<i64>,
    first_recorded_at: Option<i64>,
    epoch: Epoch,
    created_at: Option<i64>,
    mended: Vec<String>,
    notes: Vec<String>,
    read: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Pass<'_> {
    fn segment(&mut self, known: &Known<'_>, number: SegmentNumber, at: Position) -> Result<FoundSegment, RepairError> {
        let is_last = number == known.last;
        let behind = known.base_behind(number);
        let Some(facts) = known.files.get(&number).copied() else {
            let base = known.bases.get(&number).copied().unwrap_or(at);
            let upto = behind.unwrap_or_else(|| known.durable(&mut self.notes));
            let path = names::segment(number, base);
            let mut segment =
                FoundSegment { number, base, path, file: None, gaps: Vec::new(), end: upto.max(base), is_last };
            check_row(&segment, at)?;
            let hints = hints::of_index(known.storage, known.use_hints, known.log_id, &segment, None);
            self.gap(&mut segment, (0, 0), base, upto.max(base), "the file is missing".to_owned(), None, &hints);
            return Ok(segment);
        };
        let mut segment = FoundSegment {
            number,
            base: facts.base,
            path: facts.path.clone(),
            file: None,
            gaps: Vec::new(),
            end: facts.base,
            is_last,
        };
        check_row(&segment, at)?;
        let file = known.storage.open(&facts.path, Access::Read).repairing("open", || facts.display.clone())?;
        let read_error = || facts.display.clone();
        let mut source = FileSource::cached(std::sync::Arc::clone(&file), facts.len);
        let begin = self.begin(known, facts, &mut source).repairing("read", read_error)?;
        let is_followed = known.files.contains_key(&number.next());
        // Where it has to end: at the next one's base.
        let next = behind.filter(|_| is_followed || known.bases.contains_key(&number.next()));
        let Some((seed, header, is_header_good)) = begin else {
            let upto = next.or(behind).unwrap_or_else(|| known.durable(&mut self.notes)).max(facts.base);
            let hints = hints::of_index(known.storage, known.use_hints, known.log_id, &segment, None);
            let fault = facts.header.as_ref().err().map_or_else(String::new, ToString::to_string);
            let checksum = checksum(&mut source, 0, facts.len).repairing("read", read_error)?;
            segment.end = upto;
            self.gap(&mut segment, (0, facts.len), facts.base, upto, fault, Some(checksum), &hints);
            return Ok(segment);
        };
        let start = match &header {
            Some(header) => {
                self.created_at.get_or_insert(header.created_at);
                self.epoch = self.epoch.max(header.epoch);
                scan::first_tail(header)
            }
            None => Tail {
                offset: SEGMENT_HEADER_LEN as u64,
                position: facts.base,
                chain: None,
                hash: None,
                epoch: Epoch::default(),
                durable_offset: 0,
            },
        };
        let watermark = known.watermark().filter(|watermark| watermark.segment == number);
        let vouched = watermark.map_or(0, |watermark| watermark.offset);
        let mut found = FoundFile {
            len: facts.len,
            seed,
            header,
            is_header_good,
            runs: Vec::new(),
            totals: Totals::default(),
            is_hashed: header.is_some_and(|header| header.chain_hash.is_some()),
            sealed: None,
            unfinished: None,
        };
        let index_hints = hints::of_index(known.storage, known.use_hints, known.log_id, &segment, Some(seed));
        let mut tail = start;
        loop {
            let mut taker = Taker { pass: self, pending: Vec::new(), names: String::new(), hashed: None };
            let scanned = scan::scan(&mut source, seed, tail, &mut taker).repairing("read", read_error)?;
            if let Some(hashed) = taker.hashed {
                found.is_hashed |= hashed;
            }
            self.epoch = self.epoch.max(scanned.tail.epoch);
            (self.progress)(self.read + scanned.tail.offset);
            found.runs.push((tail, scanned.tail));
            found.totals = found.totals.and(scanned.totals);
            let here = scanned.tail;
            let (why, at, data_end, resume, later) = match &scanned.stop {
                Stop::Sealed(end) if is_last || next.is_none_or(|next| next == here.position) => {
                    found.sealed = Some(*end);
                    if is_last && vouched > end.trailer.file_len {
                        self.mended.push(format!("WATERMARK names an offset behind the end of {}", facts.path));
                    }
                    (segment.end, found.unfinished) = (here.position, None);
                    break;
                }
                Stop::Sealed(end) => {
                    ("it is sealed before the next segment begins".to_owned(), end.seal_offset, here.offset, None, None)
                }
                Stop::End if is_last && vouched <= here.offset => {
                    segment.end = here.position;
                    break;
                }
                Stop::End => {
                    let why = "the file ends before what is known to have been durable".to_owned();
                    (why, here.offset, here.offset, None, None)
                }
                Stop::Bad(bad) => {
                    let is_damaged = !is_last || matches!(scanned.verdict(vouched), Verdict::Damaged { .. });
                    if !is_damaged {
                        found.unfinished = Some((here.offset, bad.data_end));
                        segment.end = here.position;
                        break;
                    }
                    (bad.fault.to_string(), bad.at, bad.data_end, bad.resume, bad.later_last)
                }
            };
            if let Some(resume) = resume {
                let bytes = (here.offset, resume.offset);
                let sum = checksum(&mut source, bytes.0, bytes.1).repairing("read", read_error)?;
                let hints = hints::of_frames(
                    known.use_hints,
                    &mut source,
                    seed,
                    bytes,
                    (here.position, resume.position),
                    &index_hints,
                );
                let hints = hints.repairing("read", read_error)?;
                self.gap(&mut segment, bytes, here.position, resume.position, why, Some(sum), &hints);
                tail = resume;
                continue;
            }
            // Nothing of this segment can be read behind this place.
            let end = read_end(&file, facts.len, seed).repairing("read", read_error)?;
            let by_seal = end.map(|end| end.seal.last).filter(|last| *last >= here.position);
            let upto = match next {
                Some(next) => next,
                None if !is_last => by_seal.unwrap_or(here.position).max(later.unwrap_or_default()),
                None => known.durable(&mut self.notes).max(later.unwrap_or_default()).max(by_seal.unwrap_or_default()),
            };
            if upto < here.position {
                return Err(RepairError::Hopeless {
                    problem: format!(
                        "{} ends at position {}, behind where the next one begins, {upto}",
                        facts.path, here.position
                    ),
                });
            }
            segment.end = upto;
            let to = end.map_or(data_end, |end| end.seal_offset).max(here.offset);
            if upto == here.position && (!is_last || matches!(scanned.stop, Stop::Bad(_)) && by_seal == Some(upto)) {
                self.mended.push(format!(
                    "the end of {} (seal, index, trailer) is made anew: {why}, at offset {at}",
                    facts.path
                ));
                if end.is_some_and(|end| here.chain.is_some_and(|chain| chain != end.seal.chain)) {
                    self.notes.push(format!("a batch without events is lost at the end of {}", facts.path));
                }
                if to > here.offset {
                    self.keep_bytes(&mut segment, (here.offset, to), &mut source, &why)
                        .repairing("read", read_error)?;
                }
                break;
            }
            let bytes = (here.offset, to);
            let sum = checksum(&mut source, bytes.0, bytes.1).repairing("read", read_error)?;
            let hints =
                hints::of_frames(known.use_hints, &mut source, seed, bytes, (here.position, upto), &index_hints);
            let hints = hints.repairing("read", read_error)?;
            let sum = (to > here.offset).then_some(sum);
            self.gap(&mut segment, bytes, here.position, upto, why, sum, &hints);
            break;
        }
        self.read += facts.len;
        (self.progress)(self.read);
        segment.file = Some(found);
        Ok(segment)
    }

    /// With which seed a segment is read, and its header if there is any.
    fn begin(
        &mut self,
        known: &Known<'_>,
        facts: &SegmentFacts,
        source: &mut FileSource,
    ) -> io::Result<Option<(Seed, Option<SegmentHeader>, bool)>> {
        let fault = match &facts.header {
            Ok((header, seed)) => return Ok(Some((*seed, Some(*header), true))),
            Err(fault) => fault,
        };
        let head = source.bytes(0, SEGMENT_HEADER_LEN)?;
        let head = head.get(..SEGMENT_HEADER_LEN.min(head.len())).unwrap_or_default().to_vec();
        if head.len() < SEGMENT_HEADER_LEN {
            return Ok(None);
        }
        let crc_at = SEGMENT_HEADER_LEN - 4;
        let by_meta = known.meta.filter(|meta| meta.active == facts.number && meta.active_base == facts.base);
        let by_index = hints::seed_of(known.storage, known.log_id, facts.number);
        let candidates = [
            Some(Seed::new(u32_at(&head, crc_at))),
            Some(Seed::new(crc32fast::hash(&head[..crc_at]))),
            by_meta.map(|meta| meta.active_seed),
            by_index,
        ];
        let is_ours = |header: &SegmentHeader| {
            (header.log_id, header.number, header.base) == (known.log_id, facts.number, facts.base)
        };
        for seed in candidates.into_iter().flatten() {
            if !is_seed(source, facts, seed)? {
                continue;
            }
            let header = mend_header(&head, seed).map(|(header, _)| header).filter(is_ours);
            let how = if header.is_some() { "mended" } else { "made anew" };
            self.mended.push(format!("the header of {} is {how}: {fault}", facts.path));
            return Ok(Some((seed, header, false)));
        }
        Ok(None)
    }

    /// Notes that positions were lost, or that bytes were where no position was.
    #[allow(clippy::too_many_arguments)] // each a fact of its own
    fn gap(
        &mut self,
        segment: &mut FoundSegment,
        (offset, to): (u64, u64),
        after: Position,
        upto: Position,
        why: String,
        checksum: Option<u32>,
        hints: &Hints,
    ) {
        for (position, owner) in hints.range(after.plus(1)..=upto) {
            self.streams.see(*position, &owner.stream, owner.version);
            self.owners.insert(*position, owner.clone());
        }
        if after == upto && to > 0 {
            self.notes.push(format!("what is lost of {} at offset {offset} held no event: {why}", segment.path));
        }
        segment.gaps.push(Gap { offset, to, after, upto, why, recorded_at: self.recorded_at, checksum, is_end: false });
    }

    /// Keeps bytes that are of no use, though no position is lost with them.
    fn keep_bytes(
        &mut self,
        segment: &mut FoundSegment,
        (from, to): (u64, u64),
        source: &mut FileSource,
        why: &str,
    ) -> io::Result<()> {
        let sum = checksum(source, from, to)?;
        let at = segment.end;
        let recorded_at = self.recorded_at;
        segment.gaps.push(Gap {
            offset: from,
            to,
            after: at,
            upto: at,
            why: why.to_owned(),
            recorded_at,
            checksum: Some(sum),
            is_end: true,
        });
        Ok(())
    }
}

/// One segment begins where the one before ends, or behind it, when something is missing between them.
fn check_row(segment: &FoundSegment, at: Position) -> Result<(), RepairError> {
    if segment.base == at {
        return Ok(());
    }
    let (path, base) = (&segment.path, segment.base);
    Err(RepairError::Hopeless {
        problem: format!("{path} begins behind position {base}, and the log so far ends at {at}"),
    })
}

/// Whether frames, or the end of the segment, can be read with this seed.
fn is_seed(source: &mut FileSource, facts: &SegmentFacts, seed: Seed) -> io::Result<bool> {
    let tail = Tail {
        offset: SEGMENT_HEADER_LEN as u64,
        position: facts.base,
        chain: None,
        hash: None,
        epoch: Epoch::default(),
        durable_offset: 0,
    };
    let scanned = scan::scan(source, seed, tail, &mut ())?;
    let by_stop = match &scanned.stop {
        Stop::Sealed(_) => true,
        Stop::Bad(bad) => bad.later_commits > 0,
        Stop::End => false,
    };
    // A segment without a frame is as good with any seed.
    let is_empty = scanned.stop == Stop::End && scanned.totals.batches == 0 && facts.file.is_some();
    Ok(by_stop || scanned.totals.batches > 0 || is_empty || scan::read_trailer(source, seed)?.is_some())
}

/// The checksum of a range, by which kept bytes are named.
fn checksum(source: &mut FileSource, from: u64, to: u64) -> io::Result<u32> {
    const STEP: u64 = 64 << 10;
    let (mut hasher, mut at) = (crc32fast::Hasher::new(), from);
    while at < to {
        let bytes = source.bytes(at, STEP.min(to - at) as usize)?;
        let bytes = &bytes[..bytes.len().min((to - at) as usize)];
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        at += bytes.len() as u64;
    }
    Ok(hasher.finalize())
}

/// Takes in the events that a scan finds.
struct Taker<'p, 'a> {
    pass: &'p mut Pass<'a>,
    /// Of the batch at hand: position, version, time, and where the name of the stream ends in `names`.
    pending: Vec<(Position, u64, i64, usize)>,
    names: String,
    hashed: Option<bool>,
}

impl Sink for Taker<'_, '_> {
    fn event(&mut self, _offset: u64, event: &Event<'_>) {
        self.pass.redactions.event(event);
        self.names.push_str(event.stream);
        self.pending.push((event.position, event.version.get(), event.recorded_at, self.names.len()));
    }

    fn commit(&mut self, _offset: u64, commit: &Commit<'_>) {
        self.hashed.get_or_insert(commit.hash.is_some());
        self.pass.redactions.commit();
        let mut start = 0;
        for (position, version, recorded_at, end) in self.pending.drain(..) {
            self.pass.streams.see(position, &self.names[start..end], version);
            self.pass.first_recorded_at.get_or_insert(recorded_at);
            self.pass.recorded_at = self.pass.recorded_at.max(Some(recorded_at));
            start = end;
        }
        self.names.clear();
    }

    fn discard(&mut self) {
        self.pass.redactions.discard();
        self.pending.clear();
        self.names.clear();
    }
}

/// The event that stands at the start of these bytes, if a good frame of this seed does.
pub(super) fn event_in(bytes: &[u8], seed: Seed) -> Option<Event<'_>> {
    let frame = Frame::read(bytes, seed).ok()?;
    (frame.kind == annals_codec::FrameKind::Event).then(|| Event::decode(&frame).ok())?
}
