//! Comparing a backup with its manifest, where it lies.

use std::io;

use annals_codec::{ListedFile, Manifest};

use super::judge;
use super::target::manifest;
use super::{CopyError, target};
use crate::log::names;
use crate::parallel;
use crate::storage::{Access, Storage};

/// What is wrong with a copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) what: String,
}

/// What there is to say of a directory as a backup; `None` of one that never was one.
pub(crate) fn check(storage: &dyn Storage, threads: usize) -> Option<(Option<Manifest>, Vec<Fault>)> {
    let fault = |path: &str, what: String| Fault { path: path.to_owned(), what };
    let manifest = match manifest(storage) {
        Ok((Some(manifest), _)) => manifest,
        Ok((None, false)) => return None,
        Ok((None, true)) => {
            let what = "the backup was interrupted, and is not whole; `annals backup` into it once more finishes it";
            return Some((None, vec![fault(names::UNFINISHED, what.to_owned())]));
        }
        Err(CopyError::NotWhole { problem, .. }) => return Some((None, vec![fault(names::BACKUP, problem)])),
        Err(error) => return Some((None, vec![fault(names::BACKUP, error.to_string())])),
    };
    let found = parallel::each(threads, manifest.files.len(), |index| {
        let listed = &manifest.files[index];
        wrong(storage, listed).map(|what| fault(&listed.path, what))
    });
    let mut found: Vec<Fault> = found.into_iter().flatten().collect();
    let is_listed = |path: &str| manifest.files.binary_search_by(|file| (*file.path).cmp(path)).is_ok();
    for name in storage.list(names::SEGMENTS).unwrap_or_default() {
        let path = target::join(names::SEGMENTS, &name);
        if !is_listed(&path) && !names::is_temporary(names::SEGMENTS, &name) {
            found.push(fault(&path, "the manifest of the backup does not list it".to_owned()));
        }
    }
    Some((Some(manifest), found))
}

fn wrong(storage: &dyn Storage, listed: &ListedFile) -> Option<String> {
    let read = || {
        let file = storage.open(&listed.path, Access::Read)?;
        let len = file.len()?;
        Ok::<_, io::Error>((len, judge::digest(file, len)?))
    };
    match read() {
        Ok((len, digest)) if (len, digest) == (listed.len, listed.digest) => None,
        Ok((len, _)) if len != listed.len => {
            Some(format!("it is {len} bytes long, and was {} in the backup", listed.len))
        }
        Ok((_, digest)) => Some(format!("it is not what was backed up: its digest is {digest}, not {}", listed.digest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("it is missing from the backup".to_owned()),
        Err(error) => Some(format!("it cannot be read: {error}")),
    }
}
