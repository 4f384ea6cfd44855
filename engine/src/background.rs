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
use std::time::Duration;

use crate::append::commit::CommitState;
use crate::append::queue::Queue;
use crate::bell::Bell;
use crate::log::active::{Prepared, PreparedSlot, is_full};
use crate::log::names;
use crate::log::zero_ahead::zero_file;
use crate::storage::Storage;

/// How long a ticket lies before it is committed for nobody.
const TICKET_DELAY: Duration = Duration::from_millis(5);

/// The pause after each step of zeroing.
const ZEROING_PAUSE: Duration = Duration::from_micros(500);

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
        self.bell.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed, and there is nothing else to do about it.
            let _ = thread.join();
        }
    }
}

impl Beside {
    fn run(&self, bell: &Bell) {
        loop {
            let work = bell.wait(self.flush_interval);
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
            if bell.is_urgent() {
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
            !bell.is_urgent()
        });
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
