//! The events of the comparison: the same for every engine, whenever they are asked for.
//!
//! There are as many events to a stream as a shop has: a few busy streams and many
//! quiet ones, and a hundred times as many events as streams. Payloads are JSON of 100
//! to 400 bytes, of which a compressor can make something; metadata is 40 bytes, and
//! names are 29 in all. An event costs the program that makes it two allocations, as it
//! does in life, and everybody pays for them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{EventId, Position, StreamId};
use annals_benches::shop::Dice;

use crate::engine::{Append, Engine, New};

const EVENT_TYPE: &str = "order-line-added";
const METADATA: &[u8; 40] = b"by clerk 7, at counter 12, in the street";
const PAYLOAD: Range<u64> = 100..401;
/// How many events are filled in at a time.
const FILL: u64 = 100;

/// What all callers share.
pub(crate) struct Shop {
    streams: Vec<StreamId>,
    /// How many events each stream has. No two callers append to the same stream.
    versions: Vec<AtomicU64>,
    /// What payloads are cut from.
    text: String,
}

impl Shop {
    /// The shop whose store has so many events.
    pub(crate) fn new(events: u64) -> Shop {
        let streams = (events / 100).max(64);
        let name = |number| StreamId::new(&format!("order-{number:07}")).expect("a short name");
        let mut dice = Dice::new(0x0005_DEEC_E66D_0001);
        let mut text = String::new();
        while text.len() < 1 << 16 {
            let (item, pieces, cents) = (dice.roll() as u32, 1 + dice.below(9), dice.below(100_000));
            let line = format!(r#"{{"item":"{item:08X}","pieces":{pieces},"cents":{cents},"currency":"EUR"}},"#);
            text.push_str(&line);
        }
        Shop {
            streams: (0..streams).map(name).collect(),
            versions: (0..streams).map(|_| AtomicU64::new(0)).collect(),
            text,
        }
    }

    /// Learns from a store how many events each stream has.
    pub(crate) fn look_up(&self, engine: &dyn Engine) {
        for (stream, version) in self.streams.iter().zip(&self.versions) {
            version.store(engine.version(stream).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Streams at random that have 94 events on the average, in a store that was filled.
    pub(crate) fn streams_of_94(&self, dice: &mut Dice, number: usize) -> Vec<StreamId> {
        // Stream s of n has 50 × √(n / s) events: see `Caller::stream`.
        let all = self.streams.len() as u64;
        let (first, wide) = (all * 27 / 100, (all * 26 / 1000).max(1));
        (0..number).map(|_| self.streams[(first + dice.below(wide)) as usize].clone()).collect()
    }
}

/// Positions at random, of the first `events`.
pub(crate) fn positions(dice: &mut Dice, number: usize, events: u64) -> Vec<Position> {
    (0..number).map(|_| Position::new(1 + dice.below(events))).collect()
}

/// Somebody who appends: this one of so many, each with streams of its own.
pub(crate) struct Caller<'a> {
    shop: &'a Shop,
    number: u64,
    of: u64,
    dice: Dice,
    made: u64,
}

impl<'a> Caller<'a> {
    /// In another life a caller does something else.
    pub(crate) fn new(shop: &'a Shop, number: u64, of: u64, life: u64) -> Caller<'a> {
        let seed = 0x2545_F491_4F6C_DD1D_u64.wrapping_mul(2 * (life % (1 << 60)) + 1);
        Caller { shop, number, of, dice: Dice::new(seed), made: 0 }
    }

    /// A number for others to begin with.
    pub(crate) fn roll(&mut self) -> u64 {
        self.dice.below(1 << 50)
    }

    /// Squaring a random number favours the low ones.
    fn stream(&mut self) -> usize {
        let all = self.shop.streams.len() as u64;
        let uniform = self.dice.below(1 << 32);
        let skewed = ((u128::from(uniform * uniform) * u128::from(all)) >> 64) as u64;
        let own = skewed / self.of * self.of + self.number;
        if own < all { own as usize } else { self.number as usize }
    }

    fn event(&mut self) -> New<'static> {
        self.made += 1;
        let len = PAYLOAD.start + self.dice.below(PAYLOAD.end - PAYLOAD.start);
        let at = self.dice.below(self.shop.text.len() as u64 - len) as usize;
        New {
            id: EventId::version_7(self.made, 0, self.dice.roll()),
            event_type: EVENT_TYPE,
            data: self.shop.text.as_bytes()[at..at + len as usize].to_vec(),
            metadata: METADATA.to_vec(),
        }
    }

    /// The next append: so many events to one stream.
    pub(crate) fn append(&mut self, events: usize) -> Append<'a> {
        let stream = self.stream();
        let expected = self.shop.versions[stream].fetch_add(events as u64, Ordering::Relaxed);
        let events = (0..events).map(|_| self.event()).collect();
        Append { stream: &self.shop.streams[stream], expected, events }
    }

    /// Takes events in, each to a stream of its own, many at a time.
    pub(crate) fn fill(&mut self, engine: &dyn Engine, events: u64) {
        for from in (0..events).step_by(FILL as usize) {
            engine.fill((from..events.min(from + FILL)).map(|_| self.append(1)).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_94_events_have_94_on_the_average() {
        let shop = Shop::new(1_000_000);
        let mut caller = Caller::new(&shop, 0, 1, 1);
        let mut events = std::collections::HashMap::<StreamId, u64>::new();
        for _ in 0..1_000_000 {
            let stream = caller.stream();
            *events.entry(shop.streams[stream].clone()).or_default() += 1;
        }
        let drawn = shop.streams_of_94(&mut Dice::new(7), 10_000);
        let mean = drawn.iter().map(|stream| events[stream]).sum::<u64>() as f64 / 10_000.0;
        assert!((93.0..95.0).contains(&mean), "{mean}");
    }

    #[test]
    fn callers_share_no_stream() {
        let shop = Shop::new(10_000);
        let mut owners = std::collections::HashMap::new();
        for number in 0..64 {
            let mut caller = Caller::new(&shop, number, 64, number + 1);
            for _ in 0..1000 {
                assert_eq!(*owners.entry(caller.stream()).or_insert(number), number);
            }
        }
    }

    #[test]
    fn payloads_have_100_to_400_bytes_and_are_the_same_every_time() {
        let shop = Shop::new(1000);
        let draw = || {
            let mut caller = Caller::new(&shop, 0, 1, 5);
            (0..10_000).map(|_| caller.event().data).collect::<Vec<_>>()
        };
        let lengths: Vec<usize> = draw().iter().map(Vec::len).collect();
        assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&100), Some(&400)));
        assert!(draw() == draw());
    }
}
