//! The one place from which the engine takes its locks, atomics, channels and threads.
//!
//! Normally these are those of `parking_lot` and of the standard library, under their own names. In the unit
//! tests built with `--cfg shuttle` they are [`scheduled`]: the same API, where a scheduler decides at each of
//! them which thread runs next. So the [`tests`] below run the whole engine, as it is, on the simulated disk
//! through thousands of interleavings, and a deadlock is found as surely as a wrong answer:
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p annals --lib --features async --target-dir target/shuttle sync::tests
//! ```
//!
//! What is always true:
//!
//! - No other file of the engine names `parking_lot`, `std::sync` (but for `Arc`) or `std::thread` outside its
//!   tests; a test in `tools/tests/architecture.rs` says where one does.
//! - A scheduler knows only the order in which threads take their turns. What the orderings of atomics allow
//!   beyond that is for Miri, on the files that have no lock: `log/growing.rs`, `storage/map.rs`, `view.rs`.

#[cfg(not(all(test, shuttle)))]
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{OnceLock, atomic, mpsc};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::thread;

#[cfg(all(test, shuttle))]
mod scheduled;
#[cfg(all(test, shuttle))]
mod tests;

#[cfg(all(test, shuttle))]
pub(crate) use scheduled::{Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{atomic, mpsc};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::thread;
