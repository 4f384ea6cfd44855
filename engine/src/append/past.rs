//! What was appended before: the log and, behind it, the group at hand.
//!
//! A request that was made before is recognised here, by its key or by the ids of its events, and so
//! are the events that a condition speaks of. A request without any of these never comes here.

use std::sync::Arc;

use annals_codec::{Event, EventId, IdempotencyKey, Position, StreamVersion};
use smallvec::SmallVec;

use super::group::Encoded;
use super::labels::Labels;
use super::queue::Reply;
use super::request::Request;
use super::{Appended, Outcome};
use crate::error::{AppendError, ReadError};
use crate::event::NewEvent;
use crate::index::find::{self, Batch};
use crate::query::Query;
use crate::read::Reader;
use crate::redact::Redactions;
use crate::view::{Published, View};

/// What the caller of a request is told that writes nothing.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// Whether it rests on an earlier request of the group, whose fate it shares.
    pub(super) with_group: bool,
}

impl From<ReadError> for Answer {
    fn from(cause: ReadError) -> Answer {
        let error = match cause {
            ReadError::Truncated { oldest } => AppendError::Truncated { oldest },
            cause => AppendError::Unreadable { cause },
        };
        Answer { reply: Err(error), with_group: false }
    }
}

pub(super) struct Past<'a> {
    group: &'a Encoded,
    labels: &'a mut Labels,
    published: &'a Published,
    /// What is published, once it was needed.
    view: Option<Arc<View>>,
    /// What is known of what was redacted, likewise.
    redactions: Redactions,
}

impl<'a> Past<'a> {
    pub(super) fn new(group: &'a Encoded, labels: &'a mut Labels, published: &'a Published) -> Past<'a> {
        Past { group, labels, published, view: None, redactions: Redactions::default() }
    }

    /// The last position, of the group if it has events.
    pub(super) fn head(&self) -> Position {
        self.group.last
    }

    /// An answer that rests on the event at `at`.
    pub(super) fn answer(&self, reply: Reply, at: Position) -> Answer {
        Answer { reply, with_group: self.is_in_group(at) }
    }

    fn is_in_group(&self, position: Position) -> bool {
        position > self.group.base
    }

    /// The published log: every group before the one at hand is in it.
    fn view(&mut self) -> &Arc<View> {
        self.view.get_or_insert_with(|| self.published.view())
    }

    /// Answers a request that was made before.
    pub(super) fn check(&mut self, request: &Request) -> Result<(), Answer> {
        if let Some(key) = &request.key {
            self.check_key(key, request)?;
        }
        if request.given_ids > 0 {
            self.check_ids(request)?;
        }
        Ok(())
    }

    fn check_key(&mut self, key: &IdempotencyKey, request: &Request) -> Result<(), Answer> {
        let in_group = self.group.batch_with(key).cloned();
        let with_group = in_group.is_some();
        let base = self.group.base;
        let found = match in_group {
            Some(batch) => Some(batch),
            None => find::find_key(self.view(), base, key)?.map(|(_, batch)| batch),
        };
        let Some(batch) = found else { return Ok(()) };
        let original = self.original(batch.first, batch.last)?;
        let is_same = batch.len() == request.events.len() as u64
            && batch.is_tracking(request.tracking.as_ref())
            && self.holds(batch.first, request)?;
        let reply = if is_same {
            Ok(Appended { outcome: Outcome::Duplicate, ..original })
        } else {
            Err(AppendError::IdempotencyKeyReused { key: key.clone(), original })
        };
        Err(Answer { reply, with_group })
    }

    fn check_ids(&mut self, request: &Request) -> Result<(), Answer> {
        let mut found: SmallVec<[(usize, EventId, Position); 1]> = SmallVec::new();
        for (number, (_, event)) in request.events.iter().enumerate() {
            if let Some(id) = event.id
                && let Some(position) = self.position_of(id)?
            {
                found.push((number, id, position));
            }
        }
        let Some(&(number, id, existing)) = found.first() else { return Ok(()) };
        let with_group = found.iter().any(|(.., position)| self.is_in_group(*position));
        // Where the whole of it begins, if it is there.
        let first = existing.get().saturating_sub(number as u64);
        let is_there = |(number, _, position): &(usize, _, Position)| position.get() == first + *number as u64;
        if found.len() == request.given_ids && found.iter().all(is_there) {
            let first = Position::new(first);
            let last = first.plus(request.events.len() as u64).before();
            if self.holds(first, request)? && self.is_one_batch(first, last)? {
                let original = self.original(first, last)?;
                return Err(Answer { reply: Ok(Appended { outcome: Outcome::Duplicate, ..original }), with_group });
            }
        }
        for (number, id, existing) in found {
            let (stream, new) = &request.events[number];
            let stream = &request.streams[*stream as usize].0;
            if !self.is_at(existing, stream, new)? {
                return Err(Answer { reply: Err(AppendError::EventIdConflict { id, existing }), with_group });
            }
        }
        Err(Answer { reply: Err(AppendError::PartialDuplicate { id, existing }), with_group })
    }

    /// Where the event with this id is.
    fn position_of(&mut self, id: EventId) -> Result<Option<Position>, ReadError> {
        match self.group.marks.given.get(&id) {
            Some(position) => Ok(Some(*position)),
            None => {
                let base = self.group.base;
                Ok(find::find_id(self.view(), base, id)?.map(|(_, position)| position))
            }
        }
    }

    /// Whether the events from `first` on say what those of the request say.
    fn holds(&mut self, first: Position, request: &Request) -> Result<bool, ReadError> {
        let count = request.events.len() as u64;
        let last = first.plus(count).before();
        if self.is_in_group(first) {
            let number = self.group.number_of(first);
            let there = (number..).zip(&request.events);
            return Ok(last <= self.group.last
                && there.into_iter().all(|(at, (stream, new))| {
                    new.has_content_of(&request.streams[*stream as usize].0, &self.group.event(at))
                }));
        }
        let mut reader = self.reader(first, count);
        for (stream, new) in &request.events {
            let Some(event) = reader.next_event()? else { return Ok(false) };
            if !self.says(&request.streams[*stream as usize].0, new, &event)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an event of the log says what this one would say. Where its payload is gone, the digest of it tells.
    fn says(&mut self, stream: &str, new: &NewEvent, event: &Event<'_>) -> Result<bool, ReadError> {
        if !event.redacted {
            return Ok(new.has_content_of(stream, event));
        }
        let (base, view) = (self.group.base, Arc::clone(self.view()));
        let known = self.redactions.of(&view, base, event.position)?;
        Ok(known.is_some_and(|known| new.has_content_of_redacted(stream, event, &known.digest)))
    }

    fn is_one_batch(&mut self, first: Position, last: Position) -> Result<bool, ReadError> {
        if first == last {
            return Ok(true);
        }
        if self.is_in_group(first) {
            return Ok(self.group.batch_of(first).is_some_and(|batch| last <= batch.last));
        }
        Ok(find::batch_of(self.view(), last)?.is_some_and(|batch| batch.first <= first))
    }

    /// What was answered when these events were appended.
    fn original(&mut self, first: Position, last: Position) -> Result<Appended, ReadError> {
        if self.is_in_group(last) {
            return Ok(told(first, last, Some(&self.group.event(self.group.number_of(last)))));
        }
        original(&Arc::clone(self.view()), self.group.base, first, last)
    }

    /// Whether the event at a position says what this one would say.
    fn is_at(&mut self, position: Position, stream: &str, new: &NewEvent) -> Result<bool, ReadError> {
        if self.is_in_group(position) {
            return Ok(new.has_content_of(stream, &self.group.event(self.group.number_of(position))));
        }
        let mut reader = self.reader(position, 1);
        let event = reader.next_event()?.expect("it was found there just before");
        self.says(stream, new, &event)
    }

    /// Reads events of the log, from `first` on.
    fn reader(&mut self, first: Position, count: u64) -> Reader {
        let base = self.group.base;
        Reader::all(Arc::clone(self.view()), base, first.before()).limit(count)
    }

    /// The position of the newest event after a position that a query describes. Where some after it were removed
    /// and none is found that is an error, unless it is allowed; also where one may be found, if somebody named the
    /// position.
    pub(super) fn newest_match(
        &mut self,
        query: &Query,
        after: Position,
        (is_named, allows_truncated): (bool, bool),
    ) -> Result<Option<Position>, ReadError> {
        let Past { group, labels, .. } = self;
        let first = group.number_of(after.plus(1));
        if let Some(number) = labels.newest_match(query, first, group.offsets.len(), |number| group.event(number)) {
            return Ok(Some(group.base.plus(number as u64 + 1)));
        }
        let base = group.base;
        if after >= base {
            return Ok(None);
        }
        let oldest = self.view().oldest();
        if is_named && !allows_truncated && after.plus(1) < oldest {
            return Err(ReadError::Truncated { oldest });
        }
        let reader = Reader::query(Arc::clone(self.view()), base, query.clone(), Position::END);
        let mut reader = reader.backward().until(after.plus(1)).limit(1);
        if allows_truncated {
            reader = reader.allow_truncated();
        }
        let newest = reader.next_event()?.map(|event| event.position);
        Ok(newest)
    }
}

/// What was answered when these events of the log were appended, of which `last` is the last; a
/// batch without events begins behind it.
pub(crate) fn original(
    view: &Arc<View>,
    head: Position,
    first: Position,
    last: Position,
) -> Result<Appended, ReadError> {
    // Of a batch without events, what stands before it may be gone.
    if last < view.oldest() {
        return Ok(told(first, last, None));
    }
    let mut reader = Reader::all(Arc::clone(view), head, last.before()).limit(1);
    Ok(told(first, last, reader.next_event()?.as_ref()))
}

/// `event` is the one at `last`, if there is one.
fn told(first: Position, last: Position, event: Option<&Event<'_>>) -> Appended {
    let version = event.filter(|_| first <= last).map_or(StreamVersion::EMPTY, |event| event.version);
    let recorded_at = event.map_or(0, |event| event.recorded_at);
    Appended { outcome: Outcome::Appended, first, last, version, recorded_at }
}

/// What was answered to the request with this key, if there was one.
pub(crate) fn find_append(view: &Arc<View>, head: Position, key: &str) -> Result<Option<Appended>, ReadError> {
    let Some((_, Batch { first, last, .. })) = find::find_key(view, head, key)? else { return Ok(None) };
    original(view, head, first, last).map(Some)
}
