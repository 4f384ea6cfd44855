//! Reading one segment from its first frame to its end, over every bad place; and what only shows when
//! segments are seen together.

use std::sync::Arc;

use annals_codec::index::{IndexBuilder, IndexIdentity};
use annals_codec::scan::{self, Fault, Sink, Source, Stop};
use annals_codec::{Commit, Event, HeaderFault, Position, SegmentNumber};

use super::chain::{LogChain, SegmentChain};
use super::order::{Order, OrderSink};
use super::redactions::RedactionCheck;
use super::{Finding, FindingKind, VerifyReport};
use crate::copy;
use crate::error::{Doing, OpenError};
use crate::index::check::{self, FileCheck};
use crate::log::recover::decide::Plan;
use crate::log::recover::survey::{Content, Facts, SegmentFacts, doubtful};
use crate::log::source::FileSource;
use crate::parallel;
use crate::storage::Storage;
use crate::store::tip::ChainTip;

pub(super) struct Pass {
    pub(super) report: VerifyReport,
    pub(super) order: Order,
    pub(super) chain: LogChain,
    pub(super) redactions: RedactionCheck,
}

impl Pass {
    pub(super) fn new(facts: &Facts, witnesses: &[ChainTip]) -> Pass {
        Pass {
            report: VerifyReport::new(facts),
            order: Order::default(),
            chain: LogChain::new(witnesses),
            redactions: RedactionCheck::default(),
        }
    }

    /// What only shows when the files are seen together.
    pub(super) fn relations(&mut self, decided: Result<Plan, OpenError>) -> Result<(), OpenError> {
        let damage = match decided {
            Ok(Plan::Use(plan)) => plan.damage,
            Ok(Plan::Create) => Vec::new(),
            Err(OpenError::Inconsistent { problem }) => {
                self.report.findings.push(Finding {
                    kind: FindingKind::Files,
                    segment: None,
                    file: None,
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
    pub(super) fn manifest(&mut self, storage: &dyn Storage) {
        let Some((manifest, faults)) = copy::check::check(storage, parallel::cores()) else { return };
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

    fn find(&mut self, kind: FindingKind, segment: &SegmentFacts, offset: u64, position: Position, message: String) {
        self.report.findings.push(Finding {
            kind,
            segment: Some(segment.number),
            file: Some(segment.display.clone()),
            offset: Some(offset),
            position: Some(position),
            message,
        });
    }

    /// What is derived from several segments, and what is left over.
    pub(super) fn filters(&mut self, storage: &dyn Storage, files: &mut FileCheck<'_>) {
        if let Some(log_id) = self.report.log_id {
            for fault in files.filters(log_id) {
                self.find_index(storage, None, fault);
            }
        }
        self.report.index_files = files.compared;
        self.report.unused_files.extend(files.of_nothing());
    }

    fn find_index(&mut self, storage: &dyn Storage, segment: Option<SegmentNumber>, fault: check::Fault) {
        let check::Fault { path, offset, what } = fault;
        self.report.findings.push(Finding {
            kind: FindingKind::Index,
            segment,
            message: format!("{path}: {what}; no answer depends on it: delete it, and it is made anew"),
            file: Some(storage.describe(&path)),
            offset: Some(offset),
            position: None,
        });
    }

    /// Reads one segment from its first frame to its end, over every bad place.
    pub(super) fn segment(
        &mut self,
        storage: &dyn Storage,
        facts: &Facts,
        segment: &SegmentFacts,
        successor: Option<&SegmentFacts>,
        files: &mut FileCheck<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), OpenError> {
        self.report.segments += 1;
        let first = segment.base.plus(1);
        if let Err(fault) = &segment.header {
            if let HeaderFault::Newer { .. } | HeaderFault::Features { .. } = fault {
                return Err(OpenError::Newer { problem: format!("{}: {fault}", segment.display) });
            }
            self.find(FindingKind::Header, segment, 0, first, fault.to_string());
        }
        let (seed, mut tail) = match (&segment.header, &segment.content) {
            (Ok((header, seed)), _) => (*seed, scan::first_tail(header)),
            (Err(_), Content::Last(Some(last))) => (last.seed, last.start),
            (Err(_), _) => {
                files.pass_over(segment.number);
                self.chain.finish(segment, None, &mut self.report.findings);
                return Ok(());
            }
        };
        let vouched = facts.watermark.vouches_for(segment.number);
        let before = self.report.bytes;
        let file = segment.open(storage)?;
        let source = FileSource::cached(Arc::clone(&file), segment.len);
        let mut source = Counted { source, before, furthest: 0, progress };
        let (mut look, mut sealed, mut is_whole) = (Look::First, None, true);
        let mut index = files.has_index(segment.number).then(|| IndexBuilder::new(tail.position));
        let header = segment.header.as_ref().ok().map(|(header, _)| header);
        let payloads = self.redactions.digests_after(segment.base, successor.map(|next| next.base));
        let mut chain = header.and_then(|header| SegmentChain::new(header, self.chain.witnesses(), payloads));
        loop {
            let order = OrderSink { order: &mut self.order, first_fault: None, faults: 0 };
            let redactions = &mut self.redactions;
            let mut sink = All { order, redactions, index: index.as_mut(), chain: chain.as_mut() };
            let found = scan::scan(&mut source, seed, tail, &mut sink).doing("read", || segment.display.clone())?;
            // One that is out of order puts all that follow out of order too: the first one tells.
            if let Some((offset, position, message)) = sink.order.first_fault {
                let more = match sink.order.faults {
                    1 => String::new(),
                    faults => format!(" (and {} more events behind it in this segment)", faults - 1),
                };
                self.find(FindingKind::Order, segment, offset, position, message + &more);
            }
            self.report.events += found.totals.events;
            self.report.batches += found.totals.batches;
            self.report.head = self.report.head.max(found.tail.position);
            let next = found.tail.position.plus(1);
            if let Look::UpTo(durable) = look
                && found.tail.offset < durable
            {
                look = Look::Certain;
                source.source.read_again_up_to(segment.len);
                tail = found.tail;
                continue;
            }
            let bad = match &found.stop {
                Stop::Bad(bad) => bad,
                Stop::Sealed(end) => {
                    sealed = Some((*end, found.tail.position));
                    break;
                }
                Stop::End => break,
            };
            let damaged = successor.is_some() || matches!(found.verdict(vouched), scan::Verdict::Damaged { .. });
            if !damaged {
                self.report.unfinished_bytes = bad.data_end - found.tail.offset;
                break;
            }
            if successor.is_none()
                && look == Look::First
                && let Some(durable) = doubtful(&found, vouched)
            {
                look = Look::UpTo(durable);
                source.source.read_again_up_to(durable);
                tail = found.tail;
                continue;
            }
            look = Look::First;
            // Behind a gap events would get wrong numbers.
            (is_whole, index) = (false, None);
            if let Some(chain) = &mut chain {
                chain.gap();
            }
            self.find(kind_of(&bad.fault), segment, bad.at, next, bad.fault.to_string());
            let Some(resume) = bad.resume else { break };
            tail = resume;
        }
        self.chain.finish(segment, header.zip(chain), &mut self.report.findings);
        self.report.bytes += segment.len;
        let [said, done] = self.redactions.marks(&file, segment, self.report.head);
        if header.is_some() && is_whole && said != done {
            let message = "the header does not say which events are redacted".to_owned();
            self.find(FindingKind::Header, segment, 0, first, message);
        }
        let whole = sealed.filter(|_| is_whole);
        let expected = whole.zip(index).zip(segment.header.as_ref().ok());
        let expected = expected.map(|(((end, last), index), (header, seed))| {
            index.finish(IndexIdentity {
                log_id: header.log_id,
                segment: segment.number,
                base: header.base,
                seed: *seed,
                segment_len: end.trailer.file_len,
                events: (last.get() - header.base.get()) as u32,
                chain: end.seal.chain,
            })
        });
        // One that goes on growing has no index yet.
        let is_sealed = successor.is_some() || sealed.is_some() || !is_whole;
        let chain = whole.map(|(end, _)| end.seal.chain);
        if is_sealed && let Some(fault) = files.index(segment.number, seed, chain, expected.as_deref()) {
            self.find_index(storage, Some(segment.number), fault);
        }
        Ok(())
    }
}

/// How what stops a scan of the last segment is taken. Beside a writer, old bytes may have been read
/// before the new marker that says they were durable; damage is still there when they are read after it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Look {
    First,
    /// Again, and no further than what was durable: who never rests cannot be outrun.
    UpTo(u64),
    Certain,
}

/// The sinks of one scan.
struct All<'a> {
    order: OrderSink<'a>,
    redactions: &'a mut RedactionCheck,
    /// Where markers carry the hash chain.
    chain: Option<&'a mut SegmentChain>,
    /// Where there is an index to compare with.
    index: Option<&'a mut IndexBuilder>,
}

impl Sink for All<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.order.event(offset, event);
        self.redactions.event(offset, event);
        if let Some(chain) = &mut self.chain {
            chain.event(offset, event);
        }
        if let Some(index) = &mut self.index {
            index.event(offset, event);
        }
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        self.order.commit(offset, commit);
        self.redactions.commit(offset, commit);
        if let Some(chain) = &mut self.chain {
            chain.commit(offset, commit);
        }
        if let Some(index) = &mut self.index {
            index.commit(offset, commit);
        }
    }

    fn discard(&mut self) {
        self.order.discard();
        self.redactions.discard();
        if let Some(chain) = &mut self.chain {
            chain.discard();
        }
        if let Some(index) = &mut self.index {
            index.discard();
        }
    }
}

pub(super) fn kind_of(fault: &Fault) -> FindingKind {
    match fault {
        Fault::Batch(_) | Fault::NoCommit => FindingKind::Batch,
        Fault::Seal(_) => FindingKind::Seal,
        _ => FindingKind::Frame,
    }
}

/// Tells how far a scan has come.
struct Counted<'a> {
    source: FileSource,
    /// The bytes of the segments before this one.
    before: u64,
    furthest: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Source for Counted<'_> {
    type Error = std::io::Error;

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn bytes(&mut self, offset: u64, least: usize) -> std::io::Result<&[u8]> {
        /// Often enough for a person, seldom enough for the scan.
        const STEP: u64 = 1 << 20;
        if offset >= self.furthest + STEP {
            self.furthest = offset;
            (self.progress)(self.before + offset);
        }
        self.source.bytes(offset, least)
    }
}
