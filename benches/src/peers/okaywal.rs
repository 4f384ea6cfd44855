//! okaywal: a write-ahead log. One file that is never handed on, or its events would be gone.
//!
//! It reads by the place that a write gave, so the places are kept in memory; they are
//! learnt again when it is opened.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use annals::{Position, StreamId};
use okaywal::{Configuration, Entry, EntryId, LogManager, LogPosition, ReadChunkResult, SegmentReader, WriteAheadLog};

use super::record::{decode, encode};
use super::{alone, sum_of};
use crate::engine::{Append, Engine, Kind, Mode, Sum};

pub(crate) const KIND: Kind = Kind {
    name: "okaywal",
    package: "okaywal",
    open: |dir, _: Mode| Box::new(OkayWal::open(dir)),
    durable: Some("each entry"),
    buffered: None,
    conflicts: "no",
    callers: "a shared sync",
    cannot: &["stream"],
    checksums: "each, at every read",
};

type Places = Arc<Mutex<Vec<LogPosition>>>;

struct OkayWal {
    log: Option<WriteAheadLog>,
    places: Places,
}

#[derive(Debug)]
struct Manager(Places);

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> std::io::Result<()> {
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            alone(&self.0).push(chunk.log_position());
            // Not skipped: a chunk that is skipped skips four bytes more when it is dropped (0.3.1).
            chunk.read_all()?;
            assert!(chunk.check_crc()?, "a whole record");
        }
        Ok(())
    }

    fn checkpoint_to(&mut self, _: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> std::io::Result<()> {
        unreachable!("the file is large enough")
    }
}

impl OkayWal {
    fn open(dir: &Path) -> OkayWal {
        let places = Places::default();
        let configuration = Configuration::default_for(dir).preallocate_bytes(64 << 20).checkpoint_after_bytes(1 << 40);
        let log = configuration.open(Manager(Arc::clone(&places))).expect("a log");
        OkayWal { log: Some(log), places }
    }

    fn log(&self) -> &WriteAheadLog {
        self.log.as_ref().expect("until it is dropped")
    }

    fn read(&self, place: LogPosition, record: &mut Vec<u8>) {
        let mut chunk = self.log().read_at(place).expect("a record");
        record.clear();
        chunk.read_to_end(record).expect("a record");
        assert!(chunk.crc_is_valid().expect("a checksum"), "a whole record");
    }
}

impl Engine for OkayWal {
    fn append(&self, append: Append<'_>) {
        self.fill(vec![append]);
    }

    fn fill(&self, appends: Vec<Append<'_>>) {
        // One at a time from here to the commit, which others share.
        let mut entry = self.log().begin_entry().expect("an entry");
        {
            let mut places = alone(&self.places);
            for append in &appends {
                for event in append.fields(places.len() as u64 + 1) {
                    places.push(entry.write_chunk(&encode(&event)).expect("a write").position);
                }
            }
        }
        entry.commit().expect("a commit");
    }

    fn version(&self, _: &StreamId) -> Option<u64> {
        None
    }

    fn read_all(&self) -> Sum {
        let places = alone(&self.places).clone();
        let (mut sum, mut record) = (Sum::default(), Vec::new());
        for place in places {
            self.read(place, &mut record);
            sum.add(&decode(&record));
        }
        sum
    }

    fn read_streams(&self, _: &[StreamId]) -> u64 {
        unreachable!("nobody asks")
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        let mut record = Vec::new();
        sum_of(positions, |position| {
            let place = alone(&self.places)[position.get() as usize - 1];
            self.read(place, &mut record);
            decode(&record).sum()
        })
    }
}

impl Drop for OkayWal {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.shutdown().expect("an end");
        }
    }
}
