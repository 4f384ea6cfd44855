//! Snapshots: states in files, each bound to the history that it was folded from.
//!
//! What is always true:
//!
//! - A snapshot speaks only of events that are durable, so it is never ahead of the log.
//! - One that cannot be used is left alone and told: damaged, of another history or beyond its end, of another schema
//!   version, or one whose state does not decode. The next older one is tried, and then there is the log.
//! - An old one is removed when a newer one is durable, not before.

use std::collections::BTreeSet;

use annals::{EventStore, FileName, Folder, Position};
use annals_codec::Snapshot;
use annals_codec::payload::{from_bincode, to_bincode};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ProjectionError, Skipped, what_it_said};
use crate::planted::{self, Bug};
use crate::progress::Progress;

/// The area of the store in which each projection has its folder.
pub(crate) const AREA: &str = "snap";
const EXTENSION: &str = ".snap";
const DIGITS: usize = 20;

/// How a state is encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    Bincode = 1,
    Json = 2,
}

type Encode<S> = fn(&S, Encoding) -> Result<Vec<u8>, String>;
type Decode<S> = fn(&[u8], u16) -> Result<S, String>;

/// When snapshots are taken and how.
pub(crate) struct Plan<S> {
    pub(crate) every: u64,
    pub(crate) keep: usize,
    pub(crate) encoding: Encoding,
    encode: Encode<S>,
    decode: Decode<S>,
}

/// What is kept beside a state in its snapshot.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, Serialize)]
#[non_exhaustive]
pub struct SnapshotNotes {
    /// How many events were handed to the fold.
    pub handled: u64,
    /// The events that were left out.
    pub skipped: Vec<Skipped>,
}

impl SnapshotNotes {
    /// Reads the notes of a snapshot file.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::State`] when they are none.
    pub fn decode(notes: &[u8]) -> Result<SnapshotNotes, ProjectionError> {
        serde_json::from_slice(notes).map_err(|error| ProjectionError::State(error.to_string()))
    }
}

/// A snapshot that was not used, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct IgnoredSnapshot {
    /// Its file, in the projection's folder.
    pub file: String,
    /// Why it was not used.
    pub reason: String,
}

impl<S: Serialize + DeserializeOwned> Plan<S> {
    pub(crate) fn new() -> Plan<S> {
        Plan {
            every: u64::MAX,
            keep: 2,
            encoding: Encoding::Bincode,
            encode: |state, encoding| match encoding {
                Encoding::Bincode => to_bincode(state).map_err(|error| error.to_string()),
                Encoding::Json => serde_json::to_vec(state).map_err(|error| error.to_string()),
            },
            decode: |bytes, codec| match codec {
                codec if codec == Encoding::Bincode as u16 => from_bincode(bytes).map_err(|error| error.to_string()),
                codec if codec == Encoding::Json as u16 => {
                    serde_json::from_slice(bytes).map_err(|error| error.to_string())
                }
                codec => Err(format!("this program knows no codec {codec}")),
            },
        }
    }
}

impl<S> Plan<S> {
    pub(crate) fn encoded(&self, state: &S) -> Result<Vec<u8>, ProjectionError> {
        (self.encode)(state, self.encoding).map_err(ProjectionError::State)
    }
}

/// The state in a snapshot, if it is of this schema version and decodes.
pub(crate) fn decode_state<S>(plan: &Plan<S>, snapshot: &Snapshot<'_>, schema_version: u32) -> Result<S, String> {
    if snapshot.schema_version != schema_version {
        return Err(format!("its schema has version {}, not {schema_version}", snapshot.schema_version));
    }
    let decode = || (plan.decode)(snapshot.payload, snapshot.codec);
    std::panic::catch_unwind(decode).map_err(|panic| what_it_said(&*panic))?
}

/// The snapshots of one projection.
#[derive(Debug)]
pub(crate) struct Snapshots {
    folder: Folder,
    name: FileName,
    schema_version: u32,
    /// Those that could not be used.
    bad: Mutex<BTreeSet<String>>,
}

/// The position in a snapshot's name; `None` for any other name.
pub(crate) fn position_in(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(EXTENSION)?;
    let is_plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain).map(Position::new)
}

fn name_of(position: Position) -> String {
    format!("{:020}{EXTENSION}", position.get())
}

impl Snapshots {
    pub(crate) fn open(store: &EventStore, name: &FileName, schema_version: u32) -> Result<Snapshots, ProjectionError> {
        let folder = store.folder(AREA, name)?;
        Ok(Snapshots { folder, name: name.clone(), schema_version, bad: Mutex::default() })
    }

    /// Whether none can be written: the store is only read.
    pub(crate) fn is_read_only(&self) -> bool {
        self.folder.is_read_only()
    }

    /// The names of all snapshots, the newest first.
    fn newest_first(&self) -> Result<Vec<(Position, String)>, ProjectionError> {
        let names = self.folder.names()?;
        let mut found: Vec<_> = names.into_iter().filter_map(|name| Some((position_in(&name)?, name))).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The newest state that can be used, and what was not used.
    pub(crate) fn load<S: Clone + Send + Sync + 'static>(
        &self,
        plan: &Plan<S>,
    ) -> Result<(Option<Progress<S>>, Vec<IgnoredSnapshot>), ProjectionError> {
        let mut ignored = Vec::new();
        for (position, file) in self.newest_first()? {
            match self.read(plan, position, &file) {
                Ok(progress) => return Ok((Some(progress), ignored)),
                Err(reason) => {
                    tracing::warn!(projection = %self.name, file, reason, "a snapshot is not used");
                    self.bad.lock().insert(file.clone());
                    ignored.push(IgnoredSnapshot { file, reason });
                }
            }
        }
        Ok((None, ignored))
    }

    fn read<S: Clone + Send + Sync + 'static>(
        &self,
        plan: &Plan<S>,
        position: Position,
        file: &str,
    ) -> Result<Progress<S>, String> {
        let bytes = self.folder.read(file).map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or("it is gone")?;
        let (snapshot, notes) = sound(self.folder.store(), &self.name, position, &bytes)?;
        let state = decode_state(plan, &snapshot, self.schema_version)?;
        Ok(Progress::resumed(state, position, notes.handled, notes.skipped))
    }

    /// Encodes what is to be kept.
    pub(crate) fn encode<S>(plan: &Plan<S>, kept: &Kept<'_, S>) -> Result<Taken, ProjectionError> {
        let notes = serde_json::to_vec(&kept.notes).map_err(|error| ProjectionError::State(error.to_string()))?;
        let payload = plan.encoded(kept.state)?;
        Ok(Taken { position: kept.position, encoding: plan.encoding, notes, payload })
    }

    /// Keeps what was encoded; then older ones go, and those that could not be used.
    pub(crate) fn write(&self, taken: &Taken, keep: usize) -> Result<(), ProjectionError> {
        let _span = tracing::debug_span!("snapshot", projection = %self.name, position = %taken.position).entered();
        // Also makes durable what it was folded from.
        let mark = self.folder.store().mark(taken.position)?;
        let file = Snapshot {
            name: &self.name,
            mark,
            schema_version: self.schema_version,
            codec: taken.encoding as u16,
            written_at: self.folder.store().now(),
            notes: &taken.notes,
            payload: &taken.payload,
        };
        let name = name_of(taken.position);
        self.folder.write(name.as_str(), &file.encode())?;
        let mut bad = self.bad.lock();
        bad.remove(&name);
        // One that is bad must not crowd out a good one, however new it is.
        let (gone, good): (Vec<_>, Vec<_>) = self.newest_first()?.into_iter().partition(|(_, name)| bad.contains(name));
        self.folder.remove(good.into_iter().skip(keep).chain(gone).map(|(_, name)| name))?;
        Ok(())
    }

    /// Removes all of them.
    pub(crate) fn discard(&self) -> Result<(), ProjectionError> {
        let found = self.newest_first()?;
        self.folder.remove(found.into_iter().map(|(_, name)| name))?;
        Ok(())
    }
}

/// A snapshot file whose bytes are whole, that is the one its name says, and of this history of the log. What its
/// state means is for its projection to say.
pub(crate) fn sound<'a>(
    store: &EventStore,
    name: &str,
    position: Position,
    bytes: &'a [u8],
) -> Result<(Snapshot<'a>, SnapshotNotes), String> {
    let snapshot = bound_to_log(store, name, bytes)?;
    if snapshot.position() != position {
        return Err(format!("it is of position {}", snapshot.position()));
    }
    let notes = SnapshotNotes::decode(snapshot.notes).map_err(|error| error.to_string())?;
    Ok((snapshot, notes))
}

/// A snapshot file whose bytes are whole, of this name, and of this history of the log.
pub(crate) fn bound_to_log<'a>(store: &EventStore, name: &str, bytes: &'a [u8]) -> Result<Snapshot<'a>, String> {
    let snapshot = Snapshot::decode(bytes).map_err(|fault| fault.to_string())?;
    if snapshot.name != name {
        return Err(format!("it is a snapshot of {}", snapshot.name));
    }
    if !planted::has(Bug::SnapshotNewerThanLog) {
        store.check_mark("the snapshot", &snapshot.mark).map_err(|error| error.to_string())?;
    }
    Ok(snapshot)
}

/// A state and all that is said beside it, to be encoded.
pub(crate) struct Kept<'a, S> {
    pub(crate) state: &'a S,
    pub(crate) position: Position,
    pub(crate) notes: SnapshotNotes,
}

/// A state that is encoded and not written yet.
pub(crate) struct Taken {
    pub(crate) position: Position,
    encoding: Encoding,
    notes: Vec<u8>,
    payload: Vec<u8>,
}
