//! Copies of a store: taken while it is used, checked, restored, and never taken for the original.
//!
//! That a backup which is interrupted anywhere is whole or clearly is not is in `tools/tests/torture_copies.rs`.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use annals::inspect::{self, FindingKind};
use annals::{
    BackupOptions, BackupReport, CopyError, Durability, EventStore, ExpectedVersion, Guard, KeepError, NewEvent,
    Options, Position, restore,
};

use crate::support::oracle::read_everything;

fn options() -> Options {
    Options::new().segment_bytes(64 << 10).background(false)
}

/// A directory with places for a store, a backup of it, and what is restored.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> EventStore {
        EventStore::open(self.path("store"), &options()).unwrap()
    }

    fn backup(&self, store: &EventStore) -> BackupReport {
        store.backup_to(self.path("backup"), &BackupOptions::new()).unwrap()
    }

    /// The store that a backup gives.
    fn restored(&self, name: &str) -> EventStore {
        restore(self.path("backup"), self.path(name)).unwrap();
        let store = EventStore::open(self.path(name), &options()).unwrap();
        // In the middle of a roll the last segment is sealed, and opening the copy makes the next one.
        let mut report = store.recovery_report().clone();
        report.finished_roll = false;
        assert!(report.is_clean(), "a backup opens as a store that was closed properly: {report:?}");
        store
    }
}

fn append(store: &EventStore, from: u64, count: u64) {
    for number in from..from + count {
        let event = NewEvent::new("Told", format!("{number} {}", "x".repeat(900)));
        store.append(format!("s{}", number % 7), ExpectedVersion::Any, event).unwrap();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[track_caller]
fn check_same(one: &EventStore, other: &EventStore, up_to: u64) {
    let (one, other) = (read_everything(one), read_everything(other));
    assert_eq!(other.len() as u64, up_to);
    assert_eq!(one[..up_to as usize], other[..]);
}

#[test]
fn a_backup_holds_what_was_acknowledged_before_it_and_nothing_after() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    let report = place.backup(&store);
    assert_eq!((report.mark.position, report.base), (store.head(), Position::START));
    append(&store, 200, 100);
    check_same(&store, &place.restored("again"), 200);
    let report = inspect::verify(place.path("backup"), |_, _| ()).unwrap();
    assert!(report.is_clean() && report.unfinished_bytes == 0, "{report:?}");
    assert_eq!(report.backup.unwrap().position.get(), 200);
}

#[test]
fn a_backup_of_an_empty_store_restores_to_an_empty_store_of_the_same_log() {
    let place = Place::new();
    let store = place.store();
    assert_eq!(place.backup(&store).mark.position, Position::START);
    let again = place.restored("again");
    assert_eq!((again.head(), again.log_id()), (Position::START, store.log_id()));
    append(&again, 0, 1);
}

#[test]
fn buffered_events_are_made_durable_and_are_part_of_the_backup() {
    let place = Place::new();
    let store = place.store();
    for _ in 0..5 {
        let batch = store.batch().durability(Durability::Buffered).event("a", NewEvent::new("Told", "buffered"));
        batch.commit().unwrap();
    }
    assert!(store.durable_head() < store.head());
    assert_eq!(place.backup(&store).mark.position.get(), 5);
    assert_eq!(store.durable_head(), store.head());
}

#[test]
fn sealed_segments_are_linked_and_what_is_appended_to_is_not() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    let report = place.backup(&store);
    assert!(report.segments > 2 && report.linked == report.segments - 1, "{report:?}");
    let segments = files(&place.path("backup/seg"));
    let (last, older) = segments.split_last().unwrap();
    assert_eq!(fs::metadata(last).unwrap().nlink(), 1, "somebody may go on in it");
    assert!(older.iter().all(|path| fs::metadata(path).unwrap().nlink() == 2));
    let copied = store.backup_to(place.path("copied"), &BackupOptions::new().copy(true)).unwrap();
    assert_eq!(copied.linked, 0);
    assert!(files(&place.path("copied/seg")).iter().all(|path| fs::metadata(path).unwrap().nlink() == 1));
    assert!(inspect::verify(place.path("copied"), |_, _| ()).unwrap().is_clean());
}

#[test]
fn a_backup_that_is_opened_and_appended_to_changes_nothing_in_the_store() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    place.backup(&store);
    let before: Vec<Vec<u8>> = files(&place.path("store/seg")).iter().map(|path| fs::read(path).unwrap()).collect();
    let copy = EventStore::open(place.path("backup"), &options()).unwrap();
    append(&copy, 200, 100);
    drop(copy);
    let after: Vec<Vec<u8>> = files(&place.path("store/seg")).iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after);
    let report = inspect::verify(place.path("backup"), |_, _| ()).unwrap();
    assert!(!report.is_clean(), "it is not what was backed up any more");
}

#[test]
fn a_second_backup_takes_only_what_is_new() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    let first = place.backup(&store);
    append(&store, 200, 200);
    let second = place.backup(&store);
    assert_eq!(second.reused, first.segments - 1, "{second:?}");
    assert_eq!(second.linked, second.segments - 1 - second.reused, "{second:?}");
    check_same(&store, &place.restored("again"), 400);
    let third = place.backup(&store);
    assert_eq!((third.reused, third.mark), (third.segments - 1, second.mark));
    assert!(inspect::verify(place.path("backup"), |_, _| ()).unwrap().is_clean());
}

#[test]
fn a_backup_is_whole_at_one_position_while_others_append() {
    let place = Place::new();
    let store = place.store();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for writer in 0..2 {
            let (store, stop) = (store.clone(), &stop);
            threads.spawn(move || {
                for number in (0..60).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    append(&store, writer * 1_000_000 + number * 10, 10);
                }
            });
        }
        for round in 0..4 {
            let before = store.head();
            let report = place.backup(&store);
            assert!(report.mark.position >= before, "all that was acknowledged before is in it");
            let again = place.restored(&format!("again{round}"));
            assert_eq!(again.head(), report.mark.position);
            let events = |store: &EventStore| store.read_all(Position::START).map(|event| event.unwrap());
            assert!(events(&again).eq(events(&store).take(report.mark.position.get() as usize)));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_store_that_is_open_read_only_beside_its_writer_can_be_backed_up() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 150);
    let reader = EventStore::open_read_only(place.path("store")).unwrap();
    append(&store, 150, 150);
    assert_eq!(place.backup(&reader).mark.position.get(), 300);
    check_same(&store, &place.restored("again"), 300);
}

#[test]
fn nothing_is_backed_up_over_what_is_no_backup_of_this_history() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 20);
    let refused = |dir: &str| store.backup_to(place.path(dir), &BackupOptions::new()).unwrap_err();
    assert!(matches!(refused("store"), CopyError::InUse { .. }));
    fs::create_dir(place.path("photos")).unwrap();
    fs::write(place.path("photos/cat.jpg"), "cat").unwrap();
    assert!(matches!(refused("photos"), CopyError::NotABackup { .. }));
    assert_eq!(fs::read(place.path("photos/cat.jpg")).unwrap(), b"cat");

    let other = EventStore::open(place.path("other"), &options()).unwrap();
    drop(other);
    assert!(matches!(refused("other"), CopyError::NotABackup { .. }), "a store is no backup");
    let other = EventStore::open(place.path("other"), &options()).unwrap();
    other.backup_to(place.path("of other"), &BackupOptions::new()).unwrap();
    assert!(matches!(refused("of other"), CopyError::OtherLog { .. }));
}

#[test]
fn a_restored_store_that_went_on_differently_is_not_backed_up_over_the_original() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 20);
    place.backup(&store);
    let again = place.restored("again");
    append(&store, 20, 20);
    let newer = place.backup(&store);
    // Behind it,
    let refused = again.backup_to(place.path("backup"), &BackupOptions::new()).unwrap_err();
    assert!(matches!(refused, CopyError::OtherHistory { .. }), "{refused}");
    // and beside it, with as many events of the same content.
    append(&again, 20, 30);
    let refused = again.backup_to(place.path("backup"), &BackupOptions::new()).unwrap_err();
    assert!(matches!(refused, CopyError::OtherHistory { .. }), "{refused}");
    assert_eq!(place.restored("third").head(), newer.mark.position, "what was there stays");
}

#[test]
fn a_consumer_that_has_seen_more_than_an_older_backup_is_told_so() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 20);
    place.backup(&store);
    append(&store, 20, 20);
    let consumer = store.consumer("mailer").unwrap();
    consumer.checkpoint(store.head()).unwrap();
    let mark = store.mark(store.head()).unwrap();
    drop((consumer, store));

    let again = place.restored("again");
    drop(again);
    let kept = place.path("store/consumers/mailer");
    fs::create_dir(place.path("again/consumers")).ok();
    fs::copy(kept, place.path("again/consumers/mailer")).unwrap();
    let again = EventStore::open(place.path("again"), &options()).unwrap();
    let refused = again.consumer("mailer").unwrap_err();
    assert!(matches!(refused, KeepError::PositionBeyondHead { .. }), "{refused}");
    // Positions come again, and what is there is something else.
    append(&again, 20, 20);
    let refused = again.consumer("mailer").unwrap_err();
    assert!(matches!(refused, KeepError::DivergedLog { .. }), "{refused}");
    let refused = again.check_mark("a state", &mark).unwrap_err();
    assert!(matches!(refused, KeepError::DivergedLog { .. }), "{refused}");
}

#[test]
fn a_consumer_goes_on_in_a_restored_store_where_it_was_when_the_backup_was_taken() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 20);
    store.consumer("mailer").unwrap().checkpoint(Position::new(12)).unwrap();
    assert_eq!(place.backup(&store).consumers, 1);
    assert_eq!(place.restored("again").consumer("mailer").unwrap().position().get(), 12);
    store.remove_consumer("mailer").unwrap();
    assert_eq!(place.backup(&store).consumers, 0);
    assert_eq!(place.restored("third").consumers().unwrap().len(), 0, "one that was removed is gone from the next");
    store.consumer("mailer").unwrap();
    let without = store.backup_to(place.path("backup"), &BackupOptions::new().consumers(false)).unwrap();
    assert_eq!(without.consumers, 0);
}

#[test]
fn a_damaged_store_is_not_backed_up_and_the_older_backup_stays() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 100);
    let before = place.backup(&store);
    append(&store, 100, 200);
    let segment = files(&place.path("store/seg")).into_iter().nth_back(1).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[9000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let refused = store.backup_to(place.path("backup"), &BackupOptions::new()).unwrap_err();
    let CopyError::Damaged(damage) = &refused else { panic!("{refused}") };
    assert!(damage.offset > 4096 && damage.from.get() > 100, "{refused}");
    assert_eq!(place.restored("again").head(), before.mark.position);
}

#[test]
fn what_is_not_whole_is_not_restored_and_verify_names_each_file_of_it() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    place.backup(&store);
    let backup = place.path("backup");
    let refused = || restore(&backup, place.path("again")).unwrap_err().to_string();
    let named = || -> Vec<String> {
        let report = inspect::verify(&backup, |_, _| ()).unwrap();
        let files = report.findings.into_iter().filter(|finding| finding.kind == FindingKind::Files);
        files.map(|finding| finding.message).collect()
    };
    let check = |part: &str| {
        assert!(refused().contains(part), "{part}: {}", refused());
        assert!(named().iter().any(|message| message.contains(part)), "{part}: {:?}", named());
        assert!(!place.path("again").exists(), "nothing appears under its name that is not whole");
    };
    // In the zeros of a header, which no frame has a checksum over... but the header has.
    let meta = backup.join("store.meta");
    let whole = fs::read(&meta).unwrap();
    let mut bytes = whole.clone();
    bytes[6000] ^= 1;
    fs::write(&meta, bytes).unwrap();
    check("store.meta");
    fs::write(&meta, &whole[..4096]).unwrap();
    check("store.meta");
    fs::write(&meta, whole).unwrap();
    assert_eq!(named(), [""; 0]);

    let segment = files(&backup.join("seg"))[1].clone();
    fs::rename(&segment, place.path("elsewhere")).unwrap();
    check("seg/00000000000000000001-");
    fs::rename(place.path("elsewhere"), &segment).unwrap();

    let manifest = fs::read(backup.join("BACKUP")).unwrap();
    fs::write(backup.join("BACKUP"), &manifest[..manifest.len() - 1]).unwrap();
    check("manifest");
    fs::remove_file(backup.join("BACKUP")).unwrap();
    assert!(refused().contains("no BACKUP in it"));
    fs::write(backup.join("BACKUP.unfinished"), manifest).unwrap();
    check("interrupted");
    place.backup(&store);
    assert_eq!(place.restored("again").head(), store.head());
}

#[test]
fn nothing_is_restored_over_something_else() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 3);
    place.backup(&store);
    drop(store);
    for dir in ["store", "backup"] {
        let refused = restore(place.path("backup"), place.path(dir)).unwrap_err();
        assert!(matches!(refused, CopyError::NotEmpty { .. }), "{refused}");
    }
    fs::create_dir(place.path("empty")).unwrap();
    // What a restore that was killed has left is no hindrance.
    fs::create_dir_all(place.path(".empty.restoring/seg")).unwrap();
    restore(place.path("backup"), place.path("empty")).unwrap();
    assert!(!place.path(".empty.restoring").exists());
}

#[test]
fn of_two_restores_to_one_place_at_once_one_is_whole_and_none_is_half() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    let (head, report) = (store.head(), place.backup(&store));
    drop(store);
    let whole = Arc::new(AtomicU64::new(0));
    for round in 0..30 {
        let to = place.path(&format!("to-{round}"));
        let restoring = (0..3).map(|_| {
            let (from, to, whole) = (place.path("backup"), to.clone(), Arc::clone(&whole));
            std::thread::spawn(move || match restore(from, to) {
                Ok(_) => _ = whole.fetch_add(1, Ordering::Relaxed),
                Err(CopyError::InUse { .. } | CopyError::NotEmpty { .. } | CopyError::Io { .. }) => {}
                Err(error) => panic!("{error}"),
            })
        });
        restoring.collect::<Vec<_>>().into_iter().for_each(|restoring| restoring.join().unwrap());
        assert_eq!(whole.swap(0, Ordering::Relaxed), 1, "round {round}");
        assert_eq!(EventStore::open_read_only(&to).unwrap().head(), head);
        assert_eq!(fs::read_dir(to.join("seg")).unwrap().count() as u64, report.segments);
        assert!(!place.path(&format!(".to-{round}.restoring")).exists());
    }
}

#[test]
fn a_restore_that_fails_leaves_nothing_behind() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    place.backup(&store);
    fs::remove_file(&files(&place.path("backup/seg"))[1]).unwrap();
    let refused = restore(place.path("backup"), place.path("again")).unwrap_err();
    assert!(matches!(refused, CopyError::NotWhole { .. }), "{refused}");
    assert!(!place.path("again").exists() && !place.path(".again.restoring").exists());
}

#[test]
fn restoring_links_nothing_that_the_backup_keeps() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    place.backup(&store);
    drop(place.restored("again"));
    assert!(files(&place.path("again/seg")).iter().all(|path| fs::metadata(path).unwrap().nlink() == 1));
}

#[test]
fn what_retention_removed_leaves_the_next_backup_and_what_it_keeps_of_it_is_in_there() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 200);
    place.backup(&store);
    store.truncate_before(Position::new(150), Guard::Consumers).unwrap();
    append(&store, 200, 10);
    let report = place.backup(&store);
    assert_eq!(report.base.plus(1), store.oldest());
    assert!(report.base.get() > 60 && report.reused > 0, "{report:?}");
    assert_eq!((report.dropped, place.backup(&store).dropped), (Some(report.base), None));
    let again = place.restored("again");
    assert_eq!((again.head(), again.oldest()), (store.head(), store.oldest()));
    for number in 0..7 {
        let stream = format!("s{number}");
        assert_eq!(again.stream_version(&*stream).unwrap(), store.stream_version(&*stream).unwrap(), "{stream}");
    }
    assert!(inspect::verify(place.path("backup"), |_, _| ()).unwrap().is_clean());
}

/// What is wrong, as both ways of verifying tell it.
fn places(report: &inspect::VerifyReport) -> Vec<(Option<u64>, Option<u64>)> {
    let mut found: Vec<_> =
        report.findings.iter().map(|found| (found.position.map(Position::get), found.offset)).collect();
    found.sort_unstable();
    found
}

#[test]
fn verifying_frames_on_all_cores_finds_the_damage_that_verifying_everything_finds() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 300);
    drop(store);
    let everything = RangeInclusive::new(Position::START, Position::END);
    let frames = |range, threads| inspect::verify_frames(place.path("store"), range, threads, |_, _| ()).unwrap();
    let all = inspect::verify(place.path("store"), |_, _| ()).unwrap();
    for threads in [None, Some(1), Some(7)] {
        let found = frames(everything.clone(), threads);
        let same = |of: &inspect::VerifyReport| (of.events, of.batches, of.segments, of.bytes, of.head, of.log_id);
        assert_eq!(same(&found), same(&all));
        assert!(found.is_clean(), "{:?}", found.findings);
    }

    let segments = files(&place.path("store/seg"));
    assert!(segments.len() > 4);
    let damage = |index: usize, at: usize| {
        let mut bytes = fs::read(&segments[index]).unwrap();
        bytes[at] ^= 0x10;
        fs::write(&segments[index], bytes).unwrap();
    };
    damage(0, 9_000);
    damage(0, 20_000);
    damage(2, 30_000);
    damage(3, 100);
    let (all, found) = (inspect::verify(place.path("store"), |_, _| ()).unwrap(), frames(everything, None));
    assert!(found.findings.len() >= 4, "{:?}", found.findings);
    assert_eq!(places(&found), places(&all));
    // Only the segments that hold these positions are read, each as a whole.
    let second = frames(RangeInclusive::new(Position::new(70), Position::new(90)), None);
    assert_eq!(second.segments, 1, "{second:?}");
    let begins = found.findings[2].position.unwrap();
    let third = frames(RangeInclusive::new(begins, begins), None);
    assert_eq!(third.findings.iter().filter(|finding| finding.position == Some(begins)).count(), 1, "{third:?}");
}

#[test]
fn a_retention_beside_a_backup_leaves_it_whole() {
    let place = Place::new();
    let store = place.store();
    append(&store, 0, 400);
    std::thread::scope(|threads| {
        let store = &store;
        threads.spawn(move || {
            for before in (20..=380).step_by(20) {
                store.truncate_before(Position::new(before), Guard::Consumers).unwrap();
            }
        });
        for round in 0..6 {
            let dir = place.path(&format!("backup{round}"));
            let report = store.backup_to(&dir, &BackupOptions::new()).unwrap();
            let found = inspect::verify(&dir, |_, _| ()).unwrap();
            assert!(found.is_clean(), "{:?}", found.findings);
            restore(&dir, place.path(&format!("again{round}"))).unwrap();
            let again = EventStore::open(place.path(&format!("again{round}")), &options()).unwrap();
            assert_eq!((again.head(), again.oldest()), (store.head(), report.base.plus(1)));
        }
    });
}
