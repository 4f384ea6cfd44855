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
use crate::follow::{Follower, MOST_SEGMENT_LEN, Newest, behind};
use crate::index::IndexedSegment;
use crate::index::build::IndexBuilder;
use crate::index::files::IndexFiles;
use crate::index::heads::Heads;
use crate::index::indexer::Indexer;
use crate::index::load::{self, Loader};
use crate::index::memory::MemoryIndex;
use crate::log::active::{ActiveLog, LogState, PreparedSlot};
use crate::log::names;
use crate::log::recover::decide::{Mode, Plan, Usable, decide};
use crate::log::recover::survey::{Content, Facts, LastFacts, Purpose, SegmentFacts, survey};
use crate::log::recover::{carry_out, survey_beside_writer};
use crate::log::segment::Segment;
use crate::options::Options;
use crate::poison::Poison;
use crate::report::RecoveryReport;
use crate::storage::{LockError, Storage};
use crate::sync::Mutex;
use crate::sync::atomic::AtomicBool;
use crate::view::{Published, View};

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
}

/// One recovery. `None` when it has to begin anew, each time with one file less.
fn recover(storage: &Arc<dyn Storage>, segment_bytes: u64, now: i64) -> Result<Option<Recovered>, OpenError> {
    let mut loader = Loader::default();
    let (last, mut offsets) = (Arc::new(MemoryIndex::default()), Vec::new());
    let mut taken = IndexBuilder::new(&last).keeping(&mut offsets);
    let facts = survey(&**storage, Purpose::Write, &mut taken)?;
    taken.finish();
    match decide(&facts, Mode::Strict)? {
        Plan::Create => {
            let (state, report) = carry_out::create(storage, &facts, segment_bytes, now)?;
            let files = IndexFiles::new(Arc::clone(storage), state.meta.meta().log_id, true);
            Ok(Some(Recovered { state, report, index: Arc::default(), files, loader, segments: Vec::new() }))
        }
        Plan::Use(plan) => {
            let files = IndexFiles::new(Arc::clone(storage), plan.log_id, true);
            let segments = load_older(&**storage, &mut loader, &files, &facts, &plan)?;
            let Some((state, report)) = carry_out::carry_out(storage, &facts, &plan, segment_bytes, now)? else {
                return Ok(None);
            };
            loader.take_time(&plan.end.totals);
            let index = match plan.finish_roll {
                None => {
                    state.segment.place_events(&offsets);
                    last
                }
                // Its index is a file, and the segment that goes on is a new one.
                Some(_) => Arc::default(),
            };
            Ok(Some(Recovered { state, report, index, files, loader, segments }))
        }
    }
}

impl Inner {
    /// Opens a store for writing; the options were checked.
    pub(super) fn open_writer(storage: Arc<dyn Storage>, options: &Options) -> Result<Inner, OpenError> {
        if !options.create {
            refuse_missing(&*storage)?;
        }
        let lock = storage.lock().map_err(|error| match error {
            LockError::Held { pid } => OpenError::AlreadyOpen { pid },
            LockError::Io(source) => OpenError::Io { action: "lock", path: storage.describe(""), source },
        })?;
        let now = options.clock.now();
        let recovered = loop {
            if let Some(recovered) = recover(&storage, options.segment_bytes, now)? {
                break recovered;
            }
        };
        let Recovered { state, report, index, files, loader, mut segments } = recovered;
        // A sealed one without a successor is among the older ones already.
        if !state.segment.sealed {
            segments.push(IndexedSegment::in_memory(Arc::clone(&state.segment), Arc::clone(&index)));
        }
        tracing::info!(head = %state.position, segment = %state.segment.number, clean = report.is_clean(), "opened");

        let mut salt = [0; 8];
        storage.fill_random(&mut salt).doing("make event ids for", || storage.describe(""))?;
        let poison = Arc::new(Poison::default());
        let prepared = PreparedSlot::default();
        let log_id = state.meta.meta().log_id;
        let published = Arc::new(Published::new(View::new(segments, Vec::new()), state.position, state.epoch));
        let log = ActiveLog::new(
            Arc::clone(&storage),
            Arc::clone(&poison),
            Arc::clone(&prepared),
            options.segment_bytes,
            state,
        );
        let writer = Writer::new(log, Heads::new(Arc::clone(&published)), index, loader.recorded_at, u64_at(&salt, 0));
        let bell = Arc::new(Bell::default());
        let indexer = options.background.then(|| Indexer::start(&files, &published)).flatten();
        let commit = Arc::new(CommitState {
            writer: Mutex::new(writer),
            published: Arc::clone(&published),
            poison,
            clock: Arc::clone(&options.clock),
            zero_ahead: options.zero_ahead,
            bell: Arc::clone(&bell),
            files,
            is_alone: !options.background,
            sealed: indexer.as_ref().map(Indexer::news),
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
            has_indexes: AtomicBool::new(false),
        });
        let background = options.background.then(|| Background::start(&beside)).flatten();
        let side = WriterSide { queue, commit, beside, background, indexer };
        let role = Role::Writer(side);
        Ok(Inner::new(log_id, options.clone(), report, published, storage, role))
    }

    /// Opens a store for reading.
    pub(super) fn open_follower(storage: Arc<dyn Storage>) -> Result<Inner, OpenError> {
        refuse_missing(&*storage)?;
        let (facts, plan) = survey_to_read(&*storage)?;
        let mut loader = Loader::default();
        let files = IndexFiles::new(Arc::clone(&storage), plan.log_id, false);
        let mut segments = load_older(&*storage, &mut loader, &files, &facts, &plan)?;
        let newest = load_shown(&mut loader, &facts, &plan)?;
        let tail = newest.tail;
        segments.push(newest.segment.clone());
        let view = View::new(segments, loader.gaps.clone());
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
        Ok(Inner::new(plan.log_id, Options::new(), report, published, storage, role))
    }

    fn new(
        log_id: LogId,
        options: Options,
        report: RecoveryReport,
        published: Arc<Published>,
        storage: Arc<dyn Storage>,
        role: Role,
    ) -> Inner {
        let (consumers, folders) = (Consumers::default(), Folders::default());
        let open = OpenWhile(Arc::clone(&published));
        Inner { log_id, options, report, published, storage, consumers, folders, role, _open: open }
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

/// Surveys a store that is only to be read, and finds that there is one.
fn survey_to_read(storage: &dyn Storage) -> Result<(Facts, Box<Usable>), OpenError> {
    let (facts, decided) = survey_beside_writer(storage)?;
    match decided? {
        Plan::Use(plan) => Ok((facts, plan)),
        Plan::Create => Err(OpenError::NotFound { path: storage.describe("").into() }),
    }
}

/// Makes every segment that has a successor ready to be read. Nothing of their events is.
fn load_older(
    storage: &dyn Storage,
    loader: &mut Loader,
    files: &Arc<IndexFiles>,
    facts: &Facts,
    plan: &Usable,
) -> Result<Vec<IndexedSegment>, OpenError> {
    let mut segments = Vec::with_capacity(facts.segments.len() + 1);
    for (segment, successor) in facts.segments.iter().zip(facts.segments.iter().skip(1)) {
        segments.push(match segment.sealed_end(successor.base) {
            Some(end) => loader.sealed(storage, segment, &end, files)?,
            // Only a reader comes here: a writer has refused it.
            None => loader.damaged(storage, segment, successor.base)?,
        });
    }
    if let (Some(end), Some(last)) = (plan.finish_roll, facts.segments.last())
        && files.is_writable()
    {
        segments.push(loader.sealed(storage, last, &end, files)?);
    }
    Ok(segments)
}

/// Loads what a reader may be shown of the last segment: what is durable.
fn load_shown(loader: &mut Loader, facts: &Facts, plan: &Usable) -> Result<Newest, OpenError> {
    let (last, last_facts) = last_segment(facts);
    let place = load::place(last, last_facts.seed, Arc::clone(last.last_file()));
    let segment = Segment::growing(place, MOST_SEGMENT_LEN).doing("map", || last.display.clone())?;
    let index = Arc::new(MemoryIndex::default());
    let watermark = plan.watermark.filter(|watermark| watermark.segment == last.number);
    let durable = last_facts.durable_offset().max(watermark.map_or(0, |watermark| watermark.offset));
    let mut reached = loader.last(last, last_facts.start, durable.min(last.len), &segment, &index)?;
    segment.publish(reached.offset, reached.position);
    if let Some(watermark) = watermark.filter(|watermark| watermark.position > reached.position) {
        // The head counts what is lost, so that who reads up to it is told.
        loader.leave_out(last, reached.offset, reached.position, watermark.position, "the end of the log is damaged");
        segment.publish(reached.offset, watermark.position);
        reached = behind(&watermark);
    }
    Ok(Newest {
        segment: IndexedSegment::in_memory(Arc::new(segment), Arc::clone(&index)),
        index,
        file: Arc::clone(last.last_file()),
        tail: reached,
    })
}

fn last_segment(facts: &Facts) -> (&SegmentFacts, &LastFacts) {
    match facts.segments.last() {
        Some(SegmentFacts { content: Content::Last(Some(last)), .. }) => {
            (facts.segments.last().expect("it was just looked at"), last)
        }
        _ => unreachable!("a plan to use a store has scanned its last segment"),
    }
}
