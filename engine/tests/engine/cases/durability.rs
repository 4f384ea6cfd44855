//! What is readable, what is durable, and disks that fail or are full.

use super::*;

#[test]
fn a_sync_append_is_readable_only_once_it_is_durable() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("First")).unwrap();
    let door = hold.close();
    std::thread::scope(|threads| {
        let appending = threads.spawn(|| store.append("a", Any, event("Second")));
        hold.wait_for_visitor();
        // Written, and not durable: no reader may see it, or act on it.
        assert_eq!(store.head(), pos(1));
        assert_eq!(types(store.read_all(Position::START)), ["First"]);
        assert_eq!(types(store.read_stream("a", StreamVersion::EMPTY).unwrap()), ["First"]);
        assert_eq!(store.stream_version("a").unwrap(), ver(1));
        assert_eq!(store.get(pos(2)).unwrap(), None);
        assert_eq!(types(store.read_stream("a", StreamVersion::END).unwrap().backward()), ["First"]);
        drop(door);
        assert_eq!(appending.join().unwrap().unwrap().last, pos(2));
    });
    assert_eq!(types(store.read_all(Position::START)), ["First", "Second"]);
}

#[test]
fn a_buffered_append_is_readable_once_written_and_durable_later() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet().durability(Durability::Buffered));
    store.append("a", Any, event("A")).unwrap();
    let before = hold.syncs();
    store.append("a", Any, event("B")).unwrap();
    assert_eq!(hold.syncs(), before, "nobody waits for the disk");
    assert_eq!((store.head(), store.durable_head()), (pos(2), pos(0)));
    assert_eq!(types(store.read_all(Position::START)), ["A", "B"]);
    assert_eq!(store.flush().unwrap(), pos(2));
    assert_eq!((hold.syncs(), store.durable_head()), (before + 1, pos(2)));
    assert_eq!(store.flush().unwrap(), pos(2));
    assert_eq!(hold.syncs(), before + 1, "there was nothing left to sync");
}

#[test]
fn one_sync_append_makes_the_buffered_ones_before_it_durable() {
    on_every_store(&quiet().durability(Durability::Buffered), |store| {
        store.append("a", Any, event("A")).unwrap();
        store.batch().event("a", event("B")).durability(Durability::Sync).commit().unwrap();
        assert_eq!((store.head(), store.durable_head()), (pos(2), pos(2)));
    });
}

#[test]
fn a_batch_can_be_buffered_in_a_store_that_syncs() {
    on_every_store(&quiet(), |store| {
        store.batch().event("a", event("A")).durability(Durability::Buffered).commit().unwrap();
        assert_eq!((store.head(), store.durable_head()), (pos(1), pos(0)));
    });
}

#[test]
fn other_processes_see_buffered_events_at_the_next_sync() {
    on_every_kind(|place| {
        let store = place.open(&quiet().durability(Durability::Buffered));
        store.append("a", Any, event("A")).unwrap();
        let reader = place.try_read().unwrap();
        assert_eq!(reader.head(), pos(0));
        assert_eq!(reader.read_all(Position::START).count(), 0);
        store.flush().unwrap();
        assert_eq!(reader.refresh().unwrap(), pos(1));
        assert_eq!(types(reader.read_stream("a", StreamVersion::EMPTY).unwrap()), ["A"]);
        assert_eq!(reader.durable_head(), pos(1));
    });
}

#[test]
fn a_failed_sync_is_commit_unknown_then_poison_and_reads_go_on() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    let error = store.append("a", Any, event("B")).unwrap_err();
    let AppendError::CommitUnknown { cause: first } = error else { panic!("{error:?}") };
    let operations = disk.operations();
    for error in [
        store.append("a", Any, event("C")).unwrap_err(),
        store.append("a", NoStream, event("C")).unwrap_err(),
        store.batch().tracking("kafka", 1).commit().unwrap_err(),
        store.flush().unwrap_err(),
    ] {
        let AppendError::Poisoned { cause } = error else { panic!("{error:?}") };
        assert_eq!(cause.to_string(), first.to_string(), "the first cause");
    }
    assert_eq!(disk.operations(), operations, "a poisoned store touches the disk no more");
    assert_eq!((store.head(), store.durable_head()), (pos(1), pos(1)));
    assert_eq!(types(store.read_all(Position::START)), ["A"]);
    assert_eq!(store.stream_version("a").unwrap(), ver(1));
    assert!(matches!(store.close(), Err(AppendError::Poisoned { .. })));

    let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
    let head = store.head();
    assert!(head == pos(1) || head == pos(2), "{head}");
    assert_eq!(store.append("a", Any, event("D")).unwrap().last, head.plus(1));
}

#[test]
fn an_append_to_a_full_disk_is_refused_and_works_again_once_there_is_space() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    disk.set_capacity(Some(disk.used()));
    let large = || NewEvent::new("Large", vec![7; 50_000]);
    let mut full = 0;
    for _ in 0..4 {
        let head = store.head();
        match store.append("a", Any, large()) {
            Ok(done) => assert_eq!(done.last, head.plus(1)),
            Err(AppendError::StorageFull) => {
                full += 1;
                assert_eq!(store.head(), head, "nothing is visible");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(full >= 3, "the disk was not full at all");
    let head = store.head();
    assert_eq!(store.read_all(Position::START).count() as u64, head.get(), "reads are fine");
    assert_eq!(store.stream_version("a").unwrap(), ver(head.get()));

    disk.set_capacity(None);
    assert_eq!(store.append("a", Exact(ver(head.get())), large()).unwrap().last, head.plus(1));
    drop(store);
    let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
    assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    assert_eq!(store.head(), head.plus(1));
}

#[test]
fn a_full_disk_never_keeps_a_store_from_opening() {
    // Wherever the space runs out, also half-way through a roll.
    for spare in 0..40 {
        let disk = SimDisk::new(spare);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        disk.set_capacity(Some(disk.used() + spare * 4096));
        let mut acknowledged = 0;
        while let Ok(done) = store.append("a", Any, NewEvent::new("Large", vec![7; 9_000])) {
            acknowledged = done.last.get();
        }
        drop(store);
        for _ in 0..2 {
            let store = EventStore::open_on(Arc::new(disk.after_kill()), &quiet())
                .unwrap_or_else(|error| panic!("{spare} pages: {error:?}"));
            assert_eq!(store.head(), pos(acknowledged), "{spare} pages");
        }
        disk.set_capacity(None);
        let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
        assert_eq!(store.append("a", Any, event("A")).unwrap().last, pos(acknowledged + 1), "{spare} pages");
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_has_closed() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let clone = store.clone();
        store.append("a", Any, event("A")).unwrap();
        for _ in 0..2 {
            let error = place.try_open(&quiet()).unwrap_err();
            let OpenError::AlreadyOpen { pid } = error else { panic!("{error:?}") };
            if !matches!(place, Place::Simulated(_)) {
                assert_eq!(pid, Some(std::process::id()));
            }
        }
        store.close().unwrap();
        assert!(matches!(place.try_open(&quiet()), Err(OpenError::AlreadyOpen { .. })), "there is another handle");
        clone.close().unwrap();
        assert_eq!(place.open(&quiet()).head(), pos(1));
    });
}

#[test]
fn the_message_for_a_second_writer_names_the_process_and_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let _store = EventStore::open(dir.path(), &quiet()).unwrap();
    let error = EventStore::open(dir.path(), &quiet()).unwrap_err().to_string();
    let pid = std::process::id();
    assert_eq!(
        error,
        format!("the store is already open for writing by process {pid}; close it there, or open it read-only")
    );
}
