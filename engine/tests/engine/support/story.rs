//! Short stories of appends, told on a simulated disk until something goes wrong.

use annals::storage::sim::SimDisk;
use annals::{
    AppendCondition, AppendError, Appended, Durability, EventStore, ExpectedVersion, NewEvent, OpenError, Outcome,
    QueryItem, StreamVersion,
};

use super::model::{Batch, Model};
use super::{open, oracle};

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// One batch, waited for.
    Commit(Batch),
    /// Several, queued together and then waited for.
    Tickets(Vec<Batch>),
    Flush,
    /// What a background thread would do.
    Maintain,
    /// An append that expects the wrong version of a stream.
    Conflict(&'static str),
    /// Tickets of which the last expects what the first makes wrong.
    ConflictInGroup(Batch),
    /// An append under a condition that this stream makes fail.
    FailedCondition(&'static str),
    /// Tickets of which the later ones cannot be, because of the first.
    RefusedInGroup(Batch),
    /// Closed, and opened again.
    Reopen,
}

#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
}

/// How a story ended.
pub(crate) struct Told {
    pub(crate) model: Model,
    /// Kept open, so that nobody closes it; `None` when it could not be opened.
    pub(crate) store: Option<EventStore>,
    /// Whether the store said that it is poisoned.
    pub(crate) poisoned: bool,
    /// Whether the disk was said to be full.
    pub(crate) was_full: bool,
}

/// Tells the story on the disk until its end, or until the process is stopped.
///
/// On the way it checks what can be told at once: that nothing is acknowledged
/// after poison, and that an append which was refused for want of space works
/// when it is tried again.
pub(crate) fn tell(story: &Story, disk: &SimDisk) -> Told {
    let mut told = Told { model: Model::default(), store: None, poisoned: false, was_full: false };
    if told.open(disk).is_err() {
        return told;
    }
    for step in &story.steps {
        if disk.is_stopped() {
            break;
        }
        told.take(step, disk);
        if told.store.is_none() {
            break;
        }
    }
    told
}

impl Told {
    /// Opens the store and checks it. A fault may keep it from opening: then once more, without.
    fn open(&mut self, disk: &SimDisk) -> Result<(), OpenError> {
        // Only sees that the disk is not locked any more.
        self.store = None;
        let store = match open(disk) {
            Err(OpenError::Io { .. }) if !disk.is_stopped() => open(disk).expect("the fault was at one operation"),
            Err(error) if disk.is_stopped() => return Err(error),
            opened => opened.expect("nothing is damaged"),
        };
        let shown = oracle::check(&store, &self.model, self.model.least(super::model::End::Kill));
        self.model.recovered(shown);
        self.poisoned = false;
        self.store = Some(store);
        Ok(())
    }

    fn take(&mut self, step: &Step, disk: &SimDisk) {
        let Some(store) = self.store.clone() else { return };
        match step {
            Step::Commit(batch) => {
                let mut done = commit(&store, batch);
                if let Err(AppendError::StorageFull) = done
                    && !disk.is_stopped()
                {
                    self.was_full = true;
                    done = commit(&store, batch);
                    assert!(!matches!(done, Err(AppendError::StorageFull)), "there is space again");
                }
                self.learn(batch, done, disk);
            }
            Step::Tickets(batches) => {
                let tickets: Vec<_> = batches.iter().map(|batch| builder(&store, batch).submit().unwrap()).collect();
                for (batch, ticket) in batches.iter().zip(tickets) {
                    self.learn(batch, ticket.wait(), disk);
                }
            }
            Step::Flush => match store.flush() {
                Ok(position) => {
                    assert!(!self.poisoned, "a flush after poison");
                    self.model.flushed();
                    assert_eq!(store.durable_head(), position);
                    assert_eq!(store.durable_head(), store.head());
                }
                Err(_) => self.poisoned = true,
            },
            Step::Maintain => match store.maintain() {
                Ok(()) => assert!(!self.poisoned, "a poisoned store was maintained"),
                Err(AppendError::Poisoned { .. }) => self.poisoned = true,
                Err(error) => panic!("nobody is told of {error}"),
            },
            Step::Conflict(stream) => {
                let wrong = ExpectedVersion::Exact(StreamVersion::new(1_000));
                match store.append(*stream, wrong, NewEvent::new("Never", "")) {
                    Err(AppendError::ConcurrencyConflict { .. }) => {}
                    Err(AppendError::Poisoned { .. }) => self.poisoned = true,
                    other => panic!("an append that expects the wrong version: {other:?}"),
                }
            }
            Step::ConflictInGroup(batch) => {
                let stream = batch.events[0].0;
                let before = ExpectedVersion::Exact(store.stream_version(stream).unwrap());
                let first = builder(&store, batch).submit().unwrap();
                let second = store.batch().expect(stream, before).event(stream, NewEvent::new("Never", ""));
                let second = second.submit().unwrap();
                let first = first.wait();
                check_fate(&first, second.wait(), |error| matches!(error, AppendError::ConcurrencyConflict { .. }));
                self.learn(batch, first, disk);
            }
            // What would make it fail may not have been written.
            Step::FailedCondition(stream) if store.stream_version(*stream).unwrap() == StreamVersion::EMPTY => {}
            Step::FailedCondition(stream) => {
                let condition = AppendCondition::default().fail_if_exists(QueryItem::new().stream(*stream));
                match store.batch().event("never", NewEvent::new("Never", "")).condition(condition).commit() {
                    Err(AppendError::ConditionFailed { .. }) => {}
                    Err(AppendError::Poisoned { .. }) => self.poisoned = true,
                    other => panic!("an append under a condition that fails: {other:?}"),
                }
            }
            Step::RefusedInGroup(batch) => {
                let (stream, _) = batch.events[0];
                let never = || NewEvent::new("Never", "");
                let nothing_new = AppendCondition::fail_if_match(QueryItem::new().stream(stream)).after(store.head());
                let first = builder(&store, batch).submit().unwrap();
                let again = builder(&store, batch).submit().unwrap();
                let key = store.batch().idempotency_key(batch.key().unwrap()).event("never", never());
                let id = store.batch().event("never", never().id(batch.id(0).unwrap()));
                let condition = store.batch().event("never", never()).condition(nothing_new);
                let [key, id, condition] = [key, id, condition].map(|batch| batch.submit().unwrap());
                let first = first.wait();
                match (&first, again.wait()) {
                    (Ok(done), Ok(again)) => {
                        assert_eq!((again.outcome, again.first), (Outcome::Duplicate, done.first));
                    }
                    (_, again) => check_fate(&first, again, |_| false),
                }
                check_fate(&first, key.wait(), |error| matches!(error, AppendError::IdempotencyKeyReused { .. }));
                check_fate(&first, id.wait(), |error| matches!(error, AppendError::EventIdConflict { .. }));
                check_fate(&first, condition.wait(), |error| matches!(error, AppendError::ConditionFailed { .. }));
                self.learn(batch, first, disk);
            }
            Step::Reopen => {
                drop(store);
                self.store = None;
                // Closing tells nobody that its sync has failed.
                let failed = |line: &String| line.contains(" sync ") && line.contains(" -> ");
                self.model.sync_failed |= disk.journal().iter().any(failed);
                let _ = self.open(disk);
            }
        }
    }

    /// Takes in what became of a batch.
    fn learn(&mut self, batch: &Batch, done: Result<Appended, AppendError>, disk: &SimDisk) {
        let is_known = self.model.holds(batch);
        match done {
            Ok(done) => {
                assert!(!self.poisoned, "batch {} was acknowledged after poison", batch.number);
                let is_found = done.outcome == Outcome::Duplicate;
                assert_eq!(is_found, is_known, "batch {}: it is there once", batch.number);
                if is_found { self.model.found(batch) } else { self.model.acknowledged(batch) }
            }
            // Nothing of it was written.
            Err(AppendError::StorageFull) => self.was_full = true,
            Err(AppendError::Unreadable { .. }) if disk.is_stopped() => {}
            Err(AppendError::Poisoned { .. }) => self.poisoned = true,
            Err(AppendError::CommitUnknown { .. }) => {
                self.poisoned = true;
                if !is_known {
                    self.model.doubtful(batch);
                }
            }
            Err(error) => panic!("batch {}: {error}", batch.number),
        }
    }
}

pub(crate) fn builder<'a>(store: &'a EventStore, batch: &Batch) -> annals::BatchBuilder<'a> {
    let mut builder = store.batch().durability(batch.durability);
    for (stream, event) in batch.new_events() {
        builder = builder.event(stream, event);
    }
    if let Some(key) = batch.key() {
        builder = builder.idempotency_key(key);
    }
    match batch.tracking {
        Some((source, upstream)) => builder.tracking(source, upstream),
        None => builder,
    }
}

/// Checks the answer to a request that was refused because of the first of its group, or would have been:
/// nobody is told anything of a batch that does not exist.
fn check_fate(
    first: &Result<Appended, AppendError>,
    answer: Result<Appended, AppendError>,
    is_refusal: impl FnOnce(&AppendError) -> bool,
) {
    match (first, answer) {
        (Ok(_), Err(error)) if is_refusal(&error) => {}
        (Err(AppendError::CommitUnknown { .. }), Err(AppendError::CommitUnknown { .. }))
        | (Err(AppendError::Poisoned { .. }), Err(AppendError::Poisoned { .. }))
        | (Err(AppendError::StorageFull), Err(AppendError::StorageFull)) => {}
        other => panic!("answers of one group do not share its fate: {other:?}"),
    }
}

pub(crate) fn commit(store: &EventStore, batch: &Batch) -> Result<annals::Appended, AppendError> {
    builder(store, batch).commit()
}

/// Puts a story together; numbers the batches.
pub(crate) struct Teller {
    next: u64,
    story: Story,
}

pub(crate) fn story(name: &'static str) -> Teller {
    Teller { next: 1, story: Story { name, steps: Vec::new() } }
}

impl Teller {
    fn batch(&mut self, events: &[(&'static str, usize)], durability: Durability) -> Batch {
        let batch = Batch { durability, ..Batch::new(self.next, events) };
        self.next += 1;
        batch
    }

    fn step(mut self, step: Step) -> Teller {
        self.story.steps.push(step);
        self
    }

    pub(crate) fn sync(mut self, events: &[(&'static str, usize)]) -> Teller {
        let batch = self.batch(events, Durability::Sync);
        self.step(Step::Commit(batch))
    }

    pub(crate) fn buffered(mut self, events: &[(&'static str, usize)]) -> Teller {
        let batch = self.batch(events, Durability::Buffered);
        self.step(Step::Commit(batch))
    }

    pub(crate) fn tracked(mut self, events: &[(&'static str, usize)], source: &'static str, upstream: u64) -> Teller {
        let batch = Batch { tracking: Some((source, upstream)), ..self.batch(events, Durability::Sync) };
        self.step(Step::Commit(batch))
    }

    /// Each a batch of its own, in one group.
    pub(crate) fn tickets(mut self, batches: &[(&[(&'static str, usize)], Durability)]) -> Teller {
        let batches = batches.iter().map(|(events, durability)| self.batch(events, *durability)).collect();
        self.step(Step::Tickets(batches))
    }

    /// With an idempotency key.
    pub(crate) fn keyed(mut self, events: &[(&'static str, usize)], durability: Durability) -> Teller {
        let batch = Batch { has_key: true, ..self.batch(events, durability) };
        self.step(Step::Commit(batch))
    }

    /// With ids that its author gives.
    pub(crate) fn named(mut self, events: &[(&'static str, usize)], durability: Durability) -> Teller {
        let batch = Batch { has_ids: true, ..self.batch(events, durability) };
        self.step(Step::Commit(batch))
    }

    /// The batch with this number once more, durable this time.
    pub(crate) fn again(self, number: u64) -> Teller {
        let mut batches = self.story.steps.iter().filter_map(|step| match step {
            Step::Commit(batch) => Some(batch),
            _ => None,
        });
        let batch = batches.rfind(|batch| batch.number == number).expect("it was told before").clone();
        self.step(Step::Commit(Batch { durability: Durability::Sync, ..batch }))
    }

    /// With a key and with ids, and with others that come into its way.
    pub(crate) fn refused_in_group(mut self, events: &[(&'static str, usize)]) -> Teller {
        let batch = Batch { has_key: true, has_ids: true, ..self.batch(events, Durability::Sync) };
        self.step(Step::RefusedInGroup(batch))
    }

    pub(crate) fn failed_condition(self, stream: &'static str) -> Teller {
        self.step(Step::FailedCondition(stream))
    }

    pub(crate) fn conflict_in_group(mut self, events: &[(&'static str, usize)]) -> Teller {
        let batch = self.batch(events, Durability::Sync);
        self.step(Step::ConflictInGroup(batch))
    }

    pub(crate) fn flush(self) -> Teller {
        self.step(Step::Flush)
    }

    pub(crate) fn maintain(self) -> Teller {
        self.step(Step::Maintain)
    }

    pub(crate) fn conflict(self, stream: &'static str) -> Teller {
        self.step(Step::Conflict(stream))
    }

    pub(crate) fn reopen(self) -> Teller {
        self.step(Step::Reopen)
    }

    pub(crate) fn end(self) -> Story {
        self.story
    }
}
