//! The baseline: what the hardware and the kernel allow.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use annals::{Durability, EventId, Position, StreamVersion};
use annals_codec::{Chain, Commit, Epoch, Event, Frame, FrameKind, SEGMENT_HEADER_LEN, Seed, SegmentHeader};

use crate::Workload;

/// How much is zeroed in one go.
const STEP: u64 = 1 << 20;

/// A file, an offset, and nothing else.
///
/// A durable run goes into space that was zeroed before, and pays for the
/// zeroing as the store does: a step at a time, when the frontier is reached. A
/// buffered run appends: zeroing would only write everything twice.
#[derive(Debug)]
pub struct RawLog {
    file: File,
    offset: u64,
    zeroed: u64,
    position: u64,
    buffer: Vec<u8>,
    chain: Chain,
    durability: Durability,
}

impl RawLog {
    /// Makes an empty file.
    ///
    /// # Panics
    ///
    /// When the file cannot be made.
    pub fn create(dir: &Path, durability: Durability) -> RawLog {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.join("raw"))
            .expect("a fresh file");
        let chain = Chain::default();
        RawLog { file, offset: 0, zeroed: 0, position: 0, buffer: Vec::new(), chain, durability }
    }

    fn zero_up_to(&mut self, end: u64) {
        static ZEROS: [u8; STEP as usize] = [0; STEP as usize];
        while self.zeroed < end {
            self.file.write_all_at(&ZEROS, self.zeroed).expect("space for zeros");
            self.zeroed += STEP;
        }
    }

    /// Encodes, checksums and writes `batches` batches of `size` events, with one sync each if durable.
    ///
    /// # Panics
    ///
    /// When a write or a sync fails.
    pub fn append(&mut self, work: &mut Workload, batches: usize, size: usize) {
        let (seed, epoch) = (Seed::new(1), Epoch::new(1));
        for _ in 0..batches {
            self.buffer.clear();
            let stream = work.next_stream().clone();
            for _ in 0..size {
                // The payload is made anew, as it is for the store.
                let payload = work.payload().to_vec();
                self.position += 1;
                let mut event = Event::new(&stream, work.event_type(), &payload);
                event.id = EventId::version_7(self.position, 0, self.position);
                event.position = Position::new(self.position);
                event.version = StreamVersion::new(1);
                self.chain.push(event.encode(&mut self.buffer, seed, epoch));
            }
            let marker = Commit::new(epoch, Position::new(self.position), size as u32);
            marker.encode(&mut self.buffer, seed, 0, &mut self.chain);
            if self.durability == Durability::Sync {
                self.zero_up_to(self.offset + self.buffer.len() as u64);
            }
            self.file.write_all_at(&self.buffer, self.offset).expect("a write");
            self.offset += self.buffer.len() as u64;
            if self.durability == Durability::Sync {
                self.file.sync_data().expect("a sync");
            }
        }
    }
}

/// Walks the segments frame by frame: checksum, lengths, fields. Returns how
/// many bytes of payload were seen.
///
/// # Panics
///
/// When a frame is bad.
pub fn raw_scan(segments: &[(Vec<u8>, Seed)]) -> u64 {
    segments.iter().map(|(bytes, seed)| scan_frames(bytes, *seed)).sum()
}

/// The same, with the bytes read from the files first: what a reader pays that
/// has just been opened. One buffer is used for all of them.
///
/// # Panics
///
/// When a file cannot be read, or a frame is bad.
pub fn raw_read_and_scan(paths: &[PathBuf], buffer: &mut Vec<u8>) -> u64 {
    let mut seen = 0;
    for path in paths {
        buffer.clear();
        File::open(path).and_then(|mut file| file.read_to_end(buffer)).expect("a segment");
        let (_, seed) = SegmentHeader::decode(buffer).expect("a header");
        seen += scan_frames(buffer, seed);
    }
    seen
}

fn scan_frames(bytes: &[u8], seed: Seed) -> u64 {
    let mut seen = 0;
    let mut at = SEGMENT_HEADER_LEN;
    while let Ok(frame) = Frame::read(&bytes[at..], seed) {
        if frame.kind == FrameKind::Event {
            let event = Event::decode_again(&frame).expect("a whole event");
            seen += event.data.len() as u64 + event.position.get() % 2;
        }
        at += frame.header.padded_len() as usize;
        if frame.kind == FrameKind::Seal {
            break;
        }
    }
    seen
}
