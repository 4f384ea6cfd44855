//! Numbers in records that are text: in decimal digits and nothing else, so that each has one form but for zeros before it.

use crate::ids::Position;

/// A number that others are made from by adding.
pub(crate) fn count(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= u64::MAX >> 1)
}

/// A position.
pub(crate) fn place(text: &str) -> Option<Position> {
    count(text).map(Position::new)
}
