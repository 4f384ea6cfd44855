//! What the views of types have in common, whoever they are made for: which columns a view has, and what it and they are called.
//!
//! What is always true: the same schemas give views of the same names with the same columns in `SQLite` and in `DuckDB`; only how
//! the value of a column is asked for is for each to say.

use std::collections::BTreeSet;

use annals_schema::{ColumnType, Columns};

/// What stands in a view of each event, before its fields.
pub(super) const OF_THE_EVENT: [&str; 6] = ["position", "stream", "version", "id", "recorded_at", "ts"];

/// How many fields become columns; `SQLite` has room for 2,000 columns.
const MOST_FIELDS: usize = 1_000;

/// A column of a view that shows a field.
pub(super) struct FieldColumn<'a> {
    pub(super) name: String,
    pub(super) field: &'a str,
    pub(super) column: ColumnType,
}

/// The columns for the fields that the schemas know, in the order of their names.
pub(super) fn field_columns(columns: &Columns) -> impl Iterator<Item = FieldColumn<'_>> {
    let mut taken: BTreeSet<String> = OF_THE_EVENT.into_iter().map(str::to_owned).collect();
    // To `DuckDB` it is no name.
    taken.insert(String::new());
    columns.iter().filter(|(field, _)| has_path(field)).take(MOST_FIELDS).map(move |(field, column)| {
        let mut name = field.to_owned();
        while !taken.insert(name.to_ascii_lowercase()) {
            name.insert_str(0, "data_");
        }
        FieldColumn { name, field, column }
    })
}

/// Whether a path leads to a field of this name: `SQLite` knows no escapes in them.
fn has_path(field: &str) -> bool {
    field.len() <= 256 && !field.chars().any(|sign| sign == '"' || sign == '\\' || sign.is_control())
}

/// What the view of a type is called: as the type, behind as many underscores as it takes to be of nobody else.
pub(super) fn free_name<E>(event_type: &str, mut is_taken: impl FnMut(&str) -> Result<bool, E>) -> Result<String, E> {
    let mut name = event_type.to_owned();
    // `SQLite` keeps these for itself.
    while name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_")) || is_taken(&name)? {
        name.insert(0, '_');
    }
    Ok(name)
}

/// A name in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in a statement.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
