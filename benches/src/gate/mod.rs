//! The gate: what the hot paths cost in instructions, system calls and allocations, against a committed
//! baseline.
//!
//! ```text
//! cargo run --release -p annals-benches -- gate [--bless] [NAME]
//! ```
//!
//! Times scatter by ±40 % on a shared machine; these counts hardly do. So they are what a change is
//! held against, in CI too: a path that needs more than its tolerance more instructions, or one system call or
//! allocation more, fails. Whoever made it so looks, and either repairs it or blesses the new baseline, with a
//! reason in the commit. A path that has become cheaper fails nothing, and is worth a bless.
//!
//! # How it counts
//!
//! The program starts itself as a child that walks one path n times, and again 2 n times, under
//! `valgrind --tool=callgrind` and under `strace`. The difference, divided by n, is what one time costs:
//! starting, opening, warming up and closing cancel out. Each child gets a fresh store, made for it by
//! this process.
//!
//! What another thread does depends on when it gets the processor, so the stores have no background
//! thread, and the paths marked `beside-threads` count the caller's system calls alone.

mod baseline;
mod paths;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use self::baseline::{Baseline, Cost};
use self::paths::{ALL, HotPath};

/// So often a path is counted again before it is called dearer, and each of these counts has to clear it: hash maps have another
/// seed in each process, and memory lies elsewhere, which moves some paths by more than the tolerance. What was added is there
/// each time.
const RECOUNTS: usize = 2;

/// The word on the command line that a child is started with.
const CHILD: &str = "--child";

/// Does what the arguments behind `gate` say.
pub(crate) fn run(args: &[String]) -> ExitCode {
    if let [child, name, dir, times] = args
        && child == CHILD
    {
        let path = ALL.iter().find(|path| path.name == *name).expect("a path of this program");
        (path.walk)(Path::new(dir), times.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    let bless = args.iter().any(|arg| arg == "--bless");
    let wanted = args.iter().find(|arg| !arg.starts_with("--")).map_or("", String::as_str);
    let chosen: Vec<&HotPath> = ALL.iter().filter(|path| path.name.contains(wanted)).collect();
    if chosen.is_empty() {
        eprintln!("no hot path has {wanted:?} in its name");
        return ExitCode::from(2);
    }
    match check(&chosen, bless) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gate: {error}");
            ExitCode::from(2)
        }
    }
}

fn check(chosen: &[&HotPath], bless: bool) -> Result<ExitCode, String> {
    let tools = tools::Tools::here()?;
    let before = Baseline::load()?;
    let tolerance = before.tolerance(&tools);
    println!("{:<28} {:>13} {:>13} {:>8}   calls", "path", "baseline", "now", "change");
    let mut now = before.clone();
    now.set_tools(&tools);
    let mut worse = Vec::new();
    for path in chosen {
        let was = before.cost(path.name);
        let mut counted = cost(path)?;
        let mut verdict = baseline::compare(was, &counted, tolerance);
        if verdict.is_worse && !bless {
            for _ in 0..RECOUNTS {
                counted = cost(path)?;
                verdict = baseline::compare(was, &counted, tolerance);
                if verdict.is_worse {
                    break;
                }
            }
        }
        println!("{:<28} {}", path.name, verdict.line);
        if verdict.is_worse {
            worse.push(path.name);
        }
        now.set(path.name, counted);
    }
    if bless && chosen.len() < ALL.len() && now.is_made_with_others_than(&before) {
        return Err("other tools than the baseline's: bless all paths".to_owned());
    }
    if bless {
        now.keep(&ALL.iter().map(|path| path.name).collect::<Vec<_>>());
        now.save()?;
        println!("\nBlessed: {} is written. Say in the commit why the numbers moved.", baseline::FILE);
        return Ok(ExitCode::SUCCESS);
    }
    if worse.is_empty() {
        println!("\nNo hot path has become dearer (tolerance: {:.0} % of instructions, no call).", tolerance * 100.0);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "\nDearer than the baseline: {}.\n\
         Look for what was added (`callgrind_annotate`, `strace -f`). If it has to be, bless it:\n    \
         cargo run --release -p annals-benches -- gate --bless\nand commit {} with the reason.",
        worse.join(", "),
        baseline::FILE
    );
    Ok(ExitCode::FAILURE)
}

/// What walking a path once costs.
fn cost(path: &HotPath) -> Result<Cost, String> {
    let child = |times: u64, run: &dyn Fn(&[String]) -> Result<Cost, String>| {
        let dir = tempfile::tempdir().map_err(|error| format!("no directory for a store: {error}"))?;
        (path.prepare)(dir.path(), times);
        let place = dir.path().to_str().ok_or("a temporary directory with a strange name")?;
        run(&["gate".into(), CHILD.into(), path.name.into(), place.into(), times.to_string()])
    };
    let twice_less_once = |run: &dyn Fn(&[String]) -> Result<Cost, String>| {
        Ok::<Cost, String>(child(2 * path.times, run)?.less(child(path.times, run)?))
    };
    let mut cost = Cost::default();
    if path.counts.instructions() {
        cost = twice_less_once(&|args| tools::instructions(args).map(Cost::of_instructions))?;
    }
    if path.counts.calls() {
        cost.calls.extend(twice_less_once(&|args| tools::system_calls(args).map(Cost::of_calls))?.calls);
    }
    Ok(cost.each(path.times, path.events))
}
