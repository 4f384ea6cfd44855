//! What the children append: every batch is made of the seed and its name, and of nothing else.
//!
//! So the parent, who hears names through a pipe, knows each byte that has to
//! be there. The data of every event begins with a line that says which event
//! of which batch it is; what follows is noise.
//!
//! ```text
//! 00000000075bcd15 3/0/17 2 of 5⏎noise
//! seed             batch  event
//! ```

use std::fmt;
use std::str::FromStr;

use annals::{Durability, EventId, NewEvent};

use super::dice::Dice;

/// Which batch: the life of the store in which it was first thought of, the thread, and a number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name {
    /// Lives are counted over all children that were started on one store.
    pub life: u32,
    /// The thread of the child.
    pub thread: u16,
    /// Which of that thread's batches.
    pub number: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.life, self.thread, self.number)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or(());
        let (life, thread, number) = (part()?, part()?, part()?);
        let wrong = |_| ();
        let name = Name {
            life: life.parse().map_err(wrong)?,
            thread: thread.parse().map_err(wrong)?,
            number: number.parse().map_err(wrong)?,
        };
        if parts.next().is_some() { Err(()) } else { Ok(name) }
    }
}

/// One event of a batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Planned {
    /// The stream it goes to.
    pub stream: String,
    /// Its type.
    pub event_type: &'static str,
    /// Its data, with the label in front.
    pub data: Vec<u8>,
    /// Its metadata, if it has any.
    pub metadata: Option<Vec<u8>>,
    /// Its only tag, if it has one.
    pub tag: Option<&'static str>,
    /// The id that its author gives it, if one is given.
    pub id: Option<EventId>,
}

impl Planned {
    /// The event to append.
    pub fn new_event(&self) -> NewEvent {
        let mut event = NewEvent::new(self.event_type, self.data.clone());
        if let Some(metadata) = &self.metadata {
            event = event.metadata(metadata.clone());
        }
        if let Some(tag) = self.tag {
            event = event.tag(tag);
        }
        self.id.map_or(event.clone(), |id| event.id(id))
    }
}

/// What a batch asks of the store beside being written. Not asked again when it is retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asks {
    /// Nothing.
    Nothing,
    /// That its first stream is where its author saw it a moment ago: another thread may have been first.
    WhatWasSeen,
    /// That its first stream is where it can never be: it must be refused.
    Impossible,
    /// That nothing of its first event's type came after the head that its author saw.
    NothingNew,
}

/// A batch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Its events; none when it only records how far a source was processed.
    pub events: Vec<Planned>,
    /// Its idempotency key.
    pub key: Option<String>,
    /// The source that it processes, and how far it comes.
    pub tracking: Option<(String, u64)>,
    /// When it is acknowledged.
    pub durability: Durability,
    /// What it asks of the store.
    pub asks: Asks,
}

/// How many streams all threads share.
const STREAMS: u64 = 12;
/// How many batches in a hundred are durable, by seed: most stores are mixed, some have much to lose.
const DURABLE: [u64; 3] = [10, 50, 90];
/// The types of the events.
pub(super) const TYPES: [&str; 4] = ["Begun", "Moved", "Held", "Ended"];
/// Their tags.
pub(super) const TAGS: [&str; 2] = ["red", "blue"];

/// The batch with this name.
pub fn batch(seed: u64, name: Name) -> Batch {
    let place = u64::from(name.life) << 48 ^ u64::from(name.thread) << 32 ^ u64::from(name.number);
    let mut dice = Dice::new(seed ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (count, most) = match dice.below(100) {
        // So long that a kill may come in the middle of the write.
        0 if dice.chance(25) => (20 + dice.below(20), 60_000),
        0..50 => (1, 700),
        50..80 => (2 + dice.below(7), 700),
        80..90 => (15 + dice.below(50), 250),
        90..95 => (1 + dice.below(3), 12_000),
        // Larger than the smallest segment: it gets one of its own.
        95 => (8 + dice.below(12), 9_000),
        _ => (0, 0),
    };
    let has_ids = dice.chance(20);
    let own = dice.chance(5);
    let events = (0..count)
        .map(|index| Planned {
            stream: if own { format!("of-{name}") } else { format!("s-{}", dice.skewed(STREAMS)) },
            event_type: TYPES[dice.skewed(TYPES.len() as u64) as usize],
            data: data(seed, name, index, count, most, &mut dice),
            metadata: dice.chance(20).then(|| format!("{name} of {seed}, {index}").into_bytes()),
            tag: dice.chance(40).then(|| dice.one_of(&TAGS)),
            id: has_ids.then(|| id(seed, name, index)),
        })
        .collect();
    let tracked = count == 0 || dice.chance(10);
    let durability =
        if dice.chance(DURABLE[seed as usize % DURABLE.len()]) { Durability::Sync } else { Durability::Buffered };
    let asks = match dice.below(20) {
        _ if count == 0 => Asks::Nothing,
        0..3 => Asks::WhatWasSeen,
        3 => Asks::Impossible,
        4 => Asks::NothingNew,
        _ => Asks::Nothing,
    };
    Batch {
        events,
        key: (count > 0 && dice.chance(20)).then(|| format!("key of {name}")),
        // Higher with each batch of the thread, over all lives, so that none is in the way of a later one.
        tracking: tracked.then(|| (source(name.thread), u64::from(name.life) << 32 | u64::from(name.number))),
        durability,
        asks,
    }
}

impl Batch {
    /// Whether a second try of it is recognised.
    pub fn can_be_retried(&self) -> bool {
        self.key.is_some() || self.events.first().is_some_and(|event| event.id.is_some())
    }
}

/// The source whose progress a thread records.
pub(super) fn source(thread: u16) -> String {
    format!("upstream-{thread}")
}

fn id(seed: u64, name: Name, index: u64) -> EventId {
    let place = u64::from(name.thread) << 48 ^ index << 32 ^ u64::from(name.number);
    let mut dice = Dice::new(seed ^ u64::from(name.life) << 40);
    let mut dice = Dice::new(dice.next() ^ place);
    EventId::version_7(dice.below(1 << 48), dice.next() as u16, dice.next())
}

fn data(seed: u64, name: Name, index: u64, count: u64, most: u64, dice: &mut Dice) -> Vec<u8> {
    let mut data = format!("{seed:016x} {name} {index} of {count}\n").into_bytes();
    let len = data.len() + dice.below(most + 1) as usize;
    // Some zeros and some repetition too: what looks like space that was never written.
    let noise = dice.next();
    let shape = dice.below(3);
    data.extend((data.len()..len).map(|at| match shape {
        0 => 0,
        1 => noise as u8,
        _ => (noise >> (at % 57)) as u8 ^ at as u8,
    }));
    data
}

/// The label of an event: which batch it is of, which of its events, and of how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Label {
    pub(super) name: Name,
    pub(super) index: usize,
    pub(super) count: usize,
}

/// Reads the label; `None` when this seed did not write it.
pub(super) fn label(seed: u64, data: &[u8]) -> Option<Label> {
    let end = data.iter().take(100).position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&data[..end]).ok()?;
    let rest = line.strip_prefix(&format!("{seed:016x} "))?;
    let (name, rest) = rest.split_once(' ')?;
    let (index, count) = rest.split_once(" of ")?;
    Some(Label { name: name.parse().ok()?, index: index.parse().ok()?, count: count.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> impl Iterator<Item = Name> {
        (0..2000).map(|number| Name { life: number % 3, thread: (number % 5) as u16, number })
    }

    #[test]
    fn a_batch_is_told_by_its_name_and_its_events_tell_the_name() {
        for name in names() {
            let made = batch(7, name);
            assert_eq!(made, batch(7, name));
            assert_eq!(name.to_string().parse(), Ok(name));
            for (index, event) in made.events.iter().enumerate() {
                assert_eq!(label(7, &event.data), Some(Label { name, index, count: made.events.len() }));
                assert_eq!(label(8, &event.data), None, "another seed wrote it");
            }
        }
    }

    #[test]
    fn every_kind_of_batch_is_made() {
        let made: Vec<Batch> = names().map(|name| batch(7, name)).collect();
        let some = |what: &dyn Fn(&Batch) -> bool| assert!(made.iter().any(what));
        some(&|batch| batch.events.is_empty() && batch.tracking.is_some());
        some(&|batch| batch.events.iter().map(|event| event.data.len()).sum::<usize>() > 64 << 10);
        some(&|batch| batch.key.is_some() && batch.events.len() > 1);
        some(&|batch| batch.can_be_retried() && batch.key.is_none());
        for asks in [Asks::Nothing, Asks::WhatWasSeen, Asks::Impossible, Asks::NothingNew] {
            some(&|batch| batch.asks == asks);
        }
        assert!(made.iter().all(|batch| batch.tracking.is_some() || !batch.events.is_empty()));
    }
}
