//! Decide: what the facts mean, and what is to be done. Pure.
//!
//! | facts | verdict |
//! |---|---|
//! | nothing at all | make a store |
//! | nothing but a WATERMARK that speaks of a log | refuse: its files are gone |
//! | one empty segment 0 and no `store.meta` | finish making it |
//! | a segment or `store.meta` missing, foreign, or contradicting its neighbours | refuse, naming it |
//! | segments before the one that the log begins with | remove them: a retention was not finished |
//! | such a one that was removed, and no floor that knows of it | damage: streams would begin anew |
//! | a segment with a successor whose end is not whole | damage: it was synced before the successor existed |
//! | such a segment longer than its trailer says, by zeros | trim it again |
//! | the last segment whole and sealed | finish the roll |
//! | bytes behind the last batch, and something says they were durable | damage, with the evidence |
//! | bytes behind the last batch otherwise | an unfinished tail: keep a copy, cut |
//! | a log shorter than the watermark | damage |

use annals_codec::scan::{SealedEnd, Stop, Totals, Verdict};
use annals_codec::{
    Digest, Epoch, Floor, FloorFault, HeaderFault, LogId, MetaFault, Position, SegmentNumber, StoreMeta, Watermark,
};

use super::survey::{Content, Facts, LastFacts, SegmentFacts, WatermarkFact};
use crate::error::{Damage, OpenError, explain};
use crate::log::floor::FloorFact;
use crate::planted::{self, Bug};

/// What is to be done before the log can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Plan {
    /// There is no store yet.
    Create,
    /// There is one.
    Use(Box<Usable>),
}

/// How a store is brought into use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Usable {
    /// From `store.meta`, or `None` when making the store stopped just before writing it.
    pub(crate) meta: Option<StoreMeta>,
    pub(crate) log_id: LogId,
    /// The valid watermark of this log, if there is one.
    pub(crate) watermark: Option<Watermark>,
    pub(crate) watermark_exists: bool,
    /// The segment that the log begins with, and its base.
    pub(crate) floor: (SegmentNumber, Position),
    /// Sealed segments that are longer than their trailer says: index, right length.
    pub(crate) trims: Vec<(usize, u64)>,
    /// What is cut off the last segment.
    pub(crate) cut: Option<Cut>,
    /// The last segment's bytes from here on are written again before they are synced: all that
    /// could not be proven to be on the disk; or the last of those that nothing vouches for,
    /// because an earlier sync that failed may have lost the length of the file, and only a
    /// write gives it to the next sync.
    pub(crate) write_back_from: Option<u64>,
    /// The last segment is sealed and has no successor yet.
    pub(crate) finish_roll: Option<SealedEnd>,
    /// Where the last segment's batches end.
    pub(crate) end: LogEnd,
    pub(crate) notes: Vec<String>,
    /// Damage, when it was only to be read.
    pub(crate) damage: Vec<Damage>,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LogEnd {
    pub(crate) offset: u64,
    pub(crate) position: Position,
    pub(crate) chain: u32,
    /// The hash chain, if the segment's markers carry it.
    pub(crate) hash: Option<Digest>,
    /// The highest epoch that any file speaks of.
    pub(crate) epoch: Epoch,
    pub(crate) totals: Totals,
}

/// An unfinished tail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cut {
    /// Where the log ends.
    pub(crate) offset: u64,
    /// Where the last byte behind it that is not zero ends.
    pub(crate) data_end: u64,
    pub(crate) fault: String,
}

/// How much of the log's end is written again to make its length durable, in bytes.
const WRITTEN_AGAIN: u64 = 4096;

/// Whether damage refuses the store, or is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Strict,
    Lenient,
}

fn inconsistent<T>(problem: String) -> Result<T, OpenError> {
    Err(OpenError::Inconsistent { problem })
}

/// Decides what the facts mean.
pub(crate) fn decide(facts: &Facts, mode: Mode) -> Result<Plan, OpenError> {
    let meta = match &facts.meta {
        None if facts.segments.is_empty() => {
            return match facts.watermark {
                WatermarkFact::Valid(watermark) => inconsistent(format!(
                    "store.meta and every segment are missing: WATERMARK says that position {} was durable",
                    watermark.position
                )),
                WatermarkFact::Missing | WatermarkFact::Blank => Ok(Plan::Create),
            };
        }
        None => None,
        Some(Ok(meta)) => Some(*meta),
        Some(Err(fault @ MetaFault::Newer { .. })) => return Err(OpenError::Newer { problem: fault.to_string() }),
        Some(Err(fault)) => return inconsistent(fault.to_string()),
    };
    let Some((last, older)) = facts.segments.split_last() else {
        let number = meta.map_or(SegmentNumber::FIRST, |meta| meta.active);
        return inconsistent(format!("segment {number} is missing, and so is every other"));
    };
    refuse_newer(&facts.segments)?;
    let log_id = match (&meta, &last.header) {
        (Some(meta), _) => meta.log_id,
        (None, Ok((header, _))) if is_alone_and_empty(older, last) => header.log_id,
        (None, _) => return inconsistent("store.meta is missing".to_owned()),
    };
    let mut damage = Vec::new();
    check_row(&facts.segments, facts.first, meta.as_ref(), log_id)?;
    check_floor(facts, meta.as_ref(), log_id, mode, &mut damage)?;
    let trims = check_older(older, last, mode, &mut damage)?;
    let last_facts = match &last.content {
        Content::Last(Some(last_facts)) => last_facts,
        Content::Last(None) | Content::Older(_) => return Err(OpenError::Corrupt(header_damage(last))),
    };
    if last.header.is_err() {
        tell(mode, &mut damage, header_damage(last))?;
    }

    let mut notes = Vec::new();
    let watermark = trusted_watermark(facts, log_id, &mut notes);
    check_watermark(watermark.as_ref(), last)?;
    let scan = &last_facts.scan;
    let cut = match scan.verdict(watermark.map_or(0, |mark| WatermarkFact::Valid(mark).vouches_for(last.number))) {
        Verdict::Clean => None,
        Verdict::Unfinished => match &scan.stop {
            Stop::Bad(bad) => {
                let fault = bad.fault.to_string();
                Some(Cut { offset: scan.tail.offset, data_end: bad.data_end.max(scan.tail.offset), fault })
            }
            Stop::End | Stop::Sealed(_) => unreachable!("only bad bytes are unfinished"),
        },
        Verdict::Damaged { .. } if planted::has(Bug::FirstBadFrameIsTheEnd) => match &scan.stop {
            Stop::Bad(bad) => Some(Cut {
                offset: scan.tail.offset,
                data_end: bad.data_end.max(scan.tail.offset),
                fault: String::new(),
            }),
            Stop::End | Stop::Sealed(_) => None,
        },
        Verdict::Damaged { durable_offset } => {
            tell(mode, &mut damage, tail_damage(last, last_facts, durable_offset))?;
            None
        }
    };
    let finish_roll = match &scan.stop {
        Stop::Sealed(sealed) => Some(*sealed),
        Stop::End | Stop::Bad(_) => None,
    };
    let whole_end = finish_roll.map_or(scan.tail.offset, |sealed| sealed.trailer.file_len);
    let vouched = last_facts.vouched;
    let write_back_from = if last_facts.unproven {
        Some(vouched)
    } else {
        (vouched < whole_end).then(|| vouched.max(whole_end.saturating_sub(WRITTEN_AGAIN)))
    };
    let header_epoch = last.header.as_ref().map_or(Epoch::default(), |(header, _)| header.epoch);
    let meta_epoch = meta.map_or(Epoch::default(), |meta| meta.epoch);
    let watermark_epoch = watermark.map_or(Epoch::default(), |watermark| watermark.epoch);
    let epochs = [meta_epoch, watermark_epoch, scan.tail.epoch, header_epoch];
    Ok(Plan::Use(Box::new(Usable {
        meta,
        log_id,
        watermark,
        watermark_exists: facts.watermark != WatermarkFact::Missing,
        floor: (facts.first, facts.segments[0].base),
        trims,
        write_back_from,
        cut,
        finish_roll,
        end: LogEnd {
            offset: scan.tail.offset,
            position: scan.tail.position,
            chain: scan.tail.chain.unwrap_or(0),
            hash: scan.tail.hash,
            epoch: epochs.into_iter().max().unwrap_or_default(),
            totals: scan.totals,
        },
        notes,
        damage,
    })))
}

/// Damage refuses a store that is to be written, and is told of one that is only read.
fn tell(mode: Mode, told: &mut Vec<Damage>, damage: Damage) -> Result<(), OpenError> {
    match mode {
        Mode::Strict => Err(OpenError::Corrupt(damage)),
        Mode::Lenient => {
            told.push(damage);
            Ok(())
        }
    }
}

fn refuse_newer(segments: &[SegmentFacts]) -> Result<(), OpenError> {
    for segment in segments {
        if let Err(fault @ (HeaderFault::Newer { .. } | HeaderFault::Features { .. })) = &segment.header {
            return Err(OpenError::Newer { problem: format!("{}: {fault}", segment.display) });
        }
    }
    Ok(())
}

/// A new store writes segment 0 before `store.meta`, so a crash between the two leaves this.
fn is_alone_and_empty(older: &[SegmentFacts], last: &SegmentFacts) -> bool {
    let is_empty = match &last.content {
        Content::Last(Some(last)) => last.scan.stop == Stop::End && last.scan.totals.batches == 0,
        Content::Last(None) | Content::Older(_) => false,
    };
    older.is_empty() && is_empty && last.number == SegmentNumber::FIRST && last.base == Position::START
}

/// Numbers run on from the floor without hole or repetition, and each header
/// says what the file's name says.
fn check_row(
    segments: &[SegmentFacts],
    first: SegmentNumber,
    meta: Option<&StoreMeta>,
    log_id: LogId,
) -> Result<(), OpenError> {
    let mut expected = first;
    for segment in segments {
        if segment.number > expected {
            return inconsistent(format!("segment {expected} is missing"));
        }
        if segment.number < expected {
            return inconsistent(format!("{} is there twice", segment.display));
        }
        expected = expected.next();
        let Ok((header, _)) = &segment.header else { continue };
        if header.log_id != log_id {
            let (theirs, ours) = (header.log_id, log_id);
            return inconsistent(format!("{} belongs to log {theirs}, not to {ours}", segment.display));
        }
        if (header.number, header.base) != (segment.number, segment.base) {
            let (number, base) = (header.number, header.base);
            return inconsistent(format!(
                "{} says of itself that it is segment {number} from position {base}",
                segment.display
            ));
        }
    }
    match meta {
        Some(meta) if meta.active >= expected => inconsistent(format!("segment {} is missing", meta.active)),
        _ => Ok(()),
    }
}

/// What the floor says is what the oldest segment goes on from. Where nothing was removed nobody needs it.
fn check_floor(
    facts: &Facts,
    meta: Option<&StoreMeta>,
    log_id: LogId,
    mode: Mode,
    damage: &mut Vec<Damage>,
) -> Result<(), OpenError> {
    let oldest = &facts.segments[0];
    if facts.first == SegmentNumber::FIRST {
        return Ok(());
    }
    if meta.is_some_and(|meta| meta.floor == facts.first && meta.floor_base != oldest.base) {
        return inconsistent(format!("store.meta says that the log does not begin with {}", oldest.display));
    }
    let fault = match &facts.floor {
        FloorFact::Missing => "it is missing, and store.meta says that events were removed".to_owned(),
        FloorFact::Bad(FloorFault::Newer) => {
            return Err(OpenError::Newer { problem: format!("{}: {}", facts.floor_display, FloorFault::Newer) });
        }
        FloorFact::Bad(fault) => fault.to_string(),
        FloorFact::Good(header) => {
            let floor = &header.floor;
            if floor.log_id != log_id {
                let theirs = floor.log_id;
                return inconsistent(format!("{} belongs to log {theirs}, not to {log_id}", facts.floor_display));
            }
            if floor.segment < facts.first {
                format!("it knows what was removed before segment {}, and not all that was", floor.segment)
            } else if floor.segment > facts.first || goes_on_from(oldest, floor) {
                return Ok(());
            } else {
                return inconsistent(format!("{} does not continue {}", oldest.display, facts.floor_display));
            }
        }
    };
    let file = facts.floor_display.clone();
    let removed = (Position::START.plus(1), Some(oldest.base));
    tell(mode, damage, Damage { segment: facts.first, file, offset: 0, from: removed.0, to: removed.1, fault })
}

/// Whether a segment begins where the floor says that the log does.
fn goes_on_from(oldest: &SegmentFacts, floor: &Floor) -> bool {
    let continues = |chain| (oldest.base, chain) == (floor.position, floor.chain);
    // One whose header is hurt is told on its own.
    oldest.header.as_ref().map_or(oldest.base == floor.position, |(header, _)| continues(header.chain))
}

/// Every segment but the last has a whole end that its successor continues.
/// Returns those that have to be trimmed again.
fn check_older(
    older: &[SegmentFacts],
    last: &SegmentFacts,
    mode: Mode,
    damage: &mut Vec<Damage>,
) -> Result<Vec<(usize, u64)>, OpenError> {
    let mut trims = Vec::new();
    for (index, segment) in older.iter().enumerate() {
        let successor = older.get(index + 1).unwrap_or(last);
        if segment.header.is_err() {
            tell(mode, damage, header_damage(segment))?;
            continue;
        }
        let end = match &segment.content {
            Content::Older(Some(end)) => end,
            Content::Older(None) | Content::Last(_) => {
                let what = "the end of the segment (seal, index, trailer) is not whole";
                tell(mode, damage, end_damage(segment, successor, what))?;
                continue;
            }
        };
        if segment.len != end.trailer.file_len {
            trims.push((index, end.trailer.file_len));
        }
        let Ok((header, _)) = &successor.header else { continue };
        let found = (end.trailer.file_len, end.seal.chain, end.seal.last);
        if (header.predecessor_len, header.chain, header.base) != found {
            return inconsistent(format!("{} does not continue {}", successor.display, segment.display));
        }
    }
    Ok(trims)
}

/// The watermark, unless it speaks of another log.
fn trusted_watermark(facts: &Facts, log_id: LogId, notes: &mut Vec<String>) -> Option<Watermark> {
    let watermark = match facts.watermark {
        WatermarkFact::Valid(watermark) => watermark,
        WatermarkFact::Blank => return None,
        WatermarkFact::Missing => {
            let note = "WATERMARK was missing; damage at the very end of the log may look like an unfinished batch";
            notes.push(note.to_owned());
            return None;
        }
    };
    if watermark.log_id != log_id {
        notes.push(format!("WATERMARK speaks of log {}, and was ignored", watermark.log_id));
        return None;
    }
    Some(watermark)
}

/// A watermark in a segment that is not there: its file is gone.
fn check_watermark(watermark: Option<&Watermark>, last: &SegmentFacts) -> Result<(), OpenError> {
    match watermark {
        Some(watermark) if watermark.segment > last.number => {
            inconsistent(format!("segment {} is missing: WATERMARK says that it was written", watermark.segment))
        }
        _ => Ok(()),
    }
}

fn header_damage(segment: &SegmentFacts) -> Damage {
    let fault =
        segment.header.as_ref().err().map_or_else(|| "the segment cannot be read".to_owned(), ToString::to_string);
    Damage {
        segment: segment.number,
        file: segment.display.clone(),
        offset: 0,
        from: segment.base.plus(1),
        to: None,
        fault: explain_header(&fault),
    }
}

fn explain_header(fault: &str) -> String {
    format!("{fault}; a segment gets its name only after its header was synced")
}

fn end_damage(segment: &SegmentFacts, successor: &SegmentFacts, what: &str) -> Damage {
    Damage {
        segment: segment.number,
        file: segment.display.clone(),
        offset: segment.len,
        from: segment.base.plus(1),
        to: Some(successor.base).filter(|to| *to > segment.base),
        fault: format!("{what}; it was synced before segment {} began", successor.number),
    }
}

fn tail_damage(last: &SegmentFacts, facts: &LastFacts, durable_offset: u64) -> Damage {
    let scan = &facts.scan;
    let (offset, fault, to) = match &scan.stop {
        Stop::Bad(bad) => {
            let by_marker = bad.later_durable.is_some_and(|durable| durable > scan.tail.offset);
            let witness = if by_marker { "a later commit marker" } else { "WATERMARK" };
            let evidence = format!("{witness} says that everything below offset {durable_offset} was durable");
            (bad.at, explain(&bad.fault, &evidence), bad.resume.map(|resume| resume.position))
        }
        Stop::End | Stop::Sealed(_) => {
            let fault = format!(
                "the log ends here, but WATERMARK says that it was durable up to offset {durable_offset}; was it \
                 copied while a program was writing to it? `annals backup` makes a copy that is whole"
            );
            (scan.tail.offset, fault, None)
        }
    };
    Damage {
        segment: last.number,
        file: last.display.clone(),
        offset,
        from: scan.tail.position.plus(1),
        to: to.filter(|to| *to > scan.tail.position),
        fault,
    }
}

#[cfg(test)]
mod tests;
