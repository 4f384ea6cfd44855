//! The dense index of a sealed segment: where each of its events stands.
//!
//! It lies at the end of the segment's file and is read where it lies. Opening a
//! store does not look at it, so its checksum is verified when it is first
//! asked. Where it is damaged the offsets are gathered from the frames instead:
//! they say themselves which event they hold.

use std::io;

use annals_codec::scan::{Sink, Stop};
use annals_codec::{Commit, Event, FRAME_ALIGN, Trailer, u32_at};

use crate::log::segment::Segment;
use crate::sync::OnceLock;

const ENTRY: usize = 4;

#[derive(Debug)]
pub(crate) struct Dense {
    at: u64,
    events: u64,
    crc: u32,
    found: OnceLock<Found>,
}

/// What the first look at the index has found.
#[derive(Debug)]
enum Found {
    /// It is good, and read through the mapping.
    Mapped,
    /// It is good, and was read once, where segments are not mapped.
    Loaded(Box<[u8]>),
    /// It is damaged: these are gathered from the frames, 0 where an event cannot be read.
    Gathered(Box<[u32]>),
}

impl Dense {
    pub(crate) fn new(trailer: &Trailer) -> Dense {
        let (at, events, crc) = (trailer.index_offset, u64::from(trailer.events), trailer.index_crc);
        Dense { at, events, crc, found: OnceLock::new() }
    }

    /// The offset/8 of the event with this number; 0 when it cannot be told.
    #[inline]
    pub(crate) fn offset(&self, segment: &Segment, number: u64) -> io::Result<u32> {
        let found = match self.found.get() {
            Some(found) => found,
            None => self.look(segment)?,
        };
        let at = number as usize;
        Ok(match found {
            Found::Mapped => segment.mapped(self.at + number * ENTRY as u64, ENTRY).map_or(0, |bytes| u32_at(bytes, 0)),
            Found::Loaded(bytes) => bytes.get(at * ENTRY..(at + 1) * ENTRY).map_or(0, |bytes| u32_at(bytes, 0)),
            Found::Gathered(offsets) => offsets.get(at).copied().unwrap_or(0),
        })
    }

    #[cold]
    fn look(&self, segment: &Segment) -> io::Result<&Found> {
        let len = self.events as usize * ENTRY;
        let is_good = |bytes: &[u8]| bytes.len() == len && segment.seed.checksum(bytes) == self.crc;
        let found = if segment.is_mapped() {
            segment.mapped(self.at, len).is_some_and(is_good).then_some(Found::Mapped)
        } else {
            let bytes = segment.read_bytes(self.at, len)?;
            is_good(&bytes).then(|| Found::Loaded(bytes.into_boxed_slice()))
        };
        let found = match found {
            Some(found) => found,
            None => Found::Gathered(gather(segment, self.events)?),
        };
        Ok(self.found.get_or_init(|| found))
    }
}

/// Finds the events of a segment by going through its frames.
fn gather(segment: &Segment, events: u64) -> io::Result<Box<[u32]>> {
    tracing::warn!(segment = %segment.number, "the dense index is damaged; offsets are gathered from the frames");
    let mut gathered = Gathered { offsets: vec![0; events as usize], base: segment.base.get() };
    let mut from = None;
    while let Some(scan) = segment.scan(from, &mut gathered)? {
        match scan.stop {
            Stop::Bad(bad) if bad.resume.is_some() => from = bad.resume,
            Stop::Bad(_) | Stop::End | Stop::Sealed(_) => break,
        }
    }
    Ok(gathered.offsets.into_boxed_slice())
}

struct Gathered {
    offsets: Vec<u32>,
    base: u64,
}

impl Sink for Gathered {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        // Also of a batch that turns out not to be whole: in a sealed segment each frame was
        // committed, and whoever looks there asks it for its position.
        let number = event.position.get().wrapping_sub(self.base + 1);
        if let Some(entry) = self.offsets.get_mut(number as usize) {
            *entry = (offset / FRAME_ALIGN) as u32;
        }
    }

    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {}

    fn discard(&mut self) {}
}
