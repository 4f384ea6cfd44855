//! `annals snapshot`: what is in a snapshot file, and whether a restart can use it.
//!
//! `show` asks only the bytes. `verify` also asks the log that it was folded from, which is found from where the file
//! lies: `STORE/snap/PROJECTION/POSITION.snap`.

use std::path::{Path, PathBuf};

use annals_codec::Snapshot;
use annals_projection::{SnapshotNotes, verify_snapshot};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{bytes, count, counted, printable};
use crate::open;
use crate::out::{BAD, BOLD, GOOD, Out};
use crate::payload::{base64, one_line_of_json};
use crate::time;

/// The word for how a state is encoded.
pub(super) fn encoding(codec: u16) -> &'static str {
    match codec {
        1 => "bincode",
        2 => "JSON",
        _ => "unknown",
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    projection: &'a str,
    position: u64,
    log_id: String,
    chain: String,
    schema_version: u32,
    encoding: &'static str,
    written_at: String,
    handled: u64,
    left_out: Vec<LeftOut<'a>>,
    bytes: usize,
    state_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_base64: Option<String>,
}

#[derive(Serialize)]
struct LeftOut<'a> {
    position: u64,
    event_type: &'a str,
    reason: &'a str,
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::io(format!("cannot read {}", file.display())).because(&error))
}

pub(crate) fn show(file: &Path, out: &mut Out) -> Ended {
    let content = read(file)?;
    let unusable = || Failure::findings(format!("{} is no snapshot that can be used", file.display()));
    let snapshot = Snapshot::decode(&content).map_err(|fault| unusable().because(&fault))?;
    let notes = SnapshotNotes::decode(snapshot.notes).map_err(|error| unusable().because(&error))?;
    let state = (snapshot.codec == 2).then(|| one_line_of_json(snapshot.payload)).flatten();
    let shown = Shown {
        projection: snapshot.name,
        position: snapshot.position().get(),
        log_id: snapshot.mark.log_id.to_string(),
        chain: format!("{:08x}", snapshot.mark.chain),
        schema_version: snapshot.schema_version,
        encoding: encoding(snapshot.codec),
        written_at: time::show(snapshot.written_at),
        handled: notes.handled,
        left_out: notes
            .skipped
            .iter()
            .map(|skipped| LeftOut {
                position: skipped.position.get(),
                event_type: &skipped.event_type,
                reason: &skipped.reason,
            })
            .collect(),
        bytes: content.len(),
        state_bytes: snapshot.payload.len(),
        state,
        state_base64: state.is_none().then(|| base64(snapshot.payload)),
    };
    if out.is_json() {
        out.object(&shown)?;
    } else {
        say(&shown, out)?;
    }
    Ok(Exit::Fine)
}

fn say(shown: &Shown<'_>, out: &mut Out) -> Result<(), Failure> {
    let (name, position) = (printable(shown.projection), count(shown.position));
    out.say(format_args!("{BOLD}{name}{BOLD:#}, folded up to position {position}"))?;
    let facts = [
        ("log id", shown.log_id.clone()),
        ("chain", format!("{} at that position", shown.chain)),
        ("written", shown.written_at.clone()),
        ("schema", format!("version {}", shown.schema_version)),
        ("handled", counted(shown.handled, "event")),
        ("left out", counted(shown.left_out.len() as u64, "event")),
        ("state", format!("{} of {}", bytes(shown.state_bytes as u64), shown.encoding)),
    ];
    for (name, value) in facts {
        out.say(format_args!("  {name:<10} {value}"))?;
    }
    for left in &shown.left_out {
        let (event_type, reason) = (printable(left.event_type), printable(left.reason));
        out.say(format_args!("  left out: {event_type} at position {}: {reason}", count(left.position)))?;
    }
    match shown.state {
        Some(state) => out.say(format_args!("\n{}", printable(state.get()))),
        None => out.say(format_args!("\nOnly the program that wrote it knows what the bytes of its state mean.")),
    }
}

#[derive(Serialize)]
struct Verdict<'a> {
    file: &'a Path,
    /// `null` when only the bytes were looked at.
    store: Option<&'a Path>,
    position: Option<u64>,
    fault: Option<String>,
}

pub(crate) fn verify(file: &Path, store: Option<&Path>, out: &mut Out) -> Ended {
    let content = read(file)?;
    let found = store.map(Path::to_owned).or_else(|| store_of(file));
    let decoded = Snapshot::decode(&content).map_err(|fault| fault.to_string());
    let position = decoded.as_ref().ok().map(|snapshot| snapshot.position().get());
    let fault = match (decoded, &found) {
        (Err(fault), _) => Some(fault),
        (Ok(_), Some(store)) => {
            let name = |path: Option<&Path>| Some(path?.file_name()?.to_string_lossy().into_owned());
            let (folder, name) = (name(file.parent()).unwrap_or_default(), name(Some(file)).unwrap_or_default());
            verify_snapshot(&open::for_reading(store)?, &folder, &name, &content).err()
        }
        (Ok(snapshot), None) => SnapshotNotes::decode(snapshot.notes).err().map(|error| error.to_string()),
    };
    if out.is_json() {
        out.object(&Verdict { file, store: found.as_deref(), position, fault: fault.clone() })?;
    }
    let shown = file.display().to_string();
    let shown = printable(&shown);
    match (&fault, position) {
        _ if out.is_json() => {}
        (Some(fault), _) => out.say(format_args!("{BAD}{shown}: {}{BAD:#}", printable(fault)))?,
        (None, position) => {
            let position = count(position.unwrap_or_default());
            let of = if found.is_some() { ", and of the history of its log" } else { "" };
            out.say(format_args!("{GOOD}whole{of}{GOOD:#}: {shown}, up to position {position}"))?;
        }
    }
    if found.is_none() {
        note(
            out.is_json(),
            "note: it lies in no store, so only its bytes were looked at; --store DIR says of which log",
        );
    }
    Ok(if fault.is_none() { Exit::Fine } else { Exit::Findings })
}

/// The store that a snapshot lies in: three folders up, if that is one.
fn store_of(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    let store = file.parent()?.parent()?.parent()?;
    store.join("store.meta").is_file().then(|| store.to_owned())
}
