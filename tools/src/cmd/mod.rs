//! One file for each command.

mod dump;

use crate::args::{Args, Command};
use crate::exit::Ended;
use crate::out::Out;

/// Runs what the arguments ask for.
pub(crate) fn run(args: Args) -> Ended {
    let mut out = Out::new(args.json);
    let ended = match args.command {
        Command::Dump { segments, payload } => dump::run(&segments, payload, &mut out),
        _ => todo!(),
    };
    // What was found before a failure is shown before it.
    let flushed = out.flush();
    ended.and_then(|exit| flushed.map(|()| exit))
}
