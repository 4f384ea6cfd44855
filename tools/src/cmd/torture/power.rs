//! `annals torture --power`: the power goes, many times, below a real file system.

use serde::Serialize;

use crate::args::torture::TortureArgs;
use crate::exit::{Ended, Exit, Failure};
use crate::out::Out;
use crate::torture::power;

#[derive(Serialize)]
struct Skipped<'a> {
    skipped: &'a str,
}

pub(super) fn run(args: &TortureArgs, out: &mut Out) -> Ended {
    if let Some(missing) = power::missing() {
        let why = format!("power loss cannot be tried here: {missing}");
        if out.is_json() {
            out.object(&Skipped { skipped: &why })?;
        } else {
            out.say(format_args!("skipped: {why}"))?;
        }
        return Ok(Exit::Fine);
    }
    #[cfg(target_os = "linux")]
    return linux::run(args, out);
    #[cfg(not(target_os = "linux"))]
    Ok(Exit::Fine)
}

/// The process that is the disk.
pub(crate) fn serve_disk() -> Ended {
    #[cfg(target_os = "linux")]
    power::serve().map_err(|error| Failure::io("the disk").because(&error))?;
    Ok(Exit::Fine)
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use serde::Serialize;

    use crate::args::torture::TortureArgs;
    use crate::exit::{Ended, Exit, Failure};
    use crate::human::{bytes, count, counted};
    use crate::out::{BOLD, GOOD, Out};
    use crate::progress::Progress;
    use crate::torture::power::{Finding, Plan, Tally, run as cut_power};

    /// What happened, for `--json`.
    #[derive(Serialize)]
    struct Told<'a> {
        seed: u64,
        seconds: f64,
        #[serde(flatten)]
        tally: &'a Tally,
        findings: &'a [Finding],
    }

    pub(super) fn run(args: &TortureArgs, out: &mut Out) -> Ended {
        let began = Instant::now();
        let cannot = |error: io::Error| Failure::io("cannot cut the power").because(&error);
        let (seed, cuts) = (args.seed, args.cuts);
        let evidence = args
            .dir
            .as_deref()
            .map_or_else(|| std::env::temp_dir().join(format!("annals-power-{seed}")), Path::to_owned);
        let exe = std::env::current_exe().map_err(cannot)?;
        let plan = Plan { exe, seed, cuts, evidence, lying: args.lying_disk };
        let progress = Progress::count(out.is_json(), "cutting the power", cuts);
        let (tally, findings) = cut_power(&plan, &mut |done| progress.set(done, cuts)).map_err(cannot)?;
        drop(progress);

        let elapsed = began.elapsed();
        if out.is_json() {
            let seconds = elapsed.as_secs_f64();
            out.object(&Told { seed, seconds, tally: &tally, findings: &findings })?;
        } else {
            say(&tally, elapsed, out)?;
        }
        let Some(first) = findings.first() else {
            if !out.is_json() {
                out.say(format_args!("{GOOD}Every promise was kept.{GOOD:#}"))?;
            }
            return Ok(Exit::Fine);
        };
        if !out.is_json() {
            for finding in &findings {
                out.say(format_args!("{BOLD}A broken promise:{BOLD:#} {}", finding.violation))?;
                out.say(format_args!("  The disk, and what led to it, are in {}", finding.evidence.display()))?;
            }
        }
        let next = if args.lying_disk {
            "the disk lied about flushes, so this had to be found"
        } else {
            "this is a bug in Annals, or in this kernel: please report it with what is in that directory"
        };
        Err(Failure::findings(format!("a broken promise: {}", first.violation)).next(next))
    }

    fn say(tally: &Tally, elapsed: Duration, out: &mut Out) -> Result<(), Failure> {
        let kinds: Vec<String> = tally.cuts.iter().map(|(keep, cuts)| format!("{} {keep:?}", count(*cuts))).collect();
        let lines = [
            format!(
                "{} of a store at work, {} of writers that were killed: {} ({}), {}.",
                counted(tally.recordings, "recording"),
                count(tally.children - tally.recordings),
                counted(tally.recorded.writes, "block write"),
                bytes(tally.recorded.bytes),
                counted(tally.recorded.flushes, "flush"),
            ),
            format!(
                "The power went {} times; kept of what was not flushed: {}.",
                count(tally.cuts()),
                kinds.join(", ")
            ),
            format!(
                "{} times something was lost: {} dropped, {} torn, {} overtaken by a later one. {} times while a store was opened.",
                count(tally.lossy),
                counted(tally.dropped_writes, "write"),
                count(tally.torn_writes),
                count(tally.overtaken_writes),
                count(tally.in_recovery),
            ),
            format!(
                "{} opened and judged: {} found, {} of those that nobody was told about kept and {} dropped, \
             {} that were only written given up; {} cut off.",
                counted(tally.judged, "store"),
                counted(tally.acknowledged, "acknowledged batch"),
                count(tally.doubtful_kept),
                count(tally.doubtful_dropped),
                count(tally.given_up),
                counted(tally.torn_tails, "torn tail"),
            ),
        ];
        for line in lines {
            out.say(format_args!("{line}"))?;
        }
        if tally.mended > 0 {
            let disks = counted(tally.mended, "disk");
            out.say(format_args!("On {disks} ext4 had lost its own superblock; e2fsck brought it back."))?;
        }
        let rate = tally.cuts() * 1_000 / (elapsed.as_millis() as u64).max(1);
        out.say(format_args!(
            "{} losses of power and recoveries a second, for {:.1} s.",
            count(rate),
            elapsed.as_secs_f64()
        ))
    }
}
