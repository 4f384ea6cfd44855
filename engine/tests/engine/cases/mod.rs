//! The rows of the table of cases, one test each: what the public API means.
//!
//! Each runs on the memory-mapped disk, the disk without mapping, and the
//! simulated disk, because a caller must not be able to tell them apart.

mod durability;
mod expectations;
mod payloads;
mod reading;
mod stores;
mod tracking;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals::storage::sim::{Fault, SimDisk};
use annals::{
    AppendError, ContentType, Durability, EventId, EventStore, ExpectedVersion, NewEvent, OpenError, Options, Outcome,
    Position, StreamVersion,
};

use crate::places::*;

use ExpectedVersion::{Any, Exact, NoStream, StreamExists};
