//! umadb: an event store of tags and queries, in process. A stream is a tag.
//!
//! Who appends names the position of the last event of the stream that it has seen; for
//! the callers here it is remembered beside the engine.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use annals::{Position, StreamId};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreSync, DcbQuery, DcbQueryItem, DcbSequencedEvent};

use super::record::{decode, encode};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, Fields, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "umadb",
    package: "umadb-core",
    open: |dir, _: Mode| Box::new(Uma::open(dir)),
    durable: Some("each append"),
    buffered: None,
    conflicts: "a condition on the stream's tag",
    callers: "a mutex: its server shares syncs, the store in process does not",
    cannot: &[],
    checksums: "each page that is read from the file",
};

/// So many events one read gives.
const STEP: u32 = 10_000;

struct Uma {
    store: UmaDb,
    /// Nobody keeps two writers apart but its server.
    writer: Mutex<()>,
    /// The position of each stream's last event.
    seen: Mutex<HashMap<StreamId, u64>>,
}

impl Uma {
    fn open(dir: &Path) -> Uma {
        let mvcc = Mvcc::new(false, StorageOptions::default().db_path(dir)).expect("a store");
        Uma { store: UmaDb::from_arc(Arc::new(mvcc)), writer: Mutex::default(), seen: Mutex::default() }
    }

    fn read(&self, query: Option<DcbQuery>, from: u64, backwards: bool, limit: Option<u32>) -> Vec<DcbSequencedEvent> {
        let from = (from > 0).then_some(from);
        let found = self.store.read(query, from, backwards, limit).expect("a read");
        found.map(|event| event.expect("a whole store")).collect()
    }
}

fn of_stream(stream: &str) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([stream]))
}

/// Our events in theirs: type and stream are theirs, the rest is in the payload.
fn events<'a>(append: &'a Append<'_>) -> impl Iterator<Item = DcbEvent> + 'a {
    append.fields(0).map(|event| {
        let data = encode(&Fields { stream: "", event_type: "", ..event });
        DcbEvent::new().event_type(event.event_type).tags([event.stream]).data(data)
    })
}

fn fields(found: &DcbSequencedEvent) -> Fields<'_> {
    let event = &found.event;
    Fields { position: found.position, stream: &event.tags[0], event_type: &event.event_type, ..decode(&event.data) }
}

impl Engine for Uma {
    fn append(&self, append: Append<'_>) {
        let after = alone(&self.seen).get(append.stream).copied();
        let condition = DcbAppendCondition::new(of_stream(append.stream)).after(after);
        let _alone = alone(&self.writer);
        let last = self.store.append(events(&append).collect(), Some(condition), None).expect("an append");
        alone(&self.seen).insert(append.stream.clone(), last);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        self.store.append(appends.iter().flat_map(events).collect(), None, None).expect("an append");
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let newest = self.read(Some(of_stream(stream)), 0, true, Some(1));
        Some(newest.first().map_or(0, |newest| {
            alone(&self.seen).insert(stream.clone(), newest.position);
            fields(newest).version
        }))
    }

    fn read_all(&self) -> Sum {
        let mut sum = Sum::default();
        loop {
            let events = self.read(None, sum.events + 1, false, Some(STEP));
            if events.is_empty() {
                return sum;
            }
            for event in &events {
                sum.add(&fields(event));
            }
        }
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        sum_of(streams, |stream| {
            let events = self.read(Some(of_stream(stream)), 0, false, None);
            sum_of(&events, |event| fields(event).sum())
        })
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        sum_of(positions, |position| {
            let events = self.read(None, position.get(), false, Some(1));
            sum_of(&events, |event| fields(event).sum())
        })
    }
}
