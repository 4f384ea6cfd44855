//! `annals tail`: the newest events, and each new one as a running writer appends it.
//!
//! There is no event that it could miss or print twice: it is one subscription.

use std::path::Path;

use annals::{Delivery, Position, Query};

use super::events::Printing;
use crate::exit::{Ended, Failure};
use crate::open;
use crate::out::Out;

pub(crate) fn run(path: &Path, lines: u64, follow: bool, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let oldest = store.oldest().before();
    let from = oldest.max(Position::new(store.head().get().saturating_sub(lines)));
    let mut printing = Printing::new(&store, out, true);
    if !follow {
        printing.all(store.read_all(from), |_| true)?;
        return Ok(printing.exit());
    }
    let cannot = |error: annals::SubscribeError| Failure::io("cannot follow the log").because(&error);
    let mut subscription = store.subscribe(from, Query::All).map_err(cannot)?.skip_damaged();
    loop {
        // Nothing for the moment: what was printed is to be seen.
        let item = match subscription.try_next() {
            Ok(None) => {
                printing.out.flush()?;
                subscription.next_item()
            }
            item => item,
        };
        match item {
            Ok(Some(Delivery::Event(event))) => printing.event(&event)?,
            Ok(Some(_)) => {}
            Ok(None) => return Ok(printing.exit()),
            Err(error) => printing.unread(&error)?,
        }
    }
}
