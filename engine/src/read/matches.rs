//! Walking what a query describes, by position, in either direction.
//!
//! Segment by segment, when the reader gets there, the indexes say which events may match:
//!
//! ```text
//! item  = (type ∪ type ∪ …) ∩ tag ∩ tag ∩ … ∩ (stream ∪ stream ∪ …)      numbers of events in the segment
//! query = item ∪ item ∪ …
//! ```
//!
//! What is always true: of the events that match, none is left out here, and the frame of
//! each that may match is read and decides ([`Query::matches`]). So where asking an
//! index costs more than reading what the answer would spare, it is not asked.

use std::convert::Infallible;
use std::ops::{Bound, Range, RangeInclusive};
use std::sync::Arc;

use annals_codec::index::{KeyHash, Label};
use annals_codec::{FRAME_ALIGN, Position, RoaringBitmap};

use super::Direction;
use super::all::look;
use super::frames::{AHEAD, Frames, Place, SOON};
use super::window::Gaps;
use crate::error::ReadError;
use crate::index::level::Level;
use crate::index::{IndexedSegment, Span};
use crate::query::{Query, QueryItem, Rule};

/// So many frames are read rather than that an index is asked which of them to leave out.
const FEW: u64 = 16;

/// So many events of streams are looked up in any case. More only when they are less than a quarter of
/// what types and tags leave: who reads a few of many should not wait until all are found.
const MANY: u64 = 1024;

/// How many numbers are taken out of a set in one go.
const CHUNK: usize = 64;

#[derive(Debug)]
pub(crate) struct MatchesCursor {
    query: Query,
    /// Where the reader stands: the events after it come next, or those before it.
    at: Position,
    /// Segments still to be visited, as soon as the window is known.
    todo: Option<Range<usize>>,
    /// The segment at hand.
    segment: usize,
    /// Its events that may match.
    numbers: RoaringBitmap,
    /// Those of them that come next, the next one last; they are no longer in the set.
    next: Vec<u32>,
    /// For how many of these the frames were asked for.
    asked: usize,
    gaps: Gaps,
}

impl MatchesCursor {
    /// The query must be valid.
    pub(crate) fn new(query: Query, at: Position) -> MatchesCursor {
        let (numbers, next) = (RoaringBitmap::new(), Vec::new());
        MatchesCursor { query, at, todo: None, segment: 0, numbers, next, asked: 0, gaps: Gaps::default() }
    }

    /// Forgets what was found for other bounds.
    pub(crate) fn restart(&mut self) {
        self.todo = None;
        self.numbers.clear();
        self.next.clear();
        self.asked = 0;
    }

    pub(crate) fn next(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<Place>, ReadError> {
        loop {
            let Some(number) = self.next_number(frames, direction)? else {
                return self.gaps.rest(frames, direction).map_or(Ok(None), Err);
            };
            let position = frames.segment(self.segment).base.plus(u64::from(number) + 1);
            if let Some(gap) = self.gaps.before(frames, direction, position) {
                self.next.push(number);
                self.asked += 1;
                return Err(gap);
            }
            self.at = position;
            match look(frames, self.segment, position)? {
                Ok(place) if self.query.matches(&frames.event(place)?) => return Ok(Some(place)),
                Ok(_) => {}
                Err((place, fault)) => return Err(frames.damage(place, position, position, fault)),
            }
        }
    }

    fn next_number(&mut self, frames: &mut Frames, direction: Direction) -> Result<Option<u32>, ReadError> {
        loop {
            self.ask(frames);
            if let Some(number) = self.next.pop() {
                self.asked -= 1;
                if let Some(soon) = self.next.iter().rev().nth(SOON)
                    && let Some(place) = self.place_of(frames, *soon)
                {
                    frames.prefetch_rest(place);
                }
                return Ok(Some(number));
            }
            if self.numbers.is_empty() {
                if self.todo.is_none() {
                    self.todo = Some(self.narrow(frames, direction));
                }
                let Some(next) = self.next_segment(frames, direction) else { return Ok(None) };
                self.segment = next;
                self.numbers = candidates(frames, next, &self.query)?;
            }
            // Taken out by their range. To take out the smallest or greatest of them by their count is wrong in
            // roaring 0.11.3, where they are kept as runs (its issue 359).
            let numbers = self.numbers.iter();
            match direction {
                Direction::Forward => self.next.extend(numbers.take(CHUNK)),
                Direction::Backward => self.next.extend(numbers.rev().take(CHUNK)),
            }
            match (direction, self.next.last()) {
                (Direction::Forward, Some(last)) => self.numbers.remove_range(..=*last),
                (Direction::Backward, Some(last)) => self.numbers.remove_range(*last..),
                (_, None) => continue,
            };
            self.next.reverse();
        }
    }

    /// Asks for the frames that come next, when few are left that were asked for.
    fn ask(&mut self, frames: &Frames) {
        if self.asked > *AHEAD.start() {
            return;
        }
        let ahead = self.next.len().min(*AHEAD.end());
        let numbers = self.next.iter().rev().take(ahead).skip(self.asked);
        frames.prefetch_starts(numbers.filter_map(|number| self.place_of(frames, *number)));
        self.asked = ahead;
    }

    /// Where the event with this number stands, if that can be told at once.
    fn place_of(&self, frames: &Frames, number: u32) -> Option<Place> {
        let segment = frames.segment(self.segment);
        let position = segment.base.plus(u64::from(number) + 1);
        let offset = segment.offset_of(position).ok().flatten().filter(|_| segment.is_mapped())?;
        Some(Place::new(self.segment, offset))
    }

    /// The next segment that may hold what is wanted.
    fn next_segment(&mut self, frames: &Frames, direction: Direction) -> Option<usize> {
        let (view, todo) = (&frames.view, self.todo.as_mut()?);
        loop {
            let (at, down) = match direction {
                Direction::Forward if todo.start < todo.end => (todo.start, false),
                Direction::Backward if todo.start < todo.end => (todo.end - 1, true),
                _ => return None,
            };
            let is_without = |(group, filter): &(Range<usize>, &Level)| {
                let has = |name| filter.may_hold(&view.segments[group.clone()], name);
                !self.query.items().iter().any(|item| may_hold(item, has))
            };
            match view.filters_at(at, down).find(is_without) {
                Some((group, _)) if down => todo.end = group.start.max(todo.start),
                Some((group, _)) => todo.start = group.end.min(todo.end),
                None if down => return todo.next_back(),
                None => return todo.next(),
            }
        }
    }

    /// Narrows the window to what comes next, and says in which segments that lies.
    fn narrow(&self, frames: &mut Frames, direction: Direction) -> Range<usize> {
        let window = &mut frames.window;
        match direction {
            Direction::Forward => window.after = window.after.max(self.at),
            Direction::Backward => window.until = window.until.min(self.at.before()),
        }
        if window.is_empty() {
            return 0..0;
        }
        let (first, last) = (window.after.plus(1), window.until);
        let segment_of = |position| frames.view.segment_of(position);
        segment_of(first).unwrap_or(0)..segment_of(last).map_or(0, |last| last + 1)
    }
}

/// The numbers of the wanted events of a segment that may match.
fn candidates(frames: &mut Frames, segment: usize, query: &Query) -> Result<RoaringBitmap, ReadError> {
    let view = Arc::clone(&frames.view);
    let indexed = &view.segments[segment];
    let (after, until) = (frames.window.after, frames.window.until.min(indexed.log.last()));
    let Some(wanted) = indexed.log.numbers_of(after.plus(1), until) else { return Ok(RoaringBitmap::new()) };
    let mut part = Part { frames, segment, indexed, wanted: wanted.clone() };
    let mut found = match part.matching_any(query) {
        // Nothing can be looked up in it. The reader goes through it, and meets what is damaged.
        Err(ReadError::Corrupt(_)) => part.all(),
        found => found?,
    };
    found.remove_range(..*wanted.start());
    found.remove_range((Bound::Excluded(*wanted.end()), Bound::Unbounded));
    for gap in &view.gaps {
        // Told as a whole, however long it claims to be.
        if let Some(numbers) = indexed.log.numbers_of(gap.from, gap.to.unwrap_or(Position::END)) {
            found.remove_range(numbers);
        }
    }
    Ok(found)
}

/// Whether what an item describes may be where `has` says which names there are; `false` is certain.
fn may_hold(item: &QueryItem, has: impl Fn(KeyHash) -> bool) -> bool {
    item.may_match_where(|name| Ok::<_, Infallible>(has(name.hash()))) != Ok(false)
}

/// The wanted part of a segment.
struct Part<'a> {
    frames: &'a mut Frames,
    segment: usize,
    indexed: &'a IndexedSegment,
    /// The numbers of its events that are wanted.
    wanted: RangeInclusive<u32>,
}

impl Part<'_> {
    fn matching_any(&mut self, query: &Query) -> Result<RoaringBitmap, ReadError> {
        let mut found = RoaringBitmap::new();
        for item in query.items() {
            if may_hold(item, |name| self.indexed.may_hold(name)) {
                found |= self.matching(item)?;
            }
        }
        Ok(found)
    }

    /// The numbers of events that may match an item: all that are wanted and do, and perhaps others.
    fn matching(&mut self, item: &QueryItem) -> Result<RoaringBitmap, ReadError> {
        if item.names_its_streams()
            && let Some(streams) = self.streams(item, FEW)?
        {
            return self.of_streams(&streams);
        }
        let labelled = self.labelled(item)?;
        let left = labelled.as_ref().map_or(self.wanted_len(), RoaringBitmap::len);
        let streams = match labelled {
            _ if item.streams.is_empty() => None,
            Some(_) if left <= FEW => None,
            _ => self.streams(item, MANY.max(left / 4))?,
        };
        let of_streams = streams.map(|streams| self.of_streams(&streams)).transpose()?;
        Ok(match (labelled, of_streams) {
            (Some(labelled), Some(of_streams)) => labelled & of_streams,
            (Some(found), None) | (None, Some(found)) => found,
            (None, None) => self.all(),
        })
    }

    fn wanted_len(&self) -> u64 {
        u64::from(self.wanted.end() - self.wanted.start()) + 1
    }

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(self.wanted.clone());
        all
    }

    /// The numbers of the events that have the types and tags of an item; `None` when it says nothing of these.
    fn labelled(&self, item: &QueryItem) -> Result<Option<RoaringBitmap>, ReadError> {
        if self.wanted_len() <= FEW {
            return Ok((!item.types.is_empty() || !item.tags.is_empty()).then(|| self.all()));
        }
        let until = self.frames.window.until;
        let mut found: Option<RoaringBitmap> = None;
        let mut narrow = |more: RoaringBitmap| {
            let narrowed = match found.take() {
                Some(found) => found & more,
                None => more,
            };
            found.insert(narrowed).is_empty()
        };
        for tag in &item.tags {
            if narrow(self.indexed.labelled(Label::Tag(tag), until)?) {
                return Ok(found);
            }
        }
        if !item.types.is_empty() {
            let mut typed = RoaringBitmap::new();
            for rule in &item.types {
                typed |= match rule {
                    Rule::Exact(name) => self.indexed.labelled(Label::Type(name), until)?,
                    Rule::Prefix(prefix) => self.indexed.labelled(Label::TypePrefix(prefix), until)?,
                };
            }
            narrow(typed);
        }
        Ok(found)
    }

    /// What the segment holds of the streams that an item names; `None` when that is more than `most` events.
    fn streams(&self, item: &QueryItem, most: u64) -> Result<Option<Vec<Span>>, ReadError> {
        let (mut spans, mut events) = (Vec::new(), 0);
        let mut add = |span: Span| {
            events += span.events;
            if events <= most {
                spans.push(span);
            }
        };
        for rule in &item.streams {
            match rule {
                Rule::Exact(stream) => self.indexed.span(stream)?.into_iter().for_each(&mut add),
                Rule::Prefix(prefix) => self.indexed.streams(prefix, &mut |_, span| add(span))?,
            }
        }
        Ok((events <= most).then_some(spans))
    }

    /// The numbers of all events of streams, wanted or not.
    fn of_streams(&mut self, spans: &[Span]) -> Result<RoaringBitmap, ReadError> {
        let mut offsets = Vec::new();
        for span in spans {
            self.indexed.offsets(span, 0..u64::MAX, &mut offsets)?;
        }
        offsets.sort_unstable();
        let log = &self.indexed.log;
        let mut numbers = RoaringBitmap::new();
        for offset in offsets {
            let place = Place::new(self.segment, u64::from(offset) * FRAME_ALIGN);
            if place.offset >= log.committed() {
                break; // Indexed and not published yet, like all that come behind it.
            }
            let number = log.number_at(place.offset).map_err(|error| self.frames.io(place, error))?;
            let number = match number {
                Some(number) => number,
                // Published just now, or the offsets of the segment are damaged: the frame tells.
                None => match self.frames.find(place)? {
                    Some((_, position)) => log.index_of(position),
                    None => continue,
                },
            };
            numbers.insert(number as u32);
        }
        Ok(numbers)
    }
}
