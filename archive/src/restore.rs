//! Making a store of an archive, with what is left of the one it came from or without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use annals::{BackupOptions, CopyError, EventStore, LogId, Mark, Position};

use crate::cache::Cache;
use crate::error::{ArchiveError, Doing as _};
use crate::{Archive, names};

/// What was restored.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Restored {
    /// The position that the store ends at, and which history that is of.
    pub mark: Mark,
    /// The position of the last event before its oldest.
    pub base: Position,
    /// How many segments it has.
    pub segments: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Archive {
    /// Makes a store in `dir`, which has to be empty or not there, of all that is archived of a log, and of what is left of
    /// the store in `rest`, if one is given.
    ///
    /// Each segment is compared with its digest and judged on the way. The store appears under its name when all of it is
    /// there and durable; until then it is beside it, and what an interrupted call has left there is removed by the next.
    /// Without a `rest`, it ends with the last archived segment: consumers that have seen more are told so
    /// ([`PositionBeyondHead`](annals::KeepError::PositionBeyondHead)).
    ///
    /// # Errors
    ///
    /// As [`read_through`](Archive::read_through); [`ArchiveError::Copy`] with what stands in the way in `dir`, or
    /// what of an object or of the rest cannot be used.
    pub fn restore(
        &self,
        log: Option<LogId>,
        rest: Option<&Path>,
        dir: impl AsRef<Path>,
    ) -> Result<Restored, ArchiveError> {
        let dir = dir.as_ref();
        let shown = || dir.display().to_string();
        let is_vacant = match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => false,
            Err(error) => return Err(error).doing("look into", shown),
        };
        if !is_vacant {
            return Err(CopyError::NotEmpty { path: dir.to_owned() }.into());
        }
        let beside = beside(dir, "restoring").doing("restore to", shown)?;
        let fetched = self::beside(dir, "fetching").doing("restore to", shown)?;
        for left in [&beside, &fetched] {
            remove_tree(left).doing("remove", || left.display().to_string())?;
        }
        // Each object is read once: room for one is enough.
        let cache = Cache::new(&fetched, 0)?;
        let storage = self.read_through(rest, log, &cache)?;
        let store = EventStore::open_read_only_on(storage)?;
        let report = store.backup_to(&beside, &BackupOptions::new().copy(true).threads(1));
        drop(store);
        remove_tree(&fetched).doing("remove", || fetched.display().to_string())?;
        let report = report?;
        // It is a store of its own from here on, and no backup that somebody would compare with its manifest.
        let name = || beside.display().to_string();
        fs::remove_file(beside.join(names::BACKUP)).doing("finish", name)?;
        sync_dir(&beside).doing("sync", name)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).doing("create", || parent.display().to_string())?;
        }
        fs::rename(&beside, dir).doing("rename", name)?;
        sync_dir(beside.parent().unwrap_or(&beside)).doing("sync", shown)?;
        let annals::BackupReport { mark, base, segments, bytes, .. } = report;
        Ok(Restored { mark, base, segments, bytes })
    }
}

/// A directory beside another one, hidden, for what is to become it.
fn beside(dir: &Path, what: &str) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let name = dir.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(dir.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}
