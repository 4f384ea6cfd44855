//! Real processes that are killed, and what they leave on a real disk.
//!
//! ```text
//!  child (this very binary)                          parent
//!  "intend 3/0/17" ─► append ─► "done 3/0/17 …" ──►  ledger: what was promised
//!      ✗ SIGKILL, at some moment or system call          │
//!      ✗ or an error from a system call                  ▼
//!  the directory that it leaves ───────────────────►  judge ─► verdict, or a violation
//! ```
//!
//! What is always true:
//!
//! - Every byte that a child appends is made of the seed and the batch's name
//!   ([`work`]), so the parent, who hears names, knows what has to be there.
//! - A child says what it is about to do before, and what came of it after, each
//!   in one `write` ([`said`]).
//! - A ledger outlives its children: what one judgement found, every later one must find.
//!
//! The judge does not care who ended the child, nor how: see [`End`].

mod campaign;
mod child;
mod dice;
mod entry;
mod follower;
mod judge;
mod ledger;
mod life;
mod place;
pub mod said;
mod way;
pub mod work;

use std::path::Path;
use std::process::{Command, Stdio};

pub use campaign::{Counts, Finding, Plan, run};
pub(crate) use child::run as append_until_killed;
pub use judge::{Verdict, judge};
pub use ledger::{Arrival, End, Ledger};
pub use place::Place;
pub use way::{Call, Injected, Tracer, Way, Ways};

/// The name of the hidden subcommand that is the child.
const CHILD: &str = "torture-writer";

/// The command that runs a child: it appends `batches` batches from each of its threads to the store in
/// `dir`, and says so on its standard output.
pub fn writer(exe: &Path, dir: &Path, seed: u64, life: u32, batches: u32) -> Command {
    let mut command = Command::new(exe);
    command.arg(CHILD).arg(dir).args([seed.to_string(), life.to_string(), batches.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}
