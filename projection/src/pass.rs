//! One pass over the log for any number of projections.
//!
//! It begins where the one that is furthest behind stands, and hands each event to all that have not had it yet.
//! When one of them stops, or goes on after a fault, or starts over, the pass is begun anew: with
//! positions in each projection there is nothing else to keep.
//!
//! What is always true: what goes wrong in one projection stops that one.

use std::sync::Arc;
use std::time::Instant;

use annals::{Canceller, Delivery, Event, EventStore, Position, Query, Subscription};
use parking_lot::{Condvar, Mutex};

use crate::error::ProjectionError;
use crate::member::{Member, TakesPart};

/// So many events are handed out with the locks held; after that, who waits to look is let in.
const BATCH: u32 = 256;

/// What handles and their pass have in common.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Asked {
    stop: bool,
    /// Something has changed that a pass has to begin anew for.
    again: bool,
    /// What the pass waits in.
    waiting: Option<Canceller>,
}

impl Control {
    fn ask(&self, ask: impl FnOnce(&mut Asked)) {
        let mut asked = self.state.lock();
        ask(&mut asked);
        if let Some(waiting) = asked.waiting.take() {
            waiting.cancel();
        }
        self.changed.notify_all();
    }

    /// Ends the pass after the batch at hand.
    pub(crate) fn stop(&self) {
        self.ask(|asked| asked.stop = true);
    }

    /// Has the pass begin anew.
    pub(crate) fn begin_again(&self) {
        self.ask(|asked| asked.again = true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stop
    }

    /// From here on it is seen what is asked.
    fn heard(&self) {
        self.state.lock().again = false;
    }

    /// The pass will wait in a subscription; not, when something was asked since it [heard](Control::heard).
    fn may_wait_in(&self, subscription: &Subscription) -> bool {
        let mut asked = self.state.lock();
        asked.waiting = Some(subscription.canceller());
        !asked.stop && !asked.again
    }

    /// Waits until something is asked, or until then.
    fn wait(&self, until: Option<Instant>) {
        let mut asked = self.state.lock();
        while !asked.stop && !asked.again {
            match until {
                None => self.changed.wait(&mut asked),
                Some(until) if self.changed.wait_until(&mut asked, until).timed_out() => return,
                Some(_) => {}
            }
        }
    }
}

/// How far a pass goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Until {
    /// To the head of the log, or until none of its projections goes on.
    CaughtUp,
    /// Until it is stopped.
    Stopped,
}

pub(crate) struct Pass {
    store: EventStore,
    parts: Vec<Arc<dyn TakesPart>>,
    pub(crate) control: Arc<Control>,
}

impl Pass {
    pub(crate) fn new(store: &EventStore) -> Pass {
        Pass { store: store.clone(), parts: Vec::new(), control: Arc::default() }
    }

    pub(crate) fn add(&mut self, part: Arc<dyn TakesPart>) {
        self.parts.push(part);
    }

    pub(crate) fn run(&self, until: Until) {
        let members = self.parts.iter().map(|part| part.member(until == Until::Stopped)).collect();
        Running { store: &self.store, control: &self.control, members }.run(until);
    }

    /// Tells all projections that nothing comes any more.
    pub(crate) fn end(&self) {
        for part in &self.parts {
            part.stop();
        }
    }
}

/// What follows from an item that was handed out.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Handed {
    GoOn,
    /// Somebody wants to let go of his lock.
    End,
    /// Everything that there was is handed out.
    CaughtUp,
}

/// A pass that is under way.
struct Running<'a> {
    store: &'a EventStore,
    control: &'a Control,
    members: Vec<Box<dyn Member + 'a>>,
}

impl Running<'_> {
    fn run(&mut self, until: Until) {
        while !self.control.is_stopped() {
            self.control.heard();
            let from = self.members.iter_mut().filter_map(|member| member.begin_pass()).min();
            let retry_at = self.members.iter().filter_map(|member| member.retry_at()).min();
            let Some(from) = from else {
                if until == Until::CaughtUp && retry_at.is_none() {
                    return;
                }
                self.control.wait(retry_at);
                continue;
            };
            let query = self.query();
            let is_done = match self.store.subscribe(from, query) {
                Ok(subscription) => {
                    self.control.may_wait_in(&subscription) && self.follow(subscription, until, retry_at)
                }
                Err(error) => {
                    self.fail(&error.into());
                    false
                }
            };
            if is_done && self.members.iter().all(|member| member.is_active() || member.failed().is_some()) {
                return;
            }
        }
    }

    /// What all of those that take part want, together.
    fn query(&mut self) -> Query {
        let wanted: Vec<&Query> =
            self.members.iter().filter(|member| member.is_active()).map(|member| member.query()).collect();
        let query = match wanted.split_first() {
            Some((first, others)) if others.iter().all(|query| query == first) => (*first).clone(),
            _ => {
                let items = wanted.iter().map(|query| match query {
                    Query::All => None,
                    Query::Items(items) => Some(items.clone()),
                });
                items.collect::<Option<Vec<_>>>().map_or(Query::All, |items| Query::Items(items.concat()))
            }
        };
        for member in &mut self.members {
            let does_filter = *member.query() != query;
            member.filter(does_filter);
        }
        query
    }

    /// Hands out what a subscription gives; whether the pass has gone as far as it is to go.
    fn follow(&mut self, mut subscription: Subscription, until: Until, retry_at: Option<Instant>) -> bool {
        let taking_part = self.active();
        loop {
            let first = match (until, retry_at) {
                (Until::CaughtUp, _) => subscription.try_next(),
                (Until::Stopped, None) => subscription.next_item(),
                (Until::Stopped, Some(at)) => subscription.next_within(at.saturating_duration_since(Instant::now())),
            };
            // Looked at where it lies: an item is large, and this is done for each of millions.
            let (mut left, mut caught_up, mut failed) = (BATCH, false, None);
            let mut handed = match &first {
                Ok(Some(item)) => {
                    self.members.iter_mut().for_each(|member| member.begin());
                    self.hand_out(item)
                }
                Ok(None) => return false,
                Err(error) => {
                    self.fail(&error.clone().into());
                    return false;
                }
            };
            drop(first);
            loop {
                caught_up |= handed == Handed::CaughtUp;
                left -= 1;
                if handed != Handed::GoOn || left == 0 {
                    break;
                }
                handed = match &subscription.try_next() {
                    Ok(Some(item)) => self.hand_out(item),
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error.clone());
                        break;
                    }
                };
            }
            self.members.iter_mut().for_each(|member| member.end(caught_up));
            if let Some(error) = failed {
                self.fail(&error.into());
                return false;
            }
            if caught_up && until == Until::CaughtUp {
                return true;
            }
            if self.active() < taking_part {
                return false;
            }
        }
    }

    /// Hands an item to everybody.
    #[inline]
    fn hand_out(&mut self, item: &Delivery<Event<'_>>) -> Handed {
        match item {
            Delivery::Event(event) => {
                let mut is_end = false;
                for member in &mut self.members {
                    is_end |= member.event(event);
                }
                if is_end { Handed::End } else { Handed::GoOn }
            }
            Delivery::Checkpoint(position) => {
                self.pass(*position);
                Handed::GoOn
            }
            Delivery::CaughtUp(position) => {
                self.pass(*position);
                Handed::CaughtUp
            }
            Delivery::FellBehind { .. } => Handed::GoOn,
        }
    }

    fn active(&self) -> usize {
        self.members.iter().filter(|member| member.is_active()).count()
    }

    fn pass(&mut self, position: Position) {
        self.members.iter_mut().for_each(|member| member.pass(position));
    }

    fn fail(&mut self, error: &ProjectionError) {
        self.members.iter_mut().for_each(|member| member.fail(error));
    }
}
