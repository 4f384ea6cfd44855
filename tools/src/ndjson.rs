//! One event, one line of JSON: what `export` and `read --json` print and `import` takes.
//!
//! ```text
//! {"position":7,"stream":"loan-1","version":2,"type":"A_SUBMITTED","id":"0190…",
//!  "recorded_at":"2026-01-02T03:04:05.678Z","time":"2011-09-30T22:38:44.546Z",
//!  "data":{"amount":20000},"metadata":{"resource":"112"},"tags":["vip"]}      (all on one line)
//! ```
//!
//! - `stream` and `type` must be there; everything else may be missing or null.
//! - `position`, `version` and `recorded_at` belong to the log that was
//!   exported: `import` reads over them, and the log taken into gives its own.
//! - `time` is when it happened (`occurred_at`), RFC 3339, to the nanosecond.
//! - `correlation_id`, `causation_id`, `schema_version` and `content_type`
//!   (`"binary"`, `"json"`, `"text"` or a number) are printed where they say something.
//! - A field that is not known is refused: reading over it would lose what it says.
//!
//! **The bytes of `data` and `metadata` survive.** What stands in the line is
//! taken and given as it is, spaces, number forms, repeated keys and all. What
//! would not come back the same travels as `data_base64` or `metadata_base64`:
//! everything that is not exactly one JSON value without a line break in it.
//! `"metadata":null` and no metadata are the same; metadata that *is* the four
//! bytes `null` travels as base64. No data at all is empty data.
//!
//! **A redacted event** has `redacted` instead of data and metadata: an object with the digest of what is gone, why, and
//! the position of the event that says so, as far as they are known. Such a line cannot become the same event again: `import`
//! refuses it, or takes in what is left ([`Row::parse_left`]).
//!
//! Where nothing is said of it, the content type of `data` is JSON, and that of
//! `data_base64` binary.

use std::borrow::Cow;

use annals::{OwnStream, RedactedEvent};
use annals_codec::{ContentType, Event, EventId, EventType, NameError, Redaction, StreamId, Tag};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::payload::{base64, from_base64, one_line_of_json};
use crate::time;

/// An event that a line holds, checked as far as it can be without the store.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Row {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// What kind of event it is.
    pub event_type: EventType,
    /// Its identity, when the line says one.
    pub id: Option<EventId>,
    /// When it happened: nanoseconds since 1970 UTC.
    pub occurred_at: Option<i64>,
    /// The conversation it belongs to.
    pub correlation_id: Option<EventId>,
    /// The event or command that caused it.
    pub causation_id: Option<EventId>,
    /// The version of the schema of `data`; 0 when the line says nothing.
    pub schema_version: u16,
    /// How `data` is encoded.
    pub content_type: ContentType,
    /// The payload.
    pub data: Vec<u8>,
    /// What was said beside the payload; `None` is not the same as empty.
    pub metadata: Option<Vec<u8>>,
    /// Labels to find it by, in their order.
    pub tags: Vec<Tag>,
}

/// Why a line is not an event. The message names the field or the column.
#[derive(Debug)]
pub struct BadLine(String);

impl std::fmt::Display for BadLine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BadLine {}

impl From<NameError> for BadLine {
    fn from(error: NameError) -> BadLine {
        BadLine(error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "expected an object like {\"stream\":…,\"type\":…,\"data\":…}")]
struct Line<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    correlation_id: Option<Cow<'a, str>>,
    causation_id: Option<Cow<'a, str>>,
    schema_version: Option<u16>,
    content_type: Option<ContentTypeName<'a>>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    data_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    metadata_base64: Option<Cow<'a, str>>,
    tags: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    redacted: Option<&'a RawValue>,
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(rename = "recorded_at")]
    _recorded_at: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "content_type must be \"binary\", \"json\", \"text\" or a number up to 255")]
enum ContentTypeName<'a> {
    Number(u8),
    #[serde(borrow)]
    Name(Cow<'a, str>),
}

/// `"data":null` is data, not its absence.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Row {
    /// Reads one line, without its line end.
    ///
    /// # Errors
    ///
    /// [`BadLine`] says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Row, BadLine> {
        Row::parse_any(line, false)
    }

    /// Reads one line; of a redacted event what is left of it: its data is empty, and its metadata is
    /// `{"redacted":…}`, as the line says it.
    ///
    /// # Errors
    ///
    /// [`BadLine`] says what is wrong with it.
    pub fn parse_left(line: &[u8]) -> Result<Row, BadLine> {
        Row::parse_any(line, true)
    }

    /// Reads a line of the stream in which a log says what its events look like; `None` when it is none of that.
    /// In another log it says the same.
    ///
    /// # Errors
    ///
    /// [`BadLine`] says what is wrong with it.
    pub fn parse_own(line: &[u8]) -> Option<Result<Row, BadLine>> {
        let own = OwnStream::Schemas.name();
        let read: Line<'_> = serde_json::from_slice(line).ok().filter(|read: &Line<'_>| read.stream == own)?;
        Some(Row::of_line(read, StreamId::stored(own), None))
    }

    fn parse_any(line: &[u8], takes_redacted: bool) -> Result<Row, BadLine> {
        let text = std::str::from_utf8(line)
            .map_err(|error| BadLine(format!("byte {} is not UTF-8", error.valid_up_to() + 1)))?;
        // The derived reader would take an array of all the fields in their order.
        if text.trim_ascii_start().starts_with('[') {
            return Err(BadLine(
                "an array is not an event: expected an object like {\"stream\":…,\"type\":…}".to_owned(),
            ));
        }
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| bad_json(&error))?;
        if line.redacted.is_some() && !takes_redacted {
            return Err(BadLine("the event is redacted: `import --redacted` takes in what is left of it".to_owned()));
        }
        let left = line.redacted.map(|redacted| format!("{{\"redacted\":{}}}", redacted.get()).into_bytes());
        let stream = StreamId::new(&line.stream)?;
        Row::of_line(line, stream, left)
    }

    fn of_line(line: Line<'_>, stream: StreamId, left: Option<Vec<u8>>) -> Result<Row, BadLine> {
        let content_type = match line.content_type {
            None if line.data.is_some() => ContentType::JSON,
            None => ContentType::BINARY,
            Some(ContentTypeName::Number(number)) => ContentType::new(number),
            Some(ContentTypeName::Name(name)) => named_content_type(&name)?,
        };
        Ok(Row {
            stream,
            event_type: EventType::new(&line.event_type)?,
            id: id("id", line.id)?,
            occurred_at: line.time.map(|text| time::parse(&text).map_err(BadLine)).transpose()?,
            correlation_id: id("correlation_id", line.correlation_id)?,
            causation_id: id("causation_id", line.causation_id)?,
            schema_version: line.schema_version.unwrap_or(0),
            content_type,
            data: payload("data", line.data, line.data_base64)?.unwrap_or_default(),
            metadata: payload("metadata", line.metadata, line.metadata_base64)?.or(left),
            tags: line.tags.unwrap_or_default().iter().map(|tag| Tag::new(tag)).collect::<Result<_, _>>()?,
        })
    }
}

/// Whether a line is of an event that speaks of redactions in the log that it comes from: in another one it would speak of
/// other events.
pub fn is_of_the_store(line: &[u8]) -> bool {
    serde_json::from_slice::<Line<'_>>(line).is_ok_and(|line| line.stream == Redaction::STREAM)
}

/// Appends the line of `event` to `out`, line end included.
pub fn write_event(out: &mut Vec<u8>, event: &Event<'_>) {
    write_event_knowing(out, event, None);
}

/// The same, with what is known of it if it is redacted.
pub fn write_event_knowing(out: &mut Vec<u8>, event: &Event<'_>, known: Option<&RedactedEvent>) {
    number(out, "{\"position\":", event.position.get());
    text(out, ",\"stream\":", event.stream);
    number(out, ",\"version\":", event.version.get());
    text(out, ",\"type\":", event.event_type);
    text(out, ",\"id\":", &event.id.to_string());
    text(out, ",\"recorded_at\":", &time::show(event.recorded_at));
    match event.occurred_at {
        Some(at) => text(out, ",\"time\":", &time::show(at)),
        None => out.extend_from_slice(b",\"time\":null"),
    }
    let data_is_json = one_line_of_json(event.data).is_some();
    if event.redacted {
        redaction(out, known);
    } else if data_is_json {
        raw(out, ",\"data\":", event.data);
    } else {
        text(out, ",\"data_base64\":", &base64(event.data));
    }
    match event.metadata {
        None if event.redacted => {}
        None => out.extend_from_slice(b",\"metadata\":null"),
        Some(metadata) if metadata != b"null" && one_line_of_json(metadata).is_some() => {
            raw(out, ",\"metadata\":", metadata);
        }
        Some(metadata) => text(out, ",\"metadata_base64\":", &base64(metadata)),
    }
    out.extend_from_slice(b",\"tags\":[");
    for (at, tag) in event.tags.iter().enumerate() {
        text(out, if at == 0 { "" } else { "," }, tag);
    }
    out.push(b']');
    if let Some(id) = event.correlation_id {
        text(out, ",\"correlation_id\":", &id.to_string());
    }
    if let Some(id) = event.causation_id {
        text(out, ",\"causation_id\":", &id.to_string());
    }
    if event.schema_version != 0 {
        number(out, ",\"schema_version\":", u64::from(event.schema_version));
    }
    let unsaid = if data_is_json { ContentType::JSON } else { ContentType::BINARY };
    if event.content_type != unsaid {
        match CONTENT_TYPES.iter().find(|(known, _)| *known == event.content_type) {
            Some((_, name)) => text(out, ",\"content_type\":", name),
            None => number(out, ",\"content_type\":", u64::from(event.content_type.number())),
        }
    }
    out.extend_from_slice(b"}\n");
}

fn redaction(out: &mut Vec<u8>, known: Option<&RedactedEvent>) {
    let Some(known) = known else { return out.extend_from_slice(b",\"redacted\":{}") };
    text(out, ",\"redacted\":{\"digest\":", &known.digest.to_string());
    text(out, ",\"reason\":", &known.reason);
    number(out, ",\"announced\":", known.announced.get());
    out.push(b'}');
}

const CONTENT_TYPES: [(ContentType, &str); 3] =
    [(ContentType::BINARY, "binary"), (ContentType::JSON, "json"), (ContentType::TEXT, "text")];

fn named_content_type(name: &str) -> Result<ContentType, BadLine> {
    match CONTENT_TYPES.iter().find(|(_, known)| *known == name) {
        Some((content_type, _)) => Ok(*content_type),
        None => {
            Err(BadLine(format!("content_type {name:?} is not \"binary\", \"json\", \"text\" or a number up to 255")))
        }
    }
}

fn id(field: &str, text: Option<Cow<'_, str>>) -> Result<Option<EventId>, BadLine> {
    text.map(|text| text.parse().map_err(|error| BadLine(format!("{field} {text:?} is {error}")))).transpose()
}

fn payload(field: &str, json: Option<&RawValue>, base64: Option<Cow<'_, str>>) -> Result<Option<Vec<u8>>, BadLine> {
    match (json, base64) {
        (Some(_), Some(_)) => Err(BadLine(format!("{field} and {field}_base64 are both given"))),
        (Some(json), None) => Ok(Some(json.get().as_bytes().to_vec())),
        (None, Some(base64)) => {
            from_base64(&base64).map(Some).map_err(|error| BadLine(format!("{field}_base64 is not base64: {error}")))
        }
        (None, None) => Ok(None),
    }
}

/// The reason without "at line 1": the line's number is known better by whoever reads the lines.
fn bad_json(error: &serde_json::Error) -> BadLine {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let Some(reason) = text.strip_suffix(&place) else { return BadLine(text) };
    match error.column() {
        0 => BadLine(reason.to_owned()),
        column => BadLine(format!("{reason} (column {column})")),
    }
}

fn raw(out: &mut Vec<u8>, before: &str, bytes: &[u8]) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, before: &str, number: u64) {
    raw(out, before, number.to_string().as_bytes());
}

fn text(out: &mut Vec<u8>, before: &str, text: &str) {
    out.extend_from_slice(before.as_bytes());
    serde_json::to_writer(out, text).expect("a text always has a JSON form, and a Vec takes it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_codec::{Position, StreamVersion, Tags, push_tag};

    fn line(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        write_event(&mut out, event);
        let text = String::from_utf8(out).expect("a line is UTF-8");
        let line = text.strip_suffix('\n').expect("a line ends");
        assert!(!line.contains(['\n', '\r']), "one line: {line:?}");
        line.to_owned()
    }

    fn event<'a>(data: &'a [u8], metadata: Option<&'a [u8]>) -> Event<'a> {
        let mut event = Event::new("loan-1", "A_SUBMITTED", data);
        (event.position, event.version) = (Position::new(7), StreamVersion::new(2));
        event.metadata = metadata;
        event
    }

    /// What a line says must come back byte for byte.
    fn check_round_trip(event: &Event<'_>) {
        let line = line(event);
        let row = Row::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
        let tags: Vec<&str> = event.tags.iter().collect();
        assert_eq!((&*row.stream, &*row.event_type), (event.stream, event.event_type), "{line}");
        assert_eq!(row.data, event.data, "{line}");
        assert_eq!(row.metadata.as_deref(), event.metadata, "{line}");
        assert_eq!(row.id, Some(event.id), "{line}");
        assert_eq!(row.occurred_at, event.occurred_at, "{line}");
        assert_eq!((row.correlation_id, row.causation_id), (event.correlation_id, event.causation_id), "{line}");
        assert_eq!((row.schema_version, row.content_type), (event.schema_version, event.content_type), "{line}");
        assert_eq!(row.tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), tags, "{line}");
    }

    #[test]
    fn a_line_looks_as_documented() {
        let mut event = event(br#"{"amount":20000}"#, Some(br#"{"resource":"112"}"#));
        event.occurred_at = Some(1_317_422_324_546_000_000);
        event.content_type = ContentType::JSON;
        assert_eq!(
            line(&event),
            r#"{"position":7,"stream":"loan-1","version":2,"type":"A_SUBMITTED","#.to_owned()
                + r#""id":"00000000-0000-0000-0000-000000000000","recorded_at":"1970-01-01T00:00:00.000Z","#
                + r#""time":"2011-09-30T22:38:44.546Z","data":{"amount":20000},"metadata":{"resource":"112"},"tags":[]}"#
        );
    }

    #[test]
    fn payload_bytes_come_back_whatever_they_are() {
        let payloads: &[&[u8]] = &[
            b"",
            b"null",
            b"true",
            b"1.0",
            b"1e2",
            b"12345678901234567890123",
            b"0.10000000000000000555",
            b"\"\\u00e9\"",
            "\"é\"".as_bytes(),
            b"{ \"a\" : [1,  2] }",
            b"{\"a\":1,\"a\":2}",
            b" {}",
            b"{} ",
            b"{\n}",
            b"\r{}",
            b"[1][2]",
            b"{",
            b"not json",
            b"\x00",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
        ];
        for data in payloads {
            check_round_trip(&event(data, None));
            for metadata in payloads {
                check_round_trip(&event(data, Some(metadata)));
            }
        }
    }

    #[test]
    fn any_two_bytes_come_back() {
        for first in 0..=255 {
            for second in 0..=255 {
                let bytes = [first, second];
                check_round_trip(&event(&bytes, Some(&bytes)));
            }
        }
    }

    #[test]
    fn deeply_nested_json_comes_back_without_a_stack_overflow() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        check_round_trip(&event(deep.as_bytes(), None));
    }

    #[test]
    fn every_other_field_comes_back() {
        let mut tags = Vec::new();
        for tag in ["vip", "a \"quoted\" \\ tag", "vip"] {
            push_tag(&mut tags, &Tag::new(tag).unwrap());
        }
        for (number, schema_version) in [(0, 0), (1, 1), (2, 9), (77, u16::MAX), (255, 3)] {
            for data in [b"{}".as_slice(), b"\x00"] {
                let mut event = event(data, None);
                event.stream = "loan-\u{1}\u{2028}\"é";
                event.tags = Tags::from_encoded(&tags);
                event.id = EventId::from_bytes([7; 16]);
                event.occurred_at = Some(i64::MIN);
                event.correlation_id = Some(EventId::from_bytes([8; 16]));
                event.causation_id = Some(EventId::from_bytes([9; 16]));
                event.schema_version = schema_version;
                event.content_type = ContentType::new(number);
                check_round_trip(&event);
            }
        }
    }

    #[test]
    fn the_least_line_is_an_event_without_data() {
        let row = Row::parse(br#"{"stream":"s","type":"t"}"#).unwrap();
        assert_eq!((row.data.len(), row.metadata, row.content_type), (0, None, ContentType::BINARY));
        assert_eq!((row.id, row.occurred_at, row.tags.len()), (None, None, 0));
    }

    #[test]
    fn data_null_is_data_and_metadata_null_is_none() {
        let row =
            Row::parse(br#"{"stream":"s","type":"t","data":null,"metadata":null,"time":null,"id":null,"tags":null}"#);
        let row = row.unwrap();
        assert_eq!((row.data.as_slice(), row.metadata), (b"null".as_slice(), None));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        for (line, reason) in [
            (r"", "EOF while parsing a value"),
            (r"7", "expected an object"),
            (r#" ["s","t",null,null,null,null,null,null,1,null,null,null,null,null,null,null]"#, "expected an object"),
            (r"{", "EOF while parsing an object (column 1)"),
            (r#"{"stream":"s"}"#, "missing field `type`"),
            (r#"{"type":"t"}"#, "missing field `stream`"),
            (r#"{"stream":"s","type":"t"} x"#, "trailing characters (column 27)"),
            (r#"{"stream":"s","type":"t","Data":1}"#, "unknown field `Data`"),
            (r#"{"stream":"s","stream":"s","type":"t"}"#, "duplicate field `stream`"),
            (r#"{"stream":"","type":"t"}"#, "stream id is empty"),
            (r#"{"stream":"$s","type":"t"}"#, "stream id begins with '$'"),
            (r#"{"stream":"s","type":"a\u0000"}"#, "event type contains a NUL"),
            (r#"{"stream":"s","type":"t","tags":[""]}"#, "tag is empty"),
            (r#"{"stream":"s","type":"t","time":"noon"}"#, "\"noon\" is not a time like"),
            (r#"{"stream":"s","type":"t","time":7}"#, "invalid type: integer `7`"),
            (r#"{"stream":"s","type":"t","id":"7"}"#, "id \"7\" is not a UUID"),
            (r#"{"stream":"s","type":"t","data":1,"data_base64":""}"#, "data and data_base64 are both given"),
            (r#"{"stream":"s","type":"t","data_base64":"?"}"#, "data_base64 is not base64"),
            (r#"{"stream":"s","type":"t","content_type":"xml"}"#, "content_type \"xml\" is not"),
            (r#"{"stream":"s","type":"t","schema_version":65536}"#, "65536"),
        ] {
            let said = Row::parse(line.as_bytes()).expect_err(line).to_string();
            assert!(said.contains(reason), "{line}: {said}");
        }
        let said = Row::parse(b"{\"stream\":\"\xff\"}").unwrap_err().to_string();
        assert_eq!(said, "byte 12 is not UTF-8");
        let long = format!(r#"{{"stream":"{}","type":"t"}}"#, "x".repeat(513));
        let said = Row::parse(long.as_bytes()).unwrap_err().to_string();
        assert_eq!(said, "stream id is 513 bytes long; at most 512 are allowed");
    }
}
