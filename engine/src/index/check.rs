//! Comparing the files in `idx/` with the segments that they are derived from.
//!
//! A file is right exactly when it is byte for byte what would be made now: the same segment
//! gives the same index, whoever makes it, and the same indexes give the same filter.
//!
//! What is always true:
//!
//! - Nothing in memory grows with the log but a few bytes for each segment. One index is made at a time; filters
//!   are compared while they are made, from indexes where they lie.
//! - Files come, go, and are replaced while a writer runs. What is wrong with one is believed when it is wrong
//!   twice; one that has gone was never there.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use annals_codec::index::{
    DIRECTORY_LEN, Directory, IndexFault, IndexIdentity, LEVEL_HEADER_LEN, LevelHeader, LevelIdentity, Section,
    Sections as _, hashes, level_span, segments_digest,
};
use annals_codec::{LogId, Seed, SegmentNumber};

use super::files::IndexFile;
use super::level;
use super::sealed::Image;
use crate::log::names;
use crate::storage::Storage;

/// How many bytes of a file are compared in one go.
const WINDOW: usize = 256 << 10;

/// What is wrong with a file.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) path: String,
    /// The first byte that is not as it should be, as far as that can be said.
    pub(crate) offset: u64,
    pub(crate) what: String,
}

/// What a segment was found to be, as far as the files derived from it go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) number: SegmentNumber,
    /// Its seed and the chain after its last batch; `None` when it is damaged.
    pub(crate) mark: Option<(Seed, u32)>,
    /// What its index says of itself, if it has one, and that one is right.
    pub(crate) index: Option<IndexIdentity>,
}

/// The files that were there at the beginning, and what became of them.
#[derive(Debug)]
pub(crate) struct FileCheck<'a> {
    storage: &'a dyn Storage,
    names: BTreeSet<String>,
    /// The sealed segments so far, in the order of their numbers.
    segments: Vec<Checked>,
    /// How many files were compared.
    pub(crate) compared: u64,
}

impl<'a> FileCheck<'a> {
    /// Lists the files. To be done before the segments are: what is derived comes after what it is derived from.
    pub(crate) fn new(storage: &'a dyn Storage) -> FileCheck<'a> {
        // A directory that cannot be listed fails the survey, which looks into it too.
        let names = storage.list(names::INDEXES).unwrap_or_default().into_iter().collect();
        FileCheck { storage, names, segments: Vec::new(), compared: 0 }
    }

    /// Whether a segment has an index file, and it is worth making what to compare it with.
    pub(crate) fn has_index(&self, number: SegmentNumber) -> bool {
        self.names.contains(names::file_name(&names::index(number)))
    }

    /// Compares the index of a sealed segment with `expected`, which was made of it; with nothing but
    /// its own checksums when there is nothing to compare it with.
    pub(crate) fn index(
        &mut self,
        number: SegmentNumber,
        seed: Seed,
        chain: Option<u32>,
        expected: Option<&[u8]>,
    ) -> Option<Fault> {
        let mut checked = Checked { number, mark: chain.map(|chain| (seed, chain)), index: None };
        let mut fault = None;
        if self.names.remove(names::file_name(&names::index(number))) {
            let path = names::index(number);
            let verdict = match expected {
                Some(expected) => self.twice(&path, |file| differs(file, expected)),
                None => self.twice(&path, |file| is_hurt(file, number, seed)),
            };
            if let (Some(Ok(())), Some(expected)) = (&verdict, expected) {
                checked.index = Directory::decode(expected, expected.len() as u64).ok().map(|made| *made.identity());
            }
            fault = self.told(path, verdict);
        }
        self.segments.push(checked);
        fault
    }

    /// Nothing can be said of what is derived from this segment.
    pub(crate) fn pass_over(&mut self, number: SegmentNumber) {
        self.names.remove(names::file_name(&names::index(number)));
        self.segments.push(Checked { number, mark: None, index: None });
    }

    /// Compares the filters over the segments so far.
    pub(crate) fn filters(&mut self, log_id: LogId) -> Vec<Fault> {
        let mut faults = Vec::new();
        let filters: Vec<(String, u32, SegmentNumber)> = self
            .names
            .iter()
            .filter_map(|name| {
                let (level, group) = names::parse_level(name)?;
                Some((name.clone(), level, SegmentNumber::new(group.checked_mul(level_span(level))?)))
            })
            .collect();
        for (name, level, first) in filters {
            let start = self.segments.partition_point(|segment| segment.number < first);
            let span = level_span(level) as usize;
            let segments = self.segments.get(start..).and_then(|segments| segments.get(..span));
            let is_theirs = |segments: &&[Checked]| {
                segments.iter().zip(first.get()..).all(|(segment, number)| segment.number.get() == number)
            };
            // Otherwise some of its segments are not there, or not sealed, and nobody asks it.
            let Some(segments) = segments.filter(is_theirs) else { continue };
            self.names.remove(&name);
            let marks = segments.iter().map(|segment| segment.mark).collect::<Option<Vec<_>>>();
            let Some(marks) = marks else { continue };
            let identity = LevelIdentity { log_id, level, first, segments: segments_digest(marks) };
            let path = format!("{}/{name}", names::INDEXES);
            let verdict = self.twice(&path, |file| self.filter_differs(file, identity, segments));
            faults.extend(self.told(path, verdict));
        }
        faults
    }

    /// Paths of the files that are of no sealed segment of the log: they harm nobody, and nobody asks them.
    pub(crate) fn of_nothing(&self) -> Vec<String> {
        let is_ours = |name: &&String| names::parse_index(name).is_some() || names::parse_level(name).is_some();
        let there: BTreeSet<String> = self.storage.list(names::INDEXES).unwrap_or_default().into_iter().collect();
        let left = self.names.intersection(&there).filter(is_ours);
        left.map(|name| self.storage.describe(&format!("{}/{name}", names::INDEXES))).collect()
    }

    /// Judges a file, and when something is wrong the one that is there then once more; `None` when there is none.
    fn twice(&self, path: &str, judge: impl Fn(&IndexFile) -> io::Result<Verdict>) -> Option<Verdict> {
        let once = || match IndexFile::open(self.storage, path).and_then(|file| judge(&file)) {
            Ok(verdict) => Some(verdict),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err((0, format!("it cannot be read: {error}")))),
        };
        match once() {
            Some(Err(_)) => once(),
            verdict => verdict,
        }
    }

    fn told(&mut self, path: String, verdict: Option<Verdict>) -> Option<Fault> {
        self.compared += u64::from(verdict.is_some());
        let (offset, what) = verdict?.err()?;
        Some(Fault { path, offset, what })
    }

    fn filter_differs(&self, file: &IndexFile, identity: LevelIdentity, segments: &[Checked]) -> io::Result<Verdict> {
        let header = match LevelHeader::decode(&file.head(LEVEL_HEADER_LEN)?, file.len()) {
            Ok(header) if header.identity == identity => header,
            Ok(_) => return Ok(Err((0, "it is the filter of other segments".to_owned()))),
            Err(fault) => return Ok(Err((0, fault.to_string()))),
        };
        let content = file.content()?;
        let start = LEVEL_HEADER_LEN as u64;
        let filter = content.bytes(start..file.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        if !header.is_good(filter) {
            return Ok(Err((start, "the checksum of the filter does not match".to_owned())));
        }
        // What its segments' indexes are is only known where they are right.
        let images = segments.iter().map(|segment| {
            let file = IndexFile::open(self.storage, &names::index(segment.number)).ok()?;
            Some(Image::new(file.content().ok()?, Directory::decode(&file.head(DIRECTORY_LEN).ok()?, file.len()).ok()?))
                .filter(|image| segment.index == Some(*image.identity()))
        });
        let Some(images) = images.collect::<Option<Vec<Image>>>() else { return Ok(Ok(())) };
        let Ok(parts) = images.iter().map(hashes).collect::<Result<Vec<_>, _>>() else { return Ok(Ok(())) };
        let (mut at, mut differs) = (0, None);
        let made = level::merge(identity, parts, &mut |bytes| {
            let there = filter.get(at..).unwrap_or_default();
            let same = there.iter().zip(bytes).take_while(|(there, made)| there == made).count();
            if same < bytes.len() {
                differs.get_or_insert(start + (at + same) as u64);
            }
            at += bytes.len();
            Ok(())
        })?;
        if differs.is_none() && made != header {
            differs = Some(0);
        }
        Ok(differs.map_or(Ok(()), |at| Err((at, "it is not the filter that its segments give".to_owned()))))
    }
}

/// Where a file differs first, and what that means.
type Verdict = Result<(), (u64, String)>;

fn differs(file: &IndexFile, expected: &[u8]) -> io::Result<Verdict> {
    let offset = match first_difference(file, expected)? {
        Some(offset) => offset,
        None if file.len() == expected.len() as u64 => return Ok(Ok(())),
        None => expected.len() as u64,
    };
    let made = Directory::decode(expected, expected.len() as u64).map_err(io::Error::other)?;
    let what = match Directory::decode(&file.head(DIRECTORY_LEN)?, file.len()) {
        Err(fault) => fault.to_string(),
        Ok(found) if found.identity() != made.identity() => "it is the index of another segment".to_owned(),
        Ok(found) if found == made => {
            let section = Section::ALL.into_iter().find(|section| made.place(*section).contains(&offset));
            section.map_or_else(String::new, |section| IndexFault::Section { section }.to_string())
        }
        Ok(found) => {
            let bytes = |section| {
                let Range { start, end } = made.place(section);
                &expected[start as usize..end as usize]
            };
            let section = Section::ALL.into_iter().find(|section| !found.is_good(*section, bytes(*section)));
            section.map_or_else(String::new, |section| format!("the section {section:?} is not what the segment gives"))
        }
    };
    Ok(Err((offset, what)))
}

/// The first byte of the file that is not as expected, or lacks.
fn first_difference(file: &IndexFile, expected: &[u8]) -> io::Result<Option<u64>> {
    let mut window = vec![0; WINDOW.min(expected.len())];
    for (number, chunk) in expected.chunks(WINDOW).enumerate() {
        let start = (number * WINDOW) as u64;
        let read = file.read_at(start, &mut window[..chunk.len()])?;
        if window[..read] != *chunk {
            let same = window[..read].iter().zip(chunk).take_while(|(there, made)| there == made).count();
            return Ok(Some(start + same as u64));
        }
    }
    Ok(None)
}

/// What can be said of the index of a segment that is damaged itself.
fn is_hurt(file: &IndexFile, number: SegmentNumber, seed: Seed) -> io::Result<Verdict> {
    let directory = match Directory::decode(&file.head(DIRECTORY_LEN)?, file.len()) {
        Ok(directory) => directory,
        Err(fault) => return Ok(Err((0, fault.to_string()))),
    };
    let identity = directory.identity();
    if (identity.segment, identity.seed) != (number, seed) {
        return Ok(Err((0, "it is the index of another segment".to_owned())));
    }
    let content = file.content()?;
    let bad = Section::ALL.into_iter().find(|section| {
        !content.bytes(directory.place(*section)).is_some_and(|bytes| directory.is_good(*section, bytes))
    });
    Ok(bad.map_or(Ok(()), |section| Err((directory.place(section).start, IndexFault::Section { section }.to_string()))))
}
