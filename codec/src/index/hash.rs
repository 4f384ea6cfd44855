//! 32 bits that stand for a name: XXH3, 64 bits, seeded by the kind of name; the upper half.
//!
//! ```text
//!  stream "order-7"  --XXH3, seed 1-->  13a98a51 301cdc84     kept: 13a98a51
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_each_kind_stays_what_it_is() {
        // XXH3_64bits_withSeed of the reference implementation, version 0.8.4; the upper half.
        let id = EventId::from_bytes(*b"order-7 and more");
        let hashes = [
            KeyHash::stream("order-7"),
            KeyHash::event_type("order-7"),
            KeyHash::tag("order-7"),
            KeyHash::key("order-7"),
            KeyHash::source("order-7"),
            KeyHash::id(id),
            KeyHash::stream(""),
            KeyHash::stream(&"s".repeat(512)),
        ];
        let expected =
            [0x13A9_8A51, 0x5626_CC31, 0x10A1_B6B4, 0x70EC_2EA9, 0x0369_A607, 0x0FD3_4CC9, 0x4DC5_B0CC, 0x070E_3500];
        assert_eq!(hashes.map(KeyHash::get), expected);
    }
}
