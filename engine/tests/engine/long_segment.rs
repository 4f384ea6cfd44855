//! A long segment that is opened again: more events than are taken in at once, while another thread goes on reading.

use std::sync::Arc;

use annals::storage::sim::{ReadFault, SimDisk};
use annals::{EventId, EventStore, ExpectedVersion, NewEvent, Options, Position, StreamVersion};

use crate::support::segment_path;

/// Of batches of one to seven events.
const BATCHES: u64 = 4000;

fn options() -> Options {
    Options::new().background(false)
}

fn stream(number: u64) -> String {
    format!("stream-{}", number * number % 97)
}

fn id(number: u64) -> EventId {
    EventId::from_bytes((u128::from(number) << 64 | 0xFEED).to_le_bytes())
}

/// Every third event brings its id, every fifth batch a key, every eleventh the position of a source.
fn write(store: &EventStore) -> u64 {
    let mut events = 0_u64;
    for batch in 0..BATCHES {
        let mut builder = store.batch();
        for _ in 0..=batch % 7 {
            let event = NewEvent::new("T", events.to_le_bytes().to_vec());
            let event = if events.is_multiple_of(3) { event.id(id(events)) } else { event };
            builder = builder.event(stream(events), event);
            events += 1;
        }
        builder = if batch.is_multiple_of(5) { builder.idempotency_key(format!("key-{batch}")) } else { builder };
        builder = if batch.is_multiple_of(11) { builder.tracking("source", batch) } else { builder };
        builder.commit().unwrap();
    }
    events
}

fn check(store: &EventStore, events: u64) {
    assert_eq!(store.head(), Position::new(events));
    let numbers = |name: &str| (0..events).filter(|&number| stream(number) == name).collect::<Vec<_>>();
    for remainder in 0..97 {
        let name = format!("stream-{remainder}");
        let read = store.read_stream(&*name, StreamVersion::EMPTY).unwrap();
        let read = read.map(|event| u64::from_le_bytes(event.unwrap().data()[..].try_into().unwrap()));
        assert_eq!(read.collect::<Vec<_>>(), numbers(&name), "{name}");
    }
    for number in (0..events).step_by(3) {
        let found = store.get_event(id(number)).unwrap().expect("an id that was given");
        assert_eq!(found.position(), Position::new(number + 1));
    }
    for batch in (0..BATCHES).step_by(5) {
        assert!(store.find_append(format!("key-{batch}")).unwrap().is_some(), "key-{batch}");
    }
    assert_eq!(store.tracking("source").unwrap(), Some((BATCHES - 1) / 11 * 11));
}

#[test]
fn everything_is_found_in_it_and_nothing_of_what_was_torn_off_its_end() {
    let disk = SimDisk::new(3);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    let events = write(&store);
    check(&store, events);
    assert!(events > 3 * 4096, "they are taken in several at a time");
    let end = store.stats().segments[0].bytes;
    // A batch whose marker never came: its first events are whole.
    let torn = (0..5).map(|_| NewEvent::new("T", vec![9; 100])).collect::<Vec<_>>();
    store.append_batch("stream-1", ExpectedVersion::Any, torn).unwrap();
    let path = segment_path(&disk, 0);
    let mut bytes = disk.read_file(&path).unwrap();
    let torn_end = store.stats().segments[0].bytes as usize;
    drop(store);
    disk.remove_file("WATERMARK");
    bytes[torn_end - 64..torn_end].fill(0);
    assert!(torn_end as u64 > end + 500);
    disk.write_file(&path, &bytes);

    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    assert!(!store.recovery_report().is_clean(), "something was cut off");
    check(&store, events);
    drop(store);
    let reader = EventStore::open_read_only_on(Arc::new(disk)).unwrap();
    check(&reader, events);
}

#[test]
fn a_follower_whose_read_fails_half_way_takes_in_every_event_once_when_it_tries_again() {
    let disk = SimDisk::new(5);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options()).unwrap();
    store.append("stream-first", ExpectedVersion::NoStream, NewEvent::new("T", "")).unwrap();
    let follower = || {
        let opened = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
        assert_eq!(opened.refresh().unwrap(), Position::new(1));
        opened
    };
    let undisturbed = follower();
    let others = (0..2).map(|_| follower()).collect::<Vec<_>>();
    let events = write(&store);
    let before = disk.reads();
    assert_eq!(undisturbed.refresh().unwrap(), Position::new(events + 1));
    let reads = disk.reads() - before;
    assert!(reads > 3, "so much is read that some of it was taken in when a later read fails: {reads}");

    for (number, other) in (1..).zip(&others) {
        disk.fail_read_at(disk.reads() + reads - number, ReadFault::Eio);
        other.refresh().unwrap_err();
        disk.clear_faults();
        assert_eq!(other.refresh().unwrap(), Position::new(events + 1));
        for remainder in 0..97 {
            let name = format!("stream-{remainder}");
            let versions = |store: &EventStore| {
                let read = store.read_stream(&*name, StreamVersion::EMPTY).unwrap();
                read.map(|event| event.unwrap().version()).collect::<Vec<_>>()
            };
            assert_eq!(versions(other), versions(&store), "{name}, read {number} from the end failed");
        }
    }
}
