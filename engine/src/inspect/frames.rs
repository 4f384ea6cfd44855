//! Verifying frames and nothing else: every checksum, batch, seal and dense index, on all cores.
//!
//! What does not ask how events continue each other over segments can be asked of each segment by itself. So this is
//! as fast as reading, and finds whatever happened to bytes by accident.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use annals_codec::scan::{self, Scan, Stop, Verdict};
use annals_codec::{HeaderFault, Position};

use super::report::{Finding, FindingKind, VerifyReport};
use super::segment::{Pass, kind_of};
use crate::error::OpenError;
use crate::log::recover::survey::{Content, Facts, SegmentFacts};
use crate::log::recover::survey_beside_writer;
use crate::log::source::FileSource;
use crate::parallel;
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Verifies frames, batches, seals and dense indexes of the segments that hold events of these positions, each as a
/// whole, on so many threads; `None`: as many as there are cores.
///
/// Of what [`verify`](super::verify) looks at, this leaves out how versions and times of events follow each other, the hash chain, and what is
/// derived: `floor`, `idx/`, the manifest of a backup. `progress` is called now and then, from any thread, with the
/// bytes read so far and in all.
///
/// # Errors
///
/// As [`verify`](super::verify), but for [`OpenError::Io`]: a segment that cannot be read is a finding, and the others
/// are read.
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let report = annals::inspect::verify_frames(dir.path(), Position::START..=Position::END, None, |_, _| ())?;
/// assert!(report.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_frames(
    dir: impl AsRef<Path>,
    positions: RangeInclusive<Position>,
    threads: Option<usize>,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<VerifyReport, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(dir.as_ref()));
    verify_frames_on(&*storage, positions, threads, progress)
}

/// Verifies frames on any storage, as [`verify_frames`].
///
/// # Errors
///
/// As [`verify_frames`].
pub fn verify_frames_on(
    storage: &dyn Storage,
    positions: RangeInclusive<Position>,
    threads: Option<usize>,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<VerifyReport, OpenError> {
    let (facts, decided) = survey_beside_writer(storage)?;
    if facts.meta.is_none() && facts.segments.is_empty() {
        return Err(OpenError::NotFound { path: storage.describe("").into() });
    }
    let newer = facts.segments.iter().find_map(|segment| match &segment.header {
        Err(fault @ (HeaderFault::Newer { .. } | HeaderFault::Features { .. })) => {
            Some(format!("{}: {fault}", segment.display))
        }
        _ => None,
    });
    if let Some(problem) = newer {
        return Err(OpenError::Newer { problem });
    }
    let wanted: Vec<usize> = (0..facts.segments.len()).filter(|index| holds(&facts, *index, &positions)).collect();
    let all: u64 = wanted.iter().map(|index| facts.segments[*index].len).sum();
    let done = AtomicU64::new(0);
    let found = parallel::each(threads.unwrap_or_else(parallel::cores), wanted.len(), |number| {
        let index = wanted[number];
        let found = read(storage, &facts, index);
        let len = facts.segments[index].len;
        progress(done.fetch_add(len, Ordering::Relaxed) + len, all);
        found
    });
    let mut pass = Pass::new(&facts, &[]);
    let report = &mut pass.report;
    for found in found {
        report.segments += 1;
        report.events += found.events;
        report.batches += found.batches;
        report.head = report.head.max(found.head);
        report.unfinished_bytes += found.unfinished_bytes;
        report.findings.extend(found.findings);
    }
    report.bytes = all;
    pass.relations(decided)?;
    Ok(pass.report)
}

/// Whether a segment holds events of these positions, by its base and that of its successor.
fn holds(facts: &Facts, index: usize, positions: &RangeInclusive<Position>) -> bool {
    let ends_before = facts.segments.get(index + 1).is_some_and(|successor| successor.base < *positions.start());
    !ends_before && facts.segments[index].base < *positions.end()
}

/// What one segment was found to hold.
#[derive(Default)]
struct Found {
    events: u64,
    batches: u64,
    head: Position,
    unfinished_bytes: u64,
    findings: Vec<Finding>,
}

impl Found {
    fn find(&mut self, kind: FindingKind, segment: &SegmentFacts, offset: u64, position: Position, message: String) {
        self.findings.push(Finding {
            kind,
            segment: Some(segment.number),
            file: Some(segment.display.clone()),
            offset: Some(offset),
            position: Some(position),
            message,
        });
    }
}

/// Reads a segment over every bad place.
fn read(storage: &dyn Storage, facts: &Facts, index: usize) -> Found {
    let segment = &facts.segments[index];
    let mut found = Found { head: segment.base, ..Found::default() };
    let first = segment.base.plus(1);
    if let Err(fault) = &segment.header {
        found.find(FindingKind::Header, segment, 0, first, fault.to_string());
    }
    // The survey has read the last one already, and knows old bytes beside a writer from damage.
    let (seed, mut tail, mut known): (_, _, Option<&Scan>) = match (&segment.header, &segment.content) {
        (_, Content::Last(Some(last))) => (last.seed, last.start, Some(&last.scan)),
        (Ok((header, seed)), _) => (*seed, scan::first_tail(header), None),
        (Err(_), _) => return found,
    };
    let has_successor = index + 1 < facts.segments.len();
    let vouched = facts.watermark.vouches_for(segment.number);
    let mut source = None;
    loop {
        let scanned = match known.take() {
            Some(known) => Ok(known.clone()),
            None => open(storage, segment, &mut source)
                .and_then(|source| scan::scan(source, seed, tail, &mut ()).map_err(|error| error.to_string())),
        };
        let scan = match scanned {
            Ok(scan) => scan,
            Err(error) => {
                let message = format!("it cannot be read on: {error}");
                found.find(FindingKind::Files, segment, tail.offset, tail.position.plus(1), message);
                return found;
            }
        };
        found.events += scan.totals.events;
        found.batches += scan.totals.batches;
        found.head = found.head.max(scan.tail.position);
        let Stop::Bad(bad) = &scan.stop else {
            if has_successor && scan.stop == Stop::End {
                let message = "it has a successor, and is not sealed".to_owned();
                found.find(FindingKind::Seal, segment, scan.tail.offset, scan.tail.position.plus(1), message);
            }
            return found;
        };
        if !has_successor && !matches!(scan.verdict(vouched), Verdict::Damaged { .. }) {
            found.unfinished_bytes = bad.data_end - scan.tail.offset;
            return found;
        }
        found.find(kind_of(&bad.fault), segment, bad.at, scan.tail.position.plus(1), bad.fault.to_string());
        let Some(resume) = bad.resume else { return found };
        tail = resume;
    }
}

fn open<'a>(
    storage: &dyn Storage,
    segment: &SegmentFacts,
    source: &'a mut Option<FileSource>,
) -> Result<&'a mut FileSource, String> {
    if source.is_none() {
        let file = segment.open(storage).map_err(|error| error.to_string())?;
        *source = Some(FileSource::cached(file, segment.len));
    }
    Ok(source.as_mut().expect("it was just opened"))
}
