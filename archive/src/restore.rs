//! Making a store of an archive, with what is left of the one it came from or without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use annals::{BackupOptions, BackupReport, CopyError, EventStore, LogId, Mark, Position};

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
    /// there and durable; until then it is beside it, and what an interrupted call has left there is removed by the next. Of two
    /// restores into one directory at once, one is refused.
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
        if !is_vacant(dir)? {
            return Err(CopyError::NotEmpty { path: dir.to_owned() }.into());
        }
        let beside = beside(dir, "restoring").doing("restore to", shown)?;
        let fetched = self::beside(dir, "fetching").doing("restore to", shown)?;
        // Held to the end: whoever restores to the same place at the same time finds it so, and removes nothing of it.
        let held = hold(&fetched, dir)?;
        let restored = self
            .restore_beside(log, rest, &beside, &fetched)
            .and_then(|report| put_in_place(&beside, dir).map(|()| report));
        if restored.is_err() {
            // On a disk that is full it would be in the way; what stays is removed by the next restore.
            _ = remove_tree(&beside);
        }
        let removed = remove_tree(&fetched).doing("remove", || fetched.display().to_string());
        drop(held);
        let BackupReport { mark, base, segments, bytes, .. } = restored?;
        removed?;
        Ok(Restored { mark, base, segments, bytes })
    }

    /// Makes the store in a directory of its own, of what is fetched into another one.
    fn restore_beside(
        &self,
        log: Option<LogId>,
        rest: Option<&Path>,
        beside: &Path,
        fetched: &Path,
    ) -> Result<BackupReport, ArchiveError> {
        let objects = fetched.join("objects");
        for left in [beside, &objects] {
            remove_tree(left).doing("remove", || left.display().to_string())?;
        }
        // Each object is read once: room for one is enough.
        let cache = Cache::new(&objects, 0)?;
        let storage = self.read_through(rest, log, &cache)?;
        let store = EventStore::open_read_only_on(storage)?;
        let report = store.backup_to(beside, &BackupOptions::new().copy(true).threads(1))?;
        // It is a store of its own from here on, and no backup that somebody would compare with its manifest.
        let name = || beside.display().to_string();
        fs::remove_file(beside.join(names::BACKUP)).doing("finish", name)?;
        sync_dir(beside).doing("sync", name)?;
        Ok(report)
    }
}

/// Takes hold of the directory that objects are fetched into, for one restore alone; it need not be there.
fn hold(fetched: &Path, dir: &Path) -> Result<fs::File, ArchiveError> {
    let shown = || fetched.display().to_string();
    fs::create_dir_all(fetched).doing("create", shown)?;
    let held = fs::File::open(fetched).doing("open", shown)?;
    match held.try_lock() {
        Err(fs::TryLockError::WouldBlock) => return Err(CopyError::InUse { path: dir.to_owned() }.into()),
        // Where directories cannot be locked nobody is kept out.
        Ok(()) | Err(fs::TryLockError::Error(_)) => {}
    }
    // Another one may just have come to its end.
    if !is_vacant(dir)? {
        _ = fs::remove_dir(fetched);
        return Err(CopyError::NotEmpty { path: dir.to_owned() }.into());
    }
    Ok(held)
}

fn is_vacant(dir: &Path) -> Result<bool, ArchiveError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error).doing("look into", || dir.display().to_string()),
    }
}

/// Gives it its name, durably.
fn put_in_place(beside: &Path, dir: &Path) -> Result<(), ArchiveError> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).doing("create", || parent.display().to_string())?;
    }
    fs::rename(beside, dir).doing("rename", || beside.display().to_string())?;
    sync_dir(beside.parent().unwrap_or(beside)).doing("sync", || dir.display().to_string())
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
