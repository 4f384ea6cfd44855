//! What wakes the background thread: the writer rings, the thread waits.
//!
//! Beside both, because both use it: the writer knows nothing of the thread,
//! and rings also when there is none. Then whoever has time takes what there is to do.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

/// What there is to do.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each piece of work is there or not, whatever else is")]
pub(crate) struct Work {
    pub(crate) look_ahead: bool,
    pub(crate) tickets: bool,
    pub(crate) write_back: bool,
    /// When something was written that is not durable yet.
    pub(crate) dirty_since: Option<Instant>,
    pub(crate) stop: bool,
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

    /// Much was written that the kernel was not asked to write to the disk.
    pub(crate) fn write_back(&self) {
        self.ring(|work| work.write_back = true);
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

    /// The store is closed.
    pub(crate) fn stop(&self) {
        self.ring(|work| work.stop = true);
    }

    /// Whether something is to be done that cannot wait for a long piece of work.
    pub(crate) fn is_urgent(&self) -> bool {
        let work = self.work.lock();
        work.stop || work.tickets
    }

    /// Sleeps until there is something to do, and takes it.
    pub(crate) fn wait(&self, flush_interval: Option<Duration>) -> Work {
        let mut work = self.work.lock();
        loop {
            let taken = work.take(flush_interval);
            if taken.is_any() {
                return taken;
            }
            match work.due(flush_interval) {
                Some(due) => {
                    self.rung.wait_until(&mut work, due);
                }
                None => self.rung.wait(&mut work),
            }
        }
    }

    /// Takes what there is to do now.
    pub(crate) fn take(&self, flush_interval: Option<Duration>) -> Work {
        self.work.lock().take(flush_interval)
    }
}

impl Work {
    fn is_any(&self) -> bool {
        self.stop || self.tickets || self.look_ahead || self.write_back || self.dirty_since.is_some()
    }

    /// When what is dirty has to be synced. An interval that ends beyond all time is none.
    fn due(&self, flush_interval: Option<Duration>) -> Option<Instant> {
        self.dirty_since.zip(flush_interval).and_then(|(since, every)| since.checked_add(every))
    }

    fn take(&mut self, flush_interval: Option<Duration>) -> Work {
        let is_due = self.due(flush_interval).is_some_and(|due| due <= Instant::now());
        let left = Work { dirty_since: self.dirty_since.filter(|_| !is_due), stop: self.stop, ..Work::default() };
        let taken = std::mem::replace(self, left);
        Work { dirty_since: taken.dirty_since.filter(|_| is_due), ..taken }
    }
}
