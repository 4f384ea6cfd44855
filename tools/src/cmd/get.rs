//! `annals get`: one event by its position or its id, or what was appended with an idempotency key.

use std::path::Path;

use annals::{EventStore, IdempotencyKey, Position};

use super::events::Printing;
use crate::args::Place;
use crate::exit::{Ended, Exit, Failure, note};
use crate::human::count;
use crate::open::{self, Reading};
use crate::out::Out;

pub(crate) fn run(
    store: &Reading,
    place: Option<Place>,
    key: Option<&str>,
    keys: Option<&Path>,
    out: &mut Out,
) -> Ended {
    if let Some(key) = key {
        IdempotencyKey::new(key).map_err(|error| Failure::usage(format!("--key {key:?}")).because(&error))?;
    }
    let store = store.open()?;
    let printing = Printing::new(&store, out, false).decrypting(keys)?;
    match (place, key) {
        (_, Some(key)) => appended_with(&store, key, printing),
        (Some(place), None) => one(&store, place, printing),
        // Not reached: the arguments say one of them.
        (None, None) => Err(Failure::usage("neither a position nor an id nor a key is given")),
    }
}

fn one(store: &EventStore, place: Place, mut printing: Printing<'_>) -> Ended {
    let (found, missing) = match place {
        Place::Position(position) => {
            let missing = format!("there is no event at position {position}: the log ends at {}", store.head());
            (store.get(Position::new(position)), missing)
        }
        Place::Id(id) => (store.get_event(id), format!("there is no event with the id {id}")),
    };
    let event = found.map_err(|error| open::unread(&error))?.ok_or_else(|| Failure::findings(missing))?;
    printing.event(&event.as_event())?;
    Ok(printing.exit())
}

fn appended_with(store: &EventStore, key: &str, mut printing: Printing<'_>) -> Ended {
    let found = store.find_append(key).map_err(|error| open::unread(&error))?;
    let appended = found.ok_or_else(|| Failure::findings(format!("nothing was appended with the key {key:?}")))?;
    if appended.first > appended.last {
        let last = count(appended.last.get());
        note(
            printing.out.is_json(),
            &format!("the append with the key {key:?} held no events; the log ended at {last} then"),
        );
        return Ok(Exit::Fine);
    }
    printing.all(store.read_all(appended.first.before()).until(appended.last), |_| true)?;
    Ok(printing.exit())
}
