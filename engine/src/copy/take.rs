//! Taking a backup: what was pinned of a store, into a directory.

use std::sync::Arc;

use annals_codec::{
    Checkpoint, Epoch, Hasher, ListedFile, LogId, META_FILE_LEN, Manifest, Mark, Position, SEGMENT_HEADER_LEN,
    SegmentHeader, StoreMeta, WATERMARK_FILE_LEN, Watermark,
};

use super::judge::{self, Judged};
use super::target::{Target, temporary};
use super::{BackupOptions, BackupReport, CopyError, Copying};
use crate::error::ReadError;
use crate::log::names;
use crate::log::segment::Segment;
use crate::log::small_files::{create_anew, write_all};
use crate::parallel;
use crate::storage::{Access, File, Storage, Take};
use crate::view::View;

/// What a backup is taken of.
pub(crate) struct Pinned<'a> {
    pub(crate) storage: &'a dyn Storage,
    pub(crate) log_id: LogId,
    pub(crate) view: Arc<View>,
    /// The end of the last segment; a batch ends there, and everything up to there is durable.
    pub(crate) end: u64,
    /// The highest epoch of any writer, and when the store was made.
    pub(crate) epoch: Epoch,
    pub(crate) created_at: i64,
    pub(crate) now: i64,
    /// The content of `floor`, where there is one.
    pub(crate) floor: Option<Vec<u8>>,
    /// The content of `LOST`, where the store was repaired.
    pub(crate) lost: Option<Vec<u8>>,
    pub(crate) consumers: Vec<(String, Checkpoint)>,
    pub(crate) notes: Vec<String>,
    /// What identifies the history up to a position.
    pub(crate) mark: Box<dyn Fn(Position) -> Result<Mark, CopyError> + 'a>,
}

/// One segment of the backup.
struct Part<'a> {
    segment: &'a Segment,
    path: String,
    len: u64,
    /// Where it is until the files of the backup before are replaced.
    at: String,
    from: From,
    judged: Option<Judged>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum From {
    /// The backup before has it, and knows its digest.
    Before,
    /// It lay there, and nobody knows why.
    There,
    Linked,
    Copied,
}

/// Takes a backup, or brings the one that is there up to date.
pub(crate) fn take(pinned: &Pinned<'_>, to: &dyn Storage, options: &BackupOptions) -> Result<BackupReport, CopyError> {
    if let Some(damage) = pinned.view.gaps.first() {
        return Err(CopyError::Damaged(damage.clone()));
    }
    let target = Target::new(to, pinned.log_id)?;
    if let Some(before) = &target.before {
        let position = before.mark.position;
        let here = (pinned.mark)(position)?;
        if !here.agrees_with(&before.mark) {
            let difference = format!("another batch was written at position {position}");
            return Err(CopyError::OtherHistory { position, difference });
        }
    }
    let mut parts = place_segments(pinned, &target, options)?;
    judge_all(&target, &mut parts, options.threads)?;
    check_unmoved(pinned, &parts)?;
    let (last, older) = parts.split_last().expect("a store has a segment");
    check_sealed(older, &last.segment.shown)?;
    let tail = last.judged.as_ref().expect("the last one is always read").tail;
    let mark = (pinned.mark)(tail.position)?;

    let mut files: Vec<ListedFile> = parts.iter().map(|part| listed(&target, part)).collect();
    let mut renames: Vec<String> =
        parts.iter().filter(|part| part.at != part.path).map(|part| part.path.clone()).collect();
    let oldest = parts[0].segment;
    let small = small_files(pinned, &parts, options);
    let consumers = small.iter().filter(|(path, _)| path.starts_with(names::CONSUMERS)).count() as u64;
    let mut copied_bytes = 0;
    for (path, content) in &small {
        write(to, &temporary(path), content)?;
        files.push(ListedFile {
            path: path.clone(),
            len: content.len() as u64,
            digest: Hasher::digest(content),
            sealed: None,
        });
        renames.push(path.clone());
        copied_bytes += content.len() as u64;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest = Manifest { mark, taken_at: pinned.now, floor: (oldest.number, oldest.base), files };
    // The new names, under the old manifest: only what replaces something waits.
    target.sync_dirs()?;
    target.finish(&renames, &manifest)?;

    let count = |from| parts.iter().filter(|part| part.from == from).count() as u64;
    copied_bytes += parts.iter().filter(|part| part.from == From::Copied).map(|part| part.len).sum::<u64>();
    Ok(BackupReport {
        mark,
        base: oldest.base,
        segments: parts.len() as u64,
        reused: count(From::Before) + count(From::There),
        dropped: target.before.as_ref().and_then(|before| (before.floor.1 < oldest.base).then_some(oldest.base)),
        linked: count(From::Linked),
        bytes: manifest.files.iter().map(|file| file.len).sum(),
        copied_bytes,
        consumers,
        notes: pinned.notes.clone(),
    })
}

/// Brings every segment into the directory, under its name or beside the one that has it.
fn place_segments<'a>(
    pinned: &'a Pinned<'_>,
    target: &Target<'_>,
    options: &BackupOptions,
) -> Result<Vec<Part<'a>>, CopyError> {
    let segments = &pinned.view.segments;
    let mut parts = Vec::with_capacity(segments.len());
    for (index, segment) in segments.iter().enumerate() {
        let segment = &*segment.log;
        let path = names::segment(segment.number, segment.base);
        let is_last = index + 1 == segments.len();
        let len = if is_last { pinned.end } else { segment.committed() };
        let mut part = Part { segment, at: path.clone(), path, len, from: From::Before, judged: None };
        if is_last {
            // Somebody may go on in it: never a second name of what the store appends to.
            part.at = temporary(&part.path);
            part.from = From::Copied;
            copy(pinned.storage, target, &part)?;
        } else {
            place_sealed(pinned.storage, target, &mut part, options)?;
        }
        parts.push(part);
    }
    Ok(parts)
}

fn place_sealed(
    from: &dyn Storage,
    target: &Target<'_>,
    part: &mut Part<'_>,
    options: &BackupOptions,
) -> Result<(), CopyError> {
    let to = target.storage;
    let is = (part.segment.seed, part.segment.chain);
    let there = to.open(&part.path, Access::Read).ok();
    let head = |file: &Arc<dyn File>| {
        let mut head = vec![0; SEGMENT_HEADER_LEN];
        let read = file.read_at(0, &mut head).ok()?;
        SegmentHeader::decode(&head[..read]).ok().map(|(header, _)| header)
    };
    // What was redacted since, seed and chain do not tell.
    let has_header =
        |file: &Arc<dyn File>| part.segment.header().is_ok_and(|header| header.is_some() && header == head(file));
    let is_there = there.is_some();
    let there = there.filter(has_header).and_then(|file| file.len().ok());
    if there == Some(part.len) {
        let is_known = |known: &&ListedFile| (known.len, known.sealed) == (part.len, Some(is));
        if target.known(&part.path).as_ref().is_some_and(is_known) {
            return Ok(());
        }
        if !target.is_whole()
            && judge::segment(to, &part.path, part.segment.number, part.len).is_ok_and(|judged| is_it(part, &judged))
        {
            part.from = From::There;
            return Ok(());
        }
    }
    if target.is_whole() {
        part.at = temporary(&part.path);
    } else if is_there {
        target.remove(&part.path)?;
    }
    let shown = || to.describe(&part.at);
    let linked = !options.copy && to.take_from(from, &part.path, &part.at, Take::Link).copying("link", shown)?;
    part.from = if linked { From::Linked } else { From::Copied };
    if linked {
        return Ok(());
    }
    // Copied beside its name: one that has its name is whole.
    copy(from, target, part)?;
    if part.at == part.path {
        let beside = temporary(&part.path);
        to.rename(&beside, &part.path).copying("rename", || to.describe(&beside))?;
    }
    Ok(())
}

/// Copies a segment beside its name, durably.
fn copy(from: &dyn Storage, target: &Target<'_>, part: &Part<'_>) -> Result<(), CopyError> {
    let (to, beside) = (target.storage, temporary(&part.path));
    target.remove(&beside)?;
    let shown = || to.describe(&beside);
    let is_whole = from.open(&part.path, Access::Read).and_then(|file| file.len()).ok() == Some(part.len);
    if is_whole && to.take_from(from, &part.path, &beside, Take::Copy).copying("copy", shown)? {
        let file = to.open(&beside, Access::ReadWrite).copying("open", shown)?;
        return file.sync().copying("sync", shown);
    }
    let source = from.open(&part.path, Access::Read).copying("open", || from.describe(&part.path))?;
    let file = to.create(&beside).copying("create", shown)?;
    judge::copy_bytes(&source, part.len, &*file).and_then(|_| file.sync()).copying("copy", shown)
}

/// Reads every segment that is new here.
fn judge_all(target: &Target<'_>, parts: &mut [Part<'_>], threads: usize) -> Result<(), CopyError> {
    let judged = parallel::each(threads, parts.len(), |index| {
        let part = &parts[index];
        (part.from != From::Before)
            .then(|| judge::segment(target.storage, &part.at, part.segment.number, part.len))
            .transpose()
    });
    for (part, judged) in parts.iter_mut().zip(judged) {
        part.judged = judged?;
    }
    Ok(())
}

/// Whether this is the segment that the store has.
fn is_it(part: &Part<'_>, judged: &Judged) -> bool {
    let end = judged.sealed.as_ref();
    judged.seed == part.segment.seed && end.is_some_and(|end| end.seal.chain == part.segment.chain)
}

/// What was redacted after the log was looked at is not taken: what says so would be missing.
fn check_unmoved(pinned: &Pinned<'_>, parts: &[Part<'_>]) -> Result<(), CopyError> {
    for part in parts {
        let Some(judged) = &part.judged else { continue };
        let header = part.segment.header().copying("read", || pinned.storage.describe(&part.path))?;
        if header.is_some_and(|header| header.redacted != judged.redacted) {
            let moved = Err(std::io::Error::new(std::io::ErrorKind::NotFound, "it was redacted meanwhile"));
            return moved.copying("copy", || pinned.storage.describe(&part.path));
        }
    }
    Ok(())
}

/// Every segment but the last is sealed, and the one that the store has.
fn check_sealed(older: &[Part<'_>], last: &str) -> Result<(), CopyError> {
    for part in older {
        let is_whole = part.segment.sealed && part.judged.as_ref().is_none_or(|judged| is_it(part, judged));
        if !is_whole {
            let fault = format!("it is not sealed as it should be, and {last} follows it");
            let (from, to) = (part.segment.base.plus(1), part.segment.last());
            return Err(CopyError::Damaged(part.segment.damage(0, from, to, fault)));
        }
    }
    Ok(())
}

fn listed(target: &Target<'_>, part: &Part<'_>) -> ListedFile {
    match &part.judged {
        Some(judged) => ListedFile {
            path: part.path.clone(),
            len: part.len,
            digest: judged.digest,
            sealed: judged.sealed.as_ref().map(|end| (judged.seed, end.seal.chain)),
        },
        None => target.known(&part.path).expect("what is not read is known").clone(),
    }
}

/// The files beside the segments, as they have to be for a store that ends where this backup does.
fn small_files(pinned: &Pinned<'_>, parts: &[Part<'_>], options: &BackupOptions) -> Vec<(String, Vec<u8>)> {
    let (last, oldest) = (&parts[parts.len() - 1], parts[0].segment);
    let tail = last.judged.as_ref().expect("the last one is always read").tail;
    let epoch = pinned.epoch.max(tail.epoch);
    let meta = StoreMeta {
        sequence: 0,
        log_id: pinned.log_id,
        created_at: pinned.created_at,
        epoch,
        active: last.segment.number,
        active_base: last.segment.base,
        active_seed: last.segment.seed,
        floor: oldest.number,
        floor_base: oldest.base,
    };
    let watermark = Watermark {
        log_id: pinned.log_id,
        sequence: 0,
        epoch,
        segment: last.segment.number,
        offset: last.len,
        position: tail.position,
        floor: oldest.number,
    };
    let whole = |len: usize, offset: u64, slot: &[u8]| {
        let mut content = vec![0; len];
        content[offset as usize..][..slot.len()].copy_from_slice(slot);
        content
    };
    let mut files = vec![
        (names::META.to_owned(), whole(META_FILE_LEN, meta.slot_offset(), &meta.encode())),
        (names::WATERMARK.to_owned(), whole(WATERMARK_FILE_LEN, watermark.slot_offset(), &watermark.encode())),
    ];
    files.extend(pinned.floor.clone().map(|floor| (names::FLOOR.to_owned(), floor)));
    files.extend(pinned.lost.clone().map(|lost| (names::LOST.to_owned(), lost)));
    // One that has gone on meanwhile speaks of what is not in here.
    let kept = pinned.consumers.iter().filter(|(_, checkpoint)| checkpoint.position() <= tail.position);
    files.extend(kept.filter(|_| options.consumers).map(|(name, checkpoint)| {
        let content = whole(Checkpoint::FILE_LEN, checkpoint.slot_offset(), &checkpoint.encode());
        (format!("{}/{name}", names::CONSUMERS), content)
    }));
    files
}

fn write(to: &dyn Storage, path: &str, content: &[u8]) -> Result<(), CopyError> {
    let written = create_anew(to, path).and_then(|file| write_all(&*file, 0, content).and_then(|()| file.sync()));
    written.copying("write", || to.describe(path))
}

/// What was removed while it was copied is tried again, with what the store has then.
pub(crate) fn has_moved(error: &CopyError) -> bool {
    match error {
        CopyError::Io { source, .. } | CopyError::Read(ReadError::Io { source, .. }) => {
            source.kind() == std::io::ErrorKind::NotFound
        }
        _ => false,
    }
}
