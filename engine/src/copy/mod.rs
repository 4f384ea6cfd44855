//! Copies of a store: taken while it is written, checked, restored.
//!
//! A copy is a directory that is laid out as a store and holds one more file, `BACKUP`, its manifest.
//!
//! What is always true of a copy:
//!
//! - Where there is a manifest the copy is whole: everything it lists was durable before it got its name. Where there is
//!   none, but a `BACKUP.unfinished`, a backup was interrupted; the next one finishes it.
//! - It ends at one position, with the last batch up to there, which was durable in the store.
//! - What may still be written to is copied, never linked: no file that anybody appends to has two names. Sealed
//!   segments are final, so a second name of one is as good as a copy, but for a disk that fails.
//! - Each segment was read when it was taken in, and was whole: a backup of a damaged store is refused. What is there from an
//!   earlier backup is not read again.

pub(crate) mod check;
pub(crate) mod judge;
pub(crate) mod restore;
pub(crate) mod take;
mod target;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use annals_codec::{LogId, ManifestFault, Mark, Position};

use crate::error::{AppendError, Damage, KeepError, ReadError};
use crate::parallel;
use crate::storage::{LockError, LockGuard, Storage};

/// How a backup is taken.
///
/// ```
/// use annals::BackupOptions;
///
/// let options = BackupOptions::new().copy(true);
/// ```
#[derive(Clone, Debug)]
pub struct BackupOptions {
    pub(crate) copy: bool,
    pub(crate) consumers: bool,
    pub(crate) threads: usize,
}

impl Default for BackupOptions {
    fn default() -> BackupOptions {
        BackupOptions { copy: false, consumers: true, threads: parallel::cores() }
    }
}

impl BackupOptions {
    /// The defaults.
    pub fn new() -> BackupOptions {
        BackupOptions::default()
    }

    /// Whether sealed segments are copied also where they could be linked. What an earlier backup has linked stays linked.
    ///
    /// A link costs no space and no time, and shares its blocks with the store: it helps against a mistake, and not
    /// against a disk that fails. Default: false. To another file system they are copied in any case.
    #[must_use]
    pub fn copy(mut self, copy: bool) -> BackupOptions {
        self.copy = copy;
        self
    }

    /// Whether the checkpoints of consumers are part of it. Default: true.
    ///
    /// With them, a consumer of a restored store goes on from where it was when the backup was taken, and sees again
    /// what it has done since. Without, it begins at the beginning.
    #[must_use]
    pub fn consumers(mut self, consumers: bool) -> BackupOptions {
        self.consumers = consumers;
        self
    }

    /// On how many threads files are read and their digests made. Default: as many as there are cores.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> BackupOptions {
        self.threads = threads;
        self
    }
}

/// What a backup holds, and what it took.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The position that it ends at, and which history that is of.
    pub mark: Mark,
    /// The position of the last event before its oldest.
    pub base: Position,
    /// How many segments it holds.
    pub segments: u64,
    /// How many of them were there already, from the backup before. They were read when they were taken, and not again:
    /// [`verify`](crate::inspect::verify) does.
    pub reused: u64,
    /// The last position of what the backup before had and this one has no more, because it was removed from the store since:
    /// its oldest segments.
    pub dropped: Option<Position>,
    /// How many were given a second name.
    pub linked: u64,
    /// How many bytes it holds.
    pub bytes: u64,
    /// How many of them were copied.
    pub copied_bytes: u64,
    /// How many checkpoints of consumers it holds.
    pub consumers: u64,
    /// What a person may want to know, one sentence each.
    pub notes: Vec<String>,
}

/// What was restored.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The position that the store ends at, and which history that is of.
    pub mark: Mark,
    /// When the backup was taken: nanoseconds since 1970 UTC.
    pub taken_at: i64,
    /// How many files were copied.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Why a store was not copied or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Something of the store is damaged. Nothing that was backed up before has changed: an older backup is as it was.
    #[error("{0}. Nothing is backed up that is damaged; restore the store, or repair it")]
    Damaged(Damage),
    /// The directory holds something, and no backup.
    #[error("{} holds something, and is no backup: give a directory that is empty or not there", path.display())]
    NotABackup {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is no whole backup: one was interrupted, or never taken there.
    #[error("{} is no whole backup: {problem}", path.display())]
    NotWhole {
        /// The directory.
        path: PathBuf,
        /// What is missing or wrong, and what to do.
        problem: String,
    },
    /// The directory that a store was to be restored to is not empty.
    #[error("{} is not empty: nothing is restored over something else", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds a backup of another log.
    #[error("the backup is of log {theirs}, and this is {ours}: give another directory")]
    OtherLog {
        /// The log of the backup.
        theirs: LogId,
        /// The log of the store.
        ours: LogId,
    },
    /// The directory holds a backup of this log that this store is no continuation of, most often because the store was
    /// restored from an older one. It is left as it is.
    #[error("the backup at position {position} is not the history of this store: {difference}; give another directory")]
    OtherHistory {
        /// Where the backup ends.
        position: Position,
        /// What tells them apart.
        difference: String,
    },
    /// Somebody else uses the directory, as a store or for a backup.
    #[error("{} is in use by somebody else", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What was to be copied could not be made durable in the store.
    #[error("the events could not be made durable: {0}")]
    NotDurable(AppendError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The operating system refused something.
    #[error("cannot {action} {path}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file.
        path: String,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl CopyError {
    /// Why the history up to `position` cannot be told, or is another one.
    pub(crate) fn of_mark(position: Position, error: KeepError) -> CopyError {
        match error {
            KeepError::Read(error) => CopyError::Read(error),
            KeepError::NotDurable(error) => CopyError::NotDurable(error),
            KeepError::Io { action, path, source } => CopyError::Io { action, path, source },
            error => CopyError::OtherHistory { position, difference: error.to_string() },
        }
    }

    pub(crate) fn of_manifest(path: PathBuf, fault: &ManifestFault) -> CopyError {
        CopyError::NotWhole { path, problem: fault.to_string() }
    }
}

/// Takes hold of a directory that something is copied into.
pub(crate) fn hold(to: &dyn Storage) -> Result<Box<dyn LockGuard>, CopyError> {
    to.lock().map_err(|error| match error {
        LockError::Held { .. } => CopyError::InUse { path: to.describe("").into() },
        LockError::Io(source) => CopyError::Io { action: "lock", path: to.describe(""), source: Arc::new(source) },
    })
}

/// Says what was being done to which file when the system refused.
pub(crate) trait Copying<T> {
    fn copying(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, CopyError>;
}

impl<T> Copying<T> for io::Result<T> {
    fn copying(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, CopyError> {
        self.map_err(|error| CopyError::Io { action, path: path(), source: Arc::new(error) })
    }
}
