//! What is done beside the writer: by threads that sleep unless called for, a store's own or those of [`Workers`], or by a
//! program without them when it has time.
//!
//! - zeros ahead of the writer, in small steps. The thread pauses after each: a burst
//!   of zeroing would take the disk away from the log;
//! - the file of the next segment, prepared once the active one is half full;
//! - the request to the kernel to begin writing what was appended and not synced. It takes the kernel as
//!   long as some hundred small appends take the writer;
//! - the sync of buffered appends, when their time is up;
//! - tickets that nobody waits for.
//!
//! Index files are made by other threads ([`indexer`]); a program without them makes here those that are missing.
//!
//! Nothing here is needed for correctness. An I/O error on the active
//! segment's file, seen here, poisons the store: the kernel tells it only once.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::append::commit::CommitState;
use crate::append::queue::Queue;
use crate::bell::{Bell, Work};
use crate::crew::{Chores, Seat, Turn};
use crate::index::indexer;
use crate::log::active::{Prepared, PreparedSlot, is_full};
use crate::log::names;
use crate::log::zero_ahead::zero_file;
use crate::options::Options;
use crate::poison::Poison;
use crate::retain::Retention;
use crate::storage::Storage;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread;
use crate::workers::Workers;

/// The pause after each step of zeroing.
const ZEROING_PAUSE: Duration = Duration::from_micros(500);

/// That somebody does it; dropping this waits until what is being done is done.
#[derive(Debug)]
pub(crate) struct Background {
    _seat: Seat,
    /// Dropped after its seat.
    _workers: Workers,
}

/// What there is to work on.
pub(crate) struct Beside {
    pub(crate) bell: Arc<Bell>,
    pub(crate) commit: Arc<CommitState>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) prepared: PreparedSlot,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) zero_ahead: u64,
    pub(crate) retention: Option<Retention>,
    /// What holds for what the store itself appends.
    pub(crate) options: Options,
    /// Held by who removes segments; and by who needs that their files stay where they are.
    pub(crate) retaining: Mutex<()>,
    /// Whether a program without threads has looked for index files that are missing.
    pub(crate) has_indexes: AtomicBool,
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Beside").finish_non_exhaustive()
    }
}

impl Background {
    /// From here on, `workers` do it.
    pub(crate) fn start(beside: &Arc<Beside>, workers: &Workers) -> Background {
        let seat = workers.beside().join(Arc::clone(beside) as Arc<dyn Chores>);
        beside.bell.call_for(seat.caller());
        // What it was rung for before.
        seat.caller().call();
        Background { _seat: seat, _workers: workers.clone() }
    }
}

impl Chores for Beside {
    fn run(&self, turn: &Turn<'_>) -> Option<Instant> {
        let _poisoned_by_a_panic = PoisonedByPanic(&self.commit.poison);
        let work = self.bell.take(self.flush_interval);
        let is_interrupted = Cell::new(false);
        let paced = || {
            thread::sleep(ZEROING_PAUSE);
            is_interrupted.set(turn.is_over() || turn.others_wait() || self.bell.is_urgent());
            !is_interrupted.get()
        };
        self.take(work, &paced);
        if is_interrupted.get() {
            // It goes on behind the others.
            self.bell.look_ahead();
        }
        self.bell.due(self.flush_interval)
    }
}

/// Who panics is not called again (a recorder of the program may have), and nobody would sync what is buffered: the next append is told.
struct PoisonedByPanic<'a>(&'a Poison);

impl Drop for PoisonedByPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set(io::Error::other(
                "what is done beside the writer has panicked, and nobody would sync what is buffered",
            ));
        }
    }
}

impl Beside {
    /// Does in this thread, now and without pauses, what there is to do. Whether the bell was rung for
    /// looking ahead is not asked: the last time may have met a full disk.
    pub(crate) fn catch_up(&self) {
        let work = self.bell.take_with_tickets(self.flush_interval);
        self.take(Work { look_ahead: true, ..work }, &|| true);
        // Once is enough: from here on, each roll makes its own.
        if self.commit.sealed.is_none() && !self.has_indexes.swap(true, Ordering::Relaxed) {
            indexer::make_missing(&self.commit.files, &self.commit.published, &|| false);
        }
    }

    /// Does what there is to do. After each step of zeroing, `go_on` is asked.
    fn take(&self, work: Work, go_on: &dyn Fn() -> bool) {
        if work.tickets_since.is_some() {
            self.queue.drain(&*self.commit);
        }
        if work.write_back {
            self.commit.start_writeback();
        }
        if work.dirty_since.is_some() {
            // The failure reaches the next append as poison.
            let _ = self.commit.flush();
        }
        if work.look_ahead {
            self.retain();
            self.prepare_successor(go_on);
            self.zero_ahead(go_on);
        }
    }

    fn zero_ahead(&self, go_on: &dyn Fn() -> bool) {
        let frontier = Arc::clone(self.commit.writer.lock().log.frontier());
        loop {
            match frontier.step() {
                Ok(false) => return,
                Ok(true) => {}
                // The writer meets the full disk itself, when it gets there.
                Err(error) if is_full(&error) => return,
                Err(error) => {
                    self.commit.poison.set(error);
                    return;
                }
            }
            if !go_on() {
                return;
            }
        }
    }

    /// Makes the next segment's file, if the active one is half full. A file of
    /// its own: a failure here touches nobody.
    fn prepare_successor(&self, go_on: &dyn Fn() -> bool) {
        let number = {
            let writer = self.commit.writer.lock();
            if !writer.log.is_half_full() {
                return;
            }
            writer.log.next_segment()
        };
        if self.prepared.lock().as_ref().is_some_and(|prepared| prepared.number == number) {
            return;
        }
        let path = names::prepared_segment(number);
        let Ok(file) = self.storage.create(&path) else { return };
        let zeroed = zero_file(&*file, self.zero_ahead, go_on);
        // Held until the file is in its place: a roll in between would never find it, nor remove it.
        let writer = self.commit.writer.lock();
        match zeroed {
            Ok(zeroed) if writer.log.next_segment() == number => {
                *self.prepared.lock() = Some(Prepared { number, path, file, zeroed });
            }
            // Too late, or no space: the roll makes its own. What stays is removed at the next open.
            _ => {
                drop(writer);
                let _ = self.storage.remove(&path);
            }
        }
    }
}
