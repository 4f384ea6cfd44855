//! Tables that are made of the log and kept beside it: a row for each event, for programs that read tables.
//!
//! ```text
//!  the engine ─► pass: one subscription ─► a Table: rows, and the position that they reach, in one step
//!                                          sqlite: the table `events` of a database file
//!                                          parquet: a folder of Parquet files (feature `arrow`)
//! ```
//!
//! What is always true:
//!
//! - Rows and the position that they reach change together, or not at all: whoever is killed, at whatever moment, has
//!   lost and doubled nothing, and goes on where he was.
//! - What stands in a row is what `annals sql` says of the event: both ask `sql/columns.rs`.
//! - A table knows of which history of which log it is made ([`Mark`](annals::Mark)), and is not used with another.
//! - A row that could not be made is never just missing: its position stands in `quarantine`, or the run ends there.
//! - The log is only read.

#![allow(clippy::doc_markdown, reason = "SQLite is a name and no code")]

#[cfg(feature = "arrow")]
mod parquet;
mod pass;
mod place;
mod sqlite;
mod types;
mod views;

use std::fmt;
use std::io;
use std::path::PathBuf;

use annals::{KeepError, Position, ReadError};

#[cfg(feature = "arrow")]
pub use parquet::{index_parquet, rebuild_parquet};
pub use sqlite::{index_sqlite, rebuild_sqlite};

/// How a table is brought up to date.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    follow: bool,
    on_bad: OnBad,
    batch: u64,
}

/// What becomes of an event that cannot be read, or is not what it says that it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum OnBad {
    /// Its position and what is wrong go into quarantine, and the run goes on behind it
    #[default]
    Quarantine,
    /// The run ends before it
    Stop,
}

impl Default for IndexOptions {
    fn default() -> IndexOptions {
        IndexOptions::new()
    }
}

impl IndexOptions {
    /// Ends at the end of the log, quarantines what is bad.
    pub fn new() -> IndexOptions {
        IndexOptions { follow: false, on_bad: OnBad::default(), batch: 50_000 }
    }

    /// Whether it goes on with what a running writer appends, for ever. Default: no.
    #[must_use]
    pub fn follow(mut self, follow: bool) -> IndexOptions {
        self.follow = follow;
        self
    }

    /// What becomes of bad events. Default: they are quarantined.
    #[must_use]
    pub fn on_bad(mut self, on_bad: OnBad) -> IndexOptions {
        self.on_bad = on_bad;
        self
    }

    /// How many events go into the table in one step at most. More are faster as long as there is much to do; fewer show
    /// sooner, and less is done again after a kill. Default: 50,000; a step also ends after 32 MiB.
    #[must_use]
    pub fn batch(mut self, events: u64) -> IndexOptions {
        self.batch = events.max(1);
        self
    }
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Indexed {
    /// How many rows it has added.
    pub events: u64,
    /// Up to where the table has come.
    pub position: Position,
    /// How many positions it has found to be bad.
    pub quarantined: u64,
}

/// What a run has to tell while it goes on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum News<'a> {
    /// The table has come so far, for good.
    Reached(Indexed),
    /// The table has come to the end of the log.
    CaughtUp(Indexed),
    /// An event is bad, and the run goes on behind it.
    Quarantined {
        /// Its position.
        position: Position,
        /// What is wrong with it.
        reason: &'a str,
    },
}

/// Why a table was not brought up to date. What was in it before is in it still.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableError {
    /// The log could not be read. The table has what comes before that.
    Read(ReadError),
    /// An event is bad, and it was asked to end there. The table has what comes before.
    Bad {
        /// Its position.
        position: Position,
        /// What is wrong with it.
        reason: String,
    },
    /// The table is of another log, or of another history of it, or its position cannot be told in this one.
    History(KeepError),
    /// Events were removed from the log before they were in the table.
    Gap {
        /// Up to where the table has come.
        reached: Position,
        /// The position of the oldest event of the log.
        oldest: Position,
    },
    /// What is there is not a table that this program has made; it is not touched.
    Foreign {
        /// The file.
        file: PathBuf,
        /// What it is.
        what: String,
    },
    /// Another version of this program has made it; it is not touched.
    Version {
        /// The file.
        file: PathBuf,
        /// The version of the table.
        found: i64,
        /// The version that this program makes.
        ours: i64,
    },
    /// The table is damaged.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else keeps the file locked.
    Busy {
        /// The file.
        file: PathBuf,
    },
    /// Somebody else has changed or replaced it meanwhile.
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// It could not be read or written.
    Io {
        /// What was to be done.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system, or SQLite, said.
        source: io::Error,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Read(error) => error.fmt(out),
            TableError::Bad { position, reason } => write!(out, "the event at position {position}: {reason}"),
            TableError::History(error) => error.fmt(out),
            TableError::Gap { reached, oldest } => write!(
                out,
                "the table has come to position {reached}, and the log begins at position {oldest}: what lies between them \
                 was removed before it was in the table"
            ),
            TableError::Foreign { file, what } => write!(out, "{} is {what}", file.display()),
            TableError::Version { file, found, ours } => {
                write!(out, "{} is a table of version {found}, and this program makes version {ours}", file.display())
            }
            TableError::Damaged { file, problem } => write!(out, "{} is damaged: {problem}", file.display()),
            TableError::Busy { file } => write!(out, "{} is locked by another program", file.display()),
            TableError::Changed { file } => {
                write!(out, "{} was changed or replaced by another program meanwhile", file.display())
            }
            TableError::Io { action, file, .. } => write!(out, "cannot {action} {}", file.display()),
        }
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TableError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
