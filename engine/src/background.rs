//! What is done beside the writer, by one thread that sleeps unless rung for.
//!
//! - zeros ahead of the writer, in small steps with a pause after each: a burst
//!   of zeroing would take the disk away from the log;
//! - the file of the next segment, prepared once the active one is half full;
//! - the sync of buffered appends, when their time is up;
//! - tickets that nobody waits for.
//!
//! Nothing here is needed for correctness. An I/O error on the active
//! segment's file, seen here, poisons the store: the kernel tells it only once.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::append::commit::CommitState;
use crate::append::queue::Queue;
use crate::log::active::{Prepared, PreparedSlot, is_full};
use crate::log::names;
use crate::log::zero_ahead::zero_file;
use crate::storage::Storage;

/// How long a ticket lies before it is committed for nobody.
const TICKET_DELAY: Duration = Duration::from_millis(5);

/// The pause after each step of zeroing.
const ZEROING_PAUSE: Duration = Duration::from_micros(500);

/// What there is to do.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    look_ahead: bool,
    tickets: bool,
    /// When something was written that is not durable yet.
    dirty_since: Option<Instant>,
    stop: bool,
}

/// What wakes the background thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    work: Mutex<Work>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.work.lock());
        self.rung.notify_one();
    }

    /// The writer has come closer to the end of what was zeroed or prepared.
    pub(crate) fn look_ahead(&self) {
        self.ring(|work| work.look_ahead = true);
    }

    /// A ticket was queued.
    pub(crate) fn tickets(&self) {
        self.ring(|work| work.tickets = true);
    }

    /// Something was written and not synced, and nothing was before.
    pub(crate) fn dirty(&self) {
        self.ring(|work| {
            work.dirty_since.get_or_insert_with(Instant::now);
        });
    }
}

/// The thread; dropping it stops and joins it.
#[derive(Debug)]
pub(crate) struct Background {
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread works on.
pub(crate) struct Beside {
    pub(crate) commit: Arc<CommitState>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) prepared: PreparedSlot,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) zero_ahead: u64,
}

impl Background {
    /// Starts the thread. `None` when the system has no thread to give: then
    /// everything is done a little later, by the writer itself.
    pub(crate) fn start(bell: &Arc<Bell>, beside: Beside) -> Option<Background> {
        let theirs = Arc::clone(bell);
        let thread = std::thread::Builder::new().name("annals".to_owned()).spawn(move || beside.run(&theirs)).ok()?;
        Some(Background { bell: Arc::clone(bell), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.bell.ring(|work| work.stop = true);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed, and there is nothing else to do about it.
            let _ = thread.join();
        }
    }
}

impl Beside {
    fn run(&self, bell: &Bell) {
        loop {
            let work = self.next(bell);
            if work.stop {
                return;
            }
            if work.tickets {
                std::thread::sleep(TICKET_DELAY);
                self.queue.drain(&*self.commit);
            }
            if work.dirty_since.is_some() {
                // The failure reaches the next append as poison.
                let _ = self.commit.flush();
            }
            if work.look_ahead {
                self.prepare_successor(bell);
                self.zero_ahead(bell);
            }
        }
    }

    /// Sleeps until there is something to do, and takes it.
    fn next(&self, bell: &Bell) -> Work {
        let mut work = bell.work.lock();
        loop {
            // An interval that ends beyond all time is none.
            let due = work.dirty_since.zip(self.flush_interval).and_then(|(since, every)| since.checked_add(every));
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if work.stop || work.tickets || work.look_ahead || is_due {
                let taken = Work { dirty_since: work.dirty_since.filter(|_| is_due), ..*work };
                work.look_ahead = false;
                work.tickets = false;
                if is_due {
                    work.dirty_since = None;
                }
                return taken;
            }
            match due {
                Some(due) => drop(bell.rung.wait_until(&mut work, due)),
                None => bell.rung.wait(&mut work),
            }
        }
    }

    fn zero_ahead(&self, bell: &Bell) {
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
            std::thread::sleep(ZEROING_PAUSE);
            let work = bell.work.lock();
            if work.stop || work.tickets {
                return;
            }
        }
    }

    /// Makes the next segment's file, if the active one is half full. A file of
    /// its own: a failure here touches nobody.
    fn prepare_successor(&self, bell: &Bell) {
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
        let zeroed = zero_file(&*file, self.zero_ahead, || {
            std::thread::sleep(ZEROING_PAUSE);
            let work = bell.work.lock();
            !work.stop && !work.tickets
        });
        let is_wanted = || self.commit.writer.lock().log.next_segment() == number;
        match zeroed {
            Ok(zeroed) if is_wanted() => {
                *self.prepared.lock() = Some(Prepared { number, path, file, zeroed });
            }
            // Too late, or no space: the roll makes its own. What stays is removed at the next open.
            _ => drop(self.storage.remove(&path)),
        }
    }
}
