//! The lists of streams and events, and one event whole.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::grid::{self, Cells};
use super::{BOLD, DIM};
use crate::human::{count, printable};
use crate::time;
use crate::top::ask::{EventRow, StreamRow};
use crate::top::model::{Model, Opened};

/// From so many columns on a time has its date.
const WIDE: u16 = 110;

/// The streams, below a line that says which.
pub(super) fn streams(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let streams = &model.streams;
    let mut which = match &*streams.prefix {
        "" => "streams, written to last first".to_owned(),
        prefix => format!("streams that begin with {}, written to last first", printable(prefix)),
    };
    if streams.waits_for.is_some() {
        which.push_str("; reading …");
    } else if streams.is_end {
        which = format!("{which}: {}", count(streams.list.rows.len() as u64));
    } else {
        let looked = format!("; looked back to position {}, ↓ at the end goes on", count(streams.looked_back_to));
        which.push_str(&looked);
    }
    let area = below(which, frame, area);
    let window = streams.list.window(grid::room(area));
    let chosen = grid::chosen_in(&window, streams.list.chosen());
    let row = |row: &StreamRow| Cells {
        cells: vec![
            count(row.version),
            count(row.last_position),
            row.recorded_at.map_or_else(|| "unknown".to_owned(), |at| moment(at, area.width)),
            row.name.clone(),
        ],
        is_bad: false,
    };
    let rows: Vec<Cells> = streams.list.rows[window].iter().map(row).collect();
    grid::draw(&["#events", "#last position", "recorded", "stream"], &rows, chosen, frame, area);
}

/// The events of the log, or of a stream, below a line that says which.
pub(super) fn events(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let Some(events) = model.event_list() else { return };
    let which = match &events.stream {
        Some(stream) => format!("events of {}, newest first", printable(stream)),
        None => "events, newest first".to_owned(),
    };
    let state = if events.waits_for.is_some() && events.list.rows.is_empty() {
        "; reading …".to_owned()
    } else if events.is_live() {
        "; live".to_owned()
    } else {
        let since = model.sample.head.saturating_sub(events.head);
        if events.head > 0 && since > 0 {
            format!("; the log has grown by {} since, Home shows them", count(since))
        } else {
            "; Home shows the newest".to_owned()
        }
    };
    let area = below(which + &state, frame, area);
    let window = events.list.window(grid::room(area));
    let chosen = grid::chosen_in(&window, events.list.chosen());
    let is_one = events.stream.is_some();
    let rows: Vec<Cells> = events.list.rows[window].iter().map(|row| event_row(row, is_one, area.width)).collect();
    let titles: &[&str] = if is_one {
        &["#position", "#version", "recorded", "type", "data"]
    } else {
        &["#position", "recorded", "stream", "#version", "type", "data"]
    };
    grid::draw(titles, &rows, chosen, frame, area);
}

fn event_row(row: &EventRow, is_of_one_stream: bool, width: u16) -> Cells {
    let of_event = |text: String| if row.is_damaged { String::new() } else { text };
    let version = of_event(count(row.version));
    let mut cells = vec![count(row.first)];
    let recorded = of_event(moment(row.recorded_at, width));
    if is_of_one_stream {
        cells.extend([version, recorded]);
    } else {
        cells.extend([recorded, row.stream.clone(), version]);
    }
    cells.extend([row.event_type.clone(), row.text.clone()]);
    Cells { cells, is_bad: row.is_damaged }
}

/// One event, its fields above what it carries.
pub(super) fn event(opened: &Opened, frame: &mut Frame<'_>, area: Rect) {
    let Some(whole) = &opened.whole else {
        frame.render_widget(Line::styled("reading …", DIM), area);
        return;
    };
    let area = below(whole.title.clone(), frame, area);
    let room = usize::from(area.height);
    let lines = whole.lines.iter().skip(opened.first_line).take(room).map(|line| {
        let name = Span::styled(format!("{:<12} ", line.name.unwrap_or_default()), DIM);
        Line::from(vec![name, Span::raw(line.text.as_str())])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

/// Draws a line, and gives what is below it.
fn below(text: String, frame: &mut Frame<'_>, area: Rect) -> Rect {
    let [first, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Line::styled(text, BOLD), first);
    rest
}

/// A time to the millisecond, in UTC; without its date where there is no room for it.
fn moment(nanoseconds: i64, width: u16) -> String {
    let text = time::show_all_digits(nanoseconds);
    let part = if width >= WIDE { text.get(..23) } else { text.get(11..23) };
    part.map_or_else(|| text.clone(), |part| format!("{part}Z"))
}
