//! Other engines, as somebody who knows them would use them for events.
//!
//! Each finds events by position, and by stream and version, where its own structure
//! allows that; what it has not is not emulated. Those that were not written for
//! events keep no index of ids, but where a question asks for one: so they have less
//! to do than we.

mod commitlog;
mod fjall;
mod lmdb;
mod okaywal;
mod raft_engine;
mod record;
mod redb;
mod salamander;
mod sierradb;
mod sqlite;
mod tephra;
mod umadb;
mod walrus;

use std::sync::{Mutex, MutexGuard, PoisonError};

use annals::{EventStore, Position, StreamId};

use crate::engine::{Append, FindsIds, Kind, Mode, New};
use crate::library::Contestant;

pub(crate) const ALL: &[&Kind] = &[
    &sqlite::KIND,
    &lmdb::KIND,
    &redb::KIND,
    &fjall::KIND,
    &okaywal::KIND,
    &raft_engine::KIND,
    &walrus::KIND,
    &commitlog::KIND,
    &tephra::KIND,
    &umadb::KIND,
    &salamander::KIND,
    &sierradb::KIND,
];

/// Those that find ids, each with the events of a store of ours.
pub(crate) fn copies(of: &EventStore) -> Vec<Box<Contestant>> {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let sqlite = sqlite::Sqlite::open(dirs[0].path(), Mode::Buffered);
    copy(of, &sqlite);
    sqlite.index_ids();
    let lmdb = lmdb::Lmdb::open(dirs[1].path(), Mode::Buffered).with_ids();
    copy(of, &lmdb);
    let [first, second] = dirs;
    vec![
        Box::new(Contestant { name: "SQLite", dir: first, engine: sqlite }),
        Box::new(Contestant { name: "LMDB", dir: second, engine: lmdb }),
    ]
}

fn copy(of: &EventStore, to: &dyn FindsIds) {
    /// How many events one transaction takes in.
    const TRANSACTION: usize = 10_000;
    let mut all = of.read_all(Position::START).map(|event| event.expect("a whole log")).peekable();
    while all.peek().is_some() {
        let events: Vec<_> = all.by_ref().take(TRANSACTION).collect();
        let streams: Vec<_> = events.iter().map(|event| StreamId::new(event.stream()).expect("its name")).collect();
        let appends = events.iter().zip(&streams).map(|(event, stream)| {
            let new = New {
                id: event.as_event().id,
                event_type: event.event_type(),
                data: event.data().to_vec(),
                metadata: event.metadata().unwrap_or_default().to_vec(),
            };
            Append { stream, expected: event.version().get() - 1, events: vec![new] }
        });
        to.fill(appends.collect());
    }
}

/// What one caller at a time may do.
fn alone<T>(writer: &Mutex<T>) -> MutexGuard<'_, T> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds up what is found for each.
fn sum_of<T>(wanted: &[T], find: impl FnMut(&T) -> u64) -> u64 {
    wanted.iter().map(find).fold(0, u64::wrapping_add)
}
