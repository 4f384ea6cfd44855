//! Consumers: checkpoints that survive, are never ahead of the log, and are of one history.

use std::sync::Arc;

use annals::storage::sim::{Fault, PowerLoss, SimDisk};
use annals::{ConsumerInfo, Delivery, Durability, EventStore, ExpectedVersion, KeepError, Options, Position, Query};

use crate::places::*;
use crate::support::asked;

const FILE: &str = "consumers/mailer";

fn open(disk: &SimDisk) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap()
}

fn append(store: &EventStore, count: u64) {
    for _ in 0..count {
        store.append("a", ExpectedVersion::Any, event("A")).unwrap();
    }
}

/// What is left for the next process, when this one has closed its store.
fn closed(disk: &SimDisk, store: EventStore) -> SimDisk {
    drop(store);
    disk.after_kill()
}

#[test]
fn a_checkpoint_is_found_again_after_a_restart_and_shared_by_all_handles() {
    on_every_kind(|place| {
        let store = place.open(&Options::new());
        append(&store, 5);
        let mailer = store.consumer("mailer").unwrap();
        assert_eq!((mailer.name(), mailer.position()), ("mailer", Position::START));
        mailer.checkpoint(pos(3)).unwrap();
        assert_eq!(store.consumer("mailer").unwrap().position(), pos(3));
        store.consumer("mailer").unwrap().checkpoint(pos(4)).unwrap();
        assert_eq!(mailer.position(), pos(4));
        drop((store, mailer));

        let store = place.open(&Options::new());
        let mailer = store.consumer("mailer").unwrap();
        assert_eq!(mailer.position(), pos(4));
        let mut rest = mailer.subscribe(Query::All).unwrap();
        assert!(matches!(rest.next_item().unwrap(), Some(Delivery::Event(event)) if event.position == pos(5)));
    });
}

#[test]
fn stats_list_every_consumer_with_its_lag_also_in_a_store_that_is_only_read() {
    on_every_kind(|place| {
        let store = place.open(&Options::new());
        assert_eq!(store.stats().consumers, []);
        append(&store, 5);
        for (name, position) in [("mailer", 3), ("archive", 0), ("z.1", 5)] {
            store.consumer(name).unwrap().checkpoint(pos(position)).unwrap();
        }
        append(&store, 1);
        let shown = |info: &ConsumerInfo| (info.name.to_string(), info.position, info.lag, info.fault.clone());
        for store in [store.clone(), place.try_read().unwrap()] {
            let infos: Vec<_> = store.stats().consumers.iter().map(shown).collect();
            let expected = [("archive", 0, 6), ("mailer", 3, 3), ("z.1", 5, 1)];
            assert_eq!(infos, expected.map(|(name, at, lag)| (name.to_owned(), Some(pos(at)), Some(lag), None)));
            assert!(store.consumers().unwrap().iter().all(|info| info.written_at.is_some_and(|at| at > 0)));
        }
        assert!(matches!(place.try_read().unwrap().consumer("mailer"), Err(KeepError::ReadOnly)));
        assert!(matches!(place.try_read().unwrap().remove_consumer("mailer"), Err(KeepError::ReadOnly)));
    });
}

#[test]
fn a_checkpoint_moves_forward_only_unless_it_is_rewound() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    append(&store, 5);
    let mailer = store.consumer("mailer").unwrap();
    mailer.checkpoint(pos(3)).unwrap();
    let back = mailer.checkpoint(pos(2)).unwrap_err();
    assert!(
        matches!(back, KeepError::GoesBack { position, checkpoint, .. } if (position, checkpoint) == (pos(2), pos(3)))
    );
    assert_eq!(asked(&disk, || mailer.checkpoint(pos(3)).unwrap()), [""; 0], "it is there already");
    mailer.rewind(pos(1)).unwrap();
    let store = open(&closed(&disk, {
        drop(mailer);
        store
    }));
    assert_eq!(store.consumer("mailer").unwrap().position(), pos(1));
}

#[test]
fn a_checkpoint_beyond_the_head_is_refused() {
    let store = open(&SimDisk::new(1));
    append(&store, 2);
    let mailer = store.consumer("mailer").unwrap();
    let refused = mailer.checkpoint(pos(3)).unwrap_err();
    assert!(
        matches!(refused, KeepError::PositionBeyondHead { position, head } if (position, head) == (pos(3), pos(2)))
    );
    assert_eq!(mailer.position(), Position::START);
}

#[test]
fn buffered_events_are_made_durable_before_the_checkpoint_that_speaks_of_them() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mailer = store.consumer("mailer").unwrap();
    store.batch().durability(Durability::Buffered).event("a", event("A")).commit().unwrap();
    assert_eq!(store.durable_head(), Position::START);
    // A file goes by the name that it was made under.
    let operations = asked(&disk, || mailer.checkpoint(pos(1)).unwrap());
    assert_eq!(operations, ["sync seg.tmp", "write_at WATERMARK.tmp", "write_at consumers.tmp", "sync consumers.tmp"]);
    assert_eq!(store.durable_head(), pos(1));
}

#[test]
fn a_checkpoint_that_was_only_read_is_made_durable_when_it_is_asked_for_again() {
    // Whoever wrote it died between the name and its sync: the next process sees it in the cache.
    let disk = SimDisk::new(7);
    let store = open(&disk);
    append(&store, 2);
    let mailer = store.consumer("mailer").unwrap();
    drop((mailer, store));
    let disk = disk.after_kill();
    let store = open(&disk);
    let mailer = store.consumer("mailer").unwrap();
    // Its temporary file is made, written and synced, and renamed; the folder is not synced any more.
    disk.stop_at(disk.operations() + 4);
    assert!(mailer.checkpoint(pos(2)).is_err());
    drop((mailer, store));
    let disk = disk.after_kill();
    let store = open(&disk);
    let mailer = store.consumer("mailer").unwrap();
    assert_eq!(mailer.position(), pos(2), "the story is the one that is meant");
    assert_eq!(
        open(&disk.after_power_loss(PowerLoss::KeepLeast, 0)).consumer("mailer").unwrap().position(),
        Position::START,
        "nobody was told that it stays"
    );
    mailer.checkpoint(pos(2)).unwrap();
    let left = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert_eq!(open(&left).consumer("mailer").unwrap().position(), pos(2));
}

#[test]
fn a_store_that_cannot_make_events_durable_keeps_no_checkpoint_of_them() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let mailer = store.consumer("mailer").unwrap();
    append(&store, 1);
    store.batch().durability(Durability::Buffered).event("a", event("A")).commit().unwrap();
    disk.fail_at(disk.operations(), Fault::Eio);
    for _ in 0..2 {
        assert!(matches!(mailer.checkpoint(pos(2)), Err(KeepError::NotDurable(_))));
    }
    mailer.checkpoint(pos(1)).unwrap();
    assert_eq!(mailer.position(), pos(1), "of what was durable before");
}

/// A disk with this consumer at 8 of 10 events, and what it was when there were 5.
fn fork_at_5() -> (SimDisk, SimDisk) {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    append(&store, 5);
    let backup = disk.fork().after_kill();
    append(&store, 5);
    store.consumer("mailer").unwrap().checkpoint(pos(8)).unwrap();
    (closed(&disk, store), backup)
}

#[test]
fn a_checkpoint_beyond_the_head_of_a_restored_backup_is_told_and_not_used() {
    let (disk, backup) = fork_at_5();
    backup.write_file("consumers", &[]);
    backup.remove_file("consumers");
    let store = open(&backup);
    store.consumer("mailer").unwrap();
    let backup = closed(&backup, store);
    backup.write_file(FILE, &disk.read_file(FILE).unwrap());
    let store = open(&backup);
    for _ in 0..2 {
        let refused = store.consumer("mailer").unwrap_err();
        assert!(
            matches!(refused, KeepError::PositionBeyondHead { position, head } if (position, head) == (pos(8), pos(5)))
        );
    }
    let info = &store.consumers().unwrap()[0];
    assert!(info.fault.as_ref().unwrap().contains("beyond the head"), "{info:?}");

    // The log goes on differently, and reaches as far.
    append(&store, 10);
    let refused = store.consumer("mailer").unwrap_err();
    assert!(matches!(&refused, KeepError::DivergedLog { what, .. } if what.contains("mailer")), "{refused:?}");
    assert!(refused.to_string().contains("another batch was written at position 8"), "{refused}");

    // Whoever knows what he does begins anew.
    assert!(store.remove_consumer("mailer").unwrap());
    assert_eq!(store.consumer("mailer").unwrap().position(), Position::START);
}

#[test]
fn a_checkpoint_of_another_log_is_told_and_not_used() {
    let (disk, _) = fork_at_5();
    let other = SimDisk::new(2);
    let store = open(&other);
    append(&store, 10);
    store.consumer("mailer").unwrap();
    let other = closed(&other, store);
    other.write_file(FILE, &disk.read_file(FILE).unwrap());
    let refused = open(&other).consumer("mailer").unwrap_err();
    assert!(
        matches!(&refused, KeepError::DivergedLog { difference, .. } if difference.contains("its log is")),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_file_gives_an_older_checkpoint_or_none_and_keeps_no_store_from_opening() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    append(&store, 5);
    let mailer = store.consumer("mailer").unwrap();
    mailer.checkpoint(pos(2)).unwrap();
    mailer.checkpoint(pos(4)).unwrap();
    drop(mailer);
    let disk = closed(&disk, store);
    let file = disk.read_file(FILE).unwrap();
    for byte in (0..512).chain(4096..4608) {
        let damaged = disk.fork();
        damaged.flip(FILE, byte * 8 + byte % 8);
        let position = open(&damaged).consumer("mailer").unwrap().position();
        let newer_is_hurt = (byte < 4096) == (file[..8] == file[4096..4104] && position == pos(2));
        assert!(position == pos(4) || (position == pos(2) && newer_is_hurt), "byte {byte}: {position}");
    }
    for len in [0, 1, 511] {
        disk.write_file(FILE, &file[..len]);
        let store = open(&disk);
        let refused = store.consumer("mailer").unwrap_err();
        assert!(matches!(&refused, KeepError::Unusable { path, .. } if path.contains("mailer")), "{len}: {refused:?}");
        assert_eq!(store.consumers().unwrap()[0].position, None);
        assert_eq!(disk.read_file(FILE).unwrap().len(), len, "it is not overwritten");
        drop(store);
        disk.clear_faults();
    }
}

#[test]
fn a_consumer_that_was_removed_is_gone_also_for_its_handles_and_after_a_power_loss() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    append(&store, 5);
    let mailer = store.consumer("mailer").unwrap();
    mailer.checkpoint(pos(3)).unwrap();
    assert!(store.remove_consumer("mailer").unwrap());
    assert!(!store.remove_consumer("mailer").unwrap());
    assert!(matches!(mailer.checkpoint(pos(4)), Err(KeepError::NoConsumer { .. })));
    assert_eq!(store.consumers().unwrap(), []);
    let disk = disk.after_power_loss(PowerLoss::KeepLeast, 1);
    assert_eq!(open(&disk).consumer("mailer").unwrap().position(), Position::START);
}

#[test]
fn a_consumer_that_was_removed_stays_so_whoever_keeps_its_first_checkpoint_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    append(&EventStore::open(dir.path(), &quiet()).unwrap(), 50);
    for _ in 0..40 {
        // The first checkpoint behind an opening makes a new file.
        let store = EventStore::open(dir.path(), &quiet()).unwrap();
        store.consumer("mailer").unwrap().checkpoint(pos(1)).unwrap();
        store.close().unwrap();
        let store = EventStore::open(dir.path(), &quiet()).unwrap();
        let mailer = store.consumer("mailer").unwrap();
        let keeping = std::thread::spawn(move || (2..50).all(|position| mailer.checkpoint(pos(position)).is_ok()));
        while !store.remove_consumer("mailer").unwrap() {}
        keeping.join().unwrap();
        assert_eq!(store.consumers().unwrap(), []);
    }
}

#[test]
fn two_threads_that_write_one_file_of_a_folder_leave_one_of_the_two_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    let folder = store.folder("reports", "a").unwrap();
    std::thread::scope(|scope| {
        for letter in [b'a', b'b'] {
            let folder = &folder;
            scope.spawn(move || (0..40).for_each(|_| folder.write("sum", &vec![letter; 100_000]).unwrap()));
        }
        for _ in 0..200 {
            let Some(found) = folder.read("sum").unwrap() else { continue };
            assert!(found.len() == 100_000 && found.iter().all(|letter| *letter == found[0]), "{}", found.len());
        }
    });
    assert_eq!(folder.names().unwrap(), ["sum"]);
}

#[test]
fn a_name_that_could_be_another_file_is_refused() {
    let store = open(&SimDisk::new(1));
    for name in ["", "../store.meta", "a/b", ".", "a.tmp", "é"] {
        assert!(matches!(store.consumer(name), Err(KeepError::InvalidName(_))), "{name}");
        assert!(matches!(store.remove_consumer(name), Err(KeepError::InvalidName(_))), "{name}");
    }
    for area in ["seg", "idx", "SEG", "quarantine", "consumers", "LOCK", "LOST", "store.meta", "BACKUP.unfinished"] {
        assert!(matches!(store.folder(area, "a"), Err(KeepError::InUse { .. })), "{area}");
    }
    let folder = store.folder("reports", "a").unwrap();
    assert!(
        matches!(store.folder("reports", "A"), Err(KeepError::InUse { .. })),
        "one file system's two are another's one"
    );
    drop(folder);
    store.folder("reports", "a").unwrap();
}

/// Events, and checkpoints at them, until the disk dies: the positions that were tried, and those of them that
/// were acknowledged.
fn story(disk: &SimDisk) -> (Vec<u64>, Vec<u64>) {
    let (mut tried, mut acknowledged) = (vec![0], vec![0]);
    let Ok(store) = EventStore::open_on(Arc::new(disk.clone()), &quiet()) else { return (tried, acknowledged) };
    let durabilities = [Durability::Sync, Durability::Buffered, Durability::Buffered, Durability::Sync];
    let mut mailer = None;
    for durability in durabilities.into_iter().cycle().take(7) {
        if store.batch().durability(durability).event("a", event("A")).event("b", event("A")).commit().is_err() {
            continue;
        }
        if mailer.is_none() {
            mailer = store.consumer("mailer").ok();
        }
        let Some(mailer) = &mailer else { continue };
        // Also between the two events of a batch.
        for position in [store.head().before(), store.head()] {
            tried.push(position.get());
            if mailer.checkpoint(position).is_ok() {
                acknowledged.push(position.get());
            }
        }
    }
    (tried, acknowledged)
}

/// What the next process finds: no checkpoint ahead of the log, none that was not tried, and none older
/// than the last that was acknowledged.
fn check_found(disk: &SimDisk, told: &(Vec<u64>, Vec<u64>), context: &str) {
    let store =
        EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let info = store.consumers().unwrap();
    let mailer = store.consumer("mailer").unwrap_or_else(|error| panic!("{context}: {error}"));
    let position = mailer.position();
    assert!(position <= store.durable_head(), "{context}: {position} is ahead of {}", store.durable_head());
    assert!(told.0.contains(&position.get()), "{context}: {position} was never tried");
    let last = *told.1.last().unwrap();
    assert!(position.get() >= last, "{context}: {position}, and {last} was acknowledged");
    assert!(info.iter().all(|info| info.fault.is_none()), "{context}: {info:?}");
    // And it works.
    store.append("a", ExpectedVersion::Any, event("A")).unwrap();
    mailer.checkpoint(store.head()).unwrap_or_else(|error| panic!("{context}: {error}"));
}

#[test]
fn wherever_a_process_dies_the_checkpoint_is_found_and_never_ahead_of_the_log() {
    let whole = SimDisk::new(1);
    let told = story(&whole);
    assert_eq!(told.1.len(), 15, "the story has all its checkpoints: {told:?}");
    assert!(whole.operations() > 30, "{}", whole.operations());
    for stop in 0..=whole.operations() {
        let disk = SimDisk::new(1);
        disk.stop_at(stop);
        let told = story(&disk);
        for (loss, left) in disk.endings() {
            check_found(&left, &told, &format!("stop {stop}, {loss}"));
        }
    }
}

#[test]
fn whatever_fails_the_checkpoint_that_was_acknowledged_is_found_and_never_ahead_of_the_log() {
    let whole = SimDisk::new(1);
    story(&whole);
    for fail in 0..whole.operations() {
        for fault in [Fault::Eio, Fault::StorageFull, Fault::ShortWrite, Fault::ShortThenFull] {
            let disk = SimDisk::new(1);
            disk.fail_at(fail, fault);
            let told = story(&disk);
            for (loss, left) in disk.endings() {
                // A store that could not even be made is another matter.
                if EventStore::open_on(Arc::new(left.fork()), &quiet()).is_err() {
                    assert_eq!(told.1, [0], "{fault:?} at {fail}, {loss}");
                    continue;
                }
                check_found(&left, &told, &format!("{fault:?} at {fail}, {loss}"));
            }
        }
    }
}
