//! `annals projections`: of which projections snapshots are kept beside the log, and which of them can be used.
//!
//! What a projection is folded to, and what it has failed on, lives in its own process. What is kept of it is seen from
//! here: where a restart would go on, and why not later.

use std::path::Path;

use annals::{EventStore, Position};
use annals_projection::{StoredProjection, StoredSnapshot, stored_projections};
use serde::Serialize;

use super::snapshot::encoding;
use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{bytes, count};
use crate::open;
use crate::out::Out;
use crate::time;

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// Where a restart would go on; `null` when it would begin at the beginning.
    position: Option<u64>,
    lag: u64,
    snapshots: Vec<Kept<'a>>,
}

#[derive(Serialize)]
struct Kept<'a> {
    file: &'a str,
    position: u64,
    bytes: u64,
    /// What follows is `null` when there is a fault.
    fault: Option<&'a str>,
    encoding: Option<&'static str>,
    schema_version: Option<u32>,
    written_at: Option<String>,
    handled: Option<u64>,
    left_out: Option<u64>,
}

impl<'a> Kept<'a> {
    fn of(snapshot: &'a StoredSnapshot) -> Kept<'a> {
        let is_fine = snapshot.fault.is_none();
        Kept {
            file: &snapshot.file,
            position: snapshot.position.get(),
            bytes: snapshot.bytes,
            fault: snapshot.fault.as_deref(),
            encoding: is_fine.then(|| encoding(snapshot.codec)),
            schema_version: is_fine.then_some(snapshot.schema_version),
            written_at: is_fine.then(|| time::show(snapshot.written_at)),
            handled: is_fine.then_some(snapshot.handled),
            left_out: is_fine.then_some(snapshot.skipped.len() as u64),
        }
    }
}

/// What is kept of projections beside this store.
pub(super) fn stored(store: &EventStore) -> Result<Vec<StoredProjection>, Failure> {
    stored_projections(store).map_err(|error| Failure::io("cannot list the projections").because(&error))
}

pub(crate) fn run(path: &Path, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let found = stored(&store)?;
    if found.is_empty() {
        note(out.is_json(), "note: no projection keeps snapshots here");
    }
    let shown: Vec<Shown<'_>> = found.iter().map(shown).collect();
    if out.is_json() {
        shown.iter().try_for_each(|projection| out.object(projection))?;
    } else if !shown.is_empty() {
        tables(&shown, out)?;
    }
    let mut snapshots = shown.iter().flat_map(|projection| &projection.snapshots);
    Ok(if snapshots.all(|snapshot| snapshot.fault.is_none()) { Exit::Fine } else { Exit::Findings })
}

fn shown(projection: &StoredProjection) -> Shown<'_> {
    Shown {
        name: &projection.name,
        position: projection.position.map(Position::get),
        lag: projection.lag,
        snapshots: projection.snapshots.iter().map(Kept::of).collect(),
    }
}

fn tables(shown: &[Shown<'_>], out: &mut Out) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|projection| {
            let position = projection.position.map_or_else(|| "none".to_owned(), count);
            let usable = projection.snapshots.iter().filter(|snapshot| snapshot.fault.is_none()).count();
            let snapshots = format!("{usable} of {}", projection.snapshots.len());
            vec![projection.name.to_owned(), position, count(projection.lag), snapshots]
        })
        .collect();
    out.table(&["projection", "#goes on from", "#lag", "#usable"], &rows)?;
    out.say(format_args!(""))?;
    let all = shown.iter().flat_map(|projection| projection.snapshots.iter().map(|kept| (projection.name, kept)));
    let rows: Vec<Vec<String>> = all
        .map(|(name, kept)| {
            vec![
                name.to_owned(),
                count(kept.position),
                bytes(kept.bytes),
                kept.encoding.unwrap_or_default().to_owned(),
                kept.schema_version.map_or_else(String::new, |version| version.to_string()),
                kept.handled.map_or_else(String::new, count),
                kept.left_out.map_or_else(String::new, count),
                kept.written_at.clone().unwrap_or_default(),
                kept.fault.unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    let titles = ["snapshot of", "#at", "#size", "state", "#schema", "#handled", "#left out", "written", "fault"];
    out.table(&titles, &rows)
}
