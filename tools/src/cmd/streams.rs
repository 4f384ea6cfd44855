//! `annals streams`: which streams there are, in the order of their names.

use std::path::Path;

use serde::Serialize;

use crate::exit::{Ended, Exit, Failure};
use crate::human::printable;
use crate::open;
use crate::out::{DIM, Out};

#[derive(Serialize)]
struct Row<'a> {
    #[serde(rename = "stream")]
    name: &'a str,
    version: u64,
    last_position: u64,
}

pub(crate) fn run(path: &Path, prefix: &str, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let streams = store.streams(prefix).map_err(|error| open::unread(&error))?;
    if !out.is_json() && !streams.is_empty() {
        out.say(format_args!("{DIM}{:>9}  {:>13}  stream{DIM:#}", "events", "last position"))?;
    }
    for info in streams {
        let row = Row { name: &info.stream, version: info.version.get(), last_position: info.last_position.get() };
        if out.is_json() {
            out.object(&row)?;
        } else {
            let Row { name, version, last_position } = row;
            out.say(format_args!("{version:>9}  {last_position:>13}  {}", printable(name)))?;
        }
    }
    // A stream that stood only in a damaged region is not in the list: that must not pass in silence.
    let mut exit = Exit::Fine;
    for gap in &store.recovery_report().gaps {
        out.flush()?;
        exit = Failure::findings("some streams may be missing").because(gap).tell(out.is_json());
    }
    Ok(exit)
}
