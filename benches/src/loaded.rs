//! Segments loaded into memory: what the baselines of reading walk over.

use std::fs;
use std::path::{Path, PathBuf};

use annals::{Event, StreamId};
use annals_codec::{Frame, FrameKind, SEGMENT_HEADER_LEN, Seed, SegmentHeader};

/// The segments' files below a store, in their order.
///
/// # Panics
///
/// When there is no store.
pub fn segment_paths(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("seg")).expect("segments");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// The segments' bytes, in memory.
///
/// # Panics
///
/// When one cannot be read.
pub fn load(paths: &[PathBuf]) -> Vec<(Vec<u8>, Seed)> {
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a segment");
        let (_, seed) = SegmentHeader::decode(&bytes).expect("a header");
        (bytes, seed)
    };
    paths.iter().map(read).collect()
}

/// One segment in memory, and where each event stands in it: an index that costs nothing.
#[derive(Debug)]
pub struct Placed {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Placed {
    /// Of a store with one segment.
    ///
    /// # Panics
    ///
    /// When it has more, or a frame is bad.
    pub fn load(store: &Path) -> Placed {
        let mut segments = load(&segment_paths(store));
        let (bytes, seed) = segments.pop().filter(|_| segments.is_empty()).expect("one segment");
        let (mut at, mut offsets) = (SEGMENT_HEADER_LEN, Vec::new());
        while let Ok(frame) = Frame::read(&bytes[at..], seed) {
            if frame.kind == FrameKind::Event {
                offsets.push(at);
            }
            at += frame.header.padded_len() as usize;
        }
        Placed { bytes, offsets }
    }

    /// The event with this number, from 0; its checksum is not looked at.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn event(&self, number: usize) -> Event<'_> {
        let frame = Frame::read_unverified(&self.bytes[self.offsets[number]..]).expect("a whole frame");
        Event::decode_again(&frame).expect("a whole event")
    }

    /// The numbers of a stream's events.
    pub fn numbers_of(&self, stream: &StreamId) -> Vec<usize> {
        (0..self.offsets.len()).filter(|&number| self.event(number).stream == &**stream).collect()
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}
