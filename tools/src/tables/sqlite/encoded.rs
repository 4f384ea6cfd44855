//! Rows on the way from the thread that reads the log to the one that writes the file: all their values, one behind the other in
//! memory that is used again and again.

use annals::Event;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::sql::Column;

/// How many bytes go over together: few enough to stay in the cache of a processor, many enough that handing them over costs
/// next to nothing.
const MOST_BYTES: usize = 128 << 10;

/// Rows of the table `events`, the columns of each in the order of [`Column::ALL`].
#[derive(Debug, Default)]
pub(super) struct EncodedRows {
    cells: Vec<Cell>,
    /// Texts and blobs, in the order of their cells.
    bytes: Vec<u8>,
}

/// A value; of a text or a blob only how long it is.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(usize),
    Blob(usize),
}

impl EncodedRows {
    /// Adds the row of an event.
    pub(super) fn push(&mut self, event: &Event<'_>) {
        let mut recorded_at = 0..0;
        for column in Column::ALL {
            let start = self.bytes.len();
            // Most events have one time: it is written out once.
            if column == Column::Ts && event.occurred_at.is_none() {
                self.cells.push(Cell::Text(recorded_at.len()));
                self.bytes.extend_from_within(recorded_at.clone());
                continue;
            }
            match column.of(event) {
                ToSqlOutput::Borrowed(value) => self.push_value(value),
                ToSqlOutput::Owned(value) => self.push_value(ValueRef::from(&value)),
                other => unreachable!("a column is a value, and not {other:?}"),
            }
            if column == Column::RecordedAt {
                recorded_at = start..self.bytes.len();
            }
        }
    }

    fn push_value(&mut self, value: ValueRef<'_>) {
        self.cells.push(match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Integer(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Text(text) => {
                self.bytes.extend_from_slice(text);
                Cell::Text(text.len())
            }
            ValueRef::Blob(blob) => {
                self.bytes.extend_from_slice(blob);
                Cell::Blob(blob.len())
            }
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Whether it is time to hand them over.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= MOST_BYTES
    }

    /// Forgets them, and keeps the memory, but for what a large event took.
    pub(super) fn clear(&mut self) {
        self.cells.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * MOST_BYTES);
    }

    /// All values, row after row.
    pub(super) fn values(&self) -> impl Iterator<Item = ValueRef<'_>> {
        let mut rest = &self.bytes[..];
        let mut next = move |len: usize| {
            let (value, after) = rest.split_at(len);
            rest = after;
            value
        };
        self.cells.iter().map(move |cell| match *cell {
            Cell::Null => ValueRef::Null,
            Cell::Integer(number) => ValueRef::Integer(number),
            Cell::Real(number) => ValueRef::Real(number),
            Cell::Text(len) => ValueRef::Text(next(len)),
            Cell::Blob(len) => ValueRef::Blob(next(len)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::types::Value;

    fn columns_of(event: &Event<'_>) -> Vec<Value> {
        let values = Column::ALL.map(|column| match column.of(event) {
            ToSqlOutput::Borrowed(value) => Value::try_from(value).unwrap(),
            ToSqlOutput::Owned(value) => value,
            other => panic!("{other:?}"),
        });
        values.to_vec()
    }

    #[test]
    fn the_values_are_those_of_the_columns_one_row_behind_the_other() {
        let mut rows = EncodedRows::default();
        for payloads in [[&b"\xff"[..], b"", b"{}"], [b"", b"a\0b", b"x"]] {
            rows.clear();
            let mut expected = Vec::new();
            for data in payloads {
                let mut event = Event::new("order-7", "Placed", data);
                event.metadata = Some(b"{}");
                event.recorded_at = 1_316_000_000_000_000_000 + i64::from(data.first().copied().unwrap_or_default());
                event.occurred_at = (data == b"{}").then_some(1);
                rows.push(&event);
                expected.extend(columns_of(&event));
            }
            let found: Vec<Value> = rows.values().map(|value| value.try_into().unwrap()).collect();
            assert_eq!(found, expected);
            assert!(!rows.is_empty() && !rows.is_full());
        }
    }

    #[test]
    fn a_large_event_fills_them_and_its_memory_is_given_back() {
        let mut rows = EncodedRows::default();
        let data = vec![b'x'; 10 * MOST_BYTES];
        rows.push(&Event::new("order-7", "Placed", &data));
        assert!(rows.is_full());
        rows.clear();
        assert!(rows.is_empty() && rows.bytes.capacity() <= 2 * MOST_BYTES);
    }
}
