//! What a store must hold: a list of batches, and what became of each.
//!
//! The model is meant to be obviously right. It knows no segments, offsets or
//! files: a log is a list of batches, and a crash may only shorten the list,
//! never below what was promised.

use annals::{Durability, EventId, NewEvent};

/// One batch. Its number is in every payload, so that no two batches look alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Batch {
    pub(crate) number: u64,
    /// The stream and the payload's length of each event.
    pub(crate) events: Vec<(&'static str, usize)>,
    pub(crate) tracking: Option<(&'static str, u64)>,
    /// Whether it has an idempotency key.
    pub(crate) has_key: bool,
    /// Whether its author gives its events ids.
    pub(crate) has_ids: bool,
    pub(crate) durability: Durability,
}

impl Batch {
    pub(crate) fn new(number: u64, events: &[(&'static str, usize)]) -> Batch {
        let events = events.to_vec();
        Batch { number, events, tracking: None, has_key: false, has_ids: false, durability: Durability::Sync }
    }

    /// The payload of its event number `index`.
    pub(crate) fn payload(&self, index: usize) -> Vec<u8> {
        let line = format!("batch {} event {index} ", self.number);
        line.bytes().cycle().take(self.events[index].1).collect()
    }

    pub(crate) fn key(&self) -> Option<String> {
        self.has_key.then(|| format!("batch {}", self.number))
    }

    /// The id that is given to its event number `index`, if ids are given.
    pub(crate) fn id(&self, index: usize) -> Option<EventId> {
        let mut bytes = [0xAB; 16];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8] = index as u8;
        self.has_ids.then(|| EventId::from_bytes(bytes))
    }

    /// Whether a second try of it is recognised.
    pub(crate) fn can_be_retried(&self) -> bool {
        self.has_key || self.has_ids && !self.events.is_empty()
    }

    pub(crate) fn new_events(&self) -> impl Iterator<Item = (&'static str, NewEvent)> {
        let event = |(index, (stream, _)): (usize, &(&'static str, usize))| {
            let event = NewEvent::new("Told", self.payload(index)).tag("story");
            let event = self.id(index).map_or(event.clone(), |id| event.id(id));
            (*stream, event)
        };
        self.events.iter().enumerate().map(event)
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Acknowledged, and durable: nothing may take it.
    Durable,
    /// Acknowledged, not durable: a power loss may take it, a kill may not.
    Written,
    /// Not acknowledged: there as a whole, or not at all.
    InDoubt,
}

/// How the life of a disk ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Kill,
    PowerLoss,
}

/// The log as it must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    batches: Vec<(Batch, Fate)>,
    /// A sync has failed: what was only written may be gone already.
    pub(crate) sync_failed: bool,
}

impl Model {
    pub(crate) fn acknowledged(&mut self, batch: &Batch) {
        assert!(self.in_doubt() == 0, "batch {} was acknowledged behind one that is in doubt", batch.number);
        self.batches.push((batch.clone(), Fate::Written));
        if batch.durability == Durability::Sync {
            self.flushed();
        }
    }

    pub(crate) fn doubtful(&mut self, batch: &Batch) {
        self.batches.push((batch.clone(), Fate::InDoubt));
    }

    /// Whether a batch is there, or may be.
    pub(crate) fn holds(&self, batch: &Batch) -> bool {
        self.batches().any(|known| known.number == batch.number)
    }

    /// A batch that was appended before was asked for once more, and found to be there.
    pub(crate) fn found(&mut self, batch: &Batch) {
        let index = self.batches().position(|known| known.number == batch.number);
        let index = index.unwrap_or_else(|| panic!("batch {} was found, and never appended", batch.number));
        if batch.durability == Durability::Sync {
            for (_, fate) in &mut self.batches[..=index] {
                assert!(*fate != Fate::InDoubt, "nothing is found behind what is in doubt");
                *fate = Fate::Durable;
            }
        }
    }

    /// Everything acknowledged so far is durable now.
    pub(crate) fn flushed(&mut self) {
        for (_, fate) in &mut self.batches {
            assert!(*fate != Fate::InDoubt, "nothing is acknowledged behind what is in doubt");
            *fate = Fate::Durable;
        }
    }

    pub(crate) fn in_doubt(&self) -> usize {
        self.batches.iter().filter(|(_, fate)| *fate == Fate::InDoubt).count()
    }

    /// How many batches must be there after such an end.
    pub(crate) fn least(&self, end: End) -> usize {
        let kept = |fate: Fate| match fate {
            Fate::Durable => true,
            Fate::Written => end == End::Kill && !self.sync_failed,
            Fate::InDoubt => false,
        };
        self.batches.iter().take_while(|(_, fate)| kept(*fate)).count()
    }

    /// How many batches there are, those in doubt included.
    pub(crate) fn len(&self) -> usize {
        self.batches.len()
    }

    /// A recovery has shown this many batches: the others are gone for ever, and these stay.
    pub(crate) fn recovered(&mut self, shown: usize) {
        self.batches.truncate(shown);
        for (_, fate) in &mut self.batches {
            *fate = Fate::Durable;
        }
        self.sync_failed = false;
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter().map(|(batch, _)| batch)
    }

    /// How many events the first `batches` batches hold.
    pub(crate) fn events(&self, batches: usize) -> usize {
        self.batches().take(batches).map(|batch| batch.events.len()).sum()
    }

    /// How far a source is processed after the first `batches` batches.
    pub(crate) fn tracking(&self, batches: usize, source: &str) -> Option<u64> {
        let records = self.batches().take(batches).filter_map(|batch| batch.tracking);
        records.filter(|(name, _)| *name == source).map(|(_, upstream)| upstream).last()
    }

    pub(crate) fn sources(&self) -> Vec<&'static str> {
        let mut sources: Vec<_> = self.batches().filter_map(|batch| batch.tracking).map(|(name, _)| name).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}
