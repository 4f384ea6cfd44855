//! What is still known of events that are lost: by their own frames, where only their batch is damaged, and by the index
//! of their segment.
//!
//! Both are hints. A frame has its checksum; an index is of this very segment and has checksums over all it says. And
//! when what they say does not fit to the events that are left, the survey is made again without them.

use std::collections::BTreeMap;
use std::io;

use annals_codec::index::{IndexIdentity, Sections as _, WholeIndex, offsets, stream_at};
use annals_codec::scan::Source as _;
use annals_codec::{
    FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, FrameKind, LogId, Position, Seed, SegmentNumber, StreamId,
};

use super::found::FoundSegment;
use super::streams::Owner;
use super::survey::event_in;
use crate::log::names;
use crate::log::small_files::read_file;
use crate::log::source::FileSource;
use crate::storage::Storage;

/// The stream and version of positions.
pub(super) type Hints = BTreeMap<Position, Owner>;

/// The seed of a segment, as its index says.
pub(super) fn seed_of(storage: &dyn Storage, log_id: LogId, number: SegmentNumber) -> Option<Seed> {
    identity_of(storage, log_id, number).map(|identity| identity.seed)
}

/// Where a segment begins, as its index says.
pub(super) fn base_of(storage: &dyn Storage, log_id: LogId, number: SegmentNumber) -> Option<Position> {
    identity_of(storage, log_id, number).map(|identity| identity.base)
}

fn identity_of(storage: &dyn Storage, log_id: LogId, number: SegmentNumber) -> Option<IndexIdentity> {
    let bytes = read_file(storage, &names::index(number)).ok()??;
    let identity = *WholeIndex::read(&bytes).ok()?.identity();
    ((identity.log_id, identity.segment) == (log_id, number)).then_some(identity)
}

/// What the index of a segment says of all its events; nothing, if it is not there, not whole, or of another segment.
pub(super) fn of_index(
    storage: &dyn Storage,
    use_hints: bool,
    log_id: LogId,
    segment: &FoundSegment,
    seed: Option<Seed>,
) -> Hints {
    if !use_hints {
        return Hints::new();
    }
    let bytes = read_file(storage, &names::index(segment.number)).ok().flatten().unwrap_or_default();
    read_index(&bytes, log_id, segment, seed).unwrap_or_default()
}

fn read_index(bytes: &[u8], log_id: LogId, segment: &FoundSegment, seed: Option<Seed>) -> Option<Hints> {
    let index = WholeIndex::read(bytes).ok()?;
    let identity = *index.identity();
    let is_of_it = (identity.log_id, identity.segment, identity.base) == (log_id, segment.number, segment.base);
    if !is_of_it || seed.is_some_and(|seed| seed != identity.seed) {
        return None;
    }
    // Every event has one posting, and events stand in the order of their positions: so their offsets, sorted, count them.
    let mut events: Vec<(u32, StreamId, u64)> = Vec::new();
    let mut number = 0;
    while let Some((name, entry)) = stream_at(&index, number).ok()? {
        if !StreamId::can_be_stored(name) {
            return None;
        }
        let mut postings = Vec::new();
        offsets(&index, &entry, 0..entry.events, &mut postings).ok()?;
        let stream = StreamId::stored(name);
        events.extend(postings.into_iter().zip(entry.first.get()..).map(|(at, version)| (at, stream.clone(), version)));
        number += 1;
    }
    events.sort_unstable_by_key(|(at, ..)| *at);
    if events.len() != identity.events as usize {
        return None;
    }
    let positions = (identity.base.get() + 1..).map(Position::new);
    Some(positions.zip(events).map(|(position, (_, stream, version))| (position, Owner { stream, version })).collect())
}

/// What whole frames among lost bytes say of these positions; and the index, where they say nothing.
pub(super) fn of_frames(
    use_hints: bool,
    source: &mut FileSource,
    seed: Seed,
    (from, to): (u64, u64),
    (after, upto): (Position, Position),
    index: &Hints,
) -> io::Result<Hints> {
    if !use_hints || after == upto {
        return Ok(Hints::new());
    }
    let mut hints: Hints = index.range(after.plus(1)..=upto).map(|(at, owner)| (*at, owner.clone())).collect();
    // However lengths are laid over each other: each byte is summed up a few times, and no more.
    let mut budget = (to - from).saturating_mul(8);
    let mut at = from.next_multiple_of(FRAME_ALIGN);
    while at + FRAME_HEADER_LEN as u64 <= to {
        let bytes = source.bytes(at, FRAME_HEADER_LEN)?;
        let header = FrameHeader::read(bytes).filter(|header| {
            header.kind() == Some(FrameKind::Event)
                && header.padded_len() <= (to - at).min(budget)
                && (after.plus(1)..=upto).contains(&header.position)
        });
        let mut step = FRAME_ALIGN;
        if let Some(header) = header {
            budget -= header.padded_len();
            if let Some(event) = event_in(source.bytes(at, header.padded_len() as usize)?, seed) {
                let owner = Owner { stream: StreamId::stored(event.stream), version: event.version.get() };
                hints.insert(event.position, owner);
                step = header.padded_len();
            }
        }
        at += step;
    }
    Ok(hints)
}
