//! JSON with a line for each value, as a person reads it.
//!
//! What is always true: every number, text and name stands as it was written, in the order in which it was written,
//! also those that a parser would round, sort or merge. Only the white space between them is another.

use serde_json::value::RawValue;

/// The lines of a JSON text, at most so many of them; `None` when it is no JSON.
///
/// ```
/// use annals_cli::top::json_lines;
///
/// let lines = json_lines(br#"{"amount":1.00,"tags":[],"n":[1,{"a":"x, y"}]}"#, 100);
/// let expected = ["{", "  \"amount\": 1.00,", "  \"tags\": [],", "  \"n\": [", "    1,", "    {", "      \"a\": \"x, y\""];
/// assert_eq!(lines.unwrap()[..7], expected);
/// assert_eq!(json_lines(b"{", 100), None);
/// ```
pub fn json_lines(bytes: &[u8], most: usize) -> Option<Vec<String>> {
    let text = serde_json::from_slice::<&RawValue>(bytes).ok()?.get();
    let mut out = Writing { lines: Vec::new(), line: String::new(), depth: 0 };
    let mut tokens = tokens(text).peekable();
    while let Some(token) = tokens.next() {
        if out.lines.len() >= most {
            break;
        }
        match token {
            "{" | "[" => {
                out.line.push_str(token);
                if let Some(end) = tokens.next_if(|next| matches!(*next, "}" | "]")) {
                    out.line.push_str(end);
                } else {
                    out.depth += 1;
                    out.end();
                }
            }
            "}" | "]" => {
                out.depth = out.depth.saturating_sub(1);
                out.end();
                out.line.push_str(token);
            }
            "," => {
                out.line.push(',');
                out.end();
            }
            ":" => out.line.push_str(": "),
            value => out.line.push_str(value),
        }
    }
    out.end();
    out.lines.truncate(most);
    Some(out.lines)
}

/// The lines so far, and the one that is being written.
struct Writing {
    lines: Vec<String>,
    line: String,
    depth: usize,
}

impl Writing {
    /// Ends the line; the next one begins as deep as it lies.
    fn end(&mut self) {
        let next = "  ".repeat(self.depth);
        self.lines.push(std::mem::replace(&mut self.line, next));
    }
}

/// The brackets, commas, colons and values of JSON that is known to be well formed.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start();
    std::iter::from_fn(move || {
        let first = rest.bytes().next()?;
        let len = match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => end_of_string(rest),
            _ => rest.find(|c: char| c.is_ascii_whitespace() || ",:]}".contains(c)).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(len);
        rest = behind.trim_start();
        Some(token)
    })
}

/// Where the string ends that the text begins with, its quotes included.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}
