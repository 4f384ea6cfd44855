//! `annals torture` on the simulated disk: random stories, or every end of short ones.

use std::time::Instant;

use serde::Serialize;

use super::broken;
use crate::args::torture::TortureArgs;
use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, counted};
use crate::out::{BOLD, GOOD, Out};
use crate::progress::Progress;
use crate::torture::exhaustive::{Care, Cases};
use crate::torture::simulated::{Finding, Plan, run, run_every_end};
use crate::torture::{Count, Tally};

#[derive(Serialize)]
struct Told<'a> {
    seed: u64,
    seconds: f64,
    opens_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cases: Option<Cases>,
    #[serde(flatten)]
    tally: &'a Tally,
    finding: Option<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    seed: u64,
    rule: &'static str,
    violation: String,
    story: String,
    shrunk: String,
    shrunk_violation: &'a str,
}

pub(super) fn run_random(args: &TortureArgs, out: &mut Out) -> Ended {
    let plan = plan(args, args.stories.unwrap_or(100_000));
    let began = Instant::now();
    let progress = Progress::count(out.is_json(), "telling stories", plan.stories);
    let (tally, finding) = run(&plan, |done| progress.set(done, plan.stories));
    drop(progress);
    tell(&plan, began, None, &tally, finding.as_ref(), out)
}

pub(super) fn run_exhaustive(args: &TortureArgs, out: &mut Out) -> Ended {
    let plan = plan(args, args.stories.unwrap_or(200));
    let began = Instant::now();
    let progress = Progress::count(out.is_json(), "ending stories", plan.stories);
    let care = Care { interrupt_one_in: args.interrupt_one_in, seed: plan.seed };
    let (cases, tally, finding) = run_every_end(&plan, care, |done| progress.set(done, plan.stories));
    drop(progress);
    tell(&plan, began, Some(cases), &tally, finding.as_ref(), out)
}

fn plan(args: &TortureArgs, stories: u64) -> Plan {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Plan { seed: args.seed, stories, threads: args.threads.map_or_else(cores, |threads| threads as usize) }
}

fn tell(
    plan: &Plan,
    began: Instant,
    cases: Option<Cases>,
    tally: &Tally,
    finding: Option<&Finding>,
    out: &mut Out,
) -> Ended {
    let elapsed = began.elapsed();
    let seconds = elapsed.as_secs_f64();
    let opens_per_second = tally.opens * 1_000 / (elapsed.as_millis() as u64).max(1);
    if out.is_json() {
        let finding = finding.map(|finding| Found {
            seed: finding.seed,
            rule: finding.violation.rule.name(),
            violation: finding.violation.to_string(),
            story: finding.story.to_string(),
            shrunk: finding.shrunk.0.to_string(),
            shrunk_violation: &finding.shrunk.1.seen,
        });
        out.object(&Told { seed: plan.seed, seconds, opens_per_second, cases, tally, finding })?;
    } else {
        say(tally, cases, out)?;
        out.say(format_args!(
            "{} crashes, recoveries and checks a second on {}, for {seconds:.1} s.",
            count(opens_per_second),
            counted(plan.threads as u64, "thread"),
        ))?;
    }
    let Some(finding) = finding else {
        if !out.is_json() {
            out.say(format_args!("{GOOD}Every promise was kept.{GOOD:#}"))?;
        }
        return Ok(Exit::Fine);
    };
    if !out.is_json() {
        out.say(format_args!(
            "{BOLD}The story with seed {} breaks a promise:{BOLD:#} {}",
            finding.seed, finding.story
        ))?;
        out.say(format_args!("  {}", finding.violation))?;
        out.say(format_args!("{BOLD}As short as it could be made:{BOLD:#} {}", finding.shrunk.0))?;
    }
    Err(broken(&finding.shrunk.0, &finding.shrunk.1))
}

/// What was done, in a few lines and a table.
fn say(tally: &Tally, cases: Option<Cases>, out: &mut Out) -> Result<(), Failure> {
    match cases {
        None => out.say(format_args!(
            "{} of {}, on disks that did {}; {} opened and compared with what was acknowledged.",
            counted(tally.stories, "story"),
            counted(tally.steps, "step"),
            counted(tally.operations, "operation"),
            counted(tally.opens, "store"),
        ))?,
        Some(cases) => out.say(format_args!(
            "{} of the stories themselves: {} stopped at one, {} failing at one; {} from that, {} of recoveries.",
            counted(cases.operations, "operation"),
            count(cases.stops),
            count(cases.faults),
            counted(cases.recoveries, "recovery"),
            counted(cases.interruptions, "interruption"),
        ))?,
    }
    let row =
        |what: &str, tally: Count| vec![what.to_owned(), count(tally.planned), count(tally.met), count(tally.mattered)];
    let mut rows =
        vec![row("process killed", tally.kills), row("power lost", tally.power_losses), row("bit flipped", tally.rot)];
    rows.extend(tally.faults.iter().map(|(word, faults)| row(word, *faults)));
    out.table(&["injected", "#times", "#struck", "#mattered"], &rows)?;
    out.say(format_args!(
        "Batches without an answer: {} were there, {} were not. Buffered ones that went with the power: {}.",
        count(tally.doubtful_kept),
        count(tally.doubtful_dropped),
        count(tally.written_dropped),
    ))?;
    out.say(format_args!(
        "Recoveries cut {}, finished {} and {}.",
        counted(tally.torn_tails, "torn tail"),
        counted(tally.finished_rolls, "roll"),
        counted(tally.finished_creations, "creation"),
    ))?;
    let followers = tally.followers;
    out.say(format_args!(
        "Those who follow were given {}, kept {} and {}, and went on from them {} times; {} woken by an append.",
        counted(followers.given, "event"),
        counted(followers.checkpoints, "checkpoint"),
        counted(followers.snapshots, "snapshot"),
        count(followers.resumed),
        counted(followers.woken, "subscription"),
    ))
}
