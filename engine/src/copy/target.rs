//! The directory that a backup is taken into, and what is there from the one before.
//!
//! ```text
//! nothing, or an empty directory    ─► BACKUP.unfinished (empty) ─► files ─► BACKUP
//! BACKUP                            ─► new files as *.tmp ─► BACKUP becomes BACKUP.unfinished
//!                                   ─► *.tmp get their names ─► BACKUP
//! ```
//!
//! What is always true: while a manifest has its name, everything that it lists is there, and no other segment is.

use std::collections::BTreeMap;
use std::io;

use annals_codec::{ListedFile, LogId, Manifest};

use super::{CopyError, Copying, hold};
use crate::log::names;
use crate::log::small_files::{create_whole, read_file};
use crate::planted::{self, Bug};
use crate::storage::{LockGuard, Storage};

/// The directories of a copy.
pub(super) const DIRS: [&str; 3] = ["", names::SEGMENTS, names::CONSUMERS];

/// The directory, held for this backup alone.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) storage: &'a dyn Storage,
    _lock: Box<dyn LockGuard>,
    /// The manifest of the backup before, if that was finished.
    pub(super) before: Option<Manifest>,
    /// What is known of files that are there: of the backup before, finished or not.
    known: BTreeMap<String, ListedFile>,
}

/// The manifest in a directory, if there is one; and whether a backup has begun there without coming to its end.
pub(super) fn manifest(storage: &dyn Storage) -> Result<(Option<Manifest>, bool), CopyError> {
    let read = |name: &str| read_file(storage, name).copying("read", || storage.describe(name));
    let decode = |bytes: Vec<u8>| {
        Manifest::decode(&bytes).map_err(|fault| CopyError::of_manifest(storage.describe(names::BACKUP).into(), &fault))
    };
    let whole = read(names::BACKUP)?.map(decode).transpose()?;
    let begun = whole.is_none() && read(names::UNFINISHED)?.is_some();
    Ok((whole, begun))
}

impl<'a> Target<'a> {
    /// Takes hold of the directory, if it holds a backup of this log, the beginning of one, or nothing.
    pub(super) fn new(storage: &'a dyn Storage, log_id: LogId) -> Result<Target<'a>, CopyError> {
        let path = || storage.describe("").into();
        let lock = hold(storage)?;
        let (before, begun) = manifest(storage)?;
        if before.is_none() && !begun {
            let found = storage.list("").copying("list", || storage.describe(""))?;
            if found.iter().any(|name| !names::is_of_a_new_backup(name)) {
                return Err(CopyError::NotABackup { path: path() });
            }
            create_whole(storage, names::UNFINISHED, b"")
                .and_then(|_| storage.sync_dir(""))
                .copying("create", || storage.describe(names::UNFINISHED))?;
        }
        // Of one that was interrupted only its digests count, and no more than if they were right.
        let unfinished = || read_file(storage, names::UNFINISHED).ok().flatten();
        let known = before.clone().or_else(|| Manifest::decode(&unfinished()?).ok());
        if let Some(known) = known.as_ref().filter(|known| known.mark.log_id != log_id) {
            return Err(CopyError::OtherLog { theirs: known.mark.log_id, ours: log_id });
        }
        let known = known.into_iter().flat_map(|known| known.files).map(|file| (file.path.clone(), file)).collect();
        let target = Target { storage, _lock: lock, before, known };
        for dir in [names::SEGMENTS, names::CONSUMERS] {
            storage.create_dir(dir).copying("create", || storage.describe(dir))?;
        }
        storage.sync_dir("").copying("sync", || storage.describe(""))?;
        for dir in DIRS {
            for name in target.list(dir)?.iter().filter(|name| name.ends_with(names::TEMPORARY)) {
                target.remove(&join(dir, name))?;
            }
        }
        Ok(target)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>, CopyError> {
        self.storage.list(dir).copying("list", || self.storage.describe(dir))
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), CopyError> {
        match self.storage.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.copying("remove", || self.storage.describe(path)),
        }
    }

    /// What the backup before says of a file.
    pub(super) fn known(&self, path: &str) -> Option<&ListedFile> {
        self.known.get(path)
    }

    /// Whether there is a whole backup: then nothing of it is touched while its manifest stands, and nothing gets a name
    /// beside it that would make another store of it.
    pub(super) fn is_whole(&self) -> bool {
        self.before.is_some()
    }

    /// Makes the names in every directory durable.
    pub(super) fn sync_dirs(&self) -> Result<(), CopyError> {
        DIRS.into_iter().try_for_each(|dir| self.storage.sync_dir(dir).copying("sync", || self.storage.describe(dir)))
    }

    /// The backup before is one no more.
    pub(super) fn begin_replacing(&self) -> Result<(), CopyError> {
        if self.before.is_none() {
            return Ok(());
        }
        let storage = self.storage;
        let begun = storage.rename(names::BACKUP, names::UNFINISHED).and_then(|()| storage.sync_dir(""));
        begun.copying("rename", || storage.describe(names::BACKUP))
    }

    /// Gives files their names, removes all that the new backup does not hold, and makes that durable.
    pub(super) fn replace(&self, renames: &[String], manifest: &Manifest) -> Result<(), CopyError> {
        for path in renames {
            let from = temporary(path);
            self.storage.rename(&from, path).copying("rename", || self.storage.describe(&from))?;
        }
        for dir in [names::SEGMENTS, names::CONSUMERS] {
            for name in self.list(dir)? {
                let path = join(dir, &name);
                if manifest.files.binary_search_by(|file| (*file.path).cmp(&*path)).is_err() {
                    self.remove(&path)?;
                }
            }
        }
        self.sync_dirs()
    }

    /// The backup is whole.
    pub(super) fn publish(&self, manifest: &Manifest) -> Result<(), CopyError> {
        let storage = self.storage;
        create_whole(storage, names::BACKUP, manifest.encode().as_bytes())
            .and_then(|_| storage.sync_dir(""))
            .copying("write", || storage.describe(names::BACKUP))?;
        // Beside a manifest it says nothing, so nobody waits for its end.
        self.remove(names::UNFINISHED)
    }

    /// Everything is there under its name or a temporary one: makes it the backup.
    pub(super) fn finish(&self, renames: &[String], manifest: &Manifest) -> Result<(), CopyError> {
        if planted::has(Bug::ManifestBeforeFiles) {
            self.publish(manifest)?;
        }
        self.begin_replacing()?;
        self.replace(renames, manifest)?;
        self.publish(manifest)
    }
}

pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

pub(super) fn temporary(path: &str) -> String {
    format!("{path}{}", names::TEMPORARY)
}
