//! Segments written frame by frame with the codec, for tests that need no store.

use annals_codec::{
    Chain, Commit, Epoch, Event, EventId, LogId, Position, SEGMENT_HEADER_LEN, Seal, Seed, SegmentHeader,
    SegmentNumber, StreamVersion, Tracking,
};

pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: SegmentHeader,
    pub(crate) seed: Seed,
    /// Where each event begins.
    pub(crate) events: Vec<u64>,
    /// Where each commit marker begins.
    pub(crate) commits: Vec<u64>,
    chain: Chain,
    last_chain: u32,
    position: u64,
    /// How far it was "synced" when the next batch begins.
    pub(crate) durable: u64,
}

pub(crate) const EPOCH: Epoch = Epoch::new(3);

impl Segment {
    pub(crate) fn new() -> Segment {
        let header = SegmentHeader {
            log_id: LogId::from_bytes([7; 16]),
            number: SegmentNumber::new(0),
            base: Position::START,
            epoch: EPOCH,
            salt: [5; 16],
            created_at: 1_317_422_324_546_000_000,
            predecessor_len: 0,
            chain: 0,
            chain_hash: None,
            redacted: None,
        };
        let (bytes, seed) = header.encode();
        let durable = SEGMENT_HEADER_LEN as u64;
        let (events, commits, chain) = (Vec::new(), Vec::new(), Chain::default());
        Segment { bytes, header, seed, events, commits, chain, last_chain: 0, position: 0, durable }
    }

    /// Appends a batch with one event for each payload.
    pub(crate) fn batch(&mut self, payloads: &[&[u8]]) -> &mut Segment {
        let start = self.bytes.len() as u64;
        for data in payloads {
            self.position += 1;
            self.events.push(self.bytes.len() as u64);
            let mut event = Event::new("account-1", "Deposited", data);
            event.position = Position::new(self.position);
            event.version = StreamVersion::new(self.position);
            event.id = EventId::from_bytes([self.position as u8; 16]);
            event.recorded_at = 1_000 + self.position.cast_signed();
            event.metadata = Some(b"{\"by\":\"teller\"}");
            let crc = event.encode(&mut self.bytes, self.seed, EPOCH);
            self.chain.push(crc);
        }
        let mut commit = Commit::new(EPOCH, Position::new(self.position), payloads.len() as u32);
        commit.durable_offset = self.durable;
        commit.batch_bytes = (self.bytes.len() as u64 - start) as u32;
        commit.tracking = Some(Tracking { source: "upstream", upstream: self.position });
        self.commits.push(self.bytes.len() as u64);
        self.last_chain = commit.encode(&mut self.bytes, self.seed, self.last_chain, &mut self.chain);
        self
    }

    /// The batches so far are on disk: the next ones say so.
    pub(crate) fn synced(&mut self) -> &mut Segment {
        self.durable = self.bytes.len() as u64;
        self
    }

    /// Ends the segment with seal, index and trailer.
    pub(crate) fn seal(&mut self) -> &mut Segment {
        let seal = Seal {
            epoch: EPOCH,
            last: Position::new(self.position),
            chain: self.last_chain,
            events: self.position,
            batches: self.commits.len() as u64,
            min_recorded_at: 1_001,
            max_recorded_at: 1_000 + self.position.cast_signed(),
        };
        let at = self.bytes.len() as u64;
        let offsets: Vec<u32> = self.events.iter().map(|offset| (offset / 8) as u32).collect();
        seal.encode(&mut self.bytes, self.seed, at, offsets.into_iter());
        self
    }

    /// Three batches of 2, 1 and 3 events; each knows that the ones before it were synced.
    pub(crate) fn of_three_batches() -> Segment {
        let mut segment = Segment::new();
        segment.batch(&[b"{\"cents\":5}", b"second"]).synced();
        segment.batch(&[b""]).synced();
        segment.batch(&[b"4", b"5", b"\xff\x00binary"]);
        segment
    }
}
