//! The screen of a [`Model`], cell by cell.
//!
//! What is always true: every text that comes from a store, or from a keyboard, goes through [`printable`] before it
//! is drawn; and a screen of any size is drawn, if only as much of it as there is room for.

mod browse;
mod grid;
mod overview;
mod tables;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::keys::KEYS;
use super::model::{Model, Screen, Wants};
use crate::human::printable;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws it on the whole of a frame.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
    let [head, screens, body, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(headline(model), head);
    frame.render_widget(names_of_screens(model), screens);
    match (model.screen, &model.opened) {
        (Screen::Streams | Screen::Events, Some(opened)) => browse::event(opened, frame, body),
        (Screen::Overview, _) => overview::draw(model, frame, body),
        (Screen::Segments, _) => tables::segments(model, frame, body),
        (Screen::Followers, _) => tables::followers(model, frame, body),
        (Screen::Streams, None) if model.of_stream.is_none() => browse::streams(model, frame, body),
        (Screen::Streams | Screen::Events, None) => browse::events(model, frame, body),
    }
    if model.shows_help {
        help(frame, body);
    }
    frame.render_widget(footer(model), foot);
}

fn headline(model: &Model) -> Line<'static> {
    let store = Span::raw(format!("  {}", printable(&model.store)));
    let mut line = vec![Span::styled("annals top", BOLD), store];
    if let Some(fault) = &model.fault {
        line.push(Span::styled(format!("  cannot look: {}", printable(fault)), BAD));
    }
    Line::from(line)
}

fn names_of_screens(model: &Model) -> Line<'static> {
    let name = |(number, screen): (usize, Screen)| {
        let style = if screen == model.screen { CHOSEN } else { DIM };
        [Span::styled(format!(" {} {} ", number + 1, screen.name()), style), Span::raw(" ")]
    };
    Line::from(Screen::ALL.into_iter().enumerate().flat_map(name).collect::<Vec<_>>())
}

fn footer(model: &Model) -> Line<'static> {
    if let Some(prompt) = &model.prompt {
        let wants = match prompt.wants {
            Wants::Prefix => "streams whose names begin with: ",
            Wants::Position => "go to position: ",
        };
        return Line::from(vec![
            Span::styled(wants, BOLD),
            Span::raw(printable(&prompt.text).into_owned()),
            Span::styled(" ", CHOSEN),
        ]);
    }
    if let Some(message) = &model.message {
        return Line::styled(printable(message).into_owned(), BAD);
    }
    let hints = match (model.screen, model.opened.is_some()) {
        (Screen::Streams | Screen::Events, true) => "↑↓ scroll  Esc back",
        (Screen::Streams, _) if model.of_stream.is_none() => "↑↓ PgDn move  Enter events  / prefix  r again",
        (Screen::Streams, _) => "↑↓ PgDn move  Enter open  g position  Esc back",
        (Screen::Events, _) => "↑↓ PgDn move  Enter open  g position  r again",
        (Screen::Overview, _) => "1-5 Tab screens  / streams  g events",
        (Screen::Segments | Screen::Followers, _) => "↑↓ PgDn move",
    };
    Line::styled(format!("q leave  ? help  {hints}"), DIM)
}

fn help(frame: &mut Frame<'_>, body: Rect) {
    let width = KEYS.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    let line = |(key, does): &(&'static str, &'static str)| {
        let key_and_room = format!("{key}{}  ", " ".repeat(width - key.chars().count()));
        Line::from(vec![Span::styled(key_and_room, BOLD), Span::raw(*does)])
    };
    let mut lines: Vec<Line<'_>> = KEYS.iter().map(line).collect();
    lines.push(Line::default());
    lines.push(Line::raw("Latencies: from the moment that the writer gives an event (recorded_at)"));
    lines.push(Line::raw("to when a reader in this process has it, who looks every 1 to 16 ms."));
    let lines_and_border = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let area = body.centered(Constraint::Length(76), Constraint::Length(lines_and_border));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" annals top ")), area);
}
