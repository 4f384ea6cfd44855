//! What the tests share: small stores, and a state in which every event leaves its trace.

use std::sync::Arc;
use std::time::Duration;

use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
use annals_projection::{Handlers, Projection};
use serde::{Deserialize, Serialize};

/// Longer than anything takes that does not hang.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Which events were taken, in which order, and their sum: one that came twice or not at all shows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Seen {
    pub(crate) positions: Vec<u64>,
    pub(crate) sum: u64,
}

pub(crate) fn quiet() -> Options {
    Options::new().segment_bytes(64 << 10).background(false)
}

pub(crate) fn in_memory() -> EventStore {
    EventStore::in_memory(&quiet()).unwrap()
}

pub(crate) fn open(disk: &SimDisk) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap()
}

pub(crate) fn append(store: &EventStore, event_type: &str, number: u64) -> Position {
    let event = NewEvent::new(event_type, number.to_string());
    store.append("numbers", ExpectedVersion::Any, event).unwrap().last
}

/// Appends events with these numbers.
pub(crate) fn add(store: &EventStore, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        append(store, "Added", number);
    }
}

pub(crate) fn number(event: &annals::Event<'_>) -> u64 {
    std::str::from_utf8(event.data).unwrap().parse().unwrap()
}

/// Takes `Added` events.
pub(crate) fn seen(name: &str) -> Projection<Handlers<Seen>> {
    Projection::new(name).when("Added", |seen: &mut Seen, event| {
        seen.positions.push(event.position.get());
        seen.sum = seen.sum.checked_add(number(event)).expect("no sum is so large");
    })
}

pub(crate) fn pos(position: u64) -> Position {
    Position::new(position)
}

/// The state after exactly these events of a log in which the event at each position adds it.
pub(crate) fn seen_of(positions: impl IntoIterator<Item = u64>) -> Seen {
    let positions: Vec<u64> = positions.into_iter().collect();
    Seen { sum: positions.iter().sum(), positions }
}
