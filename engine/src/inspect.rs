//! Looking at a store's files without opening it: `verify`.
//!
//! Verification reads everything again, changes nothing, needs no lock, and
//! never stops at the first finding. It works on a live store, on a copy, and
//! on whatever else it is pointed at. It uses the same survey, the same
//! decision and the same scan as recovery, so the two cannot disagree.
//!
//! What is derived from segments, the files in `idx/`, is made once more in the same scan and
//! compared byte for byte. What is wrong there is a finding too, though no answer depends on it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annals_codec::index::{IndexBuilder, IndexIdentity};
use annals_codec::scan::{self, Fault, Sink, Source, Stop};
use annals_codec::{Commit, Event, HeaderFault, LogId, Position, SegmentNumber, StreamId, StreamVersion};
use hashbrown::HashMap;

use crate::error::{Doing, OpenError};
use crate::index::check::{self, FileCheck};
use crate::log::recover::decide::Plan;
use crate::log::recover::survey::{Content, Facts, SegmentFacts, doubtful};
use crate::log::recover::survey_beside_writer;
use crate::log::source::FileSource;
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FindingKind {
    /// A file is missing, foreign, or contradicts the others.
    Files,
    /// The header of a segment is damaged.
    Header,
    /// A frame is damaged.
    Frame,
    /// Frames are whole, and do not make up a batch that continues the one before.
    Batch,
    /// The seal, dense index or trailer of a sealed segment is damaged.
    Seal,
    /// Something that was durable is not there any more.
    Lost,
    /// An event's version, or its time, does not follow the one before.
    Order,
    /// An index file, or a filter over several, is not what its segments give. No answer depends on it: it
    /// can be deleted, and is made anew.
    Index,
}

impl FindingKind {
    /// The kind as one lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::Files => "files",
            FindingKind::Header => "header",
            FindingKind::Frame => "frame",
            FindingKind::Batch => "batch",
            FindingKind::Seal => "seal",
            FindingKind::Lost => "lost",
            FindingKind::Order => "order",
            FindingKind::Index => "index",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The segment, if it is about one.
    pub segment: Option<SegmentNumber>,
    /// Its file, as a path a person can open.
    pub file: Option<String>,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The first position concerned.
    pub position: Option<Position>,
    /// What is wrong, in words.
    pub message: String,
}

/// What verification found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The log's identity, where it could be read.
    pub log_id: Option<LogId>,
    /// The position of the last whole event.
    pub head: Position,
    /// How many segments were read.
    pub segments: u64,
    /// How many events are whole.
    pub events: u64,
    /// How many batches are whole.
    pub batches: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// How many index files and filters were compared with what their segments give. One that is
    /// missing is no finding: it may be about to be made.
    pub index_files: u64,
    /// Files in `idx/` that are of no sealed segment of the log. Nobody reads them; they can be deleted.
    pub unused_files: Vec<String>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
    /// The unfinished batch at the end, in bytes, if there is one: normal after a
    /// crash, and while a program is writing. The next open cuts it off.
    pub unfinished_bytes: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies the store in `dir`: every file, frame, checksum, batch and chain.
///
/// `progress` is called now and then with the bytes read so far and in all.
///
/// # Errors
///
/// [`OpenError::NotFound`] when there is no store, [`OpenError::Newer`] when it
/// is of a later format, [`OpenError::Io`] when it cannot be read. Damage is no
/// error here: it is what the report is for.
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let report = annals::inspect::verify(dir.path(), |_done, _all| ())?;
/// assert!(report.is_clean());
/// assert_eq!(report.events, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(dir: impl AsRef<Path>, progress: impl FnMut(u64, u64)) -> Result<VerifyReport, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(dir.as_ref()));
    verify_on(&*storage, progress)
}

/// Verifies the store on any storage.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_on(storage: &dyn Storage, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, OpenError> {
    let mut files = FileCheck::new(storage);
    let (facts, decided) = survey_beside_writer(storage)?;
    if facts.meta.is_none() && facts.segments.is_empty() {
        return Err(OpenError::NotFound { path: storage.describe("").into() });
    }
    let all: u64 = facts.segments.iter().map(|segment| segment.len).sum();
    let mut pass = Pass {
        report: VerifyReport {
            log_id: facts.meta.as_ref().and_then(|meta| meta.as_ref().ok()).map(|meta| meta.log_id),
            head: Position::START,
            segments: 0,
            events: 0,
            batches: 0,
            bytes: 0,
            index_files: 0,
            unused_files: Vec::new(),
            findings: Vec::new(),
            unfinished_bytes: 0,
        },
        order: Order::default(),
    };
    for (index, segment) in facts.segments.iter().enumerate() {
        let successor = facts.segments.get(index + 1);
        pass.segment(storage, &facts, segment, successor, &mut files, &mut |done| progress(done, all))?;
    }
    pass.filters(storage, &mut files);
    pass.relations(decided)?;
    Ok(pass.report)
}

struct Pass {
    report: VerifyReport,
    order: Order,
}

impl Pass {
    /// What only shows when the files are seen together.
    fn relations(&mut self, decided: Result<Plan, OpenError>) -> Result<(), OpenError> {
        let damage = match decided {
            Ok(Plan::Use(plan)) => plan.damage,
            Ok(Plan::Create) => Vec::new(),
            Err(OpenError::Inconsistent { problem }) => {
                self.report.findings.push(Finding {
                    kind: FindingKind::Files,
                    segment: None,
                    file: None,
                    offset: None,
                    position: None,
                    message: problem,
                });
                return Ok(());
            }
            Err(OpenError::Corrupt(damage)) => vec![damage],
            Err(error) => return Err(error),
        };
        for damage in damage {
            let known = self.report.findings.iter().any(|finding| {
                finding.segment == Some(damage.segment) && finding.position.is_some_and(|at| at == damage.from)
            });
            if !known {
                self.report.findings.push(Finding {
                    kind: FindingKind::Lost,
                    segment: Some(damage.segment),
                    file: Some(damage.file),
                    offset: Some(damage.offset),
                    position: Some(damage.from),
                    message: damage.fault,
                });
            }
        }
        Ok(())
    }

    fn find(&mut self, kind: FindingKind, segment: &SegmentFacts, offset: u64, position: Position, message: String) {
        self.report.findings.push(Finding {
            kind,
            segment: Some(segment.number),
            file: Some(segment.display.clone()),
            offset: Some(offset),
            position: Some(position),
            message,
        });
    }

    /// What is derived from several segments, and what is left over.
    fn filters(&mut self, storage: &dyn Storage, files: &mut FileCheck<'_>) {
        if let Some(log_id) = self.report.log_id {
            for fault in files.filters(log_id) {
                self.find_index(storage, None, fault);
            }
        }
        self.report.index_files = files.compared;
        self.report.unused_files = files.of_nothing();
    }

    fn find_index(&mut self, storage: &dyn Storage, segment: Option<SegmentNumber>, fault: check::Fault) {
        let check::Fault { path, offset, what } = fault;
        self.report.findings.push(Finding {
            kind: FindingKind::Index,
            segment,
            message: format!("{path}: {what}; no answer depends on it: delete it, and it is made anew"),
            file: Some(storage.describe(&path)),
            offset: Some(offset),
            position: None,
        });
    }

    /// Reads one segment from its first frame to its end, over every bad place.
    fn segment(
        &mut self,
        storage: &dyn Storage,
        facts: &Facts,
        segment: &SegmentFacts,
        successor: Option<&SegmentFacts>,
        files: &mut FileCheck<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), OpenError> {
        self.report.segments += 1;
        let first = segment.base.plus(1);
        if let Err(fault) = &segment.header {
            if let HeaderFault::Newer { .. } | HeaderFault::Features { .. } = fault {
                return Err(OpenError::Newer { problem: format!("{}: {fault}", segment.display) });
            }
            self.find(FindingKind::Header, segment, 0, first, fault.to_string());
        }
        let (seed, mut tail) = match (&segment.header, &segment.content) {
            (Ok((header, seed)), _) => (*seed, scan::first_tail(header)),
            (Err(_), Content::Last(Some(last))) => (last.seed, last.start),
            (Err(_), _) => {
                files.pass_over(segment.number);
                return Ok(());
            }
        };
        let vouched = facts.watermark.vouches_for(segment.number);
        let before = self.report.bytes;
        let source = FileSource::cached(segment.open(storage)?, segment.len);
        let mut source = Counted { source, before, furthest: 0, progress };
        let (mut look, mut sealed, mut is_whole) = (Look::First, None, true);
        let mut index = files.has_index(segment.number).then(|| IndexBuilder::new(tail.position));
        loop {
            let order = OrderSink { order: &mut self.order, first_fault: None, faults: 0 };
            let mut sink = Both { order, index: index.as_mut() };
            let found = scan::scan(&mut source, seed, tail, &mut sink).doing("read", || segment.display.clone())?;
            // One that is out of order puts all that follow out of order too: the first one tells.
            if let Some((offset, position, message)) = sink.order.first_fault {
                let more = match sink.order.faults {
                    1 => String::new(),
                    faults => format!(" (and {} more events behind it in this segment)", faults - 1),
                };
                self.find(FindingKind::Order, segment, offset, position, message + &more);
            }
            self.report.events += found.totals.events;
            self.report.batches += found.totals.batches;
            self.report.head = self.report.head.max(found.tail.position);
            let next = found.tail.position.plus(1);
            if let Look::UpTo(durable) = look
                && found.tail.offset < durable
            {
                look = Look::Certain;
                source.source.read_again_up_to(segment.len);
                tail = found.tail;
                continue;
            }
            let bad = match &found.stop {
                Stop::Bad(bad) => bad,
                Stop::Sealed(end) => {
                    sealed = Some((*end, found.tail.position));
                    break;
                }
                Stop::End => break,
            };
            let damaged = successor.is_some() || matches!(found.verdict(vouched), scan::Verdict::Damaged { .. });
            if !damaged {
                self.report.unfinished_bytes = bad.data_end - found.tail.offset;
                break;
            }
            if successor.is_none()
                && look == Look::First
                && let Some(durable) = doubtful(&found, vouched)
            {
                look = Look::UpTo(durable);
                source.source.read_again_up_to(durable);
                tail = found.tail;
                continue;
            }
            look = Look::First;
            // Behind a gap events would get wrong numbers.
            (is_whole, index) = (false, None);
            self.find(kind_of(&bad.fault), segment, bad.at, next, bad.fault.to_string());
            let Some(resume) = bad.resume else { break };
            tail = resume;
        }
        self.report.bytes += segment.len;
        let whole = sealed.filter(|_| is_whole);
        let expected = whole.zip(index).zip(segment.header.as_ref().ok());
        let expected = expected.map(|(((end, last), index), (header, seed))| {
            index.finish(IndexIdentity {
                log_id: header.log_id,
                segment: segment.number,
                base: header.base,
                seed: *seed,
                segment_len: end.trailer.file_len,
                events: (last.get() - header.base.get()) as u32,
                chain: end.seal.chain,
            })
        });
        // One that goes on growing has no index yet.
        let is_sealed = successor.is_some() || sealed.is_some() || !is_whole;
        let chain = whole.map(|(end, _)| end.seal.chain);
        if is_sealed && let Some(fault) = files.index(segment.number, seed, chain, expected.as_deref()) {
            self.find_index(storage, Some(segment.number), fault);
        }
        Ok(())
    }
}

/// How what stops a scan of the last segment is taken. Beside a writer, old bytes may have been read
/// before the new marker that says they were durable; damage is still there when they are read after it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Look {
    First,
    /// Again, and no further than what was durable: who never rests cannot be outrun.
    UpTo(u64),
    Certain,
}

/// The sinks of one scan.
struct Both<'a> {
    order: OrderSink<'a>,
    /// Where there is an index to compare with.
    index: Option<&'a mut IndexBuilder>,
}

impl Sink for Both<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.order.event(offset, event);
        if let Some(index) = &mut self.index {
            index.event(offset, event);
        }
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        self.order.commit(offset, commit);
        if let Some(index) = &mut self.index {
            index.commit(offset, commit);
        }
    }

    fn discard(&mut self) {
        self.order.discard();
        if let Some(index) = &mut self.index {
            index.discard();
        }
    }
}

fn kind_of(fault: &Fault) -> FindingKind {
    match fault {
        Fault::Batch(_) | Fault::NoCommit => FindingKind::Batch,
        Fault::Seal(_) => FindingKind::Seal,
        _ => FindingKind::Frame,
    }
}

/// Tells how far a scan has come.
struct Counted<'a> {
    source: FileSource,
    /// The bytes of the segments before this one.
    before: u64,
    furthest: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Source for Counted<'_> {
    type Error = std::io::Error;

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn bytes(&mut self, offset: u64, least: usize) -> std::io::Result<&[u8]> {
        /// Often enough for a person, seldom enough for the scan.
        const STEP: u64 = 1 << 20;
        if offset >= self.furthest + STEP {
            self.furthest = offset;
            (self.progress)(self.before + offset);
        }
        self.source.bytes(offset, least)
    }
}

/// What the order of events must satisfy over the whole log.
#[derive(Debug, Default)]
struct Order {
    versions: HashMap<StreamId, StreamVersion>,
    recorded_at: i64,
    /// How far the check has come, to know gaps: behind one, versions may jump.
    position: Position,
    behind_gap: bool,
    /// The events of the batch at hand, and the names of their streams.
    pending: Vec<Pending>,
    names: String,
}

/// One event that is not known to exist yet.
#[derive(Debug)]
struct Pending {
    offset: u64,
    position: Position,
    version: StreamVersion,
    recorded_at: i64,
    stream: Range<usize>,
}

struct OrderSink<'a> {
    order: &'a mut Order,
    first_fault: Option<(u64, Position, String)>,
    faults: u64,
}

impl Sink for OrderSink<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let Order { pending, names, .. } = &mut *self.order;
        let start = names.len();
        names.push_str(event.stream);
        let (position, version, recorded_at) = (event.position, event.version, event.recorded_at);
        pending.push(Pending { offset, position, version, recorded_at, stream: start..names.len() });
    }

    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {
        let order = &mut *self.order;
        for event in order.pending.drain(..) {
            order.behind_gap |= event.position != order.position.plus(1);
            order.position = event.position;
            let stream = &order.names[event.stream];
            let before = match order.versions.get_mut(stream) {
                Some(version) => std::mem::replace(version, event.version),
                None => {
                    order.versions.insert(StreamId::stored(stream), event.version);
                    StreamVersion::EMPTY
                }
            };
            let follows = event.version == before.plus(1) || (order.behind_gap && event.version > before);
            let in_time = event.recorded_at >= order.recorded_at;
            order.recorded_at = order.recorded_at.max(event.recorded_at);
            if follows && in_time {
                continue;
            }
            self.faults += 1;
            self.first_fault.get_or_insert_with(|| {
                let message = if follows {
                    "it was recorded before the event before it".to_owned()
                } else {
                    format!("version {} of stream {stream} follows version {before}", event.version)
                };
                (event.offset, event.position, message)
            });
        }
        order.names.clear();
    }

    fn discard(&mut self) {
        self.order.pending.clear();
        self.order.names.clear();
    }
}
