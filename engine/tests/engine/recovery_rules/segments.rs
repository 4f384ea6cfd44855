//! R3 to R5: sealed segments, the seal of the last one, and the disk instead of the cache.

use super::*;

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
