//! Lines with their numbers, each of a bounded length.
//!
//! A line without end (a disk image, `/dev/zero`) is refused after [`MAX_LINE`]
//! bytes instead of filling the memory.

use std::io::{self, BufRead, Read};

/// The longest line taken in, in bytes: an event of the store's greatest
/// default size fits twice over, even in base64.
pub(crate) const MAX_LINE: u64 = 64 * 1024 * 1024;

/// Why there is no next line.
pub(crate) enum LineError {
    /// The line has more than [`MAX_LINE`] bytes.
    TooLong,
    /// The input could not be read on.
    Io(io::Error),
}

/// Reads lines, counting from 1.
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    max: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Lines<R> {
        Lines { input, line: Vec::new(), number: 0, max: MAX_LINE }
    }

    /// How many lines were read so far; after an error, the number of the one that failed.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line with its number, without its line end; `None` at the end of the input.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &[u8])>, LineError> {
        self.line.clear();
        self.number += 1;
        let read = self.input.by_ref().take(self.max + 2).read_until(b'\n', &mut self.line).map_err(LineError::Io)?;
        if read == 0 {
            self.number -= 1;
            return Ok(None);
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        if line.len() as u64 > self.max { Err(LineError::TooLong) } else { Ok(Some((self.number, line))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, max: u64) -> Vec<String> {
        let mut lines = Lines { max, ..Lines::new(text.as_bytes()) };
        let mut found = Vec::new();
        loop {
            match lines.next() {
                Ok(Some((number, line))) => {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                    assert_eq!(number, found.len() as u64);
                }
                Ok(None) => return found,
                Err(_) => {
                    found.push(format!("line {} is too long", lines.number()));
                    return found;
                }
            }
        }
    }

    #[test]
    fn line_ends_of_both_kinds_and_a_missing_last_one_are_no_part_of_a_line() {
        assert_eq!(all("a\r\nb\n\nc", 9), ["a", "b", "", "c"]);
        assert_eq!(all("", 9), [""; 0]);
    }

    #[test]
    fn a_byte_order_mark_before_the_first_line_is_skipped() {
        assert_eq!(all("\u{feff}a\n\u{feff}b", 9), ["a", "\u{feff}b"]);
    }

    #[test]
    fn a_line_may_be_as_long_as_allowed_and_no_longer() {
        assert_eq!(all("abc\r\nabcd\nx", 3), ["abc", "line 2 is too long"]);
        assert_eq!(all("abcdefghijklmno", 3), ["line 1 is too long"]);
    }
}
