//! The keys: what each does, and how it is told at the foot of the screen and in its help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::list::Step;

/// What a key asks for, wherever somebody is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Leave,
    Back,
    Help,
    /// To the screen of this number.
    Screen(usize),
    NextScreen,
    PreviousScreen,
    Go(Step),
    Open,
    /// Asks for the beginning of the names of streams.
    Prefix,
    /// Asks for a position.
    Position,
    Again,
}

/// What the help lists. `annals top --help` says the same.
pub(super) const KEYS: [(&str, &str); 12] = [
    ("1 to 5, Tab", "overview, segments, followers, streams, events"),
    ("↑ ↓, k j", "one row up or down"),
    ("PgUp PgDn", "a page up or down"),
    ("Home End", "to the first row, to the last that was read"),
    ("Enter", "open: the events of a stream, one event whole"),
    ("Esc, Backspace", "back; Esc in the overview leaves"),
    ("g", "events from a position on, downwards"),
    ("/", "streams whose names begin so"),
    ("r", "read the list again"),
    ("?", "this help"),
    ("q, Ctrl-C", "leave"),
    ("", "At its first row a list is live, elsewhere it stands still"),
];

/// The action of a key, where no text is being written.
pub(super) fn action(key: KeyEvent) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c')).then_some(Action::Leave);
    }
    Some(match key.code {
        KeyCode::Char('q') => Action::Leave,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Char('g') => Action::Position,
        KeyCode::Char('/') => Action::Prefix,
        KeyCode::Char('r') => Action::Again,
        KeyCode::Char(digit @ '1'..='5') => Action::Screen(digit as usize - '1' as usize),
        KeyCode::Tab => Action::NextScreen,
        KeyCode::BackTab => Action::PreviousScreen,
        KeyCode::Esc | KeyCode::Backspace => Action::Back,
        KeyCode::Enter => Action::Open,
        KeyCode::Up | KeyCode::Char('k') => Action::Go(Step::Up),
        KeyCode::Down | KeyCode::Char('j') => Action::Go(Step::Down),
        KeyCode::PageUp => Action::Go(Step::PageUp),
        KeyCode::PageDown => Action::Go(Step::PageDown),
        KeyCode::Home => Action::Go(Step::First),
        KeyCode::End => Action::Go(Step::Last),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_control_only_c_does_something_and_it_leaves() {
        for code in ["q", "?", "g", "/", "r", "1", "k", "j", "d", "C"].map(|key| KeyCode::Char(key.parse().unwrap())) {
            assert_eq!(action(KeyEvent::new(code, KeyModifiers::CONTROL)), None, "{code:?}");
        }
        let both = [KeyCode::Enter, KeyCode::Esc, KeyCode::Up].map(|code| KeyEvent::new(code, KeyModifiers::CONTROL));
        assert_eq!(both.map(action), [None; 3]);
        assert_eq!(action(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Action::Leave));
        assert_eq!(action(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE)), None);
    }
}
