//! Where writer and readers meet: an immutable list of segments, and how far
//! they may be read.
//!
//! What is always true:
//!
//! - The list is replaced as a whole, only when a segment begins or ends, and
//!   before any position in the new segment is published. So who reads the head
//!   first and the list second has every segment up to that head.
//! - Readers never take the writer's lock, and never wait for it.
//! - A segment's file and mapping live as long as the last view that holds it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Weak;

use annals_codec::index::KeyHash;
use annals_codec::{Epoch, FRAME_ALIGN, IdMaker, Position, SegmentNumber, StreamVersion};

use crate::error::{Damage, ReadError};
use crate::index::floor::{FloorIndex, Removed};
use crate::index::level::{self, Level};
use crate::index::{IndexedSegment, Span};
use crate::log::segment::Segment;
use crate::news::News;
use crate::planted::{self, Bug};
use crate::storage::Mapping;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

/// The segments of a log, oldest first.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) segments: Vec<IndexedSegment>,
    /// The base of each: side by side, so that a search among many touches few cache lines.
    bases: Vec<Position>,
    /// Regions that are left out, in a store that is only read.
    pub(crate) gaps: Vec<Damage>,
    /// What the oldest segment goes on from, where older ones were removed.
    pub(crate) floor: Option<Arc<FloorIndex>>,
}

impl View {
    pub(crate) fn new(segments: Vec<IndexedSegment>, gaps: Vec<Damage>) -> View {
        let bases = segments.iter().map(|segment| segment.log.base).collect();
        View { segments, bases, gaps, floor: None }
    }

    /// The same, going on from a floor.
    pub(crate) fn on(self, floor: Option<Arc<FloorIndex>>) -> View {
        View { floor, ..self }
    }

    /// Another picture of the same log.
    pub(crate) fn with(&self, segments: Vec<IndexedSegment>, gaps: Vec<Damage>) -> View {
        View::new(segments, gaps).on(self.floor.clone())
    }

    /// The index of the segment in which `position` lies, if it is one of an event.
    pub(crate) fn segment_of(&self, position: Position) -> Option<usize> {
        self.bases.partition_point(|base| *base < position).checked_sub(1)
    }

    /// The filters over several segments of which the one at `index` is the first, or going
    /// `down` the last; the widest first.
    pub(crate) fn filters_at(&self, index: usize, down: bool) -> impl Iterator<Item = (Range<usize>, &Level)> {
        let number = self.segments[index].log.number;
        level::spans().filter_map(move |span| {
            let group = if down { (index + 1).checked_sub(span)?..index + 1 } else { index..index + span };
            let is_group = down || number.get().is_multiple_of(span as u64);
            let last = self.segments.get(group.end - 1).filter(|_| is_group)?;
            let filter = last.levels().iter().find(|filter| filter.span() == span)?;
            Some((group, filter))
        })
    }

    /// The segments that may hold something, the newest first. Not to be asked for ids that a store has made.
    pub(crate) fn candidates(&self, hash: KeyHash) -> impl Iterator<Item = usize> + use<'_> {
        self.candidates_before(self.segments.len(), hash)
    }

    /// Those of them that come before the segment at `end`.
    pub(crate) fn candidates_before(&self, mut end: usize, hash: KeyHash) -> impl Iterator<Item = usize> + use<'_> {
        std::iter::from_fn(move || {
            while end > 0 {
                let mut filters = self.filters_at(end - 1, true);
                if let Some((group, _)) =
                    filters.find(|(group, filter)| !filter.may_hold(&self.segments[group.clone()], hash))
                {
                    end = group.start;
                    continue;
                }
                end -= 1;
                if self.segments[end].may_hold(hash) {
                    return Some(end);
                }
            }
            None
        })
    }

    /// The segments in which the store may have made ids in this millisecond since 1970 UTC.
    pub(crate) fn recorded_in(&self, millis: u64) -> impl Iterator<Item = usize> + use<'_> {
        let times = |index: usize| self.segments[index].log.recorded_at();
        // One that does not tell its times moves the search to older segments, never past the right one.
        let is_before = |segment: &IndexedSegment| {
            segment.log.recorded_at().is_some_and(|(_, latest)| IdMaker::millis_of(latest) < millis)
        };
        let first = self.segments.partition_point(is_before);
        let may_be_later =
            move |index: &usize| times(*index).is_none_or(|(earliest, _)| IdMaker::millis_of(earliest) <= millis);
        (first..self.segments.len()).take_while(may_be_later)
    }

    /// The newest segment that holds events of a stream, and what it holds of it.
    pub(crate) fn newest_span(&self, stream: &str) -> Result<Option<(usize, Span)>, ReadError> {
        for index in self.candidates(KeyHash::stream(stream)) {
            if let Some(span) = self.segments[index].span(stream)? {
                return Ok(Some((index, span)));
            }
        }
        Ok(None)
    }

    /// Where a stream ended when its last event was removed; to be asked when no segment holds it.
    pub(crate) fn removed(&self, stream: &str) -> Result<Option<Removed>, ReadError> {
        self.floor.as_ref().map_or(Ok(None), |floor| floor.stream(stream))
    }

    /// How many events a stream holds, those that were removed included.
    pub(crate) fn version_of(&self, stream: &str) -> Result<StreamVersion, ReadError> {
        match self.newest_span(stream)? {
            Some((_, span)) => Ok(span.last),
            None => Ok(self.removed(stream)?.map_or(StreamVersion::EMPTY, |removed| removed.version)),
        }
    }

    /// The position of a stream's last event, which is published; `None` when it has none.
    pub(crate) fn last_of(&self, stream: &str) -> Result<Option<Position>, ReadError> {
        let Some((index, span)) = self.newest_span(stream)? else {
            return Ok(self.removed(stream)?.map(|removed| removed.last));
        };
        let last = self.last_in(index, &span)?;
        last.map(Some).ok_or_else(|| {
            let log = &self.segments[index].log;
            let fault = format!("neither its frame nor the dense index says where the last event of {stream} is");
            ReadError::Corrupt(log.damage(0, log.base.plus(1), log.last(), fault))
        })
    }

    /// The position of the last event that a segment holds of a stream. Its frame is not read; `None` when it
    /// is not published yet, or the offsets of the segment are damaged.
    pub(crate) fn last_in(&self, index: usize, span: &Span) -> Result<Option<Position>, ReadError> {
        let segment = &self.segments[index];
        let mut offsets = Vec::with_capacity(1);
        segment.offsets(span, span.events - 1..span.events, &mut offsets)?;
        let Some(offset) = offsets.pop().map(|offset| u64::from(offset) * FRAME_ALIGN) else { return Ok(None) };
        let position = segment.position_at(offset)?;
        let found = segment.log.offset_of(position).map_err(|error| segment.unreadable(offset, error))?;
        Ok((found == Some(offset)).then_some(position))
    }

    /// The latest position that is recorded for a foreign source.
    pub(crate) fn tracking(&self, source: &str) -> Result<Option<u64>, ReadError> {
        for index in self.candidates(KeyHash::source(source)) {
            if let Some(upstream) = self.segments[index].tracking(source)? {
                return Ok(Some(upstream));
            }
        }
        self.floor.as_ref().map_or(Ok(None), |floor| floor.tracking(source))
    }

    /// The mappings of this picture that another one of the same log does without.
    fn mappings_not_in<'a>(&'a self, other: &'a View) -> impl Iterator<Item = &'a Arc<Mapping>> {
        // Both lists are in the order of numbers.
        let mut others = other.segments.iter().peekable();
        self.segments.iter().filter_map(move |segment| {
            while others.next_if(|other| other.log.number < segment.log.number).is_some() {}
            let same = others.peek().filter(|other| other.log.number == segment.log.number);
            let mapping = segment.log.mapping()?;
            let is_there = same.and_then(|same| same.log.mapping()).is_some_and(|same| Arc::ptr_eq(same, mapping));
            (!is_there).then_some(mapping)
        })
    }

    /// The position of the oldest event that can be read, were there one.
    pub(crate) fn oldest(&self) -> Position {
        self.segments.first().map_or(Position::START, |segment| segment.log.base).plus(1)
    }
}

/// What is published.
#[derive(Debug)]
pub(crate) struct Published {
    view: RwLock<Arc<View>>,
    head: AtomicU64,
    durable: AtomicU64,
    epoch: AtomicU32,
    watermark_errors: AtomicU64,
    /// The mappings that are in no view any more, as long as somebody still has them.
    let_go: Mutex<Vec<Weak<Mapping>>>,
    /// Who waits for the head to move.
    pub(crate) news: News,
}

impl Published {
    pub(crate) fn new(view: View, head: Position, epoch: Epoch) -> Published {
        let position = || AtomicU64::new(head.get());
        Published {
            view: RwLock::new(Arc::new(view)),
            head: position(),
            durable: position(),
            epoch: AtomicU32::new(epoch.get()),
            watermark_errors: AtomicU64::new(0),
            let_go: Mutex::new(Vec::new()),
            news: News::default(),
        }
    }

    /// The last position that may be read. Before it, take no view.
    pub(crate) fn head(&self) -> Position {
        Position::new(self.head.load(Ordering::Acquire))
    }

    /// The last position that is durable.
    pub(crate) fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::Acquire))
    }

    /// The head, and a view that holds every segment up to it.
    pub(crate) fn pin(&self) -> (Position, Arc<View>) {
        let head = self.head();
        (head, self.view())
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    /// Shows readers everything up to `head`, and wakes who waits for it.
    pub(crate) fn advance(&self, head: Position) {
        // Before it is asked who waits: see `news`.
        self.head.store(head.get(), Ordering::SeqCst);
        if !planted::has(Bug::WakeUpLost) {
            self.news.tell();
        }
    }

    /// Whether the head has passed `position`, for who is about to wait until it has.
    pub(crate) fn has_passed(&self, position: Position) -> bool {
        self.head.load(Ordering::SeqCst) > position.get()
    }

    /// Says that everything up to `position` is durable.
    pub(crate) fn advance_durable(&self, position: Position) {
        self.durable.store(position.get(), Ordering::Release);
    }

    /// The epoch of the latest writer, and how many times its watermark could not be written.
    pub(crate) fn facts(&self) -> (Epoch, u64) {
        // Relaxed: they say nothing about other memory.
        let epoch = Epoch::new(self.epoch.load(Ordering::Relaxed));
        (epoch, self.watermark_errors.load(Ordering::Relaxed))
    }

    /// Tells who asks for statistics, without the writer's lock.
    pub(crate) fn set_facts(&self, epoch: Epoch, watermark_errors: u64) {
        self.epoch.store(epoch.get(), Ordering::Relaxed);
        self.watermark_errors.store(watermark_errors, Ordering::Relaxed);
    }

    /// Has a segment of the list asked through other indexes.
    pub(crate) fn replace_index(&self, segment: &IndexedSegment) {
        // Its file may be another one meanwhile, and who made the indexes knows the old one.
        self.change_segment(segment.log.number, |shown| *shown = segment.reading(&shown.log));
    }

    /// Has a segment of the list read from another file, which holds it too.
    pub(crate) fn replace_log(&self, log: &Arc<Segment>) {
        self.change_segment(log.number, |shown| *shown = shown.reading(log));
    }

    fn change_segment(&self, number: SegmentNumber, change: impl FnOnce(&mut IndexedSegment)) {
        self.replace(|view| {
            let mut segments = view.segments.clone();
            if let Some(shown) = segments.iter_mut().find(|shown| shown.log.number == number) {
                change(shown);
            }
            view.with(segments, view.gaps.clone())
        });
    }

    /// Replaces the list of segments.
    pub(crate) fn replace(&self, change: impl FnOnce(&View) -> View) {
        let mut view = self.view.write();
        let next = change(&view);
        let gone: Vec<_> = view.mappings_not_in(&next).map(Arc::downgrade).collect();
        *view = Arc::new(next);
        drop(view);
        if !gone.is_empty() {
            let mut let_go = self.let_go.lock();
            let_go.extend(gone);
            let_go.retain(|mapping| mapping.strong_count() > 0);
        }
    }

    /// How many mappings somebody still has that are in the view no more.
    pub(crate) fn pinned_mappings(&self) -> u64 {
        let mut let_go = self.let_go.lock();
        let_go.retain(|mapping| mapping.strong_count() > 0);
        let_go.len() as u64
    }
}
