//! A writer that is killed while it writes, and the question what of its work is there.
//!
//! ```text
//!  demo-writer (child)                          demo (parent)
//!  "begin 1" ──► commit ──► "done 1 2000" ──►   reads, counts
//!  "begin 2" ──► comm✗                          SIGKILL a moment after "begin"
//! ```
//!
//! What the parent has read a "done" for was acknowledged: all of it must be
//! there. The batch at work may be there as a whole or not at all.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Durability, EventStore, Options};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure};
use crate::open;

/// How many events the child appends in each batch: enough that writing them takes a while.
const BATCH: usize = 2_000;
/// How many bytes of data each has.
const SIZE: usize = 4_096;
/// How many batches are acknowledged before the parent thinks of killing.
const BEFORE: u64 = 3;

/// A writer that was killed.
pub(super) struct Killed {
    pub(super) pid: u32,
    pub(super) acknowledged_batches: u64,
    /// The position of the last event that was acknowledged.
    acknowledged: u64,
}

#[derive(Serialize)]
pub(super) struct Told {
    /// Events that were acknowledged, over all writers so far.
    pub(super) acknowledged: u64,
    /// Events of the batch at work that are there.
    pub(super) unacknowledged: u64,
    /// Bytes of a batch that was never completed.
    pub(super) torn_bytes: u64,
}

/// The child: appends batches, and says before and after each what it does.
pub(crate) fn write_until_killed(path: &Path) -> Ended {
    let store = open::for_writing(path, &Options::new())?;
    let mut told = io::stdout();
    let gone = |error: io::Error| Failure::output(&error);
    for number in 1_u64.. {
        writeln!(told, "begin {number}").and_then(|()| told.flush()).map_err(gone)?;
        let last = super::fill(&store, "doomed", BATCH, SIZE, Durability::Sync)
            .map_err(|error| Failure::io("cannot append").because(&error))?;
        writeln!(told, "done {number} {last}").and_then(|()| told.flush()).map_err(gone)?;
    }
    Ok(Exit::Fine)
}

/// Starts a writer and kills it in the middle of a batch, each round at another moment.
pub(super) fn round(path: &Path, round: u32) -> Result<Killed, Failure> {
    let cannot = |error: io::Error| Failure::io("cannot run the process that is to be killed").because(&error);
    let mut child = Command::new(std::env::current_exe().map_err(cannot)?)
        .arg("demo-writer")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let mut killed = Killed { pid: child.id(), acknowledged_batches: 0, acknowledged: 0 };
    let Some(told) = child.stdout.take() else { return Err(Failure::io("the child's output was not had")) };
    // A batch is encoded, written, synced. Its write is most likely at work a little behind
    // the middle of the time that the batch before it took.
    let (mut begun, mut took) = (Instant::now(), Duration::ZERO);
    let mut at_work = false;
    for line in BufReader::new(told).lines() {
        let line = line.map_err(cannot)?;
        if line.starts_with("begin ") {
            begun = Instant::now();
            if killed.acknowledged_batches >= BEFORE && !at_work {
                at_work = true;
                thread::sleep(took * (9 + round % 6) / 16);
                // An error says that it is dead already, which is looked at below.
                _ = child.kill();
            }
        } else if let Some((_, last)) = line.strip_prefix("done ").and_then(|rest| rest.split_once(' ')) {
            took = begun.elapsed();
            killed.acknowledged_batches += 1;
            killed.acknowledged = last.parse().unwrap_or(killed.acknowledged);
        }
    }
    child.wait().map_err(cannot)?;
    if !at_work {
        return Err(Failure::io("the process that was to be killed ended by itself"));
    }
    Ok(killed)
}

/// Compares what the store holds with what was acknowledged.
pub(super) fn judge(killed: &Killed, store: &EventStore) -> Result<Told, Failure> {
    let head = store.head().get();
    let unacknowledged = head.wrapping_sub(killed.acknowledged);
    if unacknowledged != 0 && unacknowledged != BATCH as u64 {
        let what = format!(
            "the log ends at position {head}; {} events were acknowledged, in batches of {BATCH}",
            killed.acknowledged
        );
        return Err(Failure::findings(what).next("this is a bug in Annals: please report it"));
    }
    let torn = store.recovery_report().torn.as_ref();
    Ok(Told { acknowledged: killed.acknowledged, unacknowledged, torn_bytes: torn.map_or(0, |torn| torn.bytes) })
}
