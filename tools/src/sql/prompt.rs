//! Statements from a person: a line that can be edited, a history, and when a statement is complete.

use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::exit::Failure;

/// What a person has entered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entered {
    /// Statements, complete.
    Sql(String),
    /// A word behind a point, with what follows it.
    Command(String, String),
}

/// The lines that a person types, as far as they were typed.
pub(crate) struct Prompt {
    editor: DefaultEditor,
    history: Option<PathBuf>,
    begun: Begun,
}

impl Prompt {
    pub(crate) fn new() -> Result<Prompt, Failure> {
        let mut editor =
            DefaultEditor::new().map_err(|error| Failure::io("cannot use the terminal").because(&error))?;
        let history = history_file();
        if let Some(file) = &history {
            // The first time there is none.
            _ = editor.load_history(file);
        }
        Ok(Prompt { editor, history, begun: Begun::default() })
    }

    /// Waits for something complete; `None` when the person is done.
    pub(crate) fn next(&mut self) -> Result<Option<Entered>, Failure> {
        loop {
            let prompt = if self.begun.0.is_empty() { "annals> " } else { "   ...> " };
            match self.editor.readline(prompt) {
                Ok(line) => {
                    if let Some(entered) = self.begun.take(&line) {
                        self.remember(&entered);
                        return Ok(Some(entered));
                    }
                }
                // What was begun is given up.
                Err(ReadlineError::Interrupted) => self.begun = Begun::default(),
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(Failure::io("cannot read from the terminal").because(&error)),
            }
        }
    }

    fn remember(&mut self, entered: &Entered) {
        let Entered::Sql(sql) = entered else { return };
        // Without a history there are no old statements; that is no reason to refuse new ones.
        _ = self.editor.add_history_entry(sql.trim());
        if let Some(file) = &self.history {
            if let Some(folder) = file.parent() {
                _ = std::fs::create_dir_all(folder);
            }
            _ = self.editor.save_history(file);
        }
    }
}

/// Where state of programs lies that is no setting.
fn history_file() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("annals").join("sql_history"))
}

/// Lines of a statement that is not complete.
#[derive(Debug, Default)]
struct Begun(String);

impl Begun {
    /// Takes another line; gives what is complete with it.
    fn take(&mut self, line: &str) -> Option<Entered> {
        if self.0.is_empty() {
            if line.trim().is_empty() {
                return None;
            }
            if let Some(command) = line.trim().strip_prefix('.') {
                let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
                return Some(Entered::Command(word.to_owned(), rest.trim().to_owned()));
            }
        } else {
            self.0.push('\n');
        }
        self.0.push_str(line);
        is_complete(&self.0).then(|| Entered::Sql(std::mem::take(&mut self.0)))
    }
}

/// Whether the text ends with a semicolon that ends a statement: not within a text, a name or a comment.
fn is_complete(sql: &str) -> bool {
    let mut rest = sql;
    let mut ended = false;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        let closed_by = |end: &str| behind.find(end).map(|at| &behind[at + end.len()..]);
        let (next, ends) = match first {
            '\'' | '"' | '`' => (closed_by(first.encode_utf8(&mut [0; 4])), false),
            '[' => (closed_by("]"), false),
            '-' if behind.starts_with('-') => (Some(closed_by("\n").unwrap_or_default()), ended),
            '/' if behind.starts_with('*') => (closed_by("*/"), ended),
            ';' => (Some(behind), true),
            space if space.is_whitespace() => (Some(behind), ended),
            _ => (Some(behind), false),
        };
        let Some(next) = next else { return false };
        (rest, ended) = (next, ends);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_with_the_semicolon_that_ends_it() {
        for sql in [
            "SELECT 1;",
            "SELECT 1; -- the first",
            "SELECT 1; /* the first */ ",
            "SELECT ';';",
            "SELECT 'it''s';",
            "SELECT \"a;b\", [c;d], `e;f` FROM events;",
            "SELECT 1 /* ; */ ;\n",
            "SELECT 1; SELECT 2;",
            ";",
            "SELECT 'é';",
        ] {
            assert!(is_complete(sql), "{sql}");
        }
        for sql in [
            "",
            "SELECT 1",
            "SELECT ';",
            "SELECT 'it'';",
            "SELECT 1 -- ;",
            "SELECT 1 /* ;",
            "SELECT [a;",
            "SELECT 1; SELECT 2",
            "-- a comment",
        ] {
            assert!(!is_complete(sql), "{sql}");
        }
    }

    #[test]
    fn lines_are_put_together_until_a_statement_is_complete() {
        let mut begun = Begun::default();
        assert_eq!(begun.take("  "), None);
        assert_eq!(begun.take(".format  csv "), Some(Entered::Command("format".to_owned(), "csv".to_owned())));
        assert_eq!(begun.take("SELECT"), None);
        assert_eq!(begun.take(""), None);
        assert_eq!(begun.take(".5;"), Some(Entered::Sql("SELECT\n\n.5;".to_owned())));
        assert_eq!(begun.take(".quit"), Some(Entered::Command("quit".to_owned(), String::new())));
    }
}
