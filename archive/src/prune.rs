//! Removing local copies of what is archived.
//!
//! What is always true: a local segment goes only after its object was read back, as a whole, and had the digest in its
//! manifest; and after all that came before it did. Retention itself does the removing, with its guard.

use std::path::Path;

use annals::{EventStore, Guard, Position, Truncation};

use crate::error::ArchiveError;
use crate::local::Local;
use crate::send::Both;
use crate::{Archive, judge, names};

/// What was removed here, and is in the archive.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dropped {
    /// How many objects were read back and compared.
    pub checked: u64,
    /// How many bytes these have.
    pub checked_bytes: u64,
    /// What retention has removed.
    pub truncation: Truncation,
}

impl Archive {
    /// Removes the segments from the store that hold nothing from `before` on, as
    /// [`truncate_before`](EventStore::truncate_before) does, as far as they are archived: each only after its object
    /// was read back and compared. `dir` is the store's directory. For "all but the newest so many events, bytes or days",
    /// give [`kept_from`](EventStore::kept_from).
    ///
    /// What is not archived yet stays, without an error: [`send`](Archive::send) it first.
    ///
    /// # Errors
    ///
    /// - [`ArchiveError::Missing`], [`ArchiveError::Changed`]: an object is not what was archived. Nothing was removed.
    /// - [`ArchiveError::Clash`]: what is archived is not this store's. Nothing was removed.
    /// - [`ArchiveError::Redacted`]: the archive holds what was redacted here since. Nothing was removed.
    /// - [`ArchiveError::Truncate`]: of [`truncate_before`](EventStore::truncate_before); with [`Guard::Consumers`],
    ///   consumers and projections that are behind, by name.
    /// - [`ArchiveError::Store`], [`ArchiveError::Io`]: nothing was removed.
    pub fn drop_local(
        &self,
        store: &EventStore,
        dir: impl AsRef<Path>,
        before: Position,
        guard: Guard,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Dropped, ArchiveError> {
        let local = Local::new(dir.as_ref())?;
        if local.log_id != store.log_id() {
            return Err(ArchiveError::OtherLog { log: store.log_id(), place: local.storage.describe("") });
        }
        let log = local.log_id;
        let Both { archived, here, redacted } = self.both(&local, false)?;
        let goes = here.sealed.iter().take_while(|file| file.last < before);
        let find = |number| archived.binary_search_by_key(&number, |segment| segment.header.number).ok();
        let goes: Vec<_> = goes.map_while(|file| find(file.number).map(|at| &archived[at])).collect();
        if let Some(segment) = goes.iter().find(|segment| redacted.contains(&segment.header.number)) {
            let (segment, base) = (segment.header.number, segment.header.base);
            let object = self.remote.show(&names::segment(log, segment, base));
            return Err(ArchiveError::Redacted { log, segment, object });
        }
        // Who is behind is told before anything is fetched.
        let until = goes.last().map_or(Position::START, |last| last.seal.last);
        let plan = store.plan_truncation(until.plus(1))?;
        if guard == Guard::Consumers && !plan.behind.is_empty() {
            let error = annals::TruncateError::Behind { oldest: plan.oldest, holders: plan.behind };
            return Err(error.into());
        }
        let (all, mut done) = (goes.iter().map(|segment| segment.file_len()).sum(), 0);
        progress(0, all);
        for segment in &goes {
            let path = names::segment(log, segment.header.number, segment.header.base);
            let object = || self.remote.show(&path);
            let there = self.remote.get(&path)?.ok_or_else(|| ArchiveError::Missing { object: object() })?;
            if let Some(problem) = judge::difference(&there, segment) {
                return Err(ArchiveError::Changed { object: object(), problem });
            }
            done += segment.file_len();
            progress(done, all);
        }
        let truncation = if goes.is_empty() { plan } else { store.truncate_before(until.plus(1), guard)? };
        Ok(Dropped { checked: goes.len() as u64, checked_bytes: done, truncation })
    }
}
