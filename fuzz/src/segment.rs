//! A whole segment: the scan against what is true of every scan.
//!
//! The input is a script. It writes batches that are good, frames that are only
//! well checksummed, batches with a marker that lies, and plain bytes; then it
//! damages the file. Whatever comes of that:
//!
//! - nothing panics, and nothing takes long;
//! - every event that the scan reports is there by the letter of the format and encodes to the very bytes at its
//!   offset, and every batch meets each condition for its existence, once more without the code under test;
//! - the totals are those of what was reported;
//! - where markers carry the hash chain, it is that of the events in every batch that the scan reports;
//! - a source that gives as little as it may leads to the same judgement;
//! - batches below the first damaged byte are all there, and no verdict is
//!   clean when the watermark lies behind what was kept;
//! - a scan from the place to go on gets over at least one batch.

use std::convert::Infallible;

use annals_codec::scan::{self, Scan, Sink, Stop, Totals, Verdict};
use annals_codec::{
    ChainCheck, ChainPoint, Commit, Epoch, Event, Position, SEGMENT_HEADER_LEN, Seed, SegmentHeader, Tail, chain_start,
};

use crate::letter;
use crate::script::Script;
use crate::testing::{Miser, Parts, Writer, header};

/// Runs the script, and judges what is left of the segment.
pub fn check(input: &[u8]) {
    let mut script = Script::new(input);
    // Every other script writes a segment whose markers carry the hash chain.
    let plain = header();
    let chain_hash = (input.len() % 2 == 1).then(|| chain_start(plain.log_id, plain.base));
    let mut writer = Writer::new(SegmentHeader { chain_hash, ..plain });
    let (intact, end) = script.write(&mut writer);
    let mut bytes = writer.bytes.clone();
    let untouched = script.damage(&mut bytes);
    let whole = writer.ends[1..].iter().filter(|&&end| end <= untouched.min(intact)).count();
    judge(&writer, &bytes, whole, end);
}

impl Script<'_> {
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
                    writer.batch(&[Parts::plain(n, data)]);
                }
                3 => {
                    let events: Vec<_> = (0..self.byte() % 5).map(|_| Parts::plain(n, self.some_bytes())).collect();
                    writer.batch(&events);
                }
                4 => writer.sync(),
                5 => writer.epoch = writer.epoch.next().unwrap_or(writer.epoch),
                6 => {
                    let (kind, body) = (self.byte(), self.some_bytes());
                    spoil(writer);
                    writer.raw_frame(kind, body);
                }
                7 => {
                    let (which, value) = (self.byte(), self.number());
                    spoil(writer);
                    let event = Parts::plain(n, b"lie");
                    if which % 7 == 6 {
                        // A batch before this one that is not there.
                        writer.chain ^= value as u32;
                    }
                    writer.batch_with(&[event], |commit| match which % 7 {
                        0 => commit.durable_offset = value,
                        1 => commit.batch_bytes = value as u32,
                        2 => commit.count = value as u32,
                        3 => commit.first = Position::new(value),
                        4 => commit.epoch = Epoch::new(value as u32),
                        // Events that are not there, all else agreeing.
                        5 => {
                            commit.count = value as u32;
                            commit.last =
                                Position::new((commit.first.get() + u64::from(commit.count)).saturating_sub(1));
                        }
                        _ => {}
                    });
                }
                8 => {
                    let plain = self.some_bytes();
                    spoil(writer);
                    writer.bytes.extend_from_slice(plain);
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

/// Takes what the scan reports only if it is there by the letter of the format, and encodes to the same bytes.
struct Recoder<'a> {
    bytes: &'a [u8],
    seed: Seed,
    totals: Totals,
    /// The last batch: what the next one must go on from.
    last: Tail,
    pending: Vec<Pending>,
}

/// An event whose marker has not come yet.
struct Pending {
    offset: u64,
    recorded_at: i64,
}

impl<'a> Recoder<'a> {
    /// The frame at `offset` without its padding.
    fn frame(&self, offset: u64) -> &'a [u8] {
        let rest = &self.bytes[offset as usize..];
        let len = letter::frame_len(rest, self.seed.get()).unwrap_or_else(|| panic!("there is no frame at {offset}"));
        &rest[..len]
    }
}

impl Sink for Recoder<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        let frame = self.frame(offset);
        assert_eq!(Some(*event), letter::event(frame), "the event at {offset}");
        let mut again = Vec::new();
        event.encode(&mut again, self.seed, Epoch::new(letter::number(frame, 10, 2) as u32));
        assert_eq!(frame, &again[..frame.len()], "the event at {offset}");
        self.pending.push(Pending { offset, recorded_at: event.recorded_at });
    }

    /// FORMAT.md, "What makes a batch exist", condition by condition.
    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        let frame = self.frame(offset);
        assert_eq!(Some(*commit), letter::commit(frame), "the marker at {offset}");
        let start = self.pending.first().map_or(offset, |event| event.offset);
        let mut chained = self.last.chain.expect("a scan from the start knows it").to_le_bytes().to_vec();
        for (event, expected) in self.pending.iter().zip(1..) {
            let frame = self.frame(event.offset);
            assert_eq!(letter::number(frame, 12, 8), self.last.position.get() + expected, "the batch at {start}");
            assert_eq!(letter::number(frame, 10, 2), u64::from(commit.epoch.get() as u16), "the batch at {start}");
            chained.extend_from_slice(&frame[..4]);
        }
        chained.extend_from_slice(&frame[20..48]);
        assert_eq!(commit.first, self.last.position.plus(1), "the batch at {start}");
        assert_eq!(commit.count as usize, self.pending.len(), "the batch at {start}");
        assert_eq!(u64::from(commit.batch_bytes), offset - start, "the batch at {start}");
        assert!(commit.epoch >= self.last.epoch, "the batch at {start}");
        assert!(
            (self.last.durable_offset..=start).contains(&commit.durable_offset),
            "the batch at {start}: {commit:?}"
        );
        assert_eq!(commit.chain, letter::crc(0, &chained), "the batch at {start}");
        assert!(self.last.hash.is_none() || commit.hash.is_some(), "the batch at {start} has no hash");
        assert!(start >= self.last.offset, "the batch at {start} lies over the one before");

        self.last = Tail {
            offset: offset + frame.len().next_multiple_of(8) as u64,
            position: commit.last,
            chain: Some(commit.chain),
            hash: self.last.hash.and(commit.hash),
            epoch: commit.epoch,
            durable_offset: commit.durable_offset,
        };
        self.totals.events += self.pending.len() as u64;
        self.totals.batches += 1;
        for time in self.pending.drain(..).map(|event| event.recorded_at) {
            let (min, max) = self.totals.recorded_at.unwrap_or((time, time));
            self.totals.recorded_at = Some((min.min(time), max.max(time)));
        }
    }

    fn discard(&mut self) {
        self.pending.clear();
    }
}

fn judge(writer: &Writer, bytes: &[u8], whole: usize, durable_offset: u64) {
    let first = scan::first_tail(&writer.header);
    let mut recoder = Recoder { bytes, seed: writer.seed, totals: Totals::default(), last: first, pending: Vec::new() };
    let mut source = bytes;
    let Ok::<Scan, Infallible>(scan) = scan::scan(&mut source, writer.seed, first, &mut recoder);
    assert_eq!(scan.totals, recoder.totals);
    // Frames that may be skipped can stand behind the last batch.
    assert!(
        Tail { offset: recoder.last.offset, ..scan.tail } == recoder.last && scan.tail.offset >= recoder.last.offset
    );
    assert!(recoder.pending.is_empty(), "what was not committed was taken back");
    assert!(scan.totals.batches >= whole as u64, "{whole} batches were not touched: {scan:?}");

    if let Some(hash) = first.hash {
        let mut chain = ChainCheck::new(writer.header.log_id, ChainPoint { position: first.position, hash });
        let mut source = bytes;
        let Ok::<Scan, Infallible>(again) = scan::scan(&mut source, writer.seed, first, &mut chain);
        assert_eq!((chain.breaks(), Some(chain.end().hash)), (&[][..], again.tail.hash));
    }

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
