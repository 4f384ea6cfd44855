//! The command `annals`: for people who want to fill a store, look inside one, or know whether it is whole.
//!
//! ```text
//!  annals COMMAND STORE [ARGS]
//!
//!  args ─► cmd::{demo, import, export, get, read, tail, streams, stats, consumers, tip, prove, verify, repair, truncate} ─► the
//!        engine
//!                        cmd::projections, cmd::snapshot ─► annals-projection, annals-codec
//!                        cmd::schema ─► annals-schema (feature `schema`)
//!                        cmd::archive ─► archived ─► annals-archive (feature `archive`)
//!                        cmd::top ─► top ─► a terminal (feature `tui`)
//!                        cmd::export ─► ndjson, columnar (Arrow and Parquet: feature `arrow`)
//!                        cmd::sql ─► sql ─► SQLite ─► the engine
//!                        cmd::index ─► tables ─► a file of SQLite, or a folder of Parquet files (feature `arrow`)
//!                        cmd::torture ─► torture ─► the engine, on disks that fail (feature `torture`)
//!                        cmd::dump ─► segment_file ─► annals-codec: raw bytes, no engine
//!  out, progress ◄─ what a person or a program sees       exit ◄─ how it ends
//! ```
//!
//! What is always true:
//!
//! - Only `import`, `schema add`, `truncate`, `redact`, `archive send --drop-local`, `demo` and `torture` write to a store, the latter two
//!   to their own; `repair` and `restore` make a new one; every other command opens it
//!   read-only, beside a running writer, and changes nothing on disk.
//! - Results go to standard output, everything about the run to standard error.
//! - It ends with one of the four [`Exit`] codes, and never with a panic.
//!
//! It is a library too, so that tests and fuzzers reach the parsers that take bytes
//! from strangers, [`ndjson`], and the crash-injection harness, `torture`.

#[cfg(feature = "archive")]
mod archived;
mod args;
mod cmd;
#[cfg(feature = "arrow")]
mod columnar;
mod derived;
mod exit;
mod human;
mod input;
mod lines;
pub mod ndjson;
mod new_file;
mod open;
mod out;
mod payload;
mod progress;
mod proof;
mod segment_file;
mod signing;
pub mod sql;
pub mod tables;
mod time;
#[cfg(feature = "tui")]
pub mod top;
#[cfg(feature = "torture")]
pub mod torture;
mod witness;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use exit::Exit;

use args::Args;
use exit::Failure;

/// Runs the command with these arguments, the program's name first, and says how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let (json, ended) = match Args::try_parse_from(&args).map_err(args::explained).and_then(Args::consistent) {
        Ok(args) => (args.json, cmd::run(args)),
        Err(error) if error.use_stderr() => {
            let json = args.iter().any(|arg| arg == "--json");
            if !json {
                // With its colours, and the usage line below the complaint.
                _ = error.print();
                return Exit::Usage.into();
            }
            (json, Err(Failure::arguments(&error)))
        }
        Err(help) => {
            // Nobody is left to be told when help itself cannot be printed.
            _ = help.print();
            return Exit::Fine.into();
        }
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => failure.tell(json).into(),
    }
}
