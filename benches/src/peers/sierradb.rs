//! sierradb: an event store of partitions. All streams are in one, which is what orders them.

use std::path::Path;
use std::time::Duration;

use annals::{Position, StreamId};
use sierradb::bucket::segment::EventRecord;
use sierradb::database::{Database, DatabaseBuilder, ExpectedVersion, NewEvent, Transaction};
use sierradb::id::{uuid_to_partition_hash, uuid_v7_with_partition_hash};
use sierradb::{IterDirection, StreamId as TheirStreamId};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::sum_of;
use crate::engine::{Append, Engine, Fields, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "sierradb",
    package: "sierradb",
    open: |dir, _: Mode| Box::new(Sierra::open(dir)),
    durable: Some("each append, with `min_sync_bytes(1)`"),
    buffered: None,
    conflicts: "`ExpectedVersion::Exact`",
    callers: "its one writer thread",
    cannot: &["position"],
    checksums: "each, at every read",
};

const PARTITION: u16 = 0;
const KEY: Uuid = Uuid::from_u128(0);

struct Sierra {
    database: Database,
    runtime: Runtime,
}

impl Sierra {
    fn open(dir: &Path) -> Sierra {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let database = {
            let _inside = runtime.enter();
            let mut builder = DatabaseBuilder::new();
            builder.total_buckets(1).bucket_ids_from_range(0..1).writer_threads(1);
            // An append returns when it was synced: at once, not after the 5 ms of its defaults.
            builder.min_sync_bytes(1).max_batch_size(1).sync_interval(Duration::from_millis(1));
            builder.open(dir).expect("a database")
        };
        Sierra { database, runtime }
    }

    fn commit(&self, events: Vec<NewEvent>) {
        let transaction = Transaction::new(KEY, PARTITION, events.into()).expect("a transaction");
        self.runtime.block_on(self.database.append_events(transaction)).expect("an append");
    }
}

fn event(new: crate::engine::New<'_>, stream: &TheirStreamId, version: ExpectedVersion) -> NewEvent {
    NewEvent {
        event_id: uuid_v7_with_partition_hash(uuid_to_partition_hash(KEY)),
        stream_id: stream.clone(),
        stream_version: version,
        event_name: new.event_type.to_owned(),
        timestamp: 1,
        metadata: new.metadata,
        payload: new.data,
    }
}

fn events(append: Append<'_>) -> impl Iterator<Item = NewEvent> {
    let stream = TheirStreamId::new(&**append.stream).expect("a short name");
    append.events.into_iter().zip(append.expected..).map(move |(new, before)| {
        let version = before.checked_sub(1).map_or(ExpectedVersion::Empty, ExpectedVersion::Exact);
        event(new, &stream, version)
    })
}

fn fields(event: &EventRecord) -> Fields<'_> {
    Fields {
        position: event.partition_sequence + 1,
        version: event.stream_version + 1,
        // Its ids have their version elsewhere.
        id: &[0x70; 16],
        stream: &event.stream_id,
        event_type: &event.event_name,
        data: &event.payload,
        metadata: &event.metadata,
    }
}

impl Engine for Sierra {
    fn append(&self, append: Append<'_>) {
        self.commit(events(append).collect());
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        self.commit(appends.into_iter().flat_map(events).collect());
    }

    fn version(&self, stream: &StreamId) -> Option<u64> {
        let stream = TheirStreamId::new(&**stream).expect("a short name");
        let newest = self.runtime.block_on(self.database.get_stream_version(PARTITION, &stream)).expect("a look");
        Some(newest.map_or(0, |newest| newest.version + 1))
    }

    fn read_all(&self) -> Sum {
        self.runtime.block_on(async {
            let read = self.database.read_partition(PARTITION, 0, IterDirection::Forward);
            let mut events = read.await.expect("a read");
            let mut sum = Sum::default();
            while let Some(committed) = events.next().await.expect("a read") {
                committed.into_iter().for_each(|event| sum.add(&fields(&event)));
            }
            sum
        })
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        sum_of(streams, |stream| {
            let stream = TheirStreamId::new(&**stream).expect("a short name");
            self.runtime.block_on(async {
                let read = self.database.read_stream(PARTITION, stream.clone(), 0, IterDirection::Forward);
                let mut events = read.await.expect("a read");
                let mut sum = 0u64;
                while let Some(committed) = events.next().await.expect("a read") {
                    let of_stream = committed.into_iter().filter(|event| event.stream_id == stream);
                    sum = of_stream.fold(sum, |sum, event| sum.wrapping_add(fields(&event).sum()));
                }
                sum
            })
        })
    }

    fn get_positions(&self, _: &[Position]) -> u64 {
        unreachable!("nobody asks")
    }
}

impl Drop for Sierra {
    fn drop(&mut self) {
        self.runtime.block_on(self.database.shutdown());
    }
}
