//! The archive: what is sent, what is removed, what is read, and what becomes of all that when something fails.

mod checking;
mod faults;
mod lives;
mod processes;
mod pruning;
mod reading;
mod redacting;
mod restoring;
mod sending;
mod support;
