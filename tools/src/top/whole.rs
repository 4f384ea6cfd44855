//! One event as lines of text: its fields, its tags, and what it carries.
//!
//! What is always true: nothing in a line can steer a terminal, and what is too long to be shown says so, and how to
//! see it.

use annals::{ContentType, Event, RedactedEvent};

use super::pretty::json_lines;
use crate::human::{bytes, count, printable};
use crate::time;

/// So many lines of data or metadata are shown,
const MOST_LINES: usize = 2_000;
/// and so many characters of a line,
const MOST_OF_A_LINE: usize = 4_000;
/// and so many bytes of what is not text.
const MOST_BINARY: usize = 4_096;

/// A line: the name of what it shows, if it begins with it, and the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    pub(super) name: Option<&'static str>,
    pub(super) text: String,
}

/// An event, or why it cannot be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
}

impl Whole {
    pub(super) fn of(event: &Event<'_>, redaction: Option<&RedactedEvent>) -> Whole {
        let mut whole =
            Whole { title: format!("event at position {}", count(event.position.get())), lines: Vec::new() };
        let optional_time = |time: Option<i64>| time.map(time::show);
        let fields = [
            ("stream", Some(event.stream.to_owned())),
            ("version", Some(count(event.version.get()))),
            ("type", Some(event.event_type.to_owned())),
            ("recorded", Some(time::show(event.recorded_at))),
            ("occurred", optional_time(event.occurred_at)),
            ("id", Some(event.id.to_string())),
            ("correlation", event.correlation_id.map(|id| id.to_string())),
            ("causation", event.causation_id.map(|id| id.to_string())),
            ("schema", (event.schema_version > 0).then(|| event.schema_version.to_string())),
            ("content", Some(content_type(event.content_type))),
        ];
        for (name, value) in fields {
            whole.lines.extend(value.map(|value| Line { name: Some(name), text: printable(&value).into_owned() }));
        }
        for (number, tag) in event.tags.iter().enumerate() {
            whole.lines.push(Line { name: (number == 0).then_some("tags"), text: printable(tag).into_owned() });
        }
        let position = event.position.get();
        if event.redacted {
            let text = match redaction {
                Some(known) => format!("data and metadata were taken out: {}; SHA-256 {}", known.reason, known.digest),
                None => "data and metadata were taken out".to_owned(),
            };
            whole.payload("redacted", vec![printable(&text).into_owned()]);
            return whole;
        }
        if let Some(metadata) = event.metadata {
            whole.payload("metadata", payload(metadata, position));
        }
        let mut data = payload(event.data, position);
        if event.content_type == ContentType::ENCRYPTED {
            data.insert(
                0,
                format!("encrypted; `annals get STORE {position} --keys RING` shows it to who has the keys"),
            );
        }
        whole.payload("data", data);
        whole
    }

    pub(super) fn damaged(text: &str) -> Whole {
        let lines = vec![Line { name: Some("damaged"), text: printable(text).into_owned() }];
        Whole { title: "damaged".to_owned(), lines }
    }

    fn payload(&mut self, name: &'static str, lines: Vec<String>) {
        for (number, text) in lines.into_iter().enumerate() {
            self.lines.push(Line { name: (number == 0).then_some(name), text });
        }
    }
}

fn content_type(content_type: ContentType) -> String {
    match content_type {
        ContentType::BINARY => "binary".to_owned(),
        ContentType::JSON => "json".to_owned(),
        ContentType::TEXT => "text".to_owned(),
        ContentType::ENCRYPTED => "encrypted".to_owned(),
        other => other.number().to_string(),
    }
}

/// JSON with a line for each value, other text line by line, whatever else as numbers.
fn payload(content: &[u8], position: u64) -> Vec<String> {
    let size = bytes(content.len() as u64);
    let mut lines = match std::str::from_utf8(content) {
        Ok("") => return vec!["(empty)".to_owned()],
        Ok(text) => {
            let json = json_lines(content, MOST_LINES + 1);
            json.unwrap_or_else(|| text.lines().take(MOST_LINES + 1).map(str::to_owned).collect())
        }
        Err(_) => {
            let mut lines = vec![format!("{size} that are not text")];
            lines.extend(content[..content.len().min(MOST_BINARY)].chunks(16).map(row_of_bytes));
            if content.len() > MOST_BINARY {
                lines.push(format!("… all of it: annals get STORE {position} --json"));
            }
            return lines;
        }
    };
    let mut is_cut = lines.len() > MOST_LINES;
    lines.truncate(MOST_LINES);
    for line in &mut lines {
        if let Some((end, _)) = line.char_indices().nth(MOST_OF_A_LINE) {
            line.truncate(end);
            line.push('…');
            is_cut = true;
        }
        *line = printable(line).into_owned();
    }
    if is_cut {
        lines.push(format!("… all {size} of it: annals get STORE {position} --json"));
    }
    lines
}

/// Sixteen bytes as numbers, and as letters where they are some.
fn row_of_bytes(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let letters: String =
        bytes.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' }).collect();
    format!("{:<47}  {letters}", numbers.join(" "))
}
