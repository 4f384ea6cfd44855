//! The rows of a statement, as a table, as CSV or as JSON.
//!
//! ```text
//!            table                       csv                      json, an object a row
//! NULL       NULL                        nothing                  null
//! a text     its first 120 characters    all of it, in quotes     a string
//!                                        where it needs them
//! a blob     its size                    x'…', in hexadecimal     base64, under NAME_base64
//! ```
//!
//! Where another column has that name, a number comes behind it.
//!
//! What is always true: rows are shown as they come, and no more than [`BLOCK`] of them are held.

use std::collections::HashSet;

use rusqlite::Statement;
use rusqlite::types::ValueRef;
use serde::Serialize;

use super::database::Stopped;
use crate::exit::Failure;
use crate::human::{binary, hex, preview, printable};
use crate::out::Out;
use crate::payload::base64;

/// How rows are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns that line up; long texts are cut
    Table,
    /// Comma-separated values with a header (RFC 4180), complete
    Csv,
    /// One JSON object a line, complete
    Json,
}

/// So many rows of a table get the same widths.
const BLOCK: usize = 1000;

/// How many characters of a text a table shows.
const PREVIEW: usize = 120;

/// Runs a statement and shows its rows; says how many there were.
pub(crate) fn rows<E: From<Failure>>(
    statement: &mut Statement<'_>,
    format: Format,
    out: &mut Out,
) -> Result<u64, Stopped<E>> {
    let is_plan = statement.is_explain() == 2 && format == Format::Table;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let columns = Columns::of(names);
    let names = &columns.names;
    let mut shown = 0;
    let mut rows = statement.query([])?;
    let mut block: Vec<Vec<Cell>> = Vec::new();
    let mut line = Vec::new();
    let other = |failure: Failure| Stopped::Other(E::from(failure));
    if format == Format::Csv && !names.is_empty() {
        csv_line(&mut line, names.iter().map(|name| ValueRef::Text(name.as_bytes())));
        out.bytes(&line).map_err(other)?;
    }
    while let Some(row) = rows.next()? {
        shown += 1;
        let values = (0..names.len()).map(|column| row.get_ref(column).unwrap_or(ValueRef::Null));
        match format {
            Format::Table if is_plan => {
                let detail: String = row.get("detail")?;
                out.say(format_args!("{}", printable(&detail))).map_err(other)?;
            }
            Format::Table => {
                block.push(values.map(Cell::of).collect());
                if block.len() == BLOCK {
                    table(names, &mut block, out).map_err(other)?;
                }
            }
            Format::Csv => {
                line.clear();
                csv_line(&mut line, values);
                out.bytes(&line).map_err(other)?;
            }
            Format::Json => {
                line.clear();
                json_line(&mut line, &columns, values);
                out.bytes(&line).map_err(other)?;
            }
        }
    }
    if format == Format::Table && !is_plan && !names.is_empty() && (!block.is_empty() || shown == 0) {
        table(names, &mut block, out).map_err(other)?;
    }
    Ok(shown)
}

/// What the columns are called.
struct Columns {
    names: Vec<String>,
    /// The same, where JSON has bytes as base64.
    of_bytes: Vec<String>,
}

impl Columns {
    fn of(names: Vec<String>) -> Columns {
        let columns = names.len();
        let of_bytes: Vec<String> = names.iter().map(|name| format!("{name}_base64")).collect();
        let mut names = distinct(names.into_iter().chain(of_bytes).collect());
        let of_bytes = names.split_off(columns);
        Columns { names, of_bytes }
    }
}

/// Names that were given twice get a number.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut number = |name: String| {
        let mut distinct = name.clone();
        for number in 1.. {
            if seen.insert(distinct.clone()) {
                break;
            }
            distinct = format!("{name}:{number}");
        }
        distinct
    };
    names.into_iter().map(&mut number).collect()
}

/// A value as a table shows it.
struct Cell {
    text: String,
    is_number: bool,
    is_null: bool,
}

impl Cell {
    fn of(value: ValueRef<'_>) -> Cell {
        let text = match value {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => real(number),
            ValueRef::Text(bytes) => preview(bytes, PREVIEW),
            ValueRef::Blob(bytes) => binary(bytes),
        };
        let is_number = matches!(value, ValueRef::Integer(_) | ValueRef::Real(_));
        Cell { text, is_number, is_null: value == ValueRef::Null }
    }
}

fn table(names: &[String], block: &mut Vec<Vec<Cell>>, out: &mut Out) -> Result<(), Failure> {
    let title = |(column, name): (usize, &String)| {
        let mut cells = block.iter().map(|row| &row[column]).filter(|cell| !cell.is_null).peekable();
        let is_number = cells.peek().is_some() && cells.all(|cell| cell.is_number);
        format!("{}{}", if is_number { "#" } else { "" }, printable(name))
    };
    let titles: Vec<String> = names.iter().enumerate().map(title).collect();
    let titles: Vec<&str> = titles.iter().map(|title| &**title).collect();
    let rows: Vec<Vec<String>> = block.drain(..).map(|row| row.into_iter().map(|cell| cell.text).collect()).collect();
    out.table(&titles, &rows)
}

fn csv_line<'a>(line: &mut Vec<u8>, values: impl Iterator<Item = ValueRef<'a>>) {
    for (place, value) in values.enumerate() {
        if place > 0 {
            line.push(b',');
        }
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => line.extend_from_slice(number.to_string().as_bytes()),
            ValueRef::Real(number) => line.extend_from_slice(real(number).as_bytes()),
            ValueRef::Text(text) => csv_text(line, text),
            ValueRef::Blob(bytes) => line.extend_from_slice(format!("x'{}'", hex(bytes)).as_bytes()),
        }
    }
    line.extend_from_slice(b"\r\n");
}

/// An empty text is in quotes: what is nothing at all is NULL.
fn csv_text(line: &mut Vec<u8>, text: &[u8]) {
    if !text.is_empty() && !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return line.extend_from_slice(text);
    }
    line.push(b'"');
    for &byte in text {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

fn json_line<'a>(line: &mut Vec<u8>, columns: &Columns, values: impl Iterator<Item = ValueRef<'a>>) {
    let mut before = b'{';
    for ((name, of_bytes), value) in columns.names.iter().zip(&columns.of_bytes).zip(values) {
        line.push(before);
        before = b',';
        match value {
            // What is no text, whatever it is said to be, travels as bytes.
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if matches!(value, ValueRef::Text(_)) => json(line, name, text),
                _ => json(line, of_bytes, &base64(bytes)),
            },
            ValueRef::Null => json(line, name, &()),
            ValueRef::Integer(number) => json(line, name, &number),
            ValueRef::Real(number) if number.is_finite() => json(line, name, &number),
            ValueRef::Real(number) => json(line, name, &real(number)),
        }
    }
    line.extend_from_slice(b"}\n");
}

fn json(line: &mut Vec<u8>, name: &str, value: &(impl Serialize + ?Sized)) {
    let written = "these always have a JSON form, and a Vec takes it";
    serde_json::to_writer(&mut *line, name).expect(written);
    line.push(b':');
    serde_json::to_writer(line, value).expect(written);
}

/// A number as everybody writes it; what is beyond all numbers has a name.
fn real(number: f64) -> String {
    match number {
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        // With its point, by which it is known for a real number, and an exponent where it is long.
        number => format!("{number:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [ValueRef<'static>; 9] = [
        ValueRef::Null,
        ValueRef::Integer(-7),
        ValueRef::Real(1.0),
        ValueRef::Real(1e300),
        ValueRef::Text(b"plain"),
        ValueRef::Text(b""),
        ValueRef::Text(b"a \"quoted\", long\nline"),
        ValueRef::Blob(b"\x00\xff"),
        ValueRef::Text(b"\xff"),
    ];

    #[test]
    fn csv_quotes_what_needs_it_and_tells_null_from_an_empty_text() {
        let mut line = Vec::new();
        csv_line(&mut line, VALUES[..8].iter().copied());
        let expected = ",-7,1.0,1e300,plain,\"\",\"a \"\"quoted\"\", long\nline\",x'00ff'\r\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn json_keeps_every_value_and_bytes_as_base64() {
        let columns = Columns::of("abcdefghi".chars().map(String::from).collect());
        let mut line = Vec::new();
        json_line(&mut line, &columns, VALUES.into_iter());
        let expected = r#"{"a":null,"b":-7,"c":1.0,"d":1e+300,"e":"plain","f":"","#.to_owned()
            + r#""g":"a \"quoted\", long\nline","h_base64":"AP8=","i_base64":"/w=="}"#;
        assert_eq!(String::from_utf8(line).unwrap().trim_end(), expected);
        let mut line = Vec::new();
        json_line(&mut line, &columns, [ValueRef::Real(f64::INFINITY), ValueRef::Real(f64::NEG_INFINITY)].into_iter());
        assert_eq!(String::from_utf8(line).unwrap(), "{\"a\":\"Infinity\",\"b\":\"-Infinity\"}\n");
    }

    #[test]
    fn two_columns_of_one_name_are_told_apart() {
        let names = ["type", "type", "type:1", "type"].map(str::to_owned).to_vec();
        assert_eq!(distinct(names), ["type", "type:1", "type:1:1", "type:2"]);
        let mut line = Vec::new();
        let columns = Columns::of(["data", "data_base64"].map(str::to_owned).to_vec());
        json_line(&mut line, &columns, [ValueRef::Blob(b"\xff"), ValueRef::Text(b"mine")].into_iter());
        assert_eq!(String::from_utf8(line).unwrap(), "{\"data_base64:1\":\"/w==\",\"data_base64\":\"mine\"}\n");
    }

    #[test]
    fn a_table_cuts_long_texts_and_says_how_large_bytes_are() {
        let shown: Vec<String> = VALUES.map(|value| Cell::of(value).text).into();
        let quoted = "a \"quoted\", long\\nline";
        assert_eq!(shown, ["NULL", "-7", "1.0", "1e300", "plain", "", quoted, "<2 B of binary>", "<1 B of binary>"]);
        assert_eq!(Cell::of(ValueRef::Blob(b"a text")).text, "<6 B of binary>");
        assert_eq!(Cell::of(ValueRef::Text(&[b'x'; 130])).text.chars().count(), 121);
    }
}
