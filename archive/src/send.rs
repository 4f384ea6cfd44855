//! Archiving: every sealed segment that is not there yet, in its order.
//!
//! ```text
//!  what is archived ─► agrees with what is here? ─► the next one: read, judged ─► segment ─► derived ─► manifest
//!  listed              else two histories            goes on from the last?       put        put        put
//! ```
//!
//! What is always true:
//!
//! - A manifest is put after everything that it speaks of.
//! - The store is only read, and may be written meanwhile. What retention removes before it was archived is an error.
//! - Where the object is there already, it is what would have been put, or nothing more is put.

use std::io;
use std::path::Path;
use std::sync::Arc;

use annals::LogId;
use annals_codec::{ArchivedSegment, FLOOR_HEADER_LEN, FloorHeader, Likeness, Position, SegmentNumber};
use bytes::Bytes;

use crate::error::ArchiveError;
use crate::local::{Local, SealedFile, Segments};
use crate::remote::Put;
use crate::{Archive, judge, names};

/// What was archived, and what was there.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Sent {
    /// The log.
    pub log: LogId,
    /// How many segments were archived now.
    pub segments: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many had been archived before.
    pub before: u64,
    /// The position of the last event before the archive's oldest.
    pub base: Position,
    /// The position of the archive's last event.
    pub last: Position,
    /// Segments in which something was redacted here after they were archived: the archive holds it as it was. Remove their
    /// objects, and their manifests, and archive once more.
    pub redacted: Vec<SegmentNumber>,
}

/// What is archived of a store, and what it has itself.
pub(crate) struct Both {
    pub(crate) archived: Vec<Arc<ArchivedSegment>>,
    pub(crate) here: Segments,
    /// Where something was redacted here, and not there.
    pub(crate) redacted: Vec<SegmentNumber>,
}

impl Archive {
    /// Archives every segment of the store in `dir` that is sealed and has a successor, and is not archived yet.
    ///
    /// Only reads the store; its writer may be at work, in this process or another. Each segment is read as a whole, and
    /// judged: a damaged one is not archived. What an interrupted run has left is gone on with, and only what is new is
    /// sent. `progress` is called with the bytes done and those to do.
    ///
    /// # Errors
    ///
    /// - [`ArchiveError::Clash`]: another copy of this log, which has gone on differently, is archived there.
    /// - [`ArchiveError::Gap`]: retention has removed what was not archived yet; the archive stays as it is.
    /// - [`ArchiveError::Damaged`], [`ArchiveError::Torn`], [`ArchiveError::NoStore`], [`ArchiveError::Store`],
    ///   [`ArchiveError::Io`]. What was archived before the error is.
    ///
    /// An example is at the head of the [crate].
    pub fn send(&self, dir: impl AsRef<Path>, mut progress: impl FnMut(u64, u64)) -> Result<Sent, ArchiveError> {
        let local = Local::new(dir.as_ref())?;
        let log = local.log_id;
        let Both { archived, here, redacted } = self.both(&local, true)?;
        let find = |number| archived.binary_search_by_key(&number, |segment| segment.header.number).ok();
        // Also those that somebody has removed there, from the middle or the beginning.
        let new: Vec<SealedFile> = here.sealed.iter().filter(|file| find(file.number).is_none()).copied().collect();
        let size = |file: &SealedFile| {
            let path = names::segment_file(file.number, file.base);
            local.storage.open(&path, annals::storage::Access::Read).and_then(|file| file.len()).unwrap_or_default()
        };
        let (all, mut bytes) = (new.iter().map(size).sum(), 0);
        progress(0, all);
        let mut sent: Option<ArchivedSegment> = None;
        for file in &new {
            let is_before = |segment: &&ArchivedSegment| segment.header.number.next() == file.number;
            let known = file.number.get().checked_sub(1).and_then(|before| find(SegmentNumber::new(before)));
            let before = known.map(|at| &*archived[at]).or(sent.as_ref()).filter(is_before);
            let segment = self.send_one(&local, file, before)?;
            bytes += segment.file_len();
            progress(bytes, all);
            sent = Some(segment);
        }
        let last = archived.last().map(|last| last.seal.last).max(sent.map(|sent| sent.seal.last));
        let base = archived
            .first()
            .map(|first| first.header.base)
            .into_iter()
            .chain(new.first().map(|first| first.base))
            .min();
        Ok(Sent {
            log,
            segments: new.len() as u64,
            bytes,
            before: archived.len() as u64,
            base: base.unwrap_or_default(),
            last: last.unwrap_or_default(),
            redacted,
        })
    }

    /// What is archived of a store, and what it has itself: of one history, and with nothing between them. What is missing
    /// from the middle of the archive may be `filled` from the store; otherwise it is an error.
    pub(crate) fn both(&self, local: &Local, filled: bool) -> Result<Both, ArchiveError> {
        /// How often somebody else may archive and remove between the two looks.
        const TRIES: usize = 10;
        let mut tries = 0;
        loop {
            // The archive first: what is archived of this store was sealed in it before.
            let archived = if filled { self.manifests(local.log_id)? } else { self.segments(local.log_id)? };
            let here = local.segments()?;
            tries += 1;
            match gap(&archived, &here) {
                Some(_) if tries < TRIES => {}
                Some(gap) => return Err(gap),
                None => {
                    let redacted = must_agree(local, &archived, &here)?;
                    return Ok(Both { archived, here, redacted });
                }
            }
        }
    }

    /// Archives one segment.
    fn send_one(
        &self,
        local: &Local,
        file: &SealedFile,
        before: Option<&ArchivedSegment>,
    ) -> Result<ArchivedSegment, ArchiveError> {
        let (log, number, base) = (local.log_id, file.number, file.base);
        let path = names::segment_file(number, base);
        let content = match local.read(&path) {
            Err(error) if is_gone(&error) => return Err(ArchiveError::Gap { from: base.plus(1), to: file.last }),
            read => Bytes::from(read?),
        };
        let damaged = |problem| ArchiveError::Damaged { file: local.storage.describe(&path), problem };
        let segment = judge::segment(&content).map_err(damaged)?;
        let is = (segment.header.log_id, segment.header.number, segment.header.base, segment.seal.last);
        if is != (log, number, base, file.last) {
            return Err(damaged("it is another segment than its name and the one behind it say".to_owned()));
        }
        match before {
            Some(before) => segment.comes_behind(before).map_err(|problem| ArchiveError::Clash {
                log,
                segment: before.header.number,
                problem: format!("segment {number} of the store does not go on from it: {problem}"),
            })?,
            None if number > SegmentNumber::FIRST => self.send_floor(local, &segment)?,
            None => {}
        }
        self.send_segment(&segment, content)?;
        for path in names::derived_files(number) {
            if let Ok(derived) = local.read(&path) {
                self.remote.put(&names::derived(log, &path), Bytes::from(derived))?;
            }
        }
        self.send_manifest(&segment)?;
        Ok(segment)
    }

    fn send_segment(&self, segment: &ArchivedSegment, content: Bytes) -> Result<(), ArchiveError> {
        let header = &segment.header;
        let path = names::segment(header.log_id, header.number, header.base);
        if self.remote.put(&path, content)? == Put::Made {
            return Ok(());
        }
        // Of a run that did not come to its end, or of somebody who does the same now.
        let object = || self.remote.show(&path);
        let there = self.remote.get(&path)?.ok_or_else(|| ArchiveError::Missing { object: object() })?;
        let Some(problem) = judge::difference(&there, segment) else { return Ok(()) };
        Err(match judge::segment(&there) {
            Ok(_) => ArchiveError::Clash { log: header.log_id, segment: header.number, problem },
            Err(_) => ArchiveError::Torn { object: object(), problem },
        })
    }

    fn send_manifest(&self, segment: &ArchivedSegment) -> Result<(), ArchiveError> {
        let header = &segment.header;
        let path = names::manifest(header.log_id, header.number, header.base);
        if self.remote.put(&path, Bytes::from(segment.encode()))? == Put::Made {
            return Ok(());
        }
        let there = self.remote.get(&path)?.ok_or_else(|| ArchiveError::Missing { object: self.remote.show(&path) })?;
        if self.remote.decode(&path, &there)? == *segment {
            return Ok(());
        }
        let problem = "its manifest speaks of another one".to_owned();
        Err(ArchiveError::Clash { log: header.log_id, segment: header.number, problem })
    }

    /// What was known of the events before the archive's first segment.
    fn send_floor(&self, local: &Local, first: &ArchivedSegment) -> Result<(), ArchiveError> {
        let (log, number, base) = (first.header.log_id, first.header.number, first.header.base);
        let content = local.read(names::FLOOR)?;
        let head = &content[..content.len().min(FLOOR_HEADER_LEN)];
        let damaged = |problem| ArchiveError::Damaged { file: local.storage.describe(names::FLOOR), problem };
        let header = FloorHeader::decode(head, content.len() as u64).map_err(|fault| damaged(fault.to_string()))?;
        header.check(&content).map_err(|fault| damaged(fault.to_string()))?;
        if header.floor.position > base {
            return Err(ArchiveError::Gap { from: base.plus(1), to: header.floor.position });
        }
        if (header.floor.log_id, header.floor.segment, header.floor.position) != (log, number, base) {
            return Err(damaged(format!("it does not say what came before segment {number}")));
        }
        // Who has put one before has put this one: what is known of removed events does not change.
        self.remote.put(&names::floor(log, number, base), Bytes::from(content)).map(drop)
    }
}

/// What lies between the archive and the store, if anything does.
fn gap(archived: &[Arc<ArchivedSegment>], here: &Segments) -> Option<ArchiveError> {
    let last = archived.last()?;
    let (number, base) = here.sealed.first().map(|file| (file.number, file.base)).or(here.newest)?;
    let is_gap = number > last.header.number.next();
    is_gap.then(|| ArchiveError::Gap { from: last.seal.last.plus(1), to: base })
}

/// Whether what is archived and what is here are of one history, wherever both have something.
fn must_agree(
    local: &Local,
    archived: &[Arc<ArchivedSegment>],
    here: &Segments,
) -> Result<Vec<SegmentNumber>, ArchiveError> {
    let mut redacted = Vec::new();
    let clash = |segment, problem: String| Err(ArchiveError::Clash { log: local.log_id, segment, problem });
    for archived in archived {
        let header = &archived.header;
        let found = here.sealed.binary_search_by_key(&header.number, |file| file.number);
        let Some(file) = found.ok().map(|at| here.sealed[at]) else { continue };
        if file.base != header.base {
            let problem = format!("it begins behind position {}, and the store's behind {}", header.base, file.base);
            return clash(header.number, problem);
        }
        match local.compare(&file, archived) {
            Ok(Likeness::Same) => {}
            Ok(Likeness::Redacted) => redacted.push(header.number),
            Ok(Likeness::Other) => {
                let problem = "the store's holds other events, or is damaged where it begins or ends".to_owned();
                return clash(header.number, problem);
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let (Some(last), Some((newest, base))) = (archived.last(), here.newest) else { return Ok(redacted) };
    let number = last.header.number;
    if newest <= number {
        // What is archived was sealed in this store before it was archived, and had a successor.
        let problem = format!(
            "the archive goes on to position {}, and this store has nothing behind segment {newest}: an older copy of it \
             was restored",
            last.seal.last
        );
        return clash(number, problem);
    }
    if newest == number.next() {
        let header = local.header(newest, base)?;
        let goes_on =
            (header.base, header.predecessor_len, header.chain) == (last.seal.last, last.file_len(), last.seal.chain);
        if !goes_on {
            return clash(number, format!("segment {newest} of the store goes on from another one"));
        }
    }
    Ok(redacted)
}

/// Whether retention took a file while it was looked at.
fn is_gone(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
