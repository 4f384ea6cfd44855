//! Who still needs the oldest events: what is kept beside the log says up to where each has come.

use std::fmt;
use std::io;

use annals_codec::{Checkpoint, Position, SNAPSHOT_HEADER_LEN, snapshot_mark};

use crate::log::names;
use crate::log::small_files::{list_whole, read_whole};
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

/// What could not be listed or read, and why.
type Failed = (String, io::Error);

/// Those who have not finished all that comes before `oldest`, or of whom nobody knows.
pub(super) fn behind(storage: &dyn Storage, oldest: Position) -> Result<Vec<Holder>, Failed> {
    let failed = |path: &str| {
        let path = storage.describe(path);
        move |error| (path, error)
    };
    let mut holders = Vec::new();
    let mut hold = |kind, name: String, position: Option<Position>| {
        if position.is_none_or(|position| position.plus(1) < oldest) {
            holders.push(Holder { kind, name, position });
        }
    };
    for name in list_whole(storage, names::CONSUMERS).map_err(failed(names::CONSUMERS))? {
        let path = format!("{}/{name}", names::CONSUMERS);
        let Some(bytes) = read_whole(storage, &path, Checkpoint::FILE_LEN).map_err(failed(&path))? else { continue };
        let position = Checkpoint::decode(&bytes).ok().map(|checkpoint| checkpoint.position());
        hold(HolderKind::Consumer, name, position);
    }
    for name in list_whole(storage, names::STATES).map_err(failed(names::STATES))? {
        let dir = format!("{}/{name}", names::STATES);
        let mut files = list_whole(storage, &dir).map_err(failed(&dir))?;
        files.retain(|file| names::is_state(file));
        let mut newest = None;
        for file in files.iter().rev() {
            let path = format!("{dir}/{file}");
            let head = read_head(storage, &path).map_err(failed(&path))?;
            newest = head.and_then(|head| snapshot_mark(&head)).map(|mark| mark.position);
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

/// The first bytes of a file; `None` when it has gone.
fn read_head(storage: &dyn Storage, path: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut head = vec![0; SNAPSHOT_HEADER_LEN];
    let read = file.read_at(0, &mut head)?;
    head.truncate(read);
    Ok(Some(head))
}
