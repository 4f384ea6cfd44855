//! `annals repair`: what can be saved of a store that is damaged, and the store that is made of it.

use std::path::{Path, PathBuf};

use annals::{LossRecord, Position, RepairError, RepairPlan};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure};
use crate::human::{bytes, count, counted, printable};
use crate::open;
use crate::out::{BAD, BOLD, GOOD, Out};
use crate::progress::Progress;
use crate::time;

/// How many rows of a kind a person is shown; a program gets them all.
const MOST_ROWS: usize = 20;

#[derive(Serialize)]
struct Shown {
    /// Whether that was all: nothing was written.
    dry_run: bool,
    /// Whether anything is damaged.
    needed: bool,
    /// Where the repaired store is; `null` when there is none.
    repaired: Option<String>,
    log_id: String,
    head: u64,
    kept_segments: u64,
    written_segments: u64,
    lost_positions: u64,
    lost: Vec<Lost>,
    streams: Vec<Versions>,
    /// What was wrong and is right without a loss.
    mended: Vec<String>,
    unfinished_bytes: u64,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Lost {
    first: u64,
    last: u64,
    file: String,
    offset: u64,
    bytes: u64,
    /// Where the bytes are kept in the repaired store.
    kept: Option<String>,
    why: String,
}

#[derive(Serialize)]
struct Versions {
    stream: String,
    first: u64,
    last: u64,
}

pub(crate) fn run(store: &Path, accept_loss: bool, to: Option<&Path>, out: &mut Out) -> Ended {
    open::must_be_a_directory(store)?;
    let to = to.map_or_else(|| beside(store), Path::to_owned);
    open::must_be_outside(store, &to)?;
    let progress = Progress::bytes(out.is_json(), "reading", Some(0));
    let moved = |done, all| progress.set(done, all);
    let planned = if accept_loss { annals::repair(store, &to, moved) } else { annals::plan_repair(store, moved) };
    drop(progress);
    let plan = match planned {
        Ok(plan) => plan,
        Err(RepairError::NotNeeded) => annals::plan_repair(store, |_, _| ()).map_err(|error| failed(store, &error))?,
        Err(error) => return Err(failed(store, &error)),
    };
    let repaired = (accept_loss && plan.is_needed).then(|| to.display().to_string());
    let shown = Shown::of(&plan, !accept_loss, repaired);
    if out.is_json() {
        out.object(&shown)?;
    } else {
        shown.print(store, out)?;
    }
    Ok(if plan.lost.is_empty() { Exit::Fine } else { Exit::Findings })
}

/// Where the repaired store goes when nobody says.
fn beside(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".repaired");
    store.with_file_name(name)
}

fn failed(store: &Path, error: &RepairError) -> Failure {
    let what = format!("cannot repair {}", store.display());
    match error {
        RepairError::Hopeless { .. } | RepairError::UnclearRedaction { .. } => Failure::findings(what).because(error),
        _ => Failure::io(what).because(error).next("nothing was changed"),
    }
}

impl Shown {
    fn of(plan: &RepairPlan, dry_run: bool, repaired: Option<String>) -> Shown {
        let lost = plan.lost.iter().map(|lost| Lost {
            first: lost.first.get(),
            last: lost.last.get(),
            file: lost.file.clone(),
            offset: lost.offset,
            bytes: lost.bytes,
            kept: lost.kept.clone(),
            why: lost.why.clone(),
        });
        let streams = plan.streams.iter().map(|lost| Versions {
            stream: lost.stream.to_string(),
            first: lost.first,
            last: lost.last,
        });
        Shown {
            dry_run,
            needed: plan.is_needed,
            repaired,
            log_id: plan.log_id.to_string(),
            head: plan.head.get(),
            kept_segments: plan.kept_segments,
            written_segments: plan.written_segments,
            lost_positions: plan.lost_positions(),
            lost: lost.collect(),
            streams: streams.collect(),
            mended: plan.mended.clone(),
            unfinished_bytes: plan.unfinished_bytes,
            notes: plan.notes.clone(),
        }
    }

    fn print(&self, store: &Path, out: &mut Out) -> Result<(), Failure> {
        if !self.needed {
            return out.say(format_args!(
                "{GOOD}nothing to repair{GOOD:#}: the store opens, and every byte of it is whole, up to position {}.",
                count(self.head)
            ));
        }
        if !self.lost.is_empty() {
            let rows = self.lost.iter().take(MOST_ROWS).map(|lost| {
                let positions = [lost.first, lost.last].map(|position| position.to_string());
                let [first, last] = positions;
                vec![first, last, lost.file.clone(), lost.offset.to_string(), bytes(lost.bytes), lost.why.clone()]
            });
            let rows: Vec<Vec<String>> = rows.collect();
            out.table(&["#lost from", "#to", "file", "#offset", "#size", "what was found"], &rows)?;
            more(self.lost.len(), out)?;
            out.say(format_args!(""))?;
            for lost in self.streams.iter().take(MOST_ROWS) {
                let (stream, Versions { first, last, .. }) = (printable(&lost.stream), lost);
                out.say(format_args!(
                    "  {stream}: {}",
                    if first == last { format!("version {first}") } else { format!("versions {first} to {last}") }
                ))?;
            }
            more(self.streams.len(), out)?;
            out.say(format_args!(""))?;
        }
        for text in self.mended.iter().chain(&self.notes) {
            out.say(format_args!("- {}", printable(text)))?;
        }
        if self.unfinished_bytes > 0 {
            let size = bytes(self.unfinished_bytes);
            out.say(format_args!(
                "- {size} of a batch that was never acknowledged are left out, and kept in quarantine/"
            ))?;
        }
        let would = if self.dry_run { "would be" } else { "is" };
        let lost = match self.lost_positions {
            0 => format!("{GOOD}nothing {would} lost{GOOD:#}"),
            1 => format!("{BAD}1 event {would} lost{BAD:#}"),
            more => {
                let would = if self.dry_run { would } else { "are" };
                format!("{BAD}{} {would} lost{BAD:#}", counted(more, "event"))
            }
        };
        out.say(format_args!(
            "{lost}; the log {} at position {}, with {} kept and {} written anew.",
            if self.dry_run { "would end" } else { "ends" },
            count(self.head),
            counted(self.kept_segments, "segment"),
            count(self.written_segments)
        ))?;
        let shown = store.display().to_string();
        let old = printable(&shown);
        match &self.repaired {
            None => out.say(format_args!(
                "Nothing was changed. {BOLD}annals repair {old} --accept-loss{BOLD:#} makes that store, beside this one."
            )),
            Some(new) => out.say(format_args!(
                "The repaired store is {BOLD}{}{BOLD:#}; {old} is as it was. Look at the new one, then move the old one aside.",
                printable(new)
            )),
        }
    }
}

/// Says how many rows are not shown.
fn more(rows: usize, out: &mut Out) -> Result<(), Failure> {
    match rows.saturating_sub(MOST_ROWS) {
        0 => Ok(()),
        more => out.say(format_args!("  … and {} more; --json lists them all", count(more as u64))),
    }
}

/// What repairs had to give up of a store, if it was repaired; and what is wrong with the file that says it.
pub(super) fn lost(store: &Path) -> (Option<LossRecord>, Option<String>) {
    match annals::losses(store) {
        Ok(record) => (record, None),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// The same in a line.
pub(super) fn summary(record: &LossRecord) -> String {
    let times = counted(record.repairs.len() as u64, "repair");
    let last =
        record.repairs.last().map_or_else(String::new, |repair| format!(", the last on {}", time::show(repair.at)));
    let first = record.first().map(Position::get);
    match (record.positions(), first) {
        (positions, Some(first)) => {
            format!("{} from position {} on, in {times}{last}", counted(positions, "event"), count(first))
        }
        _ => format!("nothing, in {times}{last}"),
    }
}

/// Says it below what was verified.
pub(super) fn mention(record: &LossRecord, out: &mut Out) -> Result<(), Failure> {
    out.say(format_args!("Lost: {}; LOST says what, and events of type $lost stand in their place.", summary(record)))
}
