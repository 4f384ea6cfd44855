//! The folder: whether it is one of ours, who may write to it, and what is left in it of a step that was not finished.
//!
//! What is always true:
//!
//! - What is there is judged before anything is written to it.
//! - A step is made by one run at a time ([`Folder::lock`]); a step that did not come to its end has left something in the lock, and
//!   is taken back by whoever gets the lock next.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::{EventStore, Position};

use super::manifest::{self, Manifest, NotOurs, RowFile};
use super::{views, write};
use crate::columnar;
use crate::new_file::{BEGINS, ENDS, NewFile, sync_folder_of};
use crate::tables::place::{Identity, identity};
use crate::tables::{TableError, pass};

/// The file that is locked.
const LOCK: &str = "_lock";

/// How often it is looked whether the lock is free.
const LOOK: Duration = Duration::from_millis(10);

/// An open folder.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    lock: File,
    identity: Option<Identity>,
    patience: Duration,
}

/// What a folder is.
#[derive(Debug)]
pub(super) enum Found {
    /// There is none, or nothing in it.
    Nothing,
    /// A table of this version.
    Table(Manifest),
}

/// What it is. Changes nothing.
pub(super) fn found(path: &Path) -> Result<Found, TableError> {
    let foreign = |what: &str| TableError::Foreign { file: path.to_owned(), what: what.to_owned() };
    let failed = |source| TableError::Io { action: "read", file: path.to_owned(), source };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(foreign("a file, and a table of Parquet files is a folder"));
        }
        Err(error) => return Err(failed(error)),
    };
    let manifest = path.join(manifest::NAME);
    match fs::read(&manifest) {
        Ok(bytes) => match Manifest::decode(&bytes) {
            Ok(manifest) => return Ok(Found::Table(manifest)),
            Err(NotOurs::Version(found)) => {
                return Err(TableError::Version { file: path.to_owned(), found, ours: manifest::VERSION });
            }
            Err(NotOurs::Damaged(problem)) => return Err(TableError::Damaged { file: path.to_owned(), problem }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK && !is_unfinished(&name) {
            return Err(foreign("a folder of somebody else"));
        }
    }
    Ok(Found::Nothing)
}

/// Whether it is a file that did not get its name.
fn is_unfinished(name: &str) -> bool {
    name.starts_with(BEGINS) && name.ends_with(ENDS)
}

impl Folder {
    /// Opens it; makes an empty one where there is none. Waits so long for whoever makes a step.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<Folder, TableError> {
        found(path)?;
        Folder::open_any(path, patience)
    }

    /// The same, whatever it has in it.
    pub(super) fn open_any(path: &Path, patience: Duration) -> Result<Folder, TableError> {
        let failed = |source| TableError::Io { action: "open", file: path.to_owned(), source };
        match fs::create_dir(path) {
            Ok(()) => sync_folder_of(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let name = path.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).open(&name).map_err(failed)?;
        Ok(Folder { path: path.to_owned(), identity: identity(&name), lock, patience })
    }

    /// What the table is, once what is left of an unfinished step is removed; a new one begins at the oldest event.
    pub(super) fn begin_with(&self, store: &EventStore, is_building: bool) -> Result<Manifest, TableError> {
        self.lock()?;
        let manifest = match found(&self.path)? {
            Found::Table(manifest) => manifest,
            Found::Nothing => {
                let manifest = Manifest::new(pass::beginning(store)?, is_building);
                self.write_manifest(&manifest)?;
                manifest
            }
        };
        // Where it cannot go on, it is not touched.
        if store.check_mark("the table", &manifest.mark).is_ok() {
            self.tidy(&manifest)?;
        }
        self.unlock()?;
        Ok(manifest)
    }

    /// Waits until nobody else makes a step, and sees to it that nobody does until [`unlock`](Folder::unlock).
    pub(super) fn lock(&self) -> Result<(), TableError> {
        let began = Instant::now();
        loop {
            match self.lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < self.patience => std::thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => return Err(TableError::Busy { file: self.path.clone() }),
                Err(TryLockError::Error(source)) => return Err(self.failed("lock", source)),
            }
        }
        // Whoever puts another folder in its place locks this one first.
        if identity(&self.path.join(LOCK)) == self.identity {
            return Ok(());
        }
        self.unlock()?;
        Err(TableError::Changed { file: self.path.clone() })
    }

    pub(super) fn unlock(&self) -> Result<(), TableError> {
        self.lock.unlock().map_err(|source| self.failed("unlock", source))
    }

    /// A step begins, if the table is still what it was said to be.
    pub(super) fn begin_step(&self, expected: &Manifest) -> Result<(), TableError> {
        self.lock()?;
        let begun = match found(&self.path) {
            Ok(Found::Table(manifest)) if manifest == *expected => self.take_back(expected),
            Ok(_) => Err(TableError::Changed { file: self.path.clone() }),
            Err(error) => Err(error),
        };
        let begun = begun.and_then(|()| self.lock.set_len(1).map_err(|source| self.failed("lock", source)));
        if begun.is_err() {
            self.unlock()?;
        }
        begun
    }

    /// What another run has left of a step, if it has.
    fn take_back(&self, manifest: &Manifest) -> Result<(), TableError> {
        let len = self.lock.metadata().map_err(|source| self.failed("read", source))?.len();
        if len > 0 { self.tidy(manifest) } else { Ok(()) }
    }

    /// The step is done: this is what the table is, and what it was.
    pub(super) fn end_step(&self, manifest: &Manifest, before: &Manifest) -> Result<(), TableError> {
        self.write_manifest(manifest)?;
        if manifest.views != before.views {
            self.write_views(manifest)?;
        }
        self.lock.set_len(0).map_err(|source| self.failed("unlock", source))?;
        self.unlock()
    }

    /// Replaces what is said of the table, for good.
    pub(super) fn write_manifest(&self, manifest: &Manifest) -> Result<(), TableError> {
        let path = self.path.join(manifest::NAME);
        let write = || -> io::Result<()> {
            let new = NewFile::at(&path)?;
            io::Write::write_all(&mut new.file(), &manifest.encode()?)?;
            new.put()
        };
        write().map_err(|source| self.failed("write", source))
    }

    /// Sees to it that the views are those of the manifest.
    fn write_views(&self, manifest: &Manifest) -> Result<(), TableError> {
        let path = self.path.join(views::NAME);
        let write = || -> io::Result<()> {
            let wanted = if manifest.views.is_empty() {
                None
            } else {
                Some(views::sql(manifest.mark.log_id, &manifest.views)?.into_bytes())
            };
            let there = match fs::read(&path) {
                Ok(there) => Some(there),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            match (there, wanted) {
                (there, wanted) if there == wanted => Ok(()),
                (_, Some(wanted)) => {
                    let new = NewFile::at(&path)?;
                    io::Write::write_all(&mut new.file(), &wanted)?;
                    new.put()
                }
                (_, None) => {
                    fs::remove_file(&path)?;
                    sync_folder_of(&path)
                }
            }
        };
        write().map_err(|source| TableError::Io { action: "write", file: path.clone(), source })
    }

    /// Removes what does not belong to the table, the last file first, and takes out what its last file has behind its end.
    /// What is made of the manifest is made again where it is not there.
    fn tidy(&self, manifest: &Manifest) -> Result<(), TableError> {
        let listed: BTreeSet<PathBuf> = manifest.files.iter().map(|file| self.path.join(file.path())).collect();
        if let Some(path) = listed.iter().find(|path| !path.is_file()) {
            let path = path.strip_prefix(&self.path).unwrap_or(path);
            return Err(self.damaged(format!("{} is missing", path.display())));
        }
        let mut rest = self.files()?;
        rest.retain(|path| !listed.contains(path));
        rest.sort();
        for path in rest.iter().rev() {
            let removed = fs::remove_file(path).and_then(|()| sync_folder_of(path));
            removed.map_err(|source| TableError::Io { action: "remove", file: path.clone(), source })?;
        }
        self.write_views(manifest)?;
        let Some(newest) = manifest.files.last() else { return Ok(()) };
        let path = self.path.join(newest.path());
        let last = File::open(&path).and_then(|file| columnar::parquet::last_position(&file));
        match last.map_err(|error| self.unread(newest, error))? {
            Some(last) if last == newest.last() => Ok(()),
            Some(last) if last > newest.last() => write::trim(self, manifest, newest),
            last => {
                let last = last.unwrap_or(Position::START);
                let (name, listed) = (newest.path(), newest.last());
                Err(self.damaged(format!("{} ends at position {last}, and it should at {listed}", name.display())))
            }
        }
    }

    /// All files that this program can have made, whether they belong to the table or not, but for those that say what it is.
    fn files(&self) -> Result<Vec<PathBuf>, TableError> {
        let mut found = Vec::new();
        let failed = |source| self.failed("read", source);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_unfinished(&name) {
                found.push(entry.path());
            } else if is_day(&name) && entry.path().is_dir() {
                for entry in fs::read_dir(entry.path()).map_err(failed)? {
                    let entry = entry.map_err(failed)?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if is_unfinished(&name) || manifest::is_name_of_rows(&name) {
                        found.push(entry.path());
                    }
                }
            }
        }
        Ok(found)
    }

    /// The same folder under another name.
    pub(super) fn called(self, path: &Path) -> Folder {
        Folder { path: path.to_owned(), ..self }
    }

    /// Removes the table, and the folder if nothing else is in it. What says what it is goes when the rest is gone for good: without
    /// it that would be a folder of somebody else, which nobody may touch.
    pub(super) fn remove(self) -> Result<(), TableError> {
        let remove = || -> io::Result<()> {
            for path in self.files().map_err(io::Error::other)? {
                fs::remove_file(path)?;
            }
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                if is_day(&entry.file_name().to_string_lossy()) {
                    fs::remove_dir(entry.path())?;
                }
            }
            for name in [views::NAME, manifest::NAME] {
                let path = self.path.join(name);
                if path.exists() {
                    sync_folder_of(&path)?;
                    fs::remove_file(path)?;
                }
            }
            fs::remove_file(self.path.join(LOCK))?;
            fs::remove_dir(&self.path)
        };
        remove().map_err(|source| self.failed("remove", source))
    }

    pub(super) fn damaged(&self, problem: String) -> TableError {
        TableError::Damaged { file: self.path.clone(), problem }
    }

    /// Why a file of the table cannot be read: it is not as it was written, or that is for the operating system to say.
    pub(super) fn unread(&self, file: &RowFile, error: io::Error) -> TableError {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                self.damaged(format!("{}: {error}", file.path().display()))
            }
            _ => TableError::Io { action: "read", file: self.path.join(file.path()), source: error },
        }
    }

    pub(super) fn failed(&self, action: &'static str, source: io::Error) -> TableError {
        TableError::Io { action, file: self.path.clone(), source }
    }
}

/// Whether it is the name of the folder of a day.
fn is_day(name: &str) -> bool {
    name.strip_prefix("day=").is_some_and(|day| day.len() == "2026-11-22".len())
}
