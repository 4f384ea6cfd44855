//! The head of every stream, as the writer needs it to check what a caller expects.
//!
//! A group changes heads before it is written, so that its later requests see
//! the earlier ones; when the write fails, the changes are undone.

use annals_codec::{Position, SourceName, StreamId, StreamVersion};
use hashbrown::HashMap;

/// The end of one stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) version: StreamVersion,
    /// The position of its last event.
    pub(crate) last: Position,
}

/// How much room for changes stays allocated for the next group.
const KEPT_UNDO: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Heads {
    streams: HashMap<StreamId, Head>,
    tracking: HashMap<SourceName, u64>,
    undo: Vec<Undo>,
}

#[derive(Debug)]
enum Undo {
    Stream(StreamId, Option<Head>),
    Tracking(SourceName, Option<u64>),
}

impl Heads {
    /// Where a stream ends; an unknown one is empty.
    pub(crate) fn head(&self, stream: &str) -> Head {
        self.streams.get(stream).copied().unwrap_or_default()
    }

    pub(crate) fn tracking(&self, source: &str) -> Option<u64> {
        self.tracking.get(source).copied()
    }

    /// Moves a stream's end by `events` events, the last of which is at `last`, until
    /// [`keep`](Heads::keep) or [`undo`](Heads::undo) decides. Returns the version before.
    pub(crate) fn advance(&mut self, stream: &StreamId, events: u64, last: Position) -> StreamVersion {
        let before = match self.streams.get_mut(&**stream) {
            Some(head) => Some(std::mem::replace(head, Head { version: head.version.plus(events), last })),
            None => {
                self.streams.insert(stream.clone(), Head { version: StreamVersion::new(events), last });
                None
            }
        };
        self.undo.push(Undo::Stream(stream.clone(), before));
        before.unwrap_or_default().version
    }

    /// Moves a source's position, until [`keep`](Heads::keep) or [`undo`](Heads::undo) decides.
    pub(crate) fn track(&mut self, source: &SourceName, upstream: u64) {
        let before = self.tracking.insert(source.clone(), upstream);
        self.undo.push(Undo::Tracking(source.clone(), before));
    }

    /// Whether the group at hand has moved a stream.
    pub(crate) fn has_moved(&self, stream: &str) -> bool {
        self.undo.iter().any(|change| matches!(change, Undo::Stream(moved, _) if **moved == *stream))
    }

    /// Whether the group at hand has moved a source.
    pub(crate) fn has_moved_source(&self, source: &str) -> bool {
        self.undo.iter().any(|change| matches!(change, Undo::Tracking(moved, _) if **moved == *source))
    }

    /// The changes since the last decision stay.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
        self.undo.shrink_to(KEPT_UNDO);
    }

    /// The changes since the last decision did not happen.
    pub(crate) fn undo(&mut self) {
        while let Some(change) = self.undo.pop() {
            match change {
                Undo::Stream(stream, Some(head)) => drop(self.streams.insert(stream, head)),
                Undo::Stream(stream, None) => drop(self.streams.remove(&*stream)),
                Undo::Tracking(source, Some(upstream)) => drop(self.tracking.insert(source, upstream)),
                Undo::Tracking(source, None) => drop(self.tracking.remove(&*source)),
            }
        }
    }

    /// Takes in an event that is in the log already.
    pub(crate) fn restore(&mut self, stream: &StreamId, head: Head) {
        match self.streams.get_mut(&**stream) {
            Some(entry) => *entry = head,
            None => drop(self.streams.insert(stream.clone(), head)),
        }
    }

    /// Takes in a tracking record that is in the log already.
    pub(crate) fn restore_tracking(&mut self, source: &SourceName, upstream: u64) {
        self.tracking.insert(source.clone(), upstream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoing_a_group_that_touched_a_stream_twice_gives_the_head_before_the_group() {
        let stream = StreamId::new("order-1").unwrap();
        let other = StreamId::new("order-2").unwrap();
        let at = |version, last| Head { version: StreamVersion::new(version), last: Position::new(last) };
        let mut heads = Heads::default();
        heads.advance(&stream, 1, Position::new(1));
        heads.keep();
        heads.advance(&stream, 1, Position::new(2));
        heads.advance(&other, 1, Position::new(3));
        heads.advance(&stream, 1, Position::new(4));
        assert_eq!(heads.head("order-1"), at(3, 4));
        heads.undo();
        assert_eq!(heads.head("order-1"), at(1, 1));
        assert_eq!(heads.head("order-2"), Head::default());
    }
}
