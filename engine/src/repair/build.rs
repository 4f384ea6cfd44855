//! Carry out: the new store, file by file, into an empty directory.
//!
//! The order matters: segments, what was damaged, what others keep beside the log, the record of losses, WATERMARK; all
//! of that durable with its names; and then `store.meta`, without which there is no store.

use std::io;
use std::sync::Arc;

use annals_codec::{
    Digest, Epoch, IdMaker, META_FILE_LEN, Position, Repair, SegmentHeader, SegmentNumber, StoreMeta,
    WATERMARK_FILE_LEN, Watermark, chain_start, u64_at,
};

use super::found::FoundSegment;
use super::plan::{Decided, Step, kept_as};
use super::record::{data_of, losses_on};
use super::weave::{Weaver, Woven};
use super::{RepairError, Repairing as _};
use crate::log::names;
use crate::log::recover::survey::Facts;
use crate::log::small_files::{create_dirs, create_whole, list_whole, write_all};
use crate::log::source::FileSource;
use crate::planted::{self, Bug};
use crate::storage::{Access, File, Storage, Take};

/// The end of the log so far.
#[derive(Clone, Copy)]
struct End {
    len: u64,
    chain: u32,
    hash: Option<Digest>,
    epoch: Epoch,
}

struct Build<'a> {
    from: &'a dyn Storage,
    to: &'a dyn Storage,
    decided: &'a Decided,
    now: i64,
    ids: IdMaker,
    /// Directories whose names are not durable yet.
    dirs: Vec<String>,
}

/// Builds what was decided in a directory that has to be empty.
pub(super) fn build(
    from: &dyn Storage,
    facts: &Facts,
    decided: &Decided,
    to: &dyn Storage,
    now: i64,
) -> Result<(), RepairError> {
    let plan = &decided.plan;
    if plan.written_segments == 0 && plan.mended.is_empty() {
        return Err(match plan.notes.last().filter(|_| plan.is_needed) {
            Some(problem) => RepairError::Hopeless { problem: problem.clone() },
            None => RepairError::NotNeeded,
        });
    }
    let shown = || to.describe("");
    let _held = to.lock().map_err(|_| RepairError::NotEmpty { path: shown().into() })?;
    let there = to.list("").repairing("list", shown)?;
    if there.iter().any(|name| name != names::LOCK) {
        return Err(RepairError::NotEmpty { path: shown().into() });
    }
    let mut salt = [0; 8];
    to.fill_random(&mut salt).repairing("make event ids for", shown)?;
    let ids = IdMaker::new(u64_at(&salt, 0));
    let mut build = Build { from, to, decided, now, ids, dirs: Vec::new() };
    for dir in [names::SEGMENTS, names::INDEXES] {
        build.make_dir(dir)?;
    }
    let end = build.segments()?;
    for dir in [names::QUARANTINE, names::CONSUMERS, names::STATES] {
        build.copy_tree(dir)?;
    }
    build.quarantine(facts)?;
    build.small_files(&end)
}

impl Build<'_> {
    fn make_dir(&mut self, dir: &str) -> Result<(), RepairError> {
        if !self.dirs.iter().any(|known| known == dir) {
            create_dirs(self.to, dir).repairing("create", || self.to.describe(dir))?;
            self.dirs.push(dir.to_owned());
        }
        Ok(())
    }

    /// All segments, in order; where the log ends then.
    fn segments(&mut self) -> Result<(SegmentNumber, Position, Woven), RepairError> {
        let decided = self.decided;
        let mut end = End { len: 0, chain: decided.found.chain_before, hash: None, epoch: Epoch::default() };
        let mut last = None;
        for (index, (segment, step)) in decided.found.segments.iter().zip(&decided.steps).enumerate() {
            if index == 0
                && let Some(header) = segment.file.as_ref().and_then(|file| file.header)
                && segment.number > SegmentNumber::FIRST
            {
                (end.len, end.hash) = (header.predecessor_len, header.chain_hash);
            }
            let woven = match step {
                Step::Keep => self.keep(segment)?,
                Step::Again | Step::Anew => self.weave(segment, *step, end)?,
            };
            end = End { len: woven.len, chain: woven.chain, hash: woven.hash, epoch: end.epoch.max(woven.epoch) };
            last = Some((segment.number, segment.base, woven));
        }
        Ok(last.expect("a log has a segment"))
    }

    /// A segment that stays: another name of the same file, if nobody will write to it.
    fn keep(&self, segment: &FoundSegment) -> Result<Woven, RepairError> {
        let file = segment.file.as_ref().expect("what is kept is there");
        let tail = file.tail().expect("it was read");
        let len = file.sealed.map_or(tail.offset, |end| end.trailer.file_len);
        let is_linked = !segment.is_last
            && len == file.len
            && self
                .to
                .take_from(self.from, &segment.path, &segment.path, Take::Link)
                .repairing("link", || self.to.describe(&segment.path))?;
        if !is_linked {
            self.copy(&segment.path, 0..len, &segment.path)?;
        }
        if !segment.is_last {
            // The index of a segment that is the same; where it cannot be had, it is made anew.
            let index = names::index(segment.number);
            if !self.to.take_from(self.from, &index, &index, Take::Link).unwrap_or(false) {
                tracing::debug!(index, "is made anew");
            }
        }
        Ok(Woven { len, chain: tail.chain.unwrap_or_default(), hash: tail.hash, epoch: tail.epoch, seed: file.seed })
    }

    /// A segment that is written anew.
    fn weave(&self, segment: &FoundSegment, step: Step, end: End) -> Result<Woven, RepairError> {
        let (found, to) = (&self.decided.found, self.to);
        let known = segment.file.as_ref().and_then(|file| file.header);
        let header = match known.filter(|_| step == Step::Again) {
            Some(header) => header,
            None => {
                let mut salt = [0; 16];
                to.fill_random(&mut salt).repairing("make a segment in", || to.describe(names::SEGMENTS))?;
                let is_hashed = segment.file.as_ref().map_or(end.hash.is_some(), |file| file.is_hashed);
                let anchor = || end.hash.unwrap_or_else(|| chain_start(found.log_id, segment.base));
                SegmentHeader {
                    log_id: found.log_id,
                    number: segment.number,
                    base: segment.base,
                    epoch: known.map_or(end.epoch, |header| header.epoch),
                    salt,
                    created_at: known.map_or(found.created_at, |header| header.created_at),
                    predecessor_len: end.len,
                    chain: end.chain,
                    chain_hash: is_hashed.then(anchor),
                    // Said when it is known which of its events are left.
                    redacted: None,
                }
            }
        };
        let temporary = names::unnamed_segment(segment.number);
        let file = to.create(&temporary).repairing("create", || to.describe(&temporary))?;
        let weaver = Weaver::begin(file, header, &found.redactions, end.epoch, step == Step::Again);
        let woven = self.weave_into(weaver, segment).repairing("write", || to.describe(&temporary))?;
        to.rename(&temporary, &segment.path).repairing("rename", || to.describe(&temporary))?;
        Ok(woven)
    }

    /// Runs and gaps, in the order in which they stand.
    fn weave_into(&self, mut weaver: Weaver<'_>, segment: &FoundSegment) -> io::Result<Woven> {
        let owners = &self.decided.owners;
        let mut gaps = segment.gaps.iter().peekable();
        if let Some(found) = &segment.file {
            let file = self.from.open(&segment.path, Access::Read)?;
            let mut source = FileSource::cached(file, found.len);
            for (from, to) in &found.runs {
                weaver.run(&mut source, found.seed, from, to)?;
                if weaver.position != to.position {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it has changed while it was repaired"));
                }
                if let Some(gap) = gaps.next_if(|gap| gap.offset >= to.offset && gap.after == to.position) {
                    self.fill(&mut weaver, segment, gap, owners)?;
                }
            }
        }
        for gap in gaps {
            self.fill(&mut weaver, segment, gap, owners)?;
        }
        weaver.finish(!segment.is_last || segment.file.as_ref().is_some_and(|file| file.sealed.is_some()))
    }

    fn fill(
        &self,
        weaver: &mut Weaver<'_>,
        segment: &FoundSegment,
        gap: &super::found::Gap,
        owners: &std::collections::BTreeMap<Position, super::streams::Owner>,
    ) -> io::Result<()> {
        if gap.is_end {
            return Ok(());
        }
        weaver.gap();
        if gap.count() == 0 {
            return Ok(());
        }
        let first = gap.after.plus(1);
        let is_it = |lost: &&annals_codec::LostRange| (lost.first, &lost.file) == (first, &segment.path);
        let lost = self.decided.plan.lost.iter().find(is_it).expect("every gap is in the plan");
        let recorded_at = gap.recorded_at.unwrap_or(self.decided.found.created_at);
        let filled = owners.range(first..=gap.upto).map(|(_, owner)| owner);
        weaver.fill(filled, &data_of(lost, self.now), recorded_at, self.ids)
    }

    /// Copies a part of a file, durably, to a name that it gets when it is whole.
    fn copy(&self, path: &str, range: std::ops::Range<u64>, to: &str) -> Result<(), RepairError> {
        const STEP: u64 = 1 << 20;
        let source = self.from.open(path, Access::Read).repairing("open", || self.from.describe(path))?;
        let temporary = format!("{to}{}", names::TEMPORARY);
        let copied = || {
            let file: Arc<dyn File> = self.to.create(&temporary)?;
            let mut at = range.start;
            while at < range.end {
                let mut part = vec![0; STEP.min(range.end - at) as usize];
                let read = source.read_at(at, &mut part)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                write_all(&*file, at - range.start, &part[..read])?;
                at += read as u64;
            }
            file.sync()?;
            self.to.rename(&temporary, to)
        };
        copied().repairing("copy", || self.from.describe(path))
    }

    /// Copies a directory with all that is in it; nothing, if there is none.
    fn copy_tree(&mut self, dir: &str) -> Result<(), RepairError> {
        let listed = list_whole(self.from, dir).repairing("list", || self.from.describe(dir))?;
        for name in listed.iter().filter(|name| !name.ends_with(names::TEMPORARY)) {
            let path = format!("{dir}/{name}");
            if self.from.list(&path).is_ok() {
                self.copy_tree(&path)?;
                continue;
            }
            self.make_dir(dir)?;
            let file = self.from.open(&path, Access::Read).repairing("open", || self.from.describe(&path))?;
            let len = file.len().repairing("read", || self.from.describe(&path))?;
            self.copy(&path, 0..len, &path)?;
        }
        Ok(())
    }

    /// Keeps every byte that is in no batch of the new log.
    fn quarantine(&mut self, facts: &Facts) -> Result<(), RepairError> {
        let mut kept: Vec<(String, std::ops::Range<u64>, String)> = Vec::new();
        for segment in &self.decided.found.segments {
            for gap in &segment.gaps {
                kept.extend(kept_as(segment, gap).map(|name| (segment.path.clone(), gap.offset..gap.to, name)));
            }
            let unfinished = segment.file.as_ref().and_then(|file| file.unfinished).filter(|(from, to)| from < to);
            kept.extend(unfinished.map(|(from, to)| {
                let name = format!("{}/{:020}-{from:020}-unfinished.bin", names::QUARANTINE, segment.number.get());
                (segment.path.clone(), from..to, name)
            }));
            if segment.file.as_ref().is_some_and(|file| !file.is_header_good) {
                let name = format!("{}/{:020}-header.bin", names::QUARANTINE, segment.number.get());
                kept.push((segment.path.clone(), 0..annals_codec::SEGMENT_HEADER_LEN as u64, name));
            }
        }
        if facts.meta.is_some() && self.decided.found.meta.is_none() {
            let len = self.from.open(names::META, Access::Read).and_then(|file| file.len());
            let len = len.repairing("read", || self.from.describe(names::META))?;
            kept.push((names::META.to_owned(), 0..len, format!("{}/store.meta.bin", names::QUARANTINE)));
        }
        if !kept.is_empty() {
            self.make_dir(names::QUARANTINE)?;
        }
        for (path, range, name) in kept {
            // The same bytes of the same place may have been kept before.
            if self.to.open(&name, Access::Read).is_err() {
                self.copy(&path, range, &name)?;
            }
        }
        Ok(())
    }

    /// What stands beside the segments; the last of it makes this a store.
    fn small_files(&mut self, (number, base, end): &(SegmentNumber, Position, Woven)) -> Result<(), RepairError> {
        let (to, found, plan) = (self.to, &self.decided.found, &self.decided.plan);
        let floor = (found.segments[0].number, found.segments[0].base);
        let epoch = found.epoch.max(end.epoch);
        let meta = StoreMeta {
            sequence: 0,
            log_id: found.log_id,
            created_at: found.created_at,
            epoch,
            active: *number,
            active_base: *base,
            active_seed: end.seed,
            floor: floor.0,
            floor_base: floor.1,
        };
        let watermark = Watermark {
            log_id: found.log_id,
            sequence: 0,
            epoch,
            segment: *number,
            offset: end.len,
            position: plan.head,
            floor: floor.0,
        };
        if planted::has(Bug::RepairedBeforeSynced) {
            self.publish(&meta)?;
        }
        if floor.0 > SegmentNumber::FIRST {
            let len = self.from.open(names::FLOOR, Access::Read).and_then(|file| file.len());
            self.copy(names::FLOOR, 0..len.repairing("read", || self.from.describe(names::FLOOR))?, names::FLOOR)?;
        }
        let write = |path: &str, content: &[u8]| {
            create_whole(to, path, content).map(drop).repairing("write", || to.describe(path))
        };
        // One that cannot be read any more is kept by the old store, and told about.
        let mut record = losses_on(self.from).ok().flatten().unwrap_or_default();
        record.repairs.push(Repair { at: self.now, head: plan.head, lost: plan.lost.clone() });
        write(names::LOST, record.encode().as_bytes())?;
        let mut content = vec![0; WATERMARK_FILE_LEN];
        content[watermark.slot_offset() as usize..][..watermark.encode().len()].copy_from_slice(&watermark.encode());
        write(names::WATERMARK, &content)?;
        if planted::has(Bug::RepairedBeforeSynced) {
            return Ok(());
        }
        for dir in self.dirs.iter().map(String::as_str).chain([""]) {
            to.sync_dir(dir).repairing("sync", || to.describe(dir))?;
        }
        self.publish(&meta)
    }

    /// Makes it a store.
    fn publish(&self, meta: &StoreMeta) -> Result<(), RepairError> {
        let to = self.to;
        let mut content = vec![0; META_FILE_LEN];
        content[meta.slot_offset() as usize..][..meta.encode().len()].copy_from_slice(&meta.encode());
        create_whole(to, names::META, &content)
            .and_then(|_| to.sync_dir(""))
            .repairing("write", || to.describe(names::META))
    }
}
