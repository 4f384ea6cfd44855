//! A progress bar on standard error, when a person watches.
//!
//! In a pipe, in a log file and with `--json` there is none, and nothing in its
//! place. Where events scroll over the same terminal there is none either.

use std::io::{self, IsTerminal as _, Read};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far long work has come.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Work over `total` bytes; where the total is not known, only what was done is shown.
    pub(crate) fn bytes(json: bool, what: &'static str, total: Option<u64>) -> Progress {
        let template = match total {
            Some(_) => "{prefix} {bar:30} {percent:>3}%  {bytes}/{total_bytes}  {binary_bytes_per_sec}  {eta} left",
            None => "{prefix} {spinner} {bytes}  {binary_bytes_per_sec}",
        };
        Progress::new(json, what, total, template)
    }

    /// Work over `total` events that are printed meanwhile.
    pub(crate) fn events(what: &'static str, total: u64) -> Progress {
        Progress::count(io::stdout().is_terminal(), what, total)
    }

    /// Work over `total` things of a kind.
    pub(crate) fn count(json: bool, what: &'static str, total: u64) -> Progress {
        Progress::new(json, what, Some(total), "{prefix} {bar:30} {percent:>3}%  {human_pos}/{human_len}  {eta} left")
    }

    fn new(hidden: bool, what: &'static str, total: Option<u64>, template: &str) -> Progress {
        // On standard error, and hidden when that is no terminal.
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(total, target).with_prefix(what);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar }
    }

    /// A reader that moves the bar with what is read through it.
    pub(crate) fn reading<R: Read>(&self, input: R) -> impl Read + use<R> {
        self.bar.wrap_read(input)
    }

    /// Moves the bar to `done` of `total`.
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    /// The bar is about the work; when that is over, however it ended, it goes.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
