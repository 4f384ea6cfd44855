//! Where results go: standard output, for a person or for a program.
//!
//! A person gets text, with colour when it is a terminal. A program (`--json`)
//! gets the bytes as they were written: nothing is taken out of them, because
//! they hold other people's data.

use std::fmt;
use std::io::{self, BufWriter, Write};

use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// The rendering of a small headline or a bad verdict; empty where colour is not shown.
pub(crate) const BOLD: anstyle::Style = anstyle::Style::new().bold();
pub(crate) const BAD: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
pub(crate) const GOOD: anstyle::Style = anstyle::AnsiColor::Green.on_default().bold();
pub(crate) const DIM: anstyle::Style = anstyle::Style::new().dimmed();

/// Standard output.
pub(crate) struct Out {
    json: bool,
    stdout: BufWriter<Box<dyn Write>>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Out {
        let stdout: Box<dyn Write> =
            if json { Box::new(io::stdout()) } else { Box::new(anstream::AutoStream::auto(io::stdout())) };
        Out { json, stdout: BufWriter::with_capacity(64 * 1024, stdout) }
    }

    /// The same, but somewhere else: what is printed goes there as it is.
    pub(crate) fn over(&self, to: Box<dyn Write>) -> Out {
        Out { json: self.json, stdout: BufWriter::with_capacity(64 * 1024, to) }
    }

    /// Whether a program reads it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One line of text: `out.say(format_args!(…))`.
    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) -> Result<(), Failure> {
        writeln!(self.stdout, "{line}").map_err(|error| Failure::output(&error))
    }

    /// One JSON object, on one line.
    pub(crate) fn object(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let line =
            serde_json::to_vec(object).map_err(|error| Failure::io("cannot encode the output").because(&error))?;
        self.bytes(&line)?;
        self.bytes(b"\n")
    }

    /// These bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// A table; the columns whose title begins with `#` hold numbers.
    pub(crate) fn table(&mut self, titles: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(titles.iter().map(|title| title.trim_start_matches('#')));
        for row in rows {
            table.add_row(row.iter().map(|cell| crate::human::printable(cell)));
        }
        for (title, column) in titles.iter().zip(table.column_iter_mut()) {
            column.set_constraint(ColumnConstraint::ContentWidth);
            if title.starts_with('#') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            self.say(format_args!("{}", line.trim_end()))?;
        }
        Ok(())
    }

    /// Everything said so far reaches the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::output(&error))
    }
}
