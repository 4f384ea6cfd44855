//! What is done in a life of a story by those who follow the log; see [`followers`](super::followers).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals::storage::sim::SimDisk;
use annals::{Consumer, Delivery, EventStore, KeepError, Position, Query, Subscription};
use annals_projection::{Attached, ProjectionError, ProjectionStatus};

use super::followers::{Folded, Given, attach, begins, digest, due, is_of_its_position, query, shown};
use super::model::Model;
use super::tally::FollowerCounts;
use super::violation::{Rule, Violation, ensure};

/// Whoever was not woken by then was not woken.
const LATE: Duration = Duration::from_secs(5);

/// The handles of one life.
#[derive(Default)]
pub(super) struct Following {
    consumers: BTreeMap<&'static str, (Consumer, Option<Subscription>)>,
    projections: BTreeMap<&'static str, Projected>,
}

struct Projected {
    attached: Attached<Folded>,
    stumbles: Arc<AtomicBool>,
    /// The snapshot that it began with. Whoever wrote it may have died before its name was on the disk.
    found: Option<Position>,
}

/// Why a step was not taken.
pub(super) enum Hindered {
    /// A promise is broken.
    Broken(Violation),
    /// The store says that it cannot: there has to be a reason.
    Refused {
        /// What it says.
        why: String,
        /// Whether it takes no appends any more.
        poisoned: bool,
    },
}

impl From<Violation> for Hindered {
    fn from(violation: Violation) -> Hindered {
        Hindered::Broken(violation)
    }
}

impl From<KeepError> for Hindered {
    fn from(error: KeepError) -> Hindered {
        Hindered::Refused { why: error.to_string(), poisoned: matches!(error, KeepError::NotDurable(_)) }
    }
}

impl From<ProjectionError> for Hindered {
    fn from(error: ProjectionError) -> Hindered {
        Hindered::Refused { why: error.to_string(), poisoned: false }
    }
}

fn refused(why: &impl Display) -> Hindered {
    Hindered::Refused { why: why.to_string(), poisoned: false }
}

impl Following {
    /// A consumer is given so many events, and goes on from there the next time.
    pub(super) fn consume(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
        count: u64,
        counts: &mut FollowerCounts,
    ) -> Result<(), Hindered> {
        let (consumer, subscription) = self.consumer(store, model, name)?;
        let subscription = match subscription {
            Some(subscription) => subscription,
            None => subscription.insert(consumer.subscribe(query(name)).map_err(|error| refused(&error))?),
        };
        let mut given: Vec<Given> = Vec::new();
        let after = Subscription::position(subscription).get();
        let mut upto = after;
        while (given.len() as u64) < count {
            match subscription.try_next().map_err(|error| refused(&error))? {
                None => break,
                Some(Delivery::Event(event)) => {
                    upto = event.position.get();
                    given.push((upto, digest(event.stream, event.event_type, event.data)));
                }
                Some(Delivery::CaughtUp(position) | Delivery::Checkpoint(position)) => upto = position.get(),
                Some(Delivery::FellBehind { .. }) => {}
            }
        }
        let due = due(model, name, after, upto);
        ensure!(
            given == due,
            FollowersMissNothing,
            "from {after} to {upto} {name} was given {}, not {}",
            shown(&given),
            shown(&due)
        );
        if (given.len() as u64) < count {
            let (at, head) = (Subscription::position(subscription), store.head());
            ensure!(at == head, FollowersMissNothing, "{name} has nothing more at {at}, and the head is {head}");
        }
        counts.given += given.len() as u64;
        model.followers.consumers.entry(name).or_default().given.extend(given);
        Ok(())
    }

    /// A consumer keeps how far it has come.
    pub(super) fn checkpoint(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
        counts: &mut FollowerCounts,
    ) -> Result<(), Hindered> {
        let (consumer, subscription) = self.consumer(store, model, name)?;
        let at = subscription.as_ref().map_or(consumer.position(), Subscription::position);
        let done = consumer.checkpoint(at);
        let promised = model.followers.consumers.entry(name).or_default();
        match done {
            Ok(()) => {
                let durable = store.durable_head();
                promised.may_be = vec![at.get()];
                counts.checkpoints += 1;
                ensure!(at <= durable, FollowersMissNothing, "{name} keeps {at}, and {durable} is durable");
                Ok(())
            }
            Err(error) => {
                promised.may_be.push(at.get());
                Err(error.into())
            }
        }
    }

    fn consumer(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
    ) -> Result<&mut (Consumer, Option<Subscription>), Hindered> {
        if !self.consumers.contains_key(name) {
            let consumer = store.consumer(name)?;
            let mut promised = model.followers.consumers.remove(name).unwrap_or_default();
            let found = promised.resumes(store, model, name, consumer.position());
            model.followers.consumers.insert(name, promised);
            found?;
            self.consumers.insert(name, (consumer, None));
        }
        self.consumers.get_mut(name).ok_or_else(|| refused(&"nobody"))
    }

    /// A projection is brought up to date.
    pub(super) fn fold(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
        stumbles: bool,
        counts: &mut FollowerCounts,
    ) -> Result<(), Hindered> {
        let Projected { attached, stumbles: stumble, found } = self.projection(store, model, name)?;
        stumble.store(stumbles, Ordering::Relaxed);
        let mut done = attached.catch_up();
        if stumbles && let Err(ProjectionError::Faulted(fault)) = &done {
            let at = attached.position();
            ensure!(at < fault.position, StateIsOfItsPosition, "{name} stands at {at}, and not before {fault}");
            is_of_its_position(attached, model, name)?;
            counts.stumbled += 1;
            attached.resume();
            done = attached.catch_up();
        }
        stumble.store(false, Ordering::Relaxed);
        is_of_its_position(attached, model, name)?;
        let (at, status) = (done?, attached.status());
        ensure!(at == store.head(), StateIsOfItsPosition, "{name} caught up to {at}, and the head is {}", store.head());
        note(&status, *found, model, name, counts);
        status.snapshot_fault.map_or(Ok(()), |why| Err(refused(&why)))
    }

    /// A projection takes a snapshot.
    pub(super) fn snapshot(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
        counts: &mut FollowerCounts,
    ) -> Result<(), Hindered> {
        let Projected { attached, found, .. } = self.projection(store, model, name)?;
        match attached.take_snapshot() {
            Ok(at) => {
                let durable = store.durable_head();
                note(&attached.status(), *found, model, name, counts);
                ensure!(at <= durable, StateIsOfItsPosition, "{name} keeps {at}, and {durable} is durable");
                Ok(())
            }
            Err(ProjectionError::Keep(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// A projection forgets everything, and is built anew.
    pub(super) fn rebuild(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
        counts: &mut FollowerCounts,
    ) -> Result<(), Hindered> {
        let Projected { attached, found, .. } = self.projection(store, model, name)?;
        model.followers.projections.insert(name, 0);
        let done = attached.rebuild();
        is_of_its_position(attached, model, name)?;
        done?;
        let status = attached.status();
        note(&status, *found, model, name, counts);
        status.snapshot_fault.map_or(Ok(()), |why| Err(refused(&why)))
    }

    fn projection(
        &mut self,
        store: &EventStore,
        model: &mut Model,
        name: &'static str,
    ) -> Result<&mut Projected, Hindered> {
        if !self.projections.contains_key(name) {
            let stumbles = Arc::default();
            let attached = attach(store, name, &stumbles)?;
            let kept = *model.followers.projections.entry(name).or_default();
            begins(&attached, store, model, name, kept)?;
            let found = attached.status().snapshot;
            self.projections.insert(name, Projected { attached, stumbles, found });
        }
        self.projections.get_mut(name).ok_or_else(|| refused(&"nobody"))
    }
}

/// Writes down which snapshot a restart has to find.
fn note(
    status: &ProjectionStatus,
    found: Option<Position>,
    model: &mut Model,
    name: &'static str,
    counts: &mut FollowerCounts,
) {
    if let Some(snapshot) = status.snapshot.filter(|snapshot| Some(*snapshot) != found) {
        counts.snapshots += u64::from(model.followers.keeps_snapshot(name, snapshot.get()));
    }
}

/// Somebody waits at the end of the log while something is appended, and is woken by it; unless nothing comes of
/// the append.
pub(super) fn wait_for<T>(
    store: &EventStore,
    disk: &SimDisk,
    counts: &mut FollowerCounts,
    append: impl FnOnce() -> Result<T, Violation>,
) -> Result<T, Violation> {
    let before = store.head();
    let mut subscription = match store.subscribe(before, Query::All) {
        Ok(subscription) => subscription,
        Err(error) => return Err(Violation::new(Rule::FollowersMissNothing, format!("at the head: {error}"))),
    };
    let canceller = subscription.canceller();
    let (is_there, follows) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let follower = scope.spawn(move || {
            let began = subscription.try_next().map(drop);
            // Nobody hears it when the one who appends has panicked.
            let _ = is_there.send(());
            began?;
            let item = subscription.next_within(LATE)?;
            Ok(match item {
                Some(Delivery::Event(event)) => Some((event.position, Instant::now())),
                _ => None,
            })
        });
        let _ = follows.recv();
        // Not yet asleep, but most often soon.
        std::thread::sleep(Duration::from_micros(50));
        let done = append();
        let appended = Instant::now();
        if store.head() == before {
            canceller.cancel();
        }
        let woken: Result<Option<(Position, Instant)>, annals::ReadError> =
            follower.join().map_err(|_| Violation::new(Rule::NoPanic, "a subscription that waits has panicked"))?;
        let done = done?;
        if store.head() == before {
            return Ok(done);
        }
        let first = before.plus(1);
        match woken {
            Ok(Some((position, at))) => {
                ensure!(position == first, FollowersMissNothing, "who waited at {before} was given {position}");
                let took = at.saturating_duration_since(appended);
                ensure!(took < LATE / 2, FollowersMissNothing, "who waited at {before} was not woken for {took:?}");
                counts.woken += 1;
            }
            Ok(None) => {
                let seen = format!("who waited at {before} was not woken for {LATE:?}");
                return Err(Violation::new(Rule::FollowersMissNothing, seen));
            }
            // The append was the last thing that the process did.
            Err(_) if disk.is_stopped() => {}
            Err(error) => return Err(Violation::new(Rule::FollowersMissNothing, format!("who waited: {error}"))),
        }
        Ok(done)
    })
}
