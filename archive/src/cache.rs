//! Objects that were fetched, in a directory of bounded size.
//!
//! ```text
//!  DIR/<SHA-256>.seg      a segment, whose bytes had that digest when it was put here
//!  DIR/<SHA-256>.idx      what is derived from that segment, and says by its own checksums whether it is whole
//!  DIR/<SHA-256>.tree
//!  DIR/*.tmp              what is on its way, or what a crash has left of that
//! ```
//!
//! What is always true:
//!
//! - What this process did not write itself is digested before it is used, once.
//! - When the bound is passed, what was used longest ago goes first. What somebody is just reading stays readable:
//!   its file is open. Several processes may share a directory.
//! - Everything in it can be had again: it may be deleted at any time.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use annals::Digest;
use annals::storage::{Access, File, Storage, on_disk};
use parking_lot::Mutex;

use crate::error::{ArchiveError, Doing as _};

/// What is on its way for longer than this was left by a crash.
const LEFT: Duration = Duration::from_secs(3600);

/// Objects that were fetched, in a directory of bounded size. Clones share it.
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    most: u64,
    open: Mutex<Opened>,
    /// Held while something is fetched, so that nothing is fetched twice at once.
    fetching: Mutex<()>,
}

/// What this process has open of it.
#[derive(Debug, Default)]
struct Opened {
    files: HashMap<String, Entry>,
    /// Counts the uses, to tell which was the latest.
    uses: u64,
    fetched: u64,
    fetched_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<dyn File>,
    used: u64,
}

/// What a file of the cache is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Segment,
    Index,
    Tree,
}

impl Kind {
    /// How names of its files end.
    fn extension(self) -> &'static str {
        match self {
            Kind::Segment => "seg",
            Kind::Index => "idx",
            Kind::Tree => "tree",
        }
    }
}

impl Cache {
    /// The cache in `dir`, which is made if there is none. It keeps at most `bytes`, or the one object that is larger.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Io`].
    pub fn new(dir: impl AsRef<Path>, bytes: u64) -> Result<Cache, ArchiveError> {
        let shown = || dir.as_ref().display().to_string();
        // The same place also when the process changes its working directory.
        let dir = std::path::absolute(&dir).doing("find", shown)?;
        fs::create_dir_all(&dir).doing("create", shown)?;
        for (path, meta) in files_in(&dir).doing("list", shown)? {
            let age = meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if path.extension() == Some(OsStr::new("tmp")) && age.is_some_and(|age| age > LEFT) {
                let _ = fs::remove_file(path);
            }
        }
        let storage = on_disk(&dir);
        let inner = Inner { dir, storage, most: bytes, open: Mutex::default(), fetching: Mutex::default() };
        Ok(Cache { inner: Arc::new(inner) })
    }

    /// How many objects were fetched, and how many bytes: what was found in the directory is not among them.
    pub fn fetched(&self) -> (u64, u64) {
        let open = self.inner.open.lock();
        (open.fetched, open.fetched_bytes)
    }

    /// A file: as it is here, or with what `fetch` gives. `is_right` says of all its bytes whether they are what is to be
    /// used; what is not stays out of it.
    pub(crate) fn file<T: AsRef<[u8]>>(
        &self,
        segment: &Digest,
        kind: Kind,
        is_right: impl Fn(&[u8]) -> Result<(), ArchiveError>,
        fetch: impl FnOnce() -> Result<T, ArchiveError>,
    ) -> Result<Arc<dyn File>, ArchiveError> {
        let name = format!("{segment}.{}", kind.extension());
        if let Some(file) = self.opened(&name) {
            return Ok(file);
        }
        let _one_at_a_time = self.inner.fetching.lock();
        if let Some(file) = self.opened(&name) {
            return Ok(file);
        }
        let path = self.inner.dir.join(&name);
        let there = fs::read(&path).ok().filter(|content| is_right(content).is_ok());
        if there.is_none() {
            let content = fetch()?;
            let content = content.as_ref();
            is_right(content)?;
            self.make_room(content.len() as u64);
            write_whole(&path, content).doing("write", || path.display().to_string())?;
            let mut open = self.inner.open.lock();
            open.fetched += 1;
            open.fetched_bytes += content.len() as u64;
        }
        let file = self.inner.storage.open(&name, Access::Read).doing("open", || path.display().to_string())?;
        let mut open = self.inner.open.lock();
        open.uses += 1;
        let used = open.uses;
        open.files.insert(name, Entry { file: Arc::clone(&file), used });
        Ok(file)
    }

    fn opened(&self, name: &str) -> Option<Arc<dyn File>> {
        let mut open = self.inner.open.lock();
        open.uses += 1;
        let used = open.uses;
        let entry = open.files.get_mut(name)?;
        entry.used = used;
        Some(Arc::clone(&entry.file))
    }

    /// Removes what was used longest ago until `more` bytes fit. Best effort: what cannot be removed stays.
    fn make_room(&self, more: u64) {
        let Ok(mut files) = files_in(&self.inner.dir) else { return };
        let kinds = [Kind::Segment, Kind::Index, Kind::Tree].map(|kind| Some(OsStr::new(kind.extension())));
        files.retain(|(path, _)| kinds.contains(&path.extension()));
        let mut held: u64 = files.iter().map(|(_, meta)| meta.len()).sum();
        let mut open = self.inner.open.lock();
        let name = |path: &Path| path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        files.sort_by_cached_key(|(path, meta)| {
            (open.files.get(&name(path)).map_or(0, |entry| entry.used), meta.modified().ok())
        });
        for (path, meta) in files {
            if held + more <= self.inner.most {
                break;
            }
            open.files.remove(&name(&path));
            if fs::remove_file(&path).is_ok() {
                held -= meta.len();
            }
        }
    }
}

/// Writes a file as a whole, under another name first.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let written = fs::File::create_new(&temporary)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The files of a directory.
fn files_in(dir: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    let entries = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let entries: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
    // One that has gone meanwhile is none.
    let with_meta = entries.into_iter().filter_map(|path| fs::metadata(&path).ok().map(|meta| (path, meta)));
    Ok(with_meta.filter(|(_, meta)| meta.is_file()).collect())
}
