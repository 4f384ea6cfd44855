//! A view for each type of events whose schema is registered in the log: a row for each event of the type, and a column for each
//! field that the schemas know.
//!
//! ```text
//!  $schema ─► Columns of a type ─► CREATE VIEW "Paid" AS SELECT position, …, "amount" FROM events WHERE type = 'Paid'
//!                   └────────────► what an event of the type is held against
//! ```
//!
//! What is always true:
//!
//! - A column has the type of the registered schemas ([`Columns`]), and holds values of that type or NULL. A field that is of
//!   another type is NULL there, and its event stands in `quarantine` with the reason: nothing is turned into a zero.
//! - The views are those of the schemas that stand in `events`: both change in one transaction.
//! - What somebody else has made in the file keeps its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use annals::Position;
use annals_codec::ContentType;
use annals_schema::{ColumnType, Columns};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::file::SqliteFile;
use crate::tables::types::{self, Types};
use crate::tables::views::{FieldColumn, OF_THE_EVENT, field_columns, free_name, quoted, text};
use crate::tables::{TableError, pass};

/// Where it is written down which views there are.
pub(super) const DECLARATION: &str =
    "CREATE TABLE annals_views(type TEXT PRIMARY KEY, view TEXT NOT NULL, columns TEXT NOT NULL)";

/// The views of a file, and what is known of their types by now.
#[derive(Debug, Default)]
pub(super) struct Views {
    pub(super) types: Types,
    /// By type.
    made: BTreeMap<String, View>,
}

/// A view as it stands in the file.
#[derive(Debug)]
struct View {
    name: String,
    columns: Columns,
}

impl Views {
    /// Those that were made.
    pub(super) fn load(file: &SqliteFile) -> Result<Views, TableError> {
        let read = || -> rusqlite::Result<Vec<(String, String, String)>> {
            let mut found = file.connection.prepare("SELECT type, view, columns FROM annals_views")?;
            found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        let mut views = Views::default();
        for (event_type, name, columns) in read().map_err(|error| file.failed("read", error))? {
            let columns: Columns = serde_json::from_str(&columns).map_err(|error| TableError::Damaged {
                file: file.path.clone(),
                problem: format!("what it says of the view {name:?} cannot be read: {error}"),
            })?;
            views.types.join(&event_type, &columns);
            views.made.insert(event_type, View { name, columns });
        }
        Ok(views)
    }

    /// The types of which more is known by now than stands in the file.
    fn changed(&self) -> Vec<(String, Columns)> {
        let is_made = |event_type: &str, columns: &Columns| {
            self.made.get(event_type).is_some_and(|view| view.columns == *columns)
        };
        let changed = self.types.iter().filter(|(event_type, columns)| !is_made(event_type, columns));
        changed.map(|(event_type, columns)| (event_type.to_owned(), columns.clone())).collect()
    }

    /// Looks once more at the events of which more is known by now: `quarantine` is brought in line, and what is new there is
    /// given back.
    pub(super) fn reconsider(&self, file: &SqliteFile) -> Result<Vec<(Position, String)>, TableError> {
        let mut new = Vec::new();
        for (event_type, columns) in self.changed() {
            reconsider_type(file, &event_type, &columns, &mut new).map_err(|error| file.failed("read", error))?;
        }
        new.sort_unstable();
        Ok(new)
    }

    /// Makes the views of which more is known by now than stands in the file, in the transaction at hand.
    pub(super) fn carry_out(&mut self, file: &SqliteFile) -> Result<(), TableError> {
        for (event_type, columns) in self.changed() {
            let old = self.made.remove(&event_type);
            let made = make(&file.connection, &event_type, columns, old);
            self.made.insert(event_type, made.map_err(|error| file.failed("write", error))?);
        }
        Ok(())
    }

    /// The statements that have made them.
    pub(super) fn statements(&self) -> BTreeSet<String> {
        self.made.iter().map(|(event_type, view)| view.statement(event_type)).collect()
    }

    /// Gives a name back, to be taken by somebody else before the next [`carry_out`](Views::carry_out).
    pub(super) fn give_up(&mut self, file: &SqliteFile, name: &str) -> Result<(), TableError> {
        let has_it = |(_, view): &(&String, &View)| view.name.eq_ignore_ascii_case(name);
        if let Some((event_type, _)) = self.made.iter().find(has_it) {
            file.run(&format!("DROP VIEW {}", quoted(name)))?;
            self.made.remove(&event_type.clone());
        }
        Ok(())
    }
}

impl View {
    /// The statement that has made it.
    fn statement(&self, event_type: &str) -> String {
        statement(&self.name, event_type, &self.columns)
    }
}

/// Brings `quarantine` in line with what is known of a type.
fn reconsider_type(
    file: &SqliteFile,
    event_type: &str,
    columns: &Columns,
    new: &mut Vec<(Position, String)>,
) -> rusqlite::Result<()> {
    let mut found = file.connection.prepare(
        "SELECT position, content_type, data, reason FROM events LEFT JOIN quarantine USING (position)
         WHERE type = ?1 AND (data IS NOT NULL OR reason IS NOT NULL) ORDER BY position",
    )?;
    let mut rows = found.query([event_type])?;
    // What stands there already and is no longer true; without a reason it is no longer bad.
    let mut changed: Vec<(i64, Option<String>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let position: i64 = row.get(0)?;
        let data = match row.get_ref(2)? {
            ValueRef::Text(data) | ValueRef::Blob(data) => data,
            _ => &[],
        };
        let content_type = ContentType::new(row.get(1)?);
        let reason = pass::no_json(content_type, data);
        match (reason.or_else(|| types::misfit(columns, content_type, data)), row.get_ref(3)?) {
            (Some(reason), ValueRef::Null) => new.push((Position::new(position.cast_unsigned()), reason)),
            (reason, ValueRef::Text(there)) if reason.as_deref().map(str::as_bytes) != Some(there) => {
                changed.push((position, reason));
            }
            _ => {}
        }
    }
    for (position, reason) in changed {
        file.connection.execute("DELETE FROM quarantine WHERE position = ?1", [position])?;
        if let Some(reason) = reason {
            file.connection.execute("INSERT INTO quarantine VALUES (?1, ?2)", params![position, reason])?;
        }
    }
    Ok(())
}

/// Makes a view, in the place of the one that is there.
fn make(connection: &Connection, event_type: &str, columns: Columns, old: Option<View>) -> rusqlite::Result<View> {
    let mut kept = None;
    if let Some(old) = old {
        let sql = "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?1";
        let there: Option<String> = connection.query_row(sql, [&old.name], |row| row.get(0)).optional()?;
        // Only what this program has made.
        if there.is_some_and(|there| there == old.statement(event_type)) {
            connection.execute_batch(&format!("DROP VIEW {}", quoted(&old.name)))?;
            kept = Some(old.name);
        }
    }
    let name = match kept {
        Some(name) => name,
        None => free_name(event_type, |name| {
            let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)";
            connection.query_row(sql, [name], |row| row.get(0))
        })?,
    };
    let view = View { name, columns };
    connection.execute_batch(&view.statement(event_type))?;
    let columns =
        serde_json::to_string(&view.columns).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .execute("INSERT OR REPLACE INTO annals_views VALUES (?1, ?2, ?3)", params![event_type, view.name, columns])?;
    Ok(view)
}

/// The statement that makes a view.
fn statement(name: &str, event_type: &str, columns: &Columns) -> String {
    let mut select = OF_THE_EVENT.join(", ");
    for FieldColumn { name, field, column } in field_columns(columns) {
        write!(select, ",\n  {} AS {}", expression(field, column), quoted(&name)).expect("a string takes everything");
    }
    // What is no JSON would end the statement.
    format!(
        "CREATE VIEW {} AS SELECT {select}\nFROM (SELECT *, iif(json_valid(data), data, NULL) AS payload FROM events WHERE type = {})",
        quoted(name),
        text(event_type)
    )
}

/// The value of a field, if it is of this type.
fn expression(field: &str, column: ColumnType) -> String {
    let path = text(&format!("$.\"{field}\""));
    let (kind, value) = (format!("json_type(payload, {path})"), format!("payload->>{path}"));
    match column {
        // An integer that 64 bits have no room for comes as a real one, and to a JSON Schema 1.0 is an integer.
        ColumnType::Integer => format!(
            "CAST(CASE WHEN {kind} IN ('integer', 'real') AND CAST({value} AS INTEGER) = {value} THEN {value} END AS INTEGER)"
        ),
        ColumnType::Number => format!("CAST(CASE WHEN {kind} IN ('integer', 'real') THEN {value} END AS REAL)"),
        ColumnType::Text => format!("CAST(CASE {kind} WHEN 'text' THEN {value} END AS TEXT)"),
        ColumnType::Boolean => format!("CAST(CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END AS INTEGER)"),
        _ => format!("CAST(CASE WHEN {kind} <> 'null' THEN payload->{path} END AS TEXT)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let columns = "position INTEGER PRIMARY KEY, stream, version, type, id, recorded_at, ts, data";
        connection.execute_batch(&format!("CREATE TABLE events({columns}); {DECLARATION}")).unwrap();
        connection
    }

    fn made(connection: &Connection, event_type: &str, schema: &str) -> View {
        make(connection, event_type, Columns::of(schema).unwrap(), None).unwrap()
    }

    /// The same view, of which more is known.
    fn widened(connection: &Connection, event_type: &str, view: View, schema: &str) -> View {
        let mut columns = view.columns.clone();
        columns.join(&Columns::of(schema).unwrap());
        make(connection, event_type, columns, Some(view)).unwrap()
    }

    fn column_names(connection: &Connection, view: &str) -> Vec<(String, String)> {
        let mut found = connection.prepare("SELECT name, type FROM pragma_table_info(?1)").unwrap();
        let rows = found.query_map([view], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).skip(OF_THE_EVENT.len()).collect()
    }

    #[test]
    fn a_column_holds_values_of_its_type_and_null_for_all_others() {
        let connection = database();
        let types = ["integer", "number", "string", "boolean", "array"];
        let properties = types.map(|name| format!(r#""{name}": {{"type": "{name}"}}"#)).join(", ");
        made(&connection, "T", &format!(r#"{{"properties": {{{properties}}}}}"#));
        let ask = |value: &str| -> [String; 5] {
            let data = format!("{{{}}}", types.map(|name| format!(r#""{name}": {value}"#)).join(", "));
            connection
                .execute("INSERT OR REPLACE INTO events(position, type, data) VALUES (1, 'T', ?1)", [data])
                .unwrap();
            types.map(|name| {
                let sql = format!("SELECT typeof(\"{name}\") || ' ' || coalesce(\"{name}\", '') FROM T");
                connection.query_row(&sql, [], |row| row.get(0)).unwrap()
            })
        };
        let null = "null ";
        for (value, expected) in [
            ("null", [null; 5]),
            ("7", ["integer 7", "real 7.0", null, null, "text 7"]),
            ("7.0", ["integer 7", "real 7.0", null, null, "text 7.0"]),
            ("7.5", [null, "real 7.5", null, null, "text 7.5"]),
            (
                "9223372036854775807",
                ["integer 9223372036854775807", "real 9.2233720368547758e+18", null, null, "text 9223372036854775807"],
            ),
            ("9223372036854775808", [null, "real 9.2233720368547758e+18", null, null, "text 9223372036854775808"]),
            ("\"7\"", [null, null, "text 7", null, "text \"7\""]),
            ("true", [null, null, null, "integer 1", "text true"]),
            ("false", [null, null, null, "integer 0", "text false"]),
            ("[1, 2]", [null, null, null, null, "text [1,2]"]),
        ] {
            let found = ask(value);
            let is_expected = found.iter().zip(expected).all(|(found, expected)| found == expected);
            assert!(is_expected, "{value}: {found:?}");
        }
        connection.execute("UPDATE events SET data = '{'", []).unwrap();
        let fields: Option<i64> = connection.query_row("SELECT \"integer\" FROM T", [], |row| row.get(0)).unwrap();
        assert_eq!(fields, None, "what is no JSON ends no statement");
        let declared =
            [("array", "TEXT"), ("boolean", "INT"), ("integer", "INT"), ("number", "REAL"), ("string", "TEXT")];
        assert_eq!(column_names(&connection, "T"), declared.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
    }

    #[test]
    fn what_a_column_has_no_room_for_is_what_is_told_to_be_a_misfit() {
        let connection = database();
        let view = made(&connection, "T", r#"{"properties": {"x": {"type": "integer"}}}"#);
        for value in [
            "1",
            "1.0",
            "-0.0",
            "1.5",
            "1e18",
            "1e19",
            "-9223372036854775808",
            "9223372036854775808",
            "9223372036854775807.0",
            "\"1\"",
            "[]",
            "true",
        ] {
            let data = format!(r#"{{"x": {value}}}"#);
            connection
                .execute("INSERT OR REPLACE INTO events(position, type, data) VALUES (1, 'T', ?1)", [&data])
                .unwrap();
            let has_room: bool = connection.query_row("SELECT x IS NOT NULL FROM T", [], |row| row.get(0)).unwrap();
            assert_eq!(view.columns.misfit(data.as_bytes()).is_none(), has_room, "{value}");
        }
    }

    #[test]
    fn names_of_types_and_fields_are_names_whatever_is_in_them() {
        let connection = database();
        let fields = [r"it's", "a b", "x.y", "position", "Stream", "größe", "[0]", "STREAM"];
        let properties = fields.map(|field| format!(r#""{field}": {{"type": "string"}}"#)).join(", ");
        let schema = format!(r#"{{"properties": {{{properties}, "no \" path": {{}}, "back\\": {{}}}}}}"#);
        let event_type = r#"x" AS SELECT 1; DROP TABLE events; --'"#;
        made(&connection, event_type, &schema);
        let data = format!("{{{}}}", fields.map(|field| format!(r#""{field}": "is {field}""#)).join(", "));
        connection
            .execute("INSERT INTO events(position, type, data) VALUES (1, ?1, ?2)", [event_type, &*data])
            .unwrap();
        let columns = column_names(&connection, event_type);
        assert_eq!(columns.len(), fields.len(), "{columns:?}");
        for (column, _) in columns {
            let sql = format!("SELECT {} FROM {}", quoted(&column), quoted(event_type));
            let value: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(value, format!("is {}", column.trim_start_matches("data_")));
        }
    }

    #[test]
    fn a_name_that_is_taken_stays_with_who_has_it() {
        let connection = database();
        connection.execute_batch("CREATE VIEW paid AS SELECT 1 AS mine; CREATE TABLE \"_Paid\"(x)").unwrap();
        let mut names = Vec::new();
        for event_type in ["Paid", "PAID", "events", "sqlite_x", "annals_views"] {
            names.push(made(&connection, event_type, "{}").name);
        }
        assert_eq!(names, ["__Paid", "___PAID", "_events", "_sqlite_x", "_annals_views"]);
        assert_eq!(connection.query_row("SELECT mine FROM paid", [], |row| row.get(0)), Ok(1));
    }

    #[test]
    fn a_view_that_somebody_has_made_anew_is_not_touched() {
        let connection = database();
        let view = made(&connection, "Paid", r#"{"properties": {"x": {"type": "integer"}}}"#);
        let view = widened(&connection, "Paid", view, r#"{"properties": {"y": {"type": "string"}}}"#);
        assert_eq!(column_names(&connection, "Paid").len(), 2, "it keeps its name");

        connection.execute_batch("DROP VIEW Paid; CREATE VIEW Paid AS SELECT 1 AS mine").unwrap();
        let view = widened(&connection, "Paid", view, r#"{"properties": {"z": {"type": "string"}}}"#);
        assert_eq!(view.name, "_Paid");
        assert_eq!(connection.query_row("SELECT mine FROM Paid", [], |row| row.get(0)), Ok(1));
    }
}
