//! Who follows the log in stories, and what each was promised: it is known whatever happens to the disk.
//!
//! | name | is | follows |
//! |---|---|---|
//! | `x`, `y` | consumers | everything; events of the type `Sung` |
//! | `p`, `q` | projections | everything, a snapshot (bincode) every 3 positions; the type `Told`, one (JSON) every 4 |
//!
//! What must be true, whatever has happened ([`Rule::FollowersMissNothing`], [`Rule::StateIsOfItsPosition`]):
//!
//! - A checkpoint that was acknowledged is found again, or one that was tried since; none is beyond what is durable.
//! - What a consumer was given up to its checkpoint, and what it is given from there on, is every event, once, in order.
//! - The state of a projection is that of its position, folded by the model; it begins no earlier than its last snapshot,
//!   and what it comes to is what is built anew.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::{Event, EventStore, Position, Query, QueryItem};
use annals_projection::{Attached, Fold, HandlerError, Projection, ProjectionError};
use serde::{Deserialize, Serialize};

use super::model::Model;
use super::violation::{Rule, Violation, ensure};

/// An event, as somebody was given it: its position, and a digest of all that a story says of it.
pub(super) type Given = (u64, u64);

/// What was promised to those who follow the log.
#[derive(Clone, Debug, Default)]
pub struct Followers {
    pub(super) consumers: BTreeMap<&'static str, Promised>,
    /// Of a projection, the position of the snapshot that a restart finds at least.
    pub(super) projections: BTreeMap<&'static str, u64>,
    /// A folder's name may not be on the disk, and no snapshot below it: nobody may say that one is kept.
    are_snapshots_in_doubt: bool,
}

/// What is known of a consumer. Who was never seen stands at the beginning.
#[derive(Clone, Debug)]
pub(super) struct Promised {
    /// Where its checkpoint may be: what was acknowledged last, and what was tried since and failed.
    pub(super) may_be: Vec<u64>,
    /// What it was given.
    pub(super) given: Vec<Given>,
}

impl Default for Promised {
    fn default() -> Promised {
        Promised { may_be: vec![0], given: Vec::new() }
    }
}

/// Which events a consumer or a projection wants.
pub(super) fn wanted(name: &str) -> Option<&'static str> {
    match name {
        "y" => Some("Sung"),
        "q" => Some("Told"),
        _ => None,
    }
}

pub(super) fn query(name: &str) -> Query {
    wanted(name).map_or(Query::All, |event_type| QueryItem::new().event_type(event_type).into())
}

/// Stands for an event.
pub(super) fn digest(stream: &str, event_type: &str, data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (stream, event_type, data).hash(&mut hasher);
    hasher.finish()
}

/// What somebody of this name has to be given of the positions after the first and up to the last.
pub(super) fn due(model: &Model, name: &str, after: u64, until: u64) -> Vec<Given> {
    let events = model.batches().flat_map(|batch| (0..batch.events.len()).map(move |index| (batch, index)));
    let numbered = (1..).zip(events).skip(after as usize).take_while(|(position, _)| *position <= until);
    let of_type = numbered.filter(|(_, (batch, index))| {
        let event_type = batch.event_type(*index);
        wanted(name).is_none_or(|wanted| wanted == event_type)
    });
    of_type
        .map(|(position, (batch, index))| {
            (position, digest(batch.events[index].0, batch.event_type(index), &batch.payload(index)))
        })
        .collect()
}

/// A state in which every event leaves its trace.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Folded(pub(super) Vec<Given>);

/// Notes each event; fails once, after it has noted it, when it is told to.
pub(super) struct Noting {
    pub(super) stumbles: Arc<AtomicBool>,
}

impl Fold for Noting {
    type State = Folded;

    fn initial(&self) -> Folded {
        Folded::default()
    }

    fn apply(&self, state: &mut Folded, event: &Event<'_>) -> Result<(), HandlerError> {
        state.0.push((event.position.get(), digest(event.stream, event.event_type, event.data)));
        if self.stumbles.swap(false, Ordering::Relaxed) { Err("it stumbles".into()) } else { Ok(()) }
    }
}

/// Attaches the projection of this name.
pub(super) fn attach(
    store: &EventStore,
    name: &str,
    stumbles: &Arc<AtomicBool>,
) -> Result<Attached<Folded>, ProjectionError> {
    let projection = Projection::of(name, Noting { stumbles: Arc::clone(stumbles) }).query(query(name));
    let projection = match name {
        "q" => projection.snapshot_every(4).keep_snapshots(1).json_snapshots(),
        _ => projection.snapshot_every(3),
    };
    projection.attach(store)
}

impl Followers {
    /// Nobody knows whether any snapshot is still there, nor whether one that is taken from now on stays.
    pub(super) fn doubt_snapshots(&mut self) {
        self.are_snapshots_in_doubt = true;
        self.projections.values_mut().for_each(|kept| *kept = 0);
    }

    /// A snapshot is kept; whether that is news.
    pub(super) fn keeps_snapshot(&mut self, name: &'static str, at: u64) -> bool {
        let kept = self.projections.entry(name).or_default();
        let is_news = at > *kept;
        if !self.are_snapshots_in_doubt {
            *kept = at;
        }
        is_news
    }

    /// Has everybody follow a store to its end, in which nothing goes wrong any more.
    ///
    /// # Errors
    ///
    /// The promise that is broken.
    pub(super) fn follow_to_the_end(&self, store: &EventStore, model: &Model) -> Result<(), Violation> {
        let head = store.head().get();
        for (name, promised) in &self.consumers {
            let consumer = store.consumer(*name).map_err(|error| missed(format_args!("consumer {name}"), &error))?;
            let subscription = consumer.subscribe(query(name)).map_err(|error| missed(name, &error))?;
            let mut given = promised.given.clone();
            given.retain(|(position, _)| *position <= consumer.position().get());
            // It ends by itself when nobody keeps the store open, but it can say that it has caught up before.
            for item in subscription.take_while(|item| !matches!(item, Ok(annals::Delivery::CaughtUp(_)))) {
                if let annals::Delivery::Event(event) = item.map_err(|error| missed(name, &error))? {
                    let event = event.as_event();
                    given.push((event.position.get(), digest(event.stream, event.event_type, event.data)));
                }
            }
            let all = due(model, name, 0, head);
            ensure!(
                given == all,
                FollowersMissNothing,
                "{name} was given {}; there are {}",
                shown(&given),
                shown(&all)
            );
        }
        for name in self.projections.keys() {
            let broken = |error: ProjectionError| {
                Violation::new(Rule::StateIsOfItsPosition, format!("projection {name} in the end: {error}"))
            };
            let mut attached = attach(store, name, &Arc::default()).map_err(broken)?;
            attached.catch_up().map_err(broken)?;
            is_of_its_position(&attached, model, name)?;
            ensure!(attached.position().get() == head, StateIsOfItsPosition, "{name} is not at the head, {head}");
        }
        Ok(())
    }
}

/// Looks what a store that was opened knows of all who follow it, and changes nothing there. Returns how many of
/// them can go on from somewhere.
///
/// # Errors
///
/// The promise that is broken.
pub(super) fn check(store: &EventStore, model: &mut Model) -> Result<u64, Violation> {
    let mut followers = std::mem::take(&mut model.followers);
    let checked = followers.check(store, model);
    model.followers = followers;
    checked
}

/// Looks at those who follow a store in which a bit has flipped: what is wrong is told or does no harm. Returns how
/// many were told.
///
/// # Errors
///
/// When somebody is given something else than what is there.
pub(super) fn check_rotten(store: &EventStore, model: &Model) -> Result<u64, Violation> {
    let mut told = 0;
    let found = store.consumers().map_err(|error| missed("the consumers", &error))?;
    for found in found.iter().filter(|_| !model.followers.consumers.is_empty()) {
        told += u64::from(found.fault.is_some());
        let (at, durable) = (found.position.unwrap_or_default(), store.durable_head());
        let is_so = found.fault.is_some() || at <= durable;
        ensure!(is_so, DamageIsTold, "{} is said to be at {at}, and {durable} is durable", found.name);
    }
    for name in model.followers.projections.keys() {
        // It can be attached, whatever became of its snapshots; the log has what they had.
        let attached = attach(store, name, &Arc::default())
            .map_err(|error| Violation::new(Rule::DamageIsTold, format!("projection {name}: {error}")))?;
        told += attached.ignored_snapshots().len() as u64;
        is_of_its_position(&attached, model, name)?;
    }
    Ok(told)
}

impl Followers {
    fn check(&mut self, store: &EventStore, model: &Model) -> Result<u64, Violation> {
        let mut resumed = 0;
        if !self.consumers.is_empty() {
            let found = store.consumers().map_err(|error| missed("the consumers", &error))?;
            for (name, promised) in &mut self.consumers {
                let found = found.iter().find(|found| &*found.name == *name);
                if let Some(fault) = found.and_then(|found| found.fault.as_ref()) {
                    return Err(missed(format_args!("consumer {name}"), fault));
                }
                let position = found.and_then(|found| found.position).unwrap_or_default();
                promised.resumes(store, model, name, position)?;
                resumed += u64::from(position > Position::START);
            }
        }
        for (name, kept) in &self.projections {
            let attached = attach(store, name, &Arc::default())
                .map_err(|error| Violation::new(Rule::StateIsOfItsPosition, format!("projection {name}: {error}")))?;
            begins(&attached, store, model, name, *kept)?;
            resumed += u64::from(attached.position() > Position::START);
        }
        Ok(resumed)
    }
}

impl Promised {
    /// Its checkpoint was found at a position, in a store that was opened.
    pub(super) fn resumes(
        &mut self,
        store: &EventStore,
        model: &Model,
        name: &str,
        position: Position,
    ) -> Result<(), Violation> {
        let (at, durable) = (position.get(), store.durable_head());
        let Promised { may_be, given } = self;
        ensure!(position <= durable, FollowersMissNothing, "{name} is at {at}, and {durable} is durable");
        let Some(place) = may_be.iter().rposition(|known| *known == at) else {
            let seen = format!("{name} is at {at}; it must be at one of {may_be:?}");
            return Err(Violation::new(Rule::FollowersMissNothing, seen));
        };
        // What was tried later is gone for good. This one may go with the power, if nobody was told that it stays.
        may_be.truncate(place + 1);
        given.retain(|(position, _)| *position <= at);
        let due = due(model, name, 0, at);
        ensure!(*given == due, FollowersMissNothing, "{name} at {at} was given {}, not {}", shown(given), shown(&due));
        Ok(())
    }
}

/// Checks where a projection begins that was attached just now.
pub(super) fn begins(
    attached: &Attached<Folded>,
    store: &EventStore,
    model: &Model,
    name: &str,
    kept: u64,
) -> Result<(), Violation> {
    let (at, durable) = (attached.position(), store.durable_head());
    ensure!(at <= durable, StateIsOfItsPosition, "{name} begins at {at}, and {durable} is durable");
    ensure!(at.get() >= kept, StateIsOfItsPosition, "{name} begins at {at}, and its snapshot was at {kept}");
    let ignored = attached.ignored_snapshots();
    ensure!(ignored.is_empty(), StateIsOfItsPosition, "a crash leaves no snapshot of {name} that is bad: {ignored:?}");
    is_of_its_position(attached, model, name)
}

/// Checks that a state is that of its position, as the model folds it.
pub(super) fn is_of_its_position(attached: &Attached<Folded>, model: &Model, name: &str) -> Result<(), Violation> {
    let (at, due) = (attached.position(), due(model, name, 0, attached.position().get()));
    let is_so = attached.state().0 == due;
    ensure!(is_so, StateIsOfItsPosition, "{name} at {at} is {}, not {}", shown(&attached.state().0), shown(&due));
    Ok(())
}

/// The positions of what was given, and what else can be told in short.
pub(super) fn shown(given: &[Given]) -> String {
    let positions: Vec<u64> = given.iter().map(|(position, _)| *position).collect();
    format!("{positions:?}")
}

fn missed(what: impl std::fmt::Display, error: &impl std::fmt::Display) -> Violation {
    Violation::new(Rule::FollowersMissNothing, format!("{what}: {error}"))
}
