//! Which stream lost which versions: what surviving events say, and which lost position is filled with what. Pure.
//!
//! A stream whose events jump from version 4 to 7 has lost two, somewhere between. What is known for certain of a lost
//! position (a frame that is whole in a batch that is not, the index of the segment) was told as if it were an event, so
//! what is missing here is what nobody knows the position of.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use annals_codec::{Position, StreamId};
use hashbrown::HashMap;

use crate::index::floor::FloorIndex;

/// An event that stands, or stood, somewhere: its stream and its version there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Owner {
    pub(super) stream: StreamId,
    pub(super) version: u64,
}

/// Versions of one stream that were lost between two positions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Missing {
    pub(super) stream: StreamId,
    pub(super) first: u64,
    pub(super) last: u64,
    /// They stood behind this position, and before the other one.
    pub(super) after: Position,
    pub(super) before: Position,
}

/// Follows the streams from the beginning of the log to its end.
#[derive(Debug, Default)]
pub(super) struct Streams {
    heads: HashMap<StreamId, (u64, Position)>,
    /// Where streams ended of which events were removed.
    floor: Option<FloorIndex>,
    pub(super) missing: Vec<Missing>,
    /// What cannot be, if something: a version that does not come after the one before.
    pub(super) contradiction: Option<String>,
}

impl Streams {
    pub(super) fn new(floor: Option<FloorIndex>) -> Streams {
        Streams { floor, ..Streams::default() }
    }

    /// Takes in the next event; they come in the order of positions.
    pub(super) fn see(&mut self, position: Position, stream: &str, version: u64) {
        let (before, after) = match self.heads.get_mut(stream) {
            Some(head) => std::mem::replace(head, (version, position)),
            None => {
                self.heads.insert(StreamId::stored(stream), (version, position));
                let removed = self.floor.as_ref().and_then(|floor| floor.stream(stream).ok().flatten());
                // A floor that is ahead of the log knows later ends, too.
                let removed = removed.filter(|removed| removed.last < position);
                removed.map_or((0, Position::START), |removed| (removed.version.get(), removed.last))
            }
        };
        if version <= before {
            self.contradiction.get_or_insert_with(|| {
                format!("version {version} of stream {stream} at position {position} follows version {before}")
            });
        } else if version > before + 1 {
            let (stream, first, last) = (StreamId::stored(stream), before + 1, version - 1);
            self.missing.push(Missing { stream, first, last, after, before: position });
        }
    }

    /// Whether any event of this stream was met.
    pub(super) fn knows(&self, stream: &str) -> bool {
        self.heads.contains_key(stream)
    }
}

/// Gives each missing version one of these positions, which ascend: between the events that tell of it, and in order.
///
/// Each time the position goes to the stream that has to be done first. If the log was ever whole, there is a place for
/// all of them, and this finds one; which of several streams stood where exactly nobody knows any more.
pub(super) fn assign(
    slots: impl Iterator<Item = Position>,
    mut missing: Vec<Missing>,
) -> Result<BTreeMap<Position, Owner>, String> {
    missing.sort_by_key(|missing| missing.after);
    let mut waiting = missing.into_iter().enumerate().peekable();
    let mut open: BinaryHeap<Reverse<(Position, usize)>> = BinaryHeap::new();
    let mut of: HashMap<usize, Missing> = HashMap::new();
    let mut owners = BTreeMap::new();
    let too_many = |missing: &Missing| {
        let Missing { stream, first, last, before, .. } = missing;
        format!(
            "versions {first} to {last} of stream {stream} are missing before position {before}, and nothing is damaged where they could have been"
        )
    };
    for slot in slots {
        while let Some((number, missing)) = waiting.next_if(|(_, missing)| missing.after < slot) {
            open.push(Reverse((missing.before, number)));
            of.insert(number, missing);
        }
        let Some(Reverse((before, number))) = open.peek().copied() else { continue };
        let missing = of.get_mut(&number).expect("what is open is known");
        if before <= slot {
            return Err(too_many(missing));
        }
        owners.insert(slot, Owner { stream: missing.stream.clone(), version: missing.first });
        if missing.first == missing.last {
            open.pop();
            of.remove(&number);
        } else {
            missing.first += 1;
        }
    }
    let left = open.pop().and_then(|Reverse((_, number))| of.remove(&number)).or_else(|| Some(waiting.next()?.1));
    left.map_or(Ok(owners), |missing| Err(too_many(&missing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64) -> Position {
        Position::new(position)
    }

    /// Everything that is left of a log of these streams when some positions are lost.
    fn left_of(log: &[u8], is_lost: impl Fn(u64) -> bool) -> (Streams, Vec<Position>) {
        let (mut streams, mut lost, mut versions) = (Streams::default(), Vec::new(), [0; 256]);
        for (position, stream) in (1..).zip(log) {
            versions[usize::from(*stream)] += 1;
            if is_lost(position) {
                lost.push(at(position));
            } else {
                streams.see(at(position), &format!("s{stream}"), versions[usize::from(*stream)]);
            }
        }
        (streams, lost)
    }

    #[test]
    fn whatever_is_lost_of_a_log_every_stream_is_dense_again_in_the_order_of_positions() {
        let mut random = 9_u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        for round in 0..2_000 {
            let log: Vec<u8> = (0..=below(30)).map(|_| below(4) as u8).collect();
            let lost_one_in = 1 + below(5);
            let lost: Vec<bool> = log.iter().map(|_| below(lost_one_in) == 0).collect();
            let (streams, slots) = left_of(&log, |position| lost[position as usize - 1]);
            assert_eq!(streams.contradiction, None);
            let owners =
                assign(slots.iter().copied(), streams.missing.clone()).unwrap_or_else(|why| panic!("{round}: {why}"));
            let mut versions: HashMap<String, u64> = HashMap::new();
            let mut own = [0; 4];
            for (position, stream) in (1..).zip(&log) {
                own[usize::from(*stream)] += 1;
                let (name, version) = match owners.get(&at(position)) {
                    Some(owner) => (owner.stream.to_string(), owner.version),
                    None if lost[position as usize - 1] => continue,
                    None => (format!("s{stream}"), own[usize::from(*stream)]),
                };
                let head = versions.entry(name.clone()).or_default();
                assert_eq!(version, *head + 1, "round {round}, {name} at {position} of {log:?} without {slots:?}");
                *head = version;
            }
        }
    }

    #[test]
    fn what_is_missing_where_nothing_is_lost_is_a_contradiction() {
        let (streams, _) = left_of(&[1, 1, 1], |position| position == 2);
        assert!(assign([].into_iter(), streams.missing.clone()).unwrap_err().contains("versions 2 to 2 of stream s1"));
        assert!(assign([at(3), at(4)].into_iter(), streams.missing.clone()).is_err(), "too late");
        assert!(assign([at(1)].into_iter(), streams.missing).is_err(), "too early");
        let mut streams = Streams::default();
        streams.see(at(1), "a", 2);
        streams.see(at(2), "a", 2);
        assert!(streams.contradiction.unwrap().contains("version 2 of stream a at position 2 follows version 2"));
    }
}
