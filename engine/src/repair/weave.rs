//! Writing one segment anew: its batches, and between them what fills its gaps.
//!
//! What is always true: a frame is copied as it was, but for its checksum where the seed is another one; a marker is
//! copied as it was up to the first gap of a segment that keeps its header, and made again behind it, because the chain
//! in it is another one. A frame of which the log says that its payload is gone is copied without it.

use std::io;
use std::sync::Arc;

use annals_codec::scan::{Source as _, Totals};
use annals_codec::{
    BatchHasher, Chain, Commit, ContentType, Digest, Epoch, Event, FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameHeader,
    FrameKind, IdMaker, Position, RedactionMark, Seed, SegmentHeader, StreamVersion, Tail, chain_after, event_digest,
    redact_frame, reseed,
};

use super::redactions::Redactions;
use super::streams::Owner;
use crate::log::small_files::write_all;
use crate::log::source::FileSource;
use crate::storage::File;

/// How much is written in one go, in bytes.
const STEP: usize = 1 << 20;

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Weaver<'a> {
    file: Arc<dyn File>,
    header: SegmentHeader,
    redactions: &'a Redactions,
    /// Which of its events are redacted.
    redacted: Vec<Position>,
    /// What is not written yet, and where it will stand.
    buffer: Vec<u8>,
    start: u64,
    seed: Seed,
    /// Behind the last batch so far.
    pub(super) position: Position,
    pub(super) chain: u32,
    pub(super) hash: Option<Digest>,
    pub(super) epoch: Epoch,
    durable_offset: u64,
    offsets: Vec<u32>,
    totals: Totals,
    hasher: BatchHasher,
    /// Whether markers are copied: nothing before them has changed.
    is_same: bool,
}

/// How a segment ends that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Woven {
    pub(super) len: u64,
    pub(super) chain: u32,
    pub(super) hash: Option<Digest>,
    pub(super) epoch: Epoch,
    pub(super) seed: Seed,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<'a> Weaver<'a> {
    /// Begins a segment with this header; `is_same` says that it is the one that its frames were written behind.
    pub(super) fn begin(
        file: Arc<dyn File>,
        header: SegmentHeader,
        redactions: &'a Redactions,
        epoch: Epoch,
        is_same: bool,
    ) -> Weaver<'a> {
        let header = SegmentHeader { redacted: None, ..header };
        let (buffer, seed) = header.encode();
        Weaver {
            file,
            header,
            redactions,
            redacted: Vec::new(),
            buffer,
            start: 0,
            seed,
            position: header.base,
            chain: header.chain,
            hash: header.chain_hash,
            epoch: header.epoch.max(epoch),
            durable_offset: 0,
            offsets: Vec::new(),
            totals: Totals::default(),
            hasher: BatchHasher::new(header.log_id),
            is_same,
        }
    }

    fn at(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    fn flush(&mut self, least: usize) -> io::Result<()> {
        if self.buffer.len() > least {
            write_all(&*self.file, self.start, &self.buffer)?;
            self.start += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Notes where the next event stands; one of which there is no room in an index of offsets is refused.
    fn place(&mut self, recorded_at: i64) -> io::Result<()> {
        let offset =
            u32::try_from(self.at() / FRAME_ALIGN).map_err(|_| invalid("more is lost than a segment can hold"))?;
        self.offsets.push(offset);
        let (min, max) = self.totals.recorded_at.unwrap_or((recorded_at, recorded_at));
        self.totals.recorded_at = Some((min.min(recorded_at), max.max(recorded_at)));
        Ok(())
    }

    /// Copies the batches that stand between these places of a segment with this seed.
    pub(super) fn run(&mut self, source: &mut FileSource, seed: Seed, from: &Tail, to: &Tail) -> io::Result<()> {
        // A batch begins with its first event.
        let (mut at, mut start) = (from.offset, None);
        let mut events = Chain::default();
        while at < to.offset {
            let header =
                FrameHeader::read(source.bytes(at, FRAME_HEADER_LEN)?).ok_or_else(|| invalid("a frame is gone"))?;
            let len = header.padded_len().min(to.offset - at) as usize;
            let bytes = source.bytes(at, len)?;
            let frame =
                Frame::read(&bytes[..len.min(bytes.len())], seed).map_err(|_| invalid("a frame has changed"))?;
            at += len as u64;
            if frame.kind == FrameKind::Commit {
                let commit = Commit::decode(&frame).map_err(|_| invalid("a marker has changed"))?;
                if self.is_same {
                    self.buffer.extend_from_slice(&bytes[..len]);
                    (self.chain, self.hash) = (commit.chain, self.hash.and(commit.hash));
                    (self.durable_offset, self.epoch) = (commit.durable_offset, commit.epoch);
                    events.clear();
                    self.hasher.clear();
                    self.count(&commit);
                } else {
                    let start = start.unwrap_or_else(|| self.at());
                    self.commit(commit, start, &mut events);
                }
                start = None;
                self.flush(STEP)?;
                continue;
            }
            let (copied, mut is_due) = (self.buffer.len(), false);
            if frame.kind == FrameKind::Event {
                start.get_or_insert(self.at());
                let event = Event::decode(&frame).map_err(|_| invalid("an event has changed"))?;
                self.place(event.recorded_at)?;
                if self.hash.is_some() && !self.is_same {
                    self.hasher.push(&event_digest(&event, &self.redactions.payload_of(&event)));
                }
                is_due = self.redactions.is_due(&event);
                if is_due || event.redacted {
                    self.redacted.push(event.position);
                }
            }
            self.buffer.extend_from_slice(&bytes[..len]);
            if is_due {
                redact_frame(&mut self.buffer[copied..], seed).map_err(|_| invalid("an event has changed"))?;
            }
            let crc = if seed == self.seed { header.crc } else { reseed(&mut self.buffer[copied..], self.seed) };
            if frame.kind == FrameKind::Event {
                events.push(crc);
            }
        }
        Ok(())
    }

    /// Ends a batch that begins at `start`.
    fn commit(&mut self, commit: Commit<'_>, start: u64, events: &mut Chain) {
        self.epoch = self.epoch.max(commit.epoch);
        self.hash = self.hash.map(|before| chain_after(&before, &self.hasher.close(&commit)));
        let mut marker = commit;
        marker.durable_offset = self.durable_offset;
        marker.batch_bytes = u32::try_from(self.at() - start).expect("it is as long as it was, or short");
        marker.hash = self.hash;
        self.chain = marker.encode(&mut self.buffer, self.seed, self.chain, events);
        self.count(&commit);
    }

    fn count(&mut self, commit: &Commit<'_>) {
        self.position = commit.last;
        self.totals.events += u64::from(commit.count);
        self.totals.batches += 1;
    }

    /// From here on nothing is as it was.
    pub(super) fn gap(&mut self) {
        self.is_same = false;
    }

    /// Fills the next positions, each with what it is filled with, in batches of a bounded size.
    pub(super) fn fill<'o>(
        &mut self,
        owners: impl Iterator<Item = &'o Owner>,
        data: &str,
        recorded_at: i64,
        ids: IdMaker,
    ) -> io::Result<()> {
        const MOST: u32 = 1_000;
        let (mut owners, mut events) = (owners.peekable(), Chain::default());
        while owners.peek().is_some() {
            let (start, mut count) = (self.at(), 0);
            for owner in owners.by_ref().take(MOST as usize) {
                count += 1;
                let position = self.position.plus(u64::from(count));
                let mut event = Event::new(&owner.stream, super::record::LOST_TYPE, data.as_bytes());
                event.position = position;
                event.version = StreamVersion::new(owner.version);
                event.id = ids.make(position, IdMaker::millis_of(recorded_at));
                event.recorded_at = recorded_at;
                event.content_type = ContentType::JSON;
                self.place(recorded_at)?;
                if self.hash.is_some() {
                    self.hasher.event(&event);
                }
                events.push(event.encode(&mut self.buffer, self.seed, self.epoch));
            }
            let last = self.position.plus(u64::from(count));
            self.commit(Commit::new(self.epoch, last, count), start, &mut events);
            self.flush(STEP)?;
        }
        Ok(())
    }

    /// Writes what is left, and the end of a sealed segment if it is to have one; syncs.
    pub(super) fn finish(mut self, is_sealed: bool) -> io::Result<Woven> {
        if is_sealed {
            let seal = self.totals.seal(self.epoch, self.position, self.chain);
            let at = self.at();
            seal.encode(&mut self.buffer, self.seed, at, self.offsets.iter().copied());
        }
        self.flush(0)?;
        self.header.redacted = RedactionMark::of(self.redacted);
        if self.header.redacted.is_some() {
            write_all(&*self.file, 0, &self.header.encode().0)?;
        }
        self.file.sync()?;
        let Weaver { start: len, chain, hash, epoch, seed, .. } = self;
        Ok(Woven { len, chain, hash, epoch, seed })
    }
}
