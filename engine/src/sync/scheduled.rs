//! The locks of `parking_lot` and the cell of the standard library, under a scheduler.
//!
//! Only what the engine uses of them. Each is made of its counterpart in `shuttle`; what differs is
//! the shape of the API, and that a panic poisons nothing.
//!
//! What is always true:
//!
//! - Nothing here waits for the operating system: all threads of a test are turns of one thread,
//!   which would wait for itself.
//! - A wait with a time limit is over at once, as if it had been long enough. Whoever waits asks again.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Instant;

use shuttle::sync;
use shuttle::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// Empty only while its owner waits for a [`Condvar`].
    held: Option<sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, held: Some(self.0.lock().unwrap_or_else(PoisonError::into_inner)) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("nobody looks while it waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("nobody looks while it waits")
    }
}

impl<T> fmt::Debug for Mutex<T> {
    /// Without its content: looking would be a turn of its own.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Mutex").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

impl Condvar {
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("a guard waits once at a time");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    #[allow(clippy::unused_self, reason = "nobody is woken who does not wait")]
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _until: Instant) {
        guard.held = None;
        shuttle::thread::yield_now();
        guard.held = guard.mutex.lock().held.take();
    }
}

#[derive(Default)]
pub(crate) struct RwLock<T>(sync::RwLock<T>);

pub(crate) enum RwLockReadGuard<'a, T> {
    Shared(sync::RwLockReadGuard<'a, T>),
    /// Written to before, and still keeping other readers out: there are fewer interleavings, and no wrong ones.
    Downgraded(sync::RwLockWriteGuard<'a, T>),
}

pub(crate) struct RwLockWriteGuard<'a, T>(sync::RwLockWriteGuard<'a, T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> RwLock<T> {
        RwLock(sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard::Shared(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'a, T> RwLockWriteGuard<'a, T> {
    pub(crate) fn downgrade(guard: RwLockWriteGuard<'a, T>) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard::Downgraded(guard.0)
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            RwLockReadGuard::Shared(guard) => guard,
            RwLockReadGuard::Downgraded(guard) => guard,
        }
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Debug for RwLock<T> {
    /// Without its content: looking would be a turn of its own.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RwLock").finish_non_exhaustive()
    }
}

/// A cell that is filled once. Who comes while it is being filled waits in the scheduler.
pub(crate) struct OnceLock<T> {
    cell: std::sync::OnceLock<T>,
    filling: sync::Mutex<()>,
    /// Says nothing that the cell does not. A turn of the scheduler, before the cell is looked at.
    turn: AtomicBool,
}

impl<T> OnceLock<T> {
    pub(crate) const fn new() -> OnceLock<T> {
        let cell = std::sync::OnceLock::new();
        OnceLock { cell, filling: sync::Mutex::new(()), turn: AtomicBool::new(false) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        let _ = self.turn.load(Ordering::Relaxed);
        self.cell.get()
    }

    pub(crate) fn get_or_init(&self, fill: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cell.get().is_none() {
            let value = fill();
            // Nobody else fills it meanwhile, so nothing is lost.
            let _ = self.cell.set(value);
        }
        self.cell.get().expect("it was filled just now")
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        self.cell.set(value)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> OnceLock<T> {
        OnceLock { cell: value.into(), ..OnceLock::new() }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt(out)
    }
}
