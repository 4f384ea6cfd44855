//! One line of `annals import`: what it is taken for, against a reader of its
//! members one by one.
//!
//! - A line is an event exactly if it is one JSON object of known members, each
//!   there once and of its type, with names that are names.
//! - Every field is what its member says; payloads keep every byte.
//! - What was taken in and is exported again is one line, and is taken for the same.
//!
//! The input is read as a line. It is read as a script, too, which makes an event
//! of any bytes: exported, it must come back.

use annals_cli::ndjson::{Row, write_event};
use annals_codec::{ContentType, Event, EventId, EventType, Position, StreamId, StreamVersion, Tag, Tags, push_tag};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::script::Script;

/// Checks the input as a line, and as a script of an event.
pub fn check(input: &[u8]) {
    let row = Row::parse(input);
    let members = str::from_utf8(input).ok().and_then(|text| serde_json::from_str::<Members>(text).ok());
    let expected = members.as_ref().and_then(expected);
    match (row, expected) {
        (Ok(row), Some(expected)) => {
            assert_eq!(row.occurred_at.is_some(), expected.time.is_some());
            if let Some(at) = expected.time.as_deref().and_then(utc) {
                assert_eq!(row.occurred_at.map(i128::from), Some(at), "{:?}", expected.time);
            }
            assert_eq!(Expected { time: expected.time.clone(), ..Expected::of(&row) }, expected);
            check_export(&row);
        }
        (Ok(row), None) => panic!("{:?} was taken for {row:?}", String::from_utf8_lossy(input)),
        (Err(why), Some(expected)) => {
            // Times are judged by a library; what is plainly one must be taken.
            let time = expected.time.as_deref().unwrap_or_else(|| panic!("{why}"));
            assert!(utc(time).is_none_or(|at| i64::try_from(at).is_err()), "{why}");
        }
        (Err(why), None) => assert!(!why.to_string().is_empty()),
    }
    check_any_event(&mut Script::new(input));
}

/// The members of an object in their order, repeated ones and all; values as they are written.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// What a line says, but for the time: that as it is written.
#[derive(Debug, Eq, PartialEq)]
struct Expected {
    stream: String,
    event_type: String,
    ids: [Option<[u8; 16]>; 3],
    time: Option<String>,
    schema_version: u16,
    content_type: u8,
    data: Vec<u8>,
    metadata: Option<Vec<u8>>,
    tags: Vec<String>,
}

impl Expected {
    fn of(row: &Row) -> Expected {
        Expected {
            stream: row.stream.to_string(),
            event_type: row.event_type.to_string(),
            ids: [row.id, row.correlation_id, row.causation_id].map(|id| id.map(|id| *id.as_bytes())),
            time: None,
            schema_version: row.schema_version,
            content_type: row.content_type.number(),
            data: row.data.clone(),
            metadata: row.metadata.clone(),
            tags: row.tags.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A member's value, when it is there and not null; `None` outside when it is of another type.
fn member<'de, T: Deserialize<'de>>(members: &'de Members, name: &str) -> Option<Option<T>> {
    match members.0.iter().find(|(other, _)| other == name) {
        Some((_, raw)) if raw.get() != "null" => serde_json::from_str(raw.get()).ok().map(Some),
        _ => Some(None),
    }
}

fn raw<'a>(members: &'a Members, name: &str) -> Option<&'a str> {
    members.0.iter().find(|(other, _)| other == name).map(|(_, raw)| raw.get())
}

fn expected(members: &Members) -> Option<Expected> {
    const KNOWN: [&str; 16] = [
        "stream",
        "type",
        "id",
        "time",
        "correlation_id",
        "causation_id",
        "schema_version",
        "content_type",
        "data",
        "data_base64",
        "metadata",
        "metadata_base64",
        "tags",
        "position",
        "version",
        "recorded_at",
    ];
    for (at, (name, _)) in members.0.iter().enumerate() {
        let is_known = KNOWN.contains(&&**name);
        if !is_known || members.0[..at].iter().any(|(other, _)| other == name) {
            return None;
        }
    }
    let text = |name| member::<String>(members, name);
    let id = |name| match text(name)? {
        Some(text) => uuid(&text).map(Some),
        None => Some(None),
    };
    let either = |json: Option<&str>, base64: Option<String>| match (json, base64) {
        (Some(_), Some(_)) => None,
        (Some(json), None) => Some(Some(json.as_bytes().to_vec())),
        (None, Some(text)) => base64_bytes(&text).map(Some),
        (None, None) => Some(None),
    };
    let (data, metadata) = (raw(members, "data"), raw(members, "metadata").filter(|json| *json != "null"));
    let content_type = match raw(members, "content_type").filter(|json| *json != "null") {
        None => u8::from(data.is_some()),
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().ok()?,
        Some(_) => match &*text("content_type")?? {
            "binary" => 0,
            "json" => 1,
            "text" => 2,
            _ => return None,
        },
    };
    let schema_version = match raw(members, "schema_version").filter(|json| *json != "null") {
        None => 0,
        Some(number) => Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?,
    };
    let expected = Expected {
        stream: text("stream")??,
        event_type: text("type")??,
        ids: [id("id")?, id("correlation_id")?, id("causation_id")?],
        time: text("time")?,
        schema_version,
        content_type,
        data: either(data, text("data_base64")?)?.unwrap_or_default(),
        metadata: either(metadata, text("metadata_base64")?)?,
        tags: member::<Vec<String>>(members, "tags")?.unwrap_or_default(),
    };
    let is_name = |name: &str, most| (1..=most).contains(&name.len()) && !name.contains('\0');
    // What a repair calls the stream of lost events may come back, and nothing else that begins so.
    let is_lost = |position: &str| position.len() <= 19 && position.parse::<u64>().is_ok_and(|n| n.to_string() == position && n > 0);
    let are_names = is_name(&expected.stream, 512)
        && (!expected.stream.starts_with('$') || expected.stream.strip_prefix("$lost-").is_some_and(is_lost))
        && is_name(&expected.event_type, 255)
        && expected.tags.iter().all(|tag| is_name(tag, 255));
    are_names.then_some(expected)
}

/// 32 digits, with hyphens where a UUID may have them.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let at_hyphen = |at| matches!(at, 8 | 13 | 18 | 23);
    let digits: Vec<char> = text
        .char_indices()
        .filter(|(at, character)| *character != '-' || !at_hyphen(*at))
        .map(|(_, character)| character)
        .collect();
    let digits: Vec<u8> =
        digits.iter().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).filter_map(|pair| Some(pair[0] << 4 | pair.get(1)?)).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 32)
}

/// RFC 4648 with its padding, and nothing in the bits that are left over.
fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut filled) = (Vec::new(), 0, 0);
    for digit in body.bytes() {
        bits = bits << 6 | DIGITS.iter().position(|other| *other == digit)? as u32;
        filled += 6;
        if filled >= 8 {
            filled -= 8;
            bytes.push((bits >> filled) as u8);
            bits &= (1 << filled) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// Nanoseconds since 1970, of times as `export` writes them; `None` for any other form.
fn utc(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00.";
    if !(24..=30).contains(&bytes.len()) || bytes.last() != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i128> {
        bytes[from..to].iter().all(u8::is_ascii_digit).then(|| text[from..to].parse().ok())?
    };
    if shape.iter().zip(bytes).any(|(shape, byte)| if *shape == b'0' { !byte.is_ascii_digit() } else { shape != byte })
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fraction = number(20, bytes.len() - 1)? * 10_i128.pow(30 - bytes.len() as u32);
    let is_leap = |year: i128| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |month: i128| match month {
        2 => 28 + i128::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=days_of(month)).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap_days = |years: i128| years / 4 - years / 100 + years / 400;
    let before = |year: i128| year * 365 + leap_days(year - 1);
    let days = before(year) - before(1970) + (1..month).map(days_of).sum::<i128>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction)
}

/// What was taken in comes back from an export.
fn check_export(row: &Row) {
    let mut tags = Vec::new();
    row.tags.iter().for_each(|tag| push_tag(&mut tags, tag));
    let mut event = Event::new(&row.stream, &row.event_type, &row.data);
    event.tags = Tags::from_encoded(&tags);
    event.id = row.id.unwrap_or(EventId::from_bytes([7; 16]));
    event.occurred_at = row.occurred_at;
    (event.correlation_id, event.causation_id) = (row.correlation_id, row.causation_id);
    (event.schema_version, event.content_type) = (row.schema_version, row.content_type);
    event.metadata = row.metadata.as_deref();
    come_back(&event);
}

/// An event of any bytes comes back from an export.
fn check_any_event(script: &mut Script<'_>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let what = script.byte();
    let Ok(stream) = StreamId::new(&text(script.some_bytes())) else { return };
    let Ok(event_type) = EventType::new(&text(script.some_bytes())) else { return };
    let (data, metadata) = (script.some_bytes(), script.some_bytes());
    let mut tags = Vec::new();
    for _ in 0..what % 4 {
        let Ok(tag) = Tag::new(&text(script.some_bytes())) else { break };
        push_tag(&mut tags, &tag);
    }
    let mut event = Event::new(&stream, &event_type, data);
    event.tags = Tags::from_encoded(&tags);
    event.metadata = (what & 4 != 0).then_some(metadata);
    event.occurred_at = (what & 8 != 0).then(|| script.number().cast_signed());
    event.correlation_id = (what & 16 != 0).then(|| EventId::from_bytes([script.byte(); 16]));
    event.causation_id = (what & 32 != 0).then(|| EventId::from_bytes([script.byte(); 16]));
    event.content_type = ContentType::new(script.byte());
    event.schema_version = script.number() as u16;
    (event.position, event.version) = (Position::new(script.number()), StreamVersion::new(script.number()));
    event.recorded_at = script.number().cast_signed();
    event.id = EventId::from_bytes([script.byte(); 16]);
    come_back(&event);
}

fn come_back(event: &Event<'_>) {
    let mut line = Vec::new();
    write_event(&mut line, event);
    let shown = String::from_utf8_lossy(&line).into_owned();
    let Some((b'\n', line)) = line.split_last() else { panic!("a line ends: {shown:?}") };
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "one line: {shown:?}");
    let row = Row::parse(line).unwrap_or_else(|why| panic!("{why}: {shown}"));
    assert_eq!((&*row.stream, &*row.event_type), (event.stream, event.event_type), "{shown}");
    assert_eq!((&row.data[..], row.metadata.as_deref()), (event.data, event.metadata), "{shown}");
    assert_eq!((row.id, row.occurred_at), (Some(event.id), event.occurred_at), "{shown}");
    assert_eq!((row.correlation_id, row.causation_id), (event.correlation_id, event.causation_id), "{shown}");
    assert_eq!((row.schema_version, row.content_type), (event.schema_version, event.content_type), "{shown}");
    assert!(row.tags.iter().map(|tag| &**tag).eq(event.tags.iter()), "{shown}");

    // What `import` reads over is there for others to read.
    let members: Members = serde_json::from_slice(line).expect("a line is an object");
    let number = |name| member::<u64>(&members, name).flatten();
    assert_eq!((number("position"), number("version")), (Some(event.position.get()), Some(event.version.get())));
    let recorded = member::<String>(&members, "recorded_at").flatten();
    assert_eq!(recorded.as_deref().and_then(utc), Some(i128::from(event.recorded_at)), "{shown}");
}
