//! The events that stand for lost ones, for those who look for something that may be lost: a redaction, or what said it.
//!
//! What is always true: what is told apart here is what a repair has written, by its type and by the beginning of its data.
//! An event that somebody else gave that type is an event like any other.

use annals_codec::{ContentType, Event, Position, Redaction};

use super::record::{LOST_DATA, LOST_TYPE};

/// Whether an event stands for one that was lost, where a store was repaired: it has the type `$lost`, and its data say why.
///
/// ```
/// use annals::{Event, is_filler};
///
/// assert!(!is_filler(&Event::new("order-7", "Placed", b"{}")));
/// ```
pub fn is_filler(event: &Event<'_>) -> bool {
    event.event_type == LOST_TYPE && event.content_type == ContentType::JSON && event.data.starts_with(LOST_DATA)
}

/// Whether what said that events are redacted may be among the lost events of this stream.
pub(super) fn may_have_told(stream: &str) -> bool {
    stream == Redaction::STREAM || stream.starts_with(super::UNKNOWN_STREAM)
}

/// Where such events stand.
#[derive(Debug, Default)]
pub(crate) struct Fillers {
    /// Without a hole, ascending: the first and the last position of each.
    ranges: Vec<(Position, Position)>,
    /// The last of those that may stand for the event of a redaction.
    untold: Option<Position>,
}

impl Fillers {
    /// Takes in the next event, whatever it is; they come in the order of positions.
    pub(crate) fn see(&mut self, event: &Event<'_>) {
        if !is_filler(event) {
            return;
        }
        let position = event.position;
        match self.ranges.last_mut() {
            Some((_, last)) if position <= *last => {}
            Some((_, last)) if position == last.plus(1) => *last = position,
            _ => self.ranges.push((position, position)),
        }
        if may_have_told(event.stream) {
            self.untold = self.untold.max(Some(position));
        }
    }

    /// Takes in those of what follows.
    pub(crate) fn extend(&mut self, behind: Fillers) {
        self.ranges.extend(behind.ranges);
        self.untold = self.untold.max(behind.untold);
    }

    /// Whether the event at this position is lost.
    pub(crate) fn stand_at(&self, position: Position) -> bool {
        let index = self.ranges.partition_point(|(_, last)| *last < position);
        self.ranges.get(index).is_some_and(|(first, _)| *first <= position)
    }

    /// Whether what the log said of this event later on may be lost.
    pub(crate) fn may_have_told_of(&self, position: Position) -> bool {
        self.untold.is_some_and(|untold| untold > position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(events: &[(u64, &str, &str, &[u8])]) -> Fillers {
        let mut fillers = Fillers::default();
        for (position, stream, event_type, data) in events {
            let mut event = Event::new(stream, event_type, data);
            (event.position, event.content_type) = (Position::new(*position), ContentType::JSON);
            fillers.see(&event);
        }
        fillers
    }

    #[test]
    fn what_a_repair_wrote_is_told_apart_from_what_only_looks_like_it() {
        let lost: &[u8] = br#"{"why":"the file is missing"}"#;
        let found = seen(&[
            (1, "a", "$lost", lost),
            (2, "a", "Told", lost),
            (3, "a", "$lost", b"{}"),
            (4, "b", "$lost", lost),
            (5, "b", "$lost", lost),
            (9, "b", "$lost", lost),
        ]);
        let at: Vec<u64> = (0..12).filter(|position| found.stand_at(Position::new(*position))).collect();
        assert_eq!(at, [1, 4, 5, 9]);
        assert!(!found.may_have_told_of(Position::START), "it is known of which streams they were");
    }

    #[test]
    fn only_lost_events_of_redactions_or_of_nobody_knows_what_excuse_that_nothing_is_said() {
        let lost: &[u8] = br#"{"why":"x"}"#;
        for stream in ["$redactions", "$lost-7"] {
            let mut found = seen(&[(2, "a", "$lost", lost)]);
            found.extend(seen(&[(7, stream, "$lost", lost), (8, "a", "$lost", lost)]));
            let excused: Vec<u64> = (0..10).filter(|at| found.may_have_told_of(Position::new(*at))).collect();
            assert_eq!(excused, [0, 1, 2, 3, 4, 5, 6], "{stream}: it speaks of what was before it");
            assert!(found.stand_at(Position::new(2)) && found.stand_at(Position::new(8)));
        }
    }
}
