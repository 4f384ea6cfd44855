//! `annals export`: all events as lines that `import` takes.
//!
//! Another log is made of what it prints, so it stops at damage unless told
//! otherwise: an export that leaves something out must not look like a whole one.

use annals::{EventStore, Position};

use super::events::Printing;
use crate::exit::{Ended, Failure};
use crate::out::Out;
use crate::progress::Progress;

pub(crate) fn run(
    store: &EventStore,
    after: Option<u64>,
    until: Option<u64>,
    skip_damaged: bool,
    out: &mut Out,
) -> Ended {
    let after = after.map_or(store.oldest().before(), Position::new);
    let until = Position::new(until.unwrap_or(u64::MAX)).min(store.head());
    let total = until.get().saturating_sub(after.get());
    let progress = Progress::events("exporting", total);
    let mut printing = Printing::new(store, out, skip_damaged);
    printing.as_lines = true;
    let exported = printing.all(store.read_all(after), |event| {
        if event.position.get().is_multiple_of(4096) {
            progress.set(event.position.get() - after.get(), total);
        }
        event.position <= until
    });
    exported.map_err(|failure: Failure| failure.next("--skip-damaged exports the rest"))?;
    Ok(printing.exit())
}
