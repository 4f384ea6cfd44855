//! How a command ends: the number that the shell sees, and the one line that says why.
//!
//! A [`Failure`] says what did not work, why, and what to do next, in one line
//! on standard error: `annals: WHAT: WHY; NEXT`. With `--json` the line is an
//! object: `{"error": "WHAT: WHY", "next": "NEXT", "exit": 3}`.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

/// How the command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// It did what it was asked.
    Fine = 0,
    /// It found something: damage in the store, a bad line in the input, a mismatch.
    Findings = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// It could not read, write or open what it needs.
    Io = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command stopped before its end.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// `None` when whoever read our output has gone (`annals read … | head`):
    /// that is not worth a word.
    what: Option<String>,
    next: Option<String>,
    line: Option<u64>,
}

impl Failure {
    /// Something in the store or the input is not as it should be.
    pub(crate) fn findings(what: impl Into<String>) -> Failure {
        Failure::new(Exit::Findings, what)
    }

    /// The arguments make no sense together.
    pub(crate) fn usage(what: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, what)
    }

    /// Something could not be read, written or opened.
    pub(crate) fn io(what: impl Into<String>) -> Failure {
        Failure::new(Exit::Io, what)
    }

    /// Standard output could not be written.
    pub(crate) fn output(error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure { exit: Exit::Fine, what: None, next: None, line: None };
        }
        Failure::io("cannot write the output").because(error)
    }

    /// Whether there is nothing to say: whoever read our output has gone.
    pub(crate) fn is_silent(&self) -> bool {
        self.what.is_none()
    }

    /// What clap says about the arguments, on one line.
    pub(crate) fn arguments(error: &clap::Error) -> Failure {
        let text = error.to_string();
        // Its first paragraph: what is wrong, and below it what that is wrong with, one a line.
        let mut lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let mut what = first.strip_prefix("error: ").unwrap_or(first).to_owned();
        for (number, line) in lines.enumerate() {
            what.push_str(if number == 0 { " " } else { ", " });
            what.push_str(line);
        }
        Failure::usage(what).next("see `annals --help`")
    }

    fn new(exit: Exit, what: impl Into<String>) -> Failure {
        Failure { exit, what: Some(what.into()), next: None, line: None }
    }

    /// Adds the cause, and the causes of the cause.
    pub(crate) fn because(mut self, cause: &dyn Error) -> Failure {
        if let Some(what) = &mut self.what {
            let mut cause = Some(cause);
            while let Some(error) = cause {
                _ = write!(what, ": {error}");
                cause = error.source();
            }
        }
        self
    }

    /// Adds what to do next.
    pub(crate) fn next(mut self, next: impl Into<String>) -> Failure {
        self.next = Some(next.into());
        self
    }

    /// Adds the number of the input's line that it is about.
    pub(crate) fn at_line(mut self, number: u64) -> Failure {
        self.line = Some(number);
        self
    }

    /// Whether it is about what was found in the store or the input, and not about the way there.
    pub(crate) fn is_finding(&self) -> bool {
        self.exit == Exit::Findings
    }

    /// Whether it is about a line of the input.
    pub(crate) fn has_line(&self) -> bool {
        self.line.is_some()
    }

    /// Says it on standard error.
    pub(crate) fn tell(self, json: bool) -> Exit {
        #[derive(Serialize)]
        struct Said<'a> {
            error: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            line: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next: Option<&'a str>,
            exit: u8,
        }
        let Some(what) = &self.what else { return self.exit };
        let text = if json {
            let said = Said { error: what, line: self.line, next: self.next.as_deref(), exit: self.exit as u8 };
            serde_json::to_string(&said).unwrap_or_default()
        } else {
            let next = self.next.as_ref().map_or_else(String::new, |next| format!("; {next}"));
            crate::human::printable(&format!("annals: {what}{next}")).into_owned()
        };
        // When standard error is gone too there is nobody to tell.
        _ = writeln!(io::stderr(), "{text}");
        self.exit
    }
}

/// Says something on standard error that a person may want to know, and a program need not.
pub(crate) fn note(json: bool, text: &str) {
    if !json {
        _ = writeln!(io::stderr(), "annals: {}", crate::human::printable(text));
    }
}

/// How a command ends when it is not stopped.
pub(crate) type Ended = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let cause = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let failure = Failure::io("cannot read /x").because(&cause).next("run as its owner");
        assert_eq!(failure.what.as_deref(), Some("cannot read /x: permission denied"));
        assert_eq!(failure.next.as_deref(), Some("run as its owner"));
    }

    #[test]
    fn a_reader_who_left_is_not_an_error() {
        let failure = Failure::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, failure.what), (Exit::Fine, None));
    }
}
