//! Opening a store, and saying what to do when that does not work.

use std::path::Path;

use annals::{EventStore, KeepError, OpenError, Options, ReadError};

use crate::exit::Failure;

/// Opens the store beside whoever writes to it. Changes nothing on disk.
pub(crate) fn for_reading(path: &Path) -> Result<EventStore, Failure> {
    must_be_a_directory(path)?;
    EventStore::open_read_only(path).map_err(|error| failed(path, &error))
}

/// Opens the store to write to it; makes it when it does not exist.
pub(crate) fn for_writing(path: &Path, options: &Options) -> Result<EventStore, Failure> {
    must_be_a_directory(path)?;
    EventStore::open(path, options).map_err(|error| failed(path, &error))
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
        OpenError::Corrupt(_) | OpenError::Inconsistent { .. } => Failure::findings(what).because(error),
        OpenError::NotFound { .. } => {
            Failure::io(what).because(error).next("`annals import STORE FILE` makes one, `annals demo` shows one")
        }
        OpenError::InvalidOptions { .. } => Failure::usage(what).because(error),
        _ => Failure::io(what).because(error),
    }
}

/// Why events cannot be read.
pub(crate) fn unread(error: &ReadError) -> Failure {
    match error {
        ReadError::Corrupt(_) => Failure::findings("cannot read on").because(error),
        ReadError::Truncated { oldest } => {
            let after = oldest.before();
            Failure::findings("cannot read on").because(error).next(format!("--after {after} reads what is left"))
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
