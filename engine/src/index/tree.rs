//! The tree over batches, in parts: the file `idx/<number>.tree` of each sealed segment has the nodes that its batches
//! complete.
//!
//! Like every file in `idx/` they follow from the segments, and one that is missing, damaged or of something else is made
//! anew by whoever needs it. Only segments whose markers carry the hash chain have one. What a part goes on from is
//! told by the one before it; at the oldest segment that is there, by `floor`.
//!
//! What is always true:
//!
//! - Files are believed when their checksums are good: against accidents. Who proves something with them checks the
//!   proof, and asks for [`TreeParts::anew`] when it does not hold.
//! - A file tells where it stands in the tree, and is read where something of it is needed: a proof touches few.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_codec::merkle::{KeptTree, Part, PartBuilder, Peaks};
use annals_codec::scan::Sink;
use annals_codec::{
    BatchHasher, ChainPoint, Commit, Digest, Event, LogId, Position, SegmentHeader, chain_start, event_digest,
};

use super::IndexedSegment;
use super::files::{Content, IndexFiles};
use super::redactions;
use crate::error::ReadError;
use crate::log::names;
use crate::log::segment::Segment;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::view::View;

/// What a part goes on from: the position behind which the tree begins, and its peaks.
pub(crate) type Before = (Position, Peaks);

/// A part of the tree, in memory or mapped. Its header was checked.
#[derive(Debug)]
pub(crate) struct TreePart {
    content: Content,
    len: u64,
    is_good: AtomicBool,
    /// Where the hash chain stands behind it, if it was made here.
    end: Option<ChainPoint>,
}

impl TreePart {
    fn bytes(&self) -> &[u8] {
        self.content.bytes(0..self.len).unwrap_or_default()
    }

    /// What its header says; what follows that is not to be believed.
    pub(crate) fn outline(&self) -> Part<'_> {
        Part::read_again(self.bytes()).expect("it was checked when it was loaded, and is not changed")
    }

    /// All of it; `None` when that is damaged.
    fn whole(&self) -> Option<Part<'_>> {
        let part = self.outline();
        if !self.is_good.load(Ordering::Relaxed) {
            if !part.is_good(self.bytes()) {
                return None;
            }
            self.is_good.store(true, Ordering::Relaxed);
        }
        Some(part)
    }

    fn after(&self) -> Option<Before> {
        let part = self.whole()?;
        Some((part.header.from, part.peaks()?))
    }

    /// Where the hash chain stands behind it, if it was made just now.
    pub(crate) fn end(&self) -> Option<ChainPoint> {
        self.end
    }
}

/// The file of a segment; `None` when there is none of this very segment, as far as its header tells.
fn load(files: &IndexFiles, segment: &Segment) -> Option<TreePart> {
    let file = files.open(&names::tree(segment.number))?;
    let (len, content) = (file.len(), file.content().ok()?);
    let loaded = TreePart { content, len, is_good: AtomicBool::new(false), end: None };
    let found = Part::read_again(loaded.bytes())?.header;
    let is_its = (found.log_id, found.segment, found.base) == (files.log_id, segment.number, segment.base)
        && (found.seed, found.chain) == (segment.seed, segment.chain);
    is_its.then_some(loaded)
}

/// Takes the batches of a segment into its part, up to the one behind which the chain is `until`.
struct Leaves {
    hasher: BatchHasher,
    builder: PartBuilder,
    end: ChainPoint,
    until: Option<Digest>,
    /// The digests of payloads that are gone, and an event that has none there.
    payloads: BTreeMap<Position, Digest>,
    unknown: Option<Position>,
}

impl Leaves {
    fn is_done(&self) -> bool {
        self.until == Some(self.end.hash)
    }
}

impl Sink for Leaves {
    fn event(&mut self, _offset: u64, event: &Event<'_>) {
        if self.is_done() {
            return;
        }
        match self.payloads.get(&event.position).filter(|_| event.redacted) {
            Some(payload) => self.hasher.push(&event_digest(event, payload)),
            None => {
                if event.redacted {
                    self.unknown.get_or_insert(event.position);
                }
                self.hasher.event(event);
            }
        }
    }

    fn commit(&mut self, _offset: u64, commit: &Commit<'_>) {
        if self.is_done() {
            return;
        }
        let batch = self.hasher.close(commit);
        self.builder.push(&batch, commit.last);
        if let Some(hash) = commit.hash {
            self.end = ChainPoint { position: commit.last, hash };
        }
    }

    fn discard(&mut self) {
        self.hasher.clear();
    }
}

/// Makes the part of a segment from its batches, all of them or up to the one behind which the chain is `until`;
/// `None` when there is no such one.
fn build(
    view: &View,
    segment: &Segment,
    log_id: LogId,
    (from, before): Before,
    start: ChainPoint,
    until: Option<Digest>,
) -> Result<Option<TreePart>, ReadError> {
    let builder = PartBuilder::new(from, before, segment.base);
    let failed = |error| ReadError::Io { path: segment.shown.clone(), offset: 0, source: Arc::new(error) };
    let has_redacted = segment.header().map_err(failed)?.is_some_and(|header| header.redacted.is_some());
    let payloads = if has_redacted { redactions::payloads_in(view, segment)? } else { BTreeMap::new() };
    let hasher = BatchHasher::new(log_id);
    let mut leaves = Leaves { hasher, builder, end: start, until, payloads, unknown: None };
    let scan = segment.scan(None, &mut leaves).map_err(failed)?;
    if let Some(position) = leaves.unknown {
        return Err(redactions::unknown(view, position));
    }
    let is_all = |scan: &annals_codec::scan::Scan| {
        scan.tail.position == segment.last() && (!segment.sealed || scan.tail.chain == Some(segment.chain))
    };
    if !leaves.is_done() {
        if !scan.as_ref().is_some_and(is_all) {
            let at = scan.as_ref().map_or(segment.base, |scan| scan.tail.position).plus(1);
            let offset = scan.map_or(0, |scan| scan.tail.offset);
            let fault = "the segment cannot be read on; the tree over its batches cannot be made".to_owned();
            return Err(ReadError::Corrupt(segment.damage(offset, at, segment.last().max(at), fault)));
        }
        if until.is_some() {
            return Ok(None);
        }
    }
    let file = leaves.builder.finish(log_id, segment.number, segment.seed, segment.chain);
    let (len, content) = (file.len() as u64, Content::Loaded(file.into_boxed_slice()));
    Ok(Some(TreePart { content, len, is_good: AtomicBool::new(true), end: Some(leaves.end) }))
}

/// What the header of a segment says of the tree.
enum Start {
    /// There is none over its batches.
    None,
    /// It begins with the segment.
    Here,
    /// It goes on from the segment before.
    GoesOn,
}

fn header_of(segment: &IndexedSegment) -> Result<SegmentHeader, ReadError> {
    let header = segment.log.header().map_err(|error| segment.unreadable(0, error))?;
    header.ok_or_else(|| {
        let at = segment.log.base.plus(1);
        ReadError::Corrupt(segment.log.damage(0, at, at, "the header cannot be read".to_owned()))
    })
}

fn start_of(header: &SegmentHeader) -> Start {
    match header.chain_hash {
        None => Start::None,
        Some(hash) if hash == chain_start(header.log_id, header.base) => Start::Here,
        Some(_) => Start::GoesOn,
    }
}

/// The parts of the tree over a view's segments, each loaded or made when it is needed.
#[derive(Debug)]
pub(crate) struct TreeParts {
    files: Arc<IndexFiles>,
    view: Arc<View>,
    parts: Mutex<Vec<Option<Arc<TreePart>>>>,
    /// Behind which batch the tree ends, in a segment that still grows: by the hash chain there.
    until: Option<Digest>,
    /// Whether files are not believed.
    is_anew: bool,
}

impl TreeParts {
    pub(crate) fn new(files: &Arc<IndexFiles>, view: &Arc<View>) -> TreeParts {
        let parts = Mutex::new(vec![None; view.segments.len()]);
        TreeParts { files: Arc::clone(files), view: Arc::clone(view), parts, until: None, is_anew: false }
    }

    /// The same, up to the batch behind which the hash chain is `until`.
    pub(crate) fn up_to(self, until: Digest) -> TreeParts {
        TreeParts { until: Some(until), ..self }
    }

    /// The same, made from the segments, whatever stands in the files.
    pub(crate) fn anew(&self) -> TreeParts {
        TreeParts { is_anew: true, until: self.until, ..TreeParts::new(&self.files, &self.view) }
    }

    /// The part of the segment at `index`, if it is known without looking at the segment.
    fn known(&self, index: usize) -> Option<Arc<TreePart>> {
        if let Some(part) = &self.parts.lock()[index] {
            return Some(Arc::clone(part));
        }
        let is_growing = !self.view.segments[index].log.sealed;
        let loaded = if self.is_anew || is_growing { None } else { load(&self.files, &self.view.segments[index].log) };
        loaded.map(|part| self.keep(index, part))
    }

    fn keep(&self, index: usize, part: TreePart) -> Arc<TreePart> {
        let part = Arc::new(part);
        self.parts.lock()[index] = Some(Arc::clone(&part));
        part
    }

    /// What the tree was before the segment at `index`; `None` when it has none, or nobody knows any more what was
    /// before it. Parts that are missing are made, and written where this may write.
    pub(crate) fn before(&self, index: usize) -> Result<Option<Before>, ReadError> {
        let segments = &self.view.segments;
        let mut first = index;
        let mut before = loop {
            let header = header_of(&segments[first])?;
            match start_of(&header) {
                Start::None => return Ok(None),
                Start::Here => break (header.base, Peaks::default()),
                Start::GoesOn if first == 0 => {
                    let floor = self.view.floor.as_ref().and_then(|floor| floor.tree_at(header.base));
                    // Where the floor does not tell, the oldest part does: it has what came before it.
                    let told =
                        || load(&self.files, &segments[0].log)?.whole().map(|part| (part.header.from, part.before()));
                    match floor.or_else(told) {
                        Some(before) => break before,
                        None => return Ok(None),
                    }
                }
                Start::GoesOn => match self.known(first - 1).and_then(|part| part.after()) {
                    Some(before) => break before,
                    None => first -= 1,
                },
            }
        };
        for made in first..index {
            before = match self.make(made, before)?.and_then(|part| part.after()) {
                Some(before) => before,
                None => return Ok(None),
            };
        }
        Ok(Some(before))
    }

    /// Makes the part of the segment at `index`, and its file, if it is sealed. `None` when it still grows and has no batch
    /// behind which the tree is to end.
    fn make(&self, index: usize, before: Before) -> Result<Option<Arc<TreePart>>, ReadError> {
        let segment = &self.view.segments[index].log;
        let hash = header_of(&self.view.segments[index])?.chain_hash;
        let start = hash.unwrap_or_else(|| chain_start(self.files.log_id, segment.base));
        let start = ChainPoint { position: segment.base, hash: start };
        let until = self.until.filter(|_| !segment.sealed);
        let Some(built) = build(&self.view, segment, self.files.log_id, before, start, until)? else { return Ok(None) };
        if segment.sealed {
            self.files.write_whole(&names::tree(segment.number), built.bytes());
        }
        Ok(Some(self.keep(index, built)))
    }

    /// The part of the segment at `index`; `None` when it has none, or that cannot be known any more, or it still grows and
    /// the tree does not end in it.
    pub(crate) fn part(&self, index: usize) -> Result<Option<Arc<TreePart>>, ReadError> {
        if let Some(part) = self.known(index) {
            return Ok(Some(part));
        }
        match self.before(index)? {
            Some(before) => self.make(index, before),
            None => Ok(None),
        }
    }

    /// The same, and all of it is whole.
    pub(crate) fn whole_part(&self, index: usize) -> Result<Option<Arc<TreePart>>, ReadError> {
        match self.part(index)? {
            Some(part) if part.whole().is_none() => {
                let Some(before) = self.before(index)? else { return Ok(None) };
                self.make(index, before)
            }
            part => Ok(part),
        }
    }

    /// How many segments there are.
    pub(crate) fn len(&self) -> usize {
        self.view.segments.len()
    }

    /// The index of the segment with which the tree begins that begins behind `from`; of the oldest, where that was removed.
    pub(crate) fn first_of(&self, from: Position) -> Result<usize, ReadError> {
        let segments = &self.view.segments;
        let first = segments.partition_point(|segment| segment.log.base < from);
        let mut begins = first;
        // Segments without events begin where the next one does.
        for (index, segment) in segments.iter().enumerate().skip(first).take_while(|(_, it)| it.log.base == from) {
            if matches!(start_of(&header_of(segment)?), Start::Here) {
                begins = index;
            }
        }
        Ok(begins)
    }

    /// The segments that they are of.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Whether the batches of the segment at `index` are in a tree.
    pub(crate) fn is_over(&self, index: usize) -> Result<bool, ReadError> {
        Ok(header_of(&self.view.segments[index])?.chain_hash.is_some())
    }

    /// Makes the file of the sealed segment at `index` if it is to have one, and has none.
    pub(super) fn settle(&self, index: usize) {
        let segment = &self.view.segments[index];
        if self.files.is_writable()
            && self.is_over(index).unwrap_or(false)
            && let Err(error) = self.part(index)
        {
            // Who asks for it meets this again.
            tracing::warn!(segment = %segment.log.number, %error, "the tree over a segment's batches cannot be made");
        }
    }

    /// What a floor has to keep of the tree when the first `count` segments go: what it was there, and where the log
    /// begins until that is done.
    pub(crate) fn kept(&self, count: usize) -> Result<Vec<KeptTree>, ReadError> {
        let mut kept = Vec::new();
        for index in [count, 0] {
            if let (position, Some((from, peaks))) = (self.view.segments[index].log.base, self.before(index)?)
                && from < position
            {
                kept.push(KeptTree { position, from, peaks });
            }
        }
        Ok(kept)
    }
}
