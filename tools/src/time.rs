//! Times as people write them: RFC 3339, to the nanosecond, in UTC.
//!
//! The store counts nanoseconds since 1970 UTC in an `i64`, which reaches from
//! 1677 to 2262. Every such number can be shown, and reads back as itself.

use jiff::civil::Date;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// `1_317_422_324_546_000_000` as `2011-09-30T22:38:44.546Z`: milliseconds, micro- or
/// nanoseconds, whichever shows all of it.
pub(crate) fn show(nanoseconds: i64) -> String {
    let digits = match nanoseconds {
        whole if whole % 1_000_000 == 0 => 3,
        whole if whole % 1_000 == 0 => 6,
        _ => 9,
    };
    show_digits(nanoseconds, digits)
}

/// With all nine digits: 30 bytes, whose order is the order of time.
pub(crate) fn show_all_digits(nanoseconds: i64) -> String {
    show_digits(nanoseconds, 9)
}

fn show_digits(nanoseconds: i64, digits: u8) -> String {
    match Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => DateTimePrinter::new().precision(Some(digits)).timestamp_to_string(&time),
        // Not reached: the range of `i64` lies within that of `Timestamp`.
        Err(_) => nanoseconds.to_string(),
    }
}

/// Reads RFC 3339, with `Z` or any offset.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let time: Timestamp = text
        .parse()
        .map_err(|_| format!("{text:?} is not a time like 2011-09-30T22:38:44.546Z (RFC 3339, with an offset or Z)"))?;
    i64::try_from(time.as_nanosecond()).map_err(|_| format!("{text:?} is outside the years 1677 to 2262"))
}

/// Reads a time as somebody at a terminal gives it: RFC 3339, a date, or how long ago.
pub(crate) fn parse_moment(text: &str) -> Result<i64, String> {
    moment(text, Timestamp::now())
}

fn moment(text: &str, now: Timestamp) -> Result<i64, String> {
    const DATE_LEN: usize = "2011-09-30".len();
    let time = if let Ok(time) = text.parse::<Timestamp>() {
        Some(time)
    } else if let Ok(date) = text.parse::<Date>() {
        // A time of day without an offset would be left out in silence.
        let midnight = date.to_zoned(TimeZone::UTC).ok().map(|midnight| midnight.timestamp());
        midnight.filter(|_| text.len() == DATE_LEN)
    } else if let Ok(ago) = text.parse::<Span>() {
        // In UTC every day has 24 hours. "2h ago" reads as a negative span, and means the same.
        now.to_zoned(TimeZone::UTC).checked_sub(ago.abs()).ok().map(|then| then.timestamp())
    } else {
        None
    };
    let time = time.ok_or_else(|| {
        format!("{text:?} is not a time like 2011-09-30T22:38:44Z or 2011-09-30, nor how long ago, like 2h or 7d")
    })?;
    i64::try_from(time.as_nanosecond()).map_err(|_| format!("{text:?} is outside the years 1677 to 2262"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_reads_back_as_itself() {
        for nanoseconds in [0, 1, -1, 1_317_422_324_546_000_000, 999_999_999, i64::MIN, i64::MAX] {
            assert_eq!(parse(&show(nanoseconds)), Ok(nanoseconds), "{}", show(nanoseconds));
        }
    }

    #[test]
    fn a_time_has_three_six_or_nine_digits_behind_the_second() {
        let shown: Vec<String> = [0, 880_000_000, 1_000, 1, -1].map(show).into();
        assert_eq!(
            shown,
            [
                "1970-01-01T00:00:00.000Z",
                "1970-01-01T00:00:00.880Z",
                "1970-01-01T00:00:00.000001Z",
                "1970-01-01T00:00:00.000000001Z",
                "1969-12-31T23:59:59.999999999Z"
            ]
        );
    }

    #[test]
    fn an_offset_is_taken_into_account() {
        assert_eq!(parse("2011-10-01T00:38:44.546+02:00"), parse("2011-09-30T22:38:44.546Z"));
    }

    #[test]
    fn a_moment_is_a_time_a_date_or_how_long_ago() {
        let now: Timestamp = "2024-03-01T12:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2011-09-30T22:38:44.546Z", "2011-09-30T22:38:44.546Z"),
            ("2011-10-01T00:38:44.546+02:00", "2011-09-30T22:38:44.546Z"),
            ("2011-09-30", "2011-09-30T00:00:00Z"),
            ("2h", "2024-03-01T10:00:00Z"),
            ("2h ago", "2024-03-01T10:00:00Z"),
            ("1h30m", "2024-03-01T10:30:00Z"),
            ("7d", "2024-02-23T12:00:00Z"),
            ("1 week", "2024-02-23T12:00:00Z"),
            ("1mo", "2024-02-01T12:00:00Z"),
            ("0s", "2024-03-01T12:00:00Z"),
        ] {
            assert_eq!(moment(text, now), parse(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        for text in ["", "yesterday", "2", "2011-09-30T22:38:44", "2011-13-01", "20110930", "9999-01-01", "9999y"] {
            assert!(moment(text, now).is_err(), "{text}: {:?}", moment(text, now));
        }
    }

    #[test]
    fn what_is_not_a_time_or_does_not_fit_is_refused() {
        for text in ["", "yesterday", "2011-09-30", "2011-09-30T22:38:44", "1317422324", "9999-01-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
