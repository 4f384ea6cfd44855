//! Who still needs the oldest events: what is kept beside the log says up to where each has come.

use std::fmt;
use std::io;

use annals_codec::{Checkpoint, Position, snapshot_origin};

use crate::log::names;
use crate::log::small_files::list_whole;
use crate::storage::{Access, Storage};

/// What somebody is who needs events.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HolderKind {
    /// A consumer with a durable checkpoint.
    Consumer,
    /// A projection that keeps snapshots; it goes on from the newest one.
    Projected,
}

/// Somebody who has not finished events that would be removed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Holder {
    /// What it is.
    pub kind: HolderKind,
    /// Its name.
    pub name: String,
    /// Up to where it has come; `None` when its file cannot be read.
    pub position: Option<Position>,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            HolderKind::Consumer => "consumer",
            HolderKind::Projected => "projection",
        };
        match self.position {
            Some(position) => write!(out, "{what} {} (at {position})", self.name),
            None => write!(out, "{what} {} (whose file cannot be read)", self.name),
        }
    }
}

/// What could not be done, to which file, and why.
pub(super) type Failed = (&'static str, String, io::Error);

/// Those who have not finished all that comes before `oldest`, or of whom nobody knows.
///
/// With `settle` everything that is believed is on the disk afterwards: what is only in the page cache, of a process
/// that died before its sync, may be gone with the power, and its owner would need again what was removed meanwhile.
pub(super) fn behind(storage: &dyn Storage, oldest: Position, settle: bool) -> Result<Vec<Holder>, Failed> {
    let reader = Reader { storage, settle };
    let mut holders = Vec::new();
    let mut hold = |kind, name: String, position: Option<Position>| {
        if position.is_none_or(|position| position.plus(1) < oldest) {
            holders.push(Holder { kind, name, position });
        }
    };
    for name in reader.list(names::CONSUMERS)? {
        let path = format!("{}/{name}", names::CONSUMERS);
        let Some(bytes) = reader.read(&path)? else { continue };
        let slots = &bytes[..bytes.len().min(Checkpoint::FILE_LEN)];
        let position = Checkpoint::decode(slots).ok().map(|checkpoint| checkpoint.position());
        hold(HolderKind::Consumer, name, position);
    }
    for name in reader.list(names::STATES)? {
        let dir = format!("{}/{name}", names::STATES);
        let mut files = reader.list(&dir)?;
        files.retain(|file| names::is_state(file));
        let mut newest = None;
        for file in files.iter().rev() {
            // As a whole: one of which a byte is wrong is no use to who goes on from it.
            let whole = reader.read(&format!("{dir}/{file}"))?;
            newest = whole.and_then(|whole| snapshot_origin(&whole).ok().map(|(_, mark)| mark.position));
            if newest.is_some() {
                break;
            }
        }
        if !files.is_empty() {
            hold(HolderKind::Projected, name, newest);
        }
    }
    Ok(holders)
}

/// Reads what others keep beside the log.
struct Reader<'a> {
    storage: &'a dyn Storage,
    settle: bool,
}

impl Reader<'_> {
    fn failed(&self, action: &'static str, path: &str) -> impl FnOnce(io::Error) -> Failed {
        let path = self.storage.describe(path);
        move |error| (action, path, error)
    }

    /// The files of a directory, which have their names for good.
    fn list(&self, dir: &str) -> Result<Vec<String>, Failed> {
        let listed = list_whole(self.storage, dir).map_err(self.failed("list", dir))?;
        if self.settle && !listed.is_empty() {
            let parent = dir.rsplit_once('/').map_or("", |(parent, _)| parent);
            for dir in [parent, dir] {
                self.storage.sync_dir(dir).map_err(self.failed("sync", dir))?;
            }
        }
        Ok(listed)
    }

    /// A whole file, as the disk has it; `None` when it has gone.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failed> {
        let file = match self.storage.open(path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(self.failed("open", path))?,
        };
        if self.settle {
            file.sync().map_err(self.failed("sync", path))?;
        }
        let len = file.len().map_err(self.failed("read", path))?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        // An earlier sync of these bytes may have failed: then the cache calls clean what the disk does not have.
        let read = if self.settle {
            file.read_from_disk(0, &mut bytes).map(|(read, _)| read)
        } else {
            file.read_at(0, &mut bytes)
        };
        bytes.truncate(read.map_err(self.failed("read", path))?);
        Ok(Some(bytes))
    }
}
