//! The recovery rules of the format, R1 to R16, R19 and R20: at least one test for each.

mod damage;
mod failures;
mod opening;
mod reporting;
mod segments;
mod tails;

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
