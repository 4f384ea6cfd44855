//! One verification from its beginning to its end: the survey, the segments on all threads, and what only shows when
//! they are seen together, in their order.

use std::ops::RangeInclusive;

use annals_codec::Position;

use super::chain::LogChain;
use super::kept;
use super::level::{Level, Verify};
use super::order::{Order, OrderFault};
use super::redactions::{Digests, RedactionCheck};
use super::report::{Finding, FindingKind, VerifyReport};
use super::segment::{Found, Reading, finding, newer};
use crate::copy;
use crate::error::OpenError;
use crate::index::check::{self, FileCheck, Files};
use crate::log::recover::decide::Plan;
use crate::log::recover::survey::{Content, Facts, SegmentFacts};
use crate::log::recover::survey_beside_writer;
use crate::parallel;
use crate::storage::Storage;
use crate::store::tip::ChainTip;
use crate::sync::Mutex;

pub(super) fn run(
    verify: &Verify,
    storage: &dyn Storage,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<VerifyReport, OpenError> {
    let level = verify.level;
    // Listed before the segments are: what is derived comes after what it is derived from.
    let files = Files::new(storage);
    let kept = if level.has_kept() { kept::read(storage) } else { Vec::new() };
    let positions = kept::positions(&kept);
    let (facts, decided) = survey_beside_writer(storage)?;
    if facts.meta.is_none() && facts.segments.is_empty() {
        return Err(OpenError::NotFound { path: storage.describe("").into() });
    }
    if let Some(problem) = newer(&facts) {
        return Err(OpenError::Newer { problem });
    }
    let threads = verify.threads.unwrap_or_else(parallel::cores);
    let of_range = |witness: &&ChainTip| verify.is_of_all() || verify.positions.contains(&witness.position);
    let witnesses: Vec<ChainTip> = verify.witnesses.iter().filter(of_range).copied().collect();
    let mut pass = Pass::new(&facts, &witnesses);
    pass.floor(storage, &facts, level);
    if level == Level::All && verify.is_of_all() {
        pass.manifest(storage, threads);
    }
    let mut checked = FileCheck::new(&files);
    let mut seen = Vec::new();
    let is_spoken_of = |index: usize| positions.iter().any(|position| holds(&facts, index, &(*position..=*position)));
    let wanted: Vec<usize> = (0..facts.segments.len())
        .filter(|index| holds(&facts, *index, &verify.positions))
        .filter(|index| level != Level::Snapshots || is_spoken_of(*index))
        .collect();
    if let Some(first) = wanted.first().filter(|first| **first > 0) {
        pass.order.begin_at(facts.segments[*first].base, None);
    }
    let digests = if level.has_digests() {
        Digests::ahead(storage, &facts, wanted.first().copied().unwrap_or_default(), threads)?
    } else {
        Digests::none(storage, &facts)
    };
    {
        let all: u64 = wanted.iter().map(|index| facts.segments[*index].len).sum();
        let told = Mutex::new((0, progress));
        let progress = |more: u64| {
            let (done, progress) = &mut *told.lock();
            *done = (*done + more).min(all);
            progress(*done, all);
        };
        let reading = Reading {
            storage,
            facts: &facts,
            files: &files,
            witnesses: &witnesses,
            digests: &digests,
            positions: &positions,
            level,
            progress: &progress,
        };
        let mut failed = None;
        parallel::in_order(
            threads,
            wanted.len(),
            |number| (wanted[number], reading.read(wanted[number])),
            |(index, mut found)| {
                if let Ok(found) = &mut found {
                    seen.append(&mut found.marks);
                }
                let segment = &facts.segments[index];
                let found = match found {
                    Ok(found) => found,
                    // Retention has removed it meanwhile.
                    Err(error) if error.is_not_found() && index + 1 < facts.segments.len() => {
                        checked.pass_over(segment.number);
                        pass.chain.pass_over();
                        return true;
                    }
                    Err(error @ OpenError::Io { .. }) if level == Level::Frames => reading.unread(index, &error),
                    Err(error) => {
                        failed = Some(error);
                        return false;
                    }
                };
                pass.take(storage, segment, found, &mut checked);
                true
            },
        );
        if let Some(error) = failed {
            return Err(error);
        }
    }
    if level.has_index() {
        pass.derived(storage, &mut checked, verify.is_of_all());
    }
    pass.relations(storage, decided)?;
    if level.has_kept() {
        pass.report.kept_files = kept.len() as u64;
        let head = last_position(&facts).max(pass.report.head);
        if verify.is_of_all() {
            pass.report.head = head;
        }
        pass.report.findings.extend(kept::compare(storage, &facts, &kept, &seen, head));
    }
    let Pass { mut report, chain, mut redactions, .. } = pass;
    if level.has_redactions() {
        redactions.know(digests.told());
        redactions.end(storage, &facts, &mut report)?;
    }
    if level.has_chain() {
        report.chain = chain.end(report.log_id, report.head, &mut report.findings);
    }
    Ok(report)
}

/// Where the log ends, as the survey has found.
fn last_position(facts: &Facts) -> Position {
    match facts.segments.last().map(|last| &last.content) {
        Some(Content::Last(Some(last))) => last.scan.tail.position,
        _ => Position::START,
    }
}

/// Whether a segment holds events of these positions, by its base and that of its successor.
fn holds(facts: &Facts, index: usize, positions: &RangeInclusive<Position>) -> bool {
    let ends_before = facts.segments.get(index + 1).is_some_and(|successor| successor.base < *positions.start());
    !ends_before && facts.segments[index].base < *positions.end()
}

pub(super) struct Pass {
    pub(super) report: VerifyReport,
    pub(super) order: Order,
    chain: LogChain,
    redactions: RedactionCheck,
}

impl Pass {
    fn new(facts: &Facts, witnesses: &[ChainTip]) -> Pass {
        Pass {
            report: VerifyReport::new(facts),
            order: Order::default(),
            chain: LogChain::new(witnesses),
            redactions: RedactionCheck::default(),
        }
    }

    /// Takes in what was found in the next segment.
    fn take(&mut self, storage: &dyn Storage, segment: &SegmentFacts, found: Found, checked: &mut FileCheck<'_>) {
        let report = &mut self.report;
        report.segments += 1;
        report.bytes += segment.len;
        report.events += found.events;
        report.batches += found.batches;
        report.head = report.head.max(found.head);
        report.unfinished_bytes += found.unfinished_bytes;
        report.findings.extend(found.findings);
        report.redacted += found.redactions.count();
        self.redactions.take(segment.number, found.is_whole, found.redactions);
        // One that is out of order puts all that follow out of order too: the first one tells.
        let fault = found.order.and_then(|order| self.order.take(order));
        if let Some(OrderFault { offset, position, message, more }) = fault {
            let more = match more {
                0 => String::new(),
                more => format!(" (and {more} more events behind it in this segment)"),
            };
            report.findings.push(finding(FindingKind::Order, segment, offset, position, message + &more));
        }
        let header = segment.header.as_ref().ok().map(|(header, _)| header);
        self.chain.finish(segment, header.zip(found.chain), &mut report.findings);
        if let Some(compared) = found.files {
            for fault in checked.take(compared) {
                report.findings.push(of_index(storage, Some(segment), fault));
            }
        }
    }

    /// What only shows when the files are seen together.
    fn relations(&mut self, storage: &dyn Storage, decided: Result<Plan, OpenError>) -> Result<(), OpenError> {
        let damage = match decided {
            Ok(Plan::Use(plan)) => plan.damage,
            Ok(Plan::Create) => Vec::new(),
            Err(OpenError::Inconsistent { problem }) => {
                self.report.findings.push(Finding {
                    kind: FindingKind::Files,
                    segment: None,
                    file: Some(storage.describe("")),
                    offset: None,
                    position: None,
                    message: problem,
                });
                return Ok(());
            }
            Err(OpenError::Corrupt(damage)) => vec![damage],
            Err(error) => return Err(error),
        };
        for damage in damage {
            let known = self.report.findings.iter().any(|finding| {
                finding.segment == Some(damage.segment) && finding.position.is_some_and(|at| at == damage.from)
            });
            if !known {
                self.report.findings.push(Finding {
                    kind: FindingKind::Lost,
                    segment: Some(damage.segment),
                    file: Some(damage.file),
                    offset: Some(damage.offset),
                    position: Some(damage.from),
                    message: damage.fault,
                });
            }
        }
        Ok(())
    }

    /// What a backup says that it consists of.
    fn manifest(&mut self, storage: &dyn Storage, threads: usize) {
        let Some((manifest, faults)) = copy::check::check(storage, threads) else { return };
        self.report.backup = manifest.map(|manifest| manifest.mark);
        self.report.findings.extend(faults.into_iter().map(|fault| Finding {
            kind: FindingKind::Files,
            segment: None,
            file: Some(storage.describe(&fault.path)),
            offset: None,
            position: None,
            message: format!("{}: {}", fault.path, fault.what),
        }));
    }

    /// What is derived from several segments, and what is left over.
    fn derived(&mut self, storage: &dyn Storage, checked: &mut FileCheck<'_>, are_all: bool) {
        if let Some(log_id) = self.report.log_id {
            for fault in checked.filters(log_id) {
                self.report.findings.push(of_index(storage, None, fault));
            }
        }
        self.report.index_files = checked.compared;
        if are_all {
            self.report.unused_files.extend(checked.of_nothing());
        }
    }
}

fn of_index(storage: &dyn Storage, segment: Option<&SegmentFacts>, fault: check::Fault) -> Finding {
    let check::Fault { path, offset, what } = fault;
    Finding {
        kind: FindingKind::Index,
        segment: segment.map(|segment| segment.number),
        message: format!("{path}: {what}; no answer depends on it: delete it, and it is made anew"),
        file: Some(storage.describe(&path)),
        offset: Some(offset),
        position: segment.map(|segment| segment.base.plus(1)),
    }
}
