//! The arguments of `annals top`, and the help that explains them.

use std::path::PathBuf;

/// What to watch, and how often to look.
#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// The store
    pub(crate) store: PathBuf,
    /// How often to look, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub(crate) every: u64,
    /// Look for that long, print one screen as text, and end
    #[arg(long)]
    pub(crate) once: bool,
}

pub(crate) const TOP_HELP: &str = "\
It looks from outside, as every command that reads: the writer knows nothing of it, and what is
not durable yet is not seen.

Keys:
  1 to 5, Tab     overview, segments, followers, streams, events
  ↑ ↓, k j        one row up or down
  PgUp PgDn       a page up or down
  Home End        to the first row, to the last that was read
  Enter           open: the events of a stream, one event whole
  Esc, Backspace  back; Esc in the overview leaves
  g               events from a position on, downwards
  /               streams whose names begin so
  r               read the list again
  ?               this help
  q, Ctrl-C       leave

`recorded to seen` is measured: a thread waits for new events and takes the time from when the
writer gave one (recorded_at) to when it is here, which is looked for every 1 to 16 ms. Both are
times of this machine's clock. The lag of a projection is what it would have to read after a
restart: how far it is meanwhile, only its own process knows.

Streams are listed by what was written to last, a page at a time; those of which all events were
removed are not among them. `annals streams` lists all by their names.";
