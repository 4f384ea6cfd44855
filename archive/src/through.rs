//! An archive and what is left of its store, as one directory that can only be read.
//!
//! ```text
//!  seg/         archived ∪ local; the local one where both are there
//!  idx/         likewise
//!  store.meta,  the local ones, with the oldest archived segment as the floor;
//!  WATERMARK    without a store, those of one that was closed behind the last archived segment
//!  floor        none, or the archived one
//!  all else     as it is in the store
//! ```
//!
//! The engine reads it like any other store, and checks where segment follows segment as it always does.
//!
//! What is always true:
//!
//! - Nothing of a segment is fetched before somebody reads its events; its header and its end are in its manifest.
//! - Its bytes are used only after the digest of all of them was compared.
//! - What retention removes here, while somebody reads, is read from the archive.

mod file;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::storage::{Access, File, LockError, LockGuard, Storage};
use annals::{EventStore, LogId, Position, SegmentNumber};
use annals_codec::{ArchivedSegment, Epoch, META_FILE_LEN, StoreMeta, WATERMARK_FILE_LEN, Watermark};
use parking_lot::RwLock;

use self::file::{Fetched, ReadOnly};
use crate::cache::{Cache, Kind};
use crate::error::ArchiveError;
use crate::local::{Local, read_file};
use crate::{Archive, names};

/// An archive and what is left of its store.
#[derive(Debug)]
pub(crate) struct Through {
    archive: Archive,
    local: Option<Arc<dyn Storage>>,
    log: LogId,
    cache: Cache,
    archived: RwLock<Arc<Archived>>,
}

/// What is archived.
#[derive(Debug)]
struct Archived {
    /// In their order; at least one.
    segments: Vec<Arc<ArchivedSegment>>,
    /// The names of the files that are derived from them, in their order.
    derived: Vec<String>,
}

impl Archive {
    /// The store in `dir` with all that is archived of it, to be read like any other: by
    /// [`EventStore::open_read_only_on`], [`inspect::verify_on`](annals::inspect::verify_on) and so on. Without a `dir`,
    /// what is archived of `log` alone.
    ///
    /// Objects are fetched when their events are read, into `cache`.
    ///
    /// # Errors
    ///
    /// - [`ArchiveError::OtherLog`]: nothing of this log is archived here.
    /// - [`ArchiveError::Clash`]: the store is not what is archived; [`ArchiveError::Gap`]: what lies between is in neither.
    /// - [`ArchiveError::Hole`], [`ArchiveError::Manifest`], [`ArchiveError::NoStore`], [`ArchiveError::Store`],
    ///   [`ArchiveError::Io`].
    pub fn read_through(
        &self,
        dir: Option<&Path>,
        log: Option<LogId>,
        cache: &Cache,
    ) -> Result<Arc<dyn Storage>, ArchiveError> {
        let local = dir.map(Local::new).transpose()?;
        let log = match (&local, log) {
            (Some(local), Some(log)) if local.log_id != log => {
                return Err(ArchiveError::OtherLog { log, place: local.storage.describe("") });
            }
            (Some(local), _) => local.log_id,
            (None, Some(log)) => log,
            (None, None) => self.only_log()?,
        };
        let segments = match &local {
            Some(local) => self.both(local, false)?.archived,
            None => self.segments(log)?,
        };
        let archived = Archived::with(self, log, segments)?;
        let local = local.map(|local| local.storage);
        let archived = RwLock::new(Arc::new(archived));
        Ok(Arc::new(Through { archive: self.clone(), local, log, cache: cache.clone(), archived }))
    }

    /// Opens the store in `dir` for reading, with all that is archived of it. It follows the writer, if there is
    /// one, as [`EventStore::open_read_only`] does.
    ///
    /// # Errors
    ///
    /// As [`read_through`](Archive::read_through), and [`ArchiveError::Open`].
    pub fn open_read_only(&self, dir: impl AsRef<Path>, cache: &Cache) -> Result<EventStore, ArchiveError> {
        let storage = self.read_through(Some(dir.as_ref()), None, cache)?;
        Ok(EventStore::open_read_only_on(storage)?)
    }
}

impl Archived {
    /// These segments, and what indexes there are of them.
    fn with(archive: &Archive, log: LogId, segments: Vec<Arc<ArchivedSegment>>) -> Result<Archived, ArchiveError> {
        if segments.is_empty() {
            return Err(ArchiveError::OtherLog { log, place: archive.remote.shown().to_owned() });
        }
        let listed = archive.remote.list(&names::all_derived(log))?;
        let mut derived: Vec<_> = listed.into_iter().map(|listed| listed.name).collect();
        derived.retain(|name| names::parse_derived(name).is_some());
        derived.sort_unstable();
        Ok(Archived { segments, derived })
    }

    fn first(&self) -> &ArchivedSegment {
        &self.segments[0]
    }

    fn last(&self) -> &ArchivedSegment {
        &self.segments[self.segments.len() - 1]
    }

    /// The highest epoch of any writer that is known.
    fn epoch(&self) -> Epoch {
        self.segments.iter().map(|segment| segment.seal.epoch.max(segment.header.epoch)).max().unwrap_or_default()
    }

    fn find(&self, number: SegmentNumber) -> Option<&Arc<ArchivedSegment>> {
        let at = self.segments.binary_search_by_key(&number, |segment| segment.header.number).ok()?;
        Some(&self.segments[at])
    }
}

impl Through {
    fn archived(&self) -> Arc<Archived> {
        Arc::clone(&self.archived.read())
    }

    /// What is archived now.
    fn list_again(&self) -> io::Result<Arc<Archived>> {
        let archived = Arc::new(Archived::with(&self.archive, self.log, self.archive.segments(self.log)?)?);
        *self.archived.write() = Arc::clone(&archived);
        Ok(archived)
    }

    fn local(&self, path: &str) -> io::Result<Arc<dyn File>> {
        match &self.local {
            Some(local) => local.open(path, Access::Read),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// An archived segment, as a file; asks once more what is archived when retention has just taken it from the store.
    fn segment(&self, number: SegmentNumber, base: Position) -> io::Result<Arc<dyn File>> {
        let found = match self.archived().find(number).cloned() {
            Some(found) => Some(found),
            None => self.list_again()?.find(number).cloned(),
        };
        let found = found.filter(|segment| segment.header.base == base).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(ReadOnly(Fetched::new(self.archive.clone(), self.cache.clone(), found))))
    }

    /// What is derived from an archived segment. What is wrong with it the engine sees, and makes it anew.
    fn derived(&self, name: &str, path: &str) -> io::Result<Arc<dyn File>> {
        let archived = self.archived();
        let is_there = archived.derived.binary_search_by(|known| (**known).cmp(name)).is_ok();
        let number = names::parse_derived(name).filter(|_| is_there);
        let segment = number.and_then(|number| archived.find(number)).ok_or(io::ErrorKind::NotFound)?;
        let path = names::derived(self.log, path);
        let missing = || ArchiveError::Missing { object: self.archive.remote.show(&path) };
        let fetch = || self.archive.remote.get(&path)?.ok_or_else(missing);
        let is_tree = name.rsplit_once('.').is_some_and(|(_, kind)| kind == "tree");
        let kind = if is_tree { Kind::Tree } else { Kind::Index };
        Ok(self.cache.file(&segment.digest, kind, |_| Ok(()), fetch)?)
    }

    fn floor(&self) -> io::Result<Arc<dyn File>> {
        let archived = self.archived();
        let first = &archived.first().header;
        if !self.begins_archived() {
            return self.local(names::FLOOR);
        }
        if first.number == SegmentNumber::FIRST {
            return Err(io::ErrorKind::NotFound.into());
        }
        let path = names::floor(self.log, first.number, first.base);
        let content = self.archive.remote.get(&path)?;
        let content = content.ok_or_else(|| ArchiveError::Missing { object: self.archive.remote.show(&path) })?;
        Ok(Arc::new(ReadOnly(content.to_vec())))
    }

    /// Whether the log begins with an archived segment: the store may be a copy that has lost less.
    fn begins_archived(&self) -> bool {
        let first = self.archived().first().header.number;
        let meta = self.local.as_ref().and_then(|local| read_file(&**local, names::META).ok());
        meta.and_then(|meta| StoreMeta::decode(&meta).ok()).is_none_or(|meta| meta.floor >= first)
    }

    /// `store.meta` with the floor of the archive.
    fn meta(&self) -> io::Result<Vec<u8>> {
        let archived = self.archived();
        let (first, last) = (&archived.first().header, archived.last());
        let Some(local) = &self.local else {
            let meta = StoreMeta {
                sequence: 0,
                log_id: self.log,
                created_at: first.created_at,
                epoch: archived.epoch(),
                active: last.header.number,
                active_base: last.header.base,
                active_seed: last.seed,
                floor: first.number,
                floor_base: first.base,
            };
            return Ok(slot(META_FILE_LEN, meta.slot_offset(), &meta.encode()));
        };
        let bytes = read_file(&**local, names::META)?;
        Ok(match StoreMeta::decode(&bytes) {
            Ok(meta) if meta.floor > first.number => {
                let meta = StoreMeta { floor: first.number, floor_base: first.base, ..meta };
                slot(META_FILE_LEN, meta.slot_offset(), &meta.encode())
            }
            _ => bytes,
        })
    }

    /// `WATERMARK`, likewise.
    fn watermark(&self) -> io::Result<Vec<u8>> {
        let archived = self.archived();
        let (first, last) = (&archived.first().header, archived.last());
        let Some(local) = &self.local else {
            let watermark = Watermark {
                log_id: self.log,
                sequence: 0,
                epoch: archived.epoch(),
                segment: last.header.number,
                offset: last.file_len(),
                position: last.seal.last,
                floor: first.number,
            };
            return Ok(slot(WATERMARK_FILE_LEN, watermark.slot_offset(), &watermark.encode()));
        };
        let bytes = read_file(&**local, names::WATERMARK)?;
        Ok(match Watermark::decode(&bytes) {
            Some(watermark) if watermark.floor > first.number => {
                let watermark = Watermark { floor: first.number, ..watermark };
                slot(WATERMARK_FILE_LEN, watermark.slot_offset(), &watermark.encode())
            }
            _ => bytes,
        })
    }

    /// The names of local files in a folder, which may not be there.
    fn list_local(&self, dir: &str) -> io::Result<Vec<String>> {
        match self.local.as_ref().map(|local| local.list(dir)) {
            None => Ok(Vec::new()),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Some(listed) => listed,
        }
    }
}

/// A file of this length, with one slot.
fn slot(len: usize, at: u64, content: &[u8]) -> Vec<u8> {
    let mut file = vec![0; len];
    file[at as usize..][..content.len()].copy_from_slice(content);
    file
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a store with its archive can only be read"))
}

/// The name of a file whose path is in this folder.
fn in_folder<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    path.strip_prefix(dir)?.strip_prefix('/')
}

impl Storage for Through {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        read_only().map_err(LockError::Io)
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        read_only()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = match (&self.local, dir) {
            (_, "" | names::SEGMENTS | names::INDEXES) => self.list_local(dir)?,
            (Some(local), _) => local.list(dir)?,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        match dir {
            "" => {
                names.retain(|name| ![names::FLOOR, names::BACKUP, names::UNFINISHED].contains(&&**name));
                names.extend([names::META, names::WATERMARK, names::SEGMENTS, names::INDEXES].map(str::to_owned));
            }
            names::SEGMENTS => {
                let oldest = names.iter().filter_map(|name| names::parse_segment(name)).min();
                let mut archived = self.archived();
                if oldest.is_some_and(|(number, _)| number > archived.last().header.number.next()) {
                    archived = self.list_again()?;
                }
                let name =
                    |segment: &Arc<ArchivedSegment>| names::segment_file(segment.header.number, segment.header.base);
                names.extend(
                    archived.segments.iter().filter_map(|segment| in_folder(&name(segment), dir).map(str::to_owned)),
                );
            }
            names::INDEXES => {
                let archived = self.archived();
                let is_known =
                    |name: &&String| names::parse_derived(name).is_some_and(|of| archived.find(of).is_some());
                names.extend(archived.derived.iter().filter(is_known).cloned());
            }
            _ => {}
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn create(&self, _path: &str) -> io::Result<Arc<dyn File>> {
        read_only()
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        if access != Access::Read {
            return read_only();
        }
        match path {
            names::META => return Ok(Arc::new(ReadOnly(self.meta()?))),
            names::WATERMARK => return Ok(Arc::new(ReadOnly(self.watermark()?))),
            names::FLOOR => return self.floor(),
            names::BACKUP | names::UNFINISHED => return Err(io::ErrorKind::NotFound.into()),
            _ => {}
        }
        match self.local(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        if let Some((number, base)) = in_folder(path, names::SEGMENTS).and_then(names::parse_segment) {
            return self.segment(number, base);
        }
        match in_folder(path, names::INDEXES) {
            Some(name) => self.derived(name, path),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _path: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        read_only()
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        let is_made = [names::META, names::WATERMARK, names::FLOOR].contains(&path);
        self.local.as_ref()?.local_path(path).filter(|path| !is_made && path.exists())
    }

    fn describe(&self, path: &str) -> String {
        match &self.local {
            Some(local) if path.is_empty() || local.open(path, Access::Read).is_ok() => local.describe(path),
            _ => self.archive.remote.show(&format!("{}/{path}", self.log)),
        }
    }
}
