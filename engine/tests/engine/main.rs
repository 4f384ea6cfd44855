//! The engine's tests from outside: one binary, so that it links once.
//!
//! - [`crash`]: short stories on the simulated disk, stopped at every operation.

#![allow(missing_docs, reason = "the names of tests are sentences")]

mod smoke;
