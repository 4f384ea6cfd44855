//! Times as people write them: RFC 3339, to the nanosecond, in UTC.
//!
//! The store counts nanoseconds since 1970 UTC in an `i64`, which reaches from
//! 1677 to 2262. Every such number can be shown, and reads back as itself.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// `1_317_422_324_546_000_000` as `2011-09-30T22:38:44.546Z`: milliseconds, micro- or
/// nanoseconds, whichever shows all of it.
pub(crate) fn show(nanoseconds: i64) -> String {
    let digits = match nanoseconds {
        whole if whole % 1_000_000 == 0 => 3,
        whole if whole % 1_000 == 0 => 6,
        _ => 9,
    };
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
    fn what_is_not_a_time_or_does_not_fit_is_refused() {
        for text in ["", "yesterday", "2011-09-30", "2011-09-30T22:38:44", "1317422324", "9999-01-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
