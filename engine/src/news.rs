//! Who waits for the log to grow, and is told that it has.
//!
//! What is always true:
//!
//! - Nobody sleeps through the news. Who waits counts himself first and looks at the head second; the writer
//!   moves the head first and looks at the count second. All of these have one order (`SeqCst`), so one of the
//!   two sees the other.
//! - A writer for whom nobody waits takes no lock: it looks at one number.
//! - What is told is only that there may be something. Who was woken looks for himself.

use std::fmt;
use std::time::Instant;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex};

#[derive(Default)]
pub(crate) struct News {
    /// How many threads sleep, or are about to, and how many tasks have left a waker.
    waiting: AtomicUsize,
    /// The store is closed: nothing comes any more.
    closed: AtomicBool,
    sleeping: Mutex<Sleeping>,
    told: Condvar,
}

#[derive(Default)]
struct Sleeping {
    /// Of tasks, each under the number that it was given.
    #[cfg(feature = "async")]
    wakers: Vec<(u64, std::task::Waker)>,
    #[cfg(feature = "async")]
    next: u64,
    /// Whether a thread wakes them now and then.
    #[cfg(feature = "async")]
    ticking: bool,
}

impl fmt::Debug for News {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("News").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// One more waits, as long as this lives.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl News {
    /// Wakes those who wait, if anybody does. The head was moved before.
    #[inline]
    pub(crate) fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Wakes everybody.
    #[cold]
    pub(crate) fn wake(&self) {
        // Who has looked and not gone to sleep yet holds the lock, so he is asleep when this has it.
        #[allow(unused_variables, unused_mut, reason = "without tasks there is nothing in it")]
        let mut sleeping = self.sleeping.lock();
        #[cfg(feature = "async")]
        let wakers = std::mem::take(&mut sleeping.wakers);
        drop(sleeping);
        self.told.notify_all();
        #[cfg(feature = "async")]
        {
            self.waiting.fetch_sub(wakers.len(), Ordering::SeqCst);
            for (_, waker) in wakers {
                waker.wake();
            }
        }
    }

    /// Nothing comes any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Sleeps until there may be something: until `is_there`, or nothing comes any more, or it is `until`.
    pub(crate) fn wait(&self, until: Option<Instant>, is_there: impl Fn() -> bool) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(&self.waiting);
        let mut sleeping = self.sleeping.lock();
        while !self.is_closed() && !is_there() {
            match until {
                None => self.told.wait(&mut sleeping),
                Some(until) if Instant::now() >= until => return,
                Some(until) => {
                    self.told.wait_until(&mut sleeping, until);
                }
            }
        }
    }
}

/// Tasks leave a waker and go on with something else.
#[cfg(feature = "async")]
impl News {
    /// A number for a task.
    pub(crate) fn number(&self) -> u64 {
        let mut sleeping = self.sleeping.lock();
        sleeping.next += 1;
        sleeping.next
    }

    /// Leaves the waker of a task, instead of the one that it left before. Whoever leaves one looks once
    /// more afterwards.
    pub(crate) fn leave(&self, number: u64, waker: &std::task::Waker) {
        let mut sleeping = self.sleeping.lock();
        match sleeping.wakers.iter_mut().find(|(left, _)| *left == number) {
            Some((_, left)) => left.clone_from(waker),
            None => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                sleeping.wakers.push((number, waker.clone()));
            }
        }
    }

    /// Takes the waker of a task back, if it is still there.
    pub(crate) fn take_back(&self, number: u64) {
        let mut sleeping = self.sleeping.lock();
        let before = sleeping.wakers.len();
        sleeping.wakers.retain(|(left, _)| *left != number);
        self.waiting.fetch_sub(before - sleeping.wakers.len(), Ordering::SeqCst);
    }

    /// Whether a task waits.
    pub(crate) fn has_tasks(&self) -> bool {
        !self.sleeping.lock().wakers.is_empty()
    }

    /// Whether a thread wakes the tasks now and then; from now on one does.
    pub(crate) fn begin_ticking(&self) -> bool {
        std::mem::replace(&mut self.sleeping.lock().ticking, true)
    }

    /// No thread wakes them from now on, unless a task waits for it; whether that is so.
    pub(crate) fn stop_ticking(&self) -> bool {
        let mut sleeping = self.sleeping.lock();
        sleeping.ticking = !sleeping.wakers.is_empty();
        !sleeping.ticking
    }

    /// There was no thread to be had.
    pub(crate) fn cannot_tick(&self) {
        self.sleeping.lock().ticking = false;
    }
}
