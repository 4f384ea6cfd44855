//! The baseline: what the hardware and the kernel allow.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use annals::{Durability, EventId, Position, StreamVersion};
use annals_codec::{Chain, Commit, Epoch, Event, Frame, FrameKind, SEGMENT_HEADER_LEN, Seed};

use crate::Workload;

/// A file, an offset, and nothing else.
#[derive(Debug)]
pub struct RawLog {
    file: File,
    offset: u64,
    position: u64,
    buffer: Vec<u8>,
    chain: Chain,
    durability: Durability,
}

impl RawLog {
    /// Makes a file of `len` bytes of zeros, written and synced: the zeroed extents.
    ///
    /// # Panics
    ///
    /// When the file cannot be made.
    pub fn create(dir: &Path, len: usize, durability: Durability) -> RawLog {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.join("raw"))
            .expect("a fresh file");
        let zeros = vec![0; 1 << 20];
        for at in (0..len).step_by(zeros.len()) {
            file.write_all_at(&zeros[..zeros.len().min(len - at)], at as u64).expect("space for zeros");
        }
        file.sync_all().expect("a sync");
        RawLog { file, offset: 0, position: 0, buffer: Vec::new(), chain: Chain::default(), durability }
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
            self.file.write_all_at(&self.buffer, self.offset).expect("a write");
            self.offset += self.buffer.len() as u64;
            if self.durability == Durability::Sync {
                self.file.sync_data().expect("a sync");
            }
        }
    }
}

/// Reads the segments' bytes as they lie in memory, frame by frame: checksum,
/// lengths, fields. Returns how many bytes of payload were seen.
///
/// # Panics
///
/// When a frame is bad.
pub fn raw_scan(segments: &[(Vec<u8>, Seed)]) -> u64 {
    let mut seen = 0;
    for (bytes, seed) in segments {
        let mut at = SEGMENT_HEADER_LEN;
        while let Ok(frame) = Frame::read(&bytes[at..], *seed) {
            if frame.kind == FrameKind::Event {
                let event = Event::decode_again(&frame).expect("a whole event");
                seen += event.data.len() as u64 + event.position.get() % 2;
            }
            at += frame.header.padded_len() as usize;
            if frame.kind == FrameKind::Seal {
                break;
            }
        }
    }
    seen
}
