//! Folders beside the log, for what is derived from it by whoever embeds the store.
//!
//! What is always true: a file is there as a whole or not at all, whatever happens while it is written; and
//! nothing in a folder is needed to open the store.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use annals_codec::{FileName, IntoName};

use super::{EventStore, Role};
use crate::error::KeepError;
use crate::log::names;
use crate::log::small_files::{create_dirs, list_whole, read_file, write_whole};
use crate::storage::Storage;
use crate::sync::Mutex;

/// The folders of a store that somebody writes.
#[derive(Debug, Default)]
pub(super) struct Folders {
    in_use: Mutex<BTreeSet<String>>,
}

/// A folder of whole files beside the log; made by [`EventStore::folder`].
///
/// It is a handle of the store, which it keeps open.
#[derive(Debug)]
pub struct Folder {
    store: EventStore,
    dir: String,
    /// Whether it was claimed, for writing.
    is_writable: bool,
    /// One file is written at a time: each is first made under a name that goes with its own.
    writing: Mutex<()>,
}

impl EventStore {
    /// A folder beside the log, `area/name` in the store's directory, for files that are derived from events and
    /// can be made again.
    ///
    /// In a store that is open for writing a folder has one handle at a time; in one that is only read it can be
    /// read by many. The folder itself is made when the first file is.
    ///
    /// # Errors
    ///
    /// [`KeepError::InUse`]; [`KeepError::InvalidName`], also for an area that the store keeps for itself.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let folder = store.folder("reports", "monthly")?;
    /// folder.write("2026-01", b"42 orders")?;
    /// assert_eq!(folder.names()?, ["2026-01"]);
    /// assert_eq!(folder.read("2026-01")?.as_deref(), Some(&b"42 orders"[..]));
    /// folder.remove(["2026-01"])?;
    /// assert_eq!(folder.read("2026-01")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn folder(&self, area: impl IntoName<FileName>, name: impl IntoName<FileName>) -> Result<Folder, KeepError> {
        let dir = dir_of(&area.into_name()?, &name.into_name()?)?;
        let is_writable = matches!(self.inner.role, Role::Writer(_));
        if is_writable && !self.inner.folders.in_use.lock().insert(dir.to_ascii_lowercase()) {
            return Err(KeepError::InUse { what: dir });
        }
        Ok(Folder { store: self.clone(), dir, is_writable, writing: Mutex::default() })
    }

    /// The same folder, to look into it only: also beside the one who writes it.
    ///
    /// # Errors
    ///
    /// As [`folder`](EventStore::folder), but never because it is in use.
    pub fn folder_to_read(
        &self,
        area: impl IntoName<FileName>,
        name: impl IntoName<FileName>,
    ) -> Result<Folder, KeepError> {
        let dir = dir_of(&area.into_name()?, &name.into_name()?)?;
        Ok(Folder { store: self.clone(), dir, is_writable: false, writing: Mutex::default() })
    }

    /// The names of the folders in an area, in order; none, when nobody has written there.
    ///
    /// # Errors
    ///
    /// [`KeepError::Io`]; [`KeepError::InvalidName`], [`KeepError::InUse`] for an area that the store keeps for itself.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// for name in ["yearly", "monthly"] {
    ///     store.folder("reports", name)?.write("2026", b"42 orders")?;
    /// }
    /// assert_eq!(store.folders("reports")?, ["monthly", "yearly"]);
    /// assert_eq!(store.folder_to_read("reports", "yearly")?.names()?, ["2026"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn folders(&self, area: impl IntoName<FileName>) -> Result<Vec<String>, KeepError> {
        let area = area.into_name()?;
        is_free(&area)?;
        let storage = &*self.inner.storage;
        let mut found = list_whole(storage, &area).map_err(|error| KeepError::Io {
            action: "list",
            path: storage.describe(&area),
            source: Arc::new(error),
        })?;
        found.retain(|name| FileName::new(name.as_str()).is_ok());
        Ok(found)
    }
}

/// Where a folder lies.
fn dir_of(area: &FileName, name: &FileName) -> Result<String, KeepError> {
    is_free(area)?;
    Ok(format!("{area}/{name}"))
}

/// Whether an area is not one of the store's own.
fn is_free(area: &FileName) -> Result<(), KeepError> {
    let own = [names::SEGMENTS, names::INDEXES, names::QUARANTINE, names::CONSUMERS, names::META, names::WATERMARK];
    let files = [names::LOCK, names::FLOOR, names::LOST, names::BACKUP, names::UNFINISHED];
    if own.iter().chain(&files).any(|own| area.eq_ignore_ascii_case(own)) {
        return Err(KeepError::InUse { what: area.to_string() });
    }
    Ok(())
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_writable {
            self.store.inner.folders.in_use.lock().remove(&self.dir.to_ascii_lowercase());
        }
    }
}

impl Folder {
    fn storage(&self) -> &dyn Storage {
        &*self.store.inner.storage
    }

    fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(io::Error) -> KeepError {
        let path = self.storage().describe(&format!("{}/{name}", self.dir));
        move |error| KeepError::Io { action, path, source: Arc::new(error) }
    }

    /// The store that it lies beside.
    pub fn store(&self) -> &EventStore {
        &self.store
    }

    /// Whether nothing can be written: the store was opened read-only.
    pub fn is_read_only(&self) -> bool {
        !self.is_writable
    }

    /// The names of its files, in order.
    ///
    /// # Errors
    ///
    /// [`KeepError::Io`].
    pub fn names(&self) -> Result<Vec<String>, KeepError> {
        list_whole(self.storage(), &self.dir).map_err(self.failed("list", ""))
    }

    /// All of a file; `None` when there is none of that name.
    ///
    /// # Errors
    ///
    /// [`KeepError::Io`], [`KeepError::InvalidName`].
    pub fn read(&self, name: impl IntoName<FileName>) -> Result<Option<Vec<u8>>, KeepError> {
        let name = name.into_name()?;
        let path = format!("{}/{name}", self.dir);
        read_file(self.storage(), &path).map_err(self.failed("read", &name))
    }

    /// Writes a file as a whole, in the place of the one of that name, if there is one. When this returns it
    /// is durable.
    ///
    /// # Errors
    ///
    /// [`KeepError::Io`]: the old file is there, or the new one. [`KeepError::ReadOnly`], [`KeepError::InvalidName`].
    pub fn write(&self, name: impl IntoName<FileName>, content: &[u8]) -> Result<(), KeepError> {
        let name = name.into_name()?;
        if !self.is_writable {
            return Err(KeepError::ReadOnly);
        }
        let _writing = self.writing.lock();
        let written = create_dirs(self.storage(), &self.dir)
            .and_then(|()| write_whole(self.storage(), &self.dir, &name, content));
        written.map(drop).map_err(self.failed("write", &name))
    }

    /// Removes files, durably. One that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`KeepError::Io`]: some may be removed. [`KeepError::ReadOnly`], [`KeepError::InvalidName`].
    pub fn remove(&self, names: impl IntoIterator<Item = impl IntoName<FileName>>) -> Result<(), KeepError> {
        if !self.is_writable {
            return Err(KeepError::ReadOnly);
        }
        let mut has_changed = false;
        for name in names {
            let name = name.into_name()?;
            match self.storage().remove(&format!("{}/{name}", self.dir)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => {
                    removed.map_err(self.failed("remove", &name))?;
                    has_changed = true;
                }
            }
        }
        if has_changed {
            self.storage().sync_dir(&self.dir).map_err(self.failed("sync", ""))?;
        }
        Ok(())
    }
}
