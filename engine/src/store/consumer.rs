//! Consumers: named checkpoints beside the log, each in a file of its own.
//!
//! What is always true:
//!
//! - A checkpoint is written when the events up to it are durable, never before: it is not ahead of the log,
//!   whatever happens.
//! - One that was acknowledged is found again after any crash, unless a later one was: written in place, the slot that
//!   holds it is left alone; written anew, the file is replaced as a whole.
//! - It says which history it is of. In another one it is not used.
//!
//! The first checkpoint after an open is written as a whole new file: whoever wrote the old one may have died
//! before its bytes or its name were on the disk. So is the first one after an error. (For the name of the folder itself
//! there is no second try: when its sync has failed, this process registers no consumer.)

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use annals_codec::{Checkpoint, FileName, IntoName, Position};

use super::{EventStore, Role};
use crate::error::{KeepError, SubscribeError};
use crate::log::names;
use crate::log::small_files::{list_whole, read_whole, write_all, write_whole};
use crate::planted::{self, Bug};
use crate::query::Query;
use crate::stats::ConsumerInfo;
use crate::storage::{File, Storage};
use crate::subscription::Subscription;
use crate::sync::{Mutex, OnceLock};

/// The consumers that somebody uses.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    in_use: Mutex<BTreeMap<FileName, Arc<Kept>>>,
    /// Why nobody knows whether the folder's name is on the disk: a sync that failed is not tried again.
    in_doubt: OnceLock<Arc<io::Error>>,
}

/// One of them, whatever the number of its handles.
#[derive(Debug)]
struct Kept {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    checkpoint: Checkpoint,
    /// The file, when it is known that its name and the slot of the checkpoint are on the disk.
    file: Option<Arc<dyn File>>,
    is_removed: bool,
}

/// A named checkpoint that outlives the process: what a consumer of events has finished.
///
/// Made by [`EventStore::consumer`]. It is a handle of the store, which it keeps open; handles of one name
/// share the checkpoint.
///
/// Events that were given and not yet covered by a checkpoint come again after a crash: at least once. What has to
/// happen exactly once is done together with keeping the position, in a place of the consumer's own.
///
/// ```
/// use annals::{Delivery, EventStore, ExpectedVersion, NewEvent, Options, Query};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new())?;
/// for name in ["Placed", "Paid"] {
///     store.append("order-7", ExpectedVersion::Any, NewEvent::new(name, "{}"))?;
/// }
/// let mailer = store.consumer("mailer")?;
/// let mut subscription = mailer.subscribe(Query::All)?;
/// while let Some(item) = subscription.try_next()? {
///     if let Delivery::Event(event) = item {
///         println!("a mail about {}", event.event_type);
///     }
/// }
/// mailer.checkpoint(subscription.position())?;
/// # drop((mailer, subscription, store));
///
/// // Another day.
/// # let store = EventStore::open(dir.path(), &Options::new())?;
/// assert_eq!(store.consumer("mailer")?.position().get(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Consumer {
    store: EventStore,
    name: FileName,
    kept: Arc<Kept>,
}

impl EventStore {
    /// The consumer of this name: its checkpoint as it was left, or a new one at the beginning, which is durable
    /// when this returns.
    ///
    /// # Errors
    ///
    /// - [`KeepError::DivergedLog`] when its checkpoint is of another history of the log,
    ///   [`KeepError::PositionBeyondHead`] when it lies beyond its end. Most often an older backup was
    ///   restored: [`remove_consumer`](EventStore::remove_consumer) lets it begin anew.
    /// - [`KeepError::Unusable`] when its file is damaged.
    /// - [`KeepError::ReadOnly`], [`KeepError::InvalidName`], [`KeepError::Read`], [`KeepError::Io`].
    pub fn consumer(&self, name: impl IntoName<FileName>) -> Result<Consumer, KeepError> {
        let name = name.into_name()?;
        let Role::Writer(_) = &self.inner.role else { return Err(KeepError::ReadOnly) };
        let mut in_use = self.inner.consumers.in_use.lock();
        let kept = match in_use.get(&name) {
            Some(kept) => Arc::clone(kept),
            None => {
                let state = match self.read_checkpoint(&name)? {
                    Some(checkpoint) => {
                        self.check_mark(&format!("the checkpoint of consumer {name}"), &checkpoint.mark)?;
                        State { checkpoint, file: None, is_removed: false }
                    }
                    None => self.begin_consumer(&name)?,
                };
                let kept = Arc::new(Kept { state: Mutex::new(state) });
                in_use.insert(name.clone(), Arc::clone(&kept));
                kept
            }
        };
        drop(in_use);
        Ok(Consumer { store: self.clone(), name, kept })
    }

    /// Forgets a consumer, durably; whether there was one. Its handles are of no use any more.
    ///
    /// # Errors
    ///
    /// [`KeepError::ReadOnly`], [`KeepError::InvalidName`], [`KeepError::Io`].
    pub fn remove_consumer(&self, name: impl IntoName<FileName>) -> Result<bool, KeepError> {
        let name = name.into_name()?;
        let Role::Writer(_) = &self.inner.role else { return Err(KeepError::ReadOnly) };
        let mut in_use = self.inner.consumers.in_use.lock();
        let storage = &*self.inner.storage;
        let kept = in_use.get(&name).cloned();
        // Nobody writes a checkpoint meanwhile, which would bring the file back.
        let state = kept.as_ref().map(|kept| kept.state.lock());
        match storage.remove(&path_of(&name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(failed(storage, "remove", &name))?,
        }
        if let Some(mut state) = state {
            state.is_removed = true;
            in_use.remove(&name);
        }
        storage.sync_dir(names::CONSUMERS).map_err(failed(storage, "sync the folder of", &name))?;
        Ok(true)
    }

    /// What is known of all consumers, in the order of their names; also in a store that is only read.
    ///
    /// # Errors
    ///
    /// [`KeepError::Io`] when they cannot be listed. What is wrong with one of them is part of the answer.
    pub fn consumers(&self) -> Result<Vec<ConsumerInfo>, KeepError> {
        let storage = &*self.inner.storage;
        let listed = list_whole(storage, names::CONSUMERS).map_err(|error| KeepError::Io {
            action: "list",
            path: storage.describe(names::CONSUMERS),
            source: Arc::new(error),
        })?;
        let head = self.head();
        let infos = listed.iter().filter_map(|name| FileName::new(name).ok()).filter_map(|name| {
            let read = self.read_checkpoint(&name);
            let (checkpoint, mut fault) = match read {
                Ok(None) => return None,
                Ok(checkpoint) => (checkpoint, None),
                Err(error) => (None, Some(error.to_string())),
            };
            if let Some(checkpoint) = &checkpoint
                && let Err(error) = self.check_mark("the checkpoint", &checkpoint.mark)
            {
                fault = Some(error.to_string());
            }
            let position = checkpoint.map(|checkpoint| checkpoint.position());
            Some(ConsumerInfo {
                name,
                position,
                lag: position.map(|position| head.get().saturating_sub(position.get())),
                written_at: checkpoint.map(|checkpoint| checkpoint.written_at),
                fault,
            })
        });
        Ok(infos.collect())
    }

    pub(super) fn read_checkpoint(&self, name: &FileName) -> Result<Option<Checkpoint>, KeepError> {
        let storage = &*self.inner.storage;
        let path = path_of(name);
        let bytes = read_whole(storage, &path, Checkpoint::FILE_LEN).map_err(failed(storage, "read", name))?;
        let unusable = |fault: annals_codec::CheckpointFault| KeepError::Unusable {
            path: storage.describe(&path),
            problem: fault.to_string(),
        };
        bytes.map(|bytes| Checkpoint::decode(&bytes).map_err(unusable)).transpose()
    }

    /// Registers a consumer that has seen nothing.
    fn begin_consumer(&self, name: &FileName) -> Result<State, KeepError> {
        let mark = self.mark(Position::START)?;
        let checkpoint = Checkpoint { sequence: 0, written_at: self.inner.options.clock.now(), mark };
        let (storage, in_doubt) = (&*self.inner.storage, &self.inner.consumers.in_doubt);
        storage.create_dir(names::CONSUMERS).map_err(failed(storage, "make the folder of", name))?;
        if in_doubt.get().is_none()
            && let Err(error) = storage.sync_dir("")
        {
            let _ = in_doubt.set(Arc::new(error));
        }
        if let Some(cause) = in_doubt.get() {
            let path = storage.describe(names::CONSUMERS);
            return Err(KeepError::Io { action: "sync the folder above", path, source: Arc::clone(cause) });
        }
        let file = write_anew(storage, name, &checkpoint).map_err(failed(storage, "create", name))?;
        Ok(State { checkpoint, file: Some(file), is_removed: false })
    }
}

fn path_of(name: &FileName) -> String {
    format!("{}/{name}", names::CONSUMERS)
}

fn failed(storage: &dyn Storage, action: &'static str, name: &FileName) -> impl FnOnce(io::Error) -> KeepError {
    let path = storage.describe(&path_of(name));
    move |error| KeepError::Io { action, path, source: Arc::new(error) }
}

/// Writes a file with this checkpoint alone in the place of what is there.
fn write_anew(storage: &dyn Storage, name: &FileName, checkpoint: &Checkpoint) -> io::Result<Arc<dyn File>> {
    let mut content = vec![0; Checkpoint::FILE_LEN];
    let (slot, bytes) = (checkpoint.slot_offset() as usize, checkpoint.encode());
    content[slot..slot + bytes.len()].copy_from_slice(&bytes);
    write_whole(storage, names::CONSUMERS, name, &content)
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has finished.
    pub fn position(&self) -> Position {
        self.kept.state.lock().checkpoint.position()
    }

    /// The store that it follows.
    pub fn store(&self) -> &EventStore {
        &self.store
    }

    /// Follows what a query describes, from the checkpoint on.
    ///
    /// # Errors
    ///
    /// As [`EventStore::subscribe`].
    pub fn subscribe(&self, query: impl Into<Query>) -> Result<Subscription, SubscribeError> {
        self.store.subscribe(self.position(), query)
    }

    /// Keeps that everything up to `position` is finished. When this returns that survives a power loss.
    ///
    /// Takes a write and a sync, and before that a sync of the log when the events up to there are not durable yet:
    /// once for many events is better than after each. Where it is already costs nothing, but for the first time after
    /// an open.
    ///
    /// # Errors
    ///
    /// The checkpoint is what it was, or, of [`KeepError::Io`], perhaps this one after a crash.
    ///
    /// - [`KeepError::GoesBack`]: see [`rewind`](Consumer::rewind).
    /// - [`KeepError::PositionBeyondHead`] for a position that the log has not reached.
    /// - [`KeepError::NotDurable`] when the log could not be synced, or takes nothing any more.
    /// - [`KeepError::NoConsumer`] when it was removed; [`KeepError::Read`], [`KeepError::Io`].
    pub fn checkpoint(&self, position: Position) -> Result<(), KeepError> {
        self.keep(position, false)
    }

    /// Goes back, or forward, to a position, to be given again what comes after it.
    ///
    /// # Errors
    ///
    /// As [`checkpoint`](Consumer::checkpoint), without [`KeepError::GoesBack`].
    pub fn rewind(&self, position: Position) -> Result<(), KeepError> {
        self.keep(position, true)
    }

    fn keep(&self, position: Position, may_go_back: bool) -> Result<(), KeepError> {
        let mut state = self.kept.state.lock();
        let checkpoint = state.checkpoint.position();
        if state.is_removed {
            return Err(KeepError::NoConsumer { consumer: self.name.to_string() });
        }
        // One that was only read may be in the cache alone: whoever wrote it may have died before the sync.
        if position == checkpoint && state.file.is_some() {
            return Ok(());
        }
        if position < checkpoint && !may_go_back {
            return Err(KeepError::GoesBack { consumer: self.name.to_string(), position, checkpoint });
        }
        let mark = self.store.durable_mark(position, planted::has(Bug::CheckpointAheadOfDisk))?;
        let written_at = self.store.inner.options.clock.now();
        let next = Checkpoint { sequence: state.checkpoint.sequence + 1, written_at, mark };
        let storage = &*self.store.inner.storage;
        // Unless this goes well nobody knows what is on the disk, and the next one writes all of it.
        let file = match state.file.take() {
            Some(file) => {
                let written = write_all(&*file, next.slot_offset(), &next.encode()).and_then(|()| file.sync());
                written.map(|()| file)
            }
            None => write_anew(storage, &self.name, &next),
        };
        state.file = Some(file.map_err(failed(storage, "write", &self.name))?);
        state.checkpoint = next;
        Ok(())
    }
}
