//! The store: what a program opens, appends to, and reads from.

pub(crate) mod backup;
mod batch;
pub(crate) mod consumer;
mod decide;
pub(crate) mod folder;
mod history;
mod measured;
mod open;
mod own;
mod query;
mod redact;
mod retain;
mod retry;
mod subscribe;
pub(crate) mod tip;
pub(crate) mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use annals_codec::{IntoName, LogId, NameError, Position, SourceName, StreamId, StreamVersion, u64_at};

pub use self::batch::BatchBuilder;
use self::consumer::Consumers;
use self::folder::Folders;
use self::query::StreamEnd;
use crate::append::commit::CommitState;
use crate::append::queue::{Committer, Queue, Ticket};
use crate::append::request::Request;
use crate::append::{Appended, ExpectedVersion};
use crate::background::{Background, Beside};
use crate::error::{AppendError, Doing, OpenError, ReadError};
use crate::event::{NewEvent, RecordedEvent};
use crate::follow::Follower;
use crate::index::indexer::Indexer;
use crate::log::names;
use crate::metrics::meter::Meter;
use crate::options::Options;
use crate::read::Reader;
use crate::read::point::event_at;
use crate::report::RecoveryReport;
use crate::stats::{SegmentStats, Stats, StreamInfo};
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;
use crate::storage::sim::SimDisk;
use crate::subscription::Source;
use crate::sync::Mutex;
use crate::view::Published;

/// An event store.
///
/// Cheap to clone; clones are handles to one store and may be used from any
/// number of threads. The store is closed when the last handle is dropped, or
/// by [`close`](EventStore::close).
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, StreamVersion};
///
/// # let dir = tempfile::tempdir()?;
/// let store = EventStore::open(dir.path(), &Options::new())?;
/// let done = store.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", "{}"))?;
/// assert_eq!(done.version, StreamVersion::new(1));
///
/// for event in store.read_stream("order-7", StreamVersion::EMPTY)? {
///     println!("{}", event?.event_type());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct EventStore {
    inner: Arc<Inner>,
}

impl fmt::Debug for EventStore {
    /// A line for a person's log, and nothing of what the events hold.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventStore")
            .field("log_id", &self.inner.log_id)
            .field("head", &self.inner.published.head())
            .field("read_only", &matches!(self.inner.role, Role::Follower(_)))
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Inner {
    log_id: LogId,
    options: Options,
    report: RecoveryReport,
    published: Arc<Published>,
    meter: Meter,
    storage: Arc<dyn Storage>,
    consumers: Consumers,
    folders: Folders,
    role: Role,
    /// Dropped after what it speaks of.
    _open: OpenWhile,
}

/// Who follows the log is told when this is dropped that nothing comes any more.
#[derive(Debug)]
struct OpenWhile(Arc<Published>);

impl Drop for OpenWhile {
    fn drop(&mut self) {
        self.0.news.close();
    }
}

#[derive(Debug)]
enum Role {
    Writer(WriterSide),
    Follower(Arc<Mutex<Follower>>),
}

/// What only a store that is open for writing has.
#[derive(Debug)]
struct WriterSide {
    queue: Arc<Queue>,
    commit: Arc<CommitState>,
    /// What is done beside the writer, by the background thread or by who calls [`EventStore::maintain`].
    beside: Arc<Beside>,
    /// Taken before everything else is closed.
    background: Option<Background>,
    /// Likewise.
    indexer: Option<Indexer>,
    /// The process that opened it.
    process: u32,
}

impl EventStore {
    /// Opens the store in `dir` for writing, making it if there is none.
    ///
    /// Takes the exclusive lock, recovers what an earlier process may have left
    /// unfinished, and says what was found in [`recovery_report`](EventStore::recovery_report).
    /// Opening a store that is whole changes nothing on disk. `dir` is where it is now: to change the working directory of the
    /// process later moves no store. A store belongs to the process that opened it; a child that was forked has none of its threads,
    /// and must not use its copy. When that copy is dropped, nothing is written and the lock stays with the parent.
    ///
    /// # Errors
    ///
    /// - [`OpenError::AlreadyOpen`] when another store has the lock. A store that was poisoned with buffered
    ///   events lent out, which are not durable, keeps it until the last of these and of its readers is dropped.
    /// - [`OpenError::Corrupt`] or [`OpenError::Inconsistent`] when durable data is
    ///   damaged or missing in the last segment, or where the others begin and end: nothing is cut off or
    ///   skipped in silence. What is damaged inside a sealed segment, which opening does not read, is
    ///   told to who reads it ([`ReadError::Corrupt`]), and to appends that would need it
    ///   ([`AppendError::Unreadable`]).
    /// - [`OpenError::Newer`] for the format of a later version.
    /// - [`OpenError::NotFound`] when there is no store and none is to be made ([`Options::create`]).
    /// - [`OpenError::InvalidOptions`], and [`OpenError::Io`] for everything else.
    ///
    /// # Panics
    ///
    /// Never for bad input or bad files. A panic of the caller's own [`Clock`](crate::Clock) comes through.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, OpenError, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path().join("orders"), &Options::new())?;
    /// assert!(store.recovery_report().created);
    ///
    /// // There is one writer at a time.
    /// let second = EventStore::open(dir.path().join("orders"), &Options::new());
    /// assert!(matches!(second, Err(OpenError::AlreadyOpen { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<EventStore, OpenError> {
        options.check()?;
        EventStore::open_on(Arc::new(disk(dir.as_ref(), options.pread)), options)
    }

    /// Opens the store in `dir` for reading, from any process, also while a writer runs.
    ///
    /// Takes no lock, changes nothing on disk, and follows the writer's progress:
    /// every read sees what was durable when it began. Damaged regions do not
    /// keep it from opening: those that opening meets are listed in
    /// [`recovery_report`](EventStore::recovery_report), and reading any of them is an error.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`] when there is no store; otherwise as [`EventStore::open`],
    /// but for [`OpenError::AlreadyOpen`] and [`OpenError::InvalidOptions`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let writer = EventStore::open(dir.path(), &Options::new())?;
    /// let reader = EventStore::open_read_only(dir.path())?;
    /// writer.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// assert_eq!(reader.head(), Position::new(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<EventStore, OpenError> {
        EventStore::open_read_only_with(dir, &Options::new())
    }

    /// The same, and `options` say how: whether segments are [mapped](Options::pread), who is told what is
    /// [measured](Options::metrics), and what [time](EventStore::now) it is. The others are of writing; they are not
    /// looked at, and not refused.
    ///
    /// # Errors
    ///
    /// As [`EventStore::open_read_only`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, Measure, NewEvent, Options, Position};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let writer = EventStore::open(dir.path(), &Options::new())?;
    /// // In another process, as a rule.
    /// let reader = EventStore::open_read_only_with(dir.path(), &Options::new().metrics(true))?;
    /// writer.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// assert_eq!(reader.read_all(Position::START).count(), 1);
    ///
    /// let metrics = reader.metrics().expect("it was asked to measure");
    /// let reads = metrics.distribution(Measure::Read);
    /// println!("a read takes at most {:?} to its first event, up to {}", reads.max(), metrics.stats.head);
    /// # assert_eq!((reads.count(), metrics.stats.head), (1, Position::new(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_read_only_with(dir: impl AsRef<Path>, options: &Options) -> Result<EventStore, OpenError> {
        EventStore::open_read_only_with_on(Arc::new(disk(dir.as_ref(), options.pread)), options)
    }

    /// A store in memory, with the same behaviour, for tests and scratch use.
    ///
    /// It stands on the simulated disk; everything is gone when it is dropped.
    /// [`Options::zero_ahead`] and [`Options::flush_interval`] have no effect.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOptions`]; [`OpenError::NotFound`] unless it may be made ([`Options::create`]);
    /// [`OpenError::Io`] where the system has no randomness to give.
    pub fn in_memory(options: &Options) -> Result<EventStore, OpenError> {
        options.check()?;
        let options = options.clone().zero_ahead(0).flush_interval(None);
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(io::Error::from)
            .doing("make a seed for", || "a store in memory".to_owned())?;
        EventStore::open_on(Arc::new(SimDisk::new(u64_at(&seed, 0))), &options)
    }

    /// Opens a store on any storage: the simulated disk, or one of your own.
    ///
    /// # Errors
    ///
    /// As [`EventStore::open`].
    pub fn open_on(storage: Arc<dyn Storage>, options: &Options) -> Result<EventStore, OpenError> {
        options.check()?;
        let inner = Inner::open_writer(storage, options)?;
        Ok(EventStore { inner: Arc::new(inner) })
    }

    /// Opens a store on any storage, for reading.
    ///
    /// # Errors
    ///
    /// As [`EventStore::open_read_only`].
    pub fn open_read_only_on(storage: Arc<dyn Storage>) -> Result<EventStore, OpenError> {
        EventStore::open_read_only_with_on(storage, &Options::new())
    }

    /// The same, with options, as [`EventStore::open_read_only_with`] has them.
    ///
    /// # Errors
    ///
    /// As [`EventStore::open_read_only`].
    pub fn open_read_only_with_on(storage: Arc<dyn Storage>, options: &Options) -> Result<EventStore, OpenError> {
        let inner = Inner::open_follower(storage, options)?;
        Ok(EventStore { inner: Arc::new(inner) })
    }

    /// What was found when this store was opened, and what was done about it.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// The log's identity: random, and the same for ever.
    pub fn log_id(&self) -> LogId {
        self.inner.log_id
    }

    /// Appends one event to a stream.
    ///
    /// Returns once the event is as durable as [`Options::durability`] asks.
    /// Concurrent callers share one write and one sync, so throughput grows with
    /// the number of threads appending.
    ///
    /// # Errors
    ///
    /// - [`AppendError::ConcurrencyConflict`] when the stream is not as `expected`.
    /// - [`AppendError::InvalidName`], [`AppendError::EventTooLarge`],
    ///   [`AppendError::BatchTooLarge`] for what can never be appended.
    /// - [`AppendError::EventIdConflict`] when another event has the [id](NewEvent::id) already.
    /// - [`AppendError::Refused`] when somebody was asked who says no ([`Options::admission`]).
    /// - [`AppendError::Unreadable`] when what it has to be checked against cannot be read.
    /// - [`AppendError::StorageFull`]: nothing was written, and later tries may succeed.
    /// - [`AppendError::CommitUnknown`] when the sync of this very batch failed: reopen and look.
    /// - [`AppendError::Poisoned`] when an earlier one did; nothing was written.
    /// - [`AppendError::ReadOnly`] for a store opened read-only.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{AppendError, EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// store.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", "{}"))?;
    ///
    /// // A second writer who still believes the stream is empty is told so.
    /// let err = store.append("order-7", ExpectedVersion::NoStream, NewEvent::new("Placed", "{}")).unwrap_err();
    /// assert!(matches!(err, AppendError::ConcurrencyConflict { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append(
        &self,
        stream: impl IntoName<StreamId>,
        expected: ExpectedVersion,
        event: NewEvent,
    ) -> Result<Appended, AppendError> {
        self.append_one(stream.into_name()?, expected, event)
    }

    /// Appends events to a stream, all or nothing: in memory, on disk, and to readers.
    ///
    /// # Errors
    ///
    /// As [`append`](EventStore::append), and [`AppendError::EmptyBatch`]; of events with ids also
    /// [`AppendError::PartialDuplicate`] and [`AppendError::DuplicateIdInBatch`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position, StreamVersion};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let events = [NewEvent::new("Placed", "{}"), NewEvent::new("Paid", "{}")];
    /// let done = store.append_batch("order-7", ExpectedVersion::NoStream, events)?;
    /// assert_eq!((done.first, done.last), (Position::new(1), Position::new(2)));
    /// assert_eq!(done.version, StreamVersion::new(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_batch(
        &self,
        stream: impl IntoName<StreamId>,
        expected: ExpectedVersion,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended, AppendError> {
        let stream = stream.into_name()?;
        self.batch().expect(stream.clone(), expected).events(stream, events).commit()
    }

    /// Begins a batch over any number of streams; see [`BatchBuilder`] for an example.
    pub fn batch(&self) -> BatchBuilder<'_> {
        BatchBuilder::new(self, self.inner.options.durability)
    }

    /// Makes everything acknowledged so far durable; returns the position up to which it is.
    ///
    /// Tickets that were submitted before are committed first, waited for or not.
    ///
    /// # Errors
    ///
    /// [`AppendError::CommitUnknown`] when the sync fails: the store is poisoned then, and
    /// buffered appends may or may not survive. [`AppendError::Poisoned`], [`AppendError::ReadOnly`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{Durability, EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path(), &Options::new().durability(Durability::Buffered))?;
    /// for _ in 0..1000 {
    ///     store.append("order-7", ExpectedVersion::Any, NewEvent::new("Ticked", ""))?;
    /// }
    /// assert_eq!(store.flush()?, store.head());
    /// assert_eq!(store.durable_head(), store.head());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> Result<Position, AppendError> {
        let side = self.writer()?;
        side.queue.drain(&*side.commit);
        side.commit.flush()
    }

    /// Does now, in the caller's thread, what the background thread would do.
    ///
    /// For programs that open the store with [`Options::background`] off, to call when they are idle:
    /// commits tickets that nobody waits for, syncs buffered appends whose
    /// [`flush_interval`](Options::flush_interval) is over, prepares the file of the next segment once the
    /// active one is half full, zeroes ahead of durable appends ([`Options::zero_ahead`]), and makes, the
    /// first time, index files that are missing. Nothing of it is needed for correctness; appends are
    /// faster for it. May take as long as writing as many zeros as are wanted ahead; other threads may append
    /// and read meanwhile. Where the background thread runs, there is little left to do, and it does no harm.
    ///
    /// A full disk is no error: what finds no space is left to the writer.
    ///
    /// # Errors
    ///
    /// [`AppendError::Poisoned`] when the store takes no more appends: this has met the error of the active
    /// segment's file that ended it, or somebody else has. Then buffered appends may or may not survive.
    /// [`AppendError::ReadOnly`].
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path(), &Options::new().background(false))?;
    /// for day in 1..=7 {
    ///     store.append("diary", ExpectedVersion::Any, NewEvent::new("Written", format!("day {day}")))?;
    ///     // The work of the day is done.
    ///     store.maintain()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maintain(&self) -> Result<(), AppendError> {
        let side = self.writer()?;
        if side.commit.poison.cause().is_none() {
            side.beside.catch_up();
        }
        match side.commit.poison.cause() {
            None => Ok(()),
            Some(cause) => Err(AppendError::Poisoned { cause: Arc::clone(cause) }),
        }
    }

    /// Closes the store if this is its last handle, and says whether that went well.
    ///
    /// Dropping the last handle does the same, without telling. While there are other handles,
    /// this is a [`flush`](EventStore::flush). Tickets that were submitted are committed; readers,
    /// events and tickets may outlive the store.
    ///
    /// # Errors
    ///
    /// As [`flush`](EventStore::flush).
    pub fn close(self) -> Result<(), AppendError> {
        match &self.inner.role {
            Role::Writer(_) => self.flush().map(drop),
            Role::Follower(_) => Ok(()),
        }
    }

    /// Reads all events after a position, in order.
    ///
    /// The reader sees the log as it is now. `Position::START` is the beginning;
    /// a position beyond the head gives nothing.
    ///
    /// What goes wrong is told by the reader, event by event.
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// let mut done = Position::START;
    /// for name in ["Placed", "Paid"] {
    ///     store.append("order-7", ExpectedVersion::Any, NewEvent::new(name, "{}"))?;
    ///     // A checkpoint resumes as it is: nobody adds or subtracts one.
    ///     for event in store.read_all(done) {
    ///         let event = event?;
    ///         assert_eq!(event.event_type(), name);
    ///         done = event.position();
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_all(&self, after: Position) -> Reader {
        let followed = self.follow();
        let (head, view) = self.inner.published.pin();
        Reader::all(view, head, after).measured_by(&self.inner.meter).failing_first(followed.err())
    }

    /// Reads the events of a stream after a version, in order. An unknown stream has none.
    ///
    /// The reader sees the stream as it is now.
    ///
    /// # Errors
    ///
    /// [`NameError`] when the name cannot be that of a stream.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, StreamVersion};
    ///
    /// let store = EventStore::in_memory(&Options::new())?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// store.append("order-8", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// assert_eq!(store.read_stream("order-7", StreamVersion::EMPTY)?.count(), 1);
    ///
    /// let newest = store.read_stream("order-8", StreamVersion::END)?.backward().limit(1);
    /// assert_eq!(newest.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A place in the log is no version of a stream, and does not pass for one:
    ///
    /// ```compile_fail,E0308
    /// # let store = annals::EventStore::in_memory(&annals::Options::new()).unwrap();
    /// store.read_stream("order-7", annals::Position::new(1));
    /// ```
    pub fn read_stream(&self, stream: impl IntoName<StreamId>, after: StreamVersion) -> Result<Reader, NameError> {
        let stream = stream.into_name()?;
        let followed = self.follow();
        let (head, view) = self.inner.published.pin();
        let reader = Reader::stream(view, head, stream, after).measured_by(&self.inner.meter);
        Ok(reader.failing_first(followed.err()))
    }

    /// The event at a position; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`].
    pub fn get(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.measure_get(|| {
            self.follow()?;
            let (head, view) = self.inner.published.pin();
            event_at(&view, head, position)
        })
    }

    /// The position of the last event that can be read; [`Position::START`] when there is none.
    ///
    /// A store opened read-only looks for the writer's progress first, and when that
    /// fails answers as of the last time it succeeded; [`refresh`](EventStore::refresh) tells why.
    pub fn head(&self) -> Position {
        let _ = self.follow();
        self.inner.published.head()
    }

    /// The position of the last event that is known to be durable; behind [`head`](EventStore::head)
    /// only while [`Durability::Buffered`](crate::Durability::Buffered) events wait for their sync.
    pub fn durable_head(&self) -> Position {
        let _ = self.follow();
        self.inner.published.durable()
    }

    /// The position of the oldest event that can be read; one more than [`head`](EventStore::head)
    /// when there is none.
    pub fn oldest(&self) -> Position {
        self.inner.published.view().oldest()
    }

    /// How many events a stream holds, those that were removed from the log included; [`StreamVersion::EMPTY`]
    /// when it was never written.
    ///
    /// # Errors
    ///
    /// [`ReadError::InvalidName`] when the name cannot be that of a stream; otherwise, for a store
    /// opened read-only, as [`refresh`](EventStore::refresh).
    pub fn stream_version(&self, stream: impl IntoName<StreamId>) -> Result<StreamVersion, ReadError> {
        let stream = stream.into_name()?;
        self.follow()?;
        self.inner.published.view().version_of(&stream)
    }

    /// What is known of a stream; `None` when it was never written.
    ///
    /// # Errors
    ///
    /// [`ReadError::InvalidName`] when the name cannot be that of a stream; otherwise as
    /// [`Reader::next_event`].
    pub fn stream_info(&self, stream: impl IntoName<StreamId>) -> Result<Option<StreamInfo>, ReadError> {
        let stream = stream.into_name()?;
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        let end = match view.newest_span(&stream)? {
            Some((segment, span)) => Some(StreamEnd::Here(segment, span)),
            None => view.removed(&stream)?.map(StreamEnd::Removed),
        };
        query::stream_info(&view, head, stream, end)
    }

    /// The streams whose names begin with `prefix`, in the order of their names; all, with `""`.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`].
    pub fn streams(&self, prefix: &str) -> Result<Vec<StreamInfo>, ReadError> {
        self.follow()?;
        let (head, view) = self.inner.published.pin();
        let mut ends = BTreeMap::new();
        if let Some(floor) = &view.floor {
            floor.streams(prefix, &mut |stream, removed| {
                ends.insert(StreamId::stored(stream), StreamEnd::Removed(removed));
            })?;
        }
        for (index, segment) in view.segments.iter().enumerate() {
            segment.streams(prefix, &mut |stream, span| match ends.get_mut(stream) {
                Some(end) => *end = StreamEnd::Here(index, span),
                None => drop(ends.insert(StreamId::stored(stream), StreamEnd::Here(index, span))),
            })?;
        }
        let infos = ends.into_iter().map(|(stream, end)| query::stream_info(&view, head, stream, Some(end)));
        infos.filter_map(Result::transpose).collect()
    }

    /// How many streams were ever written to.
    ///
    /// Not among the [`stats`](EventStore::stats), which are cheap: every name in the index of each
    /// segment is looked at, and kept in memory meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`].
    pub fn stream_count(&self) -> Result<u64, ReadError> {
        self.follow()?;
        let view = self.inner.published.view();
        let mut names = hashbrown::HashSet::new();
        if let Some(floor) = &view.floor {
            floor.streams("", &mut |stream, _| {
                names.insert(Box::from(stream));
            })?;
        }
        for segment in &view.segments {
            segment.streams("", &mut |stream, _| {
                names.get_or_insert_with(stream, |stream| Box::from(stream));
            })?;
        }
        Ok(names.len() as u64)
    }

    /// How far a foreign source was processed, as [`BatchBuilder::tracking`] recorded it;
    /// `None` when nothing was ever recorded.
    ///
    /// # Errors
    ///
    /// [`ReadError::InvalidName`] when the name cannot be that of a source; otherwise, for a store
    /// opened read-only, as [`refresh`](EventStore::refresh).
    pub fn tracking(&self, source: impl IntoName<SourceName>) -> Result<Option<u64>, ReadError> {
        let source = source.into_name()?;
        self.follow()?;
        self.inner.published.view().tracking(&source)
    }

    /// Facts about the store, all of one moment.
    pub fn stats(&self) -> Stats {
        let _ = self.follow();
        let (head, view) = self.inner.published.pin();
        let segments: Vec<SegmentStats> = view
            .segments
            .iter()
            .map(|segment| SegmentStats {
                number: segment.log.number,
                path: names::segment(segment.log.number, segment.log.base),
                base: segment.log.base,
                // Of this moment: the writer goes on meanwhile.
                last: segment.log.last().min(head),
                bytes: segment.log.committed(),
                sealed: segment.log.sealed,
            })
            .collect();
        let oldest = view.oldest();
        let (epoch, watermark_errors) = self.inner.published.facts();
        Stats {
            log_id: self.inner.log_id,
            head,
            durable_head: self.inner.published.durable().min(head),
            oldest,
            total_events: head.get(),
            // Retention may have gone past this head meanwhile.
            retained_events: (head.get() + 1).saturating_sub(oldest.get()),
            bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments,
            floor: view.floor.as_ref().and_then(|floor| floor.info()),
            epoch,
            watermark_errors,
            queue_depth: self.writer().map_or(0, |side| side.queue.depth()),
            pinned_mappings: self.inner.published.pinned_mappings(),
            consumers: self.consumers().unwrap_or_default(),
        }
    }

    /// The time as the store's [clock](Options::clock) has it: nanoseconds since 1970 UTC.
    pub fn now(&self) -> i64 {
        self.inner.options.clock.now()
    }

    /// Looks for the progress of a writer in another process, as every read of a
    /// store opened read-only does first; returns the head.
    ///
    /// # Errors
    ///
    /// As [`Reader::next_event`].
    pub fn refresh(&self) -> Result<Position, ReadError> {
        self.follow()?;
        Ok(self.inner.published.head())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    fn writer(&self) -> Result<&WriterSide, AppendError> {
        match &self.inner.role {
            Role::Writer(side) => Ok(side),
            Role::Follower(_) => Err(AppendError::ReadOnly),
        }
    }

    fn follow(&self) -> Result<(), ReadError> {
        match &self.inner.role {
            Role::Writer(_) => Ok(()),
            Role::Follower(follower) => follower.lock().follow(&self.inner.published),
        }
    }

    /// What subscriptions need of the store, without keeping it open.
    fn source(&self) -> Source {
        let follower = match &self.inner.role {
            Role::Writer(_) => None,
            Role::Follower(follower) => Some(Arc::clone(follower)),
        };
        Source { published: Arc::clone(&self.inner.published), follower, meter: self.inner.meter.clone() }
    }

    /// The same for every kind of name, so that it is compiled here and once.
    fn append_one(
        &self,
        stream: StreamId,
        expected: ExpectedVersion,
        event: NewEvent,
    ) -> Result<Appended, AppendError> {
        let side = self.writer()?;
        let mut request = Request::single(stream, expected, event, self.inner.options.durability);
        request.check(&self.inner.options)?;
        self.ask(&mut request);
        request.queued_at = self.queued_at(request.durability);
        side.queue.commit(request, &*side.commit)
    }

    pub(crate) fn commit(&self, mut request: Request) -> Result<Appended, AppendError> {
        let side = self.writer()?;
        request.queued_at = self.queued_at(request.durability);
        side.queue.commit(request, &*side.commit)
    }

    pub(crate) fn submit(&self, mut request: Request) -> Result<Ticket, AppendError> {
        let side = self.writer()?;
        request.queued_at = self.queued_at(request.durability);
        let queued = side.queue.submit(request);
        side.beside.bell.tickets();
        Ok(Ticket::new(queued, Arc::clone(&side.queue), Arc::clone(&side.commit) as Arc<dyn Committer>))
    }
}

impl Drop for WriterSide {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // A child that was forked: the threads stayed with its parent, and so does what is on the disk, and the lock.
            std::mem::forget((self.background.take(), self.indexer.take()));
            return;
        }
        self.background = None;
        self.indexer = None;
        self.queue.drain(&*self.commit);
        self.commit.files.close();
        if let Some(prepared) = self.beside.prepared.lock().take() {
            // Best effort: what stays is removed at the next open.
            let _ = self.beside.storage.remove(&prepared.path);
        }
        // Who needs to know calls `close`; the failure is in the log of events either way.
        if self.commit.poison.cause().is_none()
            && let Err(error) = self.commit.writer.lock().log.close()
        {
            tracing::error!(?error, "the store could not be synced when it was closed");
        }
        // Nobody is left who could commit: the queue is empty, and only a handle adds to it.
        let Some(lock) = self.commit.lock.lock().take() else { return };
        let log = &self.commit.writer.lock().log;
        if self.commit.poison.cause().is_some() && !log.is_sealed() && log.segment().committed() > log.durable() {
            // Readers were lent buffered events that could not be synced. The next recovery may cut
            // them off, under the hands of who still holds them: so there is none before they let go.
            log.segment().unlock_after_readers(lock);
        }
    }
}

fn disk(dir: &Path, pread: bool) -> DiskStorage {
    let storage = DiskStorage::new(dir);
    if pread { storage.without_mapping() } else { storage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Durability;

    /// What is published with the head. Miri plays it with the weak memory that the orderings allow (`.ci/miri`).
    #[test]
    fn who_sees_the_head_sees_whole_events_below_it() {
        let many = if cfg!(miri) { 12 } else { 5_000 };
        let store = EventStore::in_memory(&Options::new().background(false).flush_interval(None)).unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for number in 1..=many {
                    let event = NewEvent::new("A", number.to_string());
                    store.append("a", ExpectedVersion::Any, event).unwrap();
                }
            });
            let mut seen = 0;
            while seen < many {
                let head = store.head().get();
                for position in seen + 1..=head {
                    let event = store.get(Position::new(position)).unwrap().expect("it is below the head");
                    assert_eq!(event.data(), position.to_string());
                    let last = store.stream_version("a").unwrap().get();
                    assert!(last >= position, "the stream ends at {last}, and the head was {position}");
                }
                seen = head;
                std::thread::yield_now();
            }
        });
    }

    /// Whether the store can be opened while an event of its poisoned predecessor is alive.
    fn check_reopen(options: &Options, can_open: bool) {
        let dir = tempfile::tempdir().unwrap();
        let store = EventStore::open(dir.path(), options).unwrap();
        store.append("a", ExpectedVersion::Any, NewEvent::new("A", "data")).unwrap();
        let event = store.get(Position::new(1)).unwrap().unwrap();
        let Role::Writer(side) = &store.inner.role else { unreachable!("it was opened for writing") };
        side.commit.poison.set(io::Error::other("as the test wants it"));
        drop(store);
        let again = EventStore::open(dir.path(), options);
        assert_eq!(again.is_ok(), can_open, "{again:?}");
        assert!(again.is_ok() || matches!(again, Err(OpenError::AlreadyOpen { .. })), "{again:?}");
        drop(again);
        assert_eq!(&event.data()[..], b"data");
        drop(event);
        EventStore::open(dir.path(), options).unwrap();
    }

    /// An import that is repeated is refused again and again, for as many streams as there are.
    fn check_refused_appends(is_new: bool) {
        let store = EventStore::in_memory(&Options::new().background(false)).unwrap();
        let Role::Writer(side) = &store.inner.role else { unreachable!("it was opened for writing") };
        let remembered = || side.commit.writer.lock().heads.remembered();
        if !is_new {
            store.append("a", ExpectedVersion::Any, NewEvent::new("A", "")).unwrap();
        }
        let (_, most) = remembered();
        for number in 0..most + 1000 {
            let stream = format!("order-{number}");
            let refused = store.append(stream, ExpectedVersion::StreamExists, NewEvent::new("A", ""));
            assert!(matches!(refused, Err(AppendError::ConcurrencyConflict { .. })), "{refused:?}");
        }
        assert_eq!(remembered().0, most);
    }

    #[test]
    fn the_streams_of_appends_that_are_refused_are_not_remembered_for_ever() {
        check_refused_appends(true);
        check_refused_appends(false);
    }

    #[test]
    fn nothing_is_cut_off_under_an_event_that_was_lent_out_and_could_not_be_synced() {
        check_reopen(&Options::new().background(false).durability(Durability::Buffered), false);
    }

    #[test]
    fn durable_and_copied_events_of_a_poisoned_store_keep_nobody_from_opening_it_again() {
        check_reopen(&Options::new().background(false), true);
        check_reopen(&Options::new().background(false).durability(Durability::Buffered).pread(true), true);
    }
}
