//! `annals consumers`: who has a checkpoint beside the log, how far it has come, and whether it can be used.

use std::path::Path;

use annals::{ConsumerInfo, Position};
use serde::Serialize;

use crate::exit::{Ended, Exit, Failure, note};
use crate::human::count;
use crate::open;
use crate::out::Out;
use crate::time;

/// A consumer, as `annals stats` shows it too.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// `null` when its file cannot be used.
    pub(super) position: Option<u64>,
    pub(super) lag: Option<u64>,
    written_at: Option<String>,
    fault: Option<String>,
}

impl Row {
    pub(super) fn of(consumer: &ConsumerInfo) -> Row {
        Row {
            name: consumer.name.to_string(),
            position: consumer.position.map(Position::get),
            lag: consumer.lag,
            written_at: consumer.written_at.map(time::show),
            fault: consumer.fault.clone(),
        }
    }

    pub(super) fn is_fine(&self) -> bool {
        self.fault.is_none()
    }
}

/// Shows them to a person.
pub(super) fn table(rows: &[Row], out: &mut Out) -> Result<(), Failure> {
    let number = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), count);
    let cells = |row: &Row| {
        let (written_at, fault) = (row.written_at.clone(), row.fault.clone());
        let texts = [written_at, fault].map(Option::unwrap_or_default);
        let [written_at, fault] = texts;
        vec![row.name.clone(), number(row.position), number(row.lag), written_at, fault]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    out.table(&["consumer", "#position", "#lag", "written", "fault"], &rows)
}

pub(crate) fn run(path: &Path, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let found = store.consumers().map_err(|error| Failure::io("cannot list the consumers").because(&error))?;
    let rows: Vec<Row> = found.iter().map(Row::of).collect();
    if rows.is_empty() {
        note(out.is_json(), "note: no consumer keeps a checkpoint here");
    } else if out.is_json() {
        rows.iter().try_for_each(|row| out.object(row))?;
    } else {
        table(&rows, out)?;
    }
    Ok(if rows.iter().all(Row::is_fine) { Exit::Fine } else { Exit::Findings })
}
