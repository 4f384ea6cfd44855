//! One life: a child is started, heard until it is dead, and what it said goes into the ledger.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::said::Said;
use super::way::Way;
use crate::exit::Exit;
use crate::torture::{Rule, Violation};

/// A child that says nothing for so long hangs; it has a watch of its own, which is shorter.
const SILENCE: Duration = Duration::from_secs(90);
const SIGKILL: i32 = 9;

/// What was seen of a life.
#[derive(Debug)]
pub(super) struct Lived {
    /// What the child said, line by line.
    pub(super) lines: Vec<String>,
    /// Whether opening the store had anything to repair.
    pub(super) repaired: bool,
    /// Whether it died of SIGKILL.
    pub(super) was_killed: bool,
    /// The promise that it broke while it lived.
    pub(super) broken: Option<Violation>,
}

/// Runs the command to its end, whichever way that comes.
pub(super) fn live(mut command: Command, way: Way, ledger: &mut Ledger) -> io::Result<Lived> {
    let mut child = command.spawn()?;
    let mut kill_at = match way {
        Way::KilledInOpen(delay) => Some(Instant::now() + delay),
        _ => None,
    };
    let mut lived = Lived { lines: Vec::new(), repaired: false, was_killed: false, broken: None };
    let lines = child.stdout.take().map(listen);
    let Some(lines) = lines else { return Err(io::Error::other("the child's output was not had")) };
    loop {
        let wait = kill_at.map_or(SILENCE, |at| at.saturating_duration_since(Instant::now()));
        match lines.recv_timeout(wait) {
            Ok(line) => {
                let said = Said::parse(&line);
                if let Some(Said::Opened { repaired, .. }) = said {
                    lived.repaired = repaired;
                    if let Way::KilledAfter(delay) = way {
                        kill_at = Some(Instant::now() + delay);
                    }
                }
                let taken = said.as_ref().map(|said| ledger.take(said));
                let unheard = || Violation::new(Rule::NoPanic, format!("a child says {line:?}"));
                let broken = taken.map_or_else(|| Some(unheard()), Result::err);
                lived.broken = lived.broken.or(broken);
                lived.lines.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {
                if kill_at.take().is_none() {
                    let what = format!("a child says nothing for {SILENCE:?}");
                    lived.broken.get_or_insert(Violation::new(Rule::NoPanic, what));
                }
                // An error says that it is dead already, which is looked at below.
                _ = child.kill();
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    lived.was_killed = status.signal() == Some(SIGKILL);
    let may_end = [Exit::Fine, Exit::Io].map(|exit| Some(i32::from(exit as u8)));
    if !lived.was_killed && !may_end.contains(&status.code()) {
        let what = format!("a child ended with {status}");
        lived.broken.get_or_insert(Violation::new(Rule::NoPanic, what));
    }
    Ok(lived)
}

/// Reads on while the listener thinks of killing.
fn listen(out: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// How many calls the tracer let fail.
pub(super) fn injected(trace: &Path) -> u64 {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    text.lines().filter(|line| line.contains("(INJECTED)")).count() as u64
}
