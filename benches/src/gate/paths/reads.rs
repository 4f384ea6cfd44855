//! Reading from a store whose events lie in several segments, or in one.

use std::path::Path;

use annals::{Delivery, Durability, EventStore, Position, Query, QueryItem, Reader, StreamVersion, Subscription};
use annals_benches::shop::Dice;
use annals_projection::Projection;

use super::{LARGE, RARE, RARE_TYPE, STREAM_EVENTS, STREAMS, open, streams};

const EVENTS: u64 = STREAMS * STREAM_EVENTS;

fn reading(dir: &Path) -> EventStore {
    open(dir, Durability::Sync, LARGE)
}

/// Reads so many events; a reader that comes to the end gives fewer.
fn take(reader: &mut Reader, events: u64) -> u64 {
    let mut read = 0;
    while read < events {
        let Some(event) = reader.next_event().expect("a whole log") else { break };
        std::hint::black_box((event.position, event.data.len(), event.stream));
        read += 1;
    }
    read
}

/// A store in which every checksum was verified.
fn read_before(dir: &Path) -> EventStore {
    let store = reading(dir);
    assert_eq!(take(&mut store.read_all(Position::START), u64::MAX), EVENTS);
    store
}

/// `times` is at most half of the events, or there are not enough for twice as many.
pub(super) fn all_first(dir: &Path, times: u64) {
    let last = times.min(EVENTS);
    assert_eq!(take(&mut reading(dir).read_all(Position::START), last), last);
}

pub(super) fn all_again(dir: &Path, times: u64) {
    let store = read_before(dir);
    let mut left = times;
    while left > 0 {
        left -= take(&mut store.read_all(Position::START), left);
    }
}

pub(super) fn stream(dir: &Path, times: u64) {
    let (store, streams) = (read_before(dir), streams());
    for number in 0..times {
        let stream = &streams[(number % STREAMS) as usize];
        let mut reader = store.read_stream(stream, StreamVersion::EMPTY).expect("a stream's name");
        assert_eq!(take(&mut reader, u64::MAX), STREAM_EVENTS);
    }
}

pub(super) fn position(dir: &Path, times: u64) {
    let (store, mut dice) = (read_before(dir), Dice::new(7));
    for _ in 0..times {
        let event = store.get(Position::new(1 + dice.below(EVENTS))).expect("a whole log");
        std::hint::black_box(event.expect("a position of the log"));
    }
}

pub(super) fn id(dir: &Path, times: u64) {
    let (store, mut dice, mut ids) = (read_before(dir), Dice::new(7), Vec::new());
    let mut reader = store.read_all(Position::START);
    while let Some(event) = reader.next_event().expect("a whole log") {
        ids.push(event.id);
    }
    for _ in 0..times {
        let event = store.get_event(ids[dice.below(EVENTS) as usize]).expect("a whole log");
        std::hint::black_box(event.expect("an id of the log"));
    }
}

/// For each event found.
pub(super) fn one_type(dir: &Path, times: u64) {
    let store = read_before(dir);
    let mut left = times;
    while left > 0 {
        let query = QueryItem::new().event_type(RARE_TYPE);
        let found = take(&mut store.read(query, Position::START).expect("a query"), left);
        assert!(found == left || found == EVENTS / RARE);
        left -= found;
    }
}

/// A projection that counts by type folds everything.
pub(super) fn fold(dir: &Path, times: u64) {
    let store = read_before(dir);
    for _ in 0..times {
        let counting = Projection::new("counting").when(RARE_TYPE, |count: &mut u64, _| *count += 1);
        let counting = counting.when("Shipped", |count: &mut u64, event| *count += event.data.len() as u64);
        let mut counting = counting.attach(&store).expect("a name and a store");
        assert_eq!(counting.catch_up().expect("a whole log"), Position::new(EVENTS));
        std::hint::black_box(*counting.state());
    }
}

/// A subscription gives everything that is there.
pub(super) fn follow(dir: &Path, times: u64) {
    let store = read_before(dir);
    for _ in 0..times {
        let mut subscription = store.subscribe(Position::START, Query::All).expect("the beginning");
        while let Some(item) = subscription.try_next().expect("a whole log") {
            std::hint::black_box(matches!(item, Delivery::Event(event) if event.data.is_empty()));
        }
        assert_eq!(Subscription::position(&subscription), Position::new(EVENTS));
    }
}

/// A reader as in another process asks whether there is more.
pub(super) fn no_news(dir: &Path, times: u64) {
    let store = EventStore::open_read_only(dir).expect("the store that was prepared");
    for _ in 0..times {
        assert_eq!(store.refresh().expect("a whole log"), Position::new(EVENTS));
    }
}
