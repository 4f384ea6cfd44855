//! `annals torture --process`: real processes are killed, on a real disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::args::torture::TortureArgs;
use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{count, counted};
use crate::out::{BOLD, GOOD, Out};
use crate::progress::Progress;
use crate::torture::process::{Counts, Finding, Place, Plan, Tracer, Ways, run as run_plan};

/// How many batches each thread of a process appends, if it lives that long.
const BATCHES: u32 = 40;

#[derive(Serialize)]
struct Told<'a> {
    seed: u64,
    seconds: f64,
    strace: bool,
    #[serde(flatten)]
    counts: &'a Counts,
    finding: Option<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    rule: &'static str,
    violation: String,
    evidence: &'a Path,
    lives: &'a [String],
}

pub(super) fn run(args: &TortureArgs, out: &mut Out) -> Ended {
    let tracer = Tracer::find();
    if tracer.is_none() {
        note(out.is_json(), "strace is not here, or may not trace: kills and errors at system calls are left out");
    }
    let root = args.dir.clone().unwrap_or_else(somewhere);
    let unusable = |error: &std::io::Error| Failure::io(format!("cannot use {}", root.display())).because(error);
    let place = Place::take(&root).map_err(|error| unusable(&error).next("give an empty directory, or a new one"))?;
    let exe = std::env::current_exe().map_err(|error| Failure::io("cannot find this program").because(&error))?;
    let time = args.seconds.map_or(Duration::MAX, Duration::from_secs);
    let plan = Plan { exe, seed: args.seed, lives: args.lives, time, ways: Ways::ALL, batches: BATCHES };

    let began = Instant::now();
    let progress = Progress::count(out.is_json(), "ending processes", plan.lives);
    let ran = run_plan(&plan, &place, tracer, |counts| progress.set(counts.lives, plan.lives));
    drop(progress);
    let (counts, finding) = ran.map_err(|error| unusable(&error))?;
    let seconds = began.elapsed().as_secs_f64();
    if out.is_json() {
        let found = finding.as_ref().map(|finding| Found {
            rule: finding.violation.rule.name(),
            violation: finding.violation.to_string(),
            evidence: &finding.evidence,
            lives: &finding.lives,
        });
        out.object(&Told { seed: plan.seed, seconds, strace: tracer.is_some(), counts: &counts, finding: found })?;
    } else {
        say(&counts, seconds, out)?;
    }
    match finding {
        Some(finding) => Err(broken(&finding, out)?),
        None if out.is_json() => Ok(Exit::Fine),
        None => {
            out.say(format_args!("{GOOD}Every promise was kept.{GOOD:#}"))?;
            Ok(Exit::Fine)
        }
    }
}

/// A directory that is nobody else's, gone when nothing was found.
fn somewhere() -> PathBuf {
    std::env::temp_dir().join(format!("annals-torture-{}", std::process::id()))
}

/// What was done, in a few lines and a table.
fn say(counts: &Counts, seconds: f64, out: &mut Out) -> Result<(), Failure> {
    out.say(format_args!(
        "{} on {}, {} killed, {} of them while recovering from the kill before; {} failed; {} in {seconds:.1} s.",
        counted(counts.lives, "process"),
        counted(counts.stores, "store"),
        count(counts.killed),
        count(counts.interrupted),
        counted(counts.failed_calls, "system call"),
        counted(counts.judged, "judgement"),
    ))?;
    let row = |(kind, tally): (&String, &crate::torture::Count)| {
        vec![kind.clone(), count(tally.planned), count(tally.met), count(tally.mattered)]
    };
    let rows: Vec<Vec<String>> = counts.ways.iter().map(row).collect();
    out.table(&["done to a process", "#times", "#struck", "#mattered"], &rows)?;
    out.say(format_args!(
        "{} acknowledged, all of them there. Without an answer: {} were there, {} were not.",
        counted(counts.acknowledged, "batch"),
        count(counts.kept),
        count(counts.dropped),
    ))?;
    out.say(format_args!(
        "{} cut off; {} compared. Of the retries, {} found what had survived, {} appended what had not.",
        counted(counts.torn, "torn tail"),
        counted(counts.looked_up, "look-up"),
        count(counts.recognised),
        count(counts.appended_again),
    ))?;
    out.say(format_args!("Snapshots spared {} of folding.", counted(counts.resumed, "event")))
}

fn broken(finding: &Finding, out: &mut Out) -> Result<Failure, Failure> {
    if !out.is_json() {
        out.say(format_args!("{BOLD}A promise was broken.{BOLD:#} The lives of that store:"))?;
        for life in &finding.lives {
            out.say(format_args!("  {life}"))?;
        }
    }
    Ok(Failure::findings(format!("a broken promise: {}", finding.violation)).next(format!(
        "this is a bug in Annals (or a failing disk), please report it with what is in {}",
        finding.evidence.display()
    )))
}
