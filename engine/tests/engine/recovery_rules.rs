//! The recovery rules of the format, R1 to R16, R19 and R20: at least one test for each.

use std::io;
use std::sync::Arc;

use annals::Durability::Buffered;
use annals::storage::sim::{Fault, PowerLoss, ReadFault, SimDisk};
use annals::storage::{Access, File, LockError, LockGuard, Mapping, Provenance, Storage};
use annals::{
    AppendError, EventStore, ExpectedVersion, NewEvent, OpenError, Position, ReadError, StreamVersion, inspect,
};

use crate::support::model::{Batch, Model};
use crate::support::{builder, commit, open, open_read_only, options, oracle, segment_path, snapshot};

const HEADER: u64 = 4096;

fn batch(number: u64, events: &[(&'static str, usize)]) -> Batch {
    Batch::new(number, events)
}

fn buffered(number: u64, events: &[(&'static str, usize)]) -> Batch {
    Batch { durability: Buffered, ..Batch::new(number, events) }
}

/// A disk with a closed store that holds these batches, and the model of it.
fn store_with(batches: &[Batch]) -> (SimDisk, Model) {
    let disk = SimDisk::new(5);
    let store = open(&disk).unwrap();
    let mut model = Model::default();
    for batch in batches {
        commit(&store, batch).unwrap();
        model.acknowledged(batch).unwrap();
    }
    store.close().unwrap();
    model.flushed().unwrap();
    (disk.after_power_loss(PowerLoss::KeepMost, 5), model)
}

/// Opens and finds exactly the model.
#[track_caller]
fn check_holds(disk: &SimDisk, model: &Model) -> EventStore {
    let store = open(disk).unwrap();
    assert_eq!(oracle::check(&store, model, model.len()), model.len());
    store
}

#[track_caller]
fn refused(disk: &SimDisk) -> String {
    let before = snapshot(disk);
    let error = open(disk).expect_err("the store is refused");
    assert!(matches!(error, OpenError::Corrupt(_) | OpenError::Inconsistent { .. }), "{error:?}");
    assert!(snapshot(disk) == before, "a store that is refused is not changed");
    error.to_string()
}

/// Replaces the bytes of a file from `offset` on.
fn overwrite(disk: &SimDisk, path: &str, offset: u64, bytes: &[u8]) {
    let mut file = disk.read_file(path).unwrap();
    let end = offset as usize + bytes.len();
    file.resize(file.len().max(end), 0);
    file[offset as usize..end].copy_from_slice(bytes);
    disk.write_file(path, &file);
}

fn cut(disk: &SimDisk, path: &str, len: u64) {
    let mut file = disk.read_file(path).unwrap();
    file.truncate(len as usize);
    disk.write_file(path, &file);
}

/// The number of the next operation whose line in the journal has `what` in it, of those `act` would do.
fn operation_of(disk: &SimDisk, what: &str, act: impl FnOnce(&SimDisk)) -> u64 {
    let rehearsal = disk.fork();
    rehearsal.record_journal();
    let start = rehearsal.journal().len();
    act(&rehearsal);
    let journal = rehearsal.journal();
    let line = journal[start..].iter().find(|line| !line.starts_with("read") && line.contains(what));
    let line = line.unwrap_or_else(|| panic!("nothing does {what}: {journal:#?}"));
    line.split(' ').next().unwrap().parse().unwrap()
}

// R1: who may open.

#[test]
fn r01_a_second_writer_is_refused_and_changes_nothing() {
    let (disk, model) = store_with(&[batch(1, &[("a", 10)])]);
    let first = open(&disk).unwrap();
    let before = disk.operations();
    assert!(matches!(open(&disk), Err(OpenError::AlreadyOpen { pid: Some(_) })));
    assert_eq!(disk.operations(), before);
    oracle::check(&first, &model, 1);
}

#[test]
fn r01_a_reader_takes_no_lock_and_changes_nothing_whatever_a_crash_has_left() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.write_file("seg/00000000000000000009.seg.tmp", b"garbage");
    let store = open(&disk.fork()).unwrap();
    drop(store);
    overwrite(&disk, &segment_path(&disk, 0), HEADER + 8_000, b"torn");
    let before = snapshot(&disk);
    let reader = open_read_only(&disk).unwrap();
    assert_eq!(reader.read_all(Position::START).count(), 1);
    assert!(matches!(reader.append("a", ExpectedVersion::Any, NewEvent::new("X", "")), Err(AppendError::ReadOnly)));
    assert!(matches!(reader.flush(), Err(AppendError::ReadOnly)));
    assert_eq!(disk.operations(), 0);
    assert!(snapshot(&disk) == before);
    drop(open(&disk).expect("no lock was taken"));
}

#[test]
fn r01_a_reader_is_shown_what_is_durable_and_nothing_else() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    commit(&store, &batch(1, &[("a", 10)])).unwrap();
    commit(&store, &buffered(2, &[("a", 10)])).unwrap();
    let reader = open_read_only(&disk).unwrap();
    assert_eq!(reader.head(), Position::new(1));
    assert_eq!(reader.read_all(Position::START).count(), 1);
    store.flush().unwrap();
    assert_eq!(reader.read_all(Position::START).count(), 2, "followed");
    assert_eq!(open_read_only(&disk).unwrap().head(), Position::new(2));
}

#[test]
fn r01_a_commit_marker_shows_a_reader_what_is_durable_when_the_watermark_is_lost() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)]), batch(2, &[("a", 10)]), batch(3, &[("a", 10)])]);
    disk.write_file("WATERMARK", &[0; 1024]);
    // The third batch says that the first two were durable; nobody says so of the third.
    assert_eq!(open_read_only(&disk).unwrap().head(), Position::new(2));
}

// R2: the row of files.

#[test]
fn r02_temporaries_are_removed_and_told() {
    let (disk, model) = store_with(&[batch(1, &[("a", 10)])]);
    for path in ["store.meta.tmp", "seg/00000000000000000001.seg.tmp", "quarantine/x.bin.tmp"] {
        disk.write_file(path, b"garbage");
    }
    let store = check_holds(&disk, &model);
    assert_eq!(store.recovery_report().removed_temporaries.len(), 3);
    assert!(!disk.paths().iter().any(|path| path.contains(".tmp")));
}

/// A store of three segments.
fn three_segments() -> (SimDisk, Model) {
    let (disk, model) = store_with(&[
        batch(1, &[("a", 40_000)]),
        batch(2, &[("b", 40_000)]),
        batch(3, &[("a", 30_000)]),
        batch(4, &[("c", 3)]),
    ]);
    assert_eq!(disk.paths().iter().filter(|path| path.starts_with("seg/")).count(), 3);
    (disk, model)
}

#[test]
fn r02_a_missing_segment_is_refused_and_named_wherever_it_was() {
    for number in 0..3 {
        let (disk, _) = three_segments();
        disk.remove_file(&segment_path(&disk, number));
        let message = refused(&disk);
        assert!(message.contains(&format!("segment {number} is missing")), "{message}");
    }
}

#[test]
fn r02_a_segment_that_is_there_twice_is_refused() {
    let (disk, _) = three_segments();
    let bytes = disk.read_file(&segment_path(&disk, 1)).unwrap();
    disk.write_file(&format!("seg/{:020}-{:020}.seg", 1, 7), &bytes);
    assert!(refused(&disk).contains("twice"));
}

#[test]
fn r02_a_segment_under_another_name_is_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    let path = segment_path(&disk, 0);
    let bytes = disk.read_file(&path).unwrap();
    disk.remove_file(&path);
    disk.write_file(&format!("seg/{:020}-{:020}.seg", 0, 5), &bytes);
    assert!(refused(&disk).contains("says of itself"));
}

#[test]
fn r02_a_segment_of_another_log_is_refused() {
    let (disk, _) = three_segments();
    let other = SimDisk::new(99);
    let store = open(&other).unwrap();
    for (number, stream) in [(1, "a"), (2, "b"), (3, "a")] {
        commit(&store, &batch(number, &[(stream, 40_000)])).unwrap();
    }
    drop(store);
    for number in 0..3 {
        let disk = disk.fork();
        let path = segment_path(&disk, number);
        disk.write_file(&path, &other.read_file(&path).unwrap());
        let message = refused(&disk);
        assert!(message.contains("belongs to log"), "{message}");
    }
}

#[test]
fn r02_a_segment_that_does_not_continue_the_one_before_is_refused() {
    // The same store with another history behind the first batch: headers alone look right.
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    let histories = [2, 3].map(|number| {
        let disk = disk.fork();
        let store = open(&disk).unwrap();
        commit(&store, &batch(number, &[("b", 50_000)])).unwrap();
        commit(&store, &batch(4, &[("a", 50_000)])).unwrap();
        drop(store);
        disk
    });
    let path = segment_path(&histories[0], 1);
    histories[0].write_file(&path, &histories[1].read_file(&path).unwrap());
    let message = refused(&histories[0]);
    assert!(message.contains("does not continue"), "{message}");
}

#[test]
fn r02_a_sealed_segment_that_was_not_trimmed_is_trimmed_again() {
    let (disk, model) = three_segments();
    let path = segment_path(&disk, 0);
    let whole = disk.read_file(&path).unwrap();
    overwrite(&disk, &path, whole.len() as u64, &[0; 10_000]);
    drop(check_holds(&disk, &model));
    assert!(disk.read_file_on_disk(&path).unwrap() == whole, "durably");

    overwrite(&disk, &path, whole.len() as u64, b"not zeros");
    refused(&disk);
}

#[test]
fn r02_segments_without_store_meta_are_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.remove_file("store.meta");
    assert!(refused(&disk).contains("store.meta is missing"));
}

#[test]
fn r02_store_meta_without_segments_is_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.remove_file(&segment_path(&disk, 0));
    assert!(refused(&disk).contains("segment 0 is missing"));
}

#[test]
fn r02_a_watermark_without_a_log_is_refused() {
    let (disk, _) = store_with(&[batch(1, &[("a", 10)])]);
    disk.remove_file(&segment_path(&disk, 0));
    disk.remove_file("store.meta");
    assert!(refused(&disk).contains("WATERMARK says that position 1 was durable"));
}

#[test]
fn r02_one_empty_segment_alone_is_a_store_in_the_making() {
    let disk = SimDisk::new(1);
    drop(open(&disk).unwrap());
    disk.remove_file("store.meta");
    let store = open(&disk).unwrap();
    assert!(store.recovery_report().finished_creation);
    commit(&store, &batch(1, &[("a", 1)])).unwrap();
}

// R3: sealed segments.

#[test]
fn r03_a_bad_byte_in_a_segment_with_a_successor_is_damage_even_when_nothing_else_says_so() {
    let (disk, _) = three_segments();
    disk.write_file("WATERMARK", &[0; 1024]);
    let path = segment_path(&disk, 0);
    // At its end it refuses the store; in an event it is told to who reads that, and nothing is cut off.
    let end = disk.fork();
    end.flip(&path, (disk.file_len(&path).unwrap() - 3) * 8);
    let message = refused(&end);
    assert!(message.contains("segment 0 is damaged") && message.contains("synced before"), "{message}");
    for offset in [HEADER + 30, HEADER + 40_000] {
        let disk = disk.fork();
        disk.flip(&path, offset * 8);
        let store = open(&disk).unwrap();
        let read: Vec<_> = store.read_all(Position::START).skip_damaged().collect();
        let damaged = |error: &ReadError| matches!(error, ReadError::Corrupt(damage) if damage.segment.get() == 0);
        assert!(read[0].as_ref().is_err_and(damaged) && read[1..].iter().all(Result::is_ok), "{read:?}");
        assert_eq!(read.len() as u64, store.head().get(), "every other event is there");
    }
}

// R4: the seal of the last segment.

/// A log whose first segment was sealed, and whose second one is not there. Nothing else says
/// that the seal is durable.
fn sealed_without_successor() -> (SimDisk, Model) {
    let disk = SimDisk::new(3);
    let store = open(&disk).unwrap();
    let mut model = Model::default();
    commit(&store, &batch(1, &[("a", 40_000), ("b", 10)])).unwrap();
    model.acknowledged(&batch(1, &[("a", 40_000), ("b", 10)])).unwrap();
    drop(store);
    let disk = disk.after_kill();
    let rename = operation_of(&disk, "rename", |disk| {
        let store = open(disk).unwrap();
        commit(&store, &batch(2, &[("a", 40_000)])).unwrap();
    });
    disk.stop_at(rename);
    let store = open(&disk).unwrap();
    commit(&store, &batch(2, &[("a", 40_000)])).unwrap_err();
    drop(store);
    (disk.after_power_loss(PowerLoss::KeepLeast, 0), model)
}

#[test]
fn r04_a_sealed_last_segment_gets_its_successor() {
    let (disk, model) = sealed_without_successor();
    let store = check_holds(&disk, &model);
    assert!(store.recovery_report().finished_roll);
    assert!(store.recovery_report().torn.is_none());
    let segments = store.stats().segments;
    assert_eq!(segments.iter().map(|segment| segment.sealed).collect::<Vec<_>>(), [true, false]);
    commit(&store, &batch(3, &[("a", 1)])).unwrap();
}

#[test]
fn r04_a_seal_that_is_not_whole_is_part_of_the_tail_wherever_it_was_cut() {
    let (disk, model) = sealed_without_successor();
    let path = segment_path(&disk, 0);
    let bytes = disk.read_file(&path).unwrap();
    let whole = bytes.len() as u64;
    // The watermark of the batch vouches for the batch and for nothing behind it.
    let seal = whole - (64 + 8 + 40);
    for len in seal..whole {
        let disk = disk.fork();
        cut(&disk, &path, len);
        let store = check_holds(&disk, &model);
        assert!(!store.recovery_report().finished_roll, "{len}");
        commit(&store, &batch(3, &[("a", 1)])).expect("the segment goes on");
        drop(store);
        assert!(disk.paths().iter().filter(|path| path.starts_with("seg/")).count() == 1);
    }
}

#[test]
fn r04_a_seal_does_not_vouch_for_the_batches_before_it() {
    // All of it was written and none synced: a bad frame before a whole seal is a torn tail.
    let (disk, _) = sealed_without_successor();
    disk.write_file("WATERMARK", &[0; 1024]);
    disk.flip(&segment_path(&disk, 0), (HEADER + 100) * 8);
    let store = open(&disk).unwrap();
    assert_eq!(store.head(), Position::START);
    assert!(store.recovery_report().torn.is_some());
}

#[test]
fn r04_a_last_segment_with_only_a_header_is_used() {
    let (disk, model) = sealed_without_successor();
    drop(check_holds(&disk, &model));
    let store = check_holds(&disk, &model);
    assert!(store.recovery_report().is_clean());
    assert_eq!(store.stats().segments.len(), 2);
}

// R5: the disk, not the cache.

/// A process whose sync failed was killed; the page cache may hold what the disk lost.
#[test]
fn r05_what_a_failed_sync_has_lost_is_not_shown_and_what_is_shown_is_on_the_disk() {
    let (mut kept, mut lost) = (0, 0);
    // So many, because it takes a disk that keeps the bytes and loses the length of the file.
    for seed in 0..10_000 {
        let disk = SimDisk::new(seed);
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        for number in 1..=seed % 3 {
            commit(&store, &batch(number, &[("a", 300)])).unwrap();
            model.acknowledged(&batch(number, &[("a", 300)])).unwrap();
        }
        let next = batch(9, &[("a", 500), ("b", 700)]);
        // The first append begins the epoch and reserves space before it writes.
        let before = if seed % 3 == 0 { 4 } else { 1 };
        disk.fail_at(disk.operations() + before, Fault::Eio);
        let failed = commit(&store, &next);
        assert!(matches!(failed, Err(AppendError::CommitUnknown { .. })), "seed {seed}: {failed:?}");
        model.doubtful(&next);
        model.sync_failed = true;
        let disk = disk.after_kill();
        let store = open(&disk).unwrap();
        let shown = oracle::check(&store, &model, (seed % 3) as usize);
        if shown == model.len() {
            kept += 1;
        } else {
            lost += 1;
        }
        let disk = disk.after_power_loss(PowerLoss::KeepLeast, seed);
        let store = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert_eq!(oracle::check(&store, &model, shown), shown, "seed {seed}: shown, and gone with the power");
    }
    assert!(kept > 20 && lost > 20, "both happen: {kept} kept, {lost} lost");
}

/// A disk whose cache cannot be bypassed: every read says so.
#[derive(Debug)]
struct CacheOnly(SimDisk);

#[derive(Debug)]
struct CacheOnlyFile(Arc<dyn File>);

impl Storage for CacheOnly {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        self.0.lock()
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.0.create_dir(dir)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CacheOnlyFile(self.0.create(path)?)))
    }
    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CacheOnlyFile(self.0.open(path, access)?)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn describe(&self, path: &str) -> String {
        self.0.describe(path)
    }
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.fill_random(bytes)
    }
}

impl File for CacheOnlyFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.0.start_writeback(offset, len);
    }
    fn read_from_disk(&self, offset: u64, buf: &mut [u8]) -> io::Result<(usize, Provenance)> {
        Ok((self.0.read_at(offset, buf)?, Provenance::Cache))
    }
    fn map(&self, len: u64) -> io::Result<Option<Mapping>> {
        self.0.map(len)
    }
}

/// Lets the sync of the `nth` segment sync of `act` fail, kills the process, opens the store
/// where the cache cannot be bypassed, loses the power, and finds what was shown.
fn check_written_back(seed: u64, act: impl Fn(&EventStore) -> Result<(), AppendError>, nth: usize) {
    let disk = SimDisk::new(seed);
    let store = open(&disk).unwrap();
    commit(&store, &batch(1, &[("a", 20_000), ("b", 100)])).unwrap();
    drop(store);
    let syncs = operations_of(&disk, "sync seg/0", |disk| act(&open(disk).unwrap()).unwrap());
    disk.fail_at(syncs[nth], Fault::Eio);
    let store = open(&disk).unwrap();
    act(&store).unwrap_err();
    drop(store);
    let disk = disk.after_kill();
    let store = EventStore::open_on(Arc::new(CacheOnly(disk.clone())), &options()).unwrap();
    let shown = store.head();
    let disk = disk.after_power_loss(PowerLoss::KeepLeast, seed);
    let store = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    assert_eq!(store.head(), shown, "seed {seed}");
    oracle::read_everything(&store);
}

/// The numbers of the operations that `act` would do and whose line in the journal begins with `what`.
fn operations_of(disk: &SimDisk, what: &str, act: impl FnOnce(&SimDisk)) -> Vec<u64> {
    let rehearsal = disk.fork();
    rehearsal.record_journal();
    act(&rehearsal);
    let lines = rehearsal.journal();
    let split = |line: &String| {
        let (number, rest) = line.split_once(' ')?;
        rest.starts_with(what).then(|| number.parse().ok())?
    };
    lines.iter().filter_map(split).collect()
}

#[test]
fn r05_where_the_cache_cannot_be_bypassed_what_is_shown_is_written_again() {
    for seed in 0..100 {
        let act = |store: &EventStore| commit(store, &batch(2, &[("a", 9_000)])).map(drop);
        // Opening syncs the segment too.
        check_written_back(seed, act, 1);
    }
}

#[test]
fn r05_a_seal_from_the_cache_is_written_again_with_the_batches_before_it() {
    for seed in 0..100 {
        let act = |store: &EventStore| commit(store, &batch(2, &[("a", 50_000)])).map(drop);
        check_written_back(seed, act, 1);
    }
}

// R6: nothing is believed too early.

#[test]
fn r06_events_without_their_commit_marker_do_not_exist() {
    let (disk, mut model) = store_with(&[batch(1, &[("a", 10)])]);
    let end = open(&disk).unwrap().stats().bytes;
    let store = open(&disk).unwrap();
    commit(&store, &batch(2, &[("a", 10), ("b", 100), ("a", 3)])).unwrap();
    let written = store.stats().bytes;
    drop(store);
    // Nobody vouches for the second batch any more.
    disk.write_file("WATERMARK", &[0; 1024]);
    let path = segment_path(&disk, 0);
    for len in (end..written).rev().step_by(7) {
        let disk = disk.fork();
        cut(&disk, &path, len);
        let store = check_holds(&disk, &model);
        assert_eq!(store.recovery_report().torn.is_some(), len != end, "{len}");
    }
    model.acknowledged(&batch(2, &[("a", 10), ("b", 100), ("a", 3)])).unwrap();
    check_holds(&disk, &model);
}

#[test]
fn r06_a_length_that_lies_is_a_torn_tail_and_nothing_is_allocated_for_it() {
    let (disk, model) = store_with(&[batch(1, &[("a", 10)])]);
    let end = open(&disk).unwrap().stats().bytes;
    for len in [1_u32, 19, 20, 1 << 20, u32::MAX - 8, u32::MAX] {
        let disk = disk.fork();
        let mut frame = vec![7; 64];
        frame[4..8].copy_from_slice(&len.to_le_bytes());
        frame[8] = 1;
        overwrite(&disk, &segment_path(&disk, 0), end, &frame);
        let store = check_holds(&disk, &model);
        assert_eq!(store.recovery_report().torn.as_ref().map(|torn| torn.bytes), Some(64), "{len}");
    }
}

// R7: an I/O error says nothing about the data.

#[test]
fn r07_an_io_error_of_any_read_refuses_and_cuts_nothing() {
    let (disk, model) = three_segments();
    overwrite(&disk, &segment_path(&disk, 2), disk.file_len(&segment_path(&disk, 2)).unwrap(), b"torn");
    let start = disk.reads();
    let rehearsal = disk.fork();
    drop(open(&rehearsal).unwrap());
    for read in start..rehearsal.reads() {
        let disk = disk.fork();
        disk.fail_read_at(read, ReadFault::Eio);
        let before = snapshot(&disk);
        match open(&disk) {
            Err(OpenError::Io { .. }) => assert_eq!(snapshot(&disk)[0], before[0]),
            // A copy of the tail that is kept already need not be readable.
            Ok(store) => drop(store),
            Err(error) => panic!("read {read}: {error:?}"),
        }
        disk.clear_faults();
        check_holds(&disk, &model);
    }
}

#[test]
fn r07_a_sector_that_cannot_be_read_is_not_the_end_of_the_log() {
    let (disk, _) = store_with(&[batch(1, &[("a", 3_000)]), batch(2, &[("a", 3_000)])]);
    let path = segment_path(&disk, 0);
    disk.spoil(&path, HEADER + 512);
    let before = snapshot(&disk);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(snapshot(&disk) == before);
}

// R8: damage, with its evidence.

fn four_batches() -> (SimDisk, Model) {
    store_with(&[
        batch(1, &[("a", 100)]),
        batch(2, &[("b", 100), ("a", 100)]),
        batch(3, &[("a", 100)]),
        batch(4, &[("c", 100)]),
    ])
}

/// Where the event at `position` stands.
fn offset_of(disk: &SimDisk, segment: u64, number: u64, index: u64) -> u64 {
    let text = format!("batch {number} event {index} ");
    let file = disk.read_file(&segment_path(disk, segment)).unwrap();
    file.windows(text.len()).position(|window| window == text.as_bytes()).expect("the payload is there") as u64
}

#[test]
fn r08_a_later_commit_marker_is_evidence_that_a_bad_frame_was_durable() {
    let (disk, _) = four_batches();
    disk.write_file("WATERMARK", &[0; 1024]);
    disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, 2, 1) * 8);
    let message = refused(&disk);
    assert!(message.contains("position") && message.contains('3'), "{message}");
    assert!(message.contains("a later commit marker says"), "{message}");
}

#[test]
fn r08_the_watermark_is_evidence_that_the_last_batch_was_durable() {
    let (disk, _) = four_batches();
    disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, 4, 0) * 8);
    let message = refused(&disk);
    assert!(message.contains("from position 5 on"), "{message}");
    assert!(message.contains("WATERMARK says"), "{message}");
}

/// What a reader meets: positions, and the ranges of the errors.
fn read_over_damage(store: &EventStore) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    for event in store.read_all(Position::START).skip_damaged() {
        match event {
            Ok(event) => events.push(event.position().get()),
            Err(ReadError::Corrupt(damage)) => errors.push((damage.from.get(), damage.to.unwrap().get())),
            Err(error) => panic!("{error:?}"),
        }
    }
    (events, errors)
}

#[test]
fn r08_a_reader_resumes_behind_the_gap_and_is_told_of_it_once() {
    for (number, index, gap, rest) in
        [(1, 0, (1, 1), vec![2, 3, 4, 5]), (2, 1, (2, 3), vec![1, 4, 5]), (4, 0, (5, 5), vec![1, 2, 3, 4])]
    {
        let (disk, _) = four_batches();
        disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, number, index) * 8);
        let reader = open_read_only(&disk).unwrap();
        assert_eq!(reader.recovery_report().gaps.len(), 1, "batch {number}");
        for _ in 0..2 {
            assert_eq!(read_over_damage(&reader), (rest.clone(), vec![gap]), "batch {number}");
        }
        assert_eq!(reader.head(), Position::new(5), "batch {number}: what is lost is counted");
        assert_eq!(reader.refresh().unwrap(), Position::new(5));

        // Who does not ask to go on gets everything before the gap, the error, and the end.
        let until: Vec<_> =
            reader.read_all(Position::START).map(|event| event.map(|event| event.position().get())).collect();
        let before = gap.0 as usize - 1;
        assert!(until[..before].iter().all(Result::is_ok) && until.len() == before + 1, "batch {number}: {until:?}");
        assert!(matches!(until[before], Err(ReadError::Corrupt(_))));

        let mut backward: Vec<u64> = Vec::new();
        let mut errors = 0;
        for event in reader.read_all(Position::END).backward().skip_damaged() {
            match event {
                Ok(event) => backward.push(event.position().get()),
                Err(_) => errors += 1,
            }
        }
        backward.reverse();
        assert_eq!((backward, errors), (rest.clone(), 1), "batch {number}, backward");
        let stream: Vec<_> = reader.read_stream("a", StreamVersion::EMPTY).unwrap().skip_damaged().collect();
        assert_eq!(
            stream.iter().filter(|event| event.is_err()).count(),
            1,
            "batch {number}: it may have held any stream"
        );
    }
}

#[test]
fn r08_a_reader_follows_the_log_on_behind_a_gap() {
    let disk = SimDisk::new(8);
    let store = open(&disk).unwrap();
    for number in 1..=3 {
        commit(&store, &batch(number, &[("a", 100)])).unwrap();
    }
    for number in [1, 2, 3] {
        let at = offset_of(&disk, 0, number, 0) * 8;
        disk.flip(&segment_path(&disk, 0), at);
        let reader = open_read_only(&disk).unwrap();
        commit(&store, &batch(10 + number, &[("b", 100)])).unwrap();
        let head = reader.refresh().unwrap();
        assert_eq!(head.get(), 3 + number);
        let (events, errors) = read_over_damage(&reader);
        assert_eq!(errors, [(number, number)]);
        assert_eq!(events.len() as u64, head.get() - 1);
        disk.flip(&segment_path(&disk, 0), at);
    }
}

// R9: a torn tail.

#[test]
fn r09_what_nobody_vouches_for_is_a_torn_tail_and_the_log_ends_before_it() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    for garbage in [&[1_u8; 1][..], &[0xFF; 700], b"\0\0\0\0\0\0\0\0x"] {
        let disk = disk.fork();
        overwrite(&disk, &segment_path(&disk, 0), end, garbage);
        let store = check_holds(&disk, &model);
        let torn = store.recovery_report().torn.clone().expect("it was cut");
        assert_eq!((torn.offset, torn.bytes), (end, garbage.len() as u64));
        drop(store);
        assert!(check_holds(&disk, &model).recovery_report().is_clean());
    }
}

#[test]
fn r09_zeros_behind_the_last_batch_are_no_tail() {
    let (disk, model) = four_batches();
    let path = segment_path(&disk, 0);
    overwrite(&disk, &path, disk.file_len(&path).unwrap(), &[0; 10_000]);
    assert!(check_holds(&disk, &model).recovery_report().is_clean());
}

// R10: what is cut is kept.

#[test]
fn r10_what_is_cut_is_kept_up_to_its_last_byte_that_is_not_zero() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    let mut garbage: Vec<u8> = (0..1_500_u32).map(|byte| byte as u8 | 1).collect();
    overwrite(&disk, &segment_path(&disk, 0), end, &[&garbage[..], &[0; 3_000]].concat());
    let store = check_holds(&disk, &model);
    let torn = store.recovery_report().torn.clone().unwrap();
    let kept = disk.paths().into_iter().find(|path| path.starts_with("quarantine/")).expect("a copy");
    assert_eq!(disk.read_file_on_disk(&kept), Some(std::mem::take(&mut garbage)), "durably");
    assert!(torn.quarantine.unwrap().ends_with(&kept));
    let disk = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    assert!(disk.read_file(&kept).is_some(), "its name too");
}

#[test]
fn r10_without_space_the_length_and_the_checksum_are_reported_instead() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    overwrite(&disk, &segment_path(&disk, 0), end, b"123456789");
    disk.set_capacity(Some(disk.used()));
    let store = check_holds(&disk, &model);
    let torn = store.recovery_report().torn.clone().unwrap();
    assert_eq!((torn.bytes, torn.checksum, torn.quarantine), (9, 0xCBF4_3926, None));
    drop(store);
    let garbage = disk.paths().iter().any(|path| path.contains("quarantine/"));
    assert!(!garbage, "no half of a copy stays: {:?}", disk.paths());
}

// R11: cut and sync, then a new epoch, then append.

#[test]
fn r11_a_tail_is_cut_durably_before_the_store_is_open() {
    let (disk, _) = four_batches();
    let path = segment_path(&disk, 0);
    let end = open(&disk).unwrap().stats().bytes;
    overwrite(&disk, &path, end, &[9; 5_000]);
    let store = open(&disk).unwrap();
    assert_eq!(disk.read_file_on_disk(&path).unwrap().len() as u64, end);
    disk.record_journal();
    let epoch = store.stats().epoch;
    commit(&store, &batch(5, &[("a", 10)])).unwrap();
    assert_eq!(store.stats().epoch.get(), epoch.get() + 1);
    let writes: Vec<String> = disk
        .journal()
        .iter()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, line)| line.starts_with("write_at") || line.starts_with("sync"))
        .map(|(_, line)| line.split(['/', '+']).next().unwrap().to_owned())
        .collect();
    // The slot that was read is written again before the other one changes.
    for slot in writes[..4].chunks(2) {
        assert!(slot[0].starts_with("write_at store.meta") && slot[1] == "sync store.meta", "{writes:?}");
    }
    assert_ne!(writes[0], writes[2], "each slot once");
    assert_eq!(writes[4], "write_at seg");
}

// R12: a log shorter than the watermark.

#[test]
fn r12_a_log_that_ends_before_its_watermark_is_damage_wherever_it_was_cut() {
    let (disk, _) = four_batches();
    let path = segment_path(&disk, 0);
    let end = open(&disk).unwrap().stats().bytes;
    for len in (HEADER..end).step_by(8) {
        let disk = disk.fork();
        cut(&disk, &path, len);
        let message = refused(&disk);
        assert!(message.contains("WATERMARK says"), "{len}: {message}");
    }
    cut(&disk, &path, HEADER);
    let message = refused(&disk);
    assert!(message.contains("copied while") && message.contains("annals backup"), "{message}");
    assert!(!inspect::verify_on(&disk, |_, _| ()).unwrap().is_clean());
}

// R13: what is shown is durable.

#[test]
fn r13_what_a_killed_process_wrote_and_an_open_has_shown_survives_a_power_loss_right_after() {
    for number in 1..4 {
        let disk = SimDisk::new(number);
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        for number in 1..=number {
            commit(&store, &buffered(number, &[("a", 30_000)])).unwrap();
            model.acknowledged(&buffered(number, &[("a", 30_000)])).unwrap();
        }
        let disk = disk.after_kill();
        let store = check_holds(&disk, &model);
        assert_eq!(store.durable_head(), store.head());
        check_holds(&disk.after_power_loss(PowerLoss::KeepLeast, 0), &model);
    }
}

#[test]
fn r13_a_name_whose_sync_failed_is_given_anew_before_anything_is_written_under_it() {
    let (disk, model) = store_with(&[batch(1, &[("a", 40_000)])]);
    let roll = |store: &EventStore| commit(store, &batch(2, &[("a", 40_000)])).map(drop);
    // Opening syncs the directory once, the roll once more.
    let syncs = operations_of(&disk, "sync_dir seg", |disk| roll(&open(disk).unwrap()).unwrap());
    disk.fail_at(syncs[1], Fault::Eio);
    let store = open(&disk).unwrap();
    assert!(matches!(roll(&store), Err(AppendError::Poisoned { .. })));
    drop(store);
    let disk = disk.after_kill();
    let store = check_holds(&disk, &model);
    roll(&store).unwrap();
    let disk = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    let mut model = model;
    model.acknowledged(&batch(2, &[("a", 40_000)])).unwrap();
    check_holds(&disk, &model);
}

// R14: a failed sync ends writing.

/// Every sync, cut and directory sync of an append over a roll, failing with `fault`, ends writing.
fn check_failed_syncs_poison(fault: Fault) {
    let act = |store: &EventStore| {
        let first = builder(store, &batch(2, &[("a", 30_000)])).submit().unwrap();
        let second = builder(store, &buffered(3, &[("b", 30_000)])).submit().unwrap();
        (first.wait(), second.wait())
    };
    let (disk, _) = store_with(&[batch(1, &[("a", 20_000)])]);
    let rehearsal = disk.fork();
    let store = open(&rehearsal).unwrap();
    let opened = rehearsal.operations();
    rehearsal.record_journal();
    let (first, second) = act(&store);
    first.unwrap();
    second.unwrap();
    let done = rehearsal.operations();
    let mut tried = Vec::new();
    for line in rehearsal.journal() {
        let (number, what) = line.split_once(' ').unwrap();
        // A new file that has no name yet is thrown away with its error, if that was for want of space.
        let is_thrown_away = what.contains(".tmp") && fault != Fault::Eio;
        if !(what.starts_with("sync") || what.starts_with("set_len")) || is_thrown_away {
            continue;
        }
        tried.push(what.split('/').next().unwrap().to_owned());
        let number: u64 = number.parse().unwrap();
        assert!((opened..done).contains(&number));
        let disk = disk.fork();
        let store = open(&disk).unwrap();
        disk.fail_at(number, fault);
        let head = store.head();
        let answers = act(&store);
        let in_doubt = matches!(answers.0, Err(AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }));
        let rolled = answers.0.is_ok()
            && matches!(answers.1, Err(AppendError::Poisoned { .. } | AppendError::CommitUnknown { .. }));
        assert!(in_doubt || rolled, "{what}: {answers:?}");
        if rolled {
            assert!(what.contains("seg") || what.contains("store.meta"), "{what}");
        } else {
            assert_eq!(store.head(), head, "{what}: nothing in doubt is shown");
        }
        // No retry, by anybody.
        let after = disk.operations();
        disk.clear_faults();
        assert!(matches!(commit(&store, &batch(4, &[("a", 1)])), Err(AppendError::Poisoned { .. })), "{what}");
        assert!(matches!(store.flush(), Err(AppendError::Poisoned { .. })), "{what}");
        oracle::read_everything(&store);
        drop(store);
        assert_eq!(disk.operations(), after, "{what}: nothing touches the disk after poison");
        open(&disk.after_kill()).expect("reopening recovers");
    }
    for what in ["sync store.meta", "sync seg", "set_len seg", "sync_dir seg"] {
        assert!(tried.iter().any(|tried| tried.starts_with(what)), "{what} is not among {tried:?}");
    }
}

#[test]
fn r14_an_io_error_of_any_sync_or_cut_poisons_until_reopened() {
    check_failed_syncs_poison(Fault::Eio);
}

#[test]
fn r14_a_full_disk_met_by_a_sync_or_a_cut_poisons_too() {
    check_failed_syncs_poison(Fault::StorageFull);
}

#[test]
fn r14_everybody_who_waited_for_a_failed_sync_is_told_that_it_is_unknown() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    commit(&store, &batch(1, &[("a", 10)])).unwrap();
    let waiters: Vec<_> =
        (2..6).map(|number| builder(&store, &buffered(number, &[("a", 10)])).submit().unwrap()).collect();
    let last = builder(&store, &batch(6, &[("a", 10)])).submit().unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Eio);
    for waiter in waiters.into_iter().chain([last]) {
        let answer = waiter.wait();
        assert!(matches!(answer, Err(AppendError::CommitUnknown { .. })), "{answer:?}");
    }
    assert_eq!(store.head(), Position::new(1));
    assert_eq!(store.stream_version("a").unwrap(), StreamVersion::new(1));
}

// R15: full disks.

#[test]
fn r15_a_write_that_fills_the_disk_is_rewound_and_leaves_nothing() {
    for fault in [Fault::StorageFull, Fault::ShortThenFull] {
        let disk = SimDisk::new(1);
        let store = open(&disk).unwrap();
        let mut model = Model::default();
        commit(&store, &buffered(1, &[("a", 10)])).unwrap();
        model.acknowledged(&buffered(1, &[("a", 10)])).unwrap();
        disk.fail_at(disk.operations(), fault);
        assert!(matches!(commit(&store, &batch(2, &[("a", 5_000)])), Err(AppendError::StorageFull)));
        assert_eq!(oracle::check(&store, &model, 1), 1);
        let end = store.stats().bytes;
        let path = segment_path(&disk, 0);
        assert_eq!(disk.read_file_on_disk(&path).unwrap().len() as u64, end, "the cut is durable");
        assert_eq!(store.flush().unwrap(), Position::new(1));
        assert_eq!(store.durable_head(), Position::new(1));
        assert_eq!(open_read_only(&disk).unwrap().head(), Position::new(1), "and told to readers");
        commit(&store, &batch(3, &[("a", 600)])).unwrap();
        model.acknowledged(&batch(3, &[("a", 600)])).unwrap();
        check_holds(&disk.after_power_loss(PowerLoss::KeepLeast, 0), &model);
    }
}

#[test]
fn r15_a_full_disk_never_keeps_a_store_from_opening() {
    // After each page that an append over a roll may still get.
    for pages in 0..40 {
        let (disk, model) = store_with(&[batch(1, &[("a", 40_000)])]);
        disk.set_capacity(Some(disk.used() + pages * 4096));
        let store = open(&disk).unwrap();
        let next = batch(2, &[("a", 40_000)]);
        let done = commit(&store, &next);
        assert!(matches!(done, Ok(_) | Err(AppendError::StorageFull)), "{pages} pages: {done:?}");
        let mut model = model;
        if done.is_ok() {
            model.acknowledged(&next).unwrap();
        }
        assert_eq!(oracle::check(&store, &model, model.len()), model.len());
        drop(store);
        // No page is left for anything.
        let disk = disk.after_power_loss(PowerLoss::KeepLeast, 0);
        disk.set_capacity(Some(0));
        let store = check_holds(&disk, &model);
        disk.set_capacity(None);
        commit(&store, &batch(3, &[("b", 50_000)])).expect("there is space again");
        model.acknowledged(&batch(3, &[("b", 50_000)])).unwrap();
        drop(store);
        check_holds(&disk, &model);
    }
}

#[test]
fn r15_a_sealed_log_opens_on_a_full_disk_and_goes_on_when_there_is_space() {
    let (disk, model) = sealed_without_successor();
    disk.set_capacity(Some(0));
    let store = check_holds(&disk, &model);
    assert!(!store.recovery_report().finished_roll);
    assert!(matches!(commit(&store, &batch(2, &[("a", 1)])), Err(AppendError::StorageFull)));
    oracle::check(&store, &model, 1);
    disk.set_capacity(None);
    commit(&store, &batch(3, &[("a", 1)])).unwrap();
    assert_eq!(store.stats().segments.len(), 2);
    drop(store);
    assert_eq!(open(&disk).unwrap().head(), Position::new(3));
}

#[test]
fn r15_a_torn_tail_on_a_full_disk_is_cut_all_the_same() {
    let (disk, model) = four_batches();
    let end = open(&disk).unwrap().stats().bytes;
    overwrite(&disk, &segment_path(&disk, 0), end, &[5; 9_000]);
    disk.set_capacity(Some(0));
    drop(check_holds(&disk, &model));
}

// R16: recovery is repeatable.

#[test]
fn r16_a_recovery_killed_at_any_operation_comes_to_the_same_when_it_is_run_again() {
    let (sealed, model) = sealed_without_successor();
    let (torn, torn_model) = four_batches();
    let end = open(&torn).unwrap().stats().bytes;
    overwrite(&torn, &segment_path(&torn, 0), end, &[5; 9_000]);
    for (disk, model) in [(sealed, model), (torn, torn_model)] {
        let whole = disk.fork();
        let store = open(&whole).unwrap();
        // Makes the indexes that are missing, which is a part of it.
        store.stream_count().unwrap();
        let operations = whole.operations();
        drop(store);
        let store = check_holds(&whole, &model);
        let files = |disk: &SimDisk| -> Vec<(String, usize)> {
            snapshot(disk).into_iter().map(|(path, bytes)| (path, bytes.len())).collect()
        };
        let expected = files(&whole);
        drop(store);
        for stop in 0..operations {
            for seed in 0..8 {
                let disk = disk.fork();
                disk.stop_at(stop);
                // An error of the watermark is no error of the store.
                let opened = open(&disk).map(|store| store.stream_count());
                assert!(opened.is_err() || disk.is_stopped());
                let left = match seed {
                    0 => disk.after_kill(),
                    1 => disk.after_power_loss(PowerLoss::KeepLeast, 0),
                    _ => disk.after_power_loss(PowerLoss::Random, seed),
                };
                let store = check_holds(&left, &model);
                assert_eq!(files(&left), expected, "stopped at {stop}, seed {seed}");
                commit(&store, &batch(77, &[("a", 1)])).unwrap();
            }
        }
    }
}

// R19: reads verify and never skip.

#[test]
fn r19_an_event_that_goes_bad_after_open_is_an_error_and_is_not_skipped() {
    let (disk, _) = four_batches();
    let store = open(&disk).unwrap();
    disk.flip(&segment_path(&disk, 0), offset_of(&disk, 0, 2, 1) * 8);
    assert_eq!(read_over_damage(&store), (vec![1, 2, 4, 5], vec![(3, 3)]));
    assert!(matches!(store.get(Position::new(3)), Err(ReadError::Corrupt(_))));
    assert!(store.get(Position::new(2)).unwrap().is_some());
    let a: Vec<_> = store.read_stream("a", StreamVersion::EMPTY).unwrap().skip_damaged().collect();
    let shape: Vec<_> = a.iter().map(|event| event.as_ref().map_or(0, |event| event.version().get())).collect();
    assert_eq!(shape, [1, 0, 3]);
}

#[test]
fn r19_a_mapped_event_is_verified_at_its_first_touch() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &options()).unwrap();
    for number in 1..=4 {
        commit(&store, &batch(number, &[("a", 100)])).unwrap();
    }
    let path = dir.path().join("seg/00000000000000000000-00000000000000000000.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == b"batch 3 ").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_over_damage(&store), (vec![1, 2, 4], vec![(3, 3)]));
}

// R20: the report.

#[test]
fn r20_the_report_says_what_was_found_and_done() {
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap();
    assert!(store.recovery_report().created);
    commit(&store, &batch(1, &[("a", 10), ("a", 10)])).unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    let report = store.recovery_report();
    assert!(report.is_clean() && !report.created);
    assert_eq!((report.head, report.epoch.get()), (Position::new(2), 1));
    let end = store.stats().bytes;
    drop(store);
    overwrite(&disk, &segment_path(&disk, 0), end, &[8; 40]);
    let verdict = inspect::verify_on(&disk, |_, _| ()).unwrap();
    assert!(verdict.is_clean());
    let store = open(&disk).unwrap();
    let torn = store.recovery_report().torn.clone().unwrap();
    assert!(!store.recovery_report().is_clean());
    assert_eq!((torn.segment.get(), torn.offset, torn.bytes), (0, end, verdict.unfinished_bytes));
    assert!(!torn.fault.is_empty());
}

#[test]
fn r20_a_missing_watermark_is_noted_and_made_again() {
    let (disk, model) = four_batches();
    disk.remove_file("WATERMARK");
    let store = check_holds(&disk, &model);
    assert!(store.recovery_report().notes[0].contains("WATERMARK was missing"));
    drop(store);
    assert!(check_holds(&disk, &model).recovery_report().is_clean());
}
