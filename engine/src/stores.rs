//! Several logs in one process: a directory for each below one root, and threads that all of them share.
//!
//! ```text
//! root/
//!   orders/      a store like any other: LOCK, store.meta, seg/, idx/, …
//!   payments/    another one
//! ```
//!
//! What is always true:
//!
//! - A log knows nothing of the others. Positions, versions, conflicts, retries and locks are each log's own, and no batch is in
//!   two of them.
//! - What is wrong with one keeps none of the others from being opened, read or written.
//! - There is no file besides the logs': which there are is what the directory says, so one is moved, copied or removed
//!   with any tool, while nobody has it open.
//! - A name is a directory below the root, and one log on every file system ([`StoreName`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_codec::{IntoName, NameError, StoreName};

use crate::error::{AppendError, OpenError};
use crate::log::names;
use crate::options::Options;
use crate::store::EventStore;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::workers::Workers;

/// So many threads for what has its time; a disk that hangs for one log leaves one for the others.
const THREADS: usize = 2;

/// The logs below a directory, each opened when it is asked for. Cheap to clone.
///
/// ```
/// use annals::{ExpectedVersion, NewEvent, Options, Stores};
///
/// # let dir = tempfile::tempdir()?;
/// let stores = Stores::open(dir.path(), &Options::new());
/// let (orders, payments) = (stores.store("orders")?, stores.store("payments")?);
/// orders.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", "{}"))?;
/// // The same stream, and not the same log.
/// payments.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Paid", "{}"))?;
///
/// let names: Vec<String> = stores.names()?.iter().map(ToString::to_string).collect();
/// assert_eq!(names, ["orders", "payments"]);
/// assert!(stores.store("../orders").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is shared, and what is not
///
/// The threads that work beside the writers ([`Workers`]): three for all logs, and not two for each. Everything else is each log's
/// own: its lock, its files, its memory, and the syncs of its appends, which are done by who appends.
///
/// # How long a log is open
///
/// Until it is [closed](Stores::close) and its last handle is dropped. None is closed for not being used: nobody here knows who will
/// ask next, and a handle that was given out keeps its log open anyway. A program with more logs than it may have files open closes
/// those that have nothing to do; whoever asks for one of them later opens it again.
#[derive(Clone)]
pub struct Stores {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    access: Access,
    slots: Mutex<BTreeMap<StoreName, Arc<Slot>>>,
}

type OptionsOf = dyn Fn(&StoreName) -> Options + Send + Sync;

enum Access {
    Write {
        options: Box<OptionsOf>,
        /// `None` when the system had no threads to give: then each log asks for its own.
        workers: Option<Workers>,
    },
    Read(Box<Options>),
}

/// The place of one log. Who opens it holds nobody up but those who want the same one.
#[derive(Default)]
struct Slot {
    store: Mutex<Option<EventStore>>,
    is_open: AtomicBool,
}

impl fmt::Debug for Stores {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Stores").field("root", &self.inner.root).field("open", &self.opened()).finish()
    }
}

/// Why a log could not be had. Says nothing about the others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoresError {
    /// It cannot be the name of one.
    #[error(transparent)]
    InvalidName(#[from] NameError),
    /// It could not be opened.
    #[error("{name} cannot be opened")]
    Open {
        /// Which.
        name: StoreName,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// Which logs there are cannot be told.
    #[error("cannot list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl Stores {
    /// The logs below `root`, to be opened for writing, all in the same way. Touches nothing on disk.
    ///
    /// Where [`Options::create`] says so, which is the default, a log that is not there is made when it is asked for.
    pub fn open(root: impl Into<PathBuf>, options: &Options) -> Stores {
        let options = options.clone();
        Stores::open_each(root, move |_| options.clone())
    }

    /// The same, and `options` says of each log how it is opened: with an [admission](Options::admission) of its own, say, which
    /// no two logs can share when it keeps what it knows of one.
    ///
    /// ```
    /// use annals::{Durability, Options, Stores};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let stores = Stores::open_each(dir.path(), |name| {
    ///     let durability = if name.starts_with("trace-") { Durability::Buffered } else { Durability::Sync };
    ///     Options::new().durability(durability)
    /// });
    /// stores.store("trace-7")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_each(
        root: impl Into<PathBuf>,
        options: impl Fn(&StoreName) -> Options + Send + Sync + 'static,
    ) -> Stores {
        let workers = Workers::start(THREADS).ok();
        Stores::with(root.into(), Access::Write { options: Box::new(options), workers })
    }

    /// The logs below `root`, to be read only, also while other processes write to them.
    pub fn open_read_only(root: impl Into<PathBuf>) -> Stores {
        Stores::open_read_only_with(root, &Options::new())
    }

    /// The same, with options, as [`EventStore::open_read_only_with`] has them.
    pub fn open_read_only_with(root: impl Into<PathBuf>, options: &Options) -> Stores {
        Stores::with(root.into(), Access::Read(Box::new(options.clone())))
    }

    fn with(root: PathBuf, access: Access) -> Stores {
        // The same place also when the process changes its working directory before a log is opened. What cannot be made absolute
        // cannot be opened either.
        let root = std::path::absolute(&root).unwrap_or(root);
        Stores { inner: Arc::new(Inner { root, access, slots: Mutex::default() }) }
    }

    /// The directory below which they are, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The log of this name: opened when it is asked for first, and then the same one until it is [closed](Stores::close).
    ///
    /// Others can be opened meanwhile, however long this takes.
    ///
    /// # Errors
    ///
    /// - [`StoresError::InvalidName`]: nothing was looked for.
    /// - [`StoresError::Open`], as [`EventStore::open`] and [`EventStore::open_read_only`] have it. The next call tries again. It is
    ///   [`OpenError::AlreadyOpen`] also when somebody still has a handle or a reader of a log that was closed here after it had
    ///   been poisoned.
    pub fn store(&self, name: impl IntoName<StoreName>) -> Result<EventStore, StoresError> {
        let name = name.into_name()?;
        let slot = Arc::clone(self.inner.slots.lock().entry(name.clone()).or_default());
        let mut store = slot.store.lock();
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let opened = self.open_at(&name).map_err(|source| StoresError::Open { name, source })?;
        slot.is_open.store(true, Ordering::Release);
        Ok(store.insert(opened).clone())
    }

    fn open_at(&self, name: &StoreName) -> Result<EventStore, OpenError> {
        let path = self.inner.root.join(name.as_str());
        match &self.inner.access {
            Access::Read(options) => EventStore::open_read_only_with(path, options),
            Access::Write { options, workers } => {
                let mut options = options(name);
                options.workers = options.workers.or_else(|| workers.clone());
                EventStore::open(path, &options)
            }
        }
    }

    /// Opens all that are there, and says of each what came of it, by name. What is wrong with one holds up no other.
    ///
    /// ```
    /// use annals::{Options, Stores};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let stores = Stores::open(dir.path(), &Options::new());
    /// for (name, opened) in stores.open_all()? {
    ///     if let Err(error) = opened {
    ///         eprintln!("{name}: {error}");
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoresError::List`].
    pub fn open_all(&self) -> Result<BTreeMap<StoreName, Result<EventStore, StoresError>>, StoresError> {
        let open = |name: StoreName| {
            let opened = self.store(&name);
            (name, opened)
        };
        Ok(self.names()?.into_iter().map(open).collect())
    }

    /// The names of all that are there, open or not, in order: directories below the root that hold any part of a store, so that
    /// also one that is damaged is among them. What cannot be the name of a log is passed over.
    ///
    /// # Errors
    ///
    /// [`StoresError::List`]. A root that does not exist has no logs, but for who only reads.
    pub fn names(&self) -> Result<Vec<StoreName>, StoresError> {
        let failed = |source| StoresError::List { path: self.inner.root.clone(), source };
        let entries = match fs::read_dir(&self.inner.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_for_writing() => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let name = entry.file_name().to_str().and_then(|name| StoreName::new(name).ok());
            let holds = |part: &str| path.join(part).exists();
            found.extend(name.filter(|_| holds(names::META) || holds(names::SEGMENTS)));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn is_for_writing(&self) -> bool {
        matches!(self.inner.access, Access::Write { .. })
    }

    /// The names of those that are open here, in order.
    pub fn opened(&self) -> Vec<StoreName> {
        let slots = self.inner.slots.lock();
        let open = slots.iter().filter(|(_, slot)| slot.is_open.load(Ordering::Acquire));
        open.map(|(name, _)| name.clone()).collect()
    }

    /// Gives up the log of this name, and says whether it was open here; as [`EventStore::close`] does: it is closed when this was its
    /// last handle, and flushed otherwise. The next who asks for it opens it anew.
    ///
    /// So one that was [poisoned](AppendError::Poisoned) is opened again, once all handles are dropped.
    ///
    /// # Errors
    ///
    /// As [`EventStore::close`]. It is given up all the same.
    pub fn close(&self, name: &str) -> Result<bool, AppendError> {
        let slot = self.inner.slots.lock().get(name).cloned();
        let Some(slot) = slot else { return Ok(false) };
        let mut store = slot.store.lock();
        slot.is_open.store(false, Ordering::Release);
        // With the place held: who asks for it now finds it closed, and not in the middle of it.
        store.take().map_or(Ok(false), |store| store.close().map(|()| true))
    }

    /// [Closes](Stores::close) all that are open here, also after one of them has failed.
    ///
    /// # Errors
    ///
    /// As [`Stores::close`], by name.
    pub fn close_all(&self) -> Result<(), BTreeMap<StoreName, AppendError>> {
        let failed = |name: StoreName| self.close(&name).err().map(|error| (name, error));
        let failed: BTreeMap<_, _> = self.opened().into_iter().filter_map(failed).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }
}
