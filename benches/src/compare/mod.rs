//! Annals beside its peers: the same work of an event store, by everybody.
//!
//! ```text
//! cargo run --release -p annals-benches --features peers -- compare
//!     --quick            a tenth of the events and few rounds: shows that it runs
//!     --only a,b,c       only these engines and rows, by name; annals always takes part
//!     --events N         in a full store, instead of a million
//!     --report FILE      writes it to a file of Markdown too, and plots/ beside it
//! ```
//!
//! Each engine runs in a process of its own ([`child`]), which this one drives by lines
//! ([`process`]): so memory is told apart, and one that panics or hangs takes nobody
//! with it. What is measured is in [`rows`], and how in [`run`].

mod child;
mod contender;
mod machine;
mod plot;
mod process;
mod report;
mod rows;
mod run;
mod syncs;
mod tell;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use contender::Contender;
use report::Results;
use rows::{Group, Row};
use run::Plan;
use syncs::Syncs;

use crate::engine::{Kind, kinds};

/// What was asked for.
struct Asked {
    plan: Plan,
    kinds: Vec<&'static Kind>,
    rows: Vec<&'static Row>,
    report: Option<PathBuf>,
}

/// Runs a comparison, or one engine of it, if the arguments say so.
pub(crate) fn main(args: &[String]) -> Option<ExitCode> {
    match args {
        [child, args @ ..] if child == child::CHILD => child::main(args),
        [compare, args @ ..] if compare == "compare" => match asked(args) {
            Ok(asked) => compare_all(&asked),
            Err(why) => {
                eprintln!("{why}");
                return Some(ExitCode::from(2));
            }
        },
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn asked(args: &[String]) -> Result<Asked, String> {
    let mut asked = Asked { plan: Plan::FULL, kinds: Vec::new(), rows: Vec::new(), report: None };
    let (mut events, mut only) = (None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match &**arg {
            "--quick" => asked.plan = Plan::QUICK,
            "--only" => only = Some(value()?.clone()),
            "--events" => events = Some(value()?.parse().map_err(|_| "--events needs a number".to_owned())?),
            "--report" => asked.report = Some(PathBuf::from(value()?)),
            unknown => {
                return Err(format!("compare knows no {unknown}: --quick, --only a,b,c, --events N, --report FILE"));
            }
        }
    }
    asked.plan.events = events.unwrap_or(asked.plan.events).max(10_000);
    let names: Vec<&str> = only.iter().flat_map(|only| only.split(',')).filter(|name| !name.is_empty()).collect();
    for name in &names {
        if !kinds().any(|kind| kind.name == *name) && !rows::ALL.iter().any(|row| row.name == *name) {
            let engines: Vec<_> = kinds().map(|kind| kind.name).collect();
            let rows: Vec<_> = rows::ALL.iter().map(|row| row.name).collect();
            let hint = if cfg!(feature = "peers") { "" } else { " (peers need --features peers)" };
            return Err(format!("no {name}: engines are {}{hint}; rows are {}", engines.join(", "), rows.join(", ")));
        }
    }
    let is_asked = |name| names.contains(&name);
    let some_engine = kinds().any(|kind| is_asked(kind.name));
    let some_row = rows::ALL.iter().any(|row| is_asked(row.name));
    // The first is the one that the others are compared with.
    asked.kinds = kinds().filter(|kind| !some_engine || kind.name == "annals" || is_asked(kind.name)).collect();
    asked.rows = rows::ALL.iter().filter(|row| !some_row || is_asked(row.name)).collect();
    Ok(asked)
}

fn compare_all(asked: &Asked) {
    let Asked { plan, kinds, rows, report } = asked;
    let mut contenders: Vec<Contender> = kinds.iter().map(|kind| Contender::new(kind, plan.events)).collect();
    if rows.iter().any(|row| row.group == Group::Durable) {
        println!("syncs of one durable append");
        for contender in contenders.iter_mut().filter(|contender| contender.kind.durable.is_some()) {
            contender.syncs = Syncs::of(contender.kind);
            let syncs = contender.syncs.as_ref().map_or("not looked at".to_owned(), ToString::to_string);
            println!("  {:<14} {syncs}", contender.kind.name);
        }
    }
    run::measure(plan, &mut contenders, rows);
    if let Some(path) = report {
        let results = Results { plan: *plan, rows, contenders: &contenders };
        report::write(&results, path).expect("the report can be written");
        println!("\n{} is written", path.display());
    }
}
