//! The tests of projections from outside: one binary, so that it links once.
//!
//! - [`catching_up`]: what is folded, and how far.
//! - [`copied`]: fields of payloads that are copied beside them.
//! - [`deciding`]: commands, and what they append.
//! - [`faults`]: handlers that fail or panic, and what is done about it.
//! - [`live`]: projections that a thread keeps up to date.
//! - [`metrics`]: what is told of them to who watches.
//! - [`parity`]: what users of the systems before rely on, row by row.
//! - [`random_lives`]: random stories of crashes and restarts.
//! - [`reconstructing`]: the state of one stream, now or as it was.
//! - [`snapshots`]: states in files, and which of them are used.
//! - [`crashes`]: simulated crashes at every operation: what resumes equals what is built anew.
//! - [`typed`]: events as values of an enum, and of older schemas.

#![allow(missing_docs, reason = "the names of tests are sentences")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod catching_up;
mod copied;
mod crashes;
mod deciding;
mod faults;
mod live;
mod metrics;
mod parity;
mod random_lives;
mod reconstructing;
mod snapshots;
mod stream_snapshots;
mod support;
mod typed;
