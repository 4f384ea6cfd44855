//! Finding positions by the time of recording, which never decreases with the position.

use annals_codec::Position;

use super::all::look;
use super::frames::Frames;
use super::window::Window;
use crate::error::Damage;

/// Where a moment lies in the log. Nothing between the two positions can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    /// The last event that is known to be recorded before it; the one before the
    /// oldest when there is none.
    pub(crate) before: Position,
    /// The first event that is known not to be; the one behind the head when there is none.
    pub(crate) behind: Position,
}

impl Frames {
    /// Finds where a moment lies, looking at a number of events that grows with the
    /// logarithm of the log's length.
    pub(crate) fn moment(&mut self, is_before: impl Fn(i64) -> bool) -> Moment {
        // The view may be newer than the head: what it has behind that is none of this reader's.
        let seen = |position: Position| position.min(self.head).get();
        let (mut low, mut high) = (seen(self.view.oldest().before()), self.head.plus(1).get());
        // Seals say when the first and the last event of their segments were recorded, so
        // only one segment is looked into, but for those that do not tell.
        for segment in self.view.segments.iter().map(|segment| &segment.log) {
            let Some((earliest, latest)) = segment.recorded_at() else { continue };
            if is_before(latest) {
                low = low.max(seen(segment.last()));
            }
            if !is_before(earliest) {
                high = high.min(seen(segment.base) + 1);
                break;
            }
        }
        let (low, high) = split(low, high, |position| match self.recorded_at(Position::new(position)) {
            Some(recorded_at) => Ok(is_before(recorded_at)),
            None => Err(self.unreadable(position)),
        });
        Moment { before: Position::new(low), behind: Position::new(high) }
    }

    /// The positions whose events were recorded at or after `from` and before `to`, and
    /// those beside them of which nobody can say it.
    pub(crate) fn recorded_between(&mut self, from: i64, to: i64) -> Window {
        if from >= to {
            return Window::up_to(Position::START);
        }
        let after = self.moment(|recorded_at| recorded_at < from).before;
        let until = self.moment(|recorded_at| recorded_at < to).behind.before();
        Window { after, until }
    }

    /// When an event was recorded, if it can be read.
    fn recorded_at(&mut self, position: Position) -> Option<i64> {
        let segment = self.view.segment_of(position)?;
        let place = look(self, segment, position).ok()?.ok()?;
        Some(self.event(place).ok()?.recorded_at)
    }

    /// The positions around one that cannot be read which cannot be read either, as far as that is
    /// known: a gap is passed in one step, however long it claims to be.
    fn unreadable(&self, position: u64) -> (u64, u64) {
        let bounds = |gap: &Damage| (gap.from.get(), gap.to.map_or(u64::MAX, Position::get));
        let mut gaps = self.view.gaps.iter().map(bounds);
        gaps.find(|(from, to)| (*from..=*to).contains(&position)).unwrap_or((position, position))
    }
}

/// Splits the numbers between `low` and `high`: gives the last of which `is_before` is
/// known to be true, and the first of which it is known to be false. Where it cannot tell
/// it says from where to where, and the nearest number behind that is taken.
fn split(mut low: u64, mut high: u64, mut is_before: impl FnMut(u64) -> Result<bool, (u64, u64)>) -> (u64, u64) {
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let (mut down, mut up) = (middle, middle + 1);
        loop {
            let number = if down > low { down } else { up };
            if number >= high {
                return (low, high);
            }
            match is_before(number) {
                Ok(true) => low = number,
                Ok(false) => high = number,
                Err((from, to)) => {
                    down = down.min(from.saturating_sub(1));
                    up = up.max(to.saturating_add(1));
                    continue;
                }
            }
            break;
        }
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, EventStore, ExpectedVersion, NewEvent, Options};
    use std::sync::Arc;

    #[test]
    fn a_moment_lies_within_what_the_reader_sees_however_much_newer_its_view_is() {
        let options = Options::new().segment_bytes(64 << 10).durability(Durability::Buffered);
        let store = EventStore::in_memory(&options).unwrap();
        for _ in 0..300 {
            store.append("s", ExpectedVersion::Any, NewEvent::new("T", vec![0; 1000])).unwrap();
        }
        for removed in [0, 150, 290] {
            store.truncate_before(Position::new(removed), crate::Guard::Force).unwrap();
            let view = Arc::clone(&store.read_all(Position::START).frames.view);
            for head in 1..=300 {
                let mut frames = Frames::new(Arc::clone(&view), Position::new(head));
                let everything = frames.moment(|_| true);
                assert_eq!((everything.before.get(), everything.behind.get()), (head, head + 1), "{removed}");
                let nothing = frames.moment(|_| false);
                let oldest = view.oldest().get();
                assert_eq!(nothing.before.get(), head.min(oldest - 1), "{removed} {head}");
                assert_eq!(nothing.behind.get(), nothing.before.get() + 1, "{removed} {head}");
            }
        }
    }

    #[test]
    fn every_split_is_found_whatever_cannot_be_read() {
        // Numbers 1 to 9; those below `edge` are before; each set of them cannot be read.
        for edge in 1..=10 {
            for unreadable in 0_u32..1 << 9 {
                let tell = |number: u64| (unreadable >> (number - 1) & 1 == 0).then_some(number < edge);
                let split_by = |number: u64| tell(number).ok_or((number, number));
                let low = (1..10).rev().find(|number| tell(*number) == Some(true)).unwrap_or(0);
                let high = (1..10).find(|number| tell(*number) == Some(false)).unwrap_or(10);
                assert_eq!(split(0, 10, split_by), (low, high), "edge {edge}, unreadable {unreadable:09b}");
            }
        }
    }

    #[test]
    fn a_split_of_a_million_looks_at_no_more_than_twenty() {
        for edge in [1, 2, 499_999, 777_777, 1_000_000] {
            let mut looks = 0;
            let found = split(0, 1_000_000, |number| {
                looks += 1;
                Ok(number < edge)
            });
            assert_eq!(found, (edge - 1, edge));
            assert!(looks <= 20, "{looks} looks for {edge}");
        }
    }

    #[test]
    fn a_gap_is_passed_in_one_step_however_long_it_is() {
        let high = u64::MAX - 1;
        for gap in [(2, high - 2), (1, high - 2), (2, u64::MAX), (1, u64::MAX)] {
            for edge in [1, 2, high - 1, high] {
                let is_readable = |number: &u64| *number < gap.0 || *number > gap.1;
                let mut looks = 0;
                let found = split(0, high, |number| {
                    looks += 1;
                    if is_readable(&number) { Ok(number < edge) } else { Err(gap) }
                });
                let known = [1, high - 1].into_iter().filter(is_readable);
                let low = known.clone().rfind(|number| *number < edge).unwrap_or(0);
                let high = known.clone().find(|number| *number >= edge).unwrap_or(high);
                assert_eq!(found, (low, high), "gap {gap:?}, edge {edge}");
                assert!(looks < 10, "gap {gap:?}, edge {edge}: {looks} looks");
            }
        }
    }
}
