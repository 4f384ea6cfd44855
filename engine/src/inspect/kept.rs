//! What is kept beside the log, of consumers and of states: whether each file is whole, and of the history of the log.
//!
//! Each says by its [`Mark`] what the log was at a position, which is compared with the marker there. A file that speaks of
//! what was removed cannot be judged so, and is no finding for it: who goes on from it is told. Files are read before the
//! log is, so none is ahead of it; what is wrong with one is believed when it is wrong twice.

use annals_codec::scan::Sink;
use annals_codec::{Checkpoint, Commit, Event, LogId, Mark, Position, snapshot_origin};

use super::report::{Finding, FindingKind};
use crate::log::names;
use crate::log::recover::survey::Facts;
use crate::log::small_files::{list_whole, read_file};
use crate::storage::Storage;

/// One file, and what it says.
#[derive(Debug)]
pub(super) struct Kept {
    path: String,
    kind: FindingKind,
    /// What of the log it was made of; or what is wrong with it.
    mark: Result<Mark, String>,
}

/// What the log was at the positions that files speak of, as far as it was read.
#[derive(Debug)]
pub(super) struct Marks {
    /// In order.
    wanted: Vec<Position>,
    seen: Vec<Mark>,
    log_id: LogId,
}

impl Marks {
    /// Of those of these positions that lie behind `base`.
    pub(super) fn new(log_id: LogId, positions: &[Position], base: Position) -> Marks {
        let wanted = positions[positions.partition_point(|position| *position <= base)..].to_vec();
        Marks { wanted, seen: Vec::new(), log_id }
    }

    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(super) fn seen(self) -> Vec<Mark> {
        self.seen
    }
}

impl Sink for Marks {
    fn event(&mut self, _offset: u64, _event: &Event<'_>) {}

    fn commit(&mut self, _offset: u64, commit: &Commit<'_>) {
        let first = self.wanted.partition_point(|position| *position < commit.first);
        for position in self.wanted[first..].iter().take_while(|position| **position <= commit.last) {
            let (log_id, position) = (self.log_id, *position);
            self.seen.push(Mark { log_id, position, chain: commit.chain, hash: commit.hash });
        }
    }

    fn discard(&mut self) {}
}

/// Reads the files.
pub(super) fn read(storage: &dyn Storage) -> Vec<Kept> {
    let in_dir = |dir: &str| -> Vec<String> {
        let names = list_whole(storage, dir).unwrap_or_default();
        names.into_iter().map(|name| format!("{dir}/{name}")).collect()
    };
    let mut found: Vec<Kept> = Vec::new();
    let mut keep = |path: String, kind| {
        // One that has gone was never there.
        found.extend(judge(storage, &path, kind).map(|mark| Kept { path, kind, mark }));
    };
    for path in in_dir(names::CONSUMERS) {
        keep(path, FindingKind::Consumer);
    }
    for dir in in_dir(names::STATES) {
        for path in in_dir(&dir).into_iter().filter(|path| names::is_state(names::file_name(path))) {
            keep(path, FindingKind::State);
        }
    }
    found
}

/// What a file says; `None` when it has gone.
fn judge(storage: &dyn Storage, path: &str, kind: FindingKind) -> Option<Result<Mark, String>> {
    let bytes = match read_file(storage, path) {
        Ok(bytes) => bytes?,
        Err(error) => return Some(Err(format!("it cannot be read: {error}"))),
    };
    Some(match kind {
        FindingKind::Consumer => match Checkpoint::decode(&bytes) {
            Ok(checkpoint) => Ok(checkpoint.mark),
            Err(fault) => Err(fault.to_string()),
        },
        _ => match snapshot_origin(&bytes) {
            Ok((name, mark)) if !path.ends_with(&format!("/{name}/{:020}.snap", mark.position.get())) => {
                Err(format!("it is of {name}, up to position {}", mark.position))
            }
            Ok((_, mark)) => Ok(mark),
            Err(fault) => Err(fault.to_string()),
        },
    })
}

/// The positions that they speak of, in order.
pub(super) fn positions(kept: &[Kept]) -> Vec<Position> {
    let mut positions: Vec<Position> = kept.iter().filter_map(|kept| Some(kept.mark.as_ref().ok()?.position)).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

/// Compares them with what the log was found to be, which ends at `head`.
pub(super) fn compare(
    storage: &dyn Storage,
    facts: &Facts,
    kept: &[Kept],
    seen: &[Mark],
    head: Position,
) -> Vec<Finding> {
    let log_id = facts.segments.iter().find_map(|segment| Some(segment.header.as_ref().ok()?.0.log_id));
    let oldest = facts.segments.first().and_then(|oldest| oldest.header.as_ref().ok()).map(|(header, _)| header);
    let mut findings = Vec::new();
    for Kept { path, kind, mark } in kept {
        let (position, what) = match mark {
            // It may just have been replaced.
            Err(_) => match judge(storage, path, *kind) {
                Some(Err(what)) => (None, what),
                _ => continue,
            },
            Ok(mark) if log_id.is_some_and(|log_id| log_id != mark.log_id) => {
                (Some(mark.position), format!("it is of log {}, and this is another", mark.log_id))
            }
            Ok(mark) if mark.position > head => {
                let what = format!(
                    "it is of position {}, and the log ends at {head}: was an older backup restored?",
                    mark.position
                );
                (Some(mark.position), what)
            }
            Ok(mark) => {
                let at_start = mark.position == Position::START;
                let here = match oldest.filter(|oldest| oldest.base == mark.position) {
                    _ if at_start => Some(Mark { chain: 0, hash: None, ..*mark }),
                    Some(oldest) => Some(Mark { chain: oldest.chain, hash: oldest.chain_hash, ..*mark }),
                    None => seen.iter().find(|seen| seen.position == mark.position).copied(),
                };
                if here.is_none_or(|here| here.agrees_with(mark)) {
                    continue;
                }
                let what = format!("another batch was written at position {}: it is of another history", mark.position);
                (Some(mark.position), what)
            }
        };
        findings.push(Finding {
            kind: *kind,
            segment: None,
            file: Some(storage.describe(path)),
            offset: Some(0),
            position,
            message: format!("{path}: {what}"),
        });
    }
    findings
}
