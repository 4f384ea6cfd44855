//! Where two rare things meet: a full disk and buffered appends, damage and the
//! very end of the log, a reader and a thousand segments.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals::storage::sim::{Fault, SimDisk};
use annals::{AppendError, Durability, EventStore, NewEvent, Options, Position, QueryItem, ReadError, StreamVersion};
use annals_codec::{SEGMENT_HEADER_LEN, SegmentHeader, SegmentNumber};

use crate::places::*;

use annals::ExpectedVersion::Any;

/// Four to a segment of [`quiet`] stores.
fn large() -> NewEvent {
    NewEvent::new("Large", vec![7; 15_000])
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("seg")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn flip(path: &Path, offset: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset as usize] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_rewind_has_made_durable_is_told_by_the_next_flush() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().durability(Durability::Buffered)).unwrap();
    store.append_batch("a", Any, (0..10).map(numbered)).unwrap();
    // The reservation holds, the write does not: cut off and synced, with the ten before it.
    disk.fail_at(disk.operations(), Fault::ShortThenFull);
    assert!(matches!(store.append("a", Any, numbered(10)), Err(AppendError::StorageFull)));
    assert_eq!(store.flush().unwrap(), pos(10));
    assert_eq!(store.durable_head(), pos(10));
    assert_eq!(EventStore::open_read_only_on(Arc::new(disk)).unwrap().head(), pos(10));
}

#[test]
fn what_a_rewind_has_made_durable_is_told_by_closing() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().durability(Durability::Buffered)).unwrap();
    store.append_batch("a", Any, (0..10).map(numbered)).unwrap();
    disk.fail_at(disk.operations(), Fault::ShortThenFull);
    assert!(matches!(store.append("a", Any, numbered(10)), Err(AppendError::StorageFull)));
    drop(store);
    assert_eq!(EventStore::open_read_only_on(Arc::new(disk)).unwrap().head(), pos(10));
}

#[test]
fn readers_elsewhere_see_a_sealed_segment_that_has_no_successor_yet() {
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &quiet().durability(Durability::Buffered)).unwrap();
    for _ in 0..4 {
        store.append("a", Any, large()).unwrap();
    }
    // Write, cut and sync of the seal; then the disk is full.
    disk.fail_at(disk.operations() + 3, Fault::StorageFull);
    disk.fail_at(disk.operations() + 4, Fault::StorageFull);
    assert!(matches!(store.append("a", Any, large()), Err(AppendError::StorageFull)));
    assert!(store.stats().segments[0].sealed);
    assert_eq!(store.flush().unwrap(), pos(4));
    assert_eq!(store.durable_head(), pos(4));
    assert_eq!(EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap().head(), pos(4));
    store.append("a", Any, large()).unwrap();
}

/// Reads from a store whose last durable batch, at position 5, is damaged.
fn check_damaged_end(reader: &EventStore) {
    assert_eq!(reader.get(pos(2)).unwrap().unwrap().position(), pos(2));
    let damaged_from = |error: &ReadError| matches!(error, ReadError::Corrupt(damage) if damage.from == pos(5));
    let mut all = reader.read_all(Position::START);
    let read: Vec<_> = all.by_ref().map_while(Result::ok).map(|event| event.position().get()).collect();
    assert_eq!(read, [1, 2, 3, 4]);
    let all: Vec<_> = reader.read_all(Position::START).collect();
    assert_eq!(all.len(), 5, "the damage is told, and never looks like the end");
    assert!(all[4].as_ref().is_err_and(damaged_from), "{:?}", all[4]);
    let mut stream: Vec<_> = reader.read_stream("a", StreamVersion::EMPTY).unwrap().collect();
    assert!(stream.pop().unwrap().as_ref().is_err_and(damaged_from));
    assert_eq!(stream.into_iter().flatten().count(), 4);
    let backward: Vec<_> = reader.read_all(Position::END).backward().skip_damaged().collect();
    assert!(backward[0].as_ref().is_err_and(damaged_from), "{:?}", backward[0]);
    assert_eq!(backward.iter().filter(|event| event.is_ok()).count(), 4);
    assert!(reader.get(pos(5)).is_err());
}

#[test]
fn a_damaged_end_keeps_nobody_from_reading_what_comes_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    let mut end = 0;
    for number in 0..5 {
        end = store.stats().bytes;
        store.append("a", Any, numbered(number)).unwrap();
    }
    drop(store);
    flip(&segments(dir.path())[0], end + 30);
    let reader = EventStore::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.recovery_report().gaps.len(), 1);
    check_damaged_end(&reader);
    // And again, when it has looked for progress once more.
    check_damaged_end(&reader);
}

#[test]
fn damage_met_while_following_keeps_nobody_from_reading_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    let reader = EventStore::open_read_only(dir.path()).unwrap();
    let mut end = 0;
    for number in 0..5 {
        end = store.stats().bytes;
        store.append("a", Any, numbered(number)).unwrap();
    }
    let segment = &segments(dir.path())[0];
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xEE], end + 30).unwrap();
    check_damaged_end(&reader);
    check_damaged_end(&reader);
    // The writer goes on, and behind the damage there is something to read again, over a roll too.
    store.append("a", Any, numbered(6)).unwrap();
    let told: Vec<_> = reader.read_all(Position::START).skip_damaged().map(|event| event.is_ok()).collect();
    assert_eq!(told, [true, true, true, true, false, true]);
    for _ in 0..6 {
        store.append("a", Any, large()).unwrap();
    }
    assert!(store.stats().segments.len() > 1);
    let told: Vec<_> = reader.read_all(Position::START).skip_damaged().map(|event| event.is_ok()).collect();
    assert_eq!((told.len(), told.iter().filter(|good| !**good).count()), (12, 1));
}

#[test]
fn a_reader_that_opens_what_a_crash_has_left_follows_the_writer_that_recovers_it() {
    for stopped_at in 0.. {
        let disk = SimDisk::new(5);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        for _ in 0..4 {
            store.append("a", Any, large()).unwrap();
        }
        disk.stop_at(disk.operations() + stopped_at);
        let _ = store.append("a", Any, large()); // rolls
        drop(store);
        if !disk.is_stopped() {
            assert!(stopped_at > 5, "the roll was in it");
            break;
        }
        let disk = disk.after_kill();
        let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
        let store = EventStore::open_on(Arc::new(disk), &quiet()).unwrap();
        store.append("a", Any, large()).unwrap();
        let head = store.head().get();
        assert_eq!(positions(reader.read_all(Position::START)), (1..=head).collect::<Vec<_>>(), "stop {stopped_at}");
    }
}

#[test]
fn an_older_segment_cut_within_its_header_is_a_gap_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..6 {
        store.append("a", Any, large()).unwrap();
    }
    drop(store);
    for len in [0, 1, 100, SEGMENT_HEADER_LEN as u64 - 1] {
        std::fs::OpenOptions::new().write(true).open(&segments(dir.path())[0]).unwrap().set_len(len).unwrap();
        let reader = EventStore::open_read_only(dir.path()).unwrap();
        let told: Vec<_> = reader.read_all(Position::START).skip_damaged().map(|event| event.is_ok()).collect();
        assert_eq!((told[0], told[1..].iter().all(|good| *good)), (false, true), "cut to {len}");
    }
}

#[test]
fn a_gap_as_long_as_a_name_can_claim_is_one_error_and_no_hang() {
    const CLAIMED: u64 = 1 << 60;
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    store.append("a", Any, numbered(0)).unwrap();
    let log_id = store.log_id();
    drop(store);
    let first = &segments(dir.path())[0];
    let (mut header, _) = SegmentHeader::decode(&std::fs::read(first).unwrap()).unwrap();
    assert_eq!(header.log_id, log_id);
    header.number = SegmentNumber::new(1);
    header.base = pos(CLAIMED);
    let second = dir.path().join(format!("seg/{:020}-{CLAIMED:020}.seg", 1));
    std::fs::write(second, header.encode().0).unwrap();
    flip(first, 100);
    let told = without_hanging("reading over the gap", move || {
        let reader = EventStore::open_read_only(dir.path()).unwrap();
        let forward = reader.read_all(Position::START).skip_damaged().count();
        let backward = reader.read_all(Position::END).backward().skip_damaged().count();
        let query = QueryItem::new().stream("a");
        let queried = reader.read(query, Position::START).unwrap().recorded_between(0, i64::MAX).skip_damaged().count();
        (forward, backward, queried, reader.get(pos(77)).is_err(), reader.position_at(0).is_err())
    });
    assert_eq!(told, (1, 1, 1, true, true));
}

/// How many descriptors of this process lead into `dir`.
#[cfg(target_os = "linux")]
fn open_files(dir: &Path) -> usize {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).filter(|to| to.starts_with(dir)).count()
}

/// How many bytes of address space show files in `dir`.
#[cfg(target_os = "linux")]
fn mapped_bytes(dir: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let of_dir = maps.lines().filter(|line| line.contains(dir.to_str().unwrap()));
    let number = |digits| u64::from_str_radix(digits, 16).unwrap();
    of_dir
        .map(|line| {
            let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            number(to) - number(from)
        })
        .sum()
}

#[cfg(target_os = "linux")]
#[test]
fn segments_that_are_sealed_take_no_descriptors_and_no_more_addresses_than_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    let follower = EventStore::open_read_only(dir.path()).unwrap();
    for _ in 0..40 {
        store.append("a", Any, large()).unwrap();
    }
    assert!(store.stats().segments.len() >= 10);
    assert_eq!(follower.head(), pos(40));
    // The directory, LOCK, store.meta, WATERMARK and the active segment of one, the active segment of the other.
    assert!(open_files(dir.path()) <= 6, "{} descriptors", open_files(dir.path()));
    drop(store);
    let mapped = mapped_bytes(dir.path());
    assert!(mapped < 33 << 30, "a follower maps {mapped} bytes");
    let again = EventStore::open(dir.path(), &quiet()).unwrap();
    assert_eq!(again.read_all(Position::START).count(), 40);
    assert!(open_files(dir.path()) <= 6, "{} descriptors", open_files(dir.path()));
}

#[test]
fn the_successor_is_prepared_for_a_store_of_small_segments_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(1 << 20);
    let store = EventStore::open(dir.path(), &options).unwrap();
    for _ in 0..45 {
        store.append("a", Any, large()).unwrap();
        // What is zeroed is soon where it was wanted, so that nothing else wakes the thread.
        std::thread::sleep(Duration::from_millis(4));
    }
    let is_prepared = || segments(dir.path()).iter().any(|path| path.to_str().unwrap().ends_with(".ahead.tmp"));
    wait_until("the next segment is prepared", is_prepared);
}
