//! How a store is opened: every choice, with its default and its price.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::admit::Admission;
use crate::clock::{Clock, SystemClock};
use crate::error::OpenError;
use crate::metrics::Recorder;
use crate::metrics::meter::Meter;
use crate::retain::Retention;
use crate::workers::Workers;

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Durability {
    /// After `fdatasync`: it survives a power loss. Callers that wait together share one sync.
    #[default]
    Sync,
    /// After `write`: it survives the death of the process, not that of the machine,
    /// until the next sync ([`Options::flush_interval`], [`flush`](crate::EventStore::flush),
    /// or anybody's `Sync` append).
    Buffered,
}

/// When a segment ends and the next one begins, besides when it is full.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Roll {
    /// Only then.
    #[default]
    WhenFull,
    /// Also at the first event of another day, in UTC, by the time of recording: so no segment holds events of two days,
    /// and a day is removed, copied or read by itself. A day without events has no segment, and a busy one several.
    ///
    /// The time of recording never goes back, so days do not either, whatever the clock does. When the caller says that
    /// something occurred moves nothing.
    Daily,
}

/// How a store is opened. The defaults are the safe choices.
///
/// ```
/// use annals::{Durability, Options};
///
/// let options = Options::new().segment_bytes(16 << 20).durability(Durability::Buffered);
/// ```
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Options {
    pub(crate) create: bool,
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) roll: Roll,
    pub(crate) max_event_bytes: u64,
    pub(crate) max_batch_bytes: u64,
    pub(crate) zero_ahead: u64,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) background: bool,
    pub(crate) pread: bool,
    pub(crate) retention: Option<Retention>,
    pub(crate) hash_chain: Option<bool>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) admission: Option<Arc<dyn Admission>>,
    pub(crate) workers: Option<Workers>,
    pub(crate) metrics: bool,
    pub(crate) recorder: Option<Arc<dyn Recorder>>,
}

impl Options {
    const LEAST_SEGMENT_BYTES: u64 = 64 << 10;
    const MOST_SEGMENT_BYTES: u64 = 16 << 30;
    pub(crate) const DEFAULT_MAX_BATCH_BYTES: u64 = 64 << 20;
    const MOST_BATCH_BYTES: u64 = 1 << 30;

    /// The defaults, as each setter states them.
    pub fn new() -> Options {
        Options {
            create: true,
            durability: Durability::Sync,
            segment_bytes: 64 << 20,
            roll: Roll::WhenFull,
            max_event_bytes: 16 << 20,
            max_batch_bytes: Options::DEFAULT_MAX_BATCH_BYTES,
            zero_ahead: 8 << 20,
            flush_interval: Some(Duration::from_secs(1)),
            background: true,
            pread: false,
            retention: None,
            hash_chain: None,
            clock: Arc::new(SystemClock),
            admission: None,
            workers: None,
            metrics: false,
            recorder: None,
        }
    }

    /// Whether a store that does not exist is made. Default: yes.
    #[must_use]
    pub fn create(mut self, create: bool) -> Options {
        self.create = create;
        self
    }

    /// When an append is acknowledged, unless it says otherwise itself. Default: [`Durability::Sync`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// Size at which a segment is sealed and the next one begins, in bytes.
    ///
    /// A batch is never split: one that does not fit rolls to the next segment, and one larger
    /// than a segment gets a segment of its own. Smaller segments bound recovery more tightly
    /// and free disk space sooner; larger ones mean fewer files. Default: 64 MiB.
    /// [`EventStore::open`](crate::EventStore::open) refuses less than 64 KiB and more than 16 GiB.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// When a segment ends, besides when it is full. Default: [`Roll::WhenFull`].
    ///
    /// ```
    /// use annals::{Options, Roll};
    ///
    /// let options = Options::new().roll(Roll::Daily);
    /// ```
    #[must_use]
    pub fn roll(mut self, roll: Roll) -> Options {
        self.roll = roll;
        self
    }

    /// The largest event accepted, in bytes on disk with all overhead: 72 bytes and its names.
    /// Default: 16 MiB. [`EventStore::open`](crate::EventStore::open) refuses 0 and more than
    /// [`max_batch_bytes`](Options::max_batch_bytes).
    #[must_use]
    pub fn max_event_bytes(mut self, bytes: u64) -> Options {
        self.max_event_bytes = bytes;
        self
    }

    /// The largest batch accepted, in bytes on disk with all overhead: 64 bytes for the batch, and
    /// what its events take. Default: 64 MiB. [`EventStore::open`](crate::EventStore::open) refuses
    /// 0, more than 1 GiB, and less than [`max_event_bytes`](Options::max_event_bytes).
    ///
    /// A batch is encoded in memory before it is written, so this bounds the memory an append takes.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: u64) -> Options {
        self.max_batch_bytes = bytes;
        self
    }

    /// How far ahead of its end the log is filled with zeros, in bytes; 0 turns it off.
    ///
    /// A durable append into space that was written before needs no change of metadata, which
    /// makes it about twice as fast on common file systems. The background thread zeroes in small
    /// steps, never more than the store has already taken in, and only while appends are
    /// [`Durability::Sync`]. Turn it off to load much at once. Default: 8 MiB.
    #[must_use]
    pub fn zero_ahead(mut self, bytes: u64) -> Options {
        self.zero_ahead = bytes;
        self
    }

    /// How long a [`Durability::Buffered`] append may wait for its sync; `None` leaves it to
    /// [`flush`](crate::EventStore::flush). Default: 1 second.
    #[must_use]
    pub fn flush_interval(mut self, interval: Option<Duration>) -> Options {
        self.flush_interval = interval;
        self
    }

    /// Whether threads work beside the writer. Default: yes, two, unless the store [shares them](Options::workers).
    ///
    /// Without it nothing is zeroed or prepared ahead, `flush_interval` has no effect, and a
    /// ticket that nobody waits for is committed by the next append, by `flush` or at close;
    /// unless the program does all this itself, with [`maintain`](crate::EventStore::maintain), when it has time.
    /// Simulated crashes turn it off, so that a story always takes the same course.
    #[must_use]
    pub fn background(mut self, background: bool) -> Options {
        self.background = background;
        self
    }

    /// Whether segments are read with `pread` instead of through a memory mapping. Default: no.
    ///
    /// Slower, and it keeps a file descriptor for each segment; but a sector that cannot be read
    /// becomes an error instead of a signal.
    #[must_use]
    pub fn pread(mut self, pread: bool) -> Options {
        self.pread = pread;
        self
    }

    /// How much of the newest events is kept. Default: everything.
    ///
    /// Looked at when a segment is full and the next one begins, by the background thread or by
    /// [`maintain`](crate::EventStore::maintain). The oldest segments go as
    /// [`truncate_before`](crate::EventStore::truncate_before) removes them, under [`Guard::Consumers`](crate::Guard):
    /// when somebody is behind they stay, and the log says so (`tracing`). They stay also as long as
    /// they take less than what has to be written about all that was removed, the names of its streams.
    ///
    /// It knows of no archive: of a store that is archived, `Archive::drop_local` of `annals-archive` removes what is there.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Options {
        self.retention = Some(retention);
        self
    }

    /// Whether commit markers carry a hash chain, which makes a change to the past show. Default: as the store
    /// does already; a new one does not.
    ///
    /// Each batch is hashed (SHA-256, every field) together with the hash before it. So the hash at the end,
    /// [`chain_tip`](crate::EventStore::chain_tip), stands for the whole history: who has kept it elsewhere can
    /// tell later whether the log still is what it was ([`inspect::verify`](crate::inspect::verify),
    /// `annals verify --witness`). Without such a witness, somebody who can write to the files could
    /// compute all hashes anew, or cut off the end.
    ///
    /// Costs 32 bytes a batch, and about 300 ns for each event of 300 bytes. It may be turned on and off for a
    /// store that exists: the first append then begins a new segment. A chain that was turned off does not go on
    /// when it is turned on again; a new one begins, and `verify` says where.
    #[must_use]
    pub fn hash_chain(mut self, keep: bool) -> Options {
        self.hash_chain = Some(keep);
        self
    }

    /// Where the time of recording comes from. Default: the system's clock.
    ///
    /// A clock that panics while a batch is committed poisons the store.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = clock;
        self
    }

    /// Who is asked whether events may be appended. Default: nobody, which costs nothing.
    ///
    /// See [`Admission`] for an example; the crate `annals-schema` has one that checks JSON Schemas.
    #[must_use]
    pub fn admission(mut self, admission: Arc<dyn Admission>) -> Options {
        self.admission = Some(admission);
        self
    }

    /// The threads that do what is done beside the writer, when several stores share them. Default: two of its own.
    ///
    /// [`Stores`](crate::Stores) does this for all that it opens. Without a [background](Options::background) nobody is asked.
    #[must_use]
    pub fn workers(mut self, workers: Workers) -> Options {
        self.workers = Some(workers);
        self
    }

    /// Whether the store measures how long things take, and counts what goes wrong. Default: no, and then no
    /// clock is read for it.
    ///
    /// [`EventStore::metrics`](crate::EventStore::metrics) gives what was measured, and
    /// [`EventStore::prometheus`](crate::EventStore::prometheus) the same as text. Takes 65 KB for a store, and
    /// aims at less than 2 % of an append: an append that waits for its sync is always measured, and of the others
    /// one in 64, drawn by lot. Each is counted where something is counted. A store that is only read measures its reads,
    /// where it is [opened with options](crate::EventStore::open_read_only_with).
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, Measure, NewEvent, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path(), &Options::new().metrics(true))?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let metrics = store.metrics().expect("it was asked to measure");
    /// assert_eq!(metrics.distribution(Measure::Append).count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn metrics(mut self, measure: bool) -> Options {
        self.metrics = measure;
        self
    }

    /// Who hears of everything that is measured, when it is measured. Default: nobody.
    ///
    /// With or without [`metrics`](Options::metrics), which is for who looks now and then. Stores that are opened with the
    /// same options tell the same recorder. See [`Recorder`] for an example; with the feature `metrics` there is
    /// `FacadeRecorder`, for the exporters behind the crate of that name.
    #[must_use]
    pub fn recorder(mut self, recorder: Arc<dyn Recorder>) -> Options {
        self.recorder = Some(recorder);
        self
    }

    /// What a store that is opened so measures with.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.metrics, self.recorder.clone())
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let within = |what, value, least, most| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(OpenError::InvalidOptions { what, value, least, most })
            }
        };
        within("segment_bytes", self.segment_bytes, Options::LEAST_SEGMENT_BYTES, Options::MOST_SEGMENT_BYTES)?;
        within("max_batch_bytes", self.max_batch_bytes, 1, Options::MOST_BATCH_BYTES)?;
        within("max_event_bytes", self.max_event_bytes, 1, self.max_batch_bytes)?;
        within("zero_ahead", self.zero_ahead, 0, Options::MOST_SEGMENT_BYTES)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("create", &self.create)
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .field("roll", &self.roll)
            .field("max_event_bytes", &self.max_event_bytes)
            .field("max_batch_bytes", &self.max_batch_bytes)
            .field("zero_ahead", &self.zero_ahead)
            .field("flush_interval", &self.flush_interval)
            .field("background", &self.background)
            .field("pread", &self.pread)
            .field("retention", &self.retention)
            .field("hash_chain", &self.hash_chain)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}
