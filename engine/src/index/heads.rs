//! The head of every stream, as the writer needs it to check what a caller expects.
//!
//! Those that were needed lately are remembered: at most [`STREAMS`] of them, about
//! 100 bytes each and their names. The others are looked up in the indexes of the segments.
//!
//! A group changes heads before it is written, so that its later requests see
//! the earlier ones; when the write fails, the changes are undone. Nothing is
//! forgotten in the middle of a group: the indexes do not know its changes yet.

use std::sync::Arc;

use annals_codec::{Position, SourceName, StreamId, StreamVersion};

use super::recent::Recent;
use crate::error::ReadError;
use crate::view::Published;

/// The end of one stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) version: StreamVersion,
    /// The position of its last event, where that is known.
    last: Option<Position>,
    /// The group that has moved it, if one has.
    moved_by: u64,
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
    Stream(StreamId, Head),
    Source(SourceName, Source),
}

impl Heads {
    /// Remembers nothing yet.
    pub(crate) fn new(published: Arc<Published>) -> Heads {
        Heads { published, streams: Recent::new(STREAMS), sources: Recent::new(SOURCES), undo: Vec::new(), group: 1 }
    }

    /// Where a stream ends; an unknown one is empty. Remembered from now on, until the group is decided.
    pub(crate) fn head(&mut self, stream: &StreamId) -> Result<Head, ReadError> {
        if let Some(head) = self.streams.get_mut(&**stream) {
            return Ok(*head);
        }
        let newest = self.published.view().newest_span(stream)?;
        let version = newest.map_or(StreamVersion::EMPTY, |(_, span)| span.last);
        let last = newest.is_none().then_some(Position::START);
        let head = Head { version, last, moved_by: 0 };
        self.streams.insert(stream.clone(), head);
        Ok(head)
    }

    /// The position of the last event of the stream that ends there.
    pub(crate) fn last(&self, stream: &str, head: Head) -> Result<Position, ReadError> {
        match head.last {
            Some(last) => Ok(last),
            None => Ok(self.published.view().last_of(stream)?.unwrap_or_default()),
        }
    }

    /// How far a foreign source was processed, if it was. Remembered as a head is.
    pub(crate) fn tracking(&mut self, source: &SourceName) -> Result<Option<u64>, ReadError> {
        if let Some(source) = self.sources.get_mut(&**source) {
            return Ok(source.upstream);
        }
        let upstream = self.published.view().tracking(source)?;
        self.sources.insert(source.clone(), Source { upstream, moved_by: 0 });
        Ok(upstream)
    }

    /// Moves a stream's end by `events` events, the last of which is at `last`, until
    /// [`keep`](Heads::keep) or [`undo`](Heads::undo) decides. Returns the version before.
    ///
    /// # Panics
    ///
    /// Unless the group at hand has asked for the [`head`](Heads::head) before.
    pub(crate) fn advance(&mut self, stream: &StreamId, events: u64, last: Position) -> StreamVersion {
        let head = self.streams.get_mut(&**stream).expect("a stream that is written was looked up");
        let before = *head;
        *head = Head { version: before.version.plus(events), last: Some(last), moved_by: self.group };
        self.undo.push(Undo::Stream(stream.clone(), before));
        before.version
    }

    /// Moves a source's position, until [`keep`](Heads::keep) or [`undo`](Heads::undo) decides.
    ///
    /// # Panics
    ///
    /// Unless the group at hand has asked for its position before.
    pub(crate) fn track(&mut self, source: &SourceName, upstream: u64) {
        let known = self.sources.get_mut(&**source).expect("a source that is moved was looked up");
        let before = std::mem::replace(known, Source { upstream: Some(upstream), moved_by: self.group });
        self.undo.push(Undo::Source(source.clone(), before));
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
                Undo::Stream(stream, head) => self.streams.insert(stream, head),
                Undo::Source(source, before) => self.sources.insert(source, before),
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
            heads.head(stream).unwrap();
            heads.advance(stream, 1, Position::new(last))
        };
        let ends_at = |heads: &mut Heads, stream: &StreamId| {
            let head = heads.head(stream).unwrap();
            (head.version.get(), heads.last(stream, head).unwrap().get())
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
