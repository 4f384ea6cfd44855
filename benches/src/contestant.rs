//! Who takes part: the store, and others that hold the very same events.
//!
//! They all do the same work. A read is a snapshot of its own (a transaction, a
//! pinned reader), gives every field of each event, borrowed where the contestant
//! lends it, with its names checked to be UTF-8, and every byte of payload,
//! metadata and names is looked at: what nobody looks at was not read. What was
//! seen is added up, and the sums must be the same.

use std::path::Path;

use annals::{Event, EventId, EventStore, Position, StreamId, StreamVersion};

/// A store that is read.
pub(crate) trait Contestant {
    fn name(&self) -> &'static str;

    /// Where its files are.
    fn dir(&self) -> &Path;

    /// Reads streams whole, in order.
    fn read_streams(&self, streams: &[StreamId]) -> u64;

    /// Reads one event after the other, by position.
    fn get_positions(&self, positions: &[Position]) -> u64;

    /// Reads one event after the other, by id.
    fn get_ids(&self, ids: &[EventId]) -> u64;
}

/// The fields of an event as every contestant has to give them.
pub(crate) struct Fields<'a> {
    pub(crate) position: u64,
    pub(crate) version: u64,
    pub(crate) id: &'a [u8],
    pub(crate) stream: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) data: &'a [u8],
    pub(crate) metadata: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(event: &'a Event<'_>) -> Fields<'a> {
        Fields {
            position: event.position.get(),
            version: event.version.get(),
            id: event.id.as_bytes(),
            stream: event.stream,
            event_type: event.event_type,
            data: event.data,
            metadata: event.metadata.unwrap_or_default(),
        }
    }

    /// Looks at every byte; of the id only at its version, because our two stores made their own.
    #[inline]
    pub(crate) fn sum(&self) -> u64 {
        let texts = [self.stream.as_bytes(), self.event_type.as_bytes(), self.data, self.metadata];
        let add = |sum: u64, bytes: &[u8]| {
            let mut words = bytes.chunks_exact(8);
            let whole = words.by_ref().map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
            let whole = whole.fold(sum, u64::wrapping_add);
            words.remainder().iter().fold(whole, |sum, &byte| sum.wrapping_add(u64::from(byte)))
        };
        texts.into_iter().fold(self.position ^ self.version << 32 ^ u64::from(self.id[6] >> 4), add)
    }
}

/// The store itself.
pub(crate) struct Annals {
    pub(crate) name: &'static str,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: EventStore,
}

impl Contestant for Annals {
    fn name(&self) -> &'static str {
        self.name
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn read_streams(&self, streams: &[StreamId]) -> u64 {
        let mut sum = 0u64;
        for stream in streams {
            let mut reader = self.store.read_stream(stream, StreamVersion::EMPTY).expect("a stream's name");
            while let Some(event) = reader.next_event().expect("a whole log") {
                sum = sum.wrapping_add(Fields::of(&event).sum());
            }
        }
        sum
    }

    fn get_positions(&self, positions: &[Position]) -> u64 {
        let get = |&position| {
            let event = self.store.get(position).expect("a whole log").expect("a position of the log");
            Fields::of(&event.as_event()).sum()
        };
        positions.iter().map(get).fold(0, u64::wrapping_add)
    }

    fn get_ids(&self, ids: &[EventId]) -> u64 {
        let get = |&id| {
            let event = self.store.get_event(id).expect("a whole log").expect("an id of the log");
            Fields::of(&event.as_event()).sum()
        };
        ids.iter().map(get).fold(0, u64::wrapping_add)
    }
}
