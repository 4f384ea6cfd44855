//! Making a store of a backup: in a directory of its own that gets its name when all of it is there.

use std::collections::BTreeSet;
use std::path::Path;

use annals_codec::{ListedFile, Manifest};

use super::judge::copy_bytes;
use super::target::{manifest, temporary};
use super::{CopyError, Copying, RestoreReport, hold};
use crate::log::names;
use crate::log::small_files::{create_anew, create_dirs};
use crate::parallel;
use crate::storage::disk::{self, DiskStorage};
use crate::storage::{Access, Storage};

/// Makes a store in `dir` of the backup in `backup`, which stays as it is: everything is copied.
///
/// Each file is compared with its digest on the way. The store appears under its name when all of it is there and
/// durable; until then it is beside it, and what an interrupted restore has left there is removed by the next. Of two
/// restores into one directory at once, one is refused.
///
/// A restored log is the one it was copied from, up to its last position, and another one from its next append on:
/// consumers and projections that have seen more of the old one are told so
/// ([`DivergedLog`](crate::KeepError::DivergedLog), [`PositionBeyondHead`](crate::KeepError::PositionBeyondHead)).
///
/// # Errors
///
/// - [`CopyError::NotWhole`]: it is no backup, one that was interrupted, or a file of it is not what it was.
/// - [`CopyError::NotEmpty`]: something is in `dir`.
/// - [`CopyError::InUse`]: another restore into it is going on. [`CopyError::Io`].
///
/// An example is at [`backup_to`](crate::EventStore::backup_to).
pub fn restore(backup: impl AsRef<Path>, dir: impl AsRef<Path>) -> Result<RestoreReport, CopyError> {
    let (backup, dir) = (backup.as_ref(), dir.as_ref());
    let from = DiskStorage::new(backup);
    let shown = || dir.display().to_string();
    whole(&from)?;
    if !disk::is_vacant(dir).copying("look into", shown)? {
        return Err(CopyError::NotEmpty { path: dir.to_owned() });
    }
    let beside = disk::beside(dir, "restoring").copying("restore to", shown)?;
    let shown = || beside.display().to_string();
    let to = DiskStorage::new(&beside);
    // Held until it has its name: whoever restores to the same place at the same time finds it so, and removes nothing of it.
    let _held = hold(&to)?;
    disk::clear(&beside, names::LOCK).copying("empty", shown)?;
    let restored = copy_all(&from, &to, parallel::cores())
        .and_then(|report| disk::rename_dir(&beside, dir).copying("rename", shown).map(|()| report));
    if restored.is_err() {
        // On a disk that is full it would be in the way; what stays is removed by the next restore.
        let _ = disk::remove_tree(&beside);
    }
    restored
}

/// Makes a store on any storage, which has to be empty, of a backup on any other. When this has not returned `Ok`,
/// what is there is no store.
///
/// # Errors
///
/// As [`restore`].
pub fn restore_on(from: &dyn Storage, to: &dyn Storage) -> Result<RestoreReport, CopyError> {
    let _held = hold(to)?;
    copy_all(from, to, 1)
}

/// The manifest of a backup that is whole.
pub(crate) fn whole(backup: &dyn Storage) -> Result<Manifest, CopyError> {
    let path = || backup.describe("").into();
    let not_whole = |problem: &str| CopyError::NotWhole { path: path(), problem: problem.to_owned() };
    match manifest(backup) {
        Ok((Some(manifest), _)) => Ok(manifest),
        Ok((None, true)) => Err(not_whole("taking it was interrupted; `annals backup` into it once more finishes it")),
        Ok((None, false)) => Err(not_whole("there is no BACKUP in it, the manifest of one")),
        Err(error) => Err(error),
    }
}

/// Copies what the manifest lists, durably, into a directory that is held and has nothing in it.
fn copy_all(from: &dyn Storage, to: &dyn Storage, threads: usize) -> Result<RestoreReport, CopyError> {
    let manifest = whole(from)?;
    let found = to.list("").copying("list", || to.describe(""))?;
    if found.iter().any(|name| name != names::LOCK) {
        return Err(CopyError::NotEmpty { path: to.describe("").into() });
    }
    let dirs: BTreeSet<&str> = manifest.files.iter().filter_map(|file| dir_of(&file.path)).collect();
    for dir in &dirs {
        create_dirs(to, dir).copying("create", || to.describe(dir))?;
    }
    // What makes a store of it comes last, when all else is durable.
    let (meta, others): (Vec<&ListedFile>, Vec<&ListedFile>) =
        manifest.files.iter().partition(|file| file.path == names::META);
    let copied = parallel::each(threads, others.len(), |index| copy_file(from, others[index], to));
    copied.into_iter().collect::<Result<(), CopyError>>()?;
    for dir in dirs.into_iter().chain([""]) {
        to.sync_dir(dir).copying("sync", || to.describe(dir))?;
    }
    meta.into_iter().try_for_each(|file| copy_file(from, file, to))?;
    to.sync_dir("").copying("sync", || to.describe(""))?;
    Ok(RestoreReport {
        mark: manifest.mark,
        taken_at: manifest.taken_at,
        files: manifest.files.len() as u64,
        bytes: manifest.files.iter().map(|file| file.len).sum(),
    })
}

fn dir_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(dir, _)| dir)
}

fn copy_file(from: &dyn Storage, listed: &ListedFile, to: &dyn Storage) -> Result<(), CopyError> {
    let ListedFile { path, len, digest, .. } = listed;
    let problem =
        |problem: &str| CopyError::NotWhole { path: from.describe("").into(), problem: format!("{path} {problem}") };
    let source = match from.open(path, Access::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(problem("is missing")),
        opened => opened.copying("open", || from.describe(path))?,
    };
    if source.len().copying("read", || from.describe(path))? != *len {
        return Err(problem("is not as long as the manifest says"));
    }
    // Beside its name: a segment of which a part is there must not be taken for one.
    let beside = temporary(path);
    let file = create_anew(to, &beside).copying("create", || to.describe(path))?;
    let copied = copy_bytes(&source, *len, &*file).copying("copy", || from.describe(path))?;
    if copied != *digest {
        return Err(problem("is not what was backed up: its digest is another"));
    }
    file.sync().copying("sync", || to.describe(path))?;
    to.rename(&beside, path).copying("rename", || to.describe(path))
}
