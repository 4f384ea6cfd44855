//! Events as columns, read back by the readers of Arrow and Parquet, and, where `ANNALS_PYTHON` names an interpreter that has
//! them, by pyarrow and `DuckDB`.

mod answers;
mod bad;
#[path = "../common/mod.rs"]
mod common;
mod export;
#[cfg(target_os = "linux")]
mod power;
mod table;
mod views;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use annals::{ContentType, EventStore, ExpectedVersion, NewEvent, Options, Position};
use annals_cli::sql::Database;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampNanosecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use common::{annals, file, lines};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::types::Value;
use tempfile::TempDir;

/// All columns that `annals sql` has.
const COLUMNS: &str = "position, stream, version, type, id, recorded_at, ts, occurred_at, tags, metadata, data, \
    correlation_id, causation_id, schema_version, content_type, redacted";

/// A store with so many events of many shapes.
fn filled(events: u64) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let input = file(dir.path(), "in", lines(events));
    annals(&[&"import", &"--segment-bytes", &"65536", &"--batch", &"10", &store, &input]).exits(0);
    (dir, store)
}

/// Also what lines do not say: correlation, times before 1970 and at the ends of time, encrypted data, all sorts of bytes, and
/// redactions.
fn filled_with_all_sorts(events: u64) -> (TempDir, PathBuf) {
    let (dir, path) = filled(events);
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let id = annals::EventId::from_bytes([9; 16]);
    for event in [
        NewEvent::new("Odd", vec![0, 159, 146, 150]).correlation_id(id).causation_id(id).occurred_at(-1),
        NewEvent::new("Odd", "a\0b").metadata("").occurred_at(i64::MIN),
        NewEvent::new("Odd", "secret").content_type(ContentType::ENCRYPTED).occurred_at(i64::MAX),
        NewEvent::new("Odd", "{}").content_type(ContentType::JSON).schema_version(7).tag("é").tag("b \"c\""),
        NewEvent::new("Odd", "x").metadata(vec![255, 0]),
    ] {
        store.append("odd", ExpectedVersion::Any, event).unwrap();
    }
    store.redact([Position::new(3), Position::new(events + 2)], "a slip").unwrap();
    store.close().unwrap();
    (dir, path)
}

/// What `annals sql` says of the events from a position on.
fn said_by_sql(store: &Path, first: u64) -> Vec<Vec<Value>> {
    let database = Database::new(&EventStore::open_read_only(store).unwrap()).unwrap();
    let ask = format!("SELECT {COLUMNS} FROM events WHERE position >= {first} ORDER BY position");
    database.query(&ask).unwrap().rows
}

/// The rows of a batch in the form in which `annals sql` has them.
fn rows_of(batch: &RecordBatch) -> Vec<Vec<Value>> {
    (0..batch.num_rows()).map(|row| (0..16).map(|column| value(batch, column, row)).collect()).collect()
}

fn value(batch: &RecordBatch, column: usize, row: usize) -> Value {
    let array: &ArrayRef = batch.column(column);
    let name = batch.schema_ref().field(column).name().clone();
    // Of the two columns of a payload one has it at most.
    if let Some(blobs) = batch.column_by_name(&format!("{name}_binary")).filter(|blobs| blobs.is_valid(row)) {
        assert!(array.is_null(row), "{name} of row {row} stands in two columns");
        return Value::Blob(blobs.as_binary::<i32>().value(row).to_vec());
    }
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => Value::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Value::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Boolean => Value::Integer(array.as_boolean().value(row).into()),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Dictionary(..) => {
            let names = array.as_dictionary::<Int32Type>();
            let key = usize::try_from(names.keys().value(row)).unwrap();
            Value::Text(names.values().as_string::<i32>().value(key).to_owned())
        }
        DataType::Timestamp(_, Some(zone)) if &**zone == "UTC" => {
            let time = array.as_primitive::<TimestampNanosecondType>().value(row);
            let time = jiff::Timestamp::from_nanosecond(time.into()).unwrap();
            Value::Text(time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string())
        }
        DataType::List(_) => {
            let tags = array.as_list::<i32>().value(row);
            let tags: Vec<Option<&str>> = tags.as_string::<i32>().iter().collect();
            Value::Text(serde_json::to_string(&tags).unwrap())
        }
        other => panic!("{name} is {other}"),
    }
}

/// The batches of a Parquet file, and what its schema says.
fn read_parquet(path: &Path) -> (SchemaRef, Vec<RecordBatch>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    (schema, reader.build().unwrap().map(Result::unwrap).collect())
}

/// Runs `check.py` with these arguments; what it printed. `None` where no interpreter is named.
fn checked_by_python(args: &[&Path]) -> Option<String> {
    let Some(python) = std::env::var_os("ANNALS_PYTHON") else {
        eprintln!("skipped: ANNALS_PYTHON does not name an interpreter that has pyarrow and duckdb");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arrow/check.py");
    let output = Command::new(python).arg(script).args(args).stderr(Stdio::inherit()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    Some(printed)
}
