//! Following a writer in another process, without a lock and without a trace.
//!
//! The writer says in WATERMARK how far the log is durable. What lies below
//! that is final, so a follower scans from where it stands up to there, and
//! shows it. A segment that the watermark has left behind is sealed: the
//! follower finishes it and goes on with the next.

use std::io;
use std::sync::Arc;

use annals_codec::scan::{self, Source, Stop};
use annals_codec::{LogId, SEGMENT_HEADER_LEN, SegmentHeader, SegmentNumber, Tail, WATERMARK_FILE_LEN, Watermark};

use crate::error::{Damage, ReadError};
use crate::index::build::IndexBuilder;
use crate::index::load::Loader;
use crate::index::memory::MemoryIndex;
use crate::log::names;
use crate::log::segment::{Segment, SegmentPlace};
use crate::log::small_files::read_whole;
use crate::log::source::FileSource;
use crate::storage::{Access, Storage};
use crate::view::{IndexedSegment, Published, View};

/// How much of a growing segment a follower maps: it cannot know how large the
/// writer lets it grow, and address space that is never touched costs nothing.
/// No segment is larger: offsets are stored divided by 8, in 32 bits.
pub(crate) const MOST_SEGMENT_LEN: u64 = 32 << 30;

/// Where a follower stands.
#[derive(Debug)]
pub(crate) struct Follower {
    storage: Arc<dyn Storage>,
    log_id: LogId,
    loader: Loader,
    newest: IndexedSegment,
    tail: Tail,
    /// The sequence of the watermark seen last.
    seen: u64,
}

impl Follower {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        log_id: LogId,
        loader: Loader,
        newest: IndexedSegment,
        tail: Tail,
        seen: u64,
    ) -> Follower {
        Follower { storage, log_id, loader, newest, tail, seen }
    }

    /// Looks for the writer's progress and shows it.
    pub(crate) fn follow(&mut self, published: &Published) -> Result<(), ReadError> {
        let path = || self.storage.describe(names::WATERMARK);
        let bytes = read_whole(&*self.storage, names::WATERMARK, WATERMARK_FILE_LEN)
            .map_err(|error| read_error(path(), 0, error))?;
        let watermark = bytes.and_then(|bytes| Watermark::decode(&bytes));
        let Some(watermark) = watermark.filter(|mark| mark.log_id == self.log_id && mark.sequence != self.seen) else {
            return Ok(());
        };
        while self.newest.log.number < watermark.segment {
            self.finish_segment(published)?;
        }
        if self.newest.log.number == watermark.segment && watermark.offset > self.tail.offset {
            self.catch_up(watermark.offset)?;
        }
        self.show(published);
        published.set_facts(watermark.epoch, 0);
        self.seen = watermark.sequence;
        Ok(())
    }

    fn show(&self, published: &Published) {
        self.newest.log.publish(self.tail.offset, self.tail.position);
        published.advance(self.tail.position);
        published.advance_durable(self.tail.position);
    }

    /// Takes in what lies between the tail and `end`, all of which is final.
    fn catch_up(&mut self, end: u64) -> Result<Stop, ReadError> {
        let segment = &*self.newest.log;
        let mut source = FileSource::cached(Arc::clone(&segment.file), end);
        let mut builder = IndexBuilder::new(&self.newest.index, &mut self.loader.names).placing_in(segment);
        let found = scan::scan(&mut source, segment.seed, self.tail, &mut builder)
            .map_err(|error| read_error(segment.shown.clone(), self.tail.offset, error))?;
        self.tail = found.tail;
        if let Stop::Bad(bad) = &found.stop {
            return Err(ReadError::Corrupt(Damage {
                segment: segment.number,
                file: segment.shown.clone(),
                offset: bad.at,
                from: found.tail.position.plus(1),
                to: bad.resume.map(|resume| resume.position),
                fault: format!("{}; WATERMARK says that it was durable", bad.fault),
            }));
        }
        Ok(found.stop)
    }

    /// Takes in the rest of a segment that the writer has sealed, and opens the next one.
    fn finish_segment(&mut self, published: &Published) -> Result<(), ReadError> {
        let segment = Arc::clone(&self.newest.log);
        let path = segment.shown.clone();
        let len = segment.file.len().map_err(|error| read_error(path.clone(), 0, error))?;
        let Stop::Sealed(sealed) = self.catch_up(len)? else {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the segment has a successor and is not sealed");
            return Err(read_error(path, self.tail.offset, error));
        };
        let (next, tail) = self.open_segment(segment.number.next())?;
        segment.publish(self.tail.offset, self.tail.position);
        let finished =
            IndexedSegment { log: Arc::new(segment.as_sealed(&sealed.trailer)), index: Arc::clone(&self.newest.index) };
        let (shown, newest) = (finished, next.clone());
        published.replace(|view| {
            let mut segments = view.segments.clone();
            segments.pop();
            segments.extend([shown, newest]);
            View { segments, gaps: view.gaps.clone() }
        });
        self.newest = next;
        self.tail = tail;
        Ok(())
    }

    fn open_segment(&self, number: SegmentNumber) -> Result<(IndexedSegment, Tail), ReadError> {
        let base = self.tail.position;
        let path = names::segment(number, base);
        let shown = self.storage.describe(&path);
        let failed = |error| read_error(shown.clone(), 0, error);
        let file = self.storage.open(&path, Access::Read).map_err(failed)?;
        let mut source = FileSource::cached(Arc::clone(&file), SEGMENT_HEADER_LEN as u64);
        let bytes = source.bytes(0, SEGMENT_HEADER_LEN).map_err(failed)?;
        let (header, seed) =
            SegmentHeader::decode(bytes).map_err(|fault| failed(io::Error::new(io::ErrorKind::InvalidData, fault)))?;
        let place = SegmentPlace { number, base, seed, shown: shown.clone(), file };
        let segment = Segment::growing(place, MOST_SEGMENT_LEN).map_err(failed)?;
        segment.publish(SEGMENT_HEADER_LEN as u64, base);
        let index = Arc::new(MemoryIndex::default());
        Ok((IndexedSegment { log: Arc::new(segment), index }, scan::first_tail(&header)))
    }
}

/// Where a follower goes on when the end of what a watermark vouches for is damaged.
pub(crate) fn behind(watermark: &Watermark) -> Tail {
    Tail {
        offset: watermark.offset,
        position: watermark.position,
        chain: None,
        epoch: watermark.epoch,
        durable_offset: 0,
    }
}

fn read_error(path: String, offset: u64, error: io::Error) -> ReadError {
    ReadError::Io { path, offset, source: Arc::new(error) }
}
