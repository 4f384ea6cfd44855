//! Survey: the facts about a store's files, without changing anything.

use std::io;
use std::sync::Arc;

use annals_codec::scan::{self, Scan, SealedEnd, Sink, Source};
use annals_codec::{
    Frame, FrameKind, HeaderFault, LogId, META_FILE_LEN, MetaFault, Position, SEAL_LEN, SEGMENT_HEADER_LEN, Seal, Seed,
    SegmentHeader, SegmentNumber, StoreMeta, TRAILER_LEN, Tail, Trailer, WATERMARK_FILE_LEN, Watermark,
};

use crate::error::{Doing, OpenError};
use crate::log::floor::{FloorFact, first_segment, survey_floor};
use crate::log::names;
use crate::log::small_files::read_whole;
use crate::log::source::FileSource;
use crate::storage::{Access, File, Storage};

/// What was found.
#[derive(Debug)]
pub(crate) struct Facts {
    /// `None` when there is no such file.
    pub(crate) meta: Option<Result<StoreMeta, MetaFault>>,
    pub(crate) watermark: WatermarkFact,
    /// Paths of what an interrupted operation has left.
    pub(crate) temporaries: Vec<String>,
    pub(crate) floor: FloorFact,
    /// The file `floor`, as a person would name it.
    pub(crate) floor_display: String,
    /// The segment that the log begins with.
    pub(crate) first: SegmentNumber,
    /// The segments from there on, in the order of their numbers.
    pub(crate) segments: Vec<SegmentFacts>,
    /// Paths of the segments before it: of a retention that was not finished, the oldest first.
    pub(crate) removed: Vec<String>,
    /// Paths of files that are derived from these.
    pub(crate) removed_indexes: Vec<String>,
    /// Whether a redaction was begun, and not finished.
    pub(crate) has_unfinished_redaction: bool,
}

/// What was found of the watermark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WatermarkFact {
    /// There is no such file.
    Missing,
    /// Neither slot is valid, as in a new file.
    Blank,
    Valid(Watermark),
}

impl WatermarkFact {
    fn is_of(self, log_id: LogId) -> bool {
        matches!(self, WatermarkFact::Valid(watermark) if watermark.log_id == log_id)
    }

    /// The offset below which it says that a segment was durable; 0 when it says nothing about it.
    pub(crate) fn vouches_for(self, segment: SegmentNumber) -> u64 {
        match self {
            WatermarkFact::Valid(watermark) if watermark.segment == segment => watermark.offset,
            _ => 0,
        }
    }
}

/// What was found of one segment.
#[derive(Debug)]
pub(crate) struct SegmentFacts {
    pub(crate) number: SegmentNumber,
    /// As the file's name says.
    pub(crate) base: Position,
    pub(crate) path: String,
    /// As a person would name it.
    pub(crate) display: String,
    /// Kept open for the last segment only: a log may have more segments than a process may have files.
    pub(crate) file: Option<Arc<dyn File>>,
    pub(crate) len: u64,
    pub(crate) header: Result<(SegmentHeader, Seed), HeaderFault>,
    pub(crate) content: Content,
}

impl SegmentFacts {
    /// The file, for reading; of the last segment, as it was opened before.
    pub(crate) fn open(&self, storage: &dyn Storage) -> Result<Arc<dyn File>, OpenError> {
        match &self.file {
            Some(file) => Ok(Arc::clone(file)),
            None => storage.open(&self.path, Access::Read).doing("open", || self.display.clone()),
        }
    }

    /// How it ends, if it is whole and its last event is at `last`, behind which its successor begins.
    pub(crate) fn sealed_end(&self, last: Position) -> Option<SealedEnd> {
        match (&self.header, &self.content) {
            (Ok(_), Content::Older(Some(end))) if end.seal.last == last => Some(*end),
            _ => None,
        }
    }

    /// The file of the last segment, open for what the survey was made for.
    pub(crate) fn last_file(&self) -> &Arc<dyn File> {
        self.file.as_ref().expect("the last segment is kept open")
    }
}

/// What was found behind a segment's header.
#[derive(Debug)]
pub(crate) enum Content {
    /// A segment with a successor, judged by its end alone.
    Older(Option<SealedEnd>),
    /// The last segment, scanned as a whole; `None` when nothing says with which seed.
    Last(Option<Box<LastFacts>>),
}

#[derive(Debug)]
pub(crate) struct LastFacts {
    /// With which seed, and from where on, its frames are read.
    pub(crate) seed: Seed,
    pub(crate) start: Tail,
    pub(crate) scan: Scan,
    /// Whether some of it above the watermark may be in the page cache only.
    pub(crate) unproven: bool,
    /// Where the part begins that the watermark does not vouch for.
    pub(crate) vouched: u64,
}

impl LastFacts {
    /// The end of what commit markers say was durable.
    pub(crate) fn durable_offset(&self) -> u64 {
        let later = match &self.scan.stop {
            scan::Stop::Bad(bad) => bad.later_durable.unwrap_or(0),
            scan::Stop::End | scan::Stop::Sealed(_) => 0,
        };
        self.scan.tail.durable_offset.max(later)
    }
}

/// Who surveys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// The one who holds the lock: sees past the page cache where nothing vouches for it.
    Write,
    /// Anybody else, perhaps beside a writer.
    Read,
}

/// States the facts about the store in `storage`. What the scan of the last segment accepts is
/// told to `sink`: read once, it is judged and taken in.
pub(crate) fn survey(storage: &dyn Storage, purpose: Purpose, sink: &mut dyn Sink) -> Result<Facts, OpenError> {
    // The watermark first: beside a writer, what it vouches for is then older
    // than everything read after it.
    let watermark = read_whole(storage, names::WATERMARK, WATERMARK_FILE_LEN)
        .doing("read", || storage.describe(names::WATERMARK))?;
    let watermark = match watermark.map(|bytes| Watermark::decode(&bytes)) {
        None => WatermarkFact::Missing,
        Some(None) => WatermarkFact::Blank,
        Some(Some(watermark)) => WatermarkFact::Valid(watermark),
    };
    let meta = read_whole(storage, names::META, META_FILE_LEN)
        .doing("read", || storage.describe(names::META))?
        .map(|bytes| StoreMeta::decode(&bytes));
    let mut temporaries = Vec::new();
    let mut found = Vec::new();
    let mut indexes = Vec::new();
    let mut has_unfinished_redaction = false;
    for dir in ["", names::SEGMENTS, names::QUARANTINE, names::INDEXES] {
        let entries = match storage.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Nothing in there is needed, so not even this keeps a store from opening.
            Err(error) if dir == names::INDEXES => {
                tracing::warn!(dir, %error, "the index files cannot be listed");
                continue;
            }
            entries => entries.doing("list", || storage.describe(dir))?,
        };
        for name in entries {
            let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            if names::is_temporary(dir, &name) {
                temporaries.push(path);
            } else if let Some((number, base)) = names::parse_segment(&name).filter(|_| dir == names::SEGMENTS) {
                found.push((number, base, path));
            } else if let Some(number) = names::derived_from(&name).filter(|_| dir == names::INDEXES) {
                indexes.push((number, path));
            } else if dir == names::SEGMENTS {
                has_unfinished_redaction |= names::parse_redacted_segment(&name).is_some();
            }
        }
    }
    temporaries.sort();
    found.sort();

    let seed_of_last = meta.as_ref().and_then(|meta| meta.as_ref().ok()).copied();
    // Behind the list of segments: of what was removed before they were listed, it tells.
    let floor = survey_floor(storage).doing("read", || storage.describe(names::FLOOR))?;
    let first = first_segment(seed_of_last.as_ref(), &floor, found.first().map(|(number, ..)| *number));
    let kept = found.split_off(found.partition_point(|(number, ..)| *number < first));
    let removed = std::mem::replace(&mut found, kept).into_iter().map(|(.., path)| path).collect();
    indexes.retain(|(number, _)| *number < first);
    let removed_indexes = indexes.into_iter().map(|(_, path)| path).collect();
    let mut segments: Vec<SegmentFacts> = Vec::with_capacity(found.len());
    for (index, (number, base, path)) in found.iter().enumerate() {
        let is_last = index + 1 == found.len();
        let access = if purpose == Purpose::Write && is_last { Access::ReadWrite } else { Access::Read };
        let doing = || storage.describe(path);
        let file = storage.open(path, access).doing("open", doing)?;
        let len = file.len().doing("read", doing)?;
        let mut head = vec![0; SEGMENT_HEADER_LEN];
        let read = file.read_at(0, &mut head).doing("read", doing)?;
        head.truncate(read);
        let header = SegmentHeader::decode(&head);
        let content = if is_last {
            let is_ours = seed_of_last.is_none_or(|meta| watermark.is_of(meta.log_id));
            let vouched = if is_ours { watermark.vouches_for(*number) } else { 0 };
            let start = start_of(&header, *number, *base, seed_of_last.as_ref());
            Content::Last(match start {
                Some((seed, tail)) => {
                    let scanned = scan_last(&file, len, seed, tail, (vouched, purpose), sink);
                    Some(Box::new(scanned.doing("read", doing)?))
                }
                None => None,
            })
        } else {
            Content::Older(match &header {
                Ok((_, seed)) => read_end(&file, len, *seed).doing("read", doing)?,
                Err(_) => None,
            })
        };
        let display = storage.describe(path);
        segments.push(SegmentFacts {
            number: *number,
            base: *base,
            path: path.clone(),
            display,
            file: is_last.then_some(file),
            len,
            header,
            content,
        });
    }
    let floor_display = storage.describe(names::FLOOR);
    Ok(Facts {
        meta,
        watermark,
        temporaries,
        floor,
        floor_display,
        first,
        segments,
        removed,
        removed_indexes,
        has_unfinished_redaction,
    })
}

/// The seed of a segment and where its frames begin: from its header, or from
/// `store.meta` when the header is hurt.
fn start_of(
    header: &Result<(SegmentHeader, Seed), HeaderFault>,
    number: SegmentNumber,
    base: Position,
    meta: Option<&StoreMeta>,
) -> Option<(Seed, Tail)> {
    match header {
        Ok((header, seed)) => Some((*seed, scan::first_tail(header))),
        Err(HeaderFault::Newer { .. } | HeaderFault::Features { .. }) => None,
        Err(_) => {
            let meta = meta.filter(|meta| meta.active == number && meta.active_base == base)?;
            let tail = Tail {
                offset: SEGMENT_HEADER_LEN as u64,
                position: base,
                chain: None,
                hash: None,
                epoch: annals_codec::Epoch::default(),
                durable_offset: 0,
            };
            Some((meta.active_seed, tail))
        }
    }
}

fn scan_last(
    file: &Arc<dyn File>,
    len: u64,
    seed: Seed,
    tail: Tail,
    (vouched, purpose): (u64, Purpose),
    mut sink: &mut dyn Sink,
) -> io::Result<LastFacts> {
    let mut source = match purpose {
        Purpose::Write => FileSource::fresh_from(Arc::clone(file), len, vouched),
        Purpose::Read => FileSource::cached(Arc::clone(file), len),
    };
    let mut scan = scan::scan(&mut source, seed, tail, &mut sink)?;
    if purpose == Purpose::Read
        && let Some(durable) = doubtful(&scan, vouched)
    {
        // A writer may have gone on while this was read. Everything below `durable` was written before the
        // marker that says so was met: what is read of it now is what is there. Behind it nobody looks
        // again, or a writer that never rests would have to be outrun.
        source.read_again_up_to(durable);
        let mut more = scan::scan(&mut source, seed, scan.tail, &mut sink)?;
        if more.tail.offset < durable {
            // It is damaged. Whoever is told of it is told of what stands behind it, too.
            source.read_again_up_to(len);
            let rest = scan::scan(&mut source, seed, more.tail, &mut sink)?;
            more = Scan { totals: more.totals.and(rest.totals), ..rest };
        }
        scan = Scan { totals: scan.totals.and(more.totals), ..more };
    }
    Ok(LastFacts { seed, start: tail, scan, unproven: source.is_unproven(), vouched })
}

/// Up to where the log was durable, if what stopped a scan counts as damage only because of what was read after it.
pub(crate) fn doubtful(scan: &Scan, vouched: u64) -> Option<u64> {
    match (&scan.stop, scan.verdict(vouched)) {
        (scan::Stop::Bad(bad), scan::Verdict::Damaged { durable_offset }) if bad.at >= vouched => Some(durable_offset),
        _ => None,
    }
}

/// The seal and trailer at the end of a segment, if they are whole; the file
/// may be longer than they say, by zeros.
pub(crate) fn read_end(file: &Arc<dyn File>, len: u64, seed: Seed) -> io::Result<Option<SealedEnd>> {
    let mut source = FileSource::cached(Arc::clone(file), len);
    let Some(trailer) = find_trailer(&mut source, seed)? else { return Ok(None) };
    let Some(seal_offset) = trailer.seal_offset() else { return Ok(None) };
    // Itself and not through the window of the source, which would take the dense index along.
    let mut bytes = [0; SEAL_LEN as usize];
    let read = file.read_at(seal_offset, &mut bytes)?;
    let seal = match Frame::read(&bytes[..read], seed) {
        Ok(frame) if frame.kind == FrameKind::Seal => Seal::decode(&frame),
        _ => None,
    };
    Ok(seal.filter(|seal| seal.events == u64::from(trailer.events)).map(|seal| SealedEnd {
        seal,
        seal_offset,
        trailer,
    }))
}

/// The trailer, at the end of the file or before the zeros that a trim should have removed.
fn find_trailer(source: &mut FileSource, seed: Seed) -> io::Result<Option<Trailer>> {
    if let Some(trailer) = scan::read_trailer(source, seed)? {
        return Ok(Some(trailer));
    }
    // The last byte that is not zero is the trailer's, or one of the four of its checksum
    // stands behind it: try each of the places where it can then begin.
    let len = source.len();
    let mut end = len;
    while end > 0 {
        let from = end.saturating_sub(64 << 10);
        let window = source.bytes(from, (end - from) as usize)?;
        let window = &window[..window.len().min((end - from) as usize)];
        if let Some(last) = window.iter().rposition(|&byte| byte != 0) {
            let last = from + last as u64;
            return (last + 1..=last + 4).find_map(|end| trailer_ending_at(source, seed, end).transpose()).transpose();
        }
        end = from;
    }
    Ok(None)
}

fn trailer_ending_at(source: &mut FileSource, seed: Seed, end: u64) -> io::Result<Option<Trailer>> {
    let Some(at) = end.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
    let bytes = source.bytes(at, TRAILER_LEN)?;
    let trailer = bytes.first_chunk().and_then(|bytes| Trailer::decode(bytes, seed));
    Ok(trailer.filter(|trailer| trailer.file_len == end))
}
