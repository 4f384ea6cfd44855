//! `annals schema check`: every event of a log, with the schema of its type and version.

use std::path::Path;

use annals_schema::{Fault, Finding, LogCheck, Violation, check_log};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, counted, printable};
use crate::open;
use crate::out::{BAD, GOOD, Out};
use crate::progress::Progress;

/// How many lines a person is shown; a program gets them all.
const MOST_LINES: u64 = 100;

/// How many types without a schema a person is shown.
const MOST_TYPES: usize = 10;

/// One thing that is wrong with one event, or what keeps events from being read.
#[derive(Serialize)]
struct Line<'a> {
    position: Option<u64>,
    stream: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    /// The version of the schema that it was checked with.
    version: Option<u16>,
    kind: &'static str,
    path: Option<&'a str>,
    rule: Option<&'a str>,
    schema_path: Option<&'a str>,
    message: String,
    got: Option<&'a str>,
}

#[derive(Serialize)]
struct Summary<'a> {
    clean: bool,
    checked: u64,
    faulty: u64,
    without_schema: &'a std::collections::BTreeMap<String, u64>,
    redacted: u64,
    encrypted: u64,
    lost: u64,
    unreadable: u64,
    head: u64,
}

pub(crate) fn run(path: &Path, strict: bool, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let progress = Progress::count(out.is_json(), "checking", 0);
    let mut printing = Printing { lines: 0, out, failed: None };
    let checked =
        check_log(&store, strict, |done, total| progress.set(done, total), |finding| printing.finding(&finding));
    drop(progress);
    let Printing { lines, out, failed } = printing;
    if let Some(failure) = failed {
        return Err(failure);
    }
    let checked = checked.map_err(|error| open::unread(&error))?;
    if out.is_json() {
        out.object(&Summary {
            clean: checked.is_clean(),
            checked: checked.checked,
            faulty: checked.faulty,
            without_schema: &checked.without_schema,
            redacted: checked.redacted,
            encrypted: checked.encrypted,
            lost: checked.lost,
            unreadable: checked.unreadable,
            head: checked.head.get(),
        })?;
    } else {
        if lines > MOST_LINES {
            out.say(format_args!("… and {} more; --json lists them all", count(lines - MOST_LINES)))?;
        }
        tell(&checked, strict, out)?;
    }
    Ok(if checked.is_clean() { Exit::Fine } else { Exit::Findings })
}

struct Printing<'a> {
    lines: u64,
    out: &'a mut Out,
    /// The output is gone.
    failed: Option<Failure>,
}

impl Printing<'_> {
    /// Prints what is wrong; whether anybody still listens.
    fn finding(&mut self, finding: &Finding) -> bool {
        match self.print(finding) {
            Ok(()) => true,
            Err(failure) => {
                self.failed = Some(failure);
                false
            }
        }
    }

    fn print(&mut self, finding: &Finding) -> Result<(), Failure> {
        match finding {
            Finding::Event { position, stream, event_type, fault, .. } => {
                let line = |violation: Option<&Violation>| Line {
                    position: Some(position.get()),
                    stream: Some(stream),
                    event_type: Some(event_type),
                    version: version(fault),
                    kind: fault.kind(),
                    path: None,
                    rule: None,
                    schema_path: None,
                    message: violation.map_or_else(|| fault.to_string(), |violation| violation.message.clone()),
                    got: None,
                };
                for violation in fault.violations() {
                    self.line(&Line {
                        path: Some(&violation.path),
                        rule: Some(&violation.rule),
                        schema_path: Some(&violation.schema_path),
                        got: Some(&violation.got),
                        ..line(Some(violation))
                    })?;
                }
                if fault.violations().is_empty() { self.line(&line(None)) } else { Ok(()) }
            }
            Finding::Unreadable(error) => self.line(&Line {
                position: None,
                stream: None,
                event_type: None,
                version: None,
                kind: "unreadable",
                path: None,
                rule: None,
                schema_path: None,
                message: error.to_string(),
                got: None,
            }),
            _ => Ok(()),
        }
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        self.lines += 1;
        if self.out.is_json() {
            return self.out.object(line);
        }
        if self.lines > MOST_LINES {
            return Ok(());
        }
        let (Some(position), Some(stream), Some(event_type)) = (line.position, line.stream, line.event_type) else {
            return self.out.say(format_args!("{BAD}unreadable{BAD:#}: {}", printable(&line.message)));
        };
        let version = line.version.map_or_else(String::new, |version| format!(" v{version}"));
        let what = match (line.path, line.rule, line.got) {
            (Some(path), Some(rule), Some(got)) => {
                let place = if path.is_empty() { "the payload" } else { path };
                format!("{place}: {} ({rule}); got {got}", line.message)
            }
            _ => line.message.clone(),
        };
        let of = printable(&format!("{stream}  {event_type}{version}")).into_owned();
        self.out.say(format_args!("{:>9}  {of}  {}", count(position), printable(&what)))
    }
}

/// The version of the schema that an event was checked with.
fn version(fault: &Fault) -> Option<u16> {
    match fault {
        Fault::UnknownVersion { version, .. }
        | Fault::Unusable { version, .. }
        | Fault::NotJson { version, .. }
        | Fault::Violates { version, .. } => Some(*version),
        _ => None,
    }
}

fn tell(checked: &LogCheck, strict: bool, out: &mut Out) -> Result<(), Failure> {
    let events = counted(checked.checked, "event");
    if checked.is_clean() {
        out.say(format_args!("{GOOD}clean{GOOD:#}: {events} checked, each as its schema asks."))?;
    } else {
        let (faulty, regions) = (counted(checked.faulty, "event"), counted(checked.unreadable, "region"));
        let unread = if checked.unreadable == 0 { String::new() } else { format!(", and {regions} cannot be read") };
        let (what, of) = if checked.faulty == 1 { ("is", "its schema asks") } else { ("are", "their schemas ask") };
        out.say(format_args!("{BAD}{faulty}{BAD:#} {what} not as {of}{unread}; {events} checked."))?;
    }
    if !checked.without_schema.is_empty() && !strict {
        let types = checked.without_schema.iter().take(MOST_TYPES);
        let named: Vec<String> =
            types.map(|(name, events)| format!("{name} ({})", counted(*events, "event"))).collect();
        let more = checked.without_schema.len().saturating_sub(MOST_TYPES);
        let more = if more == 0 { String::new() } else { format!(" and {} more", counted(more as u64, "type")) };
        out.say(format_args!("Without a schema: {}{more}.", printable(&named.join(", "))))?;
    }
    for (events, what) in [(checked.redacted, "redacted"), (checked.encrypted, "encrypted"), (checked.lost, "lost")] {
        if events > 0 {
            out.say(format_args!("Not looked at, because {what}: {}.", counted(events, "event")))?;
        }
    }
    Ok(())
}
