//! `annals torture`: the engine is crashed in every way there is, and looked at.
//!
//! The harness itself is [`crate::torture`]; this is what people and programs see of it.

mod power;
mod process;
mod simulated;
mod story;

pub(crate) use power::serve_disk;

use crate::args::torture::TortureArgs;
use crate::exit::{Ended, Failure};
use crate::out::Out;
use crate::torture::{Story, Violation};

pub(crate) fn run(args: &TortureArgs, out: &mut Out) -> Ended {
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = args.plant {
        annals::planted::plant(bug);
    }
    match &args.story {
        Some(text) => story::run(text, out),
        None if args.power => power::run(args, out),
        None if args.process => process::run(args, out),
        None if args.exhaustive => simulated::run_exhaustive(args, out),
        None => simulated::run_random(args, out),
    }
}

/// How it ends when a promise was broken.
fn broken(story: &Story, violation: &Violation) -> Failure {
    Failure::findings(format!("a broken promise: {violation}"))
        .next(format!("this is a bug in Annals, please report it: annals torture --story '{story}'"))
}
