//! The tests of projections from outside: one binary, so that it links once.
//!
//! - [`catching_up`]: what is folded, and how far.
//! - [`faults`]: handlers that fail or panic, and what is done about it.
//! - [`live`]: projections that a thread keeps up to date.
//! - [`snapshots`]: states in files, and which of them are used.
//! - [`crashes`]: simulated crashes at every operation: what resumes equals what is built anew.

#![allow(missing_docs, reason = "the names of tests are sentences")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod catching_up;
mod crashes;
mod faults;
mod live;
mod snapshots;
mod support;
