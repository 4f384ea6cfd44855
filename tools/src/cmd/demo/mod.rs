//! `annals demo`: a store takes in events, is killed in the middle of a batch, recovers, and shows what it holds.
//!
//! Nothing in it is staged: the events are appended by threads through the
//! public API, the writer that is killed is a process of its own and dies of
//! SIGKILL, and every number is measured while you watch.

mod accounts;
mod kill;
mod speed;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use annals::{Durability, EventStore, Options, RecoveryReport, inspect};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure};
use crate::human::{bytes, count, counted, printable};
use crate::open;
use crate::out::{BOLD, DIM, GOOD, Out};

pub(crate) use kill::write_until_killed;

/// How often the writer is killed until the kill lands in the middle of a write.
const KILLS: u32 = 8;

/// What happened, for `--json`.
#[derive(Serialize)]
struct Told {
    store: Option<PathBuf>,
    accounts: accounts::Told,
    kills: Vec<kill::Told>,
    clean: bool,
    events: u64,
    speed: speed::Told,
    seconds: f64,
}

pub(crate) fn run(dir: Option<&Path>, out: &mut Out) -> Ended {
    let began = Instant::now();
    let temporary = match dir {
        Some(dir) => {
            must_be_free(dir)?;
            None
        }
        None => Some(tempfile::Builder::new().prefix("annals-demo-").tempdir().map_err(|error| {
            Failure::io("cannot make a temporary directory").because(&error).next("name a directory: annals demo DIR")
        })?),
    };
    let path = dir.map_or_else(|| temporary.as_ref().map(|dir| dir.path().join("store")), |dir| Some(dir.to_owned()));
    let path = path.ok_or_else(|| Failure::io("there is no directory for the demo"))?;
    let mut tour = Tour { out, step: 0 };

    tour.step("Four threads append to bank accounts; each append is on disk before it returns.")?;
    let store = open::for_writing(&path, &Options::new())?;
    let accounts = accounts::run(&store).map_err(went_wrong)?;
    tour.say(&format!("{} in {:.2} s.", counted(accounts.events, "event"), accounts.seconds))?;
    tour.say(&format!(
        "{} times a thread was told that another one had been first. It read again, and decided again.",
        count(accounts.conflicts),
    ))?;

    tour.step("One account, read back: its events, and the balance that they add up to.")?;
    for line in accounts::history(&store).map_err(went_wrong)? {
        tour.say(&line)?;
    }
    store.close().map_err(went_wrong)?;

    tour.step("Another process appends batches of 2,000 events, and is killed (SIGKILL) in the middle of one.")?;
    let mut kills = Vec::new();
    for round in 0..KILLS {
        let killed = kill::round(&path, round)?;
        tour.say(&format!(
            "Process {} had {} acknowledged and was at work on the next one when it was killed.",
            killed.pid,
            counted(killed.acknowledged_batches, "batch"),
        ))?;
        let store = open::for_writing(&path, &Options::new())?;
        let told = kill::judge(&killed, &store)?;
        for line in recovery(store.recovery_report()) {
            tour.say(&format!("  {line}"))?;
        }
        tour.say(&format!(
            "  Of the {} acknowledged, {GOOD}all are there{GOOD:#}; of the batch at work, {}.",
            counted(told.acknowledged, "event"),
            if told.unacknowledged == 0 { "nothing" } else { "everything: it was just written" },
        ))?;
        store.close().map_err(went_wrong)?;
        let torn = told.torn_bytes > 0;
        kills.push(told);
        if torn {
            break;
        }
        if round + 1 < KILLS {
            tour.say("  That kill did not hit the middle of the write. Once more.")?;
        }
    }

    tour.step("Everything is read again and checked, as `annals verify` does.")?;
    let report = inspect::verify(&path, |_, _| ()).map_err(|error| open::failed(&path, &error))?;
    let clean = report.findings.is_empty();
    tour.say(&format!(
        "{} in {}, {}: {}.",
        counted(report.events, "event"),
        counted(report.segments, "segment"),
        bytes(report.bytes),
        if clean { format!("{GOOD}no findings{GOOD:#}") } else { counted(report.findings.len() as u64, "finding") },
    ))?;

    tour.step("How fast is it here? Events of 256 bytes, half a second each.")?;
    let store = open::for_writing(&path, &Options::new())?;
    let speed = speed::measure(&store).map_err(went_wrong)?;
    store.close().map_err(went_wrong)?;
    for (what, rate) in speed.lines() {
        tour.say(&format!("{:>12} events/s  {what}", count(rate)))?;
    }

    let exit = if clean { Exit::Fine } else { Exit::Findings };
    if tour.out.is_json() {
        let store = dir.map(Path::to_owned);
        let events = report.events;
        let told = Told { store, accounts, kills, clean, events, speed, seconds: began.elapsed().as_secs_f64() };
        tour.out.object(&told)?;
        return Ok(exit);
    }
    what_next(dir, tour.out)?;
    Ok(exit)
}

/// Talks to the person who watches; says nothing to a program.
struct Tour<'a> {
    out: &'a mut Out,
    step: u32,
}

impl Tour<'_> {
    fn step(&mut self, what: &str) -> Result<(), Failure> {
        self.step += 1;
        let number = self.step;
        if self.out.is_json() {
            return Ok(());
        }
        self.out.say(format_args!("{}{BOLD}{number}. {what}{BOLD:#}", if number == 1 { "" } else { "\n" }))?;
        self.out.flush()
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        if self.out.is_json() {
            return Ok(());
        }
        self.out.say(format_args!("   {line}"))?;
        self.out.flush()
    }
}

/// A demo that writes into somebody's store, or beside their files, would be no favour.
fn must_be_free(dir: &Path) -> Result<(), Failure> {
    match fs::read_dir(dir).map(Iterator::count) {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::io(format!("cannot use {}", dir.display())).because(&error)),
        Ok(_) => {
            let what = format!("{} is not empty", dir.display());
            Err(Failure::io(what).next("name a directory that does not exist yet"))
        }
    }
}

/// What recovery did, in plain words.
fn recovery(report: &RecoveryReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(torn) = &report.torn {
        lines.push(format!(
            "Recovery found {} of a batch that was never completed, at offset {} of segment {}, and cut them off.",
            bytes(torn.bytes),
            torn.offset,
            torn.segment
        ));
        if let Some(quarantine) = &torn.quarantine {
            lines.push(format!("They are kept in {}, in case somebody wants to look.", printable(quarantine)));
        }
    } else {
        lines.push("Recovery found nothing to cut off.".to_owned());
    }
    if !report.removed_temporaries.is_empty() {
        lines.push(format!(
            "It removed {} that was not finished.",
            counted(report.removed_temporaries.len() as u64, "file")
        ));
    }
    lines.push(format!("The log ends at position {}.", count(report.head.get())));
    lines
}

fn what_next(dir: Option<&Path>, out: &mut Out) -> Result<(), Failure> {
    out.say(format_args!(""))?;
    let store = match dir {
        Some(dir) => {
            let store = dir.display().to_string();
            out.say(format_args!("{BOLD}Look around in it:{BOLD:#}"))?;
            printable(&store).into_owned()
        }
        None => {
            out.say(format_args!(
                "{BOLD}The store was a temporary one, and is gone. Keep one and look around in it:{BOLD:#}"
            ))?;
            out.say(format_args!("   annals demo   my-store"))?;
            "my-store".to_owned()
        }
    };
    for (command, why) in [
        (format!("annals stats  {store}"), "how much it holds"),
        (format!("annals tail   {store}"), "the newest events; with --follow, each new one"),
        (format!("annals read   {store} --stream account-1"), "one stream, from its first event"),
        (format!("annals dump   {store}"), "what the bytes on disk mean"),
        (format!("annals import {store} FILE"), "events of your own: `annals import --help`"),
    ] {
        out.say(format_args!("   {command:<48} {DIM}{why}{DIM:#}"))?;
    }
    Ok(())
}

/// What goes wrong in the demo's own appends and reads is not the reader's to mend.
fn went_wrong(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::io("the demo could not go on").because(&*error.into())
}

/// Events that are only counted, for the parts of the tour that need many.
fn filler(size: usize) -> annals::NewEvent {
    annals::NewEvent::new("Filled", vec![b'x'; size])
}

/// How a batch of `count` of them is appended to `stream`.
fn fill(
    store: &EventStore,
    stream: &str,
    count: usize,
    size: usize,
    durability: Durability,
) -> Result<annals::Position, annals::AppendError> {
    let events = (0..count).map(|_| filler(size));
    Ok(store.batch().events(stream, events).durability(durability).commit()?.last)
}
