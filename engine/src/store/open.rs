//! Opening: from a directory's files to a store that can be used.
//!
//! For writing: lock, survey, decide, load what is older, carry out, load what
//! is newest, start. For reading: survey, decide, load; nothing is changed.

use std::io;
use std::sync::Arc;

use annals_codec::{LogId, u64_at};

use super::consumer::Consumers;
use super::folder::Folders;
use super::{Inner, OpenWhile, Role, WriterSide};
use crate::append::commit::{CommitState, Writer};
use crate::append::queue::Queue;
use crate::background::{Background, Beside};
use crate::bell::Bell;
use crate::error::{Doing, OpenError};
use crate::follow::Follower;
use crate::index::IndexedSegment;
use crate::index::build::IndexBuilder;
use crate::index::files::IndexFiles;
use crate::index::floor::FloorIndex;
use crate::index::heads::Heads;
use crate::index::indexer::Indexer;
use crate::index::load::Loader;
use crate::index::memory::MemoryIndex;
use crate::log::active::{ActiveLog, LogState, PreparedSlot};
use crate::log::names;
use crate::log::recover::carry_out;
use crate::log::recover::decide::{Mode, Plan, decide};
use crate::log::recover::survey::{Purpose, survey};
use crate::metrics::measure::{Counter, Measure};
use crate::metrics::meter::Meter;
use crate::options::Options;
use crate::poison::Poison;
use crate::report::RecoveryReport;
use crate::shown::{Shown, load_older, load_to_read, open_floor};
use crate::storage::{LockError, Storage};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::view::{Published, View};
use crate::workers::Workers;

/// What a recovery for writing has brought about.
struct Recovered {
    state: LogState,
    report: RecoveryReport,
    /// Of the segment that the writer goes on with.
    index: Arc<MemoryIndex>,
    files: Arc<IndexFiles>,
    loader: Loader,
    /// The sealed ones.
    segments: Vec<IndexedSegment>,
    floor: Option<Arc<FloorIndex>>,
    has_unfinished_redaction: bool,
}

/// One recovery. `None` when it has to begin anew, each time with one file less.
fn recover(
    storage: &Arc<dyn Storage>,
    options: &Options,
    meter: &Meter,
    now: i64,
) -> Result<Option<Recovered>, OpenError> {
    let _span = tracing::debug_span!("recover").entered();
    let segment_bytes = options.segment_bytes;
    let mut loader = Loader::default();
    let (last, mut offsets) = (Arc::new(MemoryIndex::default()), Vec::new());
    let mut taken = IndexBuilder::new(&last).keeping(&mut offsets);
    let facts = survey(&**storage, Purpose::Write, &mut taken)?;
    taken.finish();
    let has_unfinished_redaction = facts.has_unfinished_redaction;
    match decide(&facts, Mode::Strict)? {
        Plan::Create => {
            let (state, report) =
                carry_out::create(storage, &facts, (segment_bytes, options.hash_chain == Some(true)), now)?;
            let files = IndexFiles::measured(Arc::clone(storage), state.meta.meta().log_id, true, meter.clone());
            let (index, segments) = (Arc::default(), Vec::new());
            Ok(Some(Recovered { state, report, index, files, loader, segments, floor: None, has_unfinished_redaction }))
        }
        Plan::Use(plan) => {
            let files = IndexFiles::measured(Arc::clone(storage), plan.log_id, true, meter.clone());
            let segments = load_older(&**storage, &mut loader, &files, &facts, &plan)?;
            let Some((state, report)) = carry_out::carry_out(storage, &facts, &plan, segment_bytes, now)? else {
                return Ok(None);
            };
            loader.take_time(&plan.end.totals);
            let floor = open_floor(&**storage, &plan);
            if let Some(floor) = floor.as_ref().and_then(|floor| floor.anchor()) {
                loader.recorded_at = loader.recorded_at.max(floor.recorded_at);
            }
            let index = match plan.finish_roll {
                None => {
                    state.segment.place_events(&offsets);
                    last
                }
                // Its index is a file, and the segment that goes on is a new one.
                Some(_) => Arc::default(),
            };
            Ok(Some(Recovered { state, report, index, files, loader, segments, floor, has_unfinished_redaction }))
        }
    }
}

impl Inner {
    /// Opens a store for writing; the options were checked.
    pub(super) fn open_writer(storage: Arc<dyn Storage>, options: &Options) -> Result<Inner, OpenError> {
        let _span = tracing::debug_span!("open").entered();
        let meter = options.meter();
        if !options.create {
            refuse_missing(&*storage)?;
        }
        let lock = storage.lock().map_err(|error| match error {
            LockError::Held { pid } => OpenError::AlreadyOpen { pid },
            LockError::Io(source) => OpenError::Io { action: "lock", path: storage.describe(""), source },
        })?;
        let began = meter.now();
        let now = options.clock.now();
        let recovered = loop {
            let recovered = recover(&storage, options, &meter, now).inspect_err(|error| ended(&meter, error));
            if let Some(recovered) = recovered? {
                break recovered;
            }
        };
        let Recovered { state, mut report, index, files, loader, mut segments, floor, has_unfinished_redaction } =
            recovered;
        // A sealed one without a successor is among the older ones already.
        if !state.segment.sealed {
            segments.push(IndexedSegment::in_memory(Arc::clone(&state.segment), Arc::clone(&index)));
        }
        tracing::info!(head = %state.position, segment = %state.segment.number, clean = report.is_clean(), "opened");

        let mut salt = [0; 8];
        storage.fill_random(&mut salt).doing("make event ids for", || storage.describe(""))?;
        let keeps_hashes = options.hash_chain.unwrap_or(state.hash.is_some());
        let poison = Arc::new(Poison::default());
        let prepared = PreparedSlot::default();
        let log_id = state.meta.meta().log_id;
        let view = View::new(segments, Vec::new()).on(floor);
        let published = Arc::new(Published::new(view, state.position, state.epoch));
        let log = ActiveLog::new(
            Arc::clone(&storage),
            Arc::clone(&poison),
            Arc::clone(&prepared),
            (options.segment_bytes, keeps_hashes),
            meter.clone(),
            state,
        );
        let writer = Writer::new(log, Heads::new(Arc::clone(&published)), index, loader.recorded_at, u64_at(&salt, 0));
        let bell = Arc::new(Bell::default());
        let workers = match &options.workers {
            _ if !options.background => None,
            Some(shared) => Some(shared.clone()),
            // Without them nobody would sync what is buffered.
            None => Some(Workers::own().doing("start threads for", || storage.describe(""))?),
        };
        let indexer = workers.as_ref().map(|workers| Indexer::start(&files, &published, workers));
        let commit = Arc::new(CommitState {
            writer: Mutex::new(writer),
            published: Arc::clone(&published),
            poison,
            clock: Arc::clone(&options.clock),
            zero_ahead: options.zero_ahead,
            roll: options.roll,
            bell: Arc::clone(&bell),
            files,
            meter: meter.clone(),
            is_alone: !options.background,
            sealed: indexer.as_ref().map(Indexer::caller),
            own_appends: AtomicU64::new(0),
            lock: Mutex::new(Some(lock)),
        });
        let queue = Arc::new(Queue::default());
        let beside = Arc::new(Beside {
            bell,
            commit: Arc::clone(&commit),
            queue: Arc::clone(&queue),
            storage: Arc::clone(&storage),
            prepared,
            flush_interval: options.flush_interval,
            zero_ahead: options.zero_ahead.min(options.segment_bytes),
            retention: options.retention,
            options: options.clone().hash_chain(keeps_hashes),
            retaining: Mutex::new(()),
            has_indexes: AtomicBool::new(false),
        });
        if has_unfinished_redaction {
            // What could not be read is told to who reads it, and `verify` says what is left to do.
            report.notes.push(match beside.finish_redactions() {
                Ok(()) => "a redaction had been interrupted, and was finished or undone".to_owned(),
                Err(error) => format!("a redaction had been interrupted, and could not be finished: {error}"),
            });
        }
        meter.since(Measure::Recovery, began);
        if !report.is_clean() {
            meter.count(Counter::Recoveries, 1);
        }
        let background = workers.as_ref().map(|workers| Background::start(&beside, workers));
        let side = WriterSide { queue, commit, beside, background, indexer, process: std::process::id() };
        let role = Role::Writer(side);
        Ok(Inner::new(log_id, options.clone().hash_chain(keeps_hashes), report, published, meter, storage, role))
    }

    /// Opens a store for reading.
    pub(super) fn open_follower(storage: Arc<dyn Storage>, options: &Options) -> Result<Inner, OpenError> {
        let _span = tracing::debug_span!("open").entered();
        let meter = options.meter();
        refuse_missing(&*storage)?;
        let began = meter.now();
        let shown = load_to_read(&storage, &meter).inspect_err(|error| ended(&meter, error));
        let Shown { plan, files, loader, newest, view } = shown?;
        let tail = newest.tail;
        let report = RecoveryReport {
            head: tail.position,
            epoch: plan.end.epoch,
            gaps: loader.gaps.clone(),
            notes: plan.notes.clone(),
            ..RecoveryReport::default()
        };
        let published = Arc::new(Published::new(view, tail.position, plan.end.epoch));
        let seen = plan.watermark.map_or(0, |watermark| watermark.sequence);
        let follower = Follower::new(Arc::clone(&storage), files, loader, newest, seen);
        let role = Role::Follower(Arc::new(Mutex::new(follower)));
        meter.since(Measure::Recovery, began);
        if !report.gaps.is_empty() {
            meter.count(Counter::Corruptions, report.gaps.len() as u64);
        }
        Ok(Inner::new(plan.log_id, options.clone(), report, published, meter, storage, role))
    }

    fn new(
        log_id: LogId,
        options: Options,
        report: RecoveryReport,
        published: Arc<Published>,
        meter: Meter,
        storage: Arc<dyn Storage>,
        role: Role,
    ) -> Inner {
        let (consumers, folders) = (Consumers::default(), Folders::default());
        let open = OpenWhile(Arc::clone(&published));
        Inner { log_id, options, report, published, meter, storage, consumers, folders, role, _open: open }
    }
}

/// Counts the damage that has ended an opening.
fn ended(meter: &Meter, error: &OpenError) {
    if matches!(error, OpenError::Corrupt(_)) {
        meter.count(Counter::Corruptions, 1);
    }
}

/// Refuses a place where there is no store, without touching it.
fn refuse_missing(storage: &dyn Storage) -> Result<(), OpenError> {
    let holds = |dir, name| match storage.list(dir) {
        Ok(names) => Ok(names.iter().any(|found: &String| found == name || dir == names::SEGMENTS)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Io { action: "list", path: storage.describe(dir), source }),
    };
    if holds("", names::META)? || holds(names::SEGMENTS, "")? {
        Ok(())
    } else {
        Err(OpenError::NotFound { path: storage.describe("").into() })
    }
}
