//! How much of a log is kept.

use std::time::Duration;

use annals_codec::Position;

use crate::index::IndexedSegment;
use crate::view::View;

/// How much of the newest events is kept, at least. What any of the limits keeps stays; without a limit everything does.
///
/// ```
/// use std::time::Duration;
///
/// use annals::{Options, Retention};
///
/// // The last 30 days, and never fewer than a million events.
/// let retention = Retention::new().age(Duration::from_secs(30 * 86_400)).events(1_000_000);
/// let options = Options::new().retention(retention);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct Retention {
    events: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
}

impl Retention {
    /// No limit: everything is kept.
    pub fn new() -> Retention {
        Retention::default()
    }

    /// Keeps at least the newest `events` events.
    pub fn events(mut self, events: u64) -> Retention {
        self.events = Some(events);
        self
    }

    /// Keeps at least the newest segments that take so many bytes together.
    pub fn bytes(mut self, bytes: u64) -> Retention {
        self.bytes = Some(bytes);
        self
    }

    /// Keeps at least what was recorded within so much time up to now, by the store's clock.
    pub fn age(mut self, age: Duration) -> Retention {
        self.age = Some(age);
        self
    }

    /// The position with which that begins which is kept, as the log is now.
    pub(crate) fn begins(&self, view: &View, head: Position, now: i64) -> Position {
        let by_events = self.events.map(|events| Position::new((head.get() + 1).saturating_sub(events)));
        let by_bytes = self.bytes.map(|bytes| {
            let (mut kept, mut oldest) = (0, Position::END);
            for log in view.segments.iter().rev().map(|segment| &segment.log) {
                if kept >= bytes {
                    return oldest;
                }
                kept += log.committed();
                oldest = log.base.plus(1);
            }
            Position::START
        });
        let by_age = self.age.map(|age| {
            let since = now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
            let is_old = |segment: &&IndexedSegment| {
                let log = &segment.log;
                log.sealed && log.recorded_at().is_none_or(|(_, latest)| latest < since)
            };
            let old = view.segments.iter().take_while(is_old).count();
            view.segments.get(old).map_or(Position::END, |segment| segment.log.base.plus(1))
        });
        [by_events, by_bytes, by_age].into_iter().flatten().min().unwrap_or(Position::START)
    }
}
