//! The index of a sealed segment: a file, searched where it lies.
//!
//! It is opened when it is first asked, and each of its sections is verified at its first touch.
//! When the file is missing, damaged, or of another segment, the index is built again from
//! the segment, in memory, and the file is written anew.
//!
//! What is always true:
//!
//! - What comes out was made from the segment whose seed the file names.
//! - No state of the file is an error. The segment itself being damaged, when it has to be
//!   read for its index, is one: an index that leaves events out would give wrong answers.

use std::ops::Range;
use std::sync::Arc;

use annals_codec::RoaringBitmap;
use annals_codec::index::{
    self, DIRECTORY_LEN, Directory, IndexBuilder, IndexFault, IndexIdentity, Label, Section, Sections, StreamEntry,
};
use annals_codec::scan::Stop;
use annals_codec::{EventId, Position};

use super::Span;
use super::files::{Content, IndexFiles};
use crate::error::{Damage, ReadError};
use crate::log::names;
use crate::log::segment::Segment;
use crate::metrics::measure::Measure;
use crate::planted::{self, Bug};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, OnceLock};

#[derive(Debug)]
pub(crate) struct SealedIndex {
    files: Arc<IndexFiles>,
    /// What the file holds, once it was looked at; `None` when it is not fit for use.
    file: OnceLock<Option<Image>>,
    /// What was built instead, or why that cannot be.
    built: OnceLock<Result<Image, Damage>>,
    /// Held by who builds it.
    building: Mutex<()>,
}

/// An index that can be asked.
#[derive(Debug)]
pub(super) struct Image {
    content: Content,
    directory: Directory,
    /// A bit for each section: whether its checksum was verified.
    verified: AtomicU32,
}

impl Image {
    pub(super) fn new(content: Content, directory: Directory) -> Image {
        Image { content, directory, verified: AtomicU32::new(0) }
    }
}

impl Sections for Image {
    type Error = IndexFault;

    fn identity(&self) -> &IndexIdentity {
        self.directory.identity()
    }

    #[inline]
    fn section(&self, section: Section) -> Result<&[u8], IndexFault> {
        let bit = 1 << section.index();
        let bytes = self.content.bytes(self.directory.place(section)).ok_or(IndexFault::Lengths)?;
        // Relaxed: who does not see the bit verifies once more.
        if self.verified.load(Ordering::Relaxed) & bit == 0 {
            if !planted::has(Bug::IndexUnchecked) && !self.directory.is_good(section, bytes) {
                return Err(IndexFault::Section { section });
            }
            self.verified.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(bytes)
    }
}

impl SealedIndex {
    /// The index of a sealed segment. Nothing is looked at yet.
    pub(crate) fn new(files: Arc<IndexFiles>) -> SealedIndex {
        SealedIndex { files, file: OnceLock::new(), built: OnceLock::new(), building: Mutex::new(()) }
    }

    /// The same, for a segment whose index was made just now, in a file or, where that could not be
    /// written, in memory. `None` when it cannot be made.
    pub(super) fn made(files: Arc<IndexFiles>, segment: &Segment) -> Option<SealedIndex> {
        let problem = match write(&files, segment) {
            Ok(Ok(image)) => {
                return Some(SealedIndex { file: OnceLock::from(Some(image)), ..SealedIndex::new(files) });
            }
            Ok(Err(damage)) => damage.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(segment = %segment.number, problem, "the index of a segment cannot be made");
        None
    }

    /// The index as it is now, from the file or built.
    pub(super) fn image(&self, segment: &Segment) -> Result<&Image, ReadError> {
        match (self.built.get(), self.file.get_or_init(|| open(&self.files, segment))) {
            (None, Some(image)) => Ok(image),
            _ => self.build(segment),
        }
    }

    /// Asks a question. It may be asked twice, when the file turns out to be damaged in between.
    pub(super) fn ask<T>(
        &self,
        segment: &Segment,
        mut question: impl FnMut(&Image) -> Result<T, IndexFault>,
    ) -> Result<T, ReadError> {
        let image = match self.built.get() {
            Some(built) => built.as_ref().map_err(|damage| ReadError::Corrupt(damage.clone()))?,
            None => match self.file.get_or_init(|| open(&self.files, segment)) {
                Some(image) => match question(image) {
                    Ok(answer) => return Ok(answer),
                    Err(fault) => {
                        tracing::warn!(segment = %segment.number, %fault, "an index is damaged, and is made anew");
                        self.build(segment)?
                    }
                },
                None => self.build(segment)?,
            },
        };
        question(image).map_err(|fault| ReadError::Corrupt(damage(segment, &fault.to_string())))
    }

    /// Builds the index from the segment, unless somebody has meanwhile.
    fn build(&self, segment: &Segment) -> Result<&Image, ReadError> {
        let _building = self.building.lock();
        let built = match self.built.get() {
            Some(built) => built,
            None => {
                let built = write(&self.files, segment)?;
                self.built.get_or_init(|| built)
            }
        };
        built.as_ref().map_err(|damage| ReadError::Corrupt(damage.clone()))
    }

    pub(super) fn span(&self, segment: &Segment, stream: &str) -> Result<Option<Span>, ReadError> {
        let entry = self.ask(segment, |image| index::find_stream(image, stream))?;
        Ok(entry.as_ref().map(span_of))
    }

    pub(super) fn offsets(
        &self,
        segment: &Segment,
        span: &Span,
        range: Range<u64>,
        out: &mut Vec<u32>,
    ) -> Result<(), ReadError> {
        let len = out.len();
        // Also valid for an index that was built again meanwhile: the same segment gives the same.
        let entry = StreamEntry { first: span.first, last: span.last, events: span.events, posting: span.handle };
        self.ask(segment, |image| {
            out.truncate(len);
            index::offsets(image, &entry, range.clone(), out)
        })
    }

    pub(super) fn streams(
        &self,
        segment: &Segment,
        prefix: &str,
        each: &mut dyn FnMut(&str, Span),
    ) -> Result<(), ReadError> {
        self.ask(segment, |image| {
            index::for_each_stream(image, prefix, &mut |name, entry| {
                each(name, span_of(&entry));
            })
        })
    }

    /// The stream with this number, in the order of names, and what the segment holds of it; `None` behind the
    /// last. Its name goes into `name`.
    pub(super) fn stream_at(
        &self,
        segment: &Segment,
        number: usize,
        name: &mut String,
    ) -> Result<Option<Span>, ReadError> {
        self.ask(segment, |image| {
            let Some((found, entry)) = index::stream_at(image, number)? else { return Ok(None) };
            name.clear();
            name.push_str(found);
            Ok(Some(span_of(&entry)))
        })
    }

    /// Calls `each` with every source that is tracked, in the order of names, and how far it was processed.
    pub(super) fn sources(&self, segment: &Segment, each: &mut dyn FnMut(&str, u64)) -> Result<(), ReadError> {
        self.ask(segment, |image| index::for_each_source(image, each))
    }

    pub(super) fn labelled(&self, segment: &Segment, label: Label<'_>) -> Result<RoaringBitmap, ReadError> {
        self.ask(segment, |image| index::labelled(image, label))
    }

    pub(super) fn tracking(&self, segment: &Segment, source: &str) -> Result<Option<u64>, ReadError> {
        self.ask(segment, |image| index::tracking(image, source))
    }

    pub(super) fn ids(&self, segment: &Segment, id: EventId, out: &mut Vec<Position>) -> Result<(), ReadError> {
        let len = out.len();
        self.ask(segment, |image| {
            out.truncate(len);
            index::candidates_of_id(image, id, &mut |number| out.push(segment.base.plus(u64::from(number) + 1)))
        })
    }

    pub(super) fn markers(&self, segment: &Segment, key: &str, out: &mut Vec<u64>) -> Result<(), ReadError> {
        let len = out.len();
        self.ask(segment, |image| {
            out.truncate(len);
            index::markers_of_key(image, key, &mut |offset| out.push(offset))
        })
    }
}

fn span_of(entry: &StreamEntry) -> Span {
    Span { first: entry.first, last: entry.last, events: entry.events, handle: entry.posting }
}

/// What a segment's index must say of itself.
fn identity(files: &IndexFiles, segment: &Segment) -> IndexIdentity {
    IndexIdentity {
        log_id: files.log_id,
        segment: segment.number,
        base: segment.base,
        seed: segment.seed,
        segment_len: segment.committed(),
        events: (segment.last().get() - segment.base.get()) as u32,
        chain: segment.chain,
    }
}

/// The index as its file has it; `None` when that is not fit for use.
fn open(files: &IndexFiles, segment: &Segment) -> Option<Image> {
    let path = names::index(segment.number);
    let file = files.open(&path)?;
    let read = || {
        let directory = Directory::decode(&file.head(DIRECTORY_LEN)?, file.len()).map_err(std::io::Error::other)?;
        if *directory.identity() != identity(files, segment) {
            return Err(std::io::Error::other("it is the index of another segment"));
        }
        Ok(Image::new(file.content()?, directory))
    };
    match read() {
        Ok(image) => Some(image),
        Err(error) => {
            tracing::warn!(path, %error, "an index file cannot be used, and is made anew");
            None
        }
    }
}

/// Makes the index of a sealed segment from its events and writes its file. The second
/// error is the segment's own.
fn write(files: &IndexFiles, segment: &Segment) -> Result<Result<Image, Damage>, ReadError> {
    let _span = tracing::debug_span!("index", segment = %segment.number).entered();
    let began = files.meter.now();
    let made = make(files, segment)?;
    if made.is_ok() {
        files.meter.since(Measure::Index, began);
    }
    Ok(made)
}

fn make(files: &IndexFiles, segment: &Segment) -> Result<Result<Image, Damage>, ReadError> {
    let mut builder = IndexBuilder::new(segment.base);
    let failed = |error| ReadError::Io { path: segment.shown.clone(), offset: 0, source: Arc::new(error) };
    let Some(scan) = segment.scan(None, &mut builder).map_err(failed)? else {
        return Ok(Err(damage(segment, "its header is damaged")));
    };
    // A batch without events, behind the last event, shows in the chain alone. What stands behind
    // the last batch does not matter here.
    if scan.tail.position != segment.last() || scan.tail.chain != Some(segment.chain) {
        let fault = match &scan.stop {
            Stop::Bad(bad) => format!("{} at offset {}", bad.fault, bad.at),
            Stop::End | Stop::Sealed(_) => format!("its events end at offset {}", scan.tail.offset),
        };
        return Ok(Err(damage(segment, &fault)));
    }
    let bytes = builder.finish(identity(files, segment));
    let is_written = files.write_whole(&names::index(segment.number), &bytes);
    if is_written
        && segment.is_mapped()
        && let Some(image) = open(files, segment)
    {
        return Ok(Ok(image));
    }
    let directory = Directory::decode(&bytes, bytes.len() as u64);
    let directory = directory.map_err(|fault| failed(std::io::Error::other(fault)))?;
    Ok(Ok(Image::new(Content::Loaded(bytes.into_boxed_slice()), directory)))
}

/// Nothing can be looked up in a segment without an index, and it cannot be made.
fn damage(segment: &Segment, fault: &str) -> Damage {
    Damage {
        segment: segment.number,
        file: segment.shown.clone(),
        offset: 0,
        from: segment.base.plus(1),
        to: Some(segment.last()),
        fault: format!("{fault}; its index in {} is missing too, so nothing can be looked up in it", names::INDEXES),
    }
}
