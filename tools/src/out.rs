//! Where results go: standard output, for a person or for a program.
//!
//! A person gets text, with colour when it is a terminal. A program (`--json`, CSV, the lines of an export)
//! gets the bytes as they were written: nothing is taken out of them, because
//! they hold other people's data, and looking for what could be taken out takes as long as making them.

use std::fmt;
use std::io::{self, BufWriter, Write};

use anstream::{AutoStream, ColorChoice};
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
    /// Whether what is said keeps its colours.
    in_colour: bool,
    stdout: BufWriter<Box<dyn Write>>,
}

impl Out {
    pub(crate) fn new(json: bool) -> Out {
        // It asks the environment and the terminal, and prepares the terminals of Windows.
        let in_colour = AutoStream::auto(io::stdout()).current_choice() == ColorChoice::AlwaysAnsi;
        Out { json, in_colour, stdout: BufWriter::with_capacity(64 * 1024, Box::new(io::stdout())) }
    }

    /// The same, but somewhere else.
    pub(crate) fn over(&self, to: Box<dyn Write>) -> Out {
        Out { json: self.json, in_colour: false, stdout: BufWriter::with_capacity(64 * 1024, to) }
    }

    /// Whether a program reads it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One line of text for a person: `out.say(format_args!(…))`.
    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) -> Result<(), Failure> {
        let said = if self.in_colour {
            writeln!(self.stdout, "{line}")
        } else {
            writeln!(self.stdout, "{}", anstream::adapter::strip_str(&line.to_string()))
        };
        said.map_err(|error| Failure::output(&error))
    }

    /// One JSON object for a program, on one line.
    pub(crate) fn object(&mut self, object: &impl Serialize) -> Result<(), Failure> {
        let line =
            serde_json::to_vec(object).map_err(|error| Failure::io("cannot encode the output").because(&error))?;
        self.bytes(&line)?;
        self.bytes(b"\n")
    }

    /// These bytes, for a program.
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
