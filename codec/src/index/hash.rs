//! 32 bits that stand for a name: XXH3, 64 bits, seeded by the kind of name; the upper half.
//!
//! ```text
//!  stream "order-7"  --XXH3, seed 1-->  d1f0 5a27 | 4c0e 8b91     kept: d1f05a27
//! ```
//!
//! What is always true:
//!
//! - A hash is the same for ever: files hold it.
//! - The kind is the seed, so a stream and a tag of the same name have nothing to do with each other.
//! - Equal hashes mean nothing: whoever finds one compares the name, or looks at the frame.

use twox_hash::XxHash3_64;

use crate::ids::EventId;

/// 32 bits that stand for a name of one kind, the same for ever.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyHash(u32);

impl KeyHash {
    const STREAM: u64 = 1;
    const EVENT_TYPE: u64 = 2;
    const TAG: u64 = 3;
    const ID: u64 = 4;
    const KEY: u64 = 5;
    const SOURCE: u64 = 6;

    /// The hash with this value, as a file holds it.
    pub(crate) const fn new(value: u32) -> KeyHash {
        KeyHash(value)
    }

    /// The value.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Stands for a stream.
    pub fn stream(name: &str) -> KeyHash {
        KeyHash::of(KeyHash::STREAM, name.as_bytes())
    }

    /// Stands for an event type.
    pub fn event_type(name: &str) -> KeyHash {
        KeyHash::of(KeyHash::EVENT_TYPE, name.as_bytes())
    }

    /// Stands for a tag.
    pub fn tag(name: &str) -> KeyHash {
        KeyHash::of(KeyHash::TAG, name.as_bytes())
    }

    /// Stands for the id of an event.
    pub fn id(id: EventId) -> KeyHash {
        KeyHash::of(KeyHash::ID, id.as_bytes())
    }

    /// Stands for an idempotency key.
    pub fn key(name: &str) -> KeyHash {
        KeyHash::of(KeyHash::KEY, name.as_bytes())
    }

    /// Stands for a source that is tracked.
    pub fn source(name: &str) -> KeyHash {
        KeyHash::of(KeyHash::SOURCE, name.as_bytes())
    }

    fn of(kind: u64, bytes: &[u8]) -> KeyHash {
        KeyHash((XxHash3_64::oneshot_with_seed(kind, bytes) >> 32) as u32)
    }
}
