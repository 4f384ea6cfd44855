//! Snapshots: states in files, and which of them are used.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::storage::sim::SimDisk;
use annals::{Durability, EventStore, ExpectedVersion, NewEvent, Position};
use annals_projection::{Attached, Handlers, LiveProjection, OnError, Projection, ProjectionError, SharedPass};

use crate::support::*;

/// The names of the snapshot files on a disk.
fn files(disk: &SimDisk) -> Vec<u64> {
    let paths = disk.paths().into_iter().filter(|path| path.starts_with("snap/"));
    paths.map(|path| path.split('/').next_back().unwrap().trim_end_matches(".snap").parse().unwrap()).collect()
}

fn path(position: u64) -> String {
    format!("snap/seen/{position:020}.snap")
}

fn every(events: u64) -> Projection<Handlers<Seen>> {
    seen("seen").snapshot_every(events)
}

/// What is left for the next process, when this one has closed its store.
fn closed<S>(disk: &SimDisk, store: EventStore, attached: Attached<S>) -> SimDisk {
    drop((store, attached));
    disk.after_kill()
}

/// A disk with 100 events, and snapshots at 30, 60 and 90.
fn with_snapshots() -> SimDisk {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1..=100);
    let mut projection = every(30).keep_snapshots(3).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!(files(&disk), [30, 60, 90]);
    assert_eq!(projection.status().snapshot, Some(pos(90)));
    closed(&disk, store, projection)
}

/// Attaches, and says where it begins and why not later; then catching up must lead to the right state.
#[track_caller]
fn check_begins_at(disk: &SimDisk, projection: Projection<Handlers<Seen>>, begins: u64, ignored: &[&str]) {
    let store = open(disk);
    let mut projection = projection.attach(&store).unwrap();
    assert_eq!(projection.position(), pos(begins), "{:?}", projection.ignored_snapshots());
    let reasons: Vec<&str> = projection.ignored_snapshots().iter().map(|ignored| ignored.reason.as_str()).collect();
    assert_eq!(reasons.len(), ignored.len(), "{reasons:?}");
    for (reason, expected) in reasons.iter().zip(ignored) {
        assert!(reason.contains(expected), "{reason}");
    }
    let head = store.head().get();
    assert_eq!(projection.catch_up().unwrap(), pos(head));
    assert_eq!(*projection.state(), seen_of(1..=head));
    assert_eq!(projection.status().handled, head, "also what was handled before");
}

#[test]
fn a_restart_goes_on_from_the_newest_snapshot() {
    check_begins_at(&with_snapshots(), every(30), 90, &[]);
    // Without the wish for snapshots there are none.
    check_begins_at(&with_snapshots(), seen("seen"), 0, &[]);
}

#[test]
fn snapshots_are_taken_by_position_and_the_newest_few_are_kept() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    // Every second event is passed: positions count, not what is handled.
    for number in 1..=100 {
        append(&store, if number % 2 == 0 { "Added" } else { "Noted" }, number);
    }
    let mut projection = every(20).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!(files(&disk), [80, 100]);
    add(&store, 101..=139);
    projection.catch_up().unwrap();
    assert_eq!(files(&disk), [100, 120]);
    assert_eq!(projection.take_snapshot().unwrap(), pos(139));
    assert_eq!(files(&disk), [120, 139]);
}

#[test]
fn what_a_query_hides_counts_for_a_snapshot_too() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1..=50);
    let mut projection = every(20).query(annals::QueryItem::new().event_type("Never")).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!(files(&disk), [50]);
}

#[test]
fn a_damaged_snapshot_is_ignored_whatever_the_damage_and_the_next_older_one_is_used() {
    let disk = with_snapshots();
    let file = disk.read_file(&path(90)).unwrap();
    for byte in 0..file.len() as u64 {
        let damaged = disk.fork();
        damaged.flip(&path(90), byte * 8 + byte % 8);
        let store = open(&damaged);
        let projection = every(30).attach(&store).unwrap();
        assert_eq!((projection.position(), projection.ignored_snapshots().len()), (pos(60), 1), "byte {byte}");
        assert!(*projection.state() == seen_of(1..=60), "byte {byte}");
    }
    for len in 0..file.len() {
        let damaged = disk.fork();
        damaged.write_file(&path(90), &file[..len]);
        let projection = every(30).attach(&open(&damaged)).unwrap();
        assert_eq!((projection.position(), projection.ignored_snapshots().len()), (pos(60), 1), "cut at {len}");
    }
    disk.write_file(&path(90), b"");
    disk.write_file(&path(60), &file);
    check_begins_at(&disk, every(30), 30, &["header is damaged", "it is of position 90"]);
}

#[test]
fn when_no_snapshot_can_be_used_the_log_is_read_from_its_beginning() {
    let disk = with_snapshots();
    for position in [30, 60, 90] {
        disk.flip(&path(position), 1000);
    }
    check_begins_at(&disk, every(1000), 0, &["header is damaged"; 3]);
}

#[test]
fn a_snapshot_of_another_schema_version_is_ignored() {
    check_begins_at(&with_snapshots(), every(30).schema_version(1), 0, &["schema has version 0, not 1"; 3]);
}

#[test]
fn a_snapshot_of_another_projection_or_of_another_log_is_ignored() {
    let disk = with_snapshots();
    let file = disk.read_file(&path(90)).unwrap();
    let other = SimDisk::new(2);
    let store = open(&other);
    add(&store, 1..=100);
    for name in ["seen", "others"] {
        let mut projection = seen(name).snapshot_every(50).attach(&store).unwrap();
        projection.catch_up().unwrap();
        drop(projection);
        other.write_file(&format!("snap/{name}/{:020}.snap", 90), &file);
    }
    drop(store);
    let other = other.after_kill();
    check_begins_at(&other, every(1000), 100, &[]);
    other.flip(&path(100), 1000);
    check_begins_at(&other, every(1000), 50, &["damaged", "its log is"]);
    other.flip(&format!("snap/others/{:020}.snap", 100), 1000);
    check_begins_at(&other, seen("others").snapshot_every(1000), 50, &["damaged", "it is a snapshot of seen"]);
}

#[test]
fn after_a_restored_backup_snapshots_of_the_history_that_is_gone_are_not_used() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1..=40);
    let mut projection = every(30).attach(&store).unwrap();
    projection.catch_up().unwrap();
    let backup = closed(&disk, store, projection);
    // The log is restored, and the snapshots that were taken later are forgotten.
    let newer = with_snapshots_of(&backup, 41..=100);
    for position in [60, 90] {
        backup.write_file(&path(position), &newer.read_file(&path(position)).unwrap());
    }
    check_begins_at(&backup.fork(), every(1000), 30, &["beyond the head", "beyond the head"]);

    // The log goes on differently, beyond them.
    let store = open(&backup);
    add(&store, (41..=100).map(|number| number + 1000));
    let mut projection = every(40).attach(&store).unwrap();
    assert_eq!(projection.position(), pos(30));
    let reasons: Vec<&str> = projection.ignored_snapshots().iter().map(|ignored| ignored.reason.as_str()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("another batch was written at position")), "{reasons:?}");
    projection.catch_up().unwrap();
    let expected: u64 = (1..=40).sum::<u64>() + (1041..=1100).sum::<u64>();
    assert_eq!(projection.state().sum, expected, "nothing of the other history");
    assert_eq!(files(&backup), [30, 70]);
}

/// A disk that goes on from another one with these numbers, and its snapshots at 60 and 90.
fn with_snapshots_of(disk: &SimDisk, numbers: std::ops::RangeInclusive<u64>) -> SimDisk {
    let disk = disk.fork();
    let store = open(&disk);
    add(&store, numbers);
    let mut projection = every(30).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!(files(&disk), [60, 90]);
    disk
}

#[test]
fn one_that_could_not_be_used_goes_when_the_next_one_is_written_and_crowds_out_no_good_one() {
    let disk = with_snapshots();
    disk.flip(&path(90), 1000);
    let store = open(&disk);
    let mut projection = every(1000).attach(&store).unwrap();
    assert_eq!(projection.position(), pos(60));
    assert_eq!(projection.take_snapshot().unwrap(), pos(60));
    assert_eq!(files(&disk), [30, 60]);
}

#[test]
fn json_snapshots_can_be_read_by_a_person_and_either_encoding_goes_on_from_the_other() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1..=10);
    let mut projection = every(10).json_snapshots().attach(&store).unwrap();
    projection.catch_up().unwrap();
    let disk = closed(&disk, store, projection);
    let file = disk.read_file(&path(10)).unwrap();
    assert!(file.ends_with(br#"{"positions":[1,2,3,4,5,6,7,8,9,10],"sum":55}"#), "{}", String::from_utf8_lossy(&file));
    check_begins_at(&disk, every(10), 10, &[]);
    check_begins_at(&with_snapshots(), every(30).json_snapshots(), 90, &[]);
}

#[test]
fn a_state_that_does_not_decode_is_ignored() {
    let disk = with_snapshots();
    let store = open(&disk);
    let other = Projection::new("seen").when("Added", |names: &mut Vec<String>, _| names.push("one".to_owned()));
    let mut projection = other.snapshot_every(1000).attach(&store).unwrap();
    assert_eq!(projection.position(), Position::START);
    let ignored = projection.ignored_snapshots();
    assert!(
        ignored.len() == 3 && ignored.iter().all(|ignored| ignored.reason.contains("no such value")),
        "{ignored:?}"
    );
    projection.catch_up().unwrap();
    assert_eq!(projection.state().len(), 100);
}

#[test]
fn buffered_events_are_durable_before_the_snapshot_that_was_folded_from_them() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let events = (1..=10).map(|number| NewEvent::new("Added", number.to_string()));
    store.batch().durability(Durability::Buffered).events("numbers", events).commit().unwrap();
    assert_eq!(store.durable_head(), Position::START);
    let mut projection = every(10).attach(&store).unwrap();
    projection.catch_up().unwrap();
    assert_eq!((files(&disk), store.durable_head()), (vec![10], pos(10)));
    // A store that cannot make them durable any more writes none, and the projection goes on.
    store.append("numbers", ExpectedVersion::Any, NewEvent::new("Added", "11")).unwrap();
    let event = NewEvent::new("Added", "12");
    store.batch().durability(Durability::Buffered).event("numbers", event).commit().unwrap();
    disk.fail_at(disk.operations(), annals::storage::sim::Fault::Eio);
    projection.catch_up().unwrap();
    assert!(matches!(projection.take_snapshot(), Err(ProjectionError::Keep(_))));
    assert_eq!((projection.position(), files(&disk)), (pos(12), vec![10]));
    assert!(projection.status().snapshot_fault.unwrap().contains("durable"));
}

#[test]
fn what_was_left_out_is_remembered_over_a_restart() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    add(&store, 1..=5);
    let picky = || {
        let fold = |seen: &mut Seen, event: &annals::Event<'_>| {
            if event.position.get() == 3 {
                return Err("not the third");
            }
            seen.positions.push(event.position.get());
            Ok(())
        };
        Projection::new("seen").when("Added", fold).on_error(OnError::Skip).snapshot_every(5)
    };
    let mut projection = picky().attach(&store).unwrap();
    projection.catch_up().unwrap();
    let disk = closed(&disk, store, projection);
    let projection = picky().attach(&open(&disk)).unwrap();
    assert_eq!((projection.position(), projection.skipped().len()), (pos(5), 1));
    assert_eq!((projection.skipped()[0].position, projection.skipped()[0].reason.as_str()), (pos(3), "not the third"));
    assert_eq!(projection.status().skipped, 1);
}

#[test]
fn a_rebuild_discards_snapshots_so_that_no_restart_finds_the_old_state() {
    for beside in [false, true] {
        let disk = with_snapshots();
        let store = open(&disk);
        let mut projection = every(1000).keep_snapshots(3).attach(&store).unwrap();
        assert_eq!(projection.position(), pos(90));
        if beside {
            projection.rebuild_beside().unwrap();
            assert_eq!(files(&disk), [100], "of the new state");
        } else {
            projection.rebuild().unwrap();
            assert_eq!(files(&disk), [0; 0]);
        }
        assert_eq!(*projection.state(), seen_of(1..=100));
    }
}

#[test]
fn two_of_one_name_do_not_share_a_folder() {
    let store = in_memory();
    let first = every(10).attach(&store).unwrap();
    assert!(matches!(every(10).attach(&store), Err(ProjectionError::NameInUse { .. })));
    seen("seen").attach(&store).unwrap();
    drop(first);
    every(10).attach(&store).unwrap();
}

#[test]
fn a_live_projection_takes_snapshots_as_it_goes() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let live = LiveProjection::start(&store, every(25)).unwrap();
    for number in 1..=110 {
        let position = append(&store, "Added", number);
        live.wait_for(position, LONG).unwrap();
        // They are written beside it: one that fell due while the one before was written would be later.
        while number % 25 == 0 && live.status().snapshot != Some(pos(number)) {
            std::thread::yield_now();
        }
    }
    drop(live);
    assert_eq!(files(&disk), [75, 100]);
}

/// A number that is encoded when somebody opens the gate.
#[derive(Clone, Default, serde::Deserialize)]
struct Gated(u64);

static GATE: RwLock<()> = RwLock::new(());
static IS_ENCODING: AtomicBool = AtomicBool::new(false);

impl serde::Serialize for Gated {
    fn serialize<T: serde::Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        IS_ENCODING.store(true, Ordering::SeqCst);
        let _open = GATE.read().unwrap();
        serializer.serialize_newtype_struct("Gated", &self.0)
    }
}

#[test]
fn a_snapshot_that_is_being_written_holds_up_no_projection_of_the_pass() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let gated = || Projection::new("gated").when("Added", |gated: &mut Gated, _| gated.0 += 1).snapshot_every(10);
    let closed = GATE.write().unwrap();
    let mut pass = SharedPass::new(&store);
    let (slow, quick) = (pass.add(gated()).unwrap(), pass.add(seen("quick")).unwrap());
    pass.start().unwrap();
    add(&store, 1..=10);
    while !IS_ENCODING.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    // Another one falls due meanwhile, and waits.
    add(&store, 11..=34);
    quick.wait_for(pos(34), LONG).unwrap();
    slow.wait_for(pos(34), LONG).unwrap();
    assert_eq!((slow.state().0, quick.state().positions.len()), (34, 34));
    assert_eq!(slow.status().snapshot, None);
    drop(closed);
    while slow.status().snapshot != Some(pos(10)) {
        std::thread::yield_now();
    }
    // With the next event it is taken, of what the state is then.
    let last = append(&store, "Added", 35);
    slow.wait_for(last, LONG).unwrap();
    drop((slow, quick));
    assert_eq!(disk.paths().iter().filter(|path| path.starts_with("snap/gated/")).count(), 2);
    let resumed = gated().attach(&store).unwrap();
    assert_eq!((resumed.position(), resumed.state().0), (pos(35), 35));
}

#[test]
fn who_starts_over_while_a_snapshot_is_written_finds_none_of_the_old_state() {
    for round in 0..50 {
        let disk = SimDisk::new(round);
        let store = open(&disk);
        add(&store, 1..=20);
        let live = LiveProjection::start(&store, every(5)).unwrap();
        live.wait_for(pos(20), LONG).unwrap();
        live.rebuild().unwrap();
        live.wait_for(pos(20), LONG).unwrap();
        drop(live);
        for at in files(&disk) {
            let snapshot = disk.read_file(&path(at)).unwrap();
            let snapshot = annals_codec::Snapshot::decode(&snapshot).unwrap();
            let state: Seen = annals_codec::payload::from_bincode(snapshot.payload).unwrap();
            assert_eq!(state, seen_of(1..=at), "round {round}");
        }
    }
}

#[test]
fn a_state_that_refuses_to_be_encoded_is_told_and_folding_goes_on() {
    #[derive(Clone, Default, serde::Deserialize)]
    struct Shy(u64);
    impl serde::Serialize for Shy {
        fn serialize<T: serde::Serializer>(&self, _: T) -> Result<T::Ok, T::Error> {
            assert!(self.0 < 20, "as the test wants it");
            Err(serde::ser::Error::custom("nobody's business"))
        }
    }
    let store = in_memory();
    add(&store, 1..=15);
    let mut shy =
        Projection::new("shy").when("Added", |shy: &mut Shy, _| shy.0 += 1).snapshot_every(10).attach(&store).unwrap();
    shy.catch_up().unwrap();
    assert!(shy.status().snapshot_fault.unwrap().contains("nobody's business"));
    add(&store, 16..=30);
    shy.catch_up().unwrap();
    assert!(shy.status().snapshot_fault.unwrap().contains("as the test wants it"), "a panic, likewise");
    assert_eq!(shy.state().0, 30);
}

/// A store that was restored from its backup at position 50, with the snapshots of the one that had gone on to 100.
fn restored_with_newer_snapshots() -> SimDisk {
    let (disk, backup, restored) = (SimDisk::new(1), SimDisk::new(2), SimDisk::new(3));
    let store = open(&disk);
    add(&store, 1..=50);
    let mut projection = every(30).keep_snapshots(3).attach(&store).unwrap();
    projection.catch_up().unwrap();
    store.backup_on(&backup, &annals::BackupOptions::new()).unwrap();
    add(&store, 51..=100);
    projection.catch_up().unwrap();
    assert_eq!(files(&disk), [30, 60, 90]);
    annals::restore_on(&backup, &restored).unwrap();
    // Snapshots are no part of a backup: somebody brings them along.
    for position in files(&disk) {
        restored.write_file(&path(position), &disk.read_file(&path(position)).unwrap());
    }
    restored
}

#[test]
fn a_snapshot_beyond_the_head_of_an_older_copy_that_was_restored_is_not_used() {
    check_begins_at(&restored_with_newer_snapshots(), every(30), 30, &["beyond", "beyond"]);
}

#[test]
fn a_snapshot_of_what_an_older_copy_that_was_restored_has_never_seen_is_of_another_history() {
    let disk = restored_with_newer_snapshots();
    let store = open(&disk);
    add(&store, 1_000..1_045);
    drop(store);
    let disk = disk.after_kill();
    let store = open(&disk);
    let mut projection = every(30).attach(&store).unwrap();
    assert_eq!(projection.position(), pos(30), "{:?}", projection.ignored_snapshots());
    let reasons: Vec<&str> = projection.ignored_snapshots().iter().map(|ignored| ignored.reason.as_str()).collect();
    assert!(reasons.len() == 2 && reasons.iter().all(|reason| reason.contains("another")), "{reasons:?}");
    projection.catch_up().unwrap();
    assert_eq!(projection.state().positions, (1..=95).collect::<Vec<_>>());
}
