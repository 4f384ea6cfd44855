//! Values of a program as payloads, through serde: the one file that knows bincode.
//!
//! What is always true: a payload that is decoded was used up to its last byte, and whatever it claims, no
//! more memory is asked for than in proportion to its length.
//!
//! bincode is not maintained any more, so it only encodes what can be made again: the states in snapshots.

use bincode::config::{self, Config};
use bincode::serde::{decode_from_slice, encode_to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a value cannot be encoded or decoded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value refuses it.
    #[error("the value cannot be encoded: {0}")]
    Encode(String),
    /// The bytes are not such a value.
    #[error("the bytes are no such value: {0}")]
    Decode(String),
    /// More bytes were there than the value takes.
    #[error("{left} bytes are left over")]
    LeftOver {
        /// How many.
        left: usize,
    },
}

/// Encodes a value with bincode (variable-length integers, little-endian).
///
/// # Errors
///
/// [`PayloadError::Encode`].
pub fn to_bincode<T: Serialize>(value: &T) -> Result<Vec<u8>, PayloadError> {
    encode_to_vec(value, config::standard()).map_err(|error| PayloadError::Encode(error.to_string()))
}

/// Decodes what [`to_bincode`] gives.
///
/// ```
/// use annals_codec::payload::{from_bincode, to_bincode};
///
/// let bytes = to_bincode(&("balance", 42_u64))?;
/// assert_eq!(from_bincode::<(String, u64)>(&bytes)?, ("balance".to_owned(), 42));
/// assert!(from_bincode::<(String, u64)>(&bytes[1..]).is_err());
/// # Ok::<(), annals_codec::payload::PayloadError>(())
/// ```
///
/// # Errors
///
/// [`PayloadError::Decode`], [`PayloadError::LeftOver`].
pub fn from_bincode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PayloadError> {
    // A number takes up to 16 bytes in memory and at least one here. The limit is a constant of the library's, so
    // there are a few of them.
    let standard = config::standard();
    match bytes.len() {
        0..=0xFFF => decode(bytes, standard.with_limit::<0x1_0000>()),
        0x1000..=0xFFFF => decode(bytes, standard.with_limit::<0x10_0000>()),
        0x1_0000..=0xF_FFFF => decode(bytes, standard.with_limit::<0x100_0000>()),
        0x10_0000..=0xFF_FFFF => decode(bytes, standard.with_limit::<0x1000_0000>()),
        _ => decode(bytes, standard.with_limit::<{ usize::MAX / 2 }>()),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, PayloadError> {
    let (value, used) = decode_from_slice(bytes, config).map_err(|error| PayloadError::Decode(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(PayloadError::LeftOver { left }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
    struct State {
        by_name: BTreeMap<String, (u64, i64)>,
        seen: Vec<u128>,
        last: Option<String>,
    }

    fn state(events: u64) -> State {
        let by_name = (0..events).map(|number| (format!("account-{number}"), (number, -1))).collect();
        State { by_name, seen: vec![1; events as usize], last: Some("é".to_owned()) }
    }

    #[test]
    fn a_state_of_any_size_reads_back_within_its_limit() {
        for events in [0, 1, 100, 3_000, 40_000, 700_000] {
            let state = state(events);
            let bytes = to_bincode(&state).unwrap();
            assert!(from_bincode::<State>(&bytes).unwrap() == state, "{events}");
        }
    }

    #[test]
    fn bytes_that_end_early_or_go_on_are_refused() {
        let bytes = to_bincode(&state(3)).unwrap();
        for len in 0..bytes.len() {
            assert!(from_bincode::<State>(&bytes[..len]).is_err(), "{len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(from_bincode::<State>(&longer), Err(PayloadError::LeftOver { left: 1 }));
    }

    #[test]
    fn a_length_that_is_a_lie_is_refused_before_anything_is_asked_for() {
        // A text of 2^62 bytes, and one that just exceeds what so few bytes may claim.
        for claim in [1_u64 << 62, 0x1_0001] {
            let mut bytes = vec![0xFD];
            bytes.extend(claim.to_le_bytes());
            let error = from_bincode::<String>(&bytes).unwrap_err();
            assert!(matches!(&error, PayloadError::Decode(why) if why.contains("LimitExceeded")), "{error}");
        }
    }

    #[test]
    fn the_encoding_is_the_one_that_is_documented() {
        // Lengths and numbers below 251 are one byte; 0xFB announces two.
        let bytes = to_bincode(&("ab".to_owned(), 7_u64, 1000_u32, -1_i8, Some(true))).unwrap();
        assert_eq!(bytes, [2, b'a', b'b', 7, 0xFB, 0xE8, 0x03, 0xFF, 1, 1]);
    }
}
