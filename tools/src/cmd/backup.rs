//! `annals backup` and `annals restore`: a store into a backup, a backup into a store.

use std::path::Path;

use annals::{BackupOptions, CopyError, Position};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure, note};
use crate::human::{bytes, count, counted};
use crate::open;
use crate::out::{GOOD, Out};
use crate::time;

#[derive(Serialize)]
struct Taken {
    log_id: String,
    position: u64,
    base: u64,
    segments: u64,
    reused: u64,
    /// The last position of what the backup before had and this one has no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
    linked: u64,
    bytes: u64,
    copied_bytes: u64,
    consumers: u64,
    notes: Vec<String>,
}

pub(crate) fn backup(store: &Path, dir: &Path, options: &BackupOptions, out: &mut Out) -> Ended {
    open::must_be_outside(store, dir)?;
    let store = open::for_reading(store)?;
    let report = store.backup_to(dir, options).map_err(|error| failed("cannot back up", &error))?;
    let taken = Taken {
        log_id: report.mark.log_id.to_string(),
        position: report.mark.position.get(),
        base: report.base.get(),
        segments: report.segments,
        reused: report.reused,
        dropped: report.dropped.map(Position::get),
        linked: report.linked,
        bytes: report.bytes,
        copied_bytes: report.copied_bytes,
        consumers: report.consumers,
        notes: report.notes,
    };
    if out.is_json() {
        out.object(&taken)?;
        return Ok(Exit::Fine);
    }
    for text in &taken.notes {
        note(false, text);
    }
    if let Some(last) = taken.dropped {
        let what = format!("the store has no more what comes up to position {}", count(last));
        note(
            false,
            &format!("{what}, and neither has the backup now; another directory would have kept the older one"),
        );
    }
    let Taken { position, segments, reused, linked, consumers, .. } = taken;
    out.say(format_args!(
        "{GOOD}backed up{GOOD:#}: up to position {}, {} in {} ({reused} there already, {linked} linked), {} copied, {}.",
        count(position),
        bytes(taken.bytes),
        counted(segments, "segment"),
        bytes(taken.copied_bytes),
        counted(consumers, "consumer"),
    ))?;
    Ok(Exit::Fine)
}

#[derive(Serialize)]
struct Restored {
    log_id: String,
    position: u64,
    taken_at: String,
    files: u64,
    bytes: u64,
}

pub(crate) fn restore(backup: &Path, dir: &Path, out: &mut Out) -> Ended {
    let report = annals::restore(backup, dir).map_err(|error| failed("cannot restore", &error))?;
    let restored = Restored {
        log_id: report.mark.log_id.to_string(),
        position: report.mark.position.get(),
        taken_at: time::show(report.taken_at),
        files: report.files,
        bytes: report.bytes,
    };
    if out.is_json() {
        out.object(&restored)?;
        return Ok(Exit::Fine);
    }
    out.say(format_args!(
        "{GOOD}restored{GOOD:#}: as it was on {}, up to position {}; {}, {}, each with the digest it had.",
        restored.taken_at,
        count(restored.position),
        counted(restored.files, "file"),
        bytes(restored.bytes),
    ))?;
    Ok(Exit::Fine)
}

fn failed(what: &str, error: &CopyError) -> Failure {
    match error {
        CopyError::Damaged(_) | CopyError::NotWhole { .. } | CopyError::OtherHistory { .. } => {
            Failure::findings(what).because(error)
        }
        _ => Failure::io(what).because(error),
    }
}
