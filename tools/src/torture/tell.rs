//! Tells a story on a simulated disk, and checks every promise on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals::storage::sim::SimDisk;
use annals::{
    AppendCondition, AppendError, Appended, Clock, EventStore, ExpectedVersion, Guard, NewEvent, OpenError, Options,
    Outcome, QueryItem, Retention, StreamVersion, TruncateError,
};

use super::aftermath::aftermath;
use super::followers;
use super::following::{Following, Hindered, wait_for};
use super::model::{Batch, End, Model};
use super::oracle;
use super::rot::rot;
use super::story::{Ending, Life, Step, Story, Trouble};
use super::tally::Tally;
use super::violation::{Rule, Violation, ensure};

/// A clock that a disk's whole fate can be repeated with.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> i64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// Options under which a story always takes the same course: no thread, no time that passes by
/// itself, segments of 64 KiB.
pub fn options() -> Options {
    let options = Options::new().background(false).flush_interval(None).clock(Arc::new(Ticking::default()));
    options.segment_bytes(64 << 10).zero_ahead(16 << 10)
}

/// Opens the store of a simulated disk with these [`options`]. One disk in eight wants a hash chain, by its seed;
/// the seed changes with a power loss, so that chains begin and end within a story, too.
///
/// # Errors
///
/// As [`EventStore::open`].
pub fn open(disk: &SimDisk) -> Result<EventStore, OpenError> {
    // Not the disks of stories that a person has written down, with their small numbers.
    let wants_chain = disk.seed() > 1_000 && disk.seed() % 8 == 7;
    EventStore::open_on(Arc::new(disk.clone()), &options().hash_chain(wants_chain))
}

/// Tells a story to its end, and then looks whether the store still does all it should.
///
/// # Errors
///
/// The first promise that is broken.
pub fn tell(story: &Story, tally: &mut Tally) -> Result<(), Violation> {
    tally.stories += 1;
    let mut disk = SimDisk::new(story.disk);
    let mut model = Model::default();
    let mut end = End::Kill;
    for (index, life) in story.lives.iter().enumerate() {
        if let Some(journal) = &mut tally.journal {
            disk.record_journal();
            journal.push(format!("life {}: {life}", index + 1));
        }
        let told = live(&disk, life, model, end, tally);
        if let Some(journal) = &mut tally.journal {
            journal.extend(disk.journal());
        }
        let told = told.map_err(|violation| violation.at(Place(index, life)))?;
        if told.is_beyond_the_model() {
            tally.beyond_the_model += 1;
            return Ok(());
        }
        (disk, end) = told.after(life.ending, tally);
        model = told.model;
        if let Ending::Rot(pick) = life.ending
            && told.met.is_empty()
            && !told.disk.is_stopped()
            && told.opened != Opened::Never
        {
            return rot(&disk, &model, pick, tally);
        }
    }
    aftermath(&disk, &model, end, tally).map_err(|violation| violation.at("afterwards"))?;
    Ok(())
}

/// Takes steps on a disk that may be told to stop or to fail, and leaves it to itself: whoever
/// wants to see the disk of a process that is in the middle of something. What the log must hold now.
///
/// # Errors
///
/// The first promise that is broken.
pub fn tell_on(disk: &SimDisk, steps: &[Step]) -> Result<Model, Violation> {
    let life = Life { steps: steps.to_vec(), troubles: Vec::new(), ending: Ending::Kill };
    let told = live(disk, &life, Model::default(), End::Kill, &mut Tally::default())?;
    Ok(told.model)
}

/// Which life of a story it was.
struct Place<'a>(usize, &'a Life);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in life {} ({})", self.0 + 1, self.1)
    }
}

/// A version that no stream of a story comes to.
const NEVER: ExpectedVersion = ExpectedVersion::Exact(StreamVersion::new(1_000));

/// Whether the store could be opened in a life.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Opened {
    Never,
    /// A fault kept it from opening at first.
    Again,
    AtOnce,
}

/// A life that is over, or about to be.
#[expect(clippy::struct_excessive_bools, reason = "each is true or not, whatever the others are")]
pub(super) struct Told {
    disk: SimDisk,
    pub(super) model: Model,
    /// Kept open, so that nobody closes it; `None` when it could not be opened.
    pub(super) store: Option<EventStore>,
    /// Whether the store said that it is poisoned.
    pub(super) poisoned: bool,
    /// Whether the disk was said to be full.
    pub(super) was_full: bool,
    /// How the life before ended.
    before: End,
    /// Whether the store could be opened.
    opened: Opened,
    /// The planned faults that struck, as lines of the disk's journal.
    pub(super) met: Vec<String>,
    /// Whether reads meet faults too.
    reads_fail: bool,
    /// Every batch that was told of so far, to ask for it again.
    known: Vec<Batch>,
    /// Whether the disk is, or may become, nearly full.
    may_be_full: bool,
    /// Those who follow the log.
    following: Following,
}

/// Lives one life on `disk`, whose life before ended so and left the model.
///
/// # Errors
///
/// The first promise that is broken.
pub(super) fn live(
    disk: &SimDisk,
    life: &Life,
    model: Model,
    before: End,
    tally: &mut Tally,
) -> Result<Told, Violation> {
    let was_full = disk.capacity().is_some() || life.steps.iter().any(|step| matches!(step, Step::Space(_)));
    let mut reads_fail = false;
    for trouble in &life.troubles {
        tally.planned(*trouble);
        match *trouble {
            Trouble::Stop(at) => disk.stop_at(at),
            Trouble::Fail(at, fault) => disk.fail_at(at, fault),
            Trouble::FailRead(at, fault) => {
                reads_fail = true;
                disk.fail_read_at(at, fault);
            }
        }
    }
    let known = model.batches().cloned().collect();
    let mut told = Told {
        disk: disk.clone(),
        model,
        store: None,
        poisoned: false,
        was_full: false,
        before,
        opened: Opened::Never,
        met: Vec::new(),
        reads_fail,
        known,
        may_be_full: was_full,
        following: Following::default(),
    };
    let faults = life.troubles.len();
    told.open(before, faults, tally)?;
    for (index, step) in life.steps.iter().enumerate() {
        if told.disk.is_stopped() || told.store.is_none() {
            break;
        }
        told.take(step, faults, tally)
            .map_err(|violation| violation.at(format_args!("step {} ({step})", index + 1)))?;
    }
    told.look_at_failed()?;
    if life.ending == Ending::Close && !disk.is_stopped() {
        told.let_go();
        tally.closes += 1;
    }
    told.met = disk.faults_met();
    told.model.sync_failed |= told.met.iter().any(|line| is_failed_sync(line));
    if told.met.iter().any(|line| line.contains(" sync_dir snap") && !line.ends_with("ShortWrite")) {
        told.model.followers.doubt_snapshots();
    }
    let was_told = told.poisoned || told.was_full || told.opened != Opened::AtOnce;
    let harmless = told.met.iter().all(|line| line.ends_with("ShortWrite"));
    let excused = was_full || disk.is_stopped();
    ensure!(!harmless || !was_told || excused, FailuresAreTold, "a short write is no error");
    tally.lived(disk, &told.met, was_told);
    Ok(told)
}

/// A line of the disk's journal that tells of a file's sync that failed.
fn is_failed_sync(line: &str) -> bool {
    line.contains(" sync ") && !line.contains("-> ShortWrite")
}

/// A line of a sync that failed while a store was opened, and that it must not pass over. A file that
/// is made for later, or to keep a copy, may find no space.
fn must_be_told(line: &str) -> bool {
    is_failed_sync(line) && (line.ends_with("Eio") || !line.contains(".tmp"))
}

fn worse(one: End, other: End) -> End {
    if one == End::PowerLoss { one } else { other }
}

impl Told {
    /// Whether what happened says nothing about the store, because the disk model is harder than file systems
    /// are: the store's own directory is synced only while the store is made, and the name of `seg` cannot be
    /// given once more. Whoever gets an error there, goes on, and then loses the power, may lose the store.
    pub(super) fn is_beyond_the_model(&self) -> bool {
        self.met.iter().any(|line| line.contains(" sync_dir  -> ") && !line.ends_with("ShortWrite"))
    }

    /// How many batches its recovery has shown, if it came so far.
    pub(super) fn shown(&self) -> Option<usize> {
        (self.opened != Opened::Never).then(|| self.model.shown())
    }

    /// The disk that the next life finds when this one ends so, and how it came to that.
    pub(super) fn after(&self, ending: Ending, tally: &mut Tally) -> (SimDisk, End) {
        let (disk, end) = match ending {
            Ending::PowerLoss(loss, seed) => {
                tally.power_losses.planned += 1;
                tally.power_losses.met += u64::from(self.disk.unsynced() > 0);
                (self.disk.after_power_loss(loss, seed), End::PowerLoss)
            }
            _ => {
                tally.kills.planned += u64::from(ending != Ending::Close);
                tally.kills.met += u64::from(self.disk.is_stopped());
                (self.disk.after_kill(), End::Kill)
            }
        };
        // Who never saw the store has saved nothing from the end before.
        (disk, if self.opened == Opened::Never { worse(self.before, end) } else { end })
    }

    /// Opens the store and checks it. Faults may keep it from opening, each once.
    fn open(&mut self, before: End, faults: usize, tally: &mut Tally) -> Result<(), Violation> {
        // Only sees that the disk is not locked any more.
        self.let_go();
        let mut left = faults;
        let store = loop {
            match open(&self.disk) {
                Ok(store) => break store,
                Err(_) if self.disk.is_stopped() => return Ok(()),
                Err(OpenError::Io { .. }) if left > 0 => {
                    left -= 1;
                }
                Err(error) => return Err(Violation::new(Rule::CrashIsNotDamage, format!("it does not open: {error}"))),
            }
        };
        tally.opens += 1;
        let met = self.disk.faults_met();
        let ignored = met.iter().find(|line| self.opened == Opened::Never && left == faults && must_be_told(line));
        ensure!(ignored.is_none(), FailuresAreTold, "it opened, although this failed: {ignored:?}");
        // What a failed sync has lost while it was being opened is lost as in a power failure.
        let lost = met.iter().any(|line| is_failed_sync(line));
        let least = self.model.least(if lost { End::PowerLoss } else { before });
        let shown = match oracle::check(&store, &self.model, least) {
            Ok(shown) => shown,
            // It died while it was looked at, or while it made an index: nobody has seen what was there.
            Err(_) if self.disk.is_stopped() => return Ok(()),
            // A read that fails tells nothing of the store.
            Err(_) if self.reads_fail => {
                self.disk.clear_faults();
                oracle::check(&store, &self.model, least)?
            }
            Err(violation) => return Err(violation),
        };
        tally.recovered(&self.model, shown, before, store.recovery_report());
        self.model.recovered(shown);
        self.model.has_lost(store.oldest().before().get() as usize);
        if !self.reads_fail && !self.disk.is_stopped() {
            tally.followers.resumed += followers::check(&store, &mut self.model)?;
        }
        self.opened = if left == faults && self.opened != Opened::Again { Opened::AtOnce } else { Opened::Again };
        self.poisoned = false;
        self.store = Some(store);
        Ok(())
    }

    fn take(&mut self, step: &Step, faults: usize, tally: &mut Tally) -> Result<(), Violation> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        tally.steps += 1;
        self.known.extend(step.batches().iter().cloned());
        match step {
            Step::Commit(batch) => self.commit(&store, batch, faults),
            Step::Again(number) => match self.known.iter().find(|batch| batch.number == *number).cloned() {
                Some(batch) if batch.can_be_retried() && !self.model.may_have_lost(&batch) => {
                    let batch = Batch { durability: annals::Durability::Sync, is_exact: false, ..batch };
                    self.commit(&store, &batch, faults)
                }
                _ => Ok(()),
            },
            Step::Group(batches) => {
                let tickets: Vec<_> = batches.iter().map(|batch| (batch, batch.builder(&store).submit())).collect();
                for (batch, ticket) in tickets {
                    self.learn(batch, ticket.and_then(annals::Ticket::wait))?;
                }
                Ok(())
            }
            Step::Flush => match store.flush() {
                Ok(position) => {
                    ensure!(!self.poisoned, FailuresAreTold, "a flush after poison");
                    let (durable, head) = (store.durable_head(), store.head());
                    ensure!(durable == position && head == position, ReadsAgree, "flushed to {position}, of {head}");
                    self.model.flushed()
                }
                Err(_) => {
                    self.poisoned = true;
                    Ok(())
                }
            },
            Step::Maintain => match store.maintain() {
                Ok(()) => {
                    ensure!(!self.poisoned, FailuresAreTold, "a poisoned store was maintained");
                    Ok(())
                }
                Err(AppendError::Poisoned { .. }) => {
                    self.poisoned = true;
                    Ok(())
                }
                Err(error) => Err(Violation::new(Rule::FailuresAreTold, format!("nobody is told of {error}"))),
            },
            Step::Reader => self.look(),
            Step::Conflict(stream) => {
                let refused = store.append(*stream, NEVER, NewEvent::new("Never", ""));
                self.refused(refused, |error| matches!(error, AppendError::ConcurrencyConflict { .. }))
            }
            Step::ConflictBehind(batch) => self.conflict_behind(&store, batch),
            Step::FailIf(stream) => {
                // What would make it fail may not have been written.
                if store.stream_version(*stream).is_ok_and(|version| version == StreamVersion::EMPTY) {
                    return Ok(());
                }
                let condition = AppendCondition::default().fail_if_exists(QueryItem::new().stream(*stream));
                let refused = store.batch().event("n", NewEvent::new("Never", "")).condition(condition).commit();
                let has_lost = self.model.removed().1 > 0;
                self.refused(refused, |error| match error {
                    AppendError::Truncated { .. } => has_lost,
                    error => matches!(error, AppendError::ConditionFailed { .. }),
                })
            }
            Step::Keep(events) => self.keep(&store, *events),
            Step::RefusedBehind(batch) => self.refused_behind(&store, batch),
            Step::Await(batch) if self.reads_fail => self.commit(&store, batch, faults),
            Step::Await(batch) => {
                let disk = self.disk.clone();
                wait_for(&store, &disk, &mut tally.followers, || self.commit(&store, batch, faults))
            }
            Step::Consume(..) | Step::Checkpoint(_) | Step::Fold(..) | Step::Snapshot(_) | Step::Rebuild(_) => {
                self.follow(&store, step, tally)
            }
            Step::Reopen => {
                drop(store);
                self.let_go();
                // Closing tells nobody that its sync has failed.
                self.model.sync_failed |= self.disk.faults_met().iter().any(|line| is_failed_sync(line));
                self.open(End::Kill, faults, tally)
            }
            Step::Space(pages) => {
                self.disk.set_capacity(pages.map(|pages| self.disk.used() + pages * 4096));
                Ok(())
            }
        }
    }

    /// Everybody lets go of the store.
    fn let_go(&mut self) {
        self.following = Following::default();
        self.store = None;
    }

    /// Somebody who follows the log does something.
    fn follow(&mut self, store: &EventStore, step: &Step, tally: &mut Tally) -> Result<(), Violation> {
        // Of what cannot be read, nothing is learned.
        if self.reads_fail {
            return Ok(());
        }
        let Told { following, model, .. } = self;
        let counts = &mut tally.followers;
        let done = match *step {
            Step::Consume(name, count) => following.consume(store, model, name, count, counts),
            Step::Checkpoint(name) => following.checkpoint(store, model, name, counts),
            Step::Fold(name, stumbles) => following.fold(store, model, name, stumbles, counts),
            Step::Snapshot(name) => following.snapshot(store, model, name, counts),
            Step::Rebuild(name) => following.rebuild(store, model, name, counts),
            _ => Ok(()),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Hindered::Broken(violation)) => Err(violation),
            Err(Hindered::Refused { why, poisoned }) => {
                let met = self.disk.faults_met();
                let has_failed = met.iter().any(|line| !line.ends_with("ShortWrite"));
                let may = has_failed || self.disk.is_stopped() || self.poisoned || self.may_be_full;
                ensure!(may, FailuresAreTold, "nothing has failed, and it is told: {why}");
                self.poisoned |= poisoned;
                Ok(())
            }
        }
    }

    fn commit(&mut self, store: &EventStore, batch: &Batch, faults: usize) -> Result<(), Violation> {
        let mut done = batch.commit(store);
        let is_refused = |done: &_| matches!(done, Err(AppendError::StorageFull));
        if !self.disk.is_stopped() && self.disk.capacity().is_none() {
            // Each fault says so once; then there is space.
            for _ in 0..faults {
                if is_refused(&done) {
                    self.was_full = true;
                    done = batch.commit(store);
                }
            }
            ensure!(!is_refused(&done), FailuresAreTold, "batch {}: the disk is not full any more", batch.number);
        }
        self.learn(batch, done)
    }

    /// Removes the oldest segments.
    fn keep(&mut self, store: &EventStore, events: u64) -> Result<(), Violation> {
        let before = store.kept_from(&Retention::new().events(events));
        let Ok(plan) = store.plan_truncation(before) else { return Ok(()) };
        let was = store.oldest();
        self.model.may_lose(plan.oldest.before().get() as usize);
        let done = store.truncate_before(before, Guard::Force);
        let oldest = store.oldest();
        let seen = |error: &str| Violation::new(Rule::FailuresAreTold, format!("truncating from {was}: {error}"));
        match done {
            Ok(done) => {
                ensure!(!self.poisoned, FailuresAreTold, "truncated after poison");
                ensure!(done.oldest == oldest && oldest == plan.oldest, ReadsAgree, "{oldest} is the oldest: {done:?}");
            }
            Err(TruncateError::StorageFull) => {
                self.was_full = true;
                ensure!(oldest == was, FailuresAreTold, "the disk is full, and the oldest is {oldest}, not {was}");
            }
            Err(TruncateError::Poisoned { .. }) => self.poisoned = true,
            Err(TruncateError::Io { .. }) if !self.disk.faults_met().is_empty() || self.disk.is_stopped() => {}
            Err(TruncateError::Read(_)) if self.disk.is_stopped() || self.reads_fail => {}
            Err(error) => return Err(seen(&error.to_string())),
        }
        // Who was told that it did not happen finds it so, unless nobody knows.
        if !self.poisoned && !self.disk.is_stopped() {
            self.model.has_lost(oldest.before().get() as usize);
        }
        Ok(())
    }

    /// Somebody opens the store beside the writer and looks.
    fn look(&self) -> Result<(), Violation> {
        let reader = match EventStore::open_read_only_on(Arc::new(self.disk.clone())) {
            Ok(reader) => reader,
            Err(_) if self.disk.is_stopped() || self.reads_fail => return Ok(()),
            Err(error) => return Err(Violation::new(Rule::CrashIsNotDamage, format!("a reader beside it: {error}"))),
        };
        // What is durable is told by the watermark, whose errors hurt nobody but readers.
        let least = if self.disk.faults_met().is_empty() { self.model.least(End::PowerLoss) } else { 0 };
        match oracle::check(&reader, &self.model, least) {
            Err(violation) if !self.reads_fail && !self.disk.is_stopped() => Err(violation.at("a reader beside it")),
            _ => Ok(()),
        }
    }

    /// A store that takes no more appends goes on being read, and shows what it has acknowledged, no more.
    fn look_at_failed(&self) -> Result<(), Violation> {
        let Some(store) = self.store.as_ref().filter(|_| self.poisoned) else { return Ok(()) };
        if self.disk.is_stopped() || self.reads_fail {
            return Ok(());
        }
        let acknowledged = self.model.len() - self.model.in_doubt();
        let head = store.head().get();
        let expected = self.model.events(acknowledged) as u64;
        ensure!(head == expected, FailuresAreTold, "after poison the head is {head}, and {expected} were acknowledged");
        Ok(())
    }

    fn conflict_behind(&mut self, store: &EventStore, batch: &Batch) -> Result<(), Violation> {
        let Some((stream, _)) = batch.events.first() else { return Ok(()) };
        let Ok(version) = store.stream_version(*stream) else { return Ok(()) };
        let first = batch.builder(store).submit();
        let wrong = store.batch().expect(*stream, ExpectedVersion::Exact(version)).expect("n", NEVER);
        let second = wrong.event(*stream, NewEvent::new("Never", "")).submit();
        let first = first.and_then(annals::Ticket::wait);
        let second = second.and_then(annals::Ticket::wait);
        self.shares_fate(&first, second, |error| {
            matches!(error, AppendError::ConcurrencyConflict { stream: wrong, .. } if wrong.as_str() == *stream)
        })?;
        self.learn(batch, first)
    }

    fn refused_behind(&mut self, store: &EventStore, batch: &Batch) -> Result<(), Violation> {
        let (Some((stream, _)), Some(key), Some(given)) = (batch.events.first(), batch.key(), batch.id(0)) else {
            return Ok(());
        };
        let never = || NewEvent::new("Never", "");
        let nothing_new = AppendCondition::fail_if_match(QueryItem::new().stream(*stream)).after(store.head());
        let first = batch.builder(store).submit();
        let again = batch.builder(store).submit();
        // Each is refused also when the first does not come to be, for want of space.
        let other = || store.batch().expect("n", NEVER);
        let key = other().idempotency_key(key).event("n", never()).submit();
        let id = other().event("n", never().id(given)).submit();
        let small = Batch::new(batch.number + 500_000, &[("n", 3)]);
        let condition = small.builder(store).condition(nothing_new).submit();
        let [mut first, again, key, id, condition] =
            [first, again, key, id, condition].map(|ticket| ticket.and_then(annals::Ticket::wait));
        match (&first, again) {
            (Ok(done), Ok(again)) => {
                let same = again.outcome == Outcome::Duplicate && again.first == done.first;
                ensure!(same, ReadsAgree, "a batch in one group with itself: {again:?}");
            }
            // Small things may find space where large ones do not, but this is the same.
            (Err(AppendError::StorageFull), Ok(again)) => first = Ok(again),
            (_, again) => self.shares_fate(&first, again, |_| false)?,
        }
        self.shares_fate(&first, key, |error| matches!(error, AppendError::IdempotencyKeyReused { .. }))?;
        self.shares_fate(&first, id, |error| matches!(error, AppendError::EventIdConflict { .. }))?;
        if matches!(first, Err(AppendError::StorageFull)) {
            self.learn(&small, condition)?;
        } else {
            self.shares_fate(&first, condition, |error| matches!(error, AppendError::ConditionFailed { .. }))?;
        }
        self.learn(batch, first)
    }

    /// Whether an append was refused as it must be.
    fn refused(
        &mut self,
        answer: Result<Appended, AppendError>,
        is_refusal: impl FnOnce(&AppendError) -> bool,
    ) -> Result<(), Violation> {
        match answer {
            Err(error) if is_refusal(&error) => Ok(()),
            Err(AppendError::Poisoned { .. }) => {
                self.poisoned = true;
                Ok(())
            }
            Err(AppendError::Unreadable { .. }) if self.disk.is_stopped() || self.reads_fail => Ok(()),
            other => Err(Violation::new(Rule::ReadsAgree, format!("an append that must be refused: {other:?}"))),
        }
    }

    /// The answer to a request that was refused because of the first of its group, or would have been:
    /// nobody is told anything of a batch that does not exist.
    fn shares_fate(
        &self,
        first: &Result<Appended, AppendError>,
        answer: Result<Appended, AppendError>,
        is_refusal: impl FnOnce(&AppendError) -> bool,
    ) -> Result<(), Violation> {
        match (first, answer) {
            (Ok(_), Err(error)) if is_refusal(&error) => Ok(()),
            // A group that needs a new segment in between is written in two parts.
            (Err(AppendError::CommitUnknown { .. }), Err(AppendError::CommitUnknown { .. }))
            | (
                Err(AppendError::CommitUnknown { .. } | AppendError::Poisoned { .. }),
                Err(AppendError::Poisoned { .. }),
            )
            // It was refused for want of space; what is smaller may be written, and then the answers rest on that.
            | (
                Err(AppendError::StorageFull),
                Err(
                    AppendError::StorageFull
                    | AppendError::ConcurrencyConflict { .. }
                    | AppendError::Poisoned { .. }
                    | AppendError::CommitUnknown { .. },
                ),
            ) => Ok(()),
            (_, Err(AppendError::Unreadable { .. })) if self.disk.is_stopped() || self.reads_fail => Ok(()),
            other => {
                let seen = format!("answers of one group do not share its fate: {other:?}");
                Err(Violation::new(Rule::FailuresAreTold, seen))
            }
        }
    }

    /// Takes in what became of a batch.
    fn learn(&mut self, batch: &Batch, done: Result<Appended, AppendError>) -> Result<(), Violation> {
        let is_known = self.model.holds(batch);
        match done {
            Ok(done) => {
                ensure!(!self.poisoned, FailuresAreTold, "batch {} was acknowledged after poison", batch.number);
                let is_found = done.outcome == Outcome::Duplicate;
                let number = batch.number;
                ensure!(is_found == is_known, ReadsAgree, "batch {number} was appended, and was there: {is_known}");
                if is_found { self.model.found(batch) } else { self.model.acknowledged(batch) }
            }
            // Nothing of it was written.
            Err(AppendError::StorageFull) => {
                self.was_full = true;
                Ok(())
            }
            Err(AppendError::Unreadable { .. }) if self.disk.is_stopped() || self.reads_fail => Ok(()),
            Err(AppendError::Poisoned { .. }) => {
                self.poisoned = true;
                Ok(())
            }
            Err(AppendError::CommitUnknown { .. }) => {
                self.poisoned = true;
                if !is_known {
                    self.model.doubtful(batch);
                }
                Ok(())
            }
            // A batch that went with a crash comes back after another that says more.
            Err(AppendError::TrackingConflict { recorded, given, .. })
                if recorded >= given && self.overtaken(batch) =>
            {
                Ok(())
            }
            Err(error) => Err(Violation::new(Rule::FailuresAreTold, format!("batch {}: {error}", batch.number))),
        }
    }

    fn overtaken(&self, batch: &Batch) -> bool {
        batch.tracking.is_some_and(|(source, upstream)| {
            self.model.tracking(self.model.len(), source).is_some_and(|recorded| recorded >= upstream)
        })
    }
}
