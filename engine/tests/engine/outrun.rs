//! Reading the end of a log while a writer goes on: what is read late is no damage, however fast the writer is.

use std::sync::Arc;

use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, NewEvent, inspect};

use crate::places::quiet;
use crate::support::watched::Watched;

/// A disk on which a writer appends ten durable events after whatever is read of its log, `times` times.
fn a_log_that_moves_on(times: u64) -> (Watched, EventStore) {
    let disk = SimDisk::new(5);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().segment_bytes(16 << 20)).unwrap();
    // With the second batch, as much is reserved as the first was long: more than is read at a time, so that
    // the end of the log and what follows it are read at different times.
    for size in [4 << 20, 1 << 20] {
        store.append("a", ExpectedVersion::Any, NewEvent::new("T", vec![7; size])).unwrap();
    }
    let watched = Watched::new(disk);
    let (writer, mut left) = (store.clone(), times);
    watched.meanwhile(move || {
        if left > 0 {
            left -= 1;
            append(&writer);
        }
    });
    (watched, store)
}

fn append(store: &EventStore) {
    for _ in 0..10 {
        store.append("a", ExpectedVersion::Any, NewEvent::new("T", vec![7; 200])).unwrap();
    }
}

// Found by ten minutes of mixed load: twenty surveys in a row had met another hole each, and the last was believed.
#[test]
fn a_writer_that_outruns_every_look_is_not_taken_for_damage() {
    let (disk, store) = a_log_that_moves_on(500);
    let report = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.head < store.head(), "the writer was still writing when it was verified");
}

#[test]
fn a_reader_that_opens_beside_such_a_writer_is_told_of_no_damage() {
    let (disk, store) = a_log_that_moves_on(500);
    let reader = disk.open_read_only();
    assert_eq!(reader.recovery_report().gaps, []);
    assert!(reader.head() < store.head(), "the writer was still writing when it was opened");
}
