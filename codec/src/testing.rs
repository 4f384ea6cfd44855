//! What the tests share: a segment being written, events to write, and a way
//! to look at what a scan finds.
//!
//! The unit tests and `tests/golden.rs` both include this file, which is why it
//! names the crate and uses its public items only.

use std::convert::Infallible;

use annals_codec::scan::{self, Scan, Sink, Source};
use annals_codec::{
    BatchHasher, Chain, Commit, ContentType, Digest, Epoch, Event, EventId, LogId, Position, Seal, Seed, SegmentHeader,
    SegmentNumber, StreamVersion, Tag, Tags, Trailer, chain_after, push_tag,
};

/// A small random generator (xorshift64*): the same numbers for the same seed, for ever.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn chance(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// An event that owns its parts. Its position is the writer's business.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) id: [u8; 16],
    pub(crate) version: u64,
    pub(crate) recorded_at: i64,
    pub(crate) occurred_at: Option<i64>,
    pub(crate) correlation_id: Option<[u8; 16]>,
    pub(crate) causation_id: Option<[u8; 16]>,
    pub(crate) schema_version: u16,
    pub(crate) content_type: u8,
    pub(crate) stream: String,
    pub(crate) event_type: String,
    pub(crate) tags: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) metadata: Option<Vec<u8>>,
}

impl Parts {
    /// Event `n` of a test: everything in it can be told from `n`.
    pub(crate) fn plain(n: u64, data: &[u8]) -> Parts {
        Parts {
            id: [n as u8; 16],
            version: n,
            recorded_at: 1_000 + n.cast_signed(),
            stream: format!("s-{n}"),
            event_type: "Happened".to_owned(),
            data: data.to_vec(),
            ..Parts::default()
        }
    }

    pub(crate) fn random(rng: &mut Rng) -> Parts {
        let id = |rng: &mut Rng| std::array::from_fn(|_| rng.next() as u8);
        let name = |rng: &mut Rng, most: usize| "x".repeat(1 + rng.below(most));
        let mut tags = Vec::new();
        for _ in 0..rng.below(4) {
            push_tag(&mut tags, &Tag::new(&name(rng, 20)).unwrap());
        }
        Parts {
            id: id(rng),
            version: 1 + (rng.next() >> 1),
            recorded_at: rng.next().cast_signed(),
            occurred_at: rng.chance().then(|| rng.next().cast_signed()),
            correlation_id: rng.chance().then(|| id(rng)),
            causation_id: rng.chance().then(|| id(rng)),
            schema_version: rng.next() as u16,
            content_type: rng.next() as u8,
            stream: name(rng, 40),
            event_type: name(rng, 30),
            tags,
            data: {
                let len = rng.below(100);
                rng.bytes(len)
            },
            metadata: rng.chance().then(|| {
                let len = rng.below(50);
                rng.bytes(len)
            }),
        }
    }

    pub(crate) fn event(&self, position: Position) -> Event<'_> {
        let mut event = Event::new(&self.stream, &self.event_type, &self.data);
        event.position = position;
        event.version = StreamVersion::new(self.version);
        event.id = EventId::from_bytes(self.id);
        event.recorded_at = self.recorded_at;
        event.occurred_at = self.occurred_at;
        event.correlation_id = self.correlation_id.map(EventId::from_bytes);
        event.causation_id = self.causation_id.map(EventId::from_bytes);
        event.schema_version = self.schema_version;
        event.content_type = ContentType::new(self.content_type);
        event.tags = Tags::from_encoded(&self.tags);
        event.metadata = self.metadata.as_deref();
        event
    }
}

/// One segment while it is written: what an engine does, without the disk.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) header: SegmentHeader,
    pub(crate) seed: Seed,
    pub(crate) bytes: Vec<u8>,
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
    pub(crate) chain: u32,
    /// The hash chain so far, if the header says that markers carry it.
    pub(crate) hash: Option<Digest>,
    /// What the next markers say was durable.
    pub(crate) durable_offset: u64,
    /// Where each batch ends; the first entry is where the first one begins.
    pub(crate) ends: Vec<u64>,
    /// Where each marker stands.
    pub(crate) markers: Vec<u64>,
    pub(crate) offsets: Vec<u32>,
    times: Vec<i64>,
}

pub(crate) fn header() -> SegmentHeader {
    SegmentHeader {
        log_id: LogId::from_bytes(*b"the log under te"),
        number: SegmentNumber::FIRST,
        base: Position::START,
        epoch: Epoch::new(1),
        salt: *b"sixteen salty by",
        created_at: 1_000,
        predecessor_len: 0,
        chain: 0,
        chain_hash: None,
        redacted: None,
    }
}

impl Writer {
    pub(crate) fn new(header: SegmentHeader) -> Writer {
        let (bytes, seed) = header.encode();
        let start = bytes.len() as u64;
        Writer {
            header,
            seed,
            bytes,
            epoch: header.epoch,
            position: header.base,
            chain: header.chain,
            hash: header.chain_hash,
            durable_offset: 0,
            ends: vec![start],
            markers: Vec::new(),
            offsets: Vec::new(),
            times: Vec::new(),
        }
    }

    /// What the next batch will say: everything written so far is on disk.
    pub(crate) fn sync(&mut self) {
        self.durable_offset = self.end();
    }

    pub(crate) fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(crate) fn batch(&mut self, events: &[Parts]) {
        self.batch_with(events, |_| {});
    }

    /// Writes one batch; `adjust` may change the marker before it is encoded.
    pub(crate) fn batch_with(&mut self, events: &[Parts], adjust: impl FnOnce(&mut Commit<'_>)) {
        let (start, mut chain, mut hasher) = (self.end(), Chain::default(), BatchHasher::new(self.header.log_id));
        for parts in events {
            self.position = self.position.plus(1);
            self.offsets.push((self.end() / 8) as u32);
            self.times.push(parts.recorded_at);
            let event = parts.event(self.position);
            chain.push(event.encode(&mut self.bytes, self.seed, self.epoch));
            hasher.event(&event);
        }
        let mut commit = Commit::new(self.epoch, self.position, events.len() as u32);
        commit.durable_offset = self.durable_offset;
        commit.batch_bytes = (self.end() - start) as u32;
        adjust(&mut commit);
        if let Some(hash) = &mut self.hash {
            *hash = chain_after(hash, &hasher.close(&commit));
            commit.hash = Some(*hash);
        }
        self.markers.push(self.end());
        self.chain = commit.encode(&mut self.bytes, self.seed, self.chain, &mut chain);
        self.ends.push(self.end());
    }

    /// Appends a frame of any kind with a good checksum. The layout is written
    /// out once more here, so that this does not trust the code under test.
    pub(crate) fn raw_frame(&mut self, kind: u8, body: &[u8]) {
        let mut rest = (20 + body.len() as u32).to_le_bytes().to_vec();
        rest.extend_from_slice(&[kind, 0]);
        rest.extend_from_slice(&self.epoch.low_bits().to_le_bytes());
        rest.extend_from_slice(&self.position.get().to_le_bytes());
        rest.extend_from_slice(body);
        self.bytes.extend_from_slice(&self.seed.checksum(&rest).to_le_bytes());
        self.bytes.extend_from_slice(&rest);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    pub(crate) fn seal(&mut self) -> Trailer {
        let seal = Seal {
            epoch: self.epoch,
            last: self.position,
            chain: self.chain,
            events: self.offsets.len() as u64,
            batches: self.markers.len() as u64,
            min_recorded_at: self.times.iter().copied().min().unwrap_or(0),
            max_recorded_at: self.times.iter().copied().max().unwrap_or(0),
        };
        let at = self.end();
        seal.encode(&mut self.bytes, self.seed, at, self.offsets.iter().copied())
    }

    /// Scans `bytes` as if they were this segment's.
    pub(crate) fn scan(&self, mut bytes: &[u8]) -> (Scan, Found) {
        let mut found = Found::default();
        let Ok(scan) = scan::scan(&mut bytes, self.seed, scan::first_tail(&self.header), &mut found);
        (scan, found)
    }
}

/// Everything that a scan said exists, as text: one entry for each batch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) batches: Vec<Vec<String>>,
    pending: Vec<String>,
}

impl Found {
    pub(crate) fn has_nothing_pending(&self) -> bool {
        self.pending.is_empty()
    }
}

impl Sink for Found {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.pending.push(format!("{offset} {event:?}"));
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        self.pending.push(format!("{offset} {commit:?}"));
        self.batches.push(std::mem::take(&mut self.pending));
    }

    fn discard(&mut self) {
        self.pending.clear();
    }
}

/// A source that gives as little as it may, and a random amount more, from a
/// buffer of its own; `most` is the longest read that was asked of it.
pub(crate) struct Miser<'a> {
    bytes: &'a [u8],
    rng: Rng,
    extra: usize,
    buffer: Vec<u8>,
    pub(crate) most: usize,
}

impl<'a> Miser<'a> {
    pub(crate) fn new(bytes: &'a [u8], seed: u64, extra: usize) -> Miser<'a> {
        Miser { bytes, rng: Rng::new(seed), extra, buffer: Vec::new(), most: 0 }
    }
}

impl Source for Miser<'_> {
    type Error = Infallible;

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn bytes(&mut self, offset: u64, least: usize) -> Result<&[u8], Infallible> {
        self.most = self.most.max(least);
        let start = (offset as usize).min(self.bytes.len());
        let len = least + self.rng.below(self.extra + 1);
        let end = start.saturating_add(len).min(self.bytes.len());
        self.buffer = self.bytes[start..end].to_vec();
        Ok(&self.buffer)
    }
}

/// How often a test tries something at random: as often as it says, or a few times under
/// Miri, which is some hundred times slower.
pub(crate) fn rounds<T: Ord + From<u8>>(count: T) -> T {
    if cfg!(miri) { count.min(T::from(4)) } else { count }
}

/// Every number of the range, or about sixteen of them under Miri, odd ones and even ones.
pub(crate) fn each(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    let step = if cfg!(miri) { (range.len() / 16) | 1 } else { 1 };
    range.step_by(step)
}

/// Calls `check` with every copy of `bytes` in which one bit of `range` is flipped, and where it is.
pub(crate) fn for_each_flip(bytes: &[u8], range: std::ops::Range<usize>, mut check: impl FnMut(usize, &[u8])) {
    let mut bytes = bytes.to_vec();
    for bit in each(range.start * 8..range.end * 8) {
        bytes[bit / 8] ^= 1 << (bit % 8);
        check(bit, &bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
