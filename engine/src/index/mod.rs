//! Finding events by something other than their position.
//!
//! Each segment has an index of its own, asked through [`SegmentIndex`]: the
//! active segment's is in memory, and so, for now, is every sealed segment's,
//! rebuilt when the store is opened. A stream is found by asking segments from
//! the newest to the oldest. Index entries hold the place of an event in its
//! segment, not its position: one look-up less for each event read.

pub(crate) mod build;
pub(crate) mod heads;
pub(crate) mod load;
pub(crate) mod memory;

use std::fmt::Debug;

use annals_codec::{StreamId, StreamVersion};

/// What one segment holds of one stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: StreamVersion,
    pub(crate) last: StreamVersion,
    /// How many events: `last - first + 1`, unless some lie in a damaged region.
    pub(crate) events: u64,
}

impl Span {
    /// How many of its events certainly come before `version`; none, where some are missing.
    pub(crate) fn events_before(&self, version: StreamVersion) -> u64 {
        // Versions that go back are damage that `verify` finds, and nothing to count with.
        let is_whole = self.last.get().checked_sub(self.first.get()) == self.events.checked_sub(1);
        if is_whole { version.get().saturating_sub(self.first.get()).min(self.events) } else { 0 }
    }
}

/// The index of one segment.
pub(crate) trait SegmentIndex: Send + Sync + Debug {
    /// Which versions of a stream the segment holds.
    fn span(&self, stream: &str) -> Option<Span>;

    /// Appends to `out` the offsets, divided by 8, of a range of a stream's
    /// events in the segment, as far as they exist. The first one is number 0.
    fn offsets(&self, stream: &str, range: std::ops::Range<u64>, out: &mut Vec<u32>);

    /// Calls `each` with every stream of the segment whose name begins with `prefix`, in no order.
    fn streams(&self, prefix: &str, each: &mut dyn FnMut(&StreamId, Span));

    /// The latest position that the segment records for a foreign source.
    fn tracking(&self, source: &str) -> Option<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_versions_with_a_hole_or_that_go_back_none_certainly_come_before() {
        let before = |first, last, events, version| {
            let span = Span { first: StreamVersion::new(first), last: StreamVersion::new(last), events };
            span.events_before(StreamVersion::new(version))
        };
        assert_eq!(before(5, 9, 5, 7), 2);
        assert_eq!(before(5, 9, 5, 100), 5);
        assert_eq!(before(5, 9, 4, 7), 0, "one is missing");
        assert_eq!(before(5, 4, 2, 7), 0, "they go back");
    }
}
