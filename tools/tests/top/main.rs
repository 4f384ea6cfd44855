//! `annals top`: what its screens show, without a terminal, and what it says where there is none.

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod command;
mod numbers;
mod overview;

use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::{EventStore, ExpectedVersion, NewEvent, Options};
use annals_cli::top::Session;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use tempfile::TempDir;

/// A store that is written to, and who looks at it.
struct Story {
    dir: TempDir,
    writer: EventStore,
}

impl Story {
    fn new() -> Story {
        Story::with(&Options::new())
    }

    fn with(options: &Options) -> Story {
        let dir = TempDir::new().unwrap();
        let writer = EventStore::open(dir.path().join("store"), options).unwrap();
        Story { dir, writer }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn append(&self, stream: &str, event_type: &str, data: &str) {
        self.writer.append(stream, ExpectedVersion::Any, NewEvent::new(event_type, data.to_owned())).unwrap();
    }

    /// Who has looked once.
    fn session(&self) -> Session {
        session(&self.path())
    }
}

fn session(store: &Path) -> Session {
    let mut session = Session::new(EventStore::open_read_only(store).unwrap(), store);
    session.look(Duration::ZERO);
    session
}

/// The lines of a screen of 80 columns and 24 rows.
fn lines(session: &mut Session) -> Vec<String> {
    session.text(80, 24).lines().map(str::to_owned).collect()
}

/// The screen must have a line that says all of this.
#[track_caller]
fn must_say(session: &mut Session, words: &[&str]) {
    let text = session.text(100, 24);
    let says = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(text.lines().any(says), "no line says all of {words:?}:\n{text}");
}

/// The screen must have no line that says all of this.
#[track_caller]
fn must_not_say(session: &mut Session, words: &[&str]) {
    let text = session.text(100, 24);
    let says = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(!text.lines().any(says), "a line says {words:?}:\n{text}");
}

/// What of the screen is drawn in red.
fn in_red(session: &Session) -> String {
    let mut terminal = Terminal::new(TestBackend::new(120, 30)).unwrap();
    terminal.draw(|frame| session.draw(frame)).unwrap();
    let cells = terminal.backend().buffer().content().iter();
    cells.filter(|cell| cell.fg == Color::Red).map(ratatui::buffer::Cell::symbol).collect()
}
