//! What an engine has to do to take part, and who does.
//!
//! They all do the same work. An append gives every event a type, an id, metadata and
//! a payload, and says how many events its stream has: an engine that can check that
//! does. A read gives every field of each event, borrowed where the engine lends it,
//! with its names checked to be UTF-8, and every byte of payload, metadata and names
//! is looked at: what nobody looks at was not read. What was seen is added up, and
//! the sums must be the same for everybody.
//!
//! An engine that cannot go on panics: whoever measures it says so and measures the
//! others.

use std::path::Path;

use annals::{Event, EventId, Position, StreamId};

/// Whether an append waits for the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// It survives a power loss.
    Durable,
    /// It survives the death of the process, where the engine can do that much.
    Buffered,
}

/// An event before it has a place.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) id: EventId,
    pub(crate) event_type: &'a str,
    pub(crate) data: Vec<u8>,
    pub(crate) metadata: Vec<u8>,
}

/// Events of one stream, all or none.
#[derive(Debug)]
pub(crate) struct Append<'a> {
    pub(crate) stream: &'a StreamId,
    /// So many events the stream has.
    pub(crate) expected: u64,
    pub(crate) events: Vec<New<'a>>,
}

impl Append<'_> {
    /// The events as they will be read again, the first of them at `position`.
    #[cfg_attr(not(feature = "peers"), expect(dead_code, reason = "we encode our events ourselves"))]
    pub(crate) fn fields(&self, position: u64) -> impl Iterator<Item = Fields<'_>> {
        self.events.iter().zip(0..).map(move |(event, number)| Fields {
            position: position + number,
            version: self.expected + 1 + number,
            id: event.id.as_bytes(),
            stream: self.stream,
            event_type: event.event_type,
            data: &event.data,
            metadata: &event.metadata,
        })
    }
}

/// An open store of some kind.
pub(crate) trait Engine: Send + Sync {
    /// Appends to one stream, as durably as the engine was opened for.
    fn append(&self, append: Append<'_>);

    /// Takes in what is not measured, in as large commits as the engine allows.
    fn fill(&self, appends: Vec<Append<'_>>) {
        for append in appends {
            self.append(append);
        }
    }

    /// How many events a stream has; nothing if the engine knows no streams.
    fn version(&self, stream: &StreamId) -> Option<u64>;

    /// Reads everything, in order.
    fn read_all(&self) -> Sum;

    /// Reads streams whole, each in order.
    fn read_streams(&self, streams: &[StreamId]) -> u64;

    /// Reads one event after the other, by position.
    fn get_positions(&self, positions: &[Position]) -> u64;
}

/// An engine that also finds events by their ids.
pub(crate) trait FindsIds: Engine {
    /// Reads one event after the other, by id.
    fn get_ids(&self, ids: &[EventId]) -> u64;
}

/// What was seen of a log, in order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sum {
    pub(crate) events: u64,
    pub(crate) sum: u64,
}

impl Sum {
    /// Another order gives another sum.
    #[inline]
    pub(crate) fn add(&mut self, event: &Fields<'_>) {
        self.events += 1;
        self.sum = self.sum.rotate_left(1).wrapping_add(event.sum());
    }
}

/// The fields of an event as every engine has to give them.
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

    /// Looks at every byte; of the id only at its version, because our stores make their own.
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

/// What is known of an engine before it is opened.
pub(crate) struct Kind {
    /// As it is named on the command line.
    pub(crate) name: &'static str,
    /// The package whose version counts.
    pub(crate) package: &'static str,
    pub(crate) open: fn(&Path, Mode) -> Box<dyn Engine>,
    /// How an append is made durable; nothing if it cannot be.
    pub(crate) durable: Option<&'static str>,
    /// What a buffered append has done; nothing if every append is durable.
    pub(crate) buffered: Option<&'static str>,
    /// How it is noticed that somebody else appended to the stream first.
    pub(crate) conflicts: &'static str,
    /// What callers at once wait for.
    pub(crate) callers: &'static str,
    /// Rows it has no means for, by name: what it has not is not emulated.
    pub(crate) cannot: &'static [&'static str],
    /// What verifies that a byte that is read is the one that was written.
    pub(crate) checksums: &'static str,
}

/// Everybody who can take part: we, the limit, and the peers if they were compiled.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    [&crate::ours::KIND, &crate::limit::KIND].into_iter().chain(peers())
}

#[cfg(feature = "peers")]
fn peers() -> impl Iterator<Item = &'static Kind> {
    crate::peers::ALL.iter().copied()
}

#[cfg(not(feature = "peers"))]
fn peers() -> impl Iterator<Item = &'static Kind> {
    std::iter::empty()
}
