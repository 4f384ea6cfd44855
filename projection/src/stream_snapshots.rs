//! Snapshots of single streams: the states of long ones, so that not all of a stream is read each time.
//!
//! A projection folds the log once and has its state; the state of a stream is folded whenever somebody asks. For a
//! stream of ten thousand events that is worth a file: one for each stream, replaced as the stream grows.
//!
//! What is always true: as of all snapshots. One that cannot be used, whatever the reason, is told and ignored, and then
//! there is the stream; and whether there is one changes no answer.

use std::fmt;

use annals::{Event, EventStore, FileName, Folder, IntoName, Position, StreamId, StreamVersion};
use annals_codec::{Hasher, Snapshot};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decider::{DecideError, Decided, Decider, evolving, execute_from};
use crate::error::ProjectionError;
use crate::fold::{Fold, HandlerError};
use crate::reconstruct::{Reconstructed, UpTo, go_on};
use crate::snapshot::{IgnoredSnapshot, Plan, bound_to_log, decode_state};

/// Where the folders of such snapshots are.
const AREA: &str = "streams";
/// A snapshot is written when so many events came after the last one.
const EVERY: u64 = 1000;

/// What stands beside the state of a stream.
#[derive(Deserialize, Serialize)]
struct Of {
    stream: String,
    version: u64,
}

/// Keeps the states of long streams in files, and folds only what came after them.
///
/// [`reconstruct_state`](StreamSnapshots::reconstruct_state) and [`execute`](StreamSnapshots::execute) give what the functions
/// of these names give, sooner. When they had to fold a thousand events ([`every`](StreamSnapshots::every)), the state is
/// written to a file, `streams/NAME/…` beside the log: that takes a sync of the log, if there is something to sync, and two
/// of its own, in the thread that asked.
///
/// A file speaks for one stream, one kind of state and one version of its schema, and is bound to the history of the log,
/// like the snapshots of projections. When retention has removed the beginning of a stream, a state that was kept behind
/// that point still leads on.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::{Handlers, StreamSnapshots, UpTo};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append_batch("clock-1", ExpectedVersion::Any, vec![NewEvent::new("Ticked", ""); 2500])?;
///
/// let ticks = Handlers::new(0_u64).when("Ticked", |ticks, _| *ticks += 1);
/// let snapshots = StreamSnapshots::open(&store, "ticks")?.schema_version(1);
/// assert_eq!(snapshots.reconstruct_state("clock-1", &ticks, UpTo::Head)?.state, 2500);
/// // The second time nothing is folded: the state was kept.
/// assert_eq!(snapshots.reconstruct_state("clock-1", &Handlers::new(0), UpTo::Head)?.state, 2500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamSnapshots<S> {
    folder: Folder,
    name: FileName,
    schema_version: u32,
    plan: Plan<S>,
    /// Held while a file is written: one at a time.
    writing: Mutex<()>,
    /// What [`StreamSnapshots::take_problem`] gives.
    problem: Mutex<Option<IgnoredSnapshot>>,
}

impl<S> fmt::Debug for StreamSnapshots<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StreamSnapshots { name, schema_version, .. } = self;
        let mut out = out.debug_struct("StreamSnapshots");
        out.field("name", name).field("schema_version", schema_version).finish_non_exhaustive()
    }
}

impl<S: Serialize + DeserializeOwned> StreamSnapshots<S> {
    /// The snapshots of this name, which is that of their folder: one for each kind of state. In a store that is open for
    /// writing one handle at a time has it; in one that is only read any number, and none is written.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::NameInUse`], [`ProjectionError::InvalidName`].
    pub fn open(store: &EventStore, name: impl IntoName<FileName>) -> Result<StreamSnapshots<S>, ProjectionError> {
        let name = name.into_name()?;
        let folder = store.folder(AREA, &name)?;
        let mut plan = Plan::new();
        plan.every = EVERY;
        Ok(StreamSnapshots {
            folder,
            name,
            schema_version: 0,
            plan,
            writing: Mutex::default(),
            problem: Mutex::default(),
        })
    }

    /// After how many events of a stream its state is written again. Default: 1000. 0 counts as 1.
    #[must_use]
    pub fn every(mut self, events: u64) -> StreamSnapshots<S> {
        self.plan.every = events.max(1);
        self
    }

    /// The version of the state's schema and of what the fold makes of events. Default: 0. Files of another version are
    /// not used: change it together with the fold.
    #[must_use]
    pub fn schema_version(mut self, version: u32) -> StreamSnapshots<S> {
        self.schema_version = version;
        self
    }
}

impl<S> StreamSnapshots<S> {
    /// The last problem with a file, which made no difference to an answer: one that was not used, or could not be
    /// written. Asked once, it is forgotten.
    pub fn take_problem(&self) -> Option<IgnoredSnapshot> {
        self.problem.lock().take()
    }

    /// Folds one stream, as [`reconstruct_state`](crate::reconstruct_state) does, from its snapshot on if that lies before the moment.
    ///
    /// # Errors
    ///
    /// As [`reconstruct_state`](crate::reconstruct_state).
    pub fn reconstruct_state<F: Fold<State = S>>(
        &self,
        stream: impl IntoName<StreamId>,
        fold: &F,
        up_to: UpTo,
    ) -> Result<Reconstructed<S>, ProjectionError> {
        let apply = |state: &mut S, event: &Event<'_>| fold.apply(state, event);
        self.load(&stream.into_name()?, || fold.initial(), apply, up_to)
    }

    /// Carries out a command, as [`execute`](crate::execute) does, on a state that begins with the stream's snapshot.
    ///
    /// # Errors
    ///
    /// As [`execute`](crate::execute).
    pub fn execute<D: Decider<State = S>>(
        &self,
        stream: impl IntoName<StreamId>,
        decider: &D,
        command: &D::Command,
    ) -> Result<Decided<S>, DecideError<D::Error>> {
        let stream = stream.into_name().map_err(ProjectionError::from)?;
        let loaded = self.load(&stream, || decider.initial(), evolving(decider), UpTo::Head)?;
        execute_from(self.folder.store(), &stream, decider, command, loaded)
    }

    fn load(
        &self,
        stream: &StreamId,
        initial: impl Fn() -> S,
        apply: impl Fn(&mut S, &Event<'_>) -> Result<(), HandlerError>,
        up_to: UpTo,
    ) -> Result<Reconstructed<S>, ProjectionError> {
        let start = || Reconstructed { state: initial(), version: StreamVersion::EMPTY, position: Position::START };
        let kept = self.read(stream, up_to).unwrap_or_else(|reason| {
            self.tell(stream, reason);
            None
        });
        let from = kept.unwrap_or_else(start);
        let kept_up_to = from.version;
        let done = go_on(self.folder.store(), stream, apply, from, up_to)?;
        let is_due = done.version.get() - kept_up_to.get() >= self.plan.every;
        if is_due && !self.folder.is_read_only() {
            self.write(stream, &done).unwrap_or_else(|error| self.tell(stream, error.to_string()));
        }
        Ok(done)
    }

    /// The state that is kept of a stream, if it can be used and is not later than what is asked for.
    fn read(&self, stream: &StreamId, up_to: UpTo) -> Result<Option<Reconstructed<S>>, String> {
        let bytes = self.folder.read(file_of(stream)).map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else { return Ok(None) };
        let snapshot = bound_to_log(self.folder.store(), &self.name, &bytes)?;
        let of: Of = serde_json::from_slice(snapshot.notes).map_err(|error| error.to_string())?;
        if of.stream != **stream {
            return Err(format!("it is of the stream {}", of.stream));
        }
        let (version, position) = (StreamVersion::new(of.version), snapshot.position());
        let is_later = match up_to {
            UpTo::Head => false,
            UpTo::Version(wanted) => version > wanted,
            UpTo::Position(wanted) => position > wanted,
            // When its last event was recorded is not in it.
            UpTo::Time(_) => true,
        };
        if is_later {
            return Ok(None);
        }
        let state = decode_state(&self.plan, &snapshot, self.schema_version)?;
        Ok(Some(Reconstructed { state, version, position }))
    }

    fn write(&self, stream: &StreamId, done: &Reconstructed<S>) -> Result<(), ProjectionError> {
        let of = Of { stream: stream.to_string(), version: done.version.get() };
        let notes = serde_json::to_vec(&of).map_err(|error| ProjectionError::State(error.to_string()))?;
        let payload = self.plan.encoded(&done.state)?;
        // Also makes durable what it was folded from.
        let mark = self.folder.store().mark(done.position)?;
        let file = Snapshot {
            name: &self.name,
            mark,
            schema_version: self.schema_version,
            codec: self.plan.encoding as u16,
            written_at: self.folder.store().now(),
            notes: &notes,
            payload: &payload,
        };
        let _one_at_a_time = self.writing.lock();
        self.folder.write(file_of(stream), &file.encode())?;
        Ok(())
    }

    fn tell(&self, stream: &StreamId, reason: String) {
        let file = file_of(stream);
        tracing::warn!(snapshots = %self.name, %stream, file, reason, "the snapshot of a stream is not used or written");
        *self.problem.lock() = Some(IgnoredSnapshot { file, reason });
    }
}

/// The file of a stream, whose own name can be longer than one of a file and have any letters: the beginning of its
/// SHA-256. Two of the same beginning would only replace each other's files, for each says whose it is.
fn file_of(stream: &StreamId) -> String {
    let digest = Hasher::digest(stream.as_bytes()).to_string();
    format!("{}.snap", &digest[..32])
}
