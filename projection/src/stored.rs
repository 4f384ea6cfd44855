//! What is kept of projections beside a log, seen by somebody who folds nothing: [`stored_projections`].
//!
//! What is always true: nothing is changed, and nothing is believed. Each snapshot is looked at as a restart would look
//! at it, but for its state: what that means only its projection knows.

use annals::{EventStore, Position};
use annals_codec::Snapshot;

use crate::error::{ProjectionError, Skipped};
use crate::snapshot::{AREA, position_in, sound};

/// A projection of which snapshots are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredProjection {
    /// Its name.
    pub name: String,
    /// Where a restart would go on, if the schema version is the same: the newest snapshot that can be used.
    /// `None` when there is none, and it would begin at the beginning.
    pub position: Option<Position>,
    /// How many positions of the log come after that.
    pub lag: u64,
    /// Its snapshots, the newest first.
    pub snapshots: Vec<StoredSnapshot>,
}

/// A snapshot file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StoredSnapshot {
    /// Its name, in the folder of its projection.
    pub file: String,
    /// The position that its name says.
    pub position: Position,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Why it cannot be used; what follows is then not known.
    pub fault: Option<String>,
    /// The schema version of its state.
    pub schema_version: u32,
    /// How its state is encoded: 1 bincode, 2 JSON.
    pub codec: u16,
    /// When it was written: nanoseconds since 1970 UTC.
    pub written_at: i64,
    /// How many events were handed to the fold.
    pub handled: u64,
    /// The events that were left out.
    pub skipped: Vec<Skipped>,
}

/// All projections of which snapshots are kept beside a log, in the order of their names. Also beside the process that
/// keeps them, in a store that was opened read-only.
///
/// # Errors
///
/// [`ProjectionError::Keep`] when the folders cannot be listed. What is wrong with a snapshot is part of the answer.
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::{Projection, stored_projections};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// let placed = Projection::new("placed").when("Placed", |count: &mut u64, _| *count += 1).keep_snapshots(2);
/// let mut placed = placed.attach(&store)?;
/// placed.catch_up()?;
/// placed.take_snapshot()?;
///
/// let found = stored_projections(&store)?;
/// assert_eq!((found[0].name.as_str(), found[0].position, found[0].lag), ("placed", Some(store.head()), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stored_projections(store: &EventStore) -> Result<Vec<StoredProjection>, ProjectionError> {
    let mut all = Vec::new();
    for name in store.folders(AREA)? {
        let folder = store.folder_to_read(AREA, name.as_str())?;
        let mut found: Vec<(Position, String)> =
            folder.names()?.into_iter().filter_map(|file| Some((position_in(&file)?, file))).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let mut snapshots = Vec::new();
        for (position, file) in found {
            let read = folder.read(file.as_str()).map_err(|error| error.to_string());
            // When the next one was written meanwhile, this one is gone.
            if let Some(bytes) = read.as_ref().map(Option::as_deref).map_err(String::clone).transpose() {
                snapshots.push(StoredSnapshot::look(store, &name, position, file, bytes));
            }
        }
        let position = snapshots.iter().find(|snapshot| snapshot.fault.is_none()).map(|snapshot| snapshot.position);
        let lag = store.head().get().saturating_sub(position.unwrap_or_default().get());
        all.push(StoredProjection { name, position, lag, snapshots });
    }
    Ok(all)
}

/// Whether the bytes of a snapshot file are whole, and of the history of this log. `file` is its path: the folder that it
/// is in is the name of its projection.
///
/// # Errors
///
/// Why a restart would not use it.
pub fn verify_snapshot(store: &EventStore, projection: &str, file: &str, bytes: &[u8]) -> Result<(), String> {
    let position = position_in(file).ok_or("its name is not that of a snapshot: 20 digits and .snap")?;
    sound(store, projection, position, bytes).map(drop)
}

impl StoredSnapshot {
    fn look(
        store: &EventStore,
        name: &str,
        position: Position,
        file: String,
        bytes: Result<&[u8], String>,
    ) -> StoredSnapshot {
        let len = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let found = bytes.and_then(|bytes| sound(store, name, position, bytes));
        let empty = StoredSnapshot {
            file,
            position,
            bytes: len,
            fault: None,
            schema_version: 0,
            codec: 0,
            written_at: 0,
            handled: 0,
            skipped: Vec::new(),
        };
        match found {
            Err(fault) => StoredSnapshot { fault: Some(fault), ..empty },
            Ok((Snapshot { schema_version, codec, written_at, .. }, notes)) => StoredSnapshot {
                schema_version,
                codec,
                written_at,
                handled: notes.handled,
                skipped: notes.skipped,
                ..empty
            },
        }
    }
}
