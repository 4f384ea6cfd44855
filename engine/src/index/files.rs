//! The files in `idx/`: how they are read, and how they are written.
//!
//! What is always true:
//!
//! - Everything in them follows from the segments, and says by checksums whether it is
//!   whole. So nothing waits for them: they are not synced, an error is
//!   the loss of a file that can be made again, and a full disk just has none.
//! - A file is written under another name and then renamed. What is mapped is never changed.
//! - Nothing is written once the store is closed, when another process may have it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use annals_codec::LogId;

use crate::log::names;
use crate::log::small_files::{create_anew, write_all};
use crate::metrics::meter::Meter;
use crate::storage::{Access, File, Mapping, Storage};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct IndexFiles {
    storage: Arc<dyn Storage>,
    pub(crate) log_id: LogId,
    pub(crate) meter: Meter,
    /// Held while a file is written.
    writable: RwLock<bool>,
    /// How many were written. Two threads may come to make the same file at once, and each
    /// has to rename what it has written itself.
    written: AtomicU64,
}

impl IndexFiles {
    /// The files of a log; they are only written by whoever holds its lock.
    pub(crate) fn new(storage: Arc<dyn Storage>, log_id: LogId, writable: bool) -> Arc<IndexFiles> {
        IndexFiles::measured(storage, log_id, writable, Meter::default())
    }

    /// The same, and how long it takes to make them is measured.
    pub(crate) fn measured(storage: Arc<dyn Storage>, log_id: LogId, writable: bool, meter: Meter) -> Arc<IndexFiles> {
        Arc::new(IndexFiles { storage, log_id, meter, writable: RwLock::new(writable), written: AtomicU64::new(0) })
    }

    /// Whether they are written here at all.
    pub(crate) fn is_writable(&self) -> bool {
        *self.writable.read()
    }

    /// Writes nothing from here on, and waits for who is about to.
    pub(crate) fn close(&self) {
        *self.writable.write() = false;
    }

    /// The names of the files that are there.
    pub(crate) fn list(&self) -> Vec<String> {
        self.storage.list(names::INDEXES).unwrap_or_default()
    }

    /// Opens a file; `None` when there is none.
    pub(crate) fn open(&self, path: &str) -> Option<IndexFile> {
        match IndexFile::open(&*self.storage, path) {
            Ok(file) => Some(file),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path, %error, "an index file cannot be opened, and is made anew");
                }
                None
            }
        }
    }

    /// Writes a file with what `write` puts into it; whether it is there now.
    pub(crate) fn write(&self, path: &str, write: impl FnOnce(&dyn File) -> io::Result<()>) -> bool {
        let writable = self.writable.read();
        if !*writable {
            return false;
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{path}.{number}{}", names::TEMPORARY);
        let written = self
            .storage
            .create_dir(names::INDEXES)
            .and_then(|()| create_anew(&*self.storage, &temporary))
            .and_then(|file| write(&*file))
            .and_then(|()| self.storage.rename(&temporary, path));
        if let Err(error) = &written {
            tracing::warn!(path, %error, "an index file cannot be written");
            // Best effort: what stays is removed at the next open.
            let _ = self.storage.remove(&temporary);
        }
        written.is_ok()
    }

    /// Writes a file with this content; whether it is there now.
    pub(crate) fn write_whole(&self, path: &str, content: &[u8]) -> bool {
        self.write(path, |file| write_all(file, 0, content))
    }
}

/// An index file, open.
#[derive(Debug)]
pub(crate) struct IndexFile {
    file: Arc<dyn File>,
    len: u64,
}

impl IndexFile {
    pub(crate) fn open(storage: &dyn Storage, path: &str) -> io::Result<IndexFile> {
        let file = storage.open(path, Access::Read)?;
        Ok(IndexFile { len: file.len()?, file })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads at `offset`; fewer bytes where the file ends. Returns how many.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, bytes)
    }

    /// The first bytes of the file; fewer when it has no more.
    pub(crate) fn head(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// All of it: mapped, or read where files are not mapped. Its head has vouched for its length.
    pub(crate) fn content(&self) -> io::Result<Content> {
        if let Some(map) = self.file.map(self.len)? {
            // It was renamed into its place when it was whole, and nobody writes it again.
            map.commit_to(self.len);
            return Ok(Content::Mapped(map));
        }
        Ok(Content::Loaded(self.head(self.len as usize)?.into_boxed_slice()))
    }
}

/// The content of an index file.
#[derive(Debug)]
pub(crate) enum Content {
    Mapped(Mapping),
    Loaded(Box<[u8]>),
}

impl Content {
    #[inline]
    pub(crate) fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        match self {
            Content::Mapped(map) => map.slice(range.start, (range.end - range.start) as usize),
            Content::Loaded(bytes) => bytes.get(range.start as usize..range.end as usize),
        }
    }
}
