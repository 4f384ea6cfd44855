//! Reading the events of a statement, one after the other, and what is told of it afterwards.
//!
//! What is always true:
//!
//! - A statement sees one log: all its scans begin and end where the log did when the statement began, however
//!   many there are and whatever is appended or removed meanwhile.
//! - What cannot be read ends the statement: there is an error in [`Source::failed`], and no row is left out in silence.
//! - Each event and each segment that was read is counted.
//! - With a ring of keys, what was encrypted with one of them stands in the columns as it was. What cannot be decrypted stands there
//!   as it is in the log, and the first such event is kept in [`Source::undecrypted`]. Of a destroyed key there is nothing to show.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use annals::shred::{Content, KeyRing};
use annals::{ContentType, Event, EventStore, Position, ReadError, Reader, RecordedEvent};
use parking_lot::Mutex;
use rusqlite::types::ToSqlOutput;

use super::columns::Column;
use super::plan::Plan;
use super::wanted::{Given, Nothing, Wanted};

/// The store that statements read, and what the one that runs has read.
#[derive(Debug)]
pub(super) struct Source {
    store: EventStore,
    /// With what is decrypted, if anything is.
    keys: Option<KeyRing>,
    now: Mutex<Statement>,
}

/// What is known of the statement that runs.
#[derive(Debug, Default)]
struct Statement {
    /// The first and the last position of the log.
    log: (i64, i64),
    /// The positions after which the segments begin, and where the last one ends.
    bounds: Arc<[u64]>,
    events: u64,
    segments: BTreeSet<usize>,
    /// The event that was read last, wherever that was.
    last_read: Option<u64>,
    /// The first event that could not be decrypted, and why.
    undecrypted: Option<(u64, String)>,
    /// What a time was compared with and is none, the first time.
    no_time: Option<String>,
    failed: Option<ReadError>,
}

/// What a statement has read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Read {
    /// How many events were read, each as often as it was.
    pub events: u64,
    /// In how many segments they are.
    pub segments: u64,
    /// How many events the log has.
    pub events_in_log: u64,
    /// How many segments the log has.
    pub segments_in_log: u64,
    /// The position of its first event; above 1 when events before it were removed.
    pub oldest: u64,
}

impl Source {
    pub(super) fn new(store: EventStore, keys: Option<KeyRing>) -> Source {
        let source = Source { store, keys, now: Mutex::default() };
        source.begin();
        source
    }

    /// A statement begins: it sees the log as it is now.
    pub(super) fn begin(&self) {
        let (head, oldest) = (self.store.head(), self.store.oldest());
        let log = (oldest.get().cast_signed(), head.get().cast_signed());
        let mut now = self.now.lock();
        let is_grown = now.log != log || now.bounds.is_empty();
        let bounds = if is_grown { self.bounds(head) } else { Arc::clone(&now.bounds) };
        *now = Statement { log, bounds, ..Statement::default() };
    }

    fn bounds(&self, head: Position) -> Arc<[u64]> {
        let segments = self.store.stats().segments;
        let bounds = segments.iter().map(|segment| segment.base.get()).filter(|base| *base < head.get());
        bounds.chain([head.get()]).collect()
    }

    /// What was read since the statement began.
    pub(super) fn read(&self) -> Read {
        let now = self.now.lock();
        Read {
            events: now.events,
            segments: now.segments.len() as u64,
            events_in_log: (now.log.1 + 1 - now.log.0).cast_unsigned(),
            segments_in_log: now.bounds.len() as u64 - 1,
            oldest: now.log.0.cast_unsigned(),
        }
    }

    /// How many events the log has now.
    pub(super) fn len(&self) -> u64 {
        // The oldest event may be another one in between, but none behind what is the end later.
        let oldest = self.store.oldest();
        self.store.head().get() + 1 - oldest.get()
    }

    /// The position of the event that was read last.
    pub(super) fn last_read(&self) -> Option<u64> {
        self.now.lock().last_read
    }

    /// The first event that could not be decrypted since the statement began, and why.
    pub(super) fn undecrypted(&self) -> Option<(u64, String)> {
        self.now.lock().undecrypted.clone()
    }

    /// What a time was compared with and is none, since the statement began: a column and a value.
    pub(super) fn no_time(&self) -> Option<String> {
        self.now.lock().no_time.clone()
    }

    /// Gives what stands in a column of an event.
    pub(super) fn value<T>(&self, column: Column, event: &Event<'_>, give: impl FnOnce(ToSqlOutput<'_>) -> T) -> T {
        let is_encrypted = event.content_type == ContentType::ENCRYPTED && !event.redacted;
        let is_of_content = matches!(column, Column::Data | Column::Metadata | Column::ContentType);
        let Some(keys) = self.keys.as_ref().filter(|_| is_encrypted && is_of_content) else {
            return give(column.of(event));
        };
        let mut shown = *event;
        match keys.decrypt(event) {
            Ok(Content::Readable(content)) => {
                (shown.data, shown.metadata) = (&content.data, content.metadata.as_deref());
                shown.content_type = content.content_type;
                give(column.of(&shown))
            }
            Ok(Content::Shredded { .. }) => {
                (shown.data, shown.metadata) = (&[], None);
                give(column.of(&shown))
            }
            Err(error) => {
                let position = event.position.get();
                self.now.lock().undecrypted.get_or_insert_with(|| (position, error.to_string()));
                give(column.of(event))
            }
        }
    }

    /// Why the statement could not go on, if it could not read.
    pub(super) fn failed(&self) -> Option<ReadError> {
        self.now.lock().failed.take()
    }

    pub(super) fn fail(&self, error: &ReadError) {
        self.now.lock().failed = Some(error.clone());
    }
}

/// Going through the events that one part of a statement asks for.
#[derive(Debug)]
pub(super) struct Scan {
    source: Arc<Source>,
    reader: Option<Reader>,
    event: Option<RecordedEvent>,
    /// The positions of the segment at hand.
    segment: Range<u64>,
    /// How many events were read since it was told to the source.
    events: u64,
}

impl Scan {
    pub(super) fn new(source: Arc<Source>) -> Scan {
        Scan { source, reader: None, event: None, segment: 0..0, events: 0 }
    }

    /// Begins anew: goes to the first event that a plan reads with these values: of its terms, and of those that it checks.
    pub(super) fn begin(&mut self, plan: &Plan, given: &[Given]) -> Result<(), ReadError> {
        self.tell();
        (self.reader, self.event) = (None, None);
        let log = {
            let mut now = self.source.now.lock();
            if now.no_time.is_none() {
                now.no_time = no_time(plan, given);
            }
            now.log
        };
        match Wanted::new(plan, given, log) {
            Ok(wanted) => self.open(&wanted, plan.backward),
            Err(Nothing) => Ok(()),
        }
    }

    fn open(&mut self, wanted: &Wanted, backward: bool) -> Result<(), ReadError> {
        let store = &self.source.store;
        let (mut first, mut last) = (position(wanted.first), position(wanted.last));
        if let Some(id) = wanted.id {
            match store.get_event(id)?.map(|event| event.position()) {
                Some(found) if first <= found && found <= last => (first, last) = (found, found),
                _ => return Ok(()),
            }
        }
        let Ok(query) = wanted.query() else { return Ok(()) };
        if first == last && query == annals::Query::All && !wanted.has_times() {
            self.event = store.get(first)?;
            self.count();
            return Ok(());
        }
        let (from, until) = if backward { (last.plus(1), first) } else { (first.before(), last) };
        let mut reader = store.read(query, from)?.until(until);
        if backward {
            reader = reader.backward();
        }
        if wanted.has_times() {
            // Nothing was recorded in the last nanosecond that can be counted.
            reader = reader.recorded_between(wanted.earliest, wanted.latest.saturating_add(1));
        }
        self.reader = Some(reader);
        self.advance()
    }

    /// Goes to the next event; there is none behind the last.
    pub(super) fn advance(&mut self) -> Result<(), ReadError> {
        self.event = None;
        if let Some(reader) = &mut self.reader {
            self.event = reader.next().transpose()?;
            self.count();
        }
        Ok(())
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The event at hand; `None` behind the last.
    pub(super) fn event(&self) -> Option<&RecordedEvent> {
        self.event.as_ref()
    }

    fn count(&mut self) {
        let Some(event) = &self.event else { return };
        self.events += 1;
        let position = event.position().get();
        if !self.segment.contains(&position) {
            let mut now = self.source.now.lock();
            let segment = now.bounds.partition_point(|base| *base < position) - 1;
            self.segment = now.bounds[segment] + 1..now.bounds[segment + 1] + 1;
            now.segments.insert(segment);
        }
    }

    /// Tells the source how much was read.
    fn tell(&mut self) {
        let mut now = self.source.now.lock();
        now.events += std::mem::take(&mut self.events);
        if let Some(event) = &self.event {
            now.last_read = Some(event.position().get());
        }
        self.segment = 0..0;
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.tell();
    }
}

/// The first time that is compared with what is none, and with what.
fn no_time(plan: &Plan, given: &[Given]) -> Option<String> {
    let mut compared = plan.terms.iter().chain(&plan.checked).zip(given).filter(|(term, _)| term.column.is_time());
    compared.find_map(|(term, given)| Some(format!("{} is compared with {}", term.column.name(), given.no_time()?)))
}

/// A position within the log, which has no negative ones.
fn position(number: i64) -> Position {
    Position::new(number.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::columns::Column;
    use crate::sql::plan::{Op, Term};
    use annals::{Durability, ExpectedVersion, Guard, NewEvent, Options};

    /// A store of some segments with a hundred events each, or so.
    fn store() -> EventStore {
        let options = Options::new().segment_bytes(64 << 10).durability(Durability::Buffered);
        let store = EventStore::in_memory(&options).unwrap();
        for number in 0..400 {
            let stream = format!("s-{}", number % 3);
            store.append(&*stream, ExpectedVersion::Any, NewEvent::new("T", vec![b'x'; 500])).unwrap();
        }
        assert!(store.stats().segments.len() > 2);
        store
    }

    fn positions(scan: &mut Scan) -> Result<Vec<u64>, ReadError> {
        let mut found = Vec::new();
        while let Some(event) = scan.event() {
            found.push(event.position().get());
            scan.advance()?;
        }
        Ok(found)
    }

    #[test]
    fn a_statement_sees_the_log_as_it_was_when_it_began() {
        let store = store();
        let source = Arc::new(Source::new(store.clone(), None));
        let mut scan = Scan::new(Arc::clone(&source));
        store.append("s-0", ExpectedVersion::Any, NewEvent::new("T", "late")).unwrap();
        for backward in [false, true] {
            scan.begin(&Plan { backward, ..Plan::default() }, &[]).unwrap();
            let mut found = positions(&mut scan).unwrap();
            if backward {
                found.reverse();
            }
            assert_eq!(found, (1..=400).collect::<Vec<_>>());
        }
        let plan = Plan { terms: vec![Term { column: Column::Position, op: Op::Eq }], ..Plan::default() };
        scan.begin(&plan, &[Given::Integer(401)]).unwrap();
        assert!(scan.event().is_none());
        // Nor by its id.
        let late = store.get(Position::new(401)).unwrap().unwrap().as_event().id;
        let by_id = Plan { terms: vec![Term { column: Column::Id, op: Op::Eq }], ..Plan::default() };
        scan.begin(&by_id, &[Given::Text(late.to_string())]).unwrap();
        assert!(scan.event().is_none());
        source.begin();
        scan.begin(&by_id, &[Given::Text(late.to_string())]).unwrap();
        assert_eq!(positions(&mut scan).unwrap(), [401]);
        scan.begin(&plan, &[Given::Integer(401)]).unwrap();
        assert_eq!(positions(&mut scan).unwrap(), [401]);
    }

    #[test]
    fn what_is_removed_while_a_statement_runs_is_an_error_and_no_row_less() {
        let store = store();
        let source = Arc::new(Source::new(store.clone(), None));
        let (mut begun, mut late) = (Scan::new(Arc::clone(&source)), Scan::new(Arc::clone(&source)));
        begun.begin(&Plan::default(), &[]).unwrap();
        let base = store.stats().segments[1].base;
        store.truncate_before(base.plus(1), Guard::Force).unwrap();
        // Who was reading goes on; who comes later is told.
        assert_eq!(positions(&mut begun).unwrap().len(), 400);
        let Err(ReadError::Truncated { oldest }) = late.begin(&Plan::default(), &[]) else { panic!("fewer rows") };
        assert_eq!(oldest, base.plus(1));
        source.begin();
        late.begin(&Plan::default(), &[]).unwrap();
        assert_eq!(positions(&mut late).unwrap().first(), Some(&(base.get() + 1)));
        assert_eq!(source.read().oldest, base.get() + 1);
    }

    #[test]
    fn what_was_read_is_counted_over_all_scans_of_a_statement() {
        let store = store();
        let source = Arc::new(Source::new(store.clone(), None));
        let segments = store.stats().segments;
        let plan = Plan { terms: vec![Term { column: Column::Position, op: Op::Le }], ..Plan::default() };
        let first_of_second = segments[1].base.get() + 1;
        for (last, in_segments) in
            [(1, 1), (first_of_second - 1, 1), (first_of_second, 2), (400, segments.len() as u64)]
        {
            source.begin();
            for _ in 0..2 {
                let mut scan = Scan::new(Arc::clone(&source));
                scan.begin(&plan, &[Given::Integer(last.cast_signed())]).unwrap();
                positions(&mut scan).unwrap();
            }
            let read = source.read();
            assert_eq!((read.events, read.segments), (2 * last, in_segments));
            assert_eq!((read.events_in_log, read.segments_in_log), (400, segments.len() as u64));
        }
        source.begin();
        assert_eq!((source.read().events, source.last_read()), (0, None));
        let mut scan = Scan::new(Arc::clone(&source));
        scan.begin(&plan, &[Given::Integer(9)]).unwrap();
        scan.advance().unwrap();
        drop(scan);
        assert_eq!((source.read().events, source.last_read()), (2, Some(2)));
    }
}
