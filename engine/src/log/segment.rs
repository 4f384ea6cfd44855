//! One segment as readers share it, active or sealed.
//!
//! What is always true:
//!
//! - Bytes below `committed` are final: no path writes them again, so readers
//!   use them without a lock. `committed` only grows, and it grows before the
//!   head position that leads a reader there is published.
//! - Every event below the published head has its offset in the dense index, so
//!   a position is one look-up away from its frame, in either direction, and one
//!   damaged frame does not hide the next.
//! - A frame is believed only after its checksum was verified since the store
//!   was opened: per group of 64 events a bit remembers that it was (rule R19).
//!   Under `pread` every read goes to the disk again and is verified again.

use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use annals_codec::scan::{self, Scan, SealedEnd, Sink, Source};
use annals_codec::{
    FRAME_ALIGN, FrameHeader, Position, SEGMENT_HEADER_LEN, Seal, Seed, SegmentHeader, SegmentNumber, Tail, Trailer,
};
use bytes::Bytes;

use crate::error::Damage;
use crate::log::dense::Dense;
use crate::log::growing::Growing;
use crate::log::source::FileSource;
use crate::storage::{File, LockGuard, Mapping};
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Events whose verification one bit remembers.
pub(crate) const GROUP: u64 = 64;

/// What of a frame is asked for ahead, after its beginning.
const PREFETCH: Range<u64> = 64..448;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: SegmentNumber,
    /// The position of the last event before it.
    pub(crate) base: Position,
    pub(crate) seed: Seed,
    /// Its file, as a person would name it.
    pub(crate) shown: String,
    access: Access,
    /// All of a sealed segment, from the first time that something of it is lent as a value: a part of it costs
    /// no allocation.
    whole: OnceLock<Bytes>,
    committed: AtomicU64,
    /// The position of its last published event.
    last: AtomicU64,
    offsets: Offsets,
    verified: Growing<AtomicU64>,
    pub(crate) sealed: bool,
    /// The least and greatest time of recording, where its seal says them.
    recorded_at: Option<(i64, i64)>,
    /// The chain after its last batch, where its seal says it; 0 elsewhere.
    pub(crate) chain: u32,
}

/// How it is read. Not both: a log may have more segments than a process may have files open,
/// and the mapping of a file needs no descriptor.
#[derive(Clone, Debug)]
enum Access {
    Mapped(Arc<Mapping>),
    Read(Arc<dyn File>),
}

/// Where each event stands, divided by 8.
#[derive(Debug)]
enum Offsets {
    /// In memory: of the active segment, and of a sealed one whose own index is damaged.
    Growing(Box<Growing<AtomicU32>>),
    /// In the sealed file itself.
    Dense(Dense),
}

/// What identifies a segment and where it is read.
#[derive(Clone, Debug)]
pub(crate) struct SegmentPlace {
    pub(crate) number: SegmentNumber,
    pub(crate) base: Position,
    pub(crate) seed: Seed,
    /// The file, as a person would name it.
    pub(crate) shown: String,
    pub(crate) file: Arc<dyn File>,
}

impl SegmentPlace {
    fn access(&self, len: u64) -> io::Result<Access> {
        Ok(match self.file.map(len)? {
            Some(map) => Access::Mapped(Arc::new(map)),
            None => Access::Read(Arc::clone(&self.file)),
        })
    }
}

impl Segment {
    /// A segment whose offsets are told one by one, with room for `capacity` bytes.
    pub(crate) fn growing(place: SegmentPlace, capacity: u64) -> io::Result<Segment> {
        let access = place.access(capacity)?;
        Ok(Segment::with(place, access, Offsets::Growing(Box::new(Growing::new())), false))
    }

    /// A sealed segment, which ends as `end` says. Nothing else of it is read.
    pub(crate) fn sealed(place: SegmentPlace, end: &SealedEnd) -> io::Result<Segment> {
        let access = place.access(end.trailer.file_len)?;
        let mut segment = Segment::with(place, access, Offsets::Dense(Dense::new(&end.trailer)), true);
        segment.recorded_at = recorded_at(&end.seal);
        segment.chain = end.seal.chain;
        segment.publish(end.trailer.file_len, end.seal.last);
        Ok(segment)
    }

    /// This segment, sealed now: the offsets move from memory to the file's own index.
    pub(crate) fn as_sealed(&self, seal: &Seal, trailer: &Trailer) -> Segment {
        let segment = Segment {
            number: self.number,
            base: self.base,
            seed: self.seed,
            shown: self.shown.clone(),
            access: self.access.clone(),
            whole: OnceLock::new(),
            committed: AtomicU64::new(0),
            last: AtomicU64::new(self.base.get()),
            offsets: Offsets::Dense(Dense::new(trailer)),
            verified: Growing::new(),
            sealed: true,
            recorded_at: recorded_at(seal),
            chain: seal.chain,
        };
        segment.publish(trailer.file_len, self.last());
        segment
    }

    fn with(place: SegmentPlace, access: Access, offsets: Offsets, sealed: bool) -> Segment {
        Segment {
            number: place.number,
            base: place.base,
            seed: place.seed,
            shown: place.shown,
            access,
            whole: OnceLock::new(),
            committed: AtomicU64::new(0),
            last: AtomicU64::new(place.base.get()),
            offsets,
            verified: Growing::new(),
            sealed,
            recorded_at: None,
            chain: 0,
        }
    }

    /// Remembers where the event at `position` stands. Not yet visible.
    #[inline]
    pub(crate) fn place_event(&self, position: Position, offset: u64) {
        match &self.offsets {
            Offsets::Growing(offsets) => offsets.store(self.index_of(position), (offset / FRAME_ALIGN) as u32),
            Offsets::Dense(_) => unreachable!("a sealed segment takes no more events"),
        }
    }

    /// Remembers where its first events stand, by their offsets/8. Not yet visible.
    pub(crate) fn place_events(&self, offsets: &[u32]) {
        for (number, offset) in (1..).zip(offsets) {
            self.place_event(self.base.plus(number), u64::from(*offset) * FRAME_ALIGN);
        }
    }

    /// Promises that everything below `end` is final, events up to `last` included.
    pub(crate) fn publish(&self, end: u64, last: Position) {
        if let Access::Mapped(map) = &self.access {
            map.commit_to(end);
        }
        self.committed.fetch_max(end, Ordering::Release);
        self.last.fetch_max(last.get(), Ordering::Release);
    }

    /// The mapping, if there is one.
    pub(crate) fn mapping(&self) -> Option<&Arc<Mapping>> {
        match &self.access {
            Access::Mapped(mapping) => Some(mapping),
            Access::Read(_) => None,
        }
    }

    /// The end of what is final.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The position of its last published event; the base while it has none.
    pub(crate) fn last(&self) -> Position {
        Position::new(self.last.load(Ordering::Acquire))
    }

    /// Which event of the segment is at `position`, from 0.
    pub(crate) fn index_of(&self, position: Position) -> u64 {
        position.get() - self.base.get() - 1
    }

    /// How many events it has published; those in damaged regions count.
    pub(crate) fn events(&self) -> u64 {
        self.last().get() - self.base.get()
    }

    /// The numbers, from 0, of the events that it may have from one position to another. None has a number
    /// that does not fit: offsets, which are fewer, have 32 bits.
    pub(crate) fn numbers_of(&self, from: Position, to: Position) -> Option<RangeInclusive<u32>> {
        let first = from.max(self.base.plus(1)).get();
        let last = to.get().min(self.base.get().saturating_add(1 << 32));
        let number = |position: u64| (position - self.base.get() - 1) as u32;
        (first <= last).then(|| number(first)..=number(last))
    }

    /// Where the event at `position` stands; `None` when it lies in a damaged region.
    #[inline]
    pub(crate) fn offset_of(&self, position: Position) -> io::Result<Option<u64>> {
        let index = self.index_of(position);
        let offset = match &self.offsets {
            Offsets::Growing(offsets) => offsets.load(index),
            Offsets::Dense(dense) => dense.offset(self, index)?,
        };
        Ok((offset != 0).then_some(u64::from(offset) * FRAME_ALIGN))
    }

    /// The number of the first event from `from` on, and before `end`, that lies in no region which was
    /// found damaged when the segment was taken in.
    pub(crate) fn next_placed(&self, from: u64, end: u64) -> Option<u64> {
        match &self.offsets {
            Offsets::Growing(offsets) => offsets.next_stored(from, end),
            Offsets::Dense(_) => Some(from).filter(|from| *from < end),
        }
    }

    /// The number of the event that stands at `offset`, if one does.
    pub(crate) fn number_at(&self, offset: u64) -> io::Result<Option<u64>> {
        let number = self.first_from(offset)?;
        let is_there = number < self.events() && self.offset_of(self.base.plus(number + 1))? == Some(offset);
        Ok(is_there.then_some(number))
    }

    /// The position of the event that stands at `offset`, as the offsets of the others tell:
    /// of the first published event that does not stand before it.
    pub(crate) fn position_at(&self, offset: u64) -> io::Result<Position> {
        let number = self.first_from(offset)?.min(self.events().saturating_sub(1));
        Ok(self.base.plus(number + 1))
    }

    /// The number of the first event that does not stand before `offset`; how many there are, if all do.
    ///
    /// Most events of a log are about equally long, so a guess is near. From there steps are
    /// doubled until one has gone too far, and halved then.
    fn first_from(&self, offset: u64) -> io::Result<u64> {
        let events = self.events();
        if events == 0 {
            return Ok(0);
        }
        let is_before = |number: u64| match self.next_placed(number, events) {
            Some(number) => Ok(self.offset_of(self.base.plus(number + 1))?.unwrap_or(0) < offset),
            None => Ok::<bool, io::Error>(false),
        };
        let first = SEGMENT_HEADER_LEN as u64;
        let last = self.offset_of(self.last())?.unwrap_or_else(|| self.committed()).max(first + 1);
        let guess = u128::from(events) * u128::from(offset.saturating_sub(first)) / u128::from(last - first);
        let (mut low, mut high, mut probe, mut step) = (0, events, guess as u64, 1_u64);
        let mut directions = (false, false);
        while low < high {
            let number = probe.clamp(low, high - 1);
            if is_before(number)? {
                low = number + 1;
                directions.0 = true;
            } else {
                high = number;
                directions.1 = true;
            }
            probe = match directions {
                (true, true) => low + (high - low) / 2,
                (true, _) => low.saturating_add(step),
                _ => high.saturating_sub(step),
            };
            step = step.saturating_mul(2);
        }
        Ok(self.next_placed(low, events).unwrap_or(events))
    }

    /// The least and greatest time of recording of its events; `None` of a segment
    /// without events, of the active one, and of one whose end is damaged.
    pub(crate) fn recorded_at(&self) -> Option<(i64, i64)> {
        self.recorded_at
    }

    /// Scans what is committed, from its first frame or from where an earlier scan can go on;
    /// `None` when its header cannot be read any more.
    pub(crate) fn scan(&self, from: Option<Tail>, sink: &mut impl Sink) -> io::Result<Option<Scan>> {
        match &self.access {
            Access::Mapped(map) => self.scan_in(&mut Mapped(map), from, sink),
            Access::Read(file) => self.scan_in(&mut FileSource::cached(Arc::clone(file), self.committed()), from, sink),
        }
    }

    fn scan_in(
        &self,
        source: &mut impl Source<Error = io::Error>,
        from: Option<Tail>,
        sink: &mut impl Sink,
    ) -> io::Result<Option<Scan>> {
        let from = match from {
            Some(from) => from,
            None => match self.header_in(source)? {
                Some(header) => scan::first_tail(&header),
                None => return Ok(None),
            },
        };
        scan::scan(source, self.seed, from, sink).map(Some)
    }

    /// Its header; `None` when that cannot be read any more.
    pub(crate) fn header(&self) -> io::Result<Option<SegmentHeader>> {
        match &self.access {
            Access::Mapped(map) => self.header_in(&mut Mapped(map)),
            // Itself, and not through a window that takes the first frames along.
            Access::Read(_) => Ok(self.decode_header(&self.read_bytes(0, SEGMENT_HEADER_LEN)?)),
        }
    }

    fn header_in(&self, source: &mut impl Source<Error = io::Error>) -> io::Result<Option<SegmentHeader>> {
        Ok(self.decode_header(source.bytes(0, SEGMENT_HEADER_LEN)?))
    }

    fn decode_header(&self, bytes: &[u8]) -> Option<SegmentHeader> {
        let decoded = SegmentHeader::decode(bytes);
        decoded.ok().filter(|(_, seed)| *seed == self.seed).map(|(header, _)| header)
    }

    /// The offsets of all its events, in order.
    pub(crate) fn growing_offsets(&self, events: u64) -> impl Iterator<Item = u32> {
        (0..events).map(|index| match &self.offsets {
            Offsets::Growing(offsets) => offsets.load(index),
            Offsets::Dense(_) => unreachable!("a sealed segment is not sealed again"),
        })
    }

    /// Whether the checksums of a group of events were verified since open, and still count.
    #[inline]
    pub(crate) fn is_verified(&self, group: u64) -> bool {
        self.is_mapped() && self.verified.contains(group)
    }

    /// Remembers that all events of a group were verified.
    pub(crate) fn set_verified(&self, group: u64) {
        self.verified.insert(group);
    }

    /// The mapped bytes at `offset`; `None` when not all of them are committed.
    #[inline]
    pub(crate) fn mapped(&self, offset: u64, len: usize) -> Option<&[u8]> {
        self.map()?.slice(offset, len)
    }

    /// The mapped frame at `offset`, with its padding; `None` when it is not all
    /// committed, or the segment is not mapped.
    #[inline]
    pub(crate) fn mapped_frame(&self, offset: u64) -> Option<&[u8]> {
        let bytes = self.map()?.slice_from(offset)?;
        let header = FrameHeader::read(bytes)?;
        bytes.get(..usize::try_from(header.padded_len()).ok()?)
    }

    /// Lets go of the store's lock when nobody reads from the mapping any more; now, if there is none.
    pub(crate) fn unlock_after_readers(&self, lock: Box<dyn LockGuard>) {
        match self.map() {
            Some(map) => map.keep_locked(lock),
            None => drop(lock),
        }
    }

    /// Brings a mapped range into memory, for a reader that is about to go through it.
    pub(crate) fn populate(&self, offset: u64, len: u64) {
        if let Access::Mapped(map) = &self.access {
            map.populate(offset, len);
        }
    }

    #[inline]
    fn map(&self) -> Option<&Arc<Mapping>> {
        match &self.access {
            Access::Mapped(map) => Some(map),
            Access::Read(_) => None,
        }
    }

    #[inline]
    pub(crate) fn is_mapped(&self) -> bool {
        self.map().is_some()
    }

    /// All that is committed at this moment, kept alive by the value.
    pub(crate) fn pin(&self) -> Option<Bytes> {
        self.map().map(Mapping::bytes)
    }

    /// A committed range, kept alive by the value; `None` where the segment is not mapped.
    pub(crate) fn lend(&self, offset: u64, len: usize) -> Option<Bytes> {
        let map = self.map()?;
        if !self.sealed {
            return map.range(offset, len);
        }
        let whole = self.whole.get_or_init(|| map.bytes());
        let start = usize::try_from(offset).ok()?;
        match start.checked_add(len) {
            Some(end) if end <= whole.len() => Some(whole.slice(start..end)),
            _ => map.range(offset, len),
        }
    }

    /// Reads bytes with `pread`; fewer than asked for when the file ends, none when the segment is mapped.
    pub(crate) fn read_bytes(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let Access::Read(file) = &self.access else { return Ok(Vec::new()) };
        let mut bytes = vec![0; len];
        let read = file.read_at(offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Asks for the beginning of a mapped frame to be in the processor's cache soon. A hint: nothing is
    /// read, and nothing fails.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        self.prefetch_start(offset);
        self.prefetch_rest(offset);
    }

    /// As [`prefetch`](Segment::prefetch), but only where the frame begins: so the processor finds out
    /// where in memory its page is.
    #[inline]
    pub(crate) fn prefetch_start(&self, offset: u64) {
        if let Some(map) = self.map() {
            map.prefetch(offset, PREFETCH.start);
        }
    }

    /// What of [`prefetch`](Segment::prefetch) is left then.
    #[inline]
    pub(crate) fn prefetch_rest(&self, offset: u64) {
        if let Some(map) = self.map() {
            map.prefetch(offset + PREFETCH.start, PREFETCH.end - PREFETCH.start);
        }
    }

    /// The frame at `offset`, with its padding, mapped or read into `buffer`; `None` when it is
    /// not all committed.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: otherwise finding events by type takes 4 % more instructions")]
    pub(crate) fn frame<'a>(&'a self, offset: u64, buffer: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
        if self.is_mapped() {
            return Ok(self.mapped_frame(offset));
        }
        let is_whole = self.read_frame(offset, buffer)?;
        Ok(is_whole.then_some(buffer.as_slice()))
    }

    /// What is damaged of it: these positions, from the frame at `offset` on.
    pub(crate) fn damage(&self, offset: u64, from: Position, to: Position, fault: String) -> Damage {
        Damage { segment: self.number, file: self.shown.clone(), offset, from, to: Some(to), fault }
    }

    /// Reads a frame into `buffer` with `pread`; `false` when it is not all committed, or the
    /// segment is mapped.
    fn read_frame(&self, offset: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
        /// Long enough for most events, so that most frames take one read.
        const GUESS: u64 = 1024;
        let Access::Read(file) = &self.access else { return Ok(false) };
        let left = self.committed().saturating_sub(offset);
        buffer.resize(left.min(GUESS) as usize, 0);
        let read = file.read_at(offset, buffer)?;
        buffer.truncate(read);
        let Some(header) = FrameHeader::read(buffer) else { return Ok(false) };
        let len = header.padded_len();
        if len > left {
            return Ok(false);
        }
        let have = buffer.len();
        buffer.resize(len as usize, 0);
        if len as usize > have {
            let read = file.read_at(offset + have as u64, &mut buffer[have..])?;
            return Ok(have + read == len as usize);
        }
        Ok(true)
    }
}

/// The committed bytes of a mapping, as a scan reads them.
struct Mapped<'a>(&'a Mapping);

impl Source for Mapped<'_> {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.0.committed()
    }

    fn bytes(&mut self, offset: u64, _least: usize) -> io::Result<&[u8]> {
        Ok(self.0.slice_from(offset).unwrap_or_default())
    }
}

fn recorded_at(seal: &Seal) -> Option<(i64, i64)> {
    (seal.events > 0).then_some((seal.min_recorded_at, seal.max_recorded_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;
    use crate::storage::sim::SimDisk;

    /// A segment whose events stand at these offsets, where there is one.
    fn segment(offsets: &[Option<u64>]) -> Segment {
        let file = SimDisk::new(1).create("file").unwrap();
        let (number, base) = (SegmentNumber::new(0), Position::new(100));
        let place = SegmentPlace { number, base, seed: Seed::default(), shown: String::new(), file };
        let segment = Segment::growing(place, 0).unwrap();
        for (position, offset) in (101..).zip(offsets) {
            if let Some(offset) = offset {
                segment.place_event(Position::new(position), *offset);
            }
        }
        let end = offsets.iter().flatten().max().map_or(0, |last| last + 8);
        segment.publish(end, base.plus(offsets.len() as u64));
        segment
    }

    #[test]
    fn the_number_of_an_event_is_found_from_its_offset_over_every_gap() {
        let mut random = 7_u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        for events in 0..200_usize {
            // Frames of one length, of all lengths, and a few that are very long.
            let mut at = 4096;
            let offsets: Vec<_> = (0..events)
                .map(|_| {
                    at += [80, 8 * (10 + below(90)), 80 + below(20) / 19 * 80_000][events % 3];
                    (below(10) > 0 || events.is_multiple_of(5)).then_some(at)
                })
                .collect();
            let segment = segment(&offsets);
            for offset in (4096..at + 100).step_by(8) {
                let expected = offsets.iter().position(|placed| *placed == Some(offset)).map(|number| number as u64);
                assert_eq!(segment.number_at(offset).unwrap(), expected, "{offset} among {offsets:?}");
                if let Some(number) = expected {
                    assert_eq!(segment.position_at(offset).unwrap().get(), 101 + number);
                }
            }
            for outside in [0, 8, u64::MAX] {
                assert_eq!(segment.number_at(outside).unwrap(), None, "{outside} among {offsets:?}");
            }
        }
    }

    #[test]
    fn numbers_are_counted_from_the_first_event_of_the_segment() {
        let segment = segment(&[]);
        let numbers = |from, to| segment.numbers_of(Position::new(from), Position::new(to));
        assert_eq!(numbers(101, 101), Some(0..=0));
        assert_eq!(numbers(0, 103), Some(0..=2));
        assert_eq!(numbers(103, u64::MAX), Some(2..=u32::MAX));
        assert_eq!(numbers(0, 100), None);
        assert_eq!(numbers(200, 199), None);
        assert_eq!(numbers(101 + (1 << 32), u64::MAX), None);
    }
}
