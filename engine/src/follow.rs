//! Following a writer in another process, without a lock and without a trace.
//!
//! The writer says in WATERMARK how far the log is durable. What lies below
//! that is final, so a follower scans from where it stands up to there, and
//! shows it. A segment that the watermark has left behind is sealed: the
//! follower finishes it and goes on with the next.

use std::io;
use std::sync::Arc;

use annals_codec::scan::{self, SealedEnd, Source, Stop};
use annals_codec::{
    Digest, Position, SEGMENT_HEADER_LEN, SegmentHeader, SegmentNumber, Tail, WATERMARK_FILE_LEN, Watermark,
};

use crate::error::{Damage, ReadError};
use crate::index::IndexedSegment;
use crate::index::build::IndexBuilder;
use crate::index::files::IndexFiles;
use crate::index::floor::FloorIndex;
use crate::index::load::Loader;
use crate::index::memory::MemoryIndex;
use crate::log::names;
use crate::log::segment::{Segment, SegmentPlace};
use crate::log::small_files::read_whole;
use crate::log::source::FileSource;
use crate::metrics::measure::{Counter, Measure};
use crate::shown::{Shown, load_to_read};
use crate::storage::{Access, File, Storage};
use crate::view::Published;

/// How much of a growing segment a follower maps: it cannot know how large the
/// writer lets it grow, and address space that is never touched costs nothing.
/// No segment is larger: offsets are stored divided by 8, in 32 bits.
pub(crate) const MOST_SEGMENT_LEN: u64 = 32 << 30;

/// The newest segment as a follower takes it in.
#[derive(Debug)]
pub(crate) struct Newest {
    pub(crate) segment: IndexedSegment,
    pub(crate) index: Arc<MemoryIndex>,
    pub(crate) file: Arc<dyn File>,
    /// How far it was taken in.
    pub(crate) tail: Tail,
}

/// Where a follower stands.
#[derive(Debug)]
pub(crate) struct Follower {
    storage: Arc<dyn Storage>,
    files: Arc<IndexFiles>,
    loader: Loader,
    newest: IndexedSegment,
    /// The newest segment's index, which grows as it does.
    index: Arc<MemoryIndex>,
    /// The newest segment's file; readers have its mapping.
    file: Arc<dyn File>,
    tail: Tail,
    /// The sequence of the watermark seen last.
    seen: u64,
    /// A scan ended early: part of what it found is in the index, above the tail.
    torn: bool,
}

impl Follower {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        files: Arc<IndexFiles>,
        loader: Loader,
        newest: Newest,
        seen: u64,
    ) -> Follower {
        let Newest { segment, index, file, tail } = newest;
        Follower { storage, files, loader, newest: segment, index, file, tail, seen, torn: false }
    }

    /// Looks for the writer's progress and shows it.
    pub(crate) fn follow(&mut self, published: &Published) -> Result<(), ReadError> {
        let path = || self.storage.describe(names::WATERMARK);
        let bytes = read_whole(&*self.storage, names::WATERMARK, WATERMARK_FILE_LEN)
            .map_err(|error| read_error(path(), 0, error))?;
        let watermark = bytes.and_then(|bytes| Watermark::decode(&bytes));
        let Some(watermark) = watermark.filter(|mark| mark.log_id == self.files.log_id && mark.sequence != self.seen)
        else {
            return Ok(());
        };
        let began = self.files.meter.now();
        // What the index took in already would be taken in a second time.
        let followed = if self.torn { self.start_over(published) } else { self.follow_to(&watermark, published) };
        if followed.as_ref().is_err_and(is_not_found) {
            // Retention has removed what was to come next.
            self.start_over(published)?;
        } else {
            followed?;
            self.let_go(&watermark, published);
        }
        published.set_facts(watermark.epoch, 0);
        self.seen = watermark.sequence;
        self.files.meter.since(Measure::Follow, began);
        Ok(())
    }

    /// Takes in everything up to a watermark, and shows it.
    fn follow_to(&mut self, watermark: &Watermark, published: &Published) -> Result<(), ReadError> {
        if self.tail.offset == SEGMENT_HEADER_LEN as u64 {
            self.open_again(published)?;
        }
        while self.newest.log.number < watermark.segment {
            self.finish_segment(published)?;
        }
        if self.newest.log.number == watermark.segment && watermark.offset > self.tail.offset {
            self.catch_up(watermark.offset, watermark.position)?;
        }
        self.show(published);
        Ok(())
    }

    /// Looks at the store as if it were opened now.
    fn start_over(&mut self, published: &Published) -> Result<(), ReadError> {
        let shown = load_to_read(&self.storage, &self.files.meter).map_err(|error| {
            let path = self.storage.describe("");
            read_error(path, 0, io::Error::other(error))
        })?;
        let Shown { loader, newest, view, .. } = shown;
        published.replace(|_| view);
        self.loader = loader;
        self.stand_at(newest);
        self.show(published);
        Ok(())
    }

    /// Lets go of the segments that no longer belong to the log.
    fn let_go(&mut self, watermark: &Watermark, published: &Published) {
        let view = published.view();
        let removed = view.segments.partition_point(|segment| segment.log.number < watermark.floor);
        // The newest one stays: it is always there.
        if removed == 0 || removed >= view.segments.len() {
            return;
        }
        let (number, base) = (watermark.floor, view.segments[removed].log.base);
        let floor = Arc::new(FloorIndex::open(&*self.storage, number, base));
        self.loader.gaps.retain(|gap| gap.segment >= number);
        published.replace(|view| {
            let segments = view.segments[removed..].to_vec();
            view.with(segments, self.loader.gaps.clone()).on(Some(floor))
        });
    }

    /// The last position that was taken in, and the hash chain there.
    pub(crate) fn tip(&self) -> (Position, Option<Digest>) {
        (self.tail.position, self.tail.hash)
    }

    fn show(&self, published: &Published) {
        // Before the head, as everything that a reader up to it has to know.
        if published.view().gaps.len() < self.loader.gaps.len() {
            published.replace(|view| view.with(view.segments.clone(), self.loader.gaps.clone()));
        }
        self.newest.log.publish(self.tail.offset, self.tail.position);
        published.advance(self.tail.position);
        published.advance_durable(self.tail.position);
    }

    /// Takes in what lies between the tail and `end`, where the last event is at `last`; returns
    /// the seal, if there is one. All of it is final, so what cannot be taken in is damage. It is
    /// left out and told to readers, as when a store is opened.
    fn catch_up(&mut self, end: u64, last: Position) -> Result<Option<SealedEnd>, ReadError> {
        let segment = Arc::clone(&self.newest.log);
        let mut source = FileSource::cached(Arc::clone(&self.file), end);
        loop {
            let mut builder = IndexBuilder::new(&self.index).placing_in(&segment);
            self.torn = true;
            let found = scan::scan(&mut source, segment.seed, self.tail, &mut builder)
                .map_err(|error| read_error(segment.shown.clone(), self.tail.offset, error))?;
            builder.finish();
            self.torn = false;
            self.tail = found.tail;
            let (at, fault, resume) = match found.stop {
                Stop::Sealed(sealed) if self.tail.position == last => return Ok(Some(sealed)),
                Stop::Bad(bad) => (bad.at, bad.fault.to_string(), bad.resume.filter(|tail| tail.position <= last)),
                Stop::End | Stop::Sealed(_) if self.tail.position == last => return Ok(None),
                Stop::End | Stop::Sealed(_) => (self.tail.offset, "the log ends too early".to_owned(), None),
            };
            let next = resume.unwrap_or(Tail { offset: end, position: last, chain: None, ..self.tail });
            if next.position > self.tail.position {
                self.loader.gaps.push(Damage {
                    segment: segment.number,
                    file: segment.shown.clone(),
                    offset: at,
                    from: self.tail.position.plus(1),
                    to: Some(next.position),
                    fault: format!("{fault}; WATERMARK says that it was durable"),
                });
                self.files.meter.count(Counter::Corruptions, 1);
            }
            self.tail = next;
            if resume.is_none() {
                return Ok(None);
            }
        }
    }

    /// Takes in the rest of a segment that the writer has sealed, and opens the next one.
    fn finish_segment(&mut self, published: &Published) -> Result<(), ReadError> {
        let segment = Arc::clone(&self.newest.log);
        let failed = |error| read_error(segment.shown.clone(), 0, error);
        let end = self.file.len().map_err(failed)?;
        let base = self.base_of(segment.number.next())?;
        let sealed = self.catch_up(end, base)?;
        let next = self.open_segment(segment.number.next(), base)?;
        let finished = match sealed {
            // Mapped anew, at its own length: that of a growing one is as long as a segment can be, and
            // there is not address space for many.
            Some(sealed) => {
                let place = SegmentPlace {
                    number: segment.number,
                    base: segment.base,
                    seed: segment.seed,
                    shown: segment.shown.clone(),
                    file: Arc::clone(&self.file),
                };
                Arc::new(Segment::sealed(place, &sealed).map_err(failed)?)
            }
            // Its own index is not to be trusted. What was collected is.
            None => {
                segment.publish(end, base);
                segment
            }
        };
        let shown = IndexedSegment::in_memory(finished, Arc::clone(&self.index));
        let newest = next.segment.clone();
        published.replace(|view| {
            let mut segments = view.segments.clone();
            segments.pop();
            self.settle(&mut segments);
            segments.extend([shown, newest]);
            view.with(segments, self.loader.gaps.clone())
        });
        self.stand_at(next);
        Ok(())
    }

    /// Lets go of the indexes in memory of those segments whose index files the writer has made by now.
    fn settle(&self, segments: &mut [IndexedSegment]) {
        let there = self.files.list();
        let has_file = |segment: &IndexedSegment| {
            let path = names::index(segment.log.number);
            there.iter().any(|name| path.rsplit('/').next() == Some(name))
        };
        for segment in segments.iter_mut().filter(|segment| segment.is_waiting() && has_file(segment)) {
            *segment = IndexedSegment::sealed(Arc::clone(&segment.log), &self.files);
        }
    }

    /// Opens the newest segment once more, which nothing was read from yet: a recovery makes one
    /// that is still empty anew, under the same name.
    fn open_again(&mut self, published: &Published) -> Result<(), ReadError> {
        let newest = self.open_segment(self.newest.log.number, self.newest.log.base)?;
        let shown = newest.segment.clone();
        published.replace(|view| {
            let mut segments = view.segments.clone();
            segments.pop();
            segments.push(shown);
            view.with(segments, view.gaps.clone())
        });
        self.stand_at(newest);
        Ok(())
    }

    fn stand_at(&mut self, newest: Newest) {
        let Newest { segment, index, file, tail } = newest;
        (self.newest, self.index, self.file, self.tail) = (segment, index, file, tail);
        self.torn = false;
    }

    /// The base position of a segment that must be there, as its file's name says.
    fn base_of(&self, number: SegmentNumber) -> Result<Position, ReadError> {
        let path = || self.storage.describe(names::SEGMENTS);
        let found = self.storage.list(names::SEGMENTS).map_err(|error| read_error(path(), 0, error))?;
        let base = found.iter().filter_map(|name| names::parse_segment(name)).find(|(found, _)| *found == number);
        base.map(|(_, base)| base).ok_or_else(|| {
            let error = io::Error::new(io::ErrorKind::NotFound, format!("segment {number} is not there"));
            read_error(path(), 0, error)
        })
    }

    fn open_segment(&self, number: SegmentNumber, base: Position) -> Result<Newest, ReadError> {
        let path = names::segment(number, base);
        let shown = self.storage.describe(&path);
        let failed = |error| read_error(shown.clone(), 0, error);
        let invalid =
            |error: Box<dyn std::error::Error + Send + Sync>| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        let file = self.storage.open(&path, Access::Read).map_err(failed)?;
        let mut source = FileSource::cached(Arc::clone(&file), SEGMENT_HEADER_LEN as u64);
        let bytes = source.bytes(0, SEGMENT_HEADER_LEN).map_err(failed)?;
        let (header, seed) = SegmentHeader::decode(bytes).map_err(|fault| invalid(fault.into()))?;
        if (header.log_id, header.number, header.base) != (self.files.log_id, number, base) {
            return Err(invalid("its header speaks of another segment".into()));
        }
        let place = SegmentPlace { number, base, seed, shown: shown.clone(), file: Arc::clone(&file) };
        let segment = Segment::growing(place, MOST_SEGMENT_LEN).map_err(failed)?;
        segment.publish(SEGMENT_HEADER_LEN as u64, base);
        let index = Arc::new(MemoryIndex::default());
        let segment = IndexedSegment::in_memory(Arc::new(segment), Arc::clone(&index));
        Ok(Newest { segment, index, file, tail: scan::first_tail(&header) })
    }
}

/// Where a follower goes on when the end of what a watermark vouches for is damaged.
pub(crate) fn behind(watermark: &Watermark) -> Tail {
    Tail {
        offset: watermark.offset,
        position: watermark.position,
        chain: None,
        hash: None,
        epoch: watermark.epoch,
        durable_offset: 0,
    }
}

/// Whether a file was not there.
fn is_not_found(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn read_error(path: String, offset: u64, error: io::Error) -> ReadError {
    ReadError::Io { path, offset, source: Arc::new(error) }
}
