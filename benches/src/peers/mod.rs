//! Other stores, as somebody who knows them would use them for events.
//!
//! Each keeps the same columns, finds events by position, by stream and version,
//! and by id, and copies its events out of a store of ours.

mod lmdb;
mod sqlite;

pub(crate) use lmdb::Lmdb;
pub(crate) use sqlite::Sqlite;

use annals::{EventStore, Position};

use crate::contestant::Fields;

/// How many events one transaction takes in, where a peer is filled.
const TRANSACTION: u64 = 10_000;

/// Gives every event of a store, in order, and says after each whether a transaction ends with it.
fn copy(of: &EventStore, mut put: impl FnMut(&Fields<'_>, bool)) {
    let mut reader = of.read_all(Position::START);
    let last = reader.head();
    while let Some(event) = reader.next_event().expect("a whole log") {
        put(&Fields::of(&event), event.position.get().is_multiple_of(TRANSACTION) || event.position == last);
    }
}
