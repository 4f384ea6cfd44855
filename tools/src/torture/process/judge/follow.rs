//! Those who follow: checkpoint and snapshot against the log.

use annals::{EventStore, Position, RecordedEvent};
use annals_projection::{Attached, ProjectionError};

use super::super::follower::{CONSUMER, Counted, counting};
use super::super::ledger::{End, Ledger};
use super::all_events;
use crate::torture::violation::ensure;
use crate::torture::{Rule, Violation};

/// Where the consumer stands, and where the projection begins, if all is well with them. Changes nothing.
pub(super) fn compare(
    store: &EventStore,
    ledger: &Ledger,
    end: End,
    events: &[RecordedEvent],
) -> Result<(Position, Position), Violation> {
    let durable = store.durable_head();
    let broken = |why: &dyn std::fmt::Display| Violation::new(Rule::FollowersMissNothing, format!("consumer: {why}"));
    let consumers = store.consumers().map_err(|error| broken(&error))?;
    let consumer = consumers.iter().find(|consumer| &*consumer.name == CONSUMER);
    if let Some(fault) = consumer.and_then(|consumer| consumer.fault.as_ref()) {
        return Err(broken(fault));
    }
    let followed = consumer.and_then(|consumer| consumer.position).unwrap_or_default();
    let least = ledger.kept(end);
    ensure!(followed >= least, FollowersMissNothing, "the consumer is at {followed}, and {least} was acknowledged");
    ensure!(followed <= durable, FollowersMissNothing, "the consumer is at {followed}, and {durable} is durable");

    let attached = counting().attach(store).map_err(|error| unfolded(&error))?;
    let resumed = attached.position();
    ensure!(resumed <= durable, StateIsOfItsPosition, "a projection begins at {resumed}, and {durable} is durable");
    let ignored = attached.ignored_snapshots();
    ensure!(ignored.is_empty(), StateIsOfItsPosition, "a crash leaves no bad snapshot: {ignored:?}");
    is_of_its_position(&attached, events)?;
    Ok((followed, resumed))
}

/// What resumes comes to what is there.
pub(super) fn go_on(store: &EventStore) -> Result<(), Violation> {
    let events = all_events(store)?;
    let mut attached = counting().attach(store).map_err(|error| unfolded(&error))?;
    let (at, head) = (attached.catch_up().map_err(|error| unfolded(&error))?, store.head());
    ensure!(at == head, StateIsOfItsPosition, "a projection has caught up to {at}, and the head is {head}");
    is_of_its_position(&attached, &events)
}

fn is_of_its_position(attached: &Attached<Counted>, events: &[RecordedEvent]) -> Result<(), Violation> {
    let mut due = Counted::default();
    for event in &events[..attached.position().get() as usize] {
        due.take(&event.as_event());
    }
    let (at, state) = (attached.position(), attached.state());
    ensure!(*state == due, StateIsOfItsPosition, "at {at} a projection is {:?}, not {due:?}", *state);
    Ok(())
}

fn unfolded(error: &ProjectionError) -> Violation {
    Violation::new(Rule::StateIsOfItsPosition, format!("a projection: {error}"))
}
