//! Segments that have no index, and of which none can be made.

use super::*;

/// A segment that is damaged and has no index: of a store of four sealed ones, number 1.
fn without_an_index() -> (SimDisk, SimDisk, Vec<u8>) {
    let whole = log(4);
    let disk = whole.fork();
    let path = segment_path(&disk, 1);
    let at = disk.read_file(&path).unwrap().windows(7).position(|bytes| bytes == b"told 11").unwrap() as u64;
    disk.flip(&path, at * 8);
    let gone = disk.read_file(&index(1)).unwrap();
    disk.remove_file(&index(1));
    (whole, disk, gone)
}

/// The reader ends, tells damage of one segment, and gives everything of the others: its events
/// are at 7 to 12, and those of the query or stream at `whole`.
#[track_caller]
fn check_reader_ends(reader: annals::Reader, whole: &[u64], case: &str) {
    let found: Vec<_> = reader.skip_damaged().take(100).collect();
    let errors = found.iter().filter(|found| found.is_err()).count();
    assert_eq!(errors, 1, "{case}: {found:?}");
    let elsewhere = |position: &u64| !(7..=12).contains(position);
    let given: Vec<_> = found.into_iter().flatten().map(|event| event.position().get()).filter(elsewhere).collect();
    assert_eq!(given, whole.iter().copied().filter(elsewhere).collect::<Vec<_>>(), "{case}");
}

#[test]
fn a_segment_without_an_index_that_cannot_be_made_is_an_error_of_look_ups_and_no_answer() {
    let (_, disk, _) = without_an_index();
    let store = open(&disk).unwrap();
    for stream in ["in-0", "in-1", "never"] {
        let version = store.stream_version(stream);
        assert!(matches!(version, Err(ReadError::Corrupt(_))), "{stream}: {version:?}");
        for expected in [Any, ExpectedVersion::NoStream, Exact(ver(1))] {
            let refused = store.append(stream, expected, event("Never"));
            assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "{stream}: {refused:?}");
        }
    }
    assert!(matches!(store.tracking("never"), Err(ReadError::Corrupt(_))));
    assert!(matches!(store.streams(""), Err(ReadError::Corrupt(_))));
    assert!(matches!(store.stream_count(), Err(ReadError::Corrupt(_))));
    // What newer segments tell needs no older one.
    for stream in ["in-2", "in-3", "in-4", "order-1"] {
        let version = store.stream_version(stream).unwrap();
        assert_eq!(store.append(stream, Exact(version), event("More")).unwrap().version, version.plus(1), "{stream}");
    }
    assert_eq!(store.tracking("bank").unwrap(), Some(407));
    assert_eq!(store.tracking("shop").unwrap(), Some(307));
    let all: Vec<_> = store.read_all(Position::START).skip_damaged().collect();
    assert_eq!(all.iter().filter(|found| found.is_err()).count(), 1);
    assert_eq!(all.len(), 34, "one is damaged, all the others are read by position");
}

#[test]
fn a_reader_that_skips_damage_tells_once_that_an_index_cannot_be_had_and_goes_on_behind_it() {
    let (whole, disk, _) = without_an_index();
    let whole = open(&whole).unwrap();
    for store in [open(&disk.fork()).unwrap(), open_read_only(&disk).unwrap()] {
        for stream in ["in-1", "in-0", "never", "order-1", "cart-1"] {
            let read = |store: &EventStore, after| store.read_stream(stream, after).unwrap();
            let forward = positions(read(&whole, StreamVersion::EMPTY));
            check_reader_ends(read(&store, StreamVersion::EMPTY), &forward, &format!("{stream}, forward"));
            let backward = positions(read(&whole, StreamVersion::END).backward());
            check_reader_ends(read(&store, StreamVersion::END).backward(), &backward, &format!("{stream}, backward"));
        }
        for item in [
            QueryItem::new().stream("in-1").stream("ledger"),
            QueryItem::new().stream_prefix("in-"),
            QueryItem::new().event_type("Paid"),
            QueryItem::new().tag("other"),
        ] {
            let read = |store: &EventStore, after| store.read(item.clone(), after).unwrap();
            let forward = positions(read(&whole, Position::START));
            check_reader_ends(read(&store, Position::START), &forward, &format!("{item:?}, forward"));
            let backward = positions(read(&whole, Position::END).backward());
            check_reader_ends(read(&store, Position::END).backward(), &backward, &format!("{item:?}, backward"));
        }
        // What stands before the damage in the order of reading is given first.
        let newest = store.read_stream("ledger", StreamVersion::END).unwrap().backward().limit(1);
        assert_eq!(positions(newest).len(), 1);
        assert!(store.stream_info("ledger").unwrap().is_some());
    }
}

#[test]
fn the_index_or_the_segment_put_back_heals_the_store() {
    let (whole, disk, gone) = without_an_index();
    let expected = answers(&open(&whole.fork()).unwrap());
    let path = segment_path(&disk, 1);
    let restored = disk.fork();
    restored.write_file(&path, &whole.read_file(&path).unwrap());
    check_disk(&restored, &expected, "the segment put back");
    assert!(restored.read_file(&index(1)).unwrap() == gone);

    disk.write_file(&index(1), &gone);
    let store = open(&disk).unwrap();
    assert_eq!(store.stream_version("in-0").unwrap(), ver(1));
    assert_eq!(store.stream_version("in-1").unwrap(), ver(1));
    assert_eq!(store.append("never", ExpectedVersion::NoStream, event("Now")).unwrap().version, ver(1));
}

#[test]
fn a_batch_without_events_at_the_end_of_a_segment_that_is_damaged_is_missed_by_who_makes_its_index() {
    // Its tracking record is all that there is of it: no position says that it is gone.
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    store.batch().event("a", event("A")).tracking("bank", 4).commit().unwrap();
    store.batch().tracking("bank", 8).commit().unwrap();
    let end = store.stats().bytes;
    seal_early(&disk, &store);
    store.append("a", Any, event("B")).unwrap();
    drop(store);
    let path = segment_path(&disk, 0);
    for byte in end - 24..end {
        let disk = disk.fork();
        disk.flip(&path, byte * 8 + 2);
        assert_eq!(open(&disk).unwrap().tracking("bank").unwrap(), Some(8), "byte {byte}, with its index");
        disk.remove_file(&index(0));
        let store = open(&disk).unwrap();
        let tracked = store.tracking("bank");
        assert!(matches!(tracked, Err(ReadError::Corrupt(_))), "byte {byte}: {tracked:?}");
        let refused = store.batch().event("a", event("C")).tracking("bank", 5).commit();
        assert!(matches!(refused, Err(AppendError::Unreadable { .. })), "byte {byte}: {refused:?}");
    }
}

// Readers and views that outlive what they were made of.

#[test]
fn a_reader_made_before_an_index_takes_the_place_of_memory_reads_on() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let data = || NewEvent::new("Large", vec![1; 25_000]);
        store.append("a", Any, data()).unwrap();
        store.append("b", Any, data()).unwrap();
        let query = |store: &EventStore| store.read(QueryItem::new().stream("a"), Position::START).unwrap();
        let mut readers = vec![
            store.read_stream("a", StreamVersion::EMPTY).unwrap(),
            store.read_stream("a", StreamVersion::END).unwrap().backward(),
            query(&store),
            store.read_all(Position::START).limit(1),
        ];
        let mut begun = store.read_all(Position::START);
        assert_eq!(begun.next_event().unwrap().unwrap().stream, "a");
        for _ in 0..4 {
            store.append("a", Any, data()).unwrap();
        }
        let segments = store.stats().segments;
        assert!(segments.len() >= 3 && segments[0].sealed);
        readers.push(store.read_stream("a", StreamVersion::EMPTY).unwrap().until(pos(1)));
        for reader in readers {
            assert_eq!(positions(reader), [1], "{place:?}");
        }
        assert_eq!(positions(begun), [2], "{place:?}");
    });
}

#[test]
fn a_reader_that_outlives_the_store_finds_what_has_no_index_and_writes_nothing() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        roll(&store, 5);
        drop(store);
        match place {
            Place::Simulated(disk) => remove_indexes(disk),
            Place::Mapped(dir) | Place::Pread(dir) => std::fs::remove_dir_all(dir.path().join("idx")).unwrap(),
        }
        let store = place.open(&quiet());
        let of_stream = store.read_stream(STREAMS[1], StreamVersion::EMPTY).unwrap();
        let queried = store.read(QueryItem::new().stream(STREAMS[0]), Position::START).unwrap();
        drop(store);
        let state = || match place {
            Place::Simulated(disk) => {
                snapshot(disk).into_iter().map(|(path, bytes)| (path.into(), bytes)).collect::<Vec<_>>()
            }
            Place::Mapped(dir) | Place::Pread(dir) => files_of(dir.path()),
        };
        let before = state();
        assert_eq!(positions(of_stream), [2], "{place:?}");
        assert_eq!(positions(queried), [1, 5], "{place:?}");
        assert!(state() == before, "{place:?}: who has no lock has written");
    });
}
