//! Decide: what is kept as it is, what is written anew, and with what lost positions are filled. Pure.
//!
//! A segment stays as it is when all of it is whole and it continues the one before, as that will be. Where only a
//! header or an end had to be made again, what is made is what it was, so those behind it stay. Behind the first loss
//! the chain is another one, and every segment has to say so: they are written anew.

use std::collections::BTreeMap;

use annals_codec::{LostRange, Position, SEGMENT_HEADER_LEN, StreamId, seal_room};

use super::found::{Found, FoundSegment, Gap};
use super::streams::{Missing, Owner, assign};
use super::{LostVersions, RepairPlan, UNKNOWN_STREAM};
use crate::log::names;
use crate::planted::{self, Bug};

/// More positions than this, lost in one segment, are taken for a number that is wrong.
const MOST_LOST: u64 = 1 << 27;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) plan: RepairPlan,
    pub(super) found: Found,
    /// For each segment that was found, how it gets into the new store.
    pub(super) steps: Vec<Step>,
    /// What each lost position is filled with.
    pub(super) owners: BTreeMap<Position, Owner>,
}

/// How a segment gets into the new store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// As it is, up to the end of its last batch.
    Keep,
    /// Written anew, behind the header that it had: it says of the segment before what is still true.
    Again,
    /// Written anew, with another header.
    Anew,
}

/// Decides what is to be made of what was found; what does not fit together, if that cannot be.
pub(super) fn decide(mut found: Found) -> Result<Decided, String> {
    if let Some(contradiction) = found.streams.contradiction.take() {
        return Err(contradiction);
    }
    if planted::has(Bug::LostPositionReused)
        && let Some(last) = found.segments.last_mut()
        && let Some(gap) = last.gaps.last_mut().filter(|gap| gap.upto == last.end)
    {
        (gap.upto, last.end) = (gap.after, gap.after);
    }
    if let Some(gap) = gaps(&found).map(|(_, gap)| gap).find(|gap| gap.count() > MOST_LOST) {
        return Err(format!("positions {} to {} cannot all be lost: they are too many", gap.after.plus(1), gap.upto));
    }
    let mut steps = steps(&found);
    if !found.mended.is_empty() || steps.iter().any(|step| *step != Step::Keep) {
        finish_redactions(&mut found, &mut steps);
    }
    let owners = owners(&mut found)?;
    let lost = gaps(&found).filter(|(_, gap)| gap.count() > 0).map(|(segment, gap)| LostRange {
        first: gap.after.plus(1),
        last: gap.upto,
        file: segment.path.clone(),
        offset: gap.offset,
        bytes: gap.to - gap.offset,
        kept: kept_as(segment, gap),
        why: gap.why.clone(),
    });
    let last = found.segments.last().expect("a log has a segment");
    let kept = steps.iter().filter(|step| **step == Step::Keep).count() as u64;
    let unfinished = last.file.as_ref().and_then(|file| file.unfinished);
    let plan = RepairPlan {
        log_id: found.log_id,
        is_needed: true,
        head: last.end,
        lost: lost.collect(),
        streams: versions(&owners),
        kept_segments: kept,
        written_segments: steps.len() as u64 - kept,
        mended: found.mended.clone(),
        unfinished_bytes: unfinished.map_or(0, |(from, to)| to - from),
        notes: found.notes.clone(),
    };
    Ok(Decided { plan, found, steps, owners })
}

fn gaps(found: &Found) -> impl Iterator<Item = (&FoundSegment, &Gap)> {
    found.segments.iter().flat_map(|segment| segment.gaps.iter().map(move |gap| (segment, gap)))
}

/// Where the bytes of a gap are kept in the new store.
pub(super) fn kept_as(segment: &FoundSegment, gap: &Gap) -> Option<String> {
    let checksum = gap.checksum.filter(|_| gap.to > gap.offset)?;
    Some(names::quarantined(segment.number, gap.offset, checksum))
}

/// What the segments written so far say of themselves, if that can be known before they are written.
#[derive(Clone, Copy)]
struct After {
    len: u64,
    chain: u32,
}

fn steps(found: &Found) -> Vec<Step> {
    let first = &found.segments[0];
    // What came before the oldest one was removed, so its own header is believed.
    let before = first.file.as_ref().and_then(|file| file.header).map(|header| header.predecessor_len);
    let is_floor = first.number.get() > 0;
    let len = if is_floor { before.unwrap_or_default() } else { 0 };
    let mut after = Some(After { len, chain: found.chain_before });
    let mut steps = Vec::with_capacity(found.segments.len());
    for segment in &found.segments {
        let step = step(segment, after);
        after = match (step, &segment.file) {
            (Step::Anew, _) | (_, None) => None,
            (Step::Keep, Some(file)) => {
                file.sealed.map(|end| After { len: end.trailer.file_len, chain: end.seal.chain })
            }
            (Step::Again, Some(file)) => file
                .tail()
                .filter(|_| is_unchanged(segment))
                .and_then(|tail| Some(After { len: tail.offset + seal_room(file.totals.events), chain: tail.chain? })),
        };
        steps.push(step);
    }
    steps
}

/// Whether all its batches are there.
fn is_unchanged(segment: &FoundSegment) -> bool {
    segment.gaps.iter().all(|gap| gap.is_end)
}

fn step(segment: &FoundSegment, after: Option<After>) -> Step {
    let Some((file, header)) = segment.file.as_ref().and_then(|file| Some((file, file.header?))) else {
        return Step::Anew;
    };
    let continues = after.is_some_and(|after| (header.predecessor_len, header.chain) == (after.len, after.chain));
    // One of a later version says more than would be written again.
    if !continues || header.base != segment.base || header.encode().1 != file.seed {
        return Step::Anew;
    }
    let is_ended = if segment.is_last { file.len >= SEGMENT_HEADER_LEN as u64 } else { file.sealed.is_some() };
    if file.is_header_good && is_ended && segment.gaps.is_empty() { Step::Keep } else { Step::Again }
}

/// Segments that still have what the log says is gone are written again without it. Where nothing is damaged, who opens
/// the store for writing does that.
fn finish_redactions(found: &mut Found, steps: &mut [Step]) {
    for (segment, step) in found.segments.iter().zip(steps) {
        let due = found.redactions.due_in(segment);
        if due > 0 {
            let path = &segment.path;
            found
                .notes
                .push(format!("a redaction of {due} events in {path} was recorded and interrupted: it is finished"));
            *step = if *step == Step::Keep { Step::Again } else { *step };
        }
    }
    found.notes.extend(found.redactions.note());
}

/// What each lost position is filled with.
fn owners(found: &mut Found) -> Result<BTreeMap<Position, Owner>, String> {
    let mut owners = std::mem::take(&mut found.known);
    let missing: Vec<Missing> = std::mem::take(&mut found.streams.missing);
    let is_free = |position: &Position| !owners.contains_key(position);
    let lost = |gap: &Gap| (gap.after.get() + 1..=gap.upto.get()).map(Position::new);
    let free: Vec<Position> = gaps(found).flat_map(|(_, gap)| lost(gap)).filter(is_free).collect();
    owners.extend(assign(free.iter().copied(), missing)?);
    for (_, gap) in gaps(found) {
        let mut own: Option<(StreamId, u64)> = None;
        for position in lost(gap) {
            if owners.contains_key(&position) {
                continue;
            }
            let (stream, version) =
                own.get_or_insert_with(|| (StreamId::stored(&format!("{UNKNOWN_STREAM}{position}")), 0));
            if *version == 0 && found.streams.knows(stream) {
                return Err(format!("the log goes on with stream {stream}, which begins where nothing is left"));
            }
            *version += 1;
            owners.insert(position, Owner { stream: stream.clone(), version: *version });
        }
    }
    Ok(owners)
}

/// The same by stream, for a person.
fn versions(owners: &BTreeMap<Position, Owner>) -> Vec<LostVersions> {
    let mut all: Vec<&Owner> = owners.values().collect();
    all.sort_unstable_by(|a, b| (&a.stream, a.version).cmp(&(&b.stream, b.version)));
    let mut ranges: Vec<LostVersions> = Vec::new();
    for owner in all {
        match ranges.last_mut().filter(|range| range.stream == owner.stream && range.last + 1 == owner.version) {
            Some(range) => range.last = owner.version,
            None => {
                let (stream, first, last) = (owner.stream.clone(), owner.version, owner.version);
                ranges.push(LostVersions { stream, first, last });
            }
        }
    }
    ranges
}
