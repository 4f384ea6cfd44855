//! Asking a store in SQL: SQLite, over one table that it reads from the log while it runs.
//!
//! ```text
//!  statement ─► database ─► SQLite ─► table ─► plan ─► wanted ─► scan ─► the engine
//!  rows      ◄─ show     ◄─ SQLite ◄─ table ◄─ columns, times ◄─ scan ◄─ the engine
//!               prompt: statements from a person
//! ```
//!
//! What is always true:
//!
//! - Nothing is copied beforehand: a statement reads what its conditions on position, stream, type, time of recording and id
//!   leave of the log, by the engine's indexes, and stops where SQLite has enough.
//! - The store is only read, and so is every file (`database`).
//! - Rows are never fewer than they should be: what cannot be read ends the statement with an error.

#![allow(clippy::doc_markdown, reason = "SQLite is a name and no code")]

mod columns;
mod database;
mod plan;
pub(crate) mod prompt;
mod scan;
pub(crate) mod show;
mod table;
mod times;
mod wanted;

pub(crate) use columns::Column;
pub use database::{Answer, Database, SqlError};
pub use scan::Read;
