//! Reading one segment from its first frame to its end, over every bad place. Each is read by itself, by whichever
//! thread comes to it; what only shows when segments are seen together is in [`Pass`](super::pass::Pass).

use std::collections::BTreeMap;
use std::io;

use annals_codec::index::{IndexBuilder, IndexIdentity};
use annals_codec::scan::{self, Fault, Scan, Sink, Source, Stop, Verdict};
use annals_codec::{ChainPoint, Commit, Event, HeaderFault, Mark, Position, Seed, Tail};

use super::chain::SegmentChain;
use super::kept::Marks;
use super::order::SegmentOrder;
use super::redactions::{Digests, SegmentRedactions, said_in};
use super::source::SegmentSource;
use super::{Finding, FindingKind, Level};
use crate::error::{Doing, OpenError};
use crate::index::check::{Compared, Files, TreeCheck};
use crate::log::recover::survey::{Content, Facts, SegmentFacts, doubtful};
use crate::storage::Storage;
use crate::store::tip::ChainTip;

/// What one segment was found to hold.
#[derive(Default)]
pub(super) struct Found {
    pub(super) events: u64,
    pub(super) batches: u64,
    pub(super) head: Position,
    pub(super) unfinished_bytes: u64,
    /// Whether nothing of it was passed over.
    pub(super) is_whole: bool,
    pub(super) redactions: SegmentRedactions,
    pub(super) findings: Vec<Finding>,
    pub(super) order: Option<SegmentOrder>,
    /// Where its markers carry the hash chain.
    pub(super) chain: Option<SegmentChain>,
    /// What the log was at positions that files beside it speak of.
    pub(super) marks: Vec<Mark>,
    /// What its files in `idx/` are, where it is sealed.
    pub(super) files: Option<Compared>,
}

/// How a segment is read.
pub(super) struct Reading<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) facts: &'a Facts,
    pub(super) files: &'a Files<'a>,
    pub(super) witnesses: &'a [ChainTip],
    pub(super) digests: &'a Digests<'a>,
    /// What is wanted to be known of the log besides: what it was at these positions.
    pub(super) positions: &'a [Position],
    pub(super) level: Level,
    /// Told of bytes when they were read.
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
}

pub(super) fn finding(
    kind: FindingKind,
    segment: &SegmentFacts,
    offset: u64,
    position: Position,
    message: String,
) -> Finding {
    Finding {
        kind,
        segment: Some(segment.number),
        file: Some(segment.display.clone()),
        offset: Some(offset),
        position: Some(position),
        message,
    }
}

impl Reading<'_> {
    /// Reads the segment of this index over every bad place.
    pub(super) fn read(&self, index: usize) -> Result<Found, OpenError> {
        let segment = &self.facts.segments[index];
        let mut found = Found { head: segment.base, ..Found::default() };
        if let Err(fault) = &segment.header {
            let fault = fault.to_string();
            found.findings.push(finding(FindingKind::Header, segment, 0, segment.base.plus(1), fault));
        }
        let known = match (&segment.header, &segment.content) {
            (Ok((header, seed)), _) => Some((*seed, scan::first_tail(header))),
            (Err(_), Content::Last(Some(last))) => Some((last.seed, last.start)),
            (Err(_), _) => None,
        };
        if let Some((seed, tail)) = known {
            self.scan(index, seed, tail, &mut found)?;
        } else if self.level.has_index() {
            found.files = Some(Compared::nothing(segment.number));
        }
        Ok(found)
    }

    fn scan(&self, index: usize, seed: Seed, mut tail: Tail, found: &mut Found) -> Result<(), OpenError> {
        let (segment, level) = (&self.facts.segments[index], self.level);
        let has_successor = index + 1 < self.facts.segments.len();
        let vouched = self.facts.watermark.vouches_for(segment.number);
        let doing = || segment.display.clone();
        let file = segment.open(self.storage)?;
        let said = said_in(&file);
        // Where nothing is asked but the frames, the survey has read the last one already.
        let mut known: Option<&Scan> = match &segment.content {
            Content::Last(Some(last)) if level == Level::Frames && said.is_none() => Some(&last.scan),
            _ => None,
        };
        let source = SegmentSource::new(file, segment.len, has_successor);
        let mut source = Counted { source, told: 0, progress: self.progress };
        let header = segment.header.as_ref().ok().map(|(header, _)| header);
        let digests = if level.has_digests() { self.digests.of(index, said)? } else { BTreeMap::new() };
        let mut sinks = Sinks {
            redactions: SegmentRedactions::default(),
            marks: header.map(|header| Marks::new(header.log_id, self.positions, header.base)).filter(Marks::is_wanted),
            order: level.has_order().then(SegmentOrder::new),
            chain: header
                .filter(|_| level.has_chain())
                .and_then(|header| SegmentChain::new(header, self.witnesses, digests.clone())),
            index: (level.has_index() && self.files.has_index(segment.number))
                .then(|| IndexBuilder::new(tail.position)),
            tree: header.filter(|_| level.has_index()).and_then(|header| {
                let start = ChainPoint { position: header.base, hash: header.chain_hash? };
                self.files.tree(segment.number, header.log_id, start, digests.clone())
            }),
        };
        let (mut look, mut sealed, mut is_whole) = (Look::First, None, true);
        loop {
            let scan = match known.take() {
                Some(scan) => scan.clone(),
                None if sinks.has_no_other() => {
                    scan::scan(&mut source, seed, tail, &mut sinks.redactions).doing("read", doing)?
                }
                None => scan::scan(&mut source, seed, tail, &mut sinks).doing("read", doing)?,
            };
            found.events += scan.totals.events;
            found.batches += scan.totals.batches;
            found.head = found.head.max(scan.tail.position);
            if let Look::UpTo(durable) = look
                && scan.tail.offset < durable
            {
                look = Look::Certain;
                source.source.read_again_up_to(segment.len);
                tail = scan.tail;
                continue;
            }
            let bad = match &scan.stop {
                Stop::Bad(bad) => bad,
                Stop::Sealed(end) => {
                    sealed = Some((*end, scan.tail.position));
                    break;
                }
                Stop::End => {
                    if has_successor {
                        let message = "it has a successor, and is not sealed".to_owned();
                        let next = scan.tail.position.plus(1);
                        found.findings.push(finding(FindingKind::Seal, segment, scan.tail.offset, next, message));
                    }
                    break;
                }
            };
            let is_damaged = has_successor || matches!(scan.verdict(vouched), Verdict::Damaged { .. });
            if !is_damaged {
                found.unfinished_bytes = bad.data_end - scan.tail.offset;
                break;
            }
            if !has_successor
                && look == Look::First
                && level != Level::Frames
                && let Some(durable) = doubtful(&scan, vouched)
            {
                look = Look::UpTo(durable);
                source.source.read_again_up_to(durable);
                tail = scan.tail;
                continue;
            }
            look = Look::First;
            // Behind a gap events would get wrong numbers.
            (is_whole, sinks.index, sinks.tree) = (false, None, None);
            if let Some(chain) = &mut sinks.chain {
                chain.gap();
            }
            let next = scan.tail.position.plus(1);
            found.findings.push(finding(kind_of(&bad.fault), segment, bad.at, next, bad.fault.to_string()));
            let Some(resume) = bad.resume else { break };
            tail = resume;
        }
        source.end();
        sinks.redactions.discard();
        found.is_whole = is_whole;
        // One that goes on growing is not redacted, and one that has been sealed since then may be.
        if header.is_some() && is_whole && (has_successor || sealed.is_some()) && said != sinks.redactions.mark() {
            let message = "the header does not say which events are redacted".to_owned();
            found.findings.push(finding(FindingKind::Header, segment, 0, segment.base.plus(1), message));
        }
        (found.order, found.chain, found.redactions) = (sinks.order, sinks.chain, sinks.redactions);
        found.marks = sinks.marks.map(Marks::seen).unwrap_or_default();
        // One that goes on growing has no files yet.
        let is_sealed = has_successor || sealed.is_some() || !is_whole;
        if !level.has_index() || !is_sealed {
            return Ok(());
        }
        let whole = sealed.filter(|_| is_whole);
        let expected = whole.zip(sinks.index).zip(segment.header.as_ref().ok());
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
        let chain = whole.map(|(end, _)| end.seal.chain);
        // Of a batch with an event that nobody knows the digest of, nothing can be said.
        let tree = sinks.tree.filter(|_| !found.redactions.has_unknown(&digests)).zip(chain);
        found.files = Some(self.files.compare(segment.number, seed, chain, expected.as_deref(), tree));
        Ok(())
    }

    /// What a segment is told by when it cannot be read.
    pub(super) fn unread(&self, index: usize, error: &OpenError) -> Found {
        let segment = &self.facts.segments[index];
        let message = format!("it cannot be read on: {}", described(error));
        let finding = finding(FindingKind::Files, segment, 0, segment.base.plus(1), message);
        Found { head: segment.base, findings: vec![finding], ..Found::default() }
    }
}

fn described(error: &OpenError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Why a segment can be judged by none but a later version.
pub(super) fn newer(facts: &Facts) -> Option<String> {
    facts.segments.iter().find_map(|segment| match &segment.header {
        Err(fault @ (HeaderFault::Newer { .. } | HeaderFault::Features { .. })) => {
            Some(format!("{}: {fault}", segment.display))
        }
        _ => None,
    })
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

/// The sinks of one segment, those that are wanted.
struct Sinks<'a> {
    redactions: SegmentRedactions,
    marks: Option<Marks>,
    order: Option<SegmentOrder>,
    /// Where markers carry the hash chain.
    chain: Option<SegmentChain>,
    /// Where there is an index to compare with.
    index: Option<IndexBuilder>,
    /// Where there is a part of the tree to compare with.
    tree: Option<TreeCheck<'a>>,
}

impl Sinks<'_> {
    /// But that which is always wanted.
    fn has_no_other(&self) -> bool {
        self.marks.is_none()
            && self.order.is_none()
            && self.chain.is_none()
            && self.index.is_none()
            && self.tree.is_none()
    }
}

impl Sink for Sinks<'_> {
    fn event(&mut self, offset: u64, event: &Event<'_>) {
        self.redactions.event(offset, event);
        self.order.iter_mut().for_each(|order| order.event(offset, event));
        self.chain.iter_mut().for_each(|chain| chain.event(offset, event));
        self.index.iter_mut().for_each(|index| index.event(offset, event));
        if self.chain.is_none() {
            self.tree.iter_mut().for_each(|tree| tree.event(event));
        }
    }

    fn commit(&mut self, offset: u64, commit: &Commit<'_>) {
        self.redactions.commit(offset, commit);
        self.marks.iter_mut().for_each(|marks| marks.commit(offset, commit));
        self.order.iter_mut().for_each(|order| order.commit(offset, commit));
        self.chain.iter_mut().for_each(|chain| chain.commit(offset, commit));
        self.index.iter_mut().for_each(|index| index.commit(offset, commit));
        if let Some(tree) = &mut self.tree {
            // What both need is hashed once.
            tree.commit(commit, self.chain.as_ref().and_then(SegmentChain::batch_digest));
        }
    }

    fn discard(&mut self) {
        self.redactions.discard();
        self.order.iter_mut().for_each(Sink::discard);
        self.chain.iter_mut().for_each(Sink::discard);
        self.index.iter_mut().for_each(Sink::discard);
        self.tree.iter_mut().for_each(TreeCheck::discard);
    }
}

fn kind_of(fault: &Fault) -> FindingKind {
    match fault {
        Fault::Batch(_) | Fault::NoCommit => FindingKind::Batch,
        Fault::Seal(_) => FindingKind::Seal,
        _ => FindingKind::Frame,
    }
}

/// Tells how far a scan has come.
struct Counted<'a> {
    source: SegmentSource,
    told: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Counted<'_> {
    #[cold]
    fn tell(&mut self, offset: u64) {
        (self.progress)(offset - self.told);
        self.told = offset;
    }

    /// All of it was read that is to be.
    fn end(&mut self) {
        let len = self.source.len().max(self.told);
        self.tell(len);
    }
}

impl Source for Counted<'_> {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.source.len()
    }

    #[inline]
    fn bytes(&mut self, offset: u64, least: usize) -> io::Result<&[u8]> {
        /// Often enough for a person, seldom enough for the scan.
        const STEP: u64 = 4 << 20;
        if offset >= self.told + STEP {
            self.tell(offset);
        }
        self.source.bytes(offset, least)
    }
}
