//! Makes index files beside the writer: on threads that sleep until a segment was sealed.
//!
//! Until somebody has made a segment's index, the one in memory is used, which the writer has
//! filled; then the file takes its place in the view. Nothing here is needed for
//! correctness: an index that is missing is made by whoever asks it.

use std::sync::Arc;
use std::time::Instant;

use super::files::IndexFiles;
use super::level::Level;
use super::tree::TreeParts;
use super::{IndexedSegment, SegmentIndex};
use crate::crew::{Caller, Chores, Seat, Turn};
use crate::log::names;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::view::{Published, View};
use crate::workers::Workers;

/// That somebody makes them; dropping this waits until what is being made is made.
#[derive(Debug)]
pub(crate) struct Indexer {
    seat: Seat,
    /// Dropped after its seat.
    _workers: Workers,
}

impl Indexer {
    /// From here on, `workers` make them.
    pub(crate) fn start(files: &Arc<IndexFiles>, published: &Arc<Published>, workers: &Workers) -> Indexer {
        let work =
            Missing { files: Arc::clone(files), published: Arc::clone(published), has_looked: AtomicBool::new(false) };
        Indexer { seat: workers.indexing().join(Arc::new(work)), _workers: workers.clone() }
    }

    /// Calls for somebody, when a segment was sealed.
    pub(crate) fn caller(&self) -> Caller {
        self.seat.caller()
    }
}

struct Missing {
    files: Arc<IndexFiles>,
    published: Arc<Published>,
    /// Whether what was missing at the beginning has been made.
    has_looked: AtomicBool,
}

impl Chores for Missing {
    fn run(&self, turn: &Turn<'_>) -> Option<Instant> {
        if !self.has_looked.swap(true, Ordering::Relaxed) {
            make_missing(&self.files, &self.published, &|| turn.is_over());
        }
        for segment in &self.published.view().segments {
            if turn.is_over() {
                break;
            }
            if segment.is_waiting() {
                settle(&self.files, &self.published, segment);
            }
        }
        None
    }
}

/// Makes the files that are not there: somebody has removed them, or the last writer
/// was stopped before it came to them. A filter is looked at too, because nobody who asks makes it anew.
pub(crate) fn make_missing(files: &Arc<IndexFiles>, published: &Published, stop: &dyn Fn() -> bool) {
    let there: hashbrown::HashSet<String> = files.list().into_iter().collect();
    let is_missing = |path: &str| path.rsplit('/').next().is_some_and(|name| !there.contains(name));
    let view = published.view();
    for (index, segment) in view.segments.iter().enumerate() {
        if stop() {
            return;
        }
        if !matches!(segment.index, SegmentIndex::Sealed(_)) {
            continue;
        }
        if is_missing(&names::index(segment.log.number)) {
            // What cannot be made is met again by who asks it.
            drop(segment.settled(files));
        }
        make_levels(files, published, &view, index, |level, segments| !level.is_good(segments));
    }
    // Those of the tree that grows at the end of the log.
    let trees = TreeParts::new(files, &view);
    let sealed = view.segments.iter().enumerate().rev().filter(|(_, segment)| segment.log.sealed);
    let missing = sealed.filter(|(_, segment)| is_missing(&names::tree(segment.log.number)));
    let missing: Vec<usize> =
        missing.map(|(index, _)| index).take_while(|index| trees.is_over(*index).unwrap_or(false)).collect();
    for index in missing.into_iter().rev().take_while(|_| !stop()) {
        trees.settle(index);
    }
}

impl IndexedSegment {
    /// Whether it is sealed and its index is still in memory.
    pub(crate) fn is_waiting(&self) -> bool {
        self.log.sealed && matches!(self.index, SegmentIndex::Memory(_))
    }
}

/// Makes the file of a sealed segment's index, and has it asked from here on instead of the one
/// in memory. With the last segment of several comes the filter over them.
pub(crate) fn settle(files: &Arc<IndexFiles>, published: &Published, segment: &IndexedSegment) {
    // One that cannot be made, because the segment cannot be read, would answer less than the one in memory.
    let Some(settled) = segment.settled(files) else { return };
    published.replace_index(&settled);
    let view = published.view();
    let index = view.segments.iter().rposition(|settled| settled.log.number == segment.log.number);
    if let Some(index) = index {
        TreeParts::new(files, &view).settle(index);
        make_levels(files, published, &view, index, |_, _| true);
    }
}

/// Makes those filters that are wanted, of those that end with a segment.
fn make_levels(
    files: &Arc<IndexFiles>,
    published: &Published,
    view: &View,
    index: usize,
    is_wanted: impl Fn(&Level, &[IndexedSegment]) -> bool,
) {
    let segment = &view.segments[index];
    let mut made = false;
    for level in segment.levels() {
        if let Some(first) = (index + 1).checked_sub(level.span()) {
            let segments = &view.segments[first..=index];
            made |= is_wanted(level, segments) && level.make(segments);
        }
    }
    if made {
        // Somebody may have looked for them before they were there.
        published.replace_index(&segment.looking_anew(files));
    }
}
