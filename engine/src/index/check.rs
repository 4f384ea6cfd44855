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

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use annals_codec::index::{
    DIRECTORY_LEN, Directory, IndexFault, IndexIdentity, LEVEL_HEADER_LEN, LevelHeader, LevelIdentity, Section,
    Sections as _, hashes, level_span, segments_digest,
};
use annals_codec::merkle::{Part, PartBuilder, Peaks};
use annals_codec::{
    BatchHasher, ChainPoint, Commit, Digest, Event, LogId, Position, Seed, SegmentNumber, chain_start, event_digest,
};

use super::files::IndexFile;
use super::level;
use super::sealed::Image;
use crate::log::names;
use crate::log::small_files::read_file;
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

/// The files that were there at the beginning. Asked for each segment by itself, from any thread.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    storage: &'a dyn Storage,
    names: BTreeSet<String>,
}

/// What the files of one segment were found to be.
#[derive(Debug)]
pub(crate) struct Compared {
    checked: Checked,
    faults: Vec<Fault>,
    /// How many there were.
    files: u64,
    /// The part of the tree, where it is what it should be behind what it says to go on from.
    tree: Option<TreeFound>,
}

/// Where a part of the tree begins and ends, by its own file.
#[derive(Debug)]
struct TreeFound {
    from: Position,
    before: Peaks,
    after: Peaks,
    /// Whether it begins here, and goes on from nothing.
    begins: bool,
}

impl Compared {
    /// Nothing can be said of what is derived from this segment.
    pub(crate) fn nothing(number: SegmentNumber) -> Compared {
        Compared { checked: Checked { number, mark: None, index: None }, faults: Vec::new(), files: 0, tree: None }
    }
}

/// Makes a part of the tree once more, behind what its file says to go on from.
#[derive(Debug)]
pub(crate) struct TreeCheck<'a> {
    files: &'a Files<'a>,
    log_id: LogId,
    from: Position,
    before: Peaks,
    begins: bool,
    /// Of the payloads that are gone.
    payloads: BTreeMap<Position, Digest>,
    hasher: BatchHasher,
    builder: PartBuilder,
}

impl TreeCheck<'_> {
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        match self.payloads.get(&event.position).filter(|_| event.redacted) {
            Some(payload) => self.hasher.push(&event_digest(event, payload)),
            None => self.hasher.event(event),
        }
    }

    /// The batch exists; somebody else may have hashed it already.
    pub(crate) fn commit(&mut self, commit: &Commit<'_>, digest: Option<Digest>) {
        let digest = digest.unwrap_or_else(|| self.hasher.close(commit));
        self.builder.push(&digest, commit.last);
    }

    pub(crate) fn discard(&mut self) {
        self.hasher.clear();
    }
}

impl<'a> Files<'a> {
    /// Lists the files. To be done before the segments are: what is derived comes after what it is derived from.
    pub(crate) fn new(storage: &'a dyn Storage) -> Files<'a> {
        // A directory that cannot be listed fails the survey, which looks into it too.
        Files { storage, names: storage.list(names::INDEXES).unwrap_or_default().into_iter().collect() }
    }

    /// What is needed to compare the part of the tree of a segment, if it has one that can be read. `start` is the hash
    /// chain at its base, `payloads` are the digests of those that are gone.
    pub(crate) fn tree(
        &'a self,
        number: SegmentNumber,
        log_id: LogId,
        start: ChainPoint,
        payloads: BTreeMap<Position, Digest>,
    ) -> Option<TreeCheck<'a>> {
        let path = names::tree(number);
        if !self.names.contains(names::file_name(&path)) {
            return None;
        }
        let bytes = read_file(self.storage, &path).ok()??;
        let part = Part::read_again(&bytes)?;
        let (mut from, mut before) = (part.header.from, part.before());
        let begins = start.hash == chain_start(log_id, start.position);
        if begins {
            (from, before) = (start.position, Peaks::default());
        }
        let builder = PartBuilder::new(from, before.clone(), start.position);
        let hasher = BatchHasher::new(log_id);
        Some(TreeCheck { files: self, log_id, from, before, begins, payloads, hasher, builder })
    }

    /// Whether a segment has an index file, and it is worth making what to compare it with.
    pub(crate) fn has_index(&self, number: SegmentNumber) -> bool {
        self.names.contains(names::file_name(&names::index(number)))
    }

    /// Compares the index of a sealed segment with `expected`, which was made of it; with nothing but
    /// its own checksums when there is nothing to compare it with.
    pub(crate) fn compare(
        &self,
        number: SegmentNumber,
        seed: Seed,
        chain: Option<u32>,
        expected: Option<&[u8]>,
        tree: Option<(TreeCheck<'_>, u32)>,
    ) -> Compared {
        let mut compared = Compared::nothing(number);
        let checked = &mut compared.checked;
        checked.mark = chain.map(|chain| (seed, chain));
        let path = names::index(number);
        if self.has_index(number) {
            let verdict = match expected {
                Some(expected) => self.twice(&path, |file| differs(file, expected)),
                None => self.twice(&path, |file| is_hurt(file, number, seed)),
            };
            if let (Some(Ok(())), Some(expected)) = (&verdict, expected) {
                checked.index = Directory::decode(expected, expected.len() as u64).ok().map(|made| *made.identity());
            }
            compared.files += u64::from(verdict.is_some());
            compared.faults.extend(told(path, verdict));
        }
        let path = names::tree(number);
        if self.names.contains(names::file_name(&path)) {
            let verdict = match tree {
                Some((tree, chain)) => {
                    let TreeCheck { files, log_id, from, before, begins, builder, .. } = tree;
                    let expected = builder.finish(log_id, number, seed, chain);
                    let verdict = files.twice(&path, |file| tree_differs(file, &expected));
                    if let (Some(Ok(())), Some(after)) =
                        (&verdict, Part::read_again(&expected).and_then(|it| it.peaks()))
                    {
                        compared.tree = Some(TreeFound { from, before, after, begins });
                    }
                    verdict
                }
                None => self.twice(&path, |file| is_no_part(file, number, seed)),
            };
            compared.files += u64::from(verdict.is_some());
            compared.faults.extend(told(path, verdict));
        }
        compared
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
}

/// What became of the files, segment by segment in their order.
#[derive(Debug)]
pub(crate) struct FileCheck<'a> {
    files: &'a Files<'a>,
    /// Those of which nothing was said yet.
    left: BTreeSet<String>,
    /// The sealed segments so far, in the order of their numbers.
    segments: Vec<Checked>,
    /// The tree behind the last of them, if it has one: where it begins, and its peaks.
    tree: Option<(Position, Peaks)>,
    /// How many files were compared.
    pub(crate) compared: u64,
}

impl<'a> FileCheck<'a> {
    pub(crate) fn new(files: &'a Files<'a>) -> FileCheck<'a> {
        FileCheck { files, left: files.names.clone(), segments: Vec::new(), tree: None, compared: 0 }
    }

    /// Takes in what the files of the next segment were found to be; what is wrong with them.
    pub(crate) fn take(&mut self, compared: Compared) -> Vec<Fault> {
        let Compared { checked, mut faults, files, tree } = compared;
        let number = checked.number;
        for path in [names::index(number), names::tree(number)] {
            self.left.remove(names::file_name(&path));
        }
        self.segments.push(checked);
        self.compared += files;
        let before = self.tree.take();
        if let Some(TreeFound { from, before: stated, after, begins }) = tree {
            // Each goes on from what its file says; so that has to be where the one before it ends.
            if !begins && before.is_some_and(|before| before != (from, stated)) {
                let what = "it does not go on from the part before it".to_owned();
                faults.push(Fault { path: names::tree(number), offset: 0, what });
            }
            self.tree = Some((from, after));
        }
        faults
    }

    /// Nothing can be said of what is derived from this segment.
    pub(crate) fn pass_over(&mut self, number: SegmentNumber) {
        self.take(Compared::nothing(number));
    }

    /// Compares the filters over the segments so far.
    pub(crate) fn filters(&mut self, log_id: LogId) -> Vec<Fault> {
        let mut faults = Vec::new();
        let filters: Vec<(String, u32, SegmentNumber)> = self
            .left
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
            self.left.remove(&name);
            let marks = segments.iter().map(|segment| segment.mark).collect::<Option<Vec<_>>>();
            let Some(marks) = marks else { continue };
            let identity = LevelIdentity { log_id, level, first, segments: segments_digest(marks) };
            let path = format!("{}/{name}", names::INDEXES);
            let verdict = self.files.twice(&path, |file| self.filter_differs(file, identity, segments));
            self.compared += u64::from(verdict.is_some());
            faults.extend(told(path, verdict));
        }
        faults
    }

    /// Paths of the files that are of no sealed segment of the log: they harm nobody, and nobody asks them.
    pub(crate) fn of_nothing(&self) -> Vec<String> {
        let is_ours = |name: &&String| names::derived_from(name).is_some();
        let there: BTreeSet<String> = self.files.storage.list(names::INDEXES).unwrap_or_default().into_iter().collect();
        let left = self.left.intersection(&there).filter(is_ours);
        left.map(|name| self.files.storage.describe(&format!("{}/{name}", names::INDEXES))).collect()
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
            let file = IndexFile::open(self.files.storage, &names::index(segment.number)).ok()?;
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

fn told(path: String, verdict: Option<Verdict>) -> Option<Fault> {
    let (offset, what) = verdict?.err()?;
    Some(Fault { path, offset, what })
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

fn tree_differs(file: &IndexFile, expected: &[u8]) -> io::Result<Verdict> {
    let offset = match first_difference(file, expected)? {
        Some(offset) => offset,
        None if file.len() == expected.len() as u64 => return Ok(Ok(())),
        None => expected.len() as u64,
    };
    Ok(Err((offset, "it is not the part of the tree that the segment gives".to_owned())))
}

/// What can be said of a part of the tree where the segment gives nothing to compare it with.
fn is_no_part(file: &IndexFile, number: SegmentNumber, seed: Seed) -> io::Result<Verdict> {
    let bytes = file.head(file.len() as usize)?;
    Ok(match Part::read(&bytes) {
        None => Err((0, "it is damaged".to_owned())),
        Some(part) if (part.header.segment, part.header.seed) != (number, seed) => {
            Err((0, "it is the part of another segment".to_owned()))
        }
        Some(_) => Ok(()),
    })
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
