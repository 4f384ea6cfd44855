//! What was written and not synced is on its way to the disk, so that a later sync does not find all of it.

use std::time::{Duration, Instant};

use annals::storage::sim::SimDisk;
use annals::{Durability, EventStore, ExpectedVersion, NewEvent, Options};

use crate::support::watched::Watched;

const MIB: u64 = 1 << 20;

fn options() -> Options {
    Options::new().durability(Durability::Buffered).flush_interval(None).zero_ahead(0)
}

/// Appends so much, in events of a kibibyte.
fn append(store: &EventStore, bytes: u64) {
    for _ in 0..bytes >> 10 {
        store.append("a", ExpectedVersion::Any, NewEvent::new("A", vec![7; 1 << 10])).unwrap();
    }
}

/// Up to where the writing of a file was to begin, from its start on and without a hole.
fn begun(watched: &Watched, path: &str) -> u64 {
    let ranges = watched.writebacks().into_iter().filter(|(of, _)| of == path);
    ranges.fold(0, |end, (_, range)| {
        assert!(end == 0 || end == range.start, "a hole, or something twice: {range:?} behind {end}");
        range.end
    })
}

fn newest_file(watched: &Watched) -> String {
    watched.writebacks().last().expect("some writing was to begin").0.clone()
}

#[test]
fn without_a_background_thread_the_writer_has_every_mebibyte_of_buffered_events_written() {
    let watched = Watched::new(SimDisk::new(1));
    let store = watched.open(&options().background(false));
    append(&store, MIB / 2);
    assert!(watched.writebacks().is_empty(), "it is not worth a call yet");
    append(&store, 3 * MIB);
    assert_eq!(watched.writebacks().len(), 3);
    assert!(begun(&watched, &newest_file(&watched)) >= 3 * MIB);
}

#[test]
fn the_background_thread_has_buffered_events_written_and_is_told_in_every_segment() {
    let watched = Watched::new(SimDisk::new(2));
    let store = watched.open(&options().segment_bytes(8 * MIB));
    for _ in 0..3 {
        let before = watched.writebacks().len();
        append(&store, 5 * MIB);
        let patience = Instant::now() + Duration::from_secs(10);
        while watched.writebacks().len() == before {
            assert!(Instant::now() < patience, "nobody has asked for it");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(store.stats().segments.len() > 1, "the log has rolled");
    for (path, _) in watched.writebacks() {
        begun(&watched, &path);
    }
}

#[test]
fn the_file_of_the_next_segment_is_written_as_it_is_zeroed_and_not_all_at_its_sync() {
    let watched = Watched::new(SimDisk::new(3));
    let options = options().background(false).segment_bytes(4 * MIB).zero_ahead(MIB);
    let store = watched.open(&options);
    append(&store, 2 * MIB + MIB / 2);
    let active = newest_file(&watched);
    store.maintain().unwrap();
    let prepared = watched.writebacks().into_iter().map(|(path, _)| path).find(|path| *path != active);
    assert_eq!(begun(&watched, &prepared.expect("the next segment's file")), MIB);
}
