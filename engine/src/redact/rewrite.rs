//! Writing a segment anew, without what is redacted.
//!
//! What is always true: what was written is synced, was read through from its first frame to its last, and its name is
//! durable, before it is given to anybody.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use annals_codec::scan::{SealedEnd, Sink, Stop};
use annals_codec::{Commit, Digest, Event, Position, RedactionMark, SEGMENT_HEADER_LEN, mark_redacted, redact_frame};

use super::{Doing, RedactError};
use crate::copy::judge;
use crate::error::ReadError;
use crate::log::names;
use crate::log::segment::{Segment, SegmentPlace};
use crate::log::small_files::{create_anew, write_all};
use crate::planted::{self, Bug};
use crate::storage::{Access, File, Storage};

/// A segment's new file, under the name that it waits under.
pub(super) struct Rewritten {
    /// The events that were redacted in it now, with the digests of what they have lost.
    pub(super) digests: Vec<(Position, Digest)>,
    end: SealedEnd,
}

impl Rewritten {
    /// The segment as it is read from now on. The file has the segment's name.
    pub(super) fn open(&self, storage: &dyn Storage, log: &Segment) -> io::Result<Segment> {
        let file = storage.open(&names::segment(log.number, log.base), Access::Read)?;
        let place = SegmentPlace { number: log.number, base: log.base, seed: log.seed, shown: log.shown.clone(), file };
        Segment::sealed(place, &self.end)
    }
}

/// Writes the new file of a segment, in which these events are redacted, too.
pub(super) fn rewrite(storage: &dyn Storage, log: &Segment, positions: &[Position]) -> Result<Rewritten, RedactError> {
    let (from, to) = (names::segment(log.number, log.base), names::redacted_segment(log.number, log.base));
    let mut redacted = redacted_in(log)?;
    let source = storage.open(&from, Access::Read).doing("open", storage, &from)?;
    let file = create_anew(storage, &to).doing("create", storage, &to)?;
    judge::copy_bytes(&source, log.committed(), &*file).doing("write", storage, &to)?;
    let mut digests = Vec::with_capacity(positions.len());
    for position in positions {
        let (offset, mut frame) = frame_at(log, *position)?;
        let digest = redact_frame(&mut frame, log.seed)
            .map_err(|fault| RedactError::Damaged(log.damage(offset, *position, *position, fault.to_string())))?;
        write_all(&*file, offset, &frame).doing("write", storage, &to)?;
        digests.push((*position, digest));
    }
    redacted.extend(positions);
    if let Some(mark) = RedactionMark::of(redacted) {
        write_mark(&*file, mark).doing("write", storage, &to)?;
    }
    if !planted::has(Bug::RedactedNotSynced) {
        file.sync().doing("sync", storage, &to)?;
    }
    storage.sync_dir(names::SEGMENTS).doing("sync", storage, names::SEGMENTS)?;
    Ok(Rewritten { digests, ..rewritten(storage, log)? })
}

/// The new file of a segment that was written before, if it is whole.
pub(super) fn rewritten(storage: &dyn Storage, log: &Segment) -> Result<Rewritten, RedactError> {
    let path = names::redacted_segment(log.number, log.base);
    let judged = judge::segment(storage, &path, log.number, log.committed())?;
    match judged.sealed {
        Some(end) if judged.seed == log.seed && end.seal.chain == log.chain => {
            Ok(Rewritten { digests: Vec::new(), end })
        }
        _ => {
            let fault = "its new file is not what it is".to_owned();
            Err(RedactError::Damaged(log.damage(0, log.base.plus(1), log.last(), fault)))
        }
    }
}

fn write_mark(file: &dyn File, mark: RedactionMark) -> io::Result<()> {
    let mut head = vec![0; SEGMENT_HEADER_LEN];
    if file.read_at(0, &mut head)? < head.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    mark_redacted(&mut head, mark);
    write_all(file, 0, &head)
}

/// Where the event at a position stands, and its frame.
fn frame_at(log: &Segment, position: Position) -> Result<(u64, Vec<u8>), RedactError> {
    let unreadable = |offset, error| ReadError::Io { path: log.shown.clone(), offset, source: Arc::new(error) };
    let damaged = |offset| {
        let fault = "its frame cannot be read".to_owned();
        RedactError::Damaged(log.damage(offset, position, position, fault))
    };
    let offset = log.offset_of(position).map_err(|error| unreadable(0, error))?.ok_or_else(|| damaged(0))?;
    let mut buffer = Vec::new();
    let frame = log.frame(offset, &mut buffer).map_err(|error| unreadable(offset, error))?;
    Ok((offset, frame.ok_or_else(|| damaged(offset))?.to_vec()))
}

/// The positions of the events of a segment that are redacted.
pub(super) fn redacted_in(log: &Segment) -> Result<BTreeSet<Position>, RedactError> {
    let unreadable = |error| ReadError::Io { path: log.shown.clone(), offset: 0, source: Arc::new(error) };
    let mut found = Found(BTreeSet::new());
    if log.header().map_err(unreadable)?.is_some_and(|header| header.redacted.is_none()) {
        return Ok(found.0);
    }
    match log.scan(None, &mut found).map_err(unreadable)? {
        Some(scan) => match scan.stop {
            Stop::Bad(bad) => {
                let from = scan.tail.position.plus(1);
                Err(RedactError::Damaged(log.damage(bad.at, from, log.last(), bad.fault.to_string())))
            }
            Stop::End | Stop::Sealed(_) => Ok(found.0),
        },
        None => {
            let fault = "its header cannot be read".to_owned();
            Err(RedactError::Damaged(log.damage(0, log.base.plus(1), log.last(), fault)))
        }
    }
}

struct Found(BTreeSet<Position>);

impl Sink for Found {
    fn event(&mut self, _offset: u64, event: &Event<'_>) {
        if event.redacted {
            self.0.insert(event.position);
        }
    }

    fn commit(&mut self, _offset: u64, _commit: &Commit<'_>) {}

    fn discard(&mut self) {}
}
