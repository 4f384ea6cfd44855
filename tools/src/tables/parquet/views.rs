//! `_annals_views.sql`: a view for each type of events whose schema is registered, in the SQL of `DuckDB`.
//!
//! ```text
//!  $schema ─► Columns of a type ─► a View of the manifest ─► CREATE OR REPLACE VIEW "Paid" AS SELECT position, …, "amount" FROM …
//!                   └────────────► what an event of the type is held against
//! ```
//!
//! What is always true:
//!
//! - A column has the type of the registered schemas ([`Columns`]), and holds values of that type or NULL. A field that is of
//!   another type is NULL there, and its event stands in quarantine with the reason.
//! - The manifest says which views there are; the file says the same in SQL, and can be written again from it at any time.
//! - A view looks into the manifest whenever it is asked, and ends with an error where it is not one of that table any more: of
//!   another log, or made before a schema changed it. What the manifest does not have yet, it does not show.
//! - Nothing in the file says where the folder lies: it can be moved and copied.

use std::fmt::Write as _;

use annals::LogId;
use annals_schema::{ColumnType, Columns};
use serde::{Deserialize, Serialize};

use super::manifest;
use crate::tables::types::Types;
use crate::tables::views::{FieldColumn, OF_THE_EVENT, field_columns, free_name, quoted, text};

/// The name of the file.
pub(super) const NAME: &str = "_annals_views.sql";

/// The tables that stand beside the views in `SQLite`: there, a view of one of these names has another one.
const TABLES: [&str; 4] = ["events", "quarantine", "annals_views", "annals_index"];

/// Where the folder lies, to `DuckDB`: as a variable says, or where it was started.
const FOLDER: &str = "coalesce(getvariable('annals_folder'), '.')";

/// The view of a type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct View {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(rename = "view")]
    name: String,
    columns: Columns,
}

/// What views know of their types.
pub(super) fn types_of(views: &[View]) -> Types {
    let mut types = Types::default();
    for view in views {
        types.join(&view.event_type, &view.columns);
    }
    types
}

/// The types of which more is known by now than views do.
pub(super) fn changed<'a>(types: &'a Types, views: &[View]) -> Vec<(&'a str, &'a Columns)> {
    let is_made =
        |event_type: &str, columns: &Columns| of(views, event_type).is_some_and(|view| view.columns == *columns);
    types.iter().filter(|(event_type, columns)| !is_made(event_type, columns)).collect()
}

/// The views of types. Those that are there keep their names.
pub(super) fn next(types: &Types, views: &[View]) -> Vec<View> {
    let mut next = views.to_vec();
    for (event_type, columns) in changed(types, views) {
        let columns = columns.clone();
        if let Some(view) = next.iter_mut().find(|view| view.event_type == event_type) {
            view.columns = columns;
            continue;
        }
        let is_taken = |name: &str| {
            let mut taken = TABLES.into_iter().chain(next.iter().map(|view| &*view.name));
            Ok::<bool, std::convert::Infallible>(taken.any(|taken| taken.eq_ignore_ascii_case(name)))
        };
        let Ok(name) = free_name(event_type, is_taken);
        next.push(View { event_type: event_type.to_owned(), name, columns });
    }
    next.sort_by(|one, other| one.event_type.cmp(&other.event_type));
    next
}

fn of<'a>(views: &'a [View], event_type: &str) -> Option<&'a View> {
    views.iter().find(|view| view.event_type == event_type)
}

/// What stands in the file.
pub(super) fn sql(log_id: LogId, views: &[View]) -> Result<String, serde_json::Error> {
    let mut sql = String::from(
        "-- Made by `annals index`, which writes it again whenever a registered schema changes.\n\
         -- DuckDB has to know where the folder lies: SET VARIABLE annals_folder = '…', or it is started there.\n",
    );
    for view in views {
        write!(sql, "\n{};\n", statement(log_id, view)?).expect("a string takes everything");
    }
    Ok(sql)
}

/// The statement that makes a view.
fn statement(log_id: LogId, view: &View) -> Result<String, serde_json::Error> {
    let mut select = OF_THE_EVENT.join(", ");
    for FieldColumn { name, field, column } in field_columns(&view.columns) {
        write!(select, ",\n  {} AS {}", expression(field, column), quoted(&name)).expect("a string takes everything");
    }
    let (name, event_type) = (quoted(&view.name), text(&view.event_type));
    // As it stands in the manifest, to the byte.
    let of_this_log = text(&format!("\"log_id\":{}", serde_json::to_string(&log_id.to_string())?));
    let this_view = text(&serde_json::to_string(view)?);
    let changed = text(&format!(
        "this view is not one of the table in the folder any more: run {NAME} again, it may be of another log or older than a schema"
    ));
    // What is no JSON would end the statement.
    Ok(format!(
        "CREATE OR REPLACE VIEW {name} AS SELECT {select}
FROM (SELECT *, CASE WHEN json_valid(data) THEN data END AS payload FROM read_parquet({FOLDER} || '/day=*/*.parquet'))
WHERE type = {event_type} AND position <= (
  SELECT CASE WHEN contains(content, {of_this_log}) AND contains(content, {this_view})
    THEN CAST(content->>'$.position' AS BIGINT) ELSE error({changed}) END
  FROM read_text({FOLDER} || '/{}'))",
        manifest::NAME
    ))
}

/// The value of a field, if it is of this type.
fn expression(field: &str, column: ColumnType) -> String {
    let path = text(&match field {
        // In the other form of a path, the one is what it is said to be, and the other means all fields.
        "" | "*" => format!("/{field}"),
        field => format!("$.\"{field}\""),
    });
    let (kind, value) = (format!("json_type(payload, {path})"), format!("json_extract_string(payload, {path})"));
    let double = format!("TRY_CAST({value} AS DOUBLE)");
    match column {
        // To a JSON Schema, 1.0 is an integer.
        ColumnType::Integer => format!(
            "CASE WHEN {kind} IN ('BIGINT', 'UBIGINT') THEN TRY_CAST({value} AS BIGINT) \
             WHEN {kind} = 'DOUBLE' AND trunc({double}) = {double} THEN TRY_CAST({double} AS BIGINT) END"
        ),
        ColumnType::Number => {
            format!("CASE WHEN {kind} IN ('BIGINT', 'UBIGINT', 'DOUBLE') AND isfinite({double}) THEN {double} END")
        }
        ColumnType::Text => format!("CASE WHEN {kind} = 'VARCHAR' THEN {value} END"),
        ColumnType::Boolean => format!("CASE WHEN {kind} = 'BOOLEAN' THEN TRY_CAST({value} AS BOOLEAN) END"),
        _ => format!("CASE WHEN {kind} <> 'NULL' THEN json_extract(payload, {path}) END"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(said: &[(&str, &str)]) -> Types {
        let mut types = Types::default();
        for (event_type, schema) in said {
            types.join(event_type, &Columns::of(schema).unwrap());
        }
        types
    }

    fn names(views: &[View]) -> Vec<(&str, &str)> {
        views.iter().map(|view| (&*view.event_type, &*view.name)).collect()
    }

    #[test]
    fn a_view_keeps_its_name_whatever_types_come_later() {
        let first = next(&types(&[("Paid", "{}"), ("events", "{}"), ("sqlite_x", "{}")]), &[]);
        assert_eq!(names(&first), [("Paid", "Paid"), ("events", "_events"), ("sqlite_x", "_sqlite_x")]);
        let mut more = types_of(&first);
        more.join("PAID", &Columns::of("{}").unwrap());
        more.join("Paid", &Columns::of(r#"{"properties": {"x": {"type": "string"}}}"#).unwrap());
        assert_eq!(changed(&more, &first).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["PAID", "Paid"]);
        let then = next(&more, &first);
        assert_eq!(names(&then)[..2], [("PAID", "_PAID"), ("Paid", "Paid")]);
        assert!(changed(&more, &then).is_empty() && changed(&types_of(&then), &then).is_empty());
    }

    #[test]
    fn nothing_in_a_name_ends_the_statement() {
        let event_type = r#"x" AS SELECT 1; DROP TABLE t; --'"#;
        let views = next(&types(&[(event_type, r#"{"properties": {"it's": {"type": "string"}}}"#)]), &[]);
        let sql = sql(LogId::from_bytes([7; 16]), &views).unwrap();
        assert!(sql.contains(r#"VIEW "x"" AS SELECT 1; DROP TABLE t; --'" AS SELECT"#), "{sql}");
        assert!(sql.contains(r#"WHERE type = 'x" AS SELECT 1; DROP TABLE t; --''' AND"#), "{sql}");
        assert!(sql.contains(r#"json_type(payload, '$."it''s"')"#), "{sql}");
        assert!(sql.contains(r#"END AS "it's""#), "{sql}");
        assert!(sql.contains(r#"'"log_id":"07070707"#), "{sql}");
        assert!(sql.contains(r#"'{"type":"x\" AS SELECT 1; DROP TABLE t; --''","view":"x\" AS"#), "{sql}");
    }
}
