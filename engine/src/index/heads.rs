//! The head of every stream, as the writer needs it to check what a caller expects.
//!
//! Those that were needed lately are remembered: at most [`STREAMS`] of them, about
//! 100 bytes each and their names. The others are looked up in the indexes of the segments.
//!
//! A group changes heads before it is written, so that its later requests see
//! the earlier ones; when the write fails, the changes are undone. Nothing is
//! forgotten in the middle of a group: the indexes do not know its changes yet. So a stream
//! is looked up once for a request, and found again by its place until the group is decided.

use std::sync::Arc;

use annals_codec::{Position, SourceName, StreamId, StreamVersion};

use super::recent::{Place, Recent};
use crate::error::ReadError;
use crate::view::Published;

/// The end of one stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) version: StreamVersion,
    /// The position of its last event; the end of all positions, where that is not known.
    last: Position,
    /// The group that has moved it, if one has.
    moved_by: u64,
    /// By what number the index of the active segment knows it, if that is known.
    number: Option<u32>,
}

/// How many streams are remembered: about 8 MiB, with short names.
const STREAMS: usize = 1 << 16;

/// How many foreign sources are remembered.
const SOURCES: usize = 1 << 10;

/// How much room for changes stays allocated for the next group.
const KEPT_UNDO: usize = 4096;

#[derive(Debug)]
pub(crate) struct Heads {
    published: Arc<Published>,
    streams: Recent<StreamId, Head>,
    sources: Recent<SourceName, Source>,
    undo: Vec<Undo>,
    /// The number of the group at hand.
    group: u64,
}

/// How far a foreign source was processed.
#[derive(Clone, Copy, Debug)]
struct Source {
    upstream: Option<u64>,
    moved_by: u64,
}

#[derive(Debug)]
enum Undo {
    Stream(Place, Head),
    Source(Place, Source),
}

impl Heads {
    /// Remembers nothing yet.
    pub(crate) fn new(published: Arc<Published>) -> Heads {
        Heads { published, streams: Recent::new(STREAMS), sources: Recent::new(SOURCES), undo: Vec::new(), group: 1 }
    }

    /// Where the [head](Heads::head) of a stream stands; an unknown one is empty. Remembered from now
    /// on, and there, until the group is decided.
    #[inline]
    pub(crate) fn find(&mut self, stream: &StreamId) -> Result<Place, ReadError> {
        match self.streams.place(&**stream) {
            Some(place) => Ok(place),
            None => self.look_up(stream),
        }
    }

    #[cold]
    fn look_up(&mut self, stream: &StreamId) -> Result<Place, ReadError> {
        let view = self.published.view();
        let (version, last) = match view.newest_span(stream)? {
            Some((_, span)) => (span.last, Position::END),
            None => view.removed(stream)?.map_or_else(Default::default, |removed| (removed.version, removed.last)),
        };
        Ok(self.streams.insert(stream.clone(), Head { version, last, moved_by: 0, number: None }))
    }

    /// Where a stream ends.
    #[inline]
    pub(crate) fn head(&mut self, place: Place) -> &mut Head {
        self.streams.at(place)
    }

    /// The position of the last event of the stream that ends there.
    pub(crate) fn last(&mut self, stream: &str, place: Place) -> Result<Position, ReadError> {
        match self.head(place).last {
            Position::END => Ok(self.published.view().last_of(stream)?.unwrap_or_default()),
            last => Ok(last),
        }
    }

    /// How far a foreign source was processed, if it was. Remembered as a head is.
    pub(crate) fn tracking(&mut self, source: &SourceName) -> Result<Option<u64>, ReadError> {
        if let Some(place) = self.sources.place(&**source) {
            return Ok(self.sources.at(place).upstream);
        }
        let upstream = self.published.view().tracking(source)?;
        self.sources.insert(source.clone(), Source { upstream, moved_by: 0 });
        Ok(upstream)
    }

    /// Moves a stream's end by `events` events, the last of which is at `last`, until
    /// [`keep`](Heads::keep) or [`undo`](Heads::undo) decides. Returns the version before.
    #[inline]
    pub(crate) fn advance(&mut self, place: Place, events: u64, last: Position) -> StreamVersion {
        let group = self.group;
        let head = self.streams.at(place);
        let before = *head;
        head.version = before.version.plus(events);
        (head.last, head.moved_by) = (last, group);
        self.undo.push(Undo::Stream(place, before));
        before.version
    }

    /// By what number the index of the active segment knows the stream; `ask` tells, when it did not tell before.
    #[inline]
    pub(crate) fn number(&mut self, place: Place, ask: impl FnOnce() -> u32) -> u32 {
        *self.streams.at(place).number.get_or_insert_with(ask)
    }

    /// Another segment is active now, and its index has its own numbers.
    pub(crate) fn forget_numbers(&mut self) {
        self.streams.values_mut().for_each(|head| head.number = None);
    }

    /// Moves a source's position, until [`keep`](Heads::keep) or [`undo`](Heads::undo) decides.
    ///
    /// # Panics
    ///
    /// Unless the group at hand has asked for its position before.
    pub(crate) fn track(&mut self, source: &SourceName, upstream: u64) {
        let place = self.sources.place(&**source).expect("a source that is moved was looked up");
        let moved = Source { upstream: Some(upstream), moved_by: self.group };
        let before = std::mem::replace(self.sources.at(place), moved);
        self.undo.push(Undo::Source(place, before));
    }

    /// Whether the group at hand has moved a stream.
    pub(crate) fn has_moved(&self, stream: &str) -> bool {
        self.streams.peek(stream).is_some_and(|head| head.moved_by == self.group)
    }

    /// Whether the group at hand has moved a source.
    pub(crate) fn has_moved_source(&self, source: &str) -> bool {
        self.sources.peek(source).is_some_and(|source| source.moved_by == self.group)
    }

    /// How many streams are remembered, and how many may be, once a group is decided.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize) {
        (self.streams.len(), STREAMS)
    }

    /// The changes since the last decision stay.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
        self.decided();
    }

    /// The changes since the last decision did not happen.
    pub(crate) fn undo(&mut self) {
        while let Some(change) = self.undo.pop() {
            match change {
                Undo::Stream(place, before) => *self.streams.at(place) = before,
                Undo::Source(place, before) => *self.sources.at(place) = before,
            }
        }
        self.decided();
    }

    fn decided(&mut self) {
        self.undo.shrink_to(KEPT_UNDO);
        self.group += 1;
        self.streams.trim();
        self.sources.trim();
    }
}

#[cfg(test)]
mod tests {
    use annals_codec::Epoch;

    use super::*;
    use crate::view::View;

    #[test]
    fn undoing_a_group_that_touched_a_stream_twice_gives_the_head_before_the_group() {
        let stream = StreamId::new("order-1").unwrap();
        let other = StreamId::new("order-2").unwrap();
        let published = Arc::new(Published::new(View::default(), Position::START, Epoch::default()));
        let mut heads = Heads::new(published);
        let advance = |heads: &mut Heads, stream, last| {
            let place = heads.find(stream).unwrap();
            heads.advance(place, 1, Position::new(last))
        };
        let ends_at = |heads: &mut Heads, stream: &StreamId| {
            let place = heads.find(stream).unwrap();
            (heads.head(place).version.get(), heads.last(stream, place).unwrap().get())
        };
        advance(&mut heads, &stream, 1);
        heads.keep();
        assert!(!heads.has_moved("order-1"), "another group did");
        advance(&mut heads, &stream, 2);
        advance(&mut heads, &other, 3);
        advance(&mut heads, &stream, 4);
        assert!(heads.has_moved("order-1"));
        assert_eq!(ends_at(&mut heads, &stream), (3, 4));
        heads.undo();
        assert_eq!(ends_at(&mut heads, &stream), (1, 1));
        assert_eq!(ends_at(&mut heads, &other), (0, 0));
    }
}
