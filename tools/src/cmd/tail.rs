//! `annals tail`: the newest events, and each new one as a running writer appends it.
//!
//! There is no event that it could miss or print twice: it always reads what
//! comes after the position of the last one it printed.

use std::path::Path;
use std::thread;
use std::time::Duration;

use annals::Position;

use super::events::Printing;
use crate::exit::Ended;
use crate::open;
use crate::out::Out;

/// How long to wait before looking again when there was nothing new.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(path: &Path, lines: u64, follow: bool, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let oldest = store.oldest().before();
    let mut seen = oldest.max(Position::new(store.head().get().saturating_sub(lines)));
    let mut printing = Printing::new(out, true);
    loop {
        let before = seen;
        printing.all(store.read_all(before), |event| {
            seen = event.position;
            true
        })?;
        if !follow {
            return Ok(printing.exit());
        }
        if seen == before {
            thread::sleep(PAUSE);
        } else {
            printing.out.flush()?;
        }
    }
}
