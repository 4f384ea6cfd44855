//! `annals keys`: the keys of a ring, and the end of one.

use std::path::Path;

use annals::shred::{KeyError, KeyRing, KeyStatus};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure};
use crate::human::{counted, printable};
use crate::open;
use crate::out::Out;
use crate::time;

#[derive(Serialize)]
struct Row {
    key: String,
    status: &'static str,
    subject: Option<String>,
    created_at: Option<String>,
    destroyed_at: Option<String>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Destroyed<'a> {
    subject: &'a str,
    destroyed: bool,
}

pub(crate) fn run(ring: &Path, destroy: Option<&str>, yes: bool, out: &mut Out) -> Ended {
    match destroy {
        None => list(ring, out),
        Some(_) if !yes => Err(Failure::usage("a destroyed key cannot be brought back").next("say --yes, too")),
        Some(subject) => destroy_one(ring, subject, out),
    }
}

/// Opens a ring to decrypt with it.
pub(super) fn for_reading(ring: &Path) -> Result<KeyRing, Failure> {
    open::must_be_a_directory(ring)?;
    KeyRing::open_read_only(ring).map_err(|error| failed(ring, &error))
}

fn failed(ring: &Path, error: &KeyError) -> Failure {
    let what = format!("cannot use the ring of keys {}", ring.display());
    match error {
        KeyError::Damaged { .. } | KeyError::SecretMissing { .. } => Failure::findings(what).because(error),
        KeyError::InvalidName(_) => Failure::usage(what).because(error),
        _ => Failure::io(what).because(error),
    }
}

fn list(ring: &Path, out: &mut Out) -> Ended {
    let keys = for_reading(ring)?.keys().map_err(|error| failed(ring, &error))?;
    let mut rows: Vec<Row> = keys.into_iter().map(|info| row(info.handle.to_string(), info.status)).collect();
    rows.sort_by(|one, other| (&one.subject, &one.key).cmp(&(&other.subject, &other.key)));
    let damaged = rows.iter().filter(|row| row.problem.is_some()).count();
    if out.is_json() {
        rows.iter().try_for_each(|row| out.object(row))?;
    } else {
        let cells = rows.iter().map(|row| {
            let subject = row.subject.as_deref().map_or_else(|| "(not known any more)".into(), printable);
            let what = match row {
                Row { created_at: Some(at), .. } => format!("made {at}"),
                Row { destroyed_at: Some(at), .. } => format!("destroyed {at}"),
                Row { problem, .. } => problem.clone().unwrap_or_default(),
            };
            vec![subject.into_owned(), row.status.to_owned(), what, row.key.clone()]
        });
        out.table(&["subject", "status", "", "key"], &cells.collect::<Vec<_>>())?;
    }
    match damaged {
        0 => Ok(Exit::Fine),
        damaged => {
            let what = format!("{} cannot be used", counted(damaged as u64, "key"));
            out.flush()?;
            Ok(Failure::findings(what)
                .next("bring them back from a copy of the ring, or destroy them")
                .tell(out.is_json()))
        }
    }
}

fn row(key: String, status: KeyStatus) -> Row {
    let row = Row { key, status: "damaged", subject: None, created_at: None, destroyed_at: None, problem: None };
    match status {
        KeyStatus::Live { subject, created_at } => {
            Row { status: "live", subject: Some(subject.to_string()), created_at: Some(time::show(created_at)), ..row }
        }
        KeyStatus::Destroyed { destroyed_at } => {
            Row { status: "destroyed", destroyed_at: Some(time::show(destroyed_at)), ..row }
        }
        KeyStatus::Damaged(fault) => Row { problem: Some(fault.to_string()), ..row },
        _ => row,
    }
}

fn destroy_one(ring: &Path, subject: &str, out: &mut Out) -> Ended {
    // A ring that is not there is not to be made by looking for a key in it.
    drop(for_reading(ring)?);
    let keys = KeyRing::open(ring).map_err(|error| failed(ring, &error))?;
    let destroyed = keys.destroy(subject).map_err(|error| failed(ring, &error))?;
    if !destroyed {
        return Err(
            Failure::findings(format!("the ring has no key for {subject:?}")).next("`annals keys RING` lists them")
        );
    }
    if out.is_json() {
        out.object(&Destroyed { subject, destroyed })?;
    } else {
        out.say(format_args!(
            "The key of {} is destroyed. What it encrypted cannot be read any more.",
            printable(subject)
        ))?;
    }
    Ok(Exit::Fine)
}
