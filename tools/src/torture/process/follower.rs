//! Those in the child who follow the log: a consumer with a thread of its own, and a live projection.
//!
//! What is always true: the consumer is given one event after the other from its checkpoint on, or panics, which the
//! child tells; what it has kept it says after it was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals::{Delivery, Event, EventStore, Query};
use annals_projection::{Fold, HandlerError, LiveProjection, Projection};
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::said::Said;

/// The consumer's name.
pub(super) const CONSUMER: &str = "follower";

/// How often it looks whether the others are done.
const LOOK: Duration = Duration::from_millis(5);

/// A state in which each event leaves its trace, however many there are.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Counted {
    by_type: BTreeMap<String, u64>,
    positions: u64,
    bytes: u64,
}

impl Counted {
    pub(super) fn take(&mut self, event: &Event<'_>) {
        *self.by_type.entry(event.event_type.to_owned()).or_default() += 1;
        self.positions = self.positions.wrapping_mul(31).wrapping_add(event.position.get());
        self.bytes =
            event.data.iter().fold(self.bytes, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
}

pub(super) struct Counting;

impl Fold for Counting {
    type State = Counted;

    fn initial(&self) -> Counted {
        Counted::default()
    }

    fn apply(&self, state: &mut Counted, event: &Event<'_>) -> Result<(), HandlerError> {
        state.take(event);
        Ok(())
    }
}

pub(super) fn counting() -> Projection<Counting> {
    Projection::of("counted", Counting).snapshot_every(40)
}

/// The projection, in a thread of its own; `None` where a fault keeps it from starting.
pub(super) fn fold(store: &EventStore) -> Option<LiveProjection<Counted>> {
    LiveProjection::start(store, counting()).ok()
}

/// Follows until the others are done and nothing is left, or a fault ends it.
pub(super) fn follow(store: &EventStore, mut dice: Dice, are_done: &AtomicBool, say: impl Fn(&Said)) {
    let Ok(consumer) = store.consumer(CONSUMER) else { return };
    let Ok(mut subscription) = consumer.subscribe(Query::All) else { return };
    let mut last = consumer.position();
    say(&Said::Follows { position: last });
    let mut left = dice.below(30);
    loop {
        let was_done = are_done.load(Ordering::SeqCst);
        let Ok(item) = subscription.next_within(LOOK) else { return };
        match item {
            Some(Delivery::Event(event)) => {
                assert_eq!(event.position, last.plus(1), "the consumer is given what comes next");
                last = event.position;
                left = left.saturating_sub(1);
            }
            Some(Delivery::CaughtUp(at) | Delivery::Checkpoint(at)) => {
                assert_eq!(at, last, "the consumer was given everything up to there");
            }
            None if was_done => return,
            None | Some(Delivery::FellBehind { .. }) => {}
        }
        if left == 0 {
            left = 1 + dice.below(30);
            if last > consumer.position() {
                if consumer.checkpoint(last).is_err() {
                    return;
                }
                say(&Said::Kept { position: last });
            }
        }
    }
}
