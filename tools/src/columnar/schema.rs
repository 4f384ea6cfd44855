//! The columns, their types, and what is said of them.
//!
//! | column | type | why |
//! |---|---|---|
//! | `position`, `version` | Int64 | what SQLite has, so that both join without a cast; the log counts no further |
//! | `type` | Dictionary(Int32, Utf8) | a log has few types of events, and each is in memory once a batch |
//! | `stream`, `id`, `correlation_id`, `causation_id` | Utf8 | there are as many as there are things; ids as `annals` prints them |
//! | `recorded_at`, `ts`, `occurred_at` | Timestamp(ns, UTC) | all that the log knows of a time |
//! | `tags` | List(Utf8) | |
//! | `metadata`, `data` | Utf8 | what is a text in `annals sql`, so that functions of JSON take it |
//! | `metadata_binary`, `data_binary` | Binary | what is a blob there; of each pair at most one is not null |
//! | `schema_version`, `content_type` | Int32 | many programs know no unsigned numbers |
//! | `redacted` | Boolean | |

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use annals::{LogId, Position};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What is said of a file or a stream in the metadata of its schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) log_id: LogId,
    /// The first and the last position; `None` where there is nothing.
    pub(crate) positions: Option<(Position, Position)>,
}

/// The position of the last event, in the metadata.
pub(crate) const LAST: &str = "annals.last_position";

impl About {
    pub(super) fn entries(&self) -> HashMap<String, String> {
        let mut entries = HashMap::from([("annals.log_id".to_owned(), self.log_id.to_string())]);
        if let Some((first, last)) = self.positions {
            entries.insert("annals.first_position".to_owned(), first.to_string());
            entries.insert(LAST.to_owned(), last.to_string());
        }
        entries
    }
}

/// The names of the columns that have no twin in `annals sql`.
pub(super) const METADATA_BINARY: &str = "metadata_binary";
pub(super) const DATA_BINARY: &str = "data_binary";

/// The columns, without a word about where they come from.
pub(super) static PLAIN: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(fields())));

pub(super) fn schema(about: &About) -> SchemaRef {
    Arc::new(Schema::new_with_metadata(fields(), about.entries()))
}

fn fields() -> Vec<Field> {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let name = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let always = |name: &str, kind: DataType| Field::new(name, kind, false);
    let maybe = |name: &str, kind: DataType| Field::new(name, kind, true);
    vec![
        always("position", DataType::Int64),
        always("stream", DataType::Utf8),
        always("version", DataType::Int64),
        always("type", name),
        always("id", DataType::Utf8),
        always("recorded_at", time.clone()),
        always("ts", time.clone()),
        maybe("occurred_at", time),
        always("tags", DataType::List(Arc::new(tag()))),
        maybe("metadata", DataType::Utf8),
        maybe("data", DataType::Utf8),
        maybe("correlation_id", DataType::Utf8),
        maybe("causation_id", DataType::Utf8),
        always("schema_version", DataType::Int32),
        always("content_type", DataType::Int32),
        always("redacted", DataType::Boolean),
        maybe(METADATA_BINARY, DataType::Binary),
        maybe(DATA_BINARY, DataType::Binary),
    ]
}

/// One of the tags.
pub(super) fn tag() -> Field {
    Field::new_list_field(DataType::Utf8, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Column;

    #[test]
    fn the_columns_are_those_of_sql_in_their_order_and_two_more() {
        let names: Vec<&str> = PLAIN.fields().iter().map(|field| &**field.name()).collect();
        let expected = Column::ALL.map(Column::name);
        assert_eq!(names[..16], expected);
        assert_eq!(names[16..], [METADATA_BINARY, DATA_BINARY]);
    }
}
