//! Rows of a batch that are looked up, or taken out.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use annals::Position;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, RecordBatch, StringArray};

use super::said;
use super::schema::PLAIN;

/// The positions of the rows, which grow.
fn positions(batch: &RecordBatch) -> &[i64] {
    batch.column(0).as_primitive::<Int64Type>().values()
}

/// How many rows come before a position.
pub(crate) fn rows_before(batch: &RecordBatch, position: Position) -> usize {
    positions(batch).partition_point(|row| row.cast_unsigned() < position.get())
}

/// The same batch without data and metadata in the rows of these positions.
pub(crate) fn redacted(batch: &RecordBatch, gone: &BTreeSet<Position>) -> io::Result<RecordBatch> {
    let gone: Vec<bool> =
        positions(batch).iter().map(|row| gone.contains(&Position::new(row.cast_unsigned()))).collect();
    if !gone.contains(&true) {
        return Ok(batch.clone());
    }
    let mut columns = batch.columns().to_vec();
    for (column, field) in columns.iter_mut().zip(PLAIN.fields()) {
        let changed: ArrayRef = match &**field.name() {
            "data" | "metadata" => {
                let left = column.as_string::<i32>().iter().zip(&gone).map(|(value, gone)| value.filter(|_| !gone));
                Arc::new(left.collect::<StringArray>())
            }
            "data_binary" | "metadata_binary" => {
                let left = column.as_binary::<i32>().iter().zip(&gone).map(|(value, gone)| value.filter(|_| !gone));
                Arc::new(left.collect::<BinaryArray>())
            }
            "redacted" => {
                let said = column.as_boolean().values().iter().zip(&gone).map(|(value, gone)| Some(value || *gone));
                Arc::new(said.collect::<BooleanArray>())
            }
            _ => continue,
        };
        *column = changed;
    }
    RecordBatch::try_new(Arc::clone(&PLAIN), columns).map_err(said)
}
