//! A whole segment: the scan against what is true of every scan.
//!
//! The input is a script. It writes batches that are good, frames that are only
//! well checksummed, batches with a marker that lies, and plain bytes; then it
//! damages the file. Whatever comes of that:
//!
//! - nothing panics, and nothing takes long;
//! - every event and marker that the scan reports encodes to the very bytes at its offset;
//! - the totals are those of what was reported;
//! - a source that gives as little as it may leads to the same judgement;
//! - batches below the first damaged byte are all there, and no verdict is
//!   clean when the watermark lies behind what was kept;
//! - a scan from the place to go on gets over at least one batch.

#![no_main]

#[path = "../../codec/src/testing.rs"]
#[allow(dead_code)]
mod testing;

use std::convert::Infallible;

use annals_codec::scan::{self, Scan, Sink, Stop, Totals, Verdict};
use annals_codec::{Chain, Commit, Epoch, Event, Position, SEGMENT_HEADER_LEN, Seed};
use libfuzzer_sys::fuzz_target;
use testing::{Miser, Parts, Writer, header};

fuzz_target!(|input: &[u8]| {
    let mut script = Script(input);
    let mut writer = Writer::new(header());
    let (intact, end) = script.write(&mut writer);
    let mut bytes = writer.bytes.clone();
    let untouched = script.damage(&mut bytes);
    let whole = writer.ends[1..].iter().filter(|&&end| end <= untouched.min(intact)).count();
    check(&writer, &bytes, whole, end);
});

/// Reads numbers and bytes off the input; zeros when there is no more.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn number(&mut self) -> u64 {
        let width = self.byte() % 9;
        (0..width).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn some_bytes(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes.to_vec()
    }

    /// Writes until told to stop. Returns up to where everything is as a store
    /// writes it, and how far that had been synced at the last.
    fn write(&mut self, writer: &mut Writer) -> (u64, u64) {
        let mut intact = None;
        let mut spoil = |writer: &Writer| _ = intact.get_or_insert(writer.end());
        for n in 1..200 {
            match self.byte() % 12 {
                0 => break,
                1 | 2 => {
                    let data = self.some_bytes();
                    writer.batch(&[Parts::plain(n, &data)]);
                }
                3 => {
                    let events: Vec<_> = (0..self.byte() % 5).map(|_| Parts::plain(n, &self.some_bytes())).collect();
                    writer.batch(&events);
                }
                4 => writer.sync(),
                5 => writer.epoch = writer.epoch.next().unwrap_or(writer.epoch),
                6 => {
                    let (kind, body) = (self.byte(), self.some_bytes());
                    spoil(writer);
                    writer.raw_frame(kind, &body);
                }
                7 => {
                    let (which, value) = (self.byte(), self.number());
                    spoil(writer);
                    let event = Parts::plain(n, b"lie");
                    writer.batch_with(&[event], |commit| match which % 5 {
                        0 => commit.durable_offset = value,
                        1 => commit.batch_bytes = value as u32,
                        2 => commit.count = value as u32,
                        3 => commit.first = Position::new(value),
                        _ => commit.epoch = Epoch::new(value as u32),
                    });
                }
                8 => {
                    let plain = self.some_bytes();
                    spoil(writer);
                    writer.bytes.extend_from_slice(&plain);
                    writer.bytes.resize(writer.bytes.len().next_multiple_of(8), 0);
                }
                9 => {
                    spoil(writer);
                    writer.position = Position::new(self.number() % (u64::MAX - 100));
                }
                10 => {
                    // A payload that quotes what was written before.
                    let from = SEGMENT_HEADER_LEN.max(writer.bytes.len().saturating_sub(usize::from(self.byte()) * 8));
                    let quote = writer.bytes[from..].to_vec();
                    if writer.bytes.len() < 1 << 18 {
                        writer.batch(&[Parts::plain(n, &quote)]);
                    }
                }
                _ => {
                    writer.seal();
                    spoil(writer);
                }
            }
        }
        (intact.unwrap_or(writer.end()), writer.durable_offset)
    }

    /// Damages the file; returns below which offset it did not.
    fn damage(&mut self, bytes: &mut Vec<u8>) -> u64 {
        let mut untouched = u64::MAX;
        for _ in 0..self.byte() % 4 {
            let (what, frames) = (self.byte(), bytes.len() - SEGMENT_HEADER_LEN);
            let at = SEGMENT_HEADER_LEN + (self.number() % (frames as u64 + 1)) as usize;
            match what % 4 {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                2 => {
                    let len = usize::from(self.byte()) % 128 * 256;
                    bytes.resize(bytes.len() + len, 0);
                    continue;
                }
                _ => match bytes.get_mut(at) {
                    Some(byte) => *byte ^= 1 << (what >> 5),
                    None => continue,
                },
            }
            untouched = untouched.min(at as u64);
        }
        untouched
    }
}

/// Encodes again whatever the scan reports, and compares.
struct Recoder<'a> {
    bytes: &'a [u8],
    seed: Seed,
    totals: Totals,
    pending: Vec<i64>,
}

impl Recoder<'_> {
    fn stored(&self, offset: u64, len: usize) -> &[u8] {
        &self.bytes[offset as usize..][..len]
    }
}

impl Sink for Recoder<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let low_bits = self.stored(offset + 10, 2);
        let epoch = Epoch::new(u32::from(u16::from_le_bytes([low_bits[0], low_bits[1]])));
        let mut again = Vec::new();
        event.encode(&mut again, self.seed, epoch);
        assert_eq!(self.stored(offset, again.len()), again, "the event at {offset}");
        self.pending.push(event.recorded_at);
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        let mut again = Vec::new();
        commit.encode(&mut again, self.seed, 0, &mut Chain::default());
        let stored = self.stored(offset, again.len());
        assert_eq!((&stored[4..48], &stored[52..]), (&again[4..48], &again[52..]), "the marker at {offset}");
        assert_eq!(commit.count as usize, self.pending.len(), "the marker at {offset}");
        self.totals.events += self.pending.len() as u64;
        self.totals.batches += 1;
        for time in self.pending.drain(..) {
            let (min, max) = self.totals.recorded_at.unwrap_or((time, time));
            self.totals.recorded_at = Some((min.min(time), max.max(time)));
        }
    }

    fn discard(&mut self) {
        self.pending.clear();
    }
}

fn check(writer: &Writer, bytes: &[u8], whole: usize, durable_offset: u64) {
    let first = scan::first_tail(&writer.header);
    let mut recoder = Recoder { bytes, seed: writer.seed, totals: Totals::default(), pending: Vec::new() };
    let mut source = bytes;
    let Ok::<Scan, Infallible>(scan) = scan::scan(&mut source, writer.seed, first, &mut recoder);
    assert_eq!(scan.totals, recoder.totals);
    assert!(recoder.pending.is_empty(), "what was not committed was taken back");
    assert!(scan.totals.batches >= whole as u64, "{whole} batches were not touched: {scan:?}");

    for seed in 0..2 {
        let mut miser = Miser::new(bytes, seed, seed as usize * 300);
        let Ok::<Scan, Infallible>(through) = scan::scan(&mut miser, writer.seed, first, &mut ());
        assert_eq!(through, scan);
    }
    if durable_offset > scan.tail.offset && !matches!(scan.stop, Stop::Sealed(_)) {
        assert!(matches!(scan.verdict(durable_offset), Verdict::Damaged { .. }), "{scan:?}");
    }
    if let Stop::Bad(bad) = &scan.stop
        && let Some(resume) = bad.resume
    {
        let mut source = bytes;
        let Ok::<Scan, Infallible>(rest) = scan::scan(&mut source, writer.seed, resume, &mut ());
        assert!(rest.totals.batches > 0 && rest.tail.offset > scan.tail.offset, "{resume:?} leads nowhere");
    }
}
