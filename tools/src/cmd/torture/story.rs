//! `annals torture --story`: one story, operation by operation.

use serde::Serialize;

use super::broken;
use crate::exit::{Ended, Exit, Failure};
use crate::out::{BOLD, DIM, GOOD, Out};
use crate::torture::{Story, Tally, tell_caught};

#[derive(Serialize)]
struct Told {
    story: String,
    journal: Vec<String>,
    violation: Option<String>,
}

pub(super) fn run(text: &str, out: &mut Out) -> Ended {
    let story: Story = text
        .parse()
        .map_err(|error| Failure::usage("this is no story").because(&error).next("see `annals torture --help`"))?;
    let mut tally = Tally { journal: Some(Vec::new()), ..Tally::default() };
    let done = tell_caught(&story, &mut tally);
    let journal = tally.journal.unwrap_or_default();
    if out.is_json() {
        let violation = done.as_ref().err().map(ToString::to_string);
        out.object(&Told { story: story.to_string(), journal, violation })?;
    } else {
        for line in &journal {
            let style = if line.starts_with("life") { BOLD } else { DIM };
            let style = if line.contains("-> ") { anstyle::Style::new() } else { style };
            out.say(format_args!("{style}{line}{style:#}"))?;
        }
    }
    done.map_err(|violation| broken(&story, &violation))?;
    if !out.is_json() {
        out.say(format_args!("{GOOD}Every promise was kept.{GOOD:#}"))?;
    }
    Ok(Exit::Fine)
}
