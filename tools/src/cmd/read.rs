//! `annals read`: events of the log or of one stream, a range of them, in either order.
//!
//! What is asked for is a range first, `--after` (without it) to `--until`
//! (with it), of which `--last` keeps the end; the order comes after that.

use std::path::Path;

use annals::{EventStore, Position, Reader, StreamId, StreamVersion};

use super::events::Printing;
use crate::exit::{Ended, Failure, note};
use crate::open;
use crate::out::Out;

/// What to print of it.
pub(crate) struct Range {
    pub(crate) after: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) limit: Option<u64>,
    pub(crate) last: Option<u64>,
    pub(crate) backward: bool,
}

pub(crate) fn run(path: &Path, stream: Option<&str>, range: &Range, out: &mut Out) -> Ended {
    let stream = stream.map(StreamId::new).transpose();
    let stream = stream.map_err(|error| Failure::usage("--stream").because(&error))?;
    let store = open::for_reading(path)?;
    let head = match &stream {
        Some(stream) => {
            let version = version(&store, stream)?;
            if version == StreamVersion::EMPTY {
                note(out.is_json(), &format!("note: there is no stream {stream:?}; `annals streams` lists them"));
            }
            version.get()
        }
        None => store.head().get(),
    };
    let until = range.until.unwrap_or(u64::MAX).min(head);
    let oldest = if stream.is_some() { 0 } else { store.oldest().before().get() };
    let mut after = range.after.unwrap_or(oldest);
    if let Some(last) = range.last {
        after = after.max(until.saturating_sub(last));
    }
    let count = range.limit.unwrap_or(u64::MAX).min(until.saturating_sub(after));
    let from = if range.backward { until.saturating_add(1) } else { after };
    let mut reader = reader(&store, stream.as_ref(), from)?;
    if range.backward {
        reader = reader.backward();
    }
    // The place of an event is what the range counts.
    let by_version = stream.is_some();
    let mut printing = Printing::new(out, true);
    printing.all(reader.limit(count), |event| {
        let at = if by_version { event.version.get() } else { event.position.get() };
        at > after && at <= until
    })?;
    Ok(printing.exit())
}

fn version(store: &EventStore, stream: &StreamId) -> Result<StreamVersion, Failure> {
    store.stream_version(stream).map_err(|error| Failure::usage("--stream").because(&error))
}

fn reader(store: &EventStore, stream: Option<&StreamId>, from: u64) -> Result<Reader, Failure> {
    match stream {
        None => Ok(store.read_all(Position::new(from))),
        Some(stream) => store
            .read_stream(stream, StreamVersion::new(from))
            .map_err(|error| Failure::usage("--stream").because(&error)),
    }
}
