//! One event of the shop and the marker of its batch, for the codec alone.

use annals::{EventId, Position, StreamVersion};
use annals_codec::{Chain, Commit, Epoch, Event, Seed};

/// What every checksum here begins with.
pub const SEED: Seed = Seed::new(0x1234_5678);
const EPOCH: Epoch = Epoch::new(1);

/// An event with a payload of 256 bytes, metadata of 40, and names of 20 in all.
pub fn event() -> Event<'static> {
    let mut event = Event::new("order-0000042", "Shipped", &[b'x'; 256]);
    event.metadata = Some(&[b'm'; 40]);
    event.id = EventId::version_7(1_700_000_000_000, 7, 42);
    event.position = Position::new(42);
    event.version = StreamVersion::new(7);
    event.recorded_at = 1_700_000_000_000_000_000;
    event
}

/// Encodes an event as an append does; returns its checksum.
pub fn encode(event: &Event<'_>, bytes: &mut Vec<u8>) -> u32 {
    event.encode(bytes, SEED, EPOCH)
}

/// Encodes the marker of a batch of one event; returns the chain.
pub fn encode_commit(last: Position, bytes: &mut Vec<u8>) -> u32 {
    let mut chain = Chain::default();
    chain.push(last.get() as u32);
    Commit::new(EPOCH, last, 1).encode(bytes, SEED, 0, &mut chain)
}

/// The frame of [`event`].
pub fn frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&event(), &mut bytes);
    bytes
}
