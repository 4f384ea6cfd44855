//! Somebody who can write to a store's files and knows the format: the log is read, changed, and written again so
//! that every checksum, count, offset and chain of checksums is right, and if wanted every hash, too.
//!
//! What only the attacked log's owner could have kept elsewhere, a witness, is all that is left against that.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals_codec::scan::{self, Sink};
use annals_codec::{
    BatchHasher, Chain, Commit, Event, META_FILE_LEN, META_SLOT_LEN, Position, Seal, SegmentHeader, StoreMeta,
    StreamVersion, WATERMARK_FILE_LEN, WATERMARK_SLOT_LEN, Watermark, chain_after,
};

/// What becomes of the hashes when the log is written again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hashes {
    /// They stay with their batches.
    Kept,
    /// They are computed anew, from the first changed batch to the end.
    Recomputed,
}

/// A batch as the attacker sees it.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event<'static>>,
    pub(crate) marker: Commit<'static>,
    /// In which segment it stands.
    segment: usize,
}

/// A log in the attacker's hands.
pub(crate) struct Log {
    dir: PathBuf,
    headers: Vec<(SegmentHeader, PathBuf)>,
    pub(crate) batches: Vec<Batch>,
}

#[derive(Default)]
struct Reading {
    events: Vec<Event<'static>>,
    batches: Vec<Batch>,
    segment: usize,
}

impl Reading {
    /// From bytes that live for ever.
    fn read(&mut self, bytes: &'static [u8]) -> SegmentHeader {
        let (header, seed) = SegmentHeader::decode(bytes).expect("a header");
        let mut source = bytes;
        let mut offsets = Offsets::default();
        let Ok(found) = scan::scan(&mut source, seed, scan::first_tail(&header), &mut offsets);
        assert!(!matches!(found.stop, scan::Stop::Bad(_)), "the attacker found it whole: {found:?}");
        for (is_event, offset) in offsets.0 {
            let frame = annals_codec::Frame::read(&bytes[offset as usize..], seed).expect("a frame");
            if is_event {
                self.events.push(Event::decode(&frame).expect("an event"));
            } else {
                let events = std::mem::take(&mut self.events);
                let marker = Commit::decode(&frame).expect("a marker");
                self.batches.push(Batch { events, marker, segment: self.segment });
            }
        }
        self.segment += 1;
        header
    }
}

#[derive(Default)]
struct Offsets(Vec<(bool, u64)>);

impl Sink for Offsets {
    fn event(&mut self, offset: u64, _event: &Event<'_>) {
        self.0.push((true, offset));
    }

    fn commit(&mut self, offset: u64, _commit: &Commit<'_>) {
        self.0.push((false, offset));
    }

    fn discard(&mut self) {}
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("seg")).expect("a store has segments");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    found.sort();
    found
}

/// Copies a store, as it lies there.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("it can be copied");
        }
    }
}

impl Log {
    /// Reads the store in `dir`, which nobody has open.
    pub(crate) fn read(dir: &Path) -> Log {
        let mut reading = Reading::default();
        let headers = segments(dir)
            .into_iter()
            .map(|path| {
                let bytes: &'static [u8] = Vec::leak(fs::read(&path).expect("a segment"));
                (reading.read(bytes), path)
            })
            .collect();
        Log { dir: dir.to_owned(), headers, batches: reading.batches }
    }

    /// The number of the batch that holds the event at this position.
    pub(crate) fn batch_of(&self, position: u64) -> usize {
        let holds = |batch: &Batch| batch.events.iter().any(|event| event.position.get() == position);
        self.batches.iter().position(holds).expect("an event of the log")
    }

    /// The event at this position.
    pub(crate) fn event(&mut self, position: u64) -> &mut Event<'static> {
        let mut events = self.batches.iter_mut().flat_map(|batch| &mut batch.events);
        events.find(|event| event.position.get() == position).expect("an event of the log")
    }

    /// Writes the log over itself: positions and versions run on, all checksums are right.
    pub(crate) fn write(mut self, hashes: Hashes) {
        let (mut position, mut chain_before, mut predecessor_len) = (Position::START, 0, 0);
        let mut hash = self.headers[0].0.chain_hash;
        let mut versions: HashMap<&str, u64> = HashMap::new();
        let (mut last_header, mut end) = (None, 0);
        let count = self.headers.len();
        for (number, (header, path)) in self.headers.iter_mut().enumerate() {
            header.base = if number == 0 { header.base } else { position };
            position = header.base;
            (header.predecessor_len, header.chain) = (predecessor_len, chain_before);
            if hashes == Hashes::Recomputed {
                header.chain_hash = hash;
            }
            let (mut bytes, seed) = header.encode();
            let (mut offsets, mut times, mut batches) = (Vec::new(), Vec::new(), 0);
            let mut epoch = header.epoch;
            for batch in self.batches.iter_mut().filter(|batch| batch.segment == number) {
                let start = bytes.len();
                let (mut chain, mut hasher) = (Chain::default(), BatchHasher::new(header.log_id));
                epoch = batch.marker.epoch;
                for event in &mut batch.events {
                    position = position.plus(1);
                    let version = versions.entry(event.stream).or_insert(0);
                    *version += 1;
                    (event.position, event.version) = (position, StreamVersion::new(*version));
                    offsets.push((bytes.len() / 8) as u32);
                    times.push(event.recorded_at);
                    chain.push(event.encode(&mut bytes, seed, epoch));
                    hasher.event(event);
                }
                let old = batch.marker;
                let mut marker = Commit::new(epoch, position, batch.events.len() as u32);
                (marker.key, marker.tracking, marker.hash) = (old.key, old.tracking, old.hash);
                marker.batch_bytes = (bytes.len() - start) as u32;
                marker.durable_offset = start as u64;
                if let (Hashes::Recomputed, Some(before)) = (hashes, hash) {
                    marker.hash = Some(chain_after(&before, &hasher.close(&marker)));
                }
                hash = marker.hash;
                chain_before = marker.encode(&mut bytes, seed, chain_before, &mut chain);
                batches += 1;
            }
            end = bytes.len() as u64;
            if number + 1 < count {
                let seal = Seal {
                    epoch,
                    last: position,
                    chain: chain_before,
                    events: offsets.len() as u64,
                    batches,
                    min_recorded_at: times.iter().copied().min().unwrap_or(0),
                    max_recorded_at: times.iter().copied().max().unwrap_or(0),
                };
                seal.encode(&mut bytes, seed, end, offsets.into_iter());
            }
            predecessor_len = bytes.len() as u64;
            fs::remove_file(&*path).expect("the segment as it was");
            let name = format!("{:020}-{:020}.seg", header.number.get(), header.base.get());
            fs::write(self.dir.join("seg").join(name), bytes).expect("the segment as it is");
            last_header = Some((*header, seed));
        }
        let (header, seed) = last_header.expect("a store has a segment");
        let meta_path = self.dir.join("store.meta");
        let mut meta = StoreMeta::decode(&fs::read(&meta_path).expect("store.meta")).expect("a good one");
        (meta.active, meta.active_base, meta.active_seed) = (header.number, header.base, seed);
        let slot = meta.encode();
        let both = two_slots(&slot, META_FILE_LEN, META_FILE_LEN / 2, META_SLOT_LEN);
        fs::write(&meta_path, both).expect("store.meta");
        let watermark_path = self.dir.join("WATERMARK");
        let mut watermark = Watermark::decode(&fs::read(&watermark_path).expect("WATERMARK")).expect("a good one");
        (watermark.segment, watermark.offset, watermark.position) = (header.number, end, position);
        let both = two_slots(&watermark.encode(), WATERMARK_FILE_LEN, WATERMARK_SLOT_LEN, WATERMARK_SLOT_LEN);
        fs::write(&watermark_path, both).expect("WATERMARK");
        // Whoever hides something leaves no index behind that tells of it.
        _ = fs::remove_dir_all(self.dir.join("idx"));
    }
}

fn two_slots(slot: &[u8], file: usize, second: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; file];
    bytes[..len].copy_from_slice(&slot[..len]);
    bytes[second..second + len].copy_from_slice(&slot[..len]);
    bytes
}

/// The ways in which a log is attacked; each names the positions it needs, and gives the first position that is
/// not what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attack {
    EditedPayload,
    EditedTime,
    EditedId,
    DroppedTail,
    DroppedMiddle,
    Swapped,
}

impl Attack {
    pub(crate) const ALL: [Attack; 6] = [
        Attack::EditedPayload,
        Attack::EditedTime,
        Attack::EditedId,
        Attack::DroppedTail,
        Attack::DroppedMiddle,
        Attack::Swapped,
    ];

    /// Attacks the store in `dir` at the batch with the event at `position`, which is not the last; returns the
    /// position of the first event of the first batch that is not what it was.
    pub(crate) fn strike(self, dir: &Path, position: u64, hashes: Hashes) -> u64 {
        let mut log = Log::read(dir);
        let number = log.batch_of(position);
        let first = log.batches[number].events[0].position.get();
        match self {
            Attack::EditedPayload => {
                let mut data = log.event(position).data.to_vec();
                match data.last_mut() {
                    Some(last) => *last ^= 1,
                    None => data.push(b'!'),
                }
                log.event(position).data = Vec::leak(data);
            }
            // The first of its batch, so that it does not come before its neighbour.
            Attack::EditedTime => log.event(first).recorded_at -= 1,
            Attack::EditedId => {
                let mut id = *log.event(position).id.as_bytes();
                id[15] ^= 1;
                log.event(position).id = annals_codec::EventId::from_bytes(id);
            }
            Attack::DroppedTail => {
                log.batches.truncate(number);
                let left = log.batches.last().map_or(1, |last| last.segment + 1);
                for (_, path) in log.headers.drain(left..) {
                    fs::remove_file(path).expect("a segment of the tail");
                }
            }
            Attack::DroppedMiddle => drop(log.batches.remove(number)),
            Attack::Swapped => {
                // Their times stay where they are, or the order would tell.
                let (here, there) = log.batches.split_at_mut(number + 1);
                let (one, other) = (&mut here[number], &mut there[0]);
                let times = |batch: &Batch| batch.events.iter().map(|event| event.recorded_at).min().unwrap_or(0);
                let (early, late) = (times(one), times(other));
                one.events.iter_mut().for_each(|event| event.recorded_at = late);
                other.events.iter_mut().for_each(|event| event.recorded_at = early);
                let segments = (one.segment, other.segment);
                log.batches.swap(number, number + 1);
                (log.batches[number].segment, log.batches[number + 1].segment) = segments;
            }
        }
        log.write(hashes);
        first
    }
}

/// Lets the segment with this number begin its chain anew, as if nothing had been hashed before it, with hashes that
/// agree with that; returns its base and number.
pub(crate) fn restart_chain(dir: &Path, number: usize) -> (u64, u64) {
    let mut log = Log::read(dir);
    let header = log.headers[number].0;
    let start = annals_codec::chain_start(header.log_id, header.base);
    let mut hash = start;
    log.headers[number].0.chain_hash = Some(start);
    for batch in log.batches.iter_mut().filter(|batch| batch.segment >= number) {
        let mut hasher = BatchHasher::new(header.log_id);
        batch.events.iter().for_each(|event| hasher.event(event));
        hash = chain_after(&hash, &hasher.close(&batch.marker));
        batch.marker.hash = Some(hash);
    }
    let later: Vec<usize> = (number + 1..log.headers.len()).collect();
    for number in later {
        let last = log.batches.iter().rfind(|batch| batch.segment < number).expect("a batch before it");
        log.headers[number].0.chain_hash = last.marker.hash;
    }
    log.write(Hashes::Kept);
    (header.base.get(), header.number.get())
}
