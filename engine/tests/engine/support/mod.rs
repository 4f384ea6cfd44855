//! What the tests of crashes, damage and rules share.
//!
//! - [`model`] and [`oracle`] are those of the crash-injection harness, which lives with the tools.
//! - [`watched`]: a simulated disk that says what was asked of it.

pub(crate) mod watched;

use std::sync::Arc;

use annals::storage::sim::SimDisk;
use annals::{AppendError, Appended, BatchBuilder, EventStore, ExpectedVersion, NewEvent, OpenError};

pub(crate) use annals_cli::torture::{model, open, options};
use model::Batch;

/// The oracle of the harness; a broken promise is a panic here.
pub(crate) mod oracle {
    use annals::{EventStore, RecordedEvent};
    use annals_cli::torture::{model::Model, oracle};

    #[track_caller]
    pub(crate) fn check(store: &EventStore, model: &Model, least: usize) -> usize {
        oracle::check(store, model, least).unwrap_or_else(|violation| panic!("{violation}"))
    }

    #[track_caller]
    pub(crate) fn read_everything(store: &EventStore) -> Vec<RecordedEvent> {
        oracle::read_everything(store).unwrap_or_else(|violation| panic!("{violation}"))
    }
}

pub(crate) fn open_read_only(disk: &SimDisk) -> Result<EventStore, OpenError> {
    EventStore::open_read_only_on(Arc::new(disk.clone()))
}

pub(crate) fn commit(store: &EventStore, batch: &Batch) -> Result<Appended, AppendError> {
    batch.commit(store)
}

pub(crate) fn builder<'a>(store: &'a EventStore, batch: &Batch) -> BatchBuilder<'a> {
    batch.builder(store)
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
