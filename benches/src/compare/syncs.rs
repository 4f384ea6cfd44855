//! How often a durable append makes the disk write, as the kernel sees it.
//!
//! `strace` follows an engine while it appends, and counts calls that sync, and writes
//! to files that were opened so that each write syncs. What goes through a ring shared
//! with the kernel (`io_uring`) is not seen, so it is said that there is one.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::child::MARK;
use super::process::Process;
use crate::engine::Kind;

const SYNCS: [&str; 5] = ["fsync", "fdatasync", "msync", "sync_file_range", "syncfs"];
const WRITES: [&str; 5] = ["write", "pwrite64", "writev", "pwritev", "pwritev2"];
const APPENDS: u32 = 50;

/// Calls of each kind for one append.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Syncs {
    each: BTreeMap<String, f64>,
    has_ring: bool,
}

impl Syncs {
    /// Counts those of an engine. Nothing is known where there is no `strace`, or where it fails.
    pub(crate) fn of(kind: &Kind) -> Option<Syncs> {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, trace) = (dir.path().join("store"), dir.path().join("trace"));
        fs::create_dir(&store).expect("a directory");
        record(kind, &store, &trace).ok()?;
        Some(count(&fs::read_to_string(&trace).ok()?, APPENDS))
    }

    /// Whether nothing was seen that makes an append durable. Asking the kernel to begin writing
    /// (`sync_file_range`) does not.
    pub(crate) fn none_was_seen(&self) -> bool {
        let waited: f64 = self.each.iter().filter(|(call, _)| *call != "sync_file_range").map(|(_, each)| each).sum();
        waited < 0.5 && !self.has_ring
    }
}

impl fmt::Display for Syncs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<_> = self.each.iter().map(|(call, each)| format!("{each:.1} {call}")).collect();
        let ring = self.has_ring.then(|| "io_uring, not seen into".to_owned());
        let all: Vec<_> = calls.into_iter().chain(ring).collect();
        if all.is_empty() { write!(out, "none") } else { write!(out, "{}", all.join(", ")) }
    }
}

fn record(kind: &Kind, store: &Path, trace: &Path) -> Result<(), String> {
    let calls = [&["openat", "io_uring_setup"][..], &SYNCS, &WRITES].concat().join(",");
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(trace).arg("-e").arg(format!("trace={calls}")).arg("-e").arg("signal=none");
    if Command::new("strace").arg("-V").output().is_err() {
        return Err("there is no strace".to_owned());
    }
    let mut process = Process::start_under(Some(&mut strace), kind.name, store, 10_000, 1);
    for command in ["open durable", "append 1 10", "mark", &format!("append 1 {APPENDS}"), "mark", "close"] {
        process.ask(command)?;
    }
    Ok(())
}

/// Counts what is between the two marks of a trace.
fn count(trace: &str, appends: u32) -> Syncs {
    let mut marks = 0;
    let mut syncing_files = HashSet::new();
    let mut syncs = Syncs::default();
    for line in trace.lines() {
        // process call(arguments) = result
        let Some((_, call)) = line.split_once(' ') else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        if rest.contains(MARK) {
            marks += 1;
        } else if name == "io_uring_setup" {
            syncs.has_ring = true;
        } else if name == "openat" {
            let file = rest.rsplit_once("= ").map(|(_, number)| number.trim().to_owned());
            if let Some(file) = file {
                let syncing = rest.contains("O_DSYNC") || rest.contains("O_SYNC");
                if syncing {
                    syncing_files.insert(file)
                } else {
                    syncing_files.remove(&file)
                };
            }
        } else if marks == 1 {
            let file = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            if SYNCS.contains(&name) {
                *syncs.each.entry(name.to_owned()).or_default() += 1.0 / f64::from(appends);
            } else if WRITES.contains(&name) && syncing_files.contains(file) {
                *syncs.each.entry("synced write".to_owned()).or_default() += 1.0 / f64::from(appends);
            }
        }
    }
    syncs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_syncs_between_the_marks_count_and_writes_to_synced_files() {
        let trace = format!(
            "7 openat(AT_FDCWD, \"/s/data\", O_RDWR|O_CREAT, 0644) = 5\n\
             7 openat(AT_FDCWD, \"/s/data\", O_RDWR|O_DSYNC) = 6\n\
             7 fdatasync(5) = 0\n\
             7 openat(AT_FDCWD, \"{MARK}\", O_RDONLY) = -1 ENOENT\n\
             8 fdatasync(5 <unfinished ...>\n\
             7 pwrite64(6, \"x\", 1, 0) = 1\n\
             7 pwrite64(5, \"x\", 1, 0) = 1\n\
             8 <... fdatasync resumed>) = 0\n\
             9 fdatasync(5) = 0\n\
             7 openat(AT_FDCWD, \"{MARK}\", O_RDONLY) = -1 ENOENT\n\
             7 fsync(5) = 0\n"
        );
        let syncs = count(&trace, 2);
        assert_eq!(syncs.to_string(), "1.0 fdatasync, 0.5 synced write");
        assert!(!syncs.none_was_seen());
        assert!(count("", 2).none_was_seen());
        assert!(
            count(&trace.replace("fdatasync(", "sync_file_range(").replace("O_DSYNC", "O_RDWR"), 2).none_was_seen()
        );
    }
}
