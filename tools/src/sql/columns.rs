//! The columns of the table `events`, of `annals sql` and of every table that is derived: their names, and what of an event
//! stands in each.
//!
//! What is always true:
//!
//! - The rows are the events, so no column is changed on the way but for its form: numbers are integers, names are
//!   texts, ids are texts as `annals` prints them, times are texts of one length ([`times`](super::times)).
//! - Data and metadata are texts where their bytes are UTF-8, as all JSON is, and blobs where not. Where there is
//!   nothing (no metadata, empty data, a redacted event) stands NULL: what is asked of it is NULL, too.
//! - Only what a statement asks for is made.

use std::ffi::{CStr, c_int};

use annals_codec::{ContentType, Event, EventId};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::payload::Cell;
use crate::time;

/// The table, as SQLite is told of it. The hidden columns are not in `SELECT *`.
pub(super) const DECLARATION: &CStr = c"CREATE TABLE events(
    position INTEGER, stream TEXT, version INTEGER, type TEXT, id TEXT,
    recorded_at TEXT COLLATE TIME, ts TEXT COLLATE TIME, occurred_at TEXT COLLATE TIME,
    tags TEXT, metadata, data,
    correlation_id TEXT HIDDEN, causation_id TEXT HIDDEN, schema_version INTEGER HIDDEN,
    content_type INTEGER HIDDEN, redacted INTEGER HIDDEN)";

/// A column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Column {
    Position,
    Stream,
    Version,
    Type,
    Id,
    RecordedAt,
    /// When it happened, as far as anybody knows: `occurred_at`, or else `recorded_at`.
    Ts,
    OccurredAt,
    Tags,
    Metadata,
    Data,
    CorrelationId,
    CausationId,
    SchemaVersion,
    ContentType,
    Redacted,
}

impl Column {
    /// All of them, in the order of the declaration.
    pub(crate) const ALL: [Column; 16] = [
        Column::Position,
        Column::Stream,
        Column::Version,
        Column::Type,
        Column::Id,
        Column::RecordedAt,
        Column::Ts,
        Column::OccurredAt,
        Column::Tags,
        Column::Metadata,
        Column::Data,
        Column::CorrelationId,
        Column::CausationId,
        Column::SchemaVersion,
        Column::ContentType,
        Column::Redacted,
    ];

    /// The column that SQLite calls by this number. The rowid, -1, is the position.
    pub(super) fn numbered(number: c_int) -> Option<Column> {
        match usize::try_from(number) {
            Ok(place) => Column::ALL.get(place).copied(),
            Err(_) => Some(Column::Position),
        }
    }

    /// Whether what stands in it is a time.
    pub(super) fn is_time(self) -> bool {
        matches!(self, Column::RecordedAt | Column::Ts | Column::OccurredAt)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Column::Position => "position",
            Column::Stream => "stream",
            Column::Version => "version",
            Column::Type => "type",
            Column::Id => "id",
            Column::RecordedAt => "recorded_at",
            Column::Ts => "ts",
            Column::OccurredAt => "occurred_at",
            Column::Tags => "tags",
            Column::Metadata => "metadata",
            Column::Data => "data",
            Column::CorrelationId => "correlation_id",
            Column::CausationId => "causation_id",
            Column::SchemaVersion => "schema_version",
            Column::ContentType => "content_type",
            Column::Redacted => "redacted",
        }
    }

    /// What of an event stands in it.
    pub(crate) fn of<'a>(self, event: &Event<'a>) -> ToSqlOutput<'a> {
        match self {
            Column::Position => integer(event.position.get().cast_signed()),
            Column::Stream => text(event.stream),
            Column::Version => integer(event.version.get().cast_signed()),
            Column::Type => text(event.event_type),
            Column::Id => owned(event.id.to_string()),
            Column::RecordedAt => owned(time::show_all_digits(event.recorded_at)),
            Column::Ts => owned(time::show_all_digits(event.occurred_at.unwrap_or(event.recorded_at))),
            Column::OccurredAt => event.occurred_at.map_or(NULL, |at| owned(time::show_all_digits(at))),
            Column::Tags => {
                let tags: Vec<&str> = event.tags.iter().collect();
                owned(serde_json::to_string(&tags).expect("texts always have a JSON form"))
            }
            Column::Metadata => payload(event.metadata.unwrap_or_default(), event.content_type),
            Column::Data => payload(event.data, event.content_type),
            Column::CorrelationId => id(event.correlation_id),
            Column::CausationId => id(event.causation_id),
            Column::SchemaVersion => integer(i64::from(event.schema_version)),
            Column::ContentType => integer(i64::from(event.content_type.number())),
            Column::Redacted => integer(i64::from(event.redacted)),
        }
    }
}

/// The names of those that are in `SELECT *`, for messages.
pub(super) fn names() -> String {
    let shown = &Column::ALL[..=Column::Data as usize];
    shown.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ")
}

const NULL: ToSqlOutput<'_> = ToSqlOutput::Borrowed(ValueRef::Null);

fn integer(number: i64) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Value::Integer(number))
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))
}

fn owned(text: String) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Value::Text(text))
}

fn id(id: Option<EventId>) -> ToSqlOutput<'static> {
    id.map_or(NULL, |id| owned(id.to_string()))
}

fn payload(bytes: &[u8], content_type: ContentType) -> ToSqlOutput<'_> {
    match Cell::of(bytes, content_type) {
        Cell::Nothing => NULL,
        Cell::Text(text) => self::text(text),
        Cell::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_codec::{Position, StreamVersion, Tag, Tags, push_tag};
    use rusqlite::Connection;

    #[test]
    fn the_columns_are_those_that_sqlite_is_told_of_in_their_order() {
        let connection = Connection::open_in_memory().unwrap();
        connection.create_collation("TIME", super::super::times::compare).unwrap();
        // An ordinary table takes HIDDEN for a part of the type.
        connection.execute_batch(DECLARATION.to_str().unwrap()).unwrap();
        let mut statement =
            connection.prepare("SELECT name, type LIKE '%HIDDEN' FROM pragma_table_info('events')").unwrap();
        let told: Vec<(String, bool)> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        let ours = Column::ALL.map(|column| (column.name().to_owned(), column as usize > Column::Data as usize));
        assert_eq!(told, ours);
        assert_eq!((0..16).map(Column::numbered).collect::<Vec<_>>(), Column::ALL.map(Some));
        assert_eq!((Column::numbered(-1), Column::numbered(16)), (Some(Column::Position), None));
    }

    #[test]
    fn data_is_a_text_where_it_is_one_a_blob_where_not_and_null_where_there_is_none() {
        let data = |bytes: &'static [u8], content_type| {
            let mut event = Event::new("s", "T", bytes);
            (event.metadata, event.content_type) = (Some(bytes), content_type);
            let (data, metadata) = (Column::Data.of(&event), Column::Metadata.of(&event));
            assert_eq!(data, metadata);
            data
        };
        let json = br#"{"a":"\u00e9"}"#;
        assert_eq!(data(json, ContentType::JSON), text(r#"{"a":"\u00e9"}"#));
        assert_eq!(data(json, ContentType::BINARY), text(r#"{"a":"\u00e9"}"#));
        assert_eq!(data("é".as_bytes(), ContentType::BINARY), text("é"));
        assert_eq!(data(b"a\0b", ContentType::TEXT), ToSqlOutput::Borrowed(ValueRef::Blob(b"a\0b")));
        assert_eq!(data(b"\xff", ContentType::JSON), ToSqlOutput::Borrowed(ValueRef::Blob(b"\xff")));
        assert_eq!(data(b"abc", ContentType::ENCRYPTED), ToSqlOutput::Borrowed(ValueRef::Blob(b"abc")));
        assert_eq!(data(b"", ContentType::JSON), NULL);
        assert_eq!(Column::Metadata.of(&Event::new("s", "T", b"{}")), NULL);
    }

    #[test]
    fn each_column_is_what_the_event_says() {
        let mut tags = Vec::new();
        for tag in ["vip", "a \"quoted\" one"] {
            push_tag(&mut tags, &Tag::new(tag).unwrap());
        }
        let mut event = Event::new("loan-1", "Paid", b"{}");
        (event.position, event.version) = (Position::new(7), StreamVersion::new(2));
        event.recorded_at = 1_317_422_324_546_000_000;
        event.tags = Tags::from_encoded(&tags);
        event.correlation_id = Some(EventId::from_bytes([8; 16]));
        (event.schema_version, event.content_type) = (3, ContentType::JSON);
        let recorded = "2011-09-30T22:38:44.546000000Z";
        let (none, other) = ("00000000-0000-0000-0000-000000000000", "08080808-0808-0808-0808-080808080808");
        let tags = r#"["vip","a \"quoted\" one"]"#;
        assert_eq!(
            shown(&event),
            format!("7|loan-1|2|Paid|{none}|{recorded}|{recorded}|NULL|{tags}|NULL|{{}}|{other}|NULL|3|1|0")
        );
        (event.occurred_at, event.tags, event.redacted) = (Some(0), Tags::default(), true);
        (event.data, event.causation_id) = (b"", Some(EventId::from_bytes([8; 16])));
        let epoch = "1970-01-01T00:00:00.000000000Z";
        assert_eq!(
            shown(&event),
            format!("7|loan-1|2|Paid|{none}|{recorded}|{epoch}|{epoch}|[]|NULL|NULL|{other}|{other}|3|1|1")
        );
    }

    fn shown(event: &Event<'_>) -> String {
        let show = |column: Column| match column.of(event) {
            ToSqlOutput::Borrowed(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            ToSqlOutput::Owned(Value::Text(text)) => text,
            ToSqlOutput::Owned(Value::Integer(number)) => number.to_string(),
            ToSqlOutput::Borrowed(ValueRef::Null) => "NULL".to_owned(),
            other => panic!("{other:?}"),
        };
        Column::ALL.map(show).join("|")
    }
}
