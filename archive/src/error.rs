//! Why something was not archived, or cannot be had from an archive: sorted by what the caller does next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use annals::{CopyError, LogId, OpenError, Position, SegmentNumber, TruncateError};
use object_store::Error as StoreError;

/// Why something was not archived, or cannot be had from an archive.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no archive at such a place, or this program cannot get there.
    #[error("{place} is no place of an archive: {problem}")]
    Place {
        /// What was given.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing is archived there.
    #[error("nothing is archived at {place}")]
    NoLog {
        /// The place.
        place: String,
    },
    /// Nothing of this log is archived there.
    #[error("nothing of log {log} is archived at {place}")]
    OtherLog {
        /// The log that was asked for.
        log: LogId,
        /// The place.
        place: String,
    },
    /// Several logs are archived there: say which.
    #[error("{} logs are archived there: say which, of {}", logs.len(), Ids(logs))]
    ManyLogs {
        /// The logs.
        logs: Vec<LogId>,
    },
    /// What is archived under the name of a segment is another one: two copies of this log have gone on differently,
    /// and both are being archived. Nothing was replaced. Find out which copy is the right one; the other one needs
    /// a place of its own.
    #[error(
        "segment {segment} of log {log} is archived already, and is another one: {problem}; two copies of this log \
             have gone on differently, and one of them needs another place"
    )]
    Clash {
        /// The log.
        log: LogId,
        /// The segment.
        segment: SegmentNumber,
        /// What tells them apart.
        problem: String,
    },
    /// Something in a segment was redacted here after it was archived, and the archive holds it as it was. Nothing was
    /// removed here: what is redacted would be read again. Remove the objects of that segment from the archive, its
    /// manifest and the segment itself, and archive it once more.
    #[error(
        "segment {segment} of log {log} was redacted after it was archived, and the archive holds it as it was: remove \
             {object} and its manifest there, and archive it once more"
    )]
    Redacted {
        /// The log.
        log: LogId,
        /// The segment.
        segment: SegmentNumber,
        /// The object with what was redacted.
        object: String,
    },
    /// An object has the name of a segment that is not archived yet, and is something else: what an upload has left
    /// that was torn, or that of an archiver of another copy who is not done with it. Nothing was replaced. When no
    /// archiver runs, remove the object and try again.
    #[error(
        "{object} is there without a manifest, and is not what is to be archived under that name: {problem}; if no \
             archiver is at work there, remove it and try again"
    )]
    Torn {
        /// The object.
        object: String,
        /// What tells them apart.
        problem: String,
    },
    /// Segments between the archive and the store are in neither: they were removed before they were archived.
    #[error(
        "events {from} to {to} are neither in the archive nor in the store: they were removed before they were archived"
    )]
    Gap {
        /// The first of them.
        from: Position,
        /// The last of them.
        to: Position,
    },
    /// What is archived behind a segment is not what comes behind it: objects were removed from the archive.
    #[error("the archive of log {log} is broken behind segment {behind}: {problem}")]
    Hole {
        /// The log.
        log: LogId,
        /// The last segment before that.
        behind: SegmentNumber,
        /// What comes instead.
        problem: String,
    },
    /// A manifest cannot be used.
    #[error("the manifest {object} cannot be used: {problem}")]
    Manifest {
        /// The object.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An object that has a manifest is gone.
    #[error("{object} is missing from the archive, and its manifest says that it was there")]
    Missing {
        /// The object.
        object: String,
    },
    /// An object is not what its manifest says: it was changed, or cut. It is not used.
    #[error("{object} is not what was archived: {problem}")]
    Changed {
        /// The object.
        object: String,
        /// What tells them apart.
        problem: String,
    },
    /// A segment of the store is damaged: it is not archived.
    #[error("{file} is damaged: {problem}. Nothing is archived that is; `annals verify` lists all findings")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The object store refused something, or cannot be reached.
    #[error("cannot {action} {object}{}", advice(source))]
    Store {
        /// What was to be done.
        action: &'static str,
        /// To which object.
        object: String,
        /// What the object store said.
        #[source]
        source: Arc<StoreError>,
    },
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
    /// There is no store at this place.
    #[error("there is no store in {}", path.display())]
    NoStore {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Open(#[source] Arc<OpenError>),
    /// The local copies were not removed.
    #[error(transparent)]
    Truncate(#[from] TruncateError),
    /// Nothing was restored.
    #[error(transparent)]
    Copy(#[from] Arc<CopyError>),
}

impl From<OpenError> for ArchiveError {
    fn from(error: OpenError) -> ArchiveError {
        ArchiveError::Open(Arc::new(error))
    }
}

impl From<CopyError> for ArchiveError {
    fn from(error: CopyError) -> ArchiveError {
        ArchiveError::Copy(Arc::new(error))
    }
}

/// For who reads an archive as part of a store.
impl From<ArchiveError> for io::Error {
    fn from(error: ArchiveError) -> io::Error {
        io::Error::other(error)
    }
}

/// What a person can do about it, where the object store's own words do not say.
fn advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unauthenticated { .. } => {
            ": it does not know you; set the credentials in the environment (AWS_…, GOOGLE_…, AZURE_…)"
        }
        StoreError::PermissionDenied { .. } => ": it does not let you; reading, listing and putting have to be allowed",
        StoreError::NotImplemented { .. } => ": it has no conditional puts, and without them two archivers could clash",
        _ => "",
    }
}

struct Ids<'a>(&'a [LogId]);

impl std::fmt::Display for Ids<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, log) in self.0.iter().enumerate() {
            write!(out, "{}{log}", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Says what was being done to which file when the system refused.
pub(crate) trait Doing<T> {
    fn doing(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, ArchiveError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: impl FnOnce() -> String) -> Result<T, ArchiveError> {
        self.map_err(|error| ArchiveError::Io { action, path: path(), source: Arc::new(error) })
    }
}
