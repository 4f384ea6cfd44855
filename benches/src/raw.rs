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

/// What the raw log is told of an event.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'a> {
    /// The stream.
    pub stream: &'a str,
    /// Its place in the stream.
    pub version: u64,
    /// The type.
    pub event_type: &'a str,
    /// The payload.
    pub data: &'a [u8],
    /// What is said beside it.
    pub metadata: Option<&'a [u8]>,
}

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
    const NAME: &str = "raw";
    const SEED: Seed = Seed::new(1);

    /// Makes an empty file.
    ///
    /// # Panics
    ///
    /// When the file cannot be made.
    pub fn create(dir: &Path, durability: Durability) -> RawLog {
        let path = dir.join(Self::NAME);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).expect("a fresh file");
        let chain = Chain::default();
        RawLog { file, offset: 0, zeroed: 0, position: 0, buffer: Vec::new(), chain, durability }
    }

    /// Opens the file where there is one, to go on behind its last frame.
    ///
    /// # Panics
    ///
    /// When the file cannot be read or made.
    pub fn open(dir: &Path, durability: Durability) -> RawLog {
        if !dir.join(Self::NAME).exists() {
            return RawLog::create(dir, durability);
        }
        let bytes = RawLog::load(dir);
        let mut last = Position::START;
        let offset = raw_file_scan(&bytes, |event| last = event.position) as u64;
        let file = OpenOptions::new().read(true).write(true).open(dir.join(Self::NAME)).expect("a file");
        let (zeroed, position, chain) = (bytes.len() as u64, last.get(), Chain::default());
        RawLog { file, offset, zeroed, position, buffer: Vec::new(), chain, durability }
    }

    /// The bytes of the file.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn load(dir: &Path) -> Vec<u8> {
        std::fs::read(dir.join(Self::NAME)).expect("a file")
    }

    fn zero_up_to(&mut self, end: u64) {
        static ZEROS: [u8; STEP as usize] = [0; STEP as usize];
        while self.zeroed < end {
            self.file.write_all_at(&ZEROS, self.zeroed).expect("space for zeros");
            self.zeroed += STEP;
        }
    }

    /// Syncs what was written.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn sync(&self) {
        self.file.sync_data().expect("a sync");
    }

    /// Encodes, checksums and writes `batches` batches of `size` events, with one sync each if durable.
    ///
    /// # Panics
    ///
    /// When a write or a sync fails.
    pub fn append(&mut self, work: &mut Workload, batches: usize, size: usize) {
        for _ in 0..batches {
            let stream = work.next_stream().clone();
            // The payloads are made anew, and all of them before the append, as they are for the store.
            let payloads: Vec<Vec<u8>> = (0..size).map(|_| work.payload().to_vec()).collect();
            self.commit_owned(&stream, work.event_type(), payloads.into_iter());
        }
    }

    fn commit_owned(&mut self, stream: &str, event_type: &str, payloads: impl Iterator<Item = Vec<u8>>) {
        let before = self.position;
        self.buffer.clear();
        for data in payloads {
            self.encode(&RawEvent { stream, version: 1, event_type, data: &data, metadata: None });
        }
        self.write(before);
    }

    /// Encodes, checksums and writes one batch, with a sync if durable.
    ///
    /// # Panics
    ///
    /// When a write or a sync fails.
    pub fn commit<'a>(&mut self, events: impl IntoIterator<Item = RawEvent<'a>>) {
        let before = self.position;
        self.buffer.clear();
        for event in events {
            self.encode(&event);
        }
        self.write(before);
    }

    fn encode(&mut self, raw: &RawEvent<'_>) {
        self.position += 1;
        let mut event = Event::new(raw.stream, raw.event_type, raw.data);
        event.id = EventId::version_7(self.position, 0, self.position);
        event.position = Position::new(self.position);
        event.version = StreamVersion::new(raw.version);
        event.metadata = raw.metadata;
        self.chain.push(event.encode(&mut self.buffer, Self::SEED, Epoch::new(1)));
    }

    fn write(&mut self, before: u64) {
        let events = (self.position - before) as u32;
        let marker = Commit::new(Epoch::new(1), Position::new(self.position), events);
        marker.encode(&mut self.buffer, Self::SEED, 0, &mut self.chain);
        let end = self.offset + self.buffer.len() as u64;
        if self.durability == Durability::Sync {
            self.zero_up_to(end);
        }
        self.file.write_all_at(&self.buffer, self.offset).expect("a write");
        self.offset = end;
        if self.durability == Durability::Sync {
            self.file.sync_data().expect("a sync");
        }
    }
}

/// Walks a file of [`RawLog`] and gives each event. Returns where its last frame ends.
///
/// # Panics
///
/// When an event cannot be decoded.
pub fn raw_file_scan(bytes: &[u8], event: impl FnMut(&Event<'_>)) -> usize {
    scan_frames(bytes, 0, RawLog::SEED, event)
}

/// Walks the segments frame by frame: checksum, lengths, fields. Returns how
/// many bytes of payload were seen.
///
/// # Panics
///
/// When a frame is bad.
pub fn raw_scan(segments: &[(Vec<u8>, Seed)]) -> u64 {
    segments.iter().map(|(bytes, seed)| scan_segment(bytes, *seed)).sum()
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
        seen += scan_segment(buffer, seed);
    }
    seen
}

fn scan_segment(bytes: &[u8], seed: Seed) -> u64 {
    let mut seen = 0;
    scan_frames(bytes, SEGMENT_HEADER_LEN, seed, |event| seen += event.data.len() as u64 + event.position.get() % 2);
    seen
}

fn scan_frames(bytes: &[u8], from: usize, seed: Seed, mut each: impl FnMut(&Event<'_>)) -> usize {
    let mut at = from;
    while let Ok(frame) = Frame::read(&bytes[at..], seed) {
        if frame.kind == FrameKind::Event {
            each(&Event::decode_again(&frame).expect("a whole event"));
        }
        at += frame.header.padded_len() as usize;
        if frame.kind == FrameKind::Seal {
            break;
        }
    }
    at
}
