//! What there is to do beside the writer, and who is called for it.
//!
//! Beside both, because both use it: the writer rings, and knows nothing of the threads that come, of which there may
//! be none. Then whoever has time takes what there is to do.

use std::time::{Duration, Instant};

use crate::crew::Caller;
use crate::sync::{Mutex, OnceLock};

/// How long a ticket lies before it is committed for nobody. A scheduler of threads knows no time.
const TICKET_DELAY: Duration = Duration::from_millis(if cfg!(all(test, shuttle)) { 0 } else { 5 });

/// What there is to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) look_ahead: bool,
    pub(crate) write_back: bool,
    /// When a ticket was queued that nobody was called for before.
    pub(crate) tickets_since: Option<Instant>,
    /// When something was written that is not durable yet.
    pub(crate) dirty_since: Option<Instant>,
}

/// What calls for a thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    work: Mutex<Work>,
    caller: OnceLock<Caller>,
}

impl Bell {
    /// From here on, somebody comes when it rings.
    pub(crate) fn call_for(&self, caller: Caller) {
        // There is one who comes, for as long as the store is open.
        let _ = self.caller.set(caller);
    }

    fn ring(&self, change: impl FnOnce(&mut Work)) {
        change(&mut self.work.lock());
        if let Some(caller) = self.caller.get() {
            caller.call();
        }
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
        self.ring(|work| {
            work.tickets_since.get_or_insert_with(Instant::now);
        });
    }

    /// Something was written and not synced, and nothing was before.
    pub(crate) fn dirty(&self) {
        self.ring(|work| {
            work.dirty_since.get_or_insert_with(Instant::now);
        });
    }

    /// Whether something is to be done that cannot wait for a long piece of work.
    pub(crate) fn is_urgent(&self) -> bool {
        self.work.lock().tickets_due().is_some_and(|due| due <= Instant::now())
    }

    /// Takes what there is to do now.
    pub(crate) fn take(&self, flush_interval: Option<Duration>) -> Work {
        self.work.lock().take(flush_interval)
    }

    /// The same, and tickets, however short they have lain there.
    pub(crate) fn take_with_tickets(&self, flush_interval: Option<Duration>) -> Work {
        let mut work = self.work.lock();
        let tickets_since = work.tickets_since.take();
        Work { tickets_since, ..work.take(flush_interval) }
    }

    /// When there will be something to do, though nobody rings.
    pub(crate) fn due(&self, flush_interval: Option<Duration>) -> Option<Instant> {
        let work = self.work.lock();
        [work.tickets_due(), work.sync_due(flush_interval)].into_iter().flatten().min()
    }
}

impl Work {
    fn tickets_due(&self) -> Option<Instant> {
        self.tickets_since.map(|since| since + TICKET_DELAY)
    }

    /// When what is dirty has to be synced. An interval that ends beyond all time is none.
    fn sync_due(&self, flush_interval: Option<Duration>) -> Option<Instant> {
        self.dirty_since.zip(flush_interval).and_then(|(since, every)| since.checked_add(every))
    }

    fn take(&mut self, flush_interval: Option<Duration>) -> Work {
        let now = Instant::now();
        let is_over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let (commit, sync) = (is_over(self.tickets_due()), is_over(self.sync_due(flush_interval)));
        let taken = std::mem::take(self);
        self.tickets_since = taken.tickets_since.filter(|_| !commit);
        self.dirty_since = taken.dirty_since.filter(|_| !sync);
        Work {
            tickets_since: taken.tickets_since.filter(|_| commit),
            dirty_since: taken.dirty_since.filter(|_| sync),
            ..taken
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
