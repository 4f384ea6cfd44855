//! The engine's tests from outside: one binary, so that it links once.
//!
//! - [`places`]: where these tests keep their stores, and a disk whose syncs can be held up.
//! - [`admission`]: who is asked before events are taken in, and the streams of the store's own.
//! - [`backup`]: copies of a store: taken while it is used, checked, restored, and never taken for the original.
//! - [`cases`]: the table of cases, row by row: what the public API means.
//! - [`concurrency`]: many threads at once: who waits for whom, who sees what, and that nobody hangs.
//! - [`derived`]: what `verify` says of the files in `idx/`.
//! - [`edges`]: where two rare things meet.
//! - [`followers`]: subscriptions in other processes, while the writer is killed and restarted.
//! - [`hash_chain`]: the chain over rolls and openings, on and off, and what verification says of it.
//! - [`idempotency`]: requests that come again, known by their keys and the ids of their events.
//! - [`indexes`]: the derived files: that without them, and with any others, every answer is the same.
//! - [`limits`]: limits at their exact edge, and bad input of every kind.
//! - [`maintain`]: what a program without threads does when it is idle.
//! - [`metrics`]: what is measured and counted, for whom, and that it changes nothing.
//! - [`model`]: random operations, compared with a `Vec` of events.
//! - [`parity`]: what users of the systems before rely on, and the flaws that must not come back.
//! - [`processes`]: real processes: the lock, a live reader, SIGKILL, a failing kernel.
//! - [`proofs`]: the tree over batches: proofs against brute force, and that no file in `idx/` is needed or believed.
//! - [`queries`]: queries, bounds and times, compared with going through all events by hand.
//! - [`consumers`]: checkpoints that survive, also everything that a disk can do.
//! - [`conditions`]: append conditions, and deciding again.
//! - Crashes are told with the tools: short stories on the simulated disk, stopped and failed at every
//!   operation, are in `tools/tests/torture_stories.rs`.
//! - [`daily`]: segments that end with their day.
//! - [`damage`]: a small log cut at every byte, and with every bit flipped.
//! - [`recovery_rules`]: the rules R1 to R16, R19 and R20 of the format, a test for each.
//! - [`redaction`]: payloads that are taken out, what is left of them, and who is told.
//! - [`repair`]: what is whole stays, what is damaged is told, and nothing is made up.
//! - [`repair_redacted`]: what is redacted is gone in a repaired store, too, and the log goes on saying so.
//! - [`retention`]: what is removed, what stays known of it, and who is told.
//! - [`retention_guard`]: who keeps events from being removed, by what the disk has of him.
//! - [`stores`]: several logs in one process, and who works for them.
//! - [`subscriptions`]: following a log: nothing is missed, nothing comes twice.
//! - [`verify`]: its levels, and that it says the same on any number of threads; [`verify_beside`]: what goes on meanwhile.
//! - [`write_path`]: what an append, a roll and a close ask of the disk, in which order.

// Under a scheduler nothing runs but `sync::tests` of the library.
#![cfg(not(shuttle))]
#![allow(missing_docs, reason = "the names of tests are sentences")]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod admission;
mod backup;
mod cases;
mod concurrency;
mod conditions;
mod consumers;
mod daily;
mod damage;
mod derived;
mod edges;
mod followers;
mod hash_chain;
mod idempotency;
mod indexes;
mod limits;
mod long_segment;
mod maintain;
mod metrics;
mod model;
mod outrun;
mod parity;
mod places;
mod processes;
mod proofs;
mod queries;
mod recovery_rules;
mod redaction;
mod repair;
mod repair_redacted;
mod retention;
mod retention_guard;
mod shred;
mod stores;
mod subscriptions;
mod support;
mod verify;
mod verify_beside;
mod write_path;
mod writeback;
