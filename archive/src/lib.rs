//! Sealed segments of an Annals event store in any object store: archived, checked, read as part of the log.
//!
//! ```text
//!  store directory          archive (a directory, S3, Google Cloud Storage, Azure)
//!  seg/0 … seg/8, active ─► LOG/seg/0 … 8, each with a manifest          send
//!  seg/6 … seg/8, active ◄─ read back and compared, then removed here    drop_local
//!  ╰─ read as one log ──────╯                                            read_through
//! ```
//!
//! ```
//! use annals::{EventStore, ExpectedVersion, Guard, NewEvent, Options, Position};
//! use annals_archive::{Archive, Cache};
//!
//! # let home = tempfile::tempdir()?;
//! # let (dir, place, cache) = (home.path().join("orders"), home.path().join("archive"), home.path().join("cache"));
//! let store = EventStore::open(&dir, &Options::new().segment_bytes(64 << 10))?;
//! for _ in 0..100 {
//!     store.append("clock", ExpectedVersion::Any, NewEvent::new("Ticked", vec![0; 4096]))?;
//! }
//! let archive = Archive::open(place.to_str().unwrap())?; // or s3://bucket/prefix, gs://…, az://…
//! let sent = archive.send(&dir, |_, _| ())?;
//! archive.drop_local(&store, &dir, Position::new(50), Guard::Consumers, |_, _| ())?;
//! assert!(store.oldest() > Position::new(1) && sent.segments > 0);
//!
//! let all = archive.open_read_only(&dir, &Cache::new(&cache, 1 << 30)?)?;
//! assert_eq!(all.read_all(Position::START).count(), 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is always true:
//!
//! - An object is put once, under the condition that none of that name is there. Nothing is replaced and nothing is
//!   removed in an archive, so two archivers cannot harm each other: they make the same objects, or one is told.
//! - A segment is archived when its manifest is there, which is put last. A run that was ended anywhere is
//!   finished by the next one.
//! - Nothing local is removed before the object was read back and had its digest.
//! - Nothing archived is used before its digest was compared.
//!
//! Calls block. The requests run on a thread of their own, so a call may also come from async code that allows
//! itself to block. A segment is held in memory while it is sent or fetched.
//!
//! What lies in an archive, byte for byte, is in `FORMAT.md` of the codec, under "An archive".

mod cache;
mod check;
mod error;
mod judge;
mod local;
mod names;
mod place;
mod prune;
mod remote;
mod restore;
mod runtime;
mod send;
mod through;

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::{LogId, SegmentNumber};
use annals_codec::ArchivedSegment;
use object_store::ObjectStore;
use parking_lot::Mutex;

pub use cache::Cache;
pub use check::{ArchiveReport, Finding};
pub use error::ArchiveError;
pub use object_store;
pub use prune::Dropped;
pub use restore::Restored;
pub use send::Sent;

use remote::{Listed, Made, Remote};

/// Where sealed segments are archived: a place in an object store, for any number of logs.
///
/// Clones are handles to one place.
#[derive(Clone, Debug)]
pub struct Archive {
    remote: Arc<Remote>,
    /// Manifests that were read. None changes; but somebody may remove one, and archive its segment once more.
    known: Arc<Mutex<Known>>,
}

type Known = BTreeMap<(LogId, SegmentNumber), (Made, Arc<ArchivedSegment>)>;

impl Archive {
    /// The archive at a place: a directory, as a path or `file:///…`, `s3://bucket/prefix` with the feature `s3`,
    /// `gs://bucket/prefix` with `gcs`, `az://container/prefix` with `azure`.
    ///
    /// Credentials and all other settings come from the environment, as the `object_store` crate documents them:
    /// `AWS_…`, `GOOGLE_…`, `AZURE_…`. Nothing is asked before it is used; a directory is made by the first put.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Place`] when the place makes no sense, or this program was built without its feature.
    pub fn open(place: &str) -> Result<Archive, ArchiveError> {
        let (store, prefix) = place::open(place)?;
        Ok(Archive::with(Remote::new(store, prefix, place)?))
    }

    /// The archive below `prefix` in any object store, which is called `shown` in messages.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Place`] when the prefix cannot be one.
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::Arc;
    /// use annals_archive::{Archive, object_store::memory::InMemory};
    ///
    /// let archive = Archive::on(Arc::new(InMemory::new()), "logs", "memory")?;
    /// assert!(archive.logs()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on(store: Arc<dyn ObjectStore>, prefix: &str, shown: &str) -> Result<Archive, ArchiveError> {
        let parsed = object_store::path::Path::parse(prefix)
            .map_err(|error| ArchiveError::Place { place: prefix.to_owned(), problem: error.to_string() })?;
        Ok(Archive::with(Remote::new(store, parsed, shown)?))
    }

    fn with(remote: Remote) -> Archive {
        Archive { remote: Arc::new(remote), known: Arc::default() }
    }

    /// The logs of which something is archived here.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Store`].
    pub fn logs(&self) -> Result<Vec<LogId>, ArchiveError> {
        let mut logs: Vec<LogId> = self.remote.folders()?.iter().filter_map(|name| name.parse().ok()).collect();
        logs.sort_unstable();
        Ok(logs)
    }

    /// The one log of which something is archived here.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NoLog`] when there is none, [`ArchiveError::ManyLogs`] when there are several.
    pub fn only_log(&self) -> Result<LogId, ArchiveError> {
        match &*self.logs()? {
            [] => Err(ArchiveError::NoLog { place: self.remote.shown().to_owned() }),
            [log] => Ok(*log),
            logs => Err(ArchiveError::ManyLogs { logs: logs.to_vec() }),
        }
    }

    /// The segments of a log that are archived: one behind the other, without a gap. None of their objects is read but the
    /// manifests, and each of these once.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Manifest`] and [`ArchiveError::Hole`] when the archive is damaged, [`ArchiveError::Store`].
    pub fn segments(&self, log: LogId) -> Result<Vec<Arc<ArchivedSegment>>, ArchiveError> {
        let found = self.manifests(log)?;
        for pair in found.windows(2) {
            let hole = |problem| ArchiveError::Hole { log, behind: pair[0].header.number, problem };
            pair[1].comes_behind(&pair[0]).map_err(hole)?;
        }
        Ok(found)
    }

    /// The manifests of a log, in the order of their segments.
    fn manifests(&self, log: LogId) -> Result<Vec<Arc<ArchivedSegment>>, ArchiveError> {
        let listed = self.remote.list(&names::manifests(log))?;
        let parsed = |listed: &Listed| names::parse_manifest(&listed.name).map(|named| (named, listed.made.clone()));
        let mut named: Vec<_> = listed.iter().filter_map(parsed).collect();
        named.sort_unstable_by_key(|(named, _)| *named);
        let missing: Vec<_> = {
            let known = self.known.lock();
            let is_known = |number, made| known.get(&(log, number)).is_some_and(|(known, _)| known == made);
            named.iter().filter(|((number, _), made)| !is_known(*number, made)).collect()
        };
        let paths: Vec<String> =
            missing.iter().map(|((number, base), _)| names::manifest(log, *number, *base)).collect();
        for (((number, base), made), (path, bytes)) in
            missing.iter().zip(paths.iter().zip(self.remote.get_all(&paths)?))
        {
            let manifest = self.remote.decode(path, &bytes)?;
            let is = (manifest.header.log_id, manifest.header.number, manifest.header.base);
            if is != (log, *number, *base) {
                let problem = "it speaks of another segment than its name".to_owned();
                return Err(ArchiveError::Manifest { object: self.remote.show(path), problem });
            }
            self.known.lock().insert((log, *number), (made.clone(), Arc::new(manifest)));
        }
        let known = self.known.lock();
        let manifest = |((number, _), _): &(_, _)| known.get(&(log, *number)).map(|(_, manifest)| Arc::clone(manifest));
        Ok(named.iter().filter_map(manifest).collect())
    }
}
