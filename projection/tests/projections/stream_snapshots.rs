//! The states of long streams in files, and that no answer depends on them.

use annals::storage::sim::SimDisk;
use annals::{EventStore, ExpectedVersion, NewEvent, Position, StreamVersion};
use annals_projection::{
    DecideError, Decider, Handlers, ProjectionError, Reconstructed, StreamSnapshots, TypedEvents, UpTo,
    reconstruct_state,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

type Numbers = Vec<u64>;

fn sums() -> Handlers<Numbers> {
    Handlers::new(Vec::new()).when("Added", |numbers: &mut Numbers, event| numbers.push(number(event)))
}

/// What folds nothing: it can only give what was kept.
fn nothing() -> Handlers<Numbers> {
    Handlers::new(Vec::new())
}

/// Two streams that take turns.
fn grow(store: &EventStore, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let stream = ["a", "b"][(number % 2) as usize];
        store.append(stream, ExpectedVersion::Any, NewEvent::new("Added", number.to_string())).unwrap();
    }
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.starts_with("streams/")).collect()
}

fn open_snapshots(store: &EventStore) -> StreamSnapshots<Numbers> {
    StreamSnapshots::open(store, "numbers").unwrap().every(10)
}

fn of_b(snapshots: &StreamSnapshots<Numbers>, up_to: UpTo) -> Reconstructed<Numbers> {
    snapshots.reconstruct_state("b", &sums(), up_to).unwrap()
}

/// A disk with a store in which the state of the stream b was kept when it had 20 events, of 25.
fn with_a_snapshot() -> SimDisk {
    let disk = SimDisk::new(4);
    let store = open(&disk);
    grow(&store, 1..=40);
    let snapshots = open_snapshots(&store);
    assert_eq!(of_b(&snapshots, UpTo::Head).version, StreamVersion::new(20));
    assert_eq!(files(&disk).len(), 1, "the other stream was not asked for");
    grow(&store, 41..=50);
    assert_eq!(snapshots.take_problem(), None);
    drop((snapshots, store));
    disk.after_kill()
}

#[test]
fn the_state_of_a_long_stream_is_kept_and_only_what_came_later_is_folded() {
    let disk = with_a_snapshot();
    let store = open(&disk);
    let snapshots = open_snapshots(&store);
    let kept = snapshots.reconstruct_state("b", &nothing(), UpTo::Version(StreamVersion::new(20))).unwrap();
    assert_eq!(kept.state, (1..40).step_by(2).collect::<Numbers>(), "without a fold there is what was kept");
    let (before, all) = (disk.read_file(&files(&disk)[0]), of_b(&snapshots, UpTo::Head));
    assert_eq!(all, reconstruct_state(&store, "b", &sums(), UpTo::Head).unwrap());
    assert_eq!(disk.read_file(&files(&disk)[0]), before, "five events are no reason to write");
    grow(&store, 51..=60);
    assert_eq!(of_b(&snapshots, UpTo::Head).version, StreamVersion::new(30));
    assert_ne!(disk.read_file(&files(&disk)[0]), before, "ten are");
}

#[test]
fn with_and_without_a_snapshot_every_moment_of_a_stream_is_the_same() {
    let disk = with_a_snapshot();
    let store = open(&disk);
    let snapshots = open_snapshots(&store);
    let mut moments = vec![UpTo::Head, UpTo::Time(i64::MIN), UpTo::Time(i64::MAX)];
    for number in 0..=52 {
        moments.extend([UpTo::Version(StreamVersion::new(number)), UpTo::Position(Position::new(number))]);
        if let Some(event) = store.get(Position::new(number)).unwrap() {
            moments.extend([UpTo::Time(event.as_event().recorded_at), UpTo::Time(event.as_event().recorded_at - 1)]);
        }
    }
    for up_to in moments {
        for stream in ["a", "b", "unknown"] {
            let expected = reconstruct_state(&store, stream, &sums(), up_to).unwrap();
            assert_eq!(snapshots.reconstruct_state(stream, &sums(), up_to).unwrap(), expected, "{stream} {up_to:?}");
        }
    }
    assert_eq!(snapshots.take_problem(), None);
}

#[test]
fn a_damaged_file_of_a_stream_changes_no_answer_and_is_told() {
    let disk = with_a_snapshot();
    let path = files(&disk).remove(0);
    let len = disk.read_file(&path).unwrap().len() as u64;
    for byte in 0..len {
        let damaged = disk.fork();
        damaged.flip(&path, byte * 8 + byte % 8);
        let store = open(&damaged);
        let snapshots = open_snapshots(&store);
        assert_eq!(of_b(&snapshots, UpTo::Head).state, (1..50).step_by(2).collect::<Numbers>(), "byte {byte}");
        let problem = snapshots.take_problem().expect("it was not used");
        assert!(path.ends_with(&problem.file), "{problem:?}");
        // All of the stream was folded, so a good one is in its place.
        of_b(&snapshots, UpTo::Head);
        assert_eq!(snapshots.take_problem(), None);
    }
}

#[test]
fn the_state_of_another_stream_schema_version_kind_or_history_is_not_used() {
    let disk = with_a_snapshot();
    let path = files(&disk).remove(0);
    let check = |disk: &SimDisk, open_it: &dyn Fn(&EventStore) -> StreamSnapshots<Numbers>, stream: &str, why: &str| {
        let store = open(disk);
        let snapshots = open_it(&store);
        let expected = reconstruct_state(&store, stream, &sums(), UpTo::Head).unwrap();
        assert_eq!(snapshots.reconstruct_state(stream, &sums(), UpTo::Head).unwrap(), expected);
        let problem = snapshots.take_problem().expect(why).reason;
        assert!(problem.contains(why), "{problem}");
    };
    check(&disk.fork(), &|store| open_snapshots(store).schema_version(3), "b", "schema has version 0, not 3");

    let file = disk.read_file(&path).unwrap();
    let swapped = disk.fork();
    let store = open(&swapped);
    open_snapshots(&store).reconstruct_state("a", &sums(), UpTo::Head).unwrap();
    drop(store);
    let of_a = files(&swapped).into_iter().find(|other| *other != path).unwrap();
    swapped.write_file(&of_a, &file);
    check(&swapped.after_kill(), &open_snapshots, "a", "it is of the stream b");

    let renamed = disk.fork();
    renamed.write_file(&path.replace("numbers", "others"), &file);
    check(&renamed, &|store| StreamSnapshots::open(store, "others").unwrap(), "b", "it is a snapshot of numbers");

    let other = SimDisk::new(9);
    let store = open(&other);
    grow(&store, 1..=50);
    open_snapshots(&store).reconstruct_state("b", &sums(), UpTo::Head).unwrap();
    drop(store);
    other.write_file(&path, &file);
    check(&other.after_kill(), &open_snapshots, "b", "its log is");
}

#[test]
fn wherever_a_process_dies_the_state_of_a_stream_is_that_of_its_events() {
    for stop in 1.. {
        let disk = SimDisk::new(stop);
        let store = open(&disk);
        grow(&store, 1..=25);
        let snapshots = open_snapshots(&store);
        of_b(&snapshots, UpTo::Head);
        grow(&store, 26..=45);
        let start = disk.operations();
        disk.stop_at(start + stop);
        let last = snapshots.reconstruct_state("b", &sums(), UpTo::Head);
        let is_over = !disk.is_stopped();
        if let Ok(last) = last {
            assert_eq!(last.version, StreamVersion::new(23), "a file that cannot be written changes no answer");
        }
        drop((snapshots, store));
        for (ending, left) in disk.endings() {
            let store = open(&left);
            let snapshots = open_snapshots(&store);
            let expected = reconstruct_state(&store, "b", &sums(), UpTo::Head).unwrap();
            assert_eq!(of_b(&snapshots, UpTo::Head), expected, "stopped at {stop}, {ending}");
            assert_eq!(snapshots.take_problem(), None, "stopped at {stop}, {ending}");
        }
        if is_over {
            assert!(stop > 4, "a file is written in more operations than {stop}");
            break;
        }
    }
}

#[test]
fn behind_a_kept_state_the_removed_beginning_of_a_stream_is_not_missed() {
    let disk = SimDisk::new(6);
    let store = EventStore::open_on(std::sync::Arc::new(disk.clone()), &quiet().segment_bytes(64 << 10)).unwrap();
    let snapshots = open_snapshots(&store);
    let padded = |number: u64| NewEvent::new("Added", number.to_string()).metadata(vec![b' '; 2000]);
    for number in 1..=100 {
        store.append("b", ExpectedVersion::Any, padded(number)).unwrap();
        of_b(&snapshots, UpTo::Head);
    }
    let removed = store.truncate_before(Position::new(80), annals::Guard::Consumers).unwrap();
    assert!(store.oldest() > Position::new(1), "{removed:?}");
    assert_eq!(of_b(&snapshots, UpTo::Head).state, (1..=100).collect::<Numbers>());
    let without = reconstruct_state(&store, "b", &sums(), UpTo::Head).unwrap_err();
    assert!(matches!(without, ProjectionError::HistoryTruncated { .. }), "{without:?}");
}

#[test]
fn one_handle_at_a_time_writes_and_a_store_that_is_only_read_is_left_alone() {
    let disk = with_a_snapshot();
    let store = open(&disk);
    let snapshots = open_snapshots(&store);
    let second = StreamSnapshots::<Numbers>::open(&store, "numbers").unwrap_err();
    assert!(matches!(second, ProjectionError::NameInUse { .. }), "{second:?}");
    grow(&store, 51..=90);
    let before = disk.read_file(&files(&disk)[0]);
    let reading = EventStore::open_read_only_on(std::sync::Arc::new(disk.clone())).unwrap();
    assert_eq!(of_b(&open_snapshots(&reading), UpTo::Head).version, StreamVersion::new(45));
    assert_eq!(disk.read_file(&files(&disk)[0]), before);
    drop(snapshots);
}

#[derive(Deserialize, Serialize)]
enum Counted {
    Added { number: u64 },
}

impl TypedEvents for Counted {}

/// Adds numbers as long as their sum stays below 100.
struct Adding;

impl Decider for Adding {
    type Command = u64;
    type Event = Counted;
    type State = u64;
    type Error = u64;

    fn initial(&self) -> u64 {
        0
    }

    fn evolve(&self, sum: &mut u64, Counted::Added { number }: Counted) {
        *sum += number;
    }

    fn decide(&self, sum: &u64, number: &u64) -> Result<Vec<Counted>, u64> {
        if sum + number < 100 { Ok(vec![Counted::Added { number: *number }]) } else { Err(*sum) }
    }
}

#[test]
fn a_command_is_decided_on_the_kept_state_and_what_came_after_it() {
    let disk = SimDisk::new(8);
    let store = open(&disk);
    let snapshots = StreamSnapshots::<u64>::open(&store, "sums").unwrap().every(4);
    for step in 1..=14 {
        let done = snapshots.execute("s", &Adding, &7).unwrap();
        assert_eq!((done.state, done.version), (7 * step, StreamVersion::new(step)));
    }
    let refused = snapshots.execute("s", &Adding, &7).unwrap_err();
    assert!(matches!(refused, DecideError::Refused(98)), "{refused:?}");
    assert_eq!(files(&disk).len(), 1);
}
