//! What a store must hold: a list of batches, and what became of each.
//!
//! The model is meant to be obviously right. It knows no segments, offsets or
//! files: a log is a list of batches, and a crash may only shorten the list,
//! never below what was promised.

use std::collections::BTreeMap;
use std::ops::Range;

use annals::{AppendError, Appended, BatchBuilder, Durability, EventId, EventStore, ExpectedVersion, NewEvent};

use super::followers::Followers;
use super::violation::{Rule, Violation, ensure};

/// One batch. Its number is in every payload, so that no two batches look alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Its name; never the same for two batches.
    pub number: u64,
    /// The stream and the payload's length of each event.
    pub events: Vec<(&'static str, usize)>,
    /// A source, and how far it is processed with this batch.
    pub tracking: Option<(&'static str, u64)>,
    /// Whether it has an idempotency key.
    pub has_key: bool,
    /// Whether its author gives its events ids.
    pub has_ids: bool,
    /// Whether its author says at which version its streams are.
    pub is_exact: bool,
    /// When it is acknowledged.
    pub durability: Durability,
}

impl Batch {
    /// A durable batch.
    pub fn new(number: u64, events: &[(&'static str, usize)]) -> Batch {
        Batch {
            number,
            events: events.to_vec(),
            tracking: None,
            has_key: false,
            has_ids: false,
            is_exact: false,
            durability: Durability::Sync,
        }
    }

    /// The payload of its event number `index`.
    pub fn payload(&self, index: usize) -> Vec<u8> {
        let mut payload = self.line(index);
        let len = self.events[index].1;
        payload.reserve(len.saturating_sub(payload.len()));
        while payload.len() < len {
            payload.extend_from_within(..payload.len().min(len - payload.len()));
        }
        payload.truncate(len);
        payload
    }

    /// Whether this is the payload of its event number `index`: a line that repeats, so one comparison of the
    /// bytes with themselves tells.
    pub fn is_payload(&self, index: usize, bytes: &[u8]) -> bool {
        let line = self.line(index);
        let begin = line.len().min(bytes.len());
        bytes.len() == self.events[index].1
            && bytes[..begin] == line[..begin]
            && bytes[begin..] == bytes[..bytes.len() - begin]
    }

    fn line(&self, index: usize) -> Vec<u8> {
        format!("batch {} event {index} ", self.number).into_bytes()
    }

    /// The type of its event number `index`: types alternate, so that looking one up leaves something out.
    pub fn event_type(&self, index: usize) -> &'static str {
        ["Told", "Sung", "Drawn"][(self.number as usize + index) % 3]
    }

    /// Its idempotency key, if it has one.
    pub fn key(&self) -> Option<String> {
        self.has_key.then(|| format!("batch {}", self.number))
    }

    /// The id that is given to its event number `index`, if ids are given.
    pub fn id(&self, index: usize) -> Option<EventId> {
        let mut bytes = [0xAB; 16];
        bytes[0] = index as u8;
        for (place, byte) in bytes[1..9].iter_mut().enumerate() {
            *byte = (self.number >> (8 * place)) as u8;
        }
        self.has_ids.then(|| EventId::from_bytes(bytes))
    }

    /// Whether a second try of it is recognised.
    pub fn can_be_retried(&self) -> bool {
        self.has_key || self.has_ids && !self.events.is_empty()
    }

    /// Its events, as they are appended.
    pub fn new_events(&self) -> impl Iterator<Item = (&'static str, NewEvent)> {
        self.events.iter().enumerate().map(|(index, (stream, _))| {
            let event = NewEvent::new(self.event_type(index), self.payload(index)).tag("story");
            (*stream, self.id(index).map_or(event.clone(), |id| event.id(id)))
        })
    }

    /// Says to the store what this batch is.
    pub fn builder<'a>(&self, store: &'a EventStore) -> BatchBuilder<'a> {
        let mut builder = store.batch().durability(self.durability);
        if self.is_exact {
            let mut streams: Vec<_> = self.events.iter().map(|(stream, _)| *stream).collect();
            streams.sort_unstable();
            streams.dedup();
            for stream in streams {
                // What cannot be read is told by the append itself.
                if let Ok(version) = store.stream_version(stream) {
                    builder = builder.expect(stream, ExpectedVersion::Exact(version));
                }
            }
        }
        for (stream, event) in self.new_events() {
            builder = builder.event(stream, event);
        }
        if let Some(key) = self.key() {
            builder = builder.idempotency_key(key);
        }
        match self.tracking {
            Some((source, upstream)) => builder.tracking(source, upstream),
            None => builder,
        }
    }

    /// Appends it.
    ///
    /// # Errors
    ///
    /// What the append says.
    pub fn commit(&self, store: &EventStore) -> Result<Appended, AppendError> {
        self.builder(store).commit()
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// Acknowledged, and durable: nothing may take it.
    Durable,
    /// Acknowledged, not durable: a power loss may take it, a kill may not.
    Written,
    /// Not acknowledged: there as a whole, or not at all.
    InDoubt,
}

/// How the life of a disk ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The process died; what it wrote is still there.
    Kill,
    /// The machine died; what was not synced may be gone.
    PowerLoss,
}

/// The log as it must be.
#[derive(Clone, Debug, Default)]
pub struct Model {
    batches: Vec<(Batch, Fate)>,
    /// How many batches a recovery has shown.
    shown: usize,
    /// What recoveries have dropped.
    dropped: Vec<u64>,
    /// A sync has failed: what was only written may be gone already.
    pub sync_failed: bool,
    /// Who follows the log.
    pub followers: Followers,
    /// How many of the oldest events were removed: so many for certain, and perhaps up to so many.
    removed: (usize, usize),
}

impl Model {
    /// The batch was appended.
    ///
    /// # Errors
    ///
    /// When one that may not be there stands before it: nothing can be promised behind that.
    pub fn acknowledged(&mut self, batch: &Batch) -> Result<(), Violation> {
        let behind = format!("batch {} was acknowledged behind one that is in doubt", batch.number);
        ensure!(self.in_doubt() == 0, FailuresAreTold, "{behind}");
        self.push(batch, Fate::Written);
        if batch.durability == Durability::Sync { self.flushed() } else { Ok(()) }
    }

    /// Whether the batch was appended, nobody knows.
    pub fn doubtful(&mut self, batch: &Batch) {
        self.push(batch, Fate::InDoubt);
    }

    fn push(&mut self, batch: &Batch, fate: Fate) {
        // Whoever appends it once more brings it back himself.
        self.dropped.retain(|number| *number != batch.number);
        self.batches.push((batch.clone(), fate));
    }

    /// Whether a batch is there, or may be.
    pub fn holds(&self, batch: &Batch) -> bool {
        self.place(batch).is_some()
    }

    fn place(&self, batch: &Batch) -> Option<usize> {
        self.batches().position(|known| known.number == batch.number)
    }

    /// A batch that was appended before was asked for once more, and found to be there.
    ///
    /// # Errors
    ///
    /// When it never was there, or nobody could know.
    pub fn found(&mut self, batch: &Batch) -> Result<(), Violation> {
        let Some(index) = self.place(batch) else {
            let seen = format!("batch {} was found, and is not there", batch.number);
            return Err(Violation::new(Rule::ReadsAgree, seen));
        };
        if batch.durability == Durability::Sync { self.made_durable(index + 1) } else { Ok(()) }
    }

    /// Everything acknowledged so far is durable now.
    ///
    /// # Errors
    ///
    /// When something is in doubt: nothing can be promised behind that.
    pub fn flushed(&mut self) -> Result<(), Violation> {
        self.made_durable(self.len())
    }

    fn made_durable(&mut self, count: usize) -> Result<(), Violation> {
        for (batch, fate) in &mut self.batches[..count] {
            let doubtful = *fate == Fate::InDoubt;
            ensure!(!doubtful, FailuresAreTold, "something was called durable behind batch {}, in doubt", batch.number);
            *fate = Fate::Durable;
        }
        Ok(())
    }

    /// How many batches nobody knows the fate of.
    pub fn in_doubt(&self) -> usize {
        self.batches.iter().filter(|(_, fate)| *fate == Fate::InDoubt).count()
    }

    /// How many batches must be there after such an end.
    pub fn least(&self, end: End) -> usize {
        let kept = |fate: Fate| match fate {
            Fate::Durable => true,
            Fate::Written => end == End::Kill && !self.sync_failed,
            Fate::InDoubt => false,
        };
        self.batches.iter().take_while(|(_, fate)| kept(*fate)).count()
    }

    /// How many batches there are, those in doubt included.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// A recovery has shown this many batches: the others are gone for ever, and these stay.
    pub fn recovered(&mut self, shown: usize) {
        self.dropped.extend(self.batches.drain(shown..).map(|(batch, _)| batch.number));
        for (_, fate) in &mut self.batches {
            *fate = Fate::Durable;
        }
        self.shown = shown;
        self.sync_failed = false;
    }

    /// Somebody begins to remove this many of the oldest events.
    pub fn may_lose(&mut self, events: usize) {
        self.removed.1 = self.removed.1.max(events);
    }

    /// This many of the oldest events are removed, no more and no fewer.
    pub fn has_lost(&mut self, events: usize) {
        self.removed = (events, events);
    }

    /// How many of the oldest events were removed, at least and at most.
    pub fn removed(&self) -> (usize, usize) {
        self.removed
    }

    /// Whether a batch may be among what was removed: then nobody knows its names any more.
    pub fn may_have_lost(&self, batch: &Batch) -> bool {
        self.place(batch).is_some_and(|place| self.removed.1 > 0 && self.events(place + 1) <= self.removed.1)
    }

    /// The streams that the first `batches` batches write to, and how many events of each.
    pub fn streams(&self, batches: usize) -> BTreeMap<&'static str, u64> {
        let mut streams = BTreeMap::new();
        for (stream, _) in self.batches().take(batches).flat_map(|batch| &batch.events) {
            *streams.entry(*stream).or_default() += 1;
        }
        streams
    }

    /// How many batches the last recovery has shown.
    pub(super) fn shown(&self) -> usize {
        self.shown
    }

    /// The batches, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter().map(|(batch, _)| batch)
    }

    /// How many events the first `batches` batches hold.
    pub fn events(&self, batches: usize) -> usize {
        self.batches().take(batches).map(|batch| batch.events.len()).sum()
    }

    /// For how many batches there are this many events; several where batches have no events.
    pub(super) fn batches_of(&self, events: usize) -> Range<usize> {
        let mut sum = 0;
        let ends: Vec<usize> = std::iter::once(0)
            .chain(self.batches().map(|batch| {
                sum += batch.events.len();
                sum
            }))
            .collect();
        ends.partition_point(|end| *end < events)..ends.partition_point(|end| *end <= events)
    }

    /// How far a source is processed after the first `batches` batches.
    pub fn tracking(&self, batches: usize, source: &str) -> Option<u64> {
        let records = self.batches().take(batches).filter_map(|batch| batch.tracking);
        records.filter(|(name, _)| *name == source).map(|(_, upstream)| upstream).last()
    }

    /// The sources that are tracked.
    pub fn sources(&self) -> Vec<&'static str> {
        let mut sources: Vec<_> = self.batches().filter_map(|batch| batch.tracking).map(|(name, _)| name).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Which promise is broken by a log that shows the events of these batches, behind the first `removed` events.
    pub(super) fn rule_broken_by(&self, found: &[u64], least: usize, removed: usize) -> Rule {
        let there = |batch: &Batch| {
            self.place(batch).is_some_and(|place| self.events(place + 1) <= removed)
                || batch.events.len() == found.iter().filter(|number| **number == batch.number).count()
        };
        if found.iter().any(|number| self.dropped.contains(number)) {
            Rule::DroppedStaysGone
        } else if !self.batches().take(self.shown).all(there) {
            Rule::ShownStays
        } else if !self.batches().take(least).all(there) {
            Rule::AcknowledgedStays
        } else {
            Rule::WholeOrAbsent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_known_and_so_is_every_byte_of_it() {
        for len in [0, 1, 17, 18, 19, 100] {
            let batch = Batch::new(12, &[("a", len), ("a", len)]);
            let mut payload = batch.payload(1);
            assert!(payload.len() == len && batch.is_payload(1, &payload), "{len}");
            assert_eq!(payload, b"batch 12 event 1 ".iter().copied().cycle().take(len).collect::<Vec<u8>>());
            for byte in 0..len {
                payload[byte] ^= 1;
                assert!(!batch.is_payload(1, &payload), "{len}, byte {byte}");
                payload[byte] ^= 1;
            }
            assert!(!batch.is_payload(1, &[&payload[..], b"b"].concat()));
            assert!(len < 17 || !batch.is_payload(0, &payload));
        }
    }
}
