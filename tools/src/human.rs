//! Numbers and texts as a person likes to see them.
//!
//! Names and payloads come from strangers and go to a terminal: everything that
//! could steer it is shown escaped.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// `262200` as `262,200`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1` and `"event"` as `1 event`, `2` as `2 events`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let number_of = count(number);
    if number == 1 {
        return format!("1 {what}");
    }
    if let Some((thing, rest)) = what.split_once(" of ") {
        return format!("{} of {rest}", counted(number, thing));
    }
    match what.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number_of} {stem}ies"),
        _ if ["ch", "sh", "ss"].iter().any(|end| what.ends_with(end)) => format!("{number_of} {what}es"),
        _ => format!("{number_of} {what}s"),
    }
}

/// Bytes in the unit that leaves one to three digits before the point.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut unit, mut size) = (0, 1024);
    while number / size >= 1024 && unit + 1 < UNITS.len() {
        size *= 1024;
        unit += 1;
    }
    let tenths = (u128::from(number) * 10 + u128::from(size) / 2) / u128::from(size);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Bytes as two digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        _ = write!(out, "{byte:02x}");
        out
    })
}

/// How many a second, whole ones.
pub(crate) fn per_second(number: u64, took: Duration) -> u64 {
    let rate = u128::from(number) * 1_000_000_000 / took.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// The text with everything that could steer a terminal escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_harmless(character) {
            out.push(character);
        } else {
            _ = write!(out, "{}", character.escape_default());
        }
    }
    Cow::Owned(out)
}

/// Control characters move the cursor and more; the bidirectional ones reorder what stands on the line.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// What can be said of bytes that are not shown.
pub(crate) fn binary(data: &[u8]) -> String {
    format!("<{} of binary>", bytes(data.len() as u64))
}

/// The first `max` characters or so of a payload, or what can be said of it.
pub(crate) fn preview(data: &[u8], max: usize) -> String {
    let Ok(text) = std::str::from_utf8(data) else { return binary(data) };
    let mut out = String::new();
    for (shown, character) in text.chars().enumerate() {
        if shown == max {
            out.push('…');
            break;
        }
        out.push(character);
    }
    printable(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let shown: Vec<String> = [0, 999, 1000, 262_200, u64::MAX].map(count).into();
        assert_eq!(shown, ["0", "999", "1,000", "262,200", "18,446,744,073,709,551,615"]);
    }

    #[test]
    fn what_is_counted_stands_in_the_plural_unless_it_is_one() {
        let shown = ["event", "batch", "flush", "recovery", "key"].map(|what| [counted(1, what), counted(2_000, what)]);
        let plurals = ["events", "batches", "flushes", "recoveries", "keys"].map(|what| format!("2,000 {what}"));
        assert_eq!(shown.clone().map(|[_, many]| many), plurals);
        assert_eq!(shown.map(|[one, _]| one), ["1 event", "1 batch", "1 flush", "1 recovery", "1 key"]);
    }

    #[test]
    fn sizes_choose_their_unit() {
        let shown: Vec<String> = [0, 1023, 1024, 67_108_864, u64::MAX].map(bytes).into();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "64.0 MiB", "16384.0 PiB"]);
    }

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(printable("W_Beoordelen fraude é"), "W_Beoordelen fraude é");
        assert_eq!(printable("a\x1b[2J\n\u{202e}"), "a\\u{1b}[2J\\n\\u{202e}");
        assert_eq!(preview(b"\xff\xfe", 9), "<2 B of binary>");
        assert_eq!(preview("äöü".as_bytes(), 2), "äö…");
    }
}
