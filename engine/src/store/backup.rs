//! Taking a backup of a store that is open: pin what it holds, make that durable, copy it.
//!
//! What is always true: appends go on meanwhile, and no lock of theirs is held but for the one sync.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals_codec::{FileName, META_FILE_LEN, StoreMeta};

use super::{EventStore, Role};
use crate::copy::take::{Pinned, has_moved, take};
use crate::copy::{BackupOptions, BackupReport, CopyError, Copying};
use crate::log::names;
use crate::log::small_files::{list_whole, read_file, read_whole};
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;
use crate::sync::thread;

/// How often it is begun anew because retention has removed what was to be copied, or a redaction has changed it.
const TRIES: usize = 10;

/// And how long it waits before that.
const PAUSE: Duration = Duration::from_millis(2);

impl EventStore {
    /// Copies the store into `dir`, while it is used, as it is at one position: all that was acknowledged before
    /// this call is in it.
    ///
    /// Sealed segments get a second name where the file system can do that, and are copied otherwise; what is still
    /// appended to is copied. A second backup into the same directory takes only what is new. Appends go on; their
    /// syncs wait for one more. Works on a store that is open read-only, too, in whatever process the writer is.
    ///
    /// Every segment is read when it is first taken: a damaged store is not backed up. When this returns, the backup
    /// is durable, with a manifest (`BACKUP`) that has the digest of each file. [`restore`](crate::restore) makes a
    /// store of it, [`verify`](crate::inspect::verify) checks it where it lies.
    ///
    /// Indexes are left out, which are made again, and so are folders of others
    /// ([`folder`](EventStore::folder)), snapshots among them.
    ///
    /// # Errors
    ///
    /// - [`CopyError::Damaged`]: something of the store is; [`CopyError::NotDurable`]: it takes no appends.
    /// - [`CopyError::NotABackup`]: the directory holds something else.
    /// - [`CopyError::OtherLog`], [`CopyError::OtherHistory`]: it holds a backup that this would not be a
    ///   continuation of.
    /// - [`CopyError::InUse`], [`CopyError::Read`], [`CopyError::Io`].
    ///
    /// A backup that was there before stays whole until the new one is all but done; one that was interrupted is
    /// finished by the next.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{BackupOptions, EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let (dir, backup, other) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
    /// let store = EventStore::open(dir, &Options::new())?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let report = store.backup_to(&backup, &BackupOptions::new())?;
    /// assert_eq!(report.mark.position, store.head());
    ///
    /// annals::restore(&backup, &other)?;
    /// assert_eq!(EventStore::open(other, &Options::new())?.head(), store.head());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup_to(&self, dir: impl AsRef<Path>, options: &BackupOptions) -> Result<BackupReport, CopyError> {
        self.backup_on(&DiskStorage::new(dir.as_ref()), options)
    }

    /// Copies the store to any storage.
    ///
    /// # Errors
    ///
    /// As [`backup_to`](EventStore::backup_to).
    pub fn backup_on(&self, to: &dyn Storage, options: &BackupOptions) -> Result<BackupReport, CopyError> {
        for _ in 1..TRIES {
            match self.pin().and_then(|pinned| take(&pinned, to, options)) {
                Err(error) if has_moved(&error) => {
                    tracing::info!(%error, "the backup begins anew");
                    // One that only reads goes on reading the files that it has opened.
                    if let Role::Follower(_) = &self.inner.role
                        && let Ok(anew) = EventStore::open_read_only_on(Arc::clone(&self.inner.storage))
                        && let Ok(report) = anew.pin().and_then(|pinned| take(&pinned, to, options))
                    {
                        return Ok(report);
                    }
                    // A redaction in another process takes a moment.
                    thread::sleep(PAUSE);
                }
                done => return done,
            }
        }
        take(&self.pin()?, to, options)
    }

    /// What the store holds now, all of it durable.
    fn pin(&self) -> Result<Pinned<'_>, CopyError> {
        let storage = &*self.inner.storage;
        let (consumers, notes) = self.checkpoints()?;
        // What the log says of redactions and what the files hold has to be of one moment.
        let _none_begins = match &self.inner.role {
            Role::Writer(side) => Some(side.beside.retaining.lock()),
            Role::Follower(_) => None,
        };
        self.follow()?;
        self.finish_redactions()?;
        let (_, view) = self.inner.published.pin();
        let end = view.segments.last().map_or(0, |last| last.log.committed());
        if let Role::Writer(_) = &self.inner.role {
            self.flush().map_err(CopyError::NotDurable)?;
        }
        let floor = read_file(storage, names::FLOOR).copying("read", || storage.describe(names::FLOOR))?;
        let lost = read_file(storage, names::LOST).copying("read", || storage.describe(names::LOST))?;
        let meta = read_whole(storage, names::META, META_FILE_LEN).copying("read", || storage.describe(names::META))?;
        let meta = meta.and_then(|meta| StoreMeta::decode(&meta).ok());
        let (epoch, _) = self.inner.published.facts();
        Ok(Pinned {
            storage,
            log_id: self.inner.log_id,
            view,
            end,
            epoch: meta.map_or(epoch, |meta| meta.epoch.max(epoch)),
            created_at: meta.map_or(0, |meta| meta.created_at),
            now: self.inner.options.clock.now(),
            floor,
            lost,
            consumers,
            notes,
            mark: Box::new(|position| self.mark(position).map_err(|error| CopyError::of_mark(position, error))),
        })
    }

    /// No redaction is recorded and not carried out.
    fn finish_redactions(&self) -> Result<(), CopyError> {
        let storage = &*self.inner.storage;
        let shown = || storage.describe(names::SEGMENTS);
        let listed = storage.list(names::SEGMENTS).copying("list", shown)?;
        if !listed.iter().any(|name| names::parse_redacted_segment(name).is_some()) {
            return Ok(());
        }
        let finished = match &self.inner.role {
            Role::Writer(side) => side.beside.finish_redactions().map_err(io::Error::other),
            // Its writer is about to; or there is none any more, and the next one does it.
            Role::Follower(_) => {
                let fault =
                    "a redaction is being carried out, or was interrupted: opening the store for writing ends it";
                Err(io::Error::new(io::ErrorKind::NotFound, fault))
            }
        };
        finished.copying("back up", shown)
    }

    /// The checkpoints of all consumers; and what is to be said of those that are of no use.
    #[allow(clippy::type_complexity)] // said in the line above
    fn checkpoints(&self) -> Result<(Vec<(String, annals_codec::Checkpoint)>, Vec<String>), CopyError> {
        let storage = &*self.inner.storage;
        let listed = list_whole(storage, names::CONSUMERS).copying("list", || storage.describe(names::CONSUMERS))?;
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        for name in listed.iter().filter_map(|name| FileName::new(name).ok()) {
            match self.read_checkpoint(&name) {
                Ok(Some(checkpoint)) => found.push((name.to_string(), checkpoint)),
                Ok(None) => {}
                Err(error) => notes.push(format!("consumer {name} is not in the backup: {error}")),
            }
        }
        Ok((found, notes))
    }
}
