//! The threads that work beside writers: those of one store, or of many.

use std::io;
use std::sync::Arc;

use crate::crew::{Crew, Threads};

/// Threads that several stores share for what is done beside their writers: syncing buffered appends when their time is up,
/// committing tickets that nobody waits for, zeroing and preparing space, retention, and making index files.
///
/// A store that is opened without them starts two threads of its own. Those that are [given](crate::Options::workers) the same
/// `Workers` start none. What belongs to one store is done one piece after the other; what takes long lets the others have their
/// turn in between. A disk that hangs holds up one thread, and those that wait for it; a store whose work panics
/// is not worked for any more. Appends and reads never need any of this: they are done in the caller's thread.
///
/// The threads end when the last clone is dropped and the last store that was opened with them.
///
/// ```
/// use annals::{EventStore, Options, Workers};
///
/// # let dir = tempfile::tempdir()?;
/// let options = Options::new().workers(Workers::start(2)?);
/// let orders = EventStore::open(dir.path().join("orders"), &options)?;
/// let payments = EventStore::open(dir.path().join("payments"), &options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Workers(Arc<Both>);

#[derive(Debug)]
struct Both {
    beside: Threads,
    /// Apart from the others: an index takes as long as some hundred syncs.
    indexing: Threads,
}

impl Workers {
    /// Starts so many threads for what has its time (at least one), and one that makes indexes.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub fn start(threads: usize) -> io::Result<Workers> {
        Workers::named(threads.max(1), "annals-shared", "annals-shared-i")
    }

    /// Those of a single store.
    pub(crate) fn own() -> io::Result<Workers> {
        Workers::named(1, "annals", "annals-index")
    }

    fn named(threads: usize, beside: &str, indexing: &str) -> io::Result<Workers> {
        let beside = Threads::start(threads, beside)?;
        Ok(Workers(Arc::new(Both { beside, indexing: Threads::start(1, indexing)? })))
    }

    pub(crate) fn beside(&self) -> &Arc<Crew> {
        self.0.beside.crew()
    }

    pub(crate) fn indexing(&self) -> &Arc<Crew> {
        self.0.indexing.crew()
    }
}
