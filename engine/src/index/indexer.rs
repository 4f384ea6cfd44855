//! Makes index files beside the writer: a thread that sleeps until a segment was sealed.
//!
//! Until it has made a segment's index, the one in memory is used, which the writer has
//! filled; then the file takes its place in the view. Nothing here is needed for
//! correctness: an index that is missing is made by whoever asks it.

use std::sync::Arc;

use super::files::IndexFiles;
use super::level::Level;
use super::tree::TreeParts;
use super::{IndexedSegment, SegmentIndex};
use crate::log::names;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::mpsc::{Receiver, SyncSender, sync_channel};
use crate::sync::thread::{self, JoinHandle};
use crate::view::{Published, View};

/// Wakes the thread. Sending never waits: one piece of news is as good as many.
pub(crate) type Sealed = SyncSender<()>;

/// The thread; dropping it stops and joins it.
#[derive(Debug)]
pub(crate) struct Indexer {
    news: Sealed,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Starts the thread. `None` when the system has no thread to give: then the writer does it.
    pub(crate) fn start(files: &Arc<IndexFiles>, published: &Arc<Published>) -> Option<Indexer> {
        let (news, heard) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { files: Arc::clone(files), published: Arc::clone(published), stop: Arc::clone(&stop) };
        let thread = thread::Builder::new().name("annals-index".to_owned()).spawn(move || work.run(&heard)).ok()?;
        Some(Indexer { news, stop, thread: Some(thread) })
    }

    pub(crate) fn news(&self) -> Sealed {
        self.news.clone()
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.news.try_send(());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed, and there is nothing else to do about it.
            let _ = thread.join();
        }
    }
}

struct Work {
    files: Arc<IndexFiles>,
    published: Arc<Published>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self, heard: &Receiver<()>) {
        make_missing(&self.files, &self.published, &|| self.stop.load(Ordering::Relaxed));
        while heard.recv().is_ok() && !self.stop.load(Ordering::Relaxed) {
            for segment in &self.published.view().segments {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if segment.is_waiting() {
                    settle(&self.files, &self.published, segment);
                }
            }
        }
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
