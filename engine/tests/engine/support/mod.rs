//! What the tests of crashes, damage and rules share, and a torture harness can use.
//!
//! - [`model`]: what a store must hold, as a list of batches and what became of each.
//! - [`oracle`]: compares an open store with the model.
//! - [`story`]: short stories of appends, told on a simulated disk until something goes wrong.
//! - [`watched`]: a simulated disk that says what was asked of it.

pub(crate) mod model;
pub(crate) mod oracle;
pub(crate) mod story;
pub(crate) mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals::storage::sim::SimDisk;
use annals::{AppendError, Clock, EventStore, ExpectedVersion, NewEvent, OpenError, Options};

/// A clock that a disk's whole fate can be repeated with.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> i64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// Options under which a story always takes the same course: no thread, and no time that passes by itself.
pub(crate) fn options() -> Options {
    let options = Options::new().background(false).flush_interval(None).clock(Arc::new(Ticking::default()));
    options.segment_bytes(64 << 10).zero_ahead(16 << 10)
}

pub(crate) fn open(disk: &SimDisk) -> Result<EventStore, OpenError> {
    EventStore::open_on(Arc::new(disk.clone()), &options())
}

pub(crate) fn open_read_only(disk: &SimDisk) -> Result<EventStore, OpenError> {
    EventStore::open_read_only_on(Arc::new(disk.clone()))
}

/// Seals a short segment: a batch that wants one of its own begins it, and then finds no space.
pub(crate) fn seal_early(disk: &SimDisk, store: &EventStore) {
    disk.set_capacity(Some(disk.used() + 3 * 4096));
    let refused = store.append("never", ExpectedVersion::Any, NewEvent::new("Told", vec![0; 100_000]));
    assert!(matches!(refused, Err(AppendError::StorageFull)), "{refused:?}");
    disk.set_capacity(None);
}

/// What `act` asks of the disk, without numbers and offsets: `write_at seg`, `sync seg`, ...
pub(crate) fn asked<T>(disk: &SimDisk, act: impl FnOnce() -> T) -> Vec<String> {
    disk.record_journal();
    let before = disk.journal().len();
    drop(act());
    let lines = disk.journal().split_off(before);
    let operations = lines.iter().filter(|line| !line.starts_with("read"));
    operations.map(|line| shorten(line.split_once(' ').unwrap().1)).collect()
}

/// An operation and its file: a segment is `seg`, one without its name yet `seg.tmp`.
fn shorten(line: &str) -> String {
    let mut words = line.split(' ');
    let (what, path) = (words.next().unwrap(), words.next().unwrap_or_default());
    let file = match path.split_once('/') {
        Some((dir, name)) if name.contains(".tmp") => format!("{dir}.tmp"),
        Some((dir, _)) => dir.to_owned(),
        None => path.to_owned(),
    };
    format!("{what} {file}").trim_end().to_owned()
}

/// The paths and bytes of all files, but for the lock.
pub(crate) fn snapshot(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let paths = disk.paths().into_iter().filter(|path| path != "LOCK");
    paths.map(|path| (path.clone(), disk.read_file(&path).unwrap())).collect()
}

/// The path of the only segment with this number.
pub(crate) fn segment_path(disk: &SimDisk, number: u64) -> String {
    let start = format!("seg/{number:020}-");
    disk.paths().into_iter().find(|path| path.starts_with(&start)).expect("the segment exists")
}

/// Splitmix64, for what is sampled: the seed is printed with every failure.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
