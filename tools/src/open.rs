//! Opening a store, and saying what to do when that does not work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::storage::{Storage, on_disk};
use annals::{EventStore, KeepError, OpenError, Options, Position, ReadError};
use tempfile::TempDir;

use crate::args::ThroughArgs;
use crate::exit::{Failure, note};
use crate::human::count;

/// A store that is only read: its directory, or that with what is archived of it.
pub(crate) struct Reading {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    /// Where what is fetched lies, when nobody is to keep it.
    _fetched: Option<TempDir>,
}

impl Reading {
    #[cfg_attr(not(feature = "archive"), allow(unused_variables, reason = "there is nothing to read through to"))]
    pub(crate) fn of(path: &Path, through: &ThroughArgs) -> Result<Reading, Failure> {
        must_be_a_directory(path)?;
        #[cfg(feature = "archive")]
        if let Some((storage, fetched)) = crate::archived::through(path, through)? {
            return Ok(Reading { path: path.to_owned(), storage, _fetched: fetched });
        }
        Ok(Reading { path: path.to_owned(), storage: on_disk(path), _fetched: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Opens it beside whoever writes to it. Changes nothing on disk.
    pub(crate) fn open(&self) -> Result<EventStore, Failure> {
        EventStore::open_read_only_on(Arc::clone(&self.storage)).map_err(|error| failed(&self.path, &error))
    }
}

/// Opens the store beside whoever writes to it. Changes nothing on disk.
pub(crate) fn for_reading(path: &Path) -> Result<EventStore, Failure> {
    must_be_a_directory(path)?;
    EventStore::open_read_only(path).map_err(|error| failed(path, &error))
}

/// Opens the store to write to it; makes it when it does not exist.
pub(crate) fn for_writing(path: &Path, options: &Options) -> Result<EventStore, Failure> {
    must_be_a_directory(path)?;
    if path.join("BACKUP").is_file() {
        let what = format!("{} is a backup, and would be none any more", path.display());
        return Err(Failure::usage(what).next("`annals restore` makes a store of it, to write to"));
    }
    EventStore::open(path, options).map_err(|error| failed(path, &error))
}

/// What is written beside a store is none of its files.
pub(crate) fn must_be_outside(store: &Path, place: &Path) -> Result<(), Failure> {
    // As far as it is there.
    let there =
        std::path::absolute(place).ok().and_then(|place| place.ancestors().find_map(|it| it.canonicalize().ok()));
    if there.is_some_and(|there| store.canonicalize().is_ok_and(|store| there.starts_with(store))) {
        let what = format!("{} lies within the store, whose files are its own", place.display());
        return Err(Failure::usage(what).next("name a place outside of it"));
    }
    Ok(())
}

/// A store is a directory; naming one of its files is an easy slip.
pub(crate) fn must_be_a_directory(path: &Path) -> Result<(), Failure> {
    if path.is_file() {
        let what = format!("{} is a file, and a store is a directory", path.display());
        return Err(Failure::io(what).next("`annals dump` shows a segment file"));
    }
    Ok(())
}

/// Why a store cannot be opened.
pub(crate) fn failed(path: &Path, error: &OpenError) -> Failure {
    let what = format!("cannot open {}", path.display());
    match error {
        OpenError::Corrupt(_) | OpenError::Inconsistent { .. } => {
            Failure::findings(what).because(error).next(format!("annals repair {} --dry-run", path.display()))
        }
        OpenError::NotFound { .. } => {
            Failure::io(what).because(error).next("`annals import STORE FILE` makes one, `annals demo` shows one")
        }
        OpenError::InvalidOptions { .. } => Failure::usage(what).because(error),
        _ => Failure::io(what).because(error),
    }
}

/// What a dry run has seen of the store and who writes to it would not get past: damage in what opening reads.
/// Says whether there is any.
pub(crate) fn tell_what_hinders(path: &Path, store: &EventStore, json: bool) -> bool {
    let Some(damage) = store.recovery_report().gaps.first() else { return false };
    let what = format!("{} cannot be opened to do it: {damage}", path.display());
    Failure::findings(what).next(format!("annals repair {} --dry-run", path.display())).tell(json);
    true
}

/// Where a range begins of which only is said that it ends at `until`: with what is left of the log. Where nothing is
/// left of the range it begins with the log, so that who reads it is told.
pub(crate) fn beginning(store: &EventStore, until: Position) -> Position {
    let left = store.oldest().before();
    if until <= left { Position::START } else { left }
}

/// Says where the log begins, to who got what is left of it.
pub(crate) fn note_removed(store: &EventStore, json: bool) {
    let oldest = count(store.oldest().get());
    note(json, &format!("note: the log begins at position {oldest}: what comes before it was removed"));
}

/// Why events cannot be read.
pub(crate) fn unread(error: &ReadError) -> Failure {
    match error {
        ReadError::Corrupt(_) => Failure::findings("cannot read on").because(error),
        ReadError::Truncated { oldest } => {
            let after = oldest.before();
            Failure::findings("cannot read on")
                .because(error)
                .next(format!("`annals read STORE --after {after}` reads what is left"))
        }
        #[cfg(feature = "archive")]
        ReadError::Io { source, .. } if crate::archived::is_finding(source) => {
            Failure::findings("cannot read on").because(error).next("`annals archive verify` lists what is wrong")
        }
        _ => Failure::io("cannot read on").because(error),
    }
}

/// Why what is kept of the log, or made of it, cannot be had.
pub(crate) fn unkept(what: &str, error: &KeepError) -> Failure {
    match error {
        KeepError::Read(error) => unread(error),
        KeepError::Truncated { .. } | KeepError::DivergedLog { .. } | KeepError::PositionBeyondHead { .. } => {
            Failure::findings(what).because(error)
        }
        _ => Failure::io(what).because(error),
    }
}
