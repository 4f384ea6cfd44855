//! The scan that judges a segment's bytes: clean, unfinished, or damaged.
//!
//! [`scan`] walks the frames, accepts events only through a fully matching
//! commit marker, and stops at the first thing that is not right. What stopped
//! it is judged by [`Scan::verdict`]:
//!
//! - *clean*: nothing but zeros follow the last batch, or the segment is sealed;
//! - *unfinished*: what follows was never known to be durable. A crash in the
//!   middle of a write looks like this, and cutting it off loses nothing that
//!   was acknowledged as durable;
//! - *damaged*: something says that what follows **was** durable: a later
//!   commit marker of this segment, or the store's watermark. Cutting it off
//!   would silently delete acknowledged events.
//!
//! To find later markers the search goes on behind the bad place, at every
//! multiple of 8, because nothing there says any more where frames begin.
//!
//! Nothing here does I/O. The bytes come through [`Source`], which a file, a
//! mapping, or a slice can be, and what is found goes to a [`Sink`].

use std::convert::Infallible;

use crate::batch::{BatchFault, Batches, Tail};
use crate::commit::{self, Commit, CommitFault};
use crate::event::{self, Event, EventFault};
use crate::frame::{FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameFault, FrameHeader, FrameKind, Seed, padded};
use crate::ids::{Epoch, Position};
use crate::seal::{SEAL_LEN, Seal, TRAILER_LEN, Trailer};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentHeader};
use crate::wire;

/// How many bytes are looked at in one go where every byte is looked at, and
/// the most that are asked for before a checksum has shown that they belong together.
const WINDOW: usize = 64 * 1024;
const _: () = assert!(WINDOW > padded(*commit::FRAME_LENS.end() as u64) as usize, "a marker fits into a window");

/// How often the search for a place to go on may read the bytes behind a bad
/// frame. In a log that was written by a store, once is enough.
const MOST_LOOKS: u64 = 8;

/// How many batches that search may try. Each makes a source go back and forth.
const MOST_TRIES: u32 = 1_000;

/// Where a scan gets its bytes.
pub trait Source {
    /// Why bytes could not be had.
    type Error;

    /// The length of the file, in bytes.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At least `least` bytes from `offset` on, and as many more as are at hand;
    /// fewer only where the file ends.
    ///
    /// # Errors
    ///
    /// When they cannot be read. That is not the end of the log: the scan passes it on.
    fn bytes(&mut self, offset: u64, least: usize) -> Result<&[u8], Self::Error>;
}

impl Source for &[u8] {
    type Error = Infallible;

    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn bytes(&mut self, offset: u64, _least: usize) -> Result<&[u8], Infallible> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(<[u8]>::len(self));
        Ok(&self[start..])
    }
}

/// Takes what a scan finds.
pub trait Sink {
    /// An event of a batch that is not known to exist yet.
    fn event(&mut self, offset: u64, event: &Event<'_>);

    /// The events since the last call exist: they make up this batch.
    fn commit(&mut self, offset: u64, commit: &Commit<'_>);

    /// The events since the last call do not exist.
    fn discard(&mut self);
}

/// For who does not care which sink it is.
impl Sink for &mut dyn Sink {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        (**self).event(offset, event);
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        (**self).commit(offset, commit);
    }

    fn discard(&mut self) {
        (**self).discard();
    }
}

/// Takes nothing: only the verdict is wanted.
impl Sink for () {
    fn event(&mut self, _offset: u64, _event: &Event<'_>) {}
    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {}
    fn discard(&mut self) {}
}

/// Why something is not the frame that should stand there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Zeros, and then something else.
    #[error("zeros stand where a frame should, and other bytes follow them")]
    Hole,
    /// The log ends in the middle of a batch.
    #[error("the batch has no commit marker")]
    NoCommit,
    /// The bytes are not a frame.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// The frame is not an event.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// The frame is not a commit marker.
    #[error(transparent)]
    Commit(#[from] CommitFault),
    /// The frames do not make up a batch.
    #[error(transparent)]
    Batch(#[from] BatchFault),
    /// The end of the segment is not whole.
    #[error("{0}")]
    Seal(SealFault),
}

/// What is wrong with the end of a sealed segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealFault {
    /// The SEAL frame contradicts the batches before it.
    #[error("the seal contradicts the batches before it")]
    Seal,
    /// The dense index is cut off, or differs from where the events stand.
    #[error("the dense index does not match the events")]
    Index,
    /// The trailer is cut off, its checksum is wrong, or it contradicts the seal.
    #[error("the trailer is not valid")]
    Trailer,
    /// Something other than zeros follows the trailer.
    #[error("bytes follow the trailer")]
    After,
}

/// The end of a sealed segment, found good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealedEnd {
    /// The SEAL frame.
    pub seal: Seal,
    /// Where it stands.
    pub seal_offset: u64,
    /// The trailer.
    pub trailer: Trailer,
}

/// What a segment was found to hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// How many events.
    pub events: u64,
    /// How many batches.
    pub batches: u64,
    /// The least and the greatest `recorded_at`, when there are events.
    pub recorded_at: Option<(i64, i64)>,
}

impl Totals {
    /// The SEAL of a segment that holds these and ends with the event at `last`. Without events its times are 0.
    pub fn seal(&self, epoch: Epoch, last: Position, chain: u32) -> Seal {
        let (min_recorded_at, max_recorded_at) = self.recorded_at.unwrap_or((0, 0));
        let Totals { events, batches, .. } = *self;
        Seal { epoch, last, chain, events, batches, min_recorded_at, max_recorded_at }
    }

    /// These batches and those: of two scans, of which one went on where the other stopped.
    #[must_use]
    pub fn and(self, more: Totals) -> Totals {
        let recorded_at = match (self.recorded_at, more.recorded_at) {
            (Some((min, max)), Some((low, high))) => Some((min.min(low), max.max(high))),
            (one, other) => one.or(other),
        };
        Totals { events: self.events + more.events, batches: self.batches + more.batches, recorded_at }
    }
}

/// What stopped a scan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The file ended, or nothing but zeros followed.
    End,
    /// A whole seal, index and trailer, and nothing but zeros after them.
    Sealed(SealedEnd),
    /// Something else.
    Bad(Bad),
}

/// The bad place that stopped a scan, and what was found behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bad {
    /// Where the bad frame begins.
    pub at: u64,
    /// What is wrong with it.
    pub fault: Fault,
    /// Where the last byte that is not zero ends.
    pub data_end: u64,
    /// The highest durable offset that a later valid marker states.
    pub later_durable: Option<u64>,
    /// How many later valid markers were found, before the search knew enough.
    pub later_commits: u64,
    /// The highest position of an event that one of them speaks of. Behind it nobody looked, if there is a place to
    /// go on.
    pub later_last: Option<Position>,
    /// Where a reader that accepts the gap can go on: the start of the next
    /// batch that is whole, with everything but its chain known.
    pub resume: Option<Tail>,
}

/// What a scan found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scan {
    /// The end of the last good batch.
    pub tail: Tail,
    /// What the good batches hold.
    pub totals: Totals,
    /// What came behind it.
    pub stop: Stop,
}

/// What a segment's bytes amount to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It ends with its last batch.
    Clean,
    /// What follows its last batch was never known to be durable.
    Unfinished,
    /// What follows its last batch was durable, and is not whole any more.
    Damaged {
        /// Everything below this offset was durable.
        durable_offset: u64,
    },
}

impl Scan {
    /// Judges what stopped the scan.
    ///
    /// `watermark` is the offset below which the store's watermark says that
    /// this segment was durable; 0 when it says nothing about it.
    pub fn verdict(&self, watermark: u64) -> Verdict {
        let later = match &self.stop {
            Stop::Bad(bad) => bad.later_durable.unwrap_or(0),
            Stop::End | Stop::Sealed(_) => 0,
        };
        let durable_offset = watermark.max(later);
        // A seal that was found good is durable or not like anything else.
        let whole_end = match &self.stop {
            Stop::Sealed(sealed) => sealed.trailer.file_len,
            Stop::End | Stop::Bad(_) => self.tail.offset,
        };
        match &self.stop {
            _ if durable_offset > whole_end => Verdict::Damaged { durable_offset },
            Stop::Bad(_) => Verdict::Unfinished,
            Stop::End | Stop::Sealed(_) => Verdict::Clean,
        }
    }
}

/// Where the frames of a segment begin.
pub fn first_tail(header: &SegmentHeader) -> Tail {
    Tail {
        offset: SEGMENT_HEADER_LEN as u64,
        position: header.base,
        chain: Some(header.chain),
        hash: header.chain_hash,
        epoch: header.epoch,
        durable_offset: 0,
    }
}

/// Scans a segment from `from` on, until its end or the first bad frame.
///
/// `from` is [`first_tail`], the tail of an earlier scan, or [`Bad::resume`].
///
/// # Errors
///
/// Passes on what `source` could not read.
pub fn scan<S: Source>(source: &mut S, seed: Seed, from: Tail, sink: &mut impl Sink) -> Result<Scan, S::Error> {
    let mut walk = Walk {
        seed,
        batches: Batches::new(from),
        totals: Totals::default(),
        whole: from.offset == SEGMENT_HEADER_LEN as u64,
        index: crc32fast::Hasher::new_with_initial(seed.get()),
        pending: Pending::default(),
    };
    let mut at = from.offset;
    let stop = loop {
        let have = source.len().saturating_sub(at);
        let window = source.bytes(at, 0)?;
        let window = &window[..at_most(have, window.len())];
        let step = match walk.at_hand(window, &mut at, sink) {
            Ok(()) => walk.step(source, at, sink)?,
            Err(fault) => Err(fault),
        };
        match step {
            Ok(Step::Next(next)) => at = next,
            Ok(Step::Sealed(sealed)) => break Stop::Sealed(sealed),
            Ok(Step::End) => break Stop::End,
            Err(fault) => {
                sink.discard();
                break Stop::Bad(look_behind(source, seed, walk.batches.tail(), at, fault)?);
            }
        }
    };
    Ok(Scan { tail: walk.batches.tail(), totals: walk.totals, stop })
}

/// The events of the batch at hand.
#[derive(Default)]
struct Pending {
    offsets: Vec<u8>,
    recorded_at: Option<(i64, i64)>,
}

struct Walk {
    seed: Seed,
    batches: Batches,
    totals: Totals,
    /// Whether the scan has seen the segment from its first frame on.
    whole: bool,
    /// Checksum of the dense index as it should be.
    index: crc32fast::Hasher,
    pending: Pending,
}

enum Step {
    Next(u64),
    Sealed(SealedEnd),
    End,
}

impl Walk {
    /// Goes over the batches in `window`, which stands at `at`, and moves `at` to what it cannot judge by itself: a frame
    /// that the window cuts off, the seal, the end, and whatever is not a good frame. That is for [`Walk::step`].
    ///
    /// This is where a scan spends its time: nothing is asked of the source meanwhile.
    fn at_hand(&mut self, window: &[u8], at: &mut u64, sink: &mut impl Sink) -> Result<(), Fault> {
        let mut rest = window;
        while let Ok(frame) = Frame::read(rest, self.seed) {
            match frame.kind {
                FrameKind::Event => self.event(*at, &frame, sink)?,
                FrameKind::Commit => self.commit(*at, &frame, sink)?,
                FrameKind::Seal | FrameKind::Skippable(_) => break,
            }
            let len = frame.header.padded_len();
            *at += len;
            rest = &rest[len as usize..];
        }
        Ok(())
    }

    /// Looks at the frame at `at`. The outer error is the source's, the inner one the bytes'.
    fn step<S: Source>(
        &mut self,
        source: &mut S,
        at: u64,
        sink: &mut impl Sink,
    ) -> Result<Result<Step, Fault>, S::Error> {
        let end = source.len();
        let frame = match frame_at(source, self.seed, at, end)? {
            Ok(Some(frame)) => frame,
            Ok(None) => return self.blank(source, at),
            Err(fault) => return Ok(Err(fault.into())),
        };
        let next = at + frame.header.padded_len();
        Ok(match frame.kind {
            FrameKind::Event => self.event(at, &frame, sink).map(|()| Step::Next(next)),
            FrameKind::Commit => self.commit(at, &frame, sink).map(|()| Step::Next(next)),
            FrameKind::Skippable(_) => {
                self.batches.skip(next);
                Ok(Step::Next(next))
            }
            FrameKind::Seal => {
                let seal = Seal::decode(&frame);
                match self.seal(source, at, seal)? {
                    Ok(sealed) => Ok(Step::Sealed(sealed)),
                    Err(fault) => Err(Fault::Seal(fault)),
                }
            }
        })
    }

    /// Nothing that could be a frame stands at `at`.
    fn blank<S: Source>(&self, source: &mut S, at: u64) -> Result<Result<Step, Fault>, S::Error> {
        let data_end = data_end(source, at)?;
        Ok(if data_end > at {
            Err(Fault::Hole)
        } else if self.batches.is_inside_batch() {
            Err(Fault::NoCommit)
        } else {
            Ok(Step::End)
        })
    }

    fn event(&mut self, at: u64, frame: &Frame<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
        let event = Event::decode(frame)?;
        self.batches.event(at, frame)?;
        wire::put_u32(&mut self.pending.offsets, (at / FRAME_ALIGN) as u32);
        let (min, max) = self.pending.recorded_at.unwrap_or((event.recorded_at, event.recorded_at));
        self.pending.recorded_at = Some((min.min(event.recorded_at), max.max(event.recorded_at)));
        sink.event(at, &event);
        Ok(())
    }

    fn commit(&mut self, at: u64, frame: &Frame<'_>, sink: &mut impl Sink) -> Result<(), Fault> {
        let commit = Commit::decode(frame)?;
        self.batches.commit(at, frame, &commit)?;
        let recorded_at = self.pending.recorded_at.take();
        self.totals = self.totals.and(Totals { events: u64::from(commit.count), batches: 1, recorded_at });
        self.index.update(&self.pending.offsets);
        self.pending.offsets.clear();
        sink.commit(at, &commit);
        Ok(())
    }

    fn seal<S: Source>(
        &self,
        source: &mut S,
        at: u64,
        seal: Option<Seal>,
    ) -> Result<Result<SealedEnd, SealFault>, S::Error> {
        let tail = self.batches.tail();
        let (min, max) = self.totals.recorded_at.unwrap_or((0, 0));
        let agrees = |seal: &Seal| {
            let continues = !self.batches.is_inside_batch()
                && seal.last == tail.position
                && seal.epoch >= tail.epoch
                && tail.chain.is_none_or(|chain| chain == seal.chain);
            let counts = seal.events == self.totals.events
                && seal.batches == self.totals.batches
                && (seal.min_recorded_at, seal.max_recorded_at) == (min, max);
            continues && (counts || !self.whole)
        };
        let Some(seal) = seal.filter(agrees) else { return Ok(Err(SealFault::Seal)) };

        let index_offset = at + SEAL_LEN;
        let Some(trailer_at) = seal
            .events
            .checked_mul(4)
            .and_then(|len| len.checked_next_multiple_of(FRAME_ALIGN))
            .and_then(|len| index_offset.checked_add(len))
            .filter(|&trailer_at| trailer_at < source.len())
        else {
            return Ok(Err(SealFault::Index));
        };
        let index_crc = checksum(source, self.seed, index_offset, seal.events * 4)?;
        let expected = if self.whole { self.index.clone().finalize() } else { index_crc };
        let padding_is_zero = data_end_below(source, index_offset + seal.events * 4, trailer_at)?.is_none();
        if index_crc != expected || !padding_is_zero {
            return Ok(Err(SealFault::Index));
        }
        let stored = source.bytes(trailer_at, TRAILER_LEN)?;
        let trailer = stored.first_chunk().and_then(|bytes| Trailer::decode(bytes, self.seed)).filter(|trailer| {
            trailer.index_offset == index_offset
                && u64::from(trailer.events) == seal.events
                && trailer.index_crc == index_crc
        });
        let Some(trailer) = trailer else { return Ok(Err(SealFault::Trailer)) };
        if data_end(source, trailer.file_len)? > trailer.file_len {
            return Ok(Err(SealFault::After));
        }
        Ok(Ok(SealedEnd { seal, seal_offset: at, trailer }))
    }
}

/// The frame at `at`, which may not reach beyond `end`; `None` when its length
/// field is zero or nothing is left. The outer error is the source's, the inner one the bytes'.
fn frame_at<S: Source>(
    source: &mut S,
    seed: Seed,
    at: u64,
    end: u64,
) -> Result<Result<Option<Frame<'_>>, FrameFault>, S::Error> {
    let have = end.saturating_sub(at);
    let window = source.bytes(at, at_most(have, FRAME_HEADER_LEN))?;
    let window = &window[..at_most(have, window.len())];
    let Some(header) = FrameHeader::read(window) else {
        let blank = window.iter().all(|&byte| byte == 0);
        return Ok(if blank { Ok(None) } else { Err(FrameFault::NoHeader { have }) });
    };
    if header.len == 0 {
        return Ok(Ok(None));
    }
    let need = at_most(header.padded_len(), usize::MAX);
    if (header.len as usize) < FRAME_HEADER_LEN || header.padded_len() > have {
        return Ok(Err(FrameFault::Length { len: header.len, have }));
    }
    if need > WINDOW && need > window.len() {
        // A source would have to find room for it: first the length must be shown to be true.
        let computed = checksum(source, seed, at + 4, u64::from(header.len) - 4)?;
        if computed != header.crc {
            return Ok(Err(FrameFault::Checksum { stored: header.crc, computed }));
        }
    }
    let bytes = source.bytes(at, need)?;
    Ok(Frame::read(&bytes[..need.min(bytes.len())], seed).map(Some))
}

/// `bytes` as a length in memory, and not more than `most`.
fn at_most(bytes: u64, most: usize) -> usize {
    usize::try_from(bytes).map_or(most, |bytes| bytes.min(most))
}

/// Where the last byte at or behind `from` that is not zero ends; `from` when there is none.
fn data_end<S: Source>(source: &mut S, from: u64) -> Result<u64, S::Error> {
    let len = source.len();
    Ok(data_end_below(source, from, len)?.unwrap_or(from))
}

/// Looks from the end backwards: a log with many bad places is asked for each of
/// them, and the zeros behind it are few beside its frames.
fn data_end_below<S: Source>(source: &mut S, from: u64, end: u64) -> Result<Option<u64>, S::Error> {
    /// Longer steps after the first, because a file is read again for each step backwards.
    const MOST_STEP: u64 = 1 << 20;
    let mut end = end.min(source.len());
    let mut step = WINDOW as u64;
    while end > from {
        let start = end.saturating_sub(step).max(from);
        step = (2 * step).min(MOST_STEP);
        let mut at = start;
        let mut last = None;
        // A source may give fewer bytes at a time than it is asked for.
        while at < end {
            let most = at_most(end - at, WINDOW);
            let window = source.bytes(at, most)?;
            let window = &window[..window.len().min(most)];
            if window.is_empty() {
                break;
            }
            if let Some(index) = last_nonzero(window) {
                last = Some(at + index as u64 + 1);
            }
            at += window.len() as u64;
        }
        if last.is_some() {
            return Ok(last);
        }
        end = start;
    }
    Ok(None)
}

/// The index of the last byte that is not zero.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    // In blocks that the compiler can compare with vector instructions.
    const BLOCK: usize = 256;
    let is_zero = |block: &[u8]| block.iter().fold(0, |all, &byte| all | byte) == 0;
    let block = bytes.chunks(BLOCK).rposition(|block| !is_zero(block))?;
    let within = bytes[block * BLOCK..].chunks(BLOCK).next()?.iter().rposition(|&byte| byte != 0)?;
    Some(block * BLOCK + within)
}

fn checksum<S: Source>(source: &mut S, seed: Seed, from: u64, len: u64) -> Result<u32, S::Error> {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed.get());
    let (mut at, end) = (from, from + len);
    while at < end {
        let most = at_most(end - at, WINDOW);
        let window = source.bytes(at, most)?;
        let window = &window[..window.len().min(most)];
        if window.is_empty() {
            break;
        }
        hasher.update(window);
        at += window.len() as u64;
    }
    Ok(hasher.finalize())
}

/// Searches behind a bad frame at `at` for what says that it was durable, and
/// for a place to go on.
fn look_behind<S: Source>(source: &mut S, seed: Seed, tail: Tail, at: u64, fault: Fault) -> Result<Bad, S::Error> {
    let data_end = data_end(source, at)?;
    let mut bad = Bad { at, fault, data_end, later_durable: None, later_commits: 0, later_last: None, resume: None };
    let mut looks = Looks { bytes_left: (data_end - at).saturating_mul(MOST_LOOKS), tries_left: MOST_TRIES };
    let mut markers = Vec::new();
    let mut next = at.next_multiple_of(FRAME_ALIGN);
    let mut knows_enough = false;
    let mut resume_end = None;
    while next < data_end && !knows_enough {
        let ends_here = source.len() - next <= WINDOW as u64;
        let window = source.bytes(next, at_most(source.len() - next, WINDOW))?;
        let window = &window[..window.len().min(WINDOW)];
        // A marker that the window cuts off is seen whole by the next one.
        let most = padded(u64::from(*commit::FRAME_LENS.end())) as usize;
        let searched = if ends_here { window.len() } else { window.len().saturating_sub(most) };
        if searched == 0 {
            break;
        }
        next += find_markers(window, searched, next, seed, tail, &mut markers);
        for marker in markers.drain(..) {
            // It was durable, and the batch to go on with is not the quote of one in a payload, for
            // the next one stands behind it. A log with many bad places is searched from each of them.
            let is_proven = bad.later_durable.is_some_and(|durable| durable > tail.offset);
            knows_enough |= is_proven && resume_end.is_some_and(|end| marker.batch_start >= end);
            bad.later_commits += 1;
            bad.later_last = bad.later_last.max(Some(marker.last));
            bad.later_durable = bad.later_durable.max(Some(marker.durable_offset));
            // A batch that holds the one found before quotes it in a payload.
            if bad.resume.is_none_or(|inner| marker.batch_start < inner.offset)
                && let Some(resume) = whole_batch(source, seed, tail, marker, &mut looks)?
            {
                bad.resume = Some(resume);
                resume_end = Some(marker.end);
            }
        }
    }
    Ok(bad)
}

/// A commit marker found without knowing where frames begin.
#[derive(Clone, Copy)]
struct Marker {
    offset: u64,
    /// Where its frame ends.
    end: u64,
    first: Position,
    last: Position,
    batch_start: u64,
    durable_offset: u64,
    epoch: Epoch,
}

/// Finds the valid markers that begin in the first `searched` bytes of
/// `window` and come later in the log than `tail`. Returns where to search on,
/// counted from the start of the window, which stands at `at`.
///
/// Only markers are looked for: they are short, so that no bytes, however
/// chosen, make the search checksum more than a few hundred of them at a place.
fn find_markers(window: &[u8], searched: usize, at: u64, seed: Seed, tail: Tail, markers: &mut Vec<Marker>) -> u64 {
    let mut index = 0;
    while index < searched {
        let (bytes, offset) = (&window[index..], at + index as u64);
        let found = if is_plausible(bytes, tail, offset) { valid_marker(bytes, seed, tail, offset) } else { None };
        index += match found {
            Some(marker) => {
                markers.push(marker);
                (marker.end - offset) as usize
            }
            None => FRAME_ALIGN as usize,
        };
    }
    index as u64
}

/// Whether the frame of a later marker could begin here: the cheap tests, before the checksum.
fn is_plausible(bytes: &[u8], tail: Tail, offset: u64) -> bool {
    let Some(header) = FrameHeader::read(bytes) else { return false };
    // All events since the tail stand between it and the marker.
    let most_events = offset.saturating_sub(tail.offset) / event::LEAST_FRAME_LEN;
    header.kind() == Some(FrameKind::Commit)
        && commit::FRAME_LENS.contains(&header.len)
        && header.position.get().checked_sub(tail.position.get()).is_some_and(|events| events <= most_events)
}

/// The later marker at the start of `bytes`, if a valid one begins there.
fn valid_marker(bytes: &[u8], seed: Seed, tail: Tail, offset: u64) -> Option<Marker> {
    let frame = Frame::read(bytes, seed).ok()?;
    let commit = Commit::decode(&frame).ok()?;
    // A marker of this segment that a payload quotes has a valid checksum too.
    // What gives it away is that it says nothing that the tail does not say:
    // no later position or, if it holds no events, no later durable offset.
    let is_later = commit.first > tail.position
        && (commit.count > 0 || commit.last > tail.position || commit.durable_offset > tail.durable_offset);
    let batch_start = offset.checked_sub(u64::from(commit.batch_bytes))?;
    let is_possible =
        commit.epoch >= tail.epoch && (tail.durable_offset..=batch_start).contains(&commit.durable_offset);
    (is_later && is_possible).then_some(Marker {
        offset,
        end: offset + frame.header.padded_len(),
        first: commit.first,
        last: commit.last,
        batch_start,
        durable_offset: commit.durable_offset,
        epoch: commit.epoch,
    })
}

/// Keeps the search for a whole batch linear, however markers and batches are
/// laid over each other.
struct Looks {
    bytes_left: u64,
    tries_left: u32,
}

impl Looks {
    /// Whether `bytes` more may be looked at.
    fn take(&mut self, bytes: u64) -> bool {
        let (Some(bytes_left), Some(tries_left)) = (self.bytes_left.checked_sub(bytes), self.tries_left.checked_sub(1))
        else {
            return false;
        };
        *self = Looks { bytes_left, tries_left };
        true
    }
}

/// Checks that the marker's batch is whole but for its chain, and gives the
/// state in which a scan can start with that batch.
fn whole_batch<S: Source>(
    source: &mut S,
    seed: Seed,
    tail: Tail,
    marker: Marker,
    looks: &mut Looks,
) -> Result<Option<Tail>, S::Error> {
    if !looks.take(marker.end - marker.batch_start) {
        return Ok(None);
    }
    let from = Tail {
        offset: marker.batch_start,
        position: marker.first.before(),
        chain: None,
        hash: tail.hash,
        epoch: marker.epoch,
        durable_offset: tail.durable_offset,
    };
    let mut batches = Batches::new(from);
    let mut at = marker.batch_start;
    while at <= marker.offset {
        let Ok(Some(frame)) = frame_at(source, seed, at, marker.end)? else { return Ok(None) };
        let is_good = match frame.kind {
            FrameKind::Event => Event::decode(&frame).is_ok() && batches.event(at, &frame).is_ok(),
            FrameKind::Commit => {
                let commit = Commit::decode(&frame).ok().filter(|_| at == marker.offset);
                return Ok(commit.and_then(|commit| batches.commit(at, &frame, &commit).ok()).map(|()| from));
            }
            FrameKind::Skippable(_) => true,
            FrameKind::Seal => false,
        };
        if !is_good {
            return Ok(None);
        }
        at += frame.header.padded_len();
    }
    Ok(None)
}

/// Reads the trailer of a segment that should be sealed, given its length.
///
/// # Errors
///
/// Passes on what `source` could not read.
pub fn read_trailer<S: Source>(source: &mut S, seed: Seed) -> Result<Option<Trailer>, S::Error> {
    let file_len = source.len();
    let Some(at) = file_len.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
    let bytes = source.bytes(at, TRAILER_LEN)?;
    let trailer = bytes.first_chunk().and_then(|bytes| Trailer::decode(bytes, seed));
    Ok(trailer.filter(|trailer| trailer.file_len == file_len && trailer.seal_offset().is_some()))
}

#[cfg(test)]
mod tests;
