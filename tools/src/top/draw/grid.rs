//! Rows in columns that are as wide as what stands in them.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Row, Table};

use super::{BAD, BOLD, CHOSEN};
use crate::human::printable;

/// The columns between two of them.
const SPACING: u16 = 2;

/// A row: its cells, and whether something is wrong with what it shows.
pub(super) struct Cells {
    pub(super) cells: Vec<String>,
    pub(super) is_bad: bool,
}

/// Draws rows below their titles; those whose title begins with `#` hold numbers. The last column takes what is left.
pub(super) fn draw(titles: &[&str], rows: &[Cells], chosen: Option<usize>, frame: &mut Frame<'_>, area: Rect) {
    let shown: Vec<Vec<Line<'_>>> =
        rows.iter().map(|row| row.cells.iter().map(|cell| Line::raw(printable(cell))).collect()).collect();
    let most = usize::from(area.width / 4).max(12);
    // What there is no room for is cut off at the right, and no number at its left.
    let mut left = usize::from(area.width);
    let width = |(column, title): (usize, &&str)| {
        let is_number = title.starts_with('#');
        let cells = shown.iter().filter_map(|row| row.get(column)).map(Line::width);
        let widest = cells.chain([title.trim_start_matches('#').len()]).max().unwrap_or(0);
        let widest = if is_number { widest } else { widest.min(most) };
        let width = if column + 1 == titles.len() { left } else { widest.min(left) };
        left = left.saturating_sub(width + usize::from(SPACING));
        Constraint::Length(width as u16)
    };
    let widths: Vec<Constraint> = titles.iter().enumerate().map(width).collect();
    let aligned = |line: Line<'static>, column: usize| {
        let is_number = titles.get(column).is_some_and(|title| title.starts_with('#'));
        Text::from(if is_number { line.right_aligned() } else { line })
    };
    let header = titles.iter().enumerate().map(|(column, title)| {
        let title = title.trim_start_matches('#').to_owned();
        aligned(Line::styled(title, BOLD), column)
    });
    let rows = shown.iter().zip(rows).enumerate().map(|(number, (lines, row))| {
        let cells = lines.iter().enumerate().map(|(column, line)| aligned(owned(line), column));
        let style = if row.is_bad { BAD } else { ratatui::style::Style::new() };
        Row::new(cells).style(if chosen == Some(number) { style.patch(CHOSEN) } else { style })
    });
    let table = Table::new(rows, widths).header(Row::new(header)).column_spacing(SPACING);
    frame.render_widget(table, area);
}

fn owned(line: &Line<'_>) -> Line<'static> {
    Line::raw(line.to_string())
}

/// How many rows there is room for below the titles.
pub(super) fn room(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(1))
}

/// Which row of a window is the chosen one.
pub(super) fn chosen_in(window: &Range<usize>, chosen: usize) -> Option<usize> {
    chosen.checked_sub(window.start).filter(|_| window.contains(&chosen))
}
