//! Taking in what a log that was exported says of its events: the schemas of their types.
//!
//! What is asked here is only whether the store says something else already, which takes no knowledge of schemas. Whether
//! it is one is found out by who uses it.

use annals::{EventStore, ExpectedVersion, OwnStream, StreamVersion};
use serde::Deserialize;

use super::import::new_event;
use crate::exit::Failure;
use crate::ndjson::Row;
use crate::open;

/// The type of the events with which a repair fills the places of those that were lost.
const LOST: &str = "$lost";

pub(super) enum Taken {
    Appended,
    WasThere,
    /// It was lost before, and what stands in its place says nothing to another log.
    WasLost,
}

/// Whether a line is of the stream in which a log says what its events look like.
pub(super) fn is_own(row: &Row) -> bool {
    *row.stream == *OwnStream::Schemas.name()
}

/// Of what it speaks.
#[derive(Deserialize, Eq, PartialEq)]
struct Subject {
    event_type: String,
    version: u16,
}

impl Subject {
    fn of(data: &[u8]) -> Option<Subject> {
        serde_json::from_slice(data).ok()
    }
}

/// Appends it, unless the store says the same already.
pub(super) fn take(store: &EventStore, row: &Row) -> Result<Taken, Failure> {
    let bad = |why: String| Failure::findings(why).next("nothing of it was taken in; the lines before it are");
    if *row.event_type == *LOST {
        return Ok(Taken::WasLost);
    }
    let Some(subject) = Subject::of(&row.data) else {
        return Err(bad("it registers no schema, though it is of $schema".to_owned()));
    };
    let mut reader = store.read_own(OwnStream::Schemas, StreamVersion::EMPTY).allow_truncated();
    while let Some(event) = reader.next_event().map_err(|error| open::unread(&error))? {
        if event.data == row.data {
            return Ok(Taken::WasThere);
        }
        if Subject::of(event.data).is_some_and(|known| known == subject) {
            let Subject { event_type, version } = subject;
            return Err(bad(format!("version {version} of {event_type} has another schema in the store")));
        }
    }
    let done = store.append_own(OwnStream::Schemas, ExpectedVersion::Any, new_event(row));
    done.map_err(|error| Failure::io("cannot append").because(&error))?;
    Ok(Taken::Appended)
}
