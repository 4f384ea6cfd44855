//! The screens without a terminal.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use annals::EventStore;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Frame, Terminal};

use super::ask::Request;
use super::look::Look;
use super::model::{Input, Model};

/// `annals top`, whose keys are pressed and whose screens are drawn by a program: everything but the terminal.
///
/// ```
/// use std::time::Duration;
///
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_cli::top::Session;
/// use ratatui::crossterm::event::KeyCode;
///
/// # let dir = tempfile::tempdir()?;
/// let writer = EventStore::open(dir.path(), &Options::new())?;
/// writer.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", r#"{"total":4200}"#))?;
///
/// let mut session = Session::new(EventStore::open_read_only(dir.path())?, dir.path());
/// session.look(Duration::ZERO);
/// assert!(session.text(80, 24).contains("1 to 1, durable to 1"));
/// session.press(KeyCode::Char('5'));
/// assert!(session.text(80, 24).contains("Placed"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    model: Model,
    look: Look,
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session").field("store", &self.model.store).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins with the overview, where nothing was looked at yet. New events are watched from now on.
    ///
    /// The store is meant to be one that is opened read-only; `path` is where it lies.
    pub fn new(store: EventStore, path: &Path) -> Session {
        Session { model: Model::new(path.display().to_string()), look: Look::new(store, path) }
    }

    /// Looks at the store, at a moment that is counted from any one, and does not go back.
    pub fn look(&mut self, at: Duration) {
        let sample = self.look.sample(at);
        let request = self.model.update(Input::Sample(sample));
        self.answer(request);
    }

    /// Presses a key.
    pub fn press(&mut self, key: KeyCode) {
        let request = self.model.update(Input::Key(KeyEvent::new(key, KeyModifiers::NONE)));
        self.answer(request);
    }

    /// Writes a text, letter by letter.
    pub fn write(&mut self, text: &str) {
        text.chars().for_each(|letter| self.press(KeyCode::Char(letter)));
    }

    /// Whether somebody has left.
    pub fn is_over(&self) -> bool {
        self.model.is_over()
    }

    /// How many events were read for all lists together.
    pub fn events_read(&self) -> u64 {
        self.look.events_read()
    }

    /// Draws the screen.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        super::draw::draw(&self.model, frame);
    }

    /// The screen in so many columns and rows, as lines of text without what is empty at their ends.
    pub fn text(&mut self, width: u16, height: u16) -> String {
        let request = self.model.update(Input::Rows(height));
        self.answer(request);
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        let Ok(_) = terminal.draw(|frame| self.draw(frame));
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width).max(1));
        let line = |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
        rows.map(|row| line(row).trim_end().to_owned() + "\n").collect()
    }

    fn answer(&mut self, request: Option<Request>) {
        if let Some(Request { number, ask }) = request {
            let answer = self.look.answer(&ask);
            // An answer asks nothing.
            _ = self.model.update(Input::Answer(number, answer));
        }
    }
}
