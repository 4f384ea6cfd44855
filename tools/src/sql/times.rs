//! Times as SQL sees them: texts whose order is the order of time.
//!
//! ```text
//! a column           2011-09-30T22:38:44.546000000Z                     30 bytes, UTC, always nine digits
//! written in SQL     2011-09-30T22:38:44.546Z   2011-10-01T00:38:44+02:00   RFC 3339
//!                    2011-09-30 22:38:44                                    what SQLite's datetime() gives
//!                    2011   2011-09   2011-09-30   2011-09-30T22:38         the beginning of that
//! ```
//!
//! What is always true: texts are compared by their [`key`], byte by byte. The key of a column is the column, that of
//! anything else that is a time is how a column would say it; and what is no whole time is its own key, so that
//! the beginning of a text comes before all that begin so. This is the collation [`COLLATION`] of the columns.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::time;

/// The name of the collation.
pub(super) const COLLATION: &str = "TIME";

/// What a text is filled up with to be a time, where it says the beginning of one.
const MIDNIGHT: &str = "0000-01-01T00:00:00.000000000Z";

/// So long is a text that says whole years, months, days, hours, minutes or seconds.
const WHOLE: [usize; 6] = [4, 7, 10, 13, 16, 19];

/// How two texts compare.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    key(one).cmp(&key(other))
}

/// What stands for a text when it is compared.
fn key(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if bytes.len() < "2011-09-30 2".len() || is_column(bytes) {
        return Cow::Borrowed(text);
    }
    if says_its_offset(bytes)
        && let Ok(time) = time::parse(text)
    {
        return Cow::Owned(time::show_all_digits(time));
    }
    match (text.get(..10), bytes[10], text.get(11..)) {
        (Some(day), b' ' | b't', Some(rest)) => Cow::Owned(format!("{day}T{rest}")),
        _ => Cow::Borrowed(text),
    }
}

/// Whether it looks like a column, which is its own key.
fn is_column(bytes: &[u8]) -> bool {
    bytes.len() == MIDNIGHT.len() && bytes[10] == b'T' && bytes[19] == b'.' && bytes[29] == b'Z'
}

/// Whether it ends with `Z` or an offset, behind a time of day.
fn says_its_offset(bytes: &[u8]) -> bool {
    matches!(bytes.last(), Some(b'Z' | b'z')) || bytes[11..].iter().any(|byte| matches!(byte, b'+' | b'-'))
}

/// Whether a text is meant as a time or the beginning of one, as far as that can be told: it begins with a year.
pub(super) fn begins_like_a_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 4 && bytes[..4].iter().all(u8::is_ascii_digit) && matches!(bytes.get(4), None | Some(b'-'))
}

/// Where a text stands among all times that a column can say: nanoseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    /// It is this time.
    At(i64),
    /// It is none, but comes before this time and behind all earlier ones.
    JustBefore(i64),
}

/// Where a text stands; `None` when that takes comparing.
pub(super) fn moment(text: &str) -> Option<Moment> {
    let key = key(text);
    if is_column(key.as_bytes()) {
        let time = time::parse(&key).ok()?;
        // Only then is it what a column says.
        return (time::show_all_digits(time) == *key).then_some(Moment::At(time));
    }
    if !WHOLE.contains(&key.len()) {
        return None;
    }
    let filled = format!("{key}{}", MIDNIGHT.get(key.len()..)?);
    let time = time::parse(&filled).ok()?;
    (time::show_all_digits(time) == filled).then_some(Moment::JustBefore(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        time::parse(text).unwrap()
    }

    #[test]
    fn a_time_is_equal_to_itself_however_it_is_written() {
        let same = [
            "2011-09-30T22:38:44.500000000Z",
            "2011-09-30T22:38:44.5Z",
            "2011-09-30t22:38:44.500z",
            "2011-09-30 22:38:44.5Z",
            "2011-10-01T00:38:44.500+02:00",
            "2011-09-30T12:38:44.500-10:00",
        ];
        for one in same {
            for other in same {
                assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
            }
            assert_eq!(moment(one), Some(Moment::At(at(same[0]))), "{one}");
        }
    }

    #[test]
    fn the_order_of_texts_is_the_order_of_time() {
        let rising = [
            "",
            "2010-12-31T23:59:59.999999999Z",
            "2011",
            "2011-01-01T00:00:00.000000000Z",
            "2011-09",
            "2011-09-30",
            "2011-09-30T00:00:00Z",
            "2011-09-30T00:00:00.000000001Z",
            "2011-09-30 01:00",
            "2011-09-30T01:00:00Z",
            "2011-09-30t01:30:00",
            "2011-09-30 02:00:00",
            "2011-09-30T02:00:00.000Z",
            "2011-09-30T02:00:00.001Z",
            "2011-09-30T23:00:00-00:30",
            "2011-10",
            "9999-12-31T23:59:59Z",
            "later",
        ];
        for (place, one) in rising.iter().enumerate() {
            for other in &rising[place + 1..] {
                assert_eq!(compare(one, other), Ordering::Less, "{one} {other}");
                assert_eq!(compare(other, one), Ordering::Greater, "{one} {other}");
            }
        }
    }

    #[test]
    fn the_beginning_of_a_text_comes_before_the_times_that_begin_so() {
        for (text, time) in [
            ("2011", "2011-01-01T00:00:00Z"),
            ("2011-09", "2011-09-01T00:00:00Z"),
            ("2011-09-30", "2011-09-30T00:00:00Z"),
            ("2011-09-30 22", "2011-09-30T22:00:00Z"),
            ("2011-09-30T22:38", "2011-09-30T22:38:00Z"),
            ("2011-09-30 22:38:44", "2011-09-30T22:38:44Z"),
        ] {
            assert_eq!(moment(text), Some(Moment::JustBefore(at(time))), "{text}");
            for (nanoseconds, order) in [(-1, Ordering::Less), (0, Ordering::Greater)] {
                let column = time::show_all_digits(at(time) + nanoseconds);
                assert_eq!(compare(&column, text), order, "{column} {text}");
            }
        }
    }

    #[test]
    fn of_what_is_no_whole_time_nothing_is_said() {
        for text in [
            "",
            "2",
            "201",
            "2011-1",
            "2011-13",
            "2011-02-30",
            "2011-09-3",
            "2011-09-30T2",
            "2011-09-30T22:38:44.5",
            "2011-09-30X22:38:44",
            "0000",
            "1600-01-01",
            "9999-12-31T23:59:59Z",
            "2011-09-31T22:38:44.500000000Z",
            "yesterday",
            "ééééééééééé",
            "2011-09-3é",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_begin_with_a_year_is_not_meant_as_a_time() {
        for text in ["2011", "2011-", "2011-9-30", "2011-09-30 22:38", "9999-12-31T23:59:59Z"] {
            assert!(begins_like_a_time(text), "{text}");
        }
        for text in ["", "201", "yesterday", "1316000000", "20110930", "30.09.2011", "2011/09/30", "-2011", "２０１１"]
        {
            assert!(!begins_like_a_time(text), "{text}");
        }
    }

    #[test]
    fn where_a_text_stands_is_where_comparing_puts_it() {
        let texts = ["1700", "2011-09-30", "2011-09-30T22:38:44.546Z", "2262-01", "1970-01-01 00:00:00"];
        let edges = texts.iter().filter_map(|text| moment(text)).map(|moment| match moment {
            Moment::At(time) | Moment::JustBefore(time) => time,
        });
        let times: Vec<i64> = edges.flat_map(|time| [time - 1, time, time + 1]).chain([i64::MIN, i64::MAX]).collect();
        for text in texts {
            for &time in &times {
                let expected = match moment(text).unwrap() {
                    Moment::At(at) => time.cmp(&at),
                    Moment::JustBefore(at) if time < at => Ordering::Less,
                    Moment::JustBefore(_) => Ordering::Greater,
                };
                assert_eq!(compare(&time::show_all_digits(time), text), expected, "{time} {text}");
            }
        }
    }
}
