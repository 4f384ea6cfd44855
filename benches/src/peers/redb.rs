//! redb: one table of events by position, one of streams.

use std::path::Path;
use std::sync::Mutex;

use annals::{Position, StreamId};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::record::{decode, encode};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "redb",
    package: "redb",
    open: |dir, mode| Box::new(Redb::open(dir, mode)),
    durable: Some("`Durability::Immediate`"),
    buffered: Some("`Durability::None`: a kill takes all since the last durable commit, which others keep"),
    conflicts: "the stream's key must be new",
    callers: "its writer's lock",
    cannot: &[],
    checksums: "only when it is repaired",
};

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const STREAMS: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("streams");

struct Redb {
    database: Database,
    /// The position of the last event.
    last: Mutex<u64>,
    mode: Mode,
}

impl Redb {
    fn open(dir: &Path, mode: Mode) -> Redb {
        let database = Database::create(dir.join("events.redb")).expect("a database");
        let open = database.begin_write().expect("a transaction");
        let last = {
            open.open_table(STREAMS).expect("a table");
            let events = open.open_table(EVENTS).expect("a table");
            events.last().expect("a whole table").map_or(0, |(position, _)| position.value())
        };
        open.commit().expect("a commit");
        Redb { database, last: Mutex::new(last), mode }
    }
}

impl Engine for Redb {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        let mut open = self.database.begin_write().expect("a transaction");
        if self.mode == Mode::Buffered {
            open.set_durability(Durability::None).expect("no savepoint");
        }
        let mut last = alone(&self.last);
        {
            let mut events = open.open_table(EVENTS).expect("a table");
            let mut streams = open.open_table(STREAMS).expect("a table");
            for append in &appends {
                for event in append.fields(*last + 1) {
                    events.insert(event.position, &*encode(&event)).expect("an insert");
                    let before = streams.insert((event.stream, event.version), event.position).expect("an insert");
                    assert!(before.is_none(), "somebody else was first");
                }
                *last += append.events.len() as u64;
            }
        }
        open.commit().expect("a commit");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let open = self.database.begin_read().expect("a transaction");
        let streams = open.open_table(STREAMS).expect("a table");
        let mut of_stream = streams.range((&**stream, 0)..=(&**stream, u64::MAX)).expect("a range");
        Some(of_stream.next_back().map_or(0, |entry| entry.expect("an entry").0.value().1))
    }

    fn read_all(&self) -> Sum {
        let open = self.database.begin_read().expect("a transaction");
        let events = open.open_table(EVENTS).expect("a table");
        let mut sum = Sum::default();
        for entry in events.iter().expect("a range") {
            sum.add(&decode(entry.expect("an entry").1.value()));
        }
        sum
    }

    fn read_streams(&self, wanted: &[StreamId]) -> u64 {
        sum_of(wanted, |stream| {
            let open = self.database.begin_read().expect("a transaction");
            let events = open.open_table(EVENTS).expect("a table");
            let streams = open.open_table(STREAMS).expect("a table");
            let of_stream = streams.range((&**stream, 0)..=(&**stream, u64::MAX)).expect("a range");
            let event = |position| decode(events.get(position).expect("a read").expect("an event").value()).sum();
            of_stream.map(|entry| event(entry.expect("an entry").1.value())).fold(0, u64::wrapping_add)
        })
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        sum_of(positions, |position| {
            let open = self.database.begin_read().expect("a transaction");
            let events = open.open_table(EVENTS).expect("a table");
            decode(events.get(position.get()).expect("a read").expect("an event").value()).sum()
        })
    }
}
