//! Appending to a store that has been used for a while.

use std::path::Path;

use annals::{AppendCondition, Durability, EventStore, ExpectedVersion, NewEvent, Options, QueryItem, StreamId, Tag};
use annals_benches::shop::{Dice, Shop, Shuffled};

use super::{LARGE, STREAMS, open, streams};

/// Who appends.
struct Appender {
    store: EventStore,
    streams: Vec<StreamId>,
    order: Shuffled,
    shop: Shop,
}

impl Appender {
    fn new(store: EventStore) -> Appender {
        Appender { store, streams: streams(), order: Shuffled::new(STREAMS), shop: Shop::new() }
    }

    fn stream(&mut self) -> StreamId {
        self.streams[self.order.next_number() as usize].clone()
    }

    fn one(&mut self) {
        let (stream, event) = (self.stream(), self.shop.event());
        self.store.append(stream, ExpectedVersion::Any, event).expect("an append");
    }

    fn hundred_in_one(&mut self) {
        let events: Vec<NewEvent> = (0..100).map(|_| self.shop.event()).collect();
        let stream = self.stream();
        self.store.append_batch(stream, ExpectedVersion::Any, events).expect("an append");
    }

    fn hundred_in_hundred(&mut self) {
        let mut batch = self.store.batch();
        for _ in 0..100 {
            let stream = self.streams[self.order.next_number() as usize].clone();
            batch = batch.event(stream, self.shop.event());
        }
        batch.commit().expect("an append");
    }
}

/// Warms up, then appends so many times.
fn append(dir: &Path, times: u64, durability: Durability, mut once: impl FnMut(&mut Appender)) {
    let mut appender = Appender::new(open(dir, durability, LARGE));
    for _ in 0..10 + times {
        once(&mut appender);
    }
}

pub(super) fn buffered(dir: &Path, times: u64) {
    append(dir, times, Durability::Buffered, Appender::one);
}

/// To a store that measures. Which appends are drawn to be measured is the same each time.
pub(super) fn measured(dir: &Path, times: u64) {
    let options = Options::new().background(false).flush_interval(None).durability(Durability::Buffered).zero_ahead(0);
    let options = options.segment_bytes(LARGE).metrics(true);
    let mut appender = Appender::new(EventStore::open(dir, &options).expect("the store that was prepared"));
    for _ in 0..10 + times {
        appender.one();
    }
}

pub(super) fn buffered_hundred_in_one(dir: &Path, times: u64) {
    append(dir, times, Durability::Buffered, Appender::hundred_in_one);
}

pub(super) fn buffered_hundred_in_hundred(dir: &Path, times: u64) {
    append(dir, times, Durability::Buffered, Appender::hundred_in_hundred);
}

pub(super) fn durable(dir: &Path, times: u64) {
    append(dir, times, Durability::Sync, Appender::one);
}

pub(super) fn durable_hundred(dir: &Path, times: u64) {
    append(dir, times, Durability::Sync, Appender::hundred_in_one);
}

/// With the threads of the store, who are not to be woken each time. Nothing is zeroed: how much of it is
/// left to ask for depends on the disk.
pub(super) fn durable_beside_threads(dir: &Path, times: u64) {
    let store = EventStore::open(dir, &Options::new().zero_ahead(0)).expect("the store that was prepared");
    let mut appender = Appender::new(store);
    for _ in 0..10 + times {
        appender.one();
    }
    // Closing waits for the threads: or does not, when they are quick.
    std::mem::forget(appender);
}

/// Each stream knows its version, and says so.
pub(super) fn expecting(dir: &Path, times: u64) {
    let mut number = 0;
    append(dir, times, Durability::Buffered, |appender| {
        let stream = appender.streams[number as usize % appender.streams.len()].clone();
        // Each stream has fifty events, and gets one more in each round.
        let version = annals::StreamVersion::new(50 + number / STREAMS);
        number += 1;
        let event = appender.shop.event();
        appender.store.append(stream, ExpectedVersion::Exact(version), event).expect("an append");
    });
}

/// On condition that nobody has had the tag in the whole log.
pub(super) fn on_condition(dir: &Path, times: u64) {
    let mut customer = 0;
    append(dir, times, Durability::Buffered, |appender| {
        customer += 1;
        let tag = Tag::new(&format!("customer:{customer:07}")).expect("a short name");
        let condition = AppendCondition::fail_if_match(QueryItem::new().tag(&tag));
        let (stream, event) = (appender.stream(), appender.shop.event().tag(tag));
        appender.store.batch().event(stream, event).condition(condition).commit().expect("an append");
    });
}

pub(super) fn with_id(dir: &Path, times: u64) {
    let mut dice = Dice::new(3);
    append(dir, times, Durability::Buffered, |appender| {
        let (stream, event) = (appender.stream(), appender.shop.event().id(dice.id()));
        appender.store.append(stream, ExpectedVersion::Any, event).expect("an append");
    });
}

/// Bytes of an event of the shop in the log, and a batch's share in it.
const EVENT_BYTES: u64 = 392;

/// What is done now and then, for each mebibyte of buffered appends.
pub(super) fn mebibyte_buffered(dir: &Path, times: u64) {
    append(dir, times, Durability::Buffered, |appender| {
        (0..(1 << 20) / (100 * EVENT_BYTES)).for_each(|_| appender.hundred_in_one());
    });
}

/// The same for durable ones, with zeros ahead of them.
pub(super) fn mebibyte_zeroed(dir: &Path, times: u64) {
    let options = Options::new().background(false).segment_bytes(LARGE);
    let mut appender = Appender::new(EventStore::open(dir, &options).expect("the store that was prepared"));
    for _ in 0..10 + times {
        for _ in 0..(1 << 20) / (100 * EVENT_BYTES) {
            appender.hundred_in_one();
            appender.store.maintain().expect("a store that is whole");
        }
    }
}

/// A segment is sealed, its index made, and the next one begun.
pub(super) fn roll(dir: &Path, times: u64) {
    const SEGMENT: u64 = 64 << 10;
    let mut appender = Appender::new(open(dir, Durability::Buffered, SEGMENT));
    // One batch to a segment.
    for _ in 0..4 + times {
        appender.hundred_in_hundred();
    }
}
