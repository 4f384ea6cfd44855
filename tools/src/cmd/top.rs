//! `annals top`: a screen that follows a store, or with `--once` what it would show.

use std::io::{self, IsTerminal as _};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::top::TopArgs;
use crate::exit::{Ended, Exit, Failure};
use crate::open;
use crate::out::Out;
use crate::top::{self, Session};

/// The screen where there is no terminal to say how large it is.
const SIZE: (u16, u16) = (80, 24);

pub(crate) fn run(args: &TopArgs, out: &mut Out) -> Ended {
    if out.is_json() {
        return Err(Failure::usage("annals top is for people").next("`annals stats --json` is for programs"));
    }
    if !args.once && !io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is not a terminal")
            .next("--once prints one screen, `annals stats` all there is to say of one moment"));
    }
    let store = open::for_reading(&args.store)?;
    let every = Duration::from_millis(args.every);
    if !args.once {
        return top::run(store, &args.store, every);
    }
    let began = Instant::now();
    let mut session = Session::new(store, &args.store);
    session.look(Duration::ZERO);
    // A rate takes two looks.
    thread::sleep(every);
    session.look(began.elapsed());
    let (width, height) =
        if io::stdout().is_terminal() { ratatui::crossterm::terminal::size().unwrap_or(SIZE) } else { SIZE };
    out.bytes(session.text(width, height).as_bytes())?;
    Ok(Exit::Fine)
}
