//! The events that are looked for: those of a shop, each with a payload of 256
//! bytes, metadata of 40, and names of 20 bytes in all.
//!
//! Nothing is left to chance: the same calls give the same events, but for the
//! ids and the times that the store gives them.

use std::path::Path;

use annals::{Durability, EventId, EventStore, EventType, NewEvent, Options, StreamId};

/// Random numbers, the same each time: xorshift.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same sequence for the same seed; `seed` is not 0.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// An id as a caller may set it: random, and in no order.
    pub fn id(&mut self) -> EventId {
        let (high, low) = (self.roll(), self.roll());
        EventId::from_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
    }
}

/// Numbers from 0, again and again, in another order each time.
#[derive(Clone, Debug)]
pub struct Shuffled {
    order: Vec<u64>,
    left: usize,
    dice: Dice,
}

impl Shuffled {
    /// The numbers below `end`.
    pub fn new(end: u64) -> Shuffled {
        Shuffled { order: (0..end).collect(), left: 0, dice: Dice::new(0x2545_F491_4F6C_DD1D) }
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        if self.left == 0 {
            self.left = self.order.len();
        }
        // Fisher and Yates, one step at a time.
        let chosen = self.dice.below(self.left as u64) as usize;
        self.left -= 1;
        self.order.swap(chosen, self.left);
        self.order[self.left]
    }
}

/// Makes events, each with a payload of its own.
#[derive(Clone, Debug)]
pub struct Shop {
    event_type: EventType,
    payload: Vec<u8>,
    made: u64,
}

impl Default for Shop {
    fn default() -> Shop {
        Shop::new()
    }
}

impl Shop {
    /// What the metadata of each event says.
    const METADATA: &[u8; 40] = b"by clerk 7, at counter 12, in the street";

    /// The same sequence of events each time.
    pub fn new() -> Shop {
        let event_type = EventType::new("Shipped").expect("a short name");
        Shop { event_type, payload: vec![b'x'; 256], made: 0 }
    }

    /// The next event to append.
    pub fn event(&mut self) -> NewEvent {
        let event_type = self.event_type.clone();
        self.event_of_type(&event_type)
    }

    /// The next event to append, of a type of its own.
    pub fn event_of_type(&mut self, event_type: &EventType) -> NewEvent {
        self.made += 1;
        self.payload[..8].copy_from_slice(&self.made.to_ne_bytes());
        NewEvent::new(event_type, self.payload.clone()).metadata(&Self::METADATA[..])
    }
}

/// The name of a stream, which has 13 bytes; with the type, 20.
pub fn stream(number: u64) -> StreamId {
    StreamId::new(&format!("order-{number:07}")).expect("a short name")
}

/// Makes a store, or opens it again, to be filled: buffered, and synced when it is told to.
///
/// # Panics
///
/// When it cannot be opened.
pub fn open(dir: &Path, segment_bytes: u64) -> EventStore {
    let options = Options::new().durability(Durability::Buffered).flush_interval(None).segment_bytes(segment_bytes);
    EventStore::open(dir, &options).expect("a directory with a store, or nothing")
}

/// Appends `events` events in batches of `size`, and syncs them.
///
/// # Panics
///
/// When an append fails.
pub fn fill(store: &EventStore, events: u64, size: u64, mut next: impl FnMut() -> (StreamId, NewEvent)) {
    let mut left = events;
    while left > 0 {
        let mut batch = store.batch();
        for _ in 0..size.min(left) {
            let (stream, event) = next();
            batch = batch.event(stream, event);
        }
        batch.commit().expect("an append");
        left -= size.min(left);
    }
    store.flush().expect("a sync");
}
