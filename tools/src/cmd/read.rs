//! `annals read`: the events that match, of a range, in either order.
//!
//! What is asked for is a range first, `--after` (without it) to `--until`
//! (with it) and the times of recording; the filters choose from it, `--last`
//! keeps the end of what they chose, and the order comes after that. Whatever
//! the range was given as, it ends up as positions of the log.

use annals::{
    EventStore, NameError, OwnStream, Position, Query, QueryItem, ReadError, Reader, RecordedEvent, StreamId,
    StreamVersion,
};
use annals_codec::Redaction;

use super::events::Printing;
use crate::args::{ReadArgs, UpTo};
use crate::exit::{Ended, Failure, note};
use crate::open::{self, Reading};
use crate::out::Out;

pub(crate) fn run(args: &ReadArgs, out: &mut Out) -> Ended {
    let query = query(args);
    query.check().map_err(|error| Failure::usage("there can be no such event").because(&error))?;
    if args.up_to.is_some() && (args.stream.len() != 1 || !args.stream_prefix.is_empty()) {
        return Err(Failure::usage("--up-to is of one stream").next("name it with --stream"));
    }
    let reading = Reading::of(&args.store, &args.through)?;
    let store = reading.open()?;
    note_unknown(&store, &args.stream, out.is_json());
    let mut range = Range::new(&store, args).map_err(|error| unread(&store, args, &error))?;
    range.holds_a_state(&store, args)?;
    let is_part = range.lacks_the_beginning(&store, args);
    if let Some(last) = args.last {
        let newest = range.reader(&store, &query, true)?.skip_damaged().limit(last);
        let first = newest.filter_map(Result::ok).last();
        range.after = first.map_or(range.until, |event| event.position().before());
    }
    let reader = range.reader(&store, &query, args.backward)?;
    let mut printing = Printing::new(&store, out, true).decrypting(args.keys.as_deref())?;
    let mut printed = 0;
    printing.all(reader.limit(args.limit.unwrap_or(u64::MAX)), |_| {
        printed += 1;
        true
    })?;
    let exit = printing.exit();
    // Who wants the newest few, and has them, misses nothing.
    let newest = args.last.or(args.limit.filter(|_| args.backward));
    if is_part && newest.is_none_or(|newest| printed < newest) {
        out.flush()?;
        open::note_removed(&store, out.is_json());
    }
    Ok(exit)
}

/// Says which of these streams nobody ever wrote to: it may be a slip.
pub(super) fn note_unknown(store: &EventStore, streams: &[String], json: bool) {
    for stream in streams {
        if stream_id(stream)
            .is_ok_and(|stream| store.stream_version(stream).is_ok_and(|version| version == StreamVersion::EMPTY))
        {
            note(json, &format!("note: there is no stream {stream:?}; `annals streams` lists them"));
        }
    }
}

/// The only stream that is asked for, whose versions the range counts.
fn only_stream(args: &ReadArgs) -> Option<&str> {
    match &*args.stream {
        [stream] if args.stream_prefix.is_empty() => Some(stream),
        _ => None,
    }
}

/// Why the events of a range cannot be read; of one stream, with the version behind which it is left.
fn unread(store: &EventStore, args: &ReadArgs, error: &ReadError) -> Failure {
    let (ReadError::Truncated { .. }, Some(stream)) = (error, only_stream(args)) else { return open::unread(error) };
    open::unread(error).next(match left_of(store, stream) {
        Ok(Some(event)) => format!("--after {} reads what is left of this stream", event.version().before()),
        _ => "of this stream nothing is left".to_owned(),
    })
}

/// The first event that is left of a stream.
fn left_of(store: &EventStore, stream: &str) -> Result<Option<RecordedEvent>, ReadError> {
    readable(store.read_stream(stream_id(stream)?, StreamVersion::EMPTY)?.allow_truncated())
}

fn query(args: &ReadArgs) -> Query {
    let mut item = QueryItem::new().types(&args.event_type);
    for prefix in &args.type_prefix {
        item = item.type_prefix(prefix);
    }
    for tag in &args.tag {
        item = item.tag(tag);
    }
    for stream in &args.stream {
        item = named(item, stream);
    }
    for prefix in &args.stream_prefix {
        item = item.stream_prefix(prefix);
    }
    if item == QueryItem::new() { Query::All } else { item.into() }
}

/// The events of a stream, too, which may be the store's own.
pub(super) fn named(item: QueryItem, stream: &str) -> QueryItem {
    match stream_id(stream) {
        Ok(stream) => item.stream(stream),
        Err(_) => item.stream(stream),
    }
}

/// A stream that can be read: also those in which the store says what was redacted, and what events look like.
fn stream_id(name: &str) -> Result<StreamId, NameError> {
    let is_own = OwnStream::ALL.iter().any(|own| own.name() == name);
    if name == Redaction::STREAM || is_own { Ok(StreamId::stored(name)) } else { StreamId::new(name) }
}

/// Which part of the log.
struct Range {
    after: Position,
    until: Position,
    recorded: Option<(i64, i64)>,
}

impl Range {
    fn new(store: &EventStore, args: &ReadArgs) -> Result<Range, ReadError> {
        let head = store.head();
        let (after, until) = match only_stream(args) {
            Some(stream) => {
                let stream = stream_id(stream)?;
                let after = args.after.map(|version| after_version(store, &stream, StreamVersion::new(version)));
                let version = args.until.or(match args.up_to {
                    Some(UpTo::Version(version)) => Some(version),
                    _ => None,
                });
                let until = version.map(|version| up_to_version(store, &stream, StreamVersion::new(version)));
                (after.transpose()?, until.transpose()?)
            }
            None => {
                let until = args.until.map(Position::new);
                (args.after.map(Position::new).or(until.map(|until| open::beginning(store, until))), until)
            }
        };
        let after = after.unwrap_or(store.oldest().before());
        let (until, before) = match args.up_to {
            Some(UpTo::Position(position)) => (Some(Position::new(position)), args.before),
            // Nothing is later than the last moment.
            Some(UpTo::Time(time)) => (until, Some(time.saturating_add(1))),
            _ => (until, args.before),
        };
        let recorded = (args.since.is_some() || before.is_some())
            .then(|| (args.since.unwrap_or(i64::MIN), before.unwrap_or(i64::MAX)));
        Ok(Range { after, until: until.unwrap_or(head).min(head), recorded })
    }

    fn reader(&self, store: &EventStore, query: &Query, backward: bool) -> Result<Reader, Failure> {
        let (from, until) = if backward { (self.until.plus(1), self.after.plus(1)) } else { (self.after, self.until) };
        let reader = store.read(query.clone(), from).map_err(|error| open::unread(&error.into()))?.until(until);
        let reader = if backward { reader.backward() } else { reader };
        Ok(self.of_its_time(reader))
    }

    fn of_its_time(&self, reader: Reader) -> Reader {
        match self.recorded {
            Some((since, before)) => reader.recorded_between(since, before),
            None => reader,
        }
    }

    /// With --up-to: nothing was removed of what the state is folded from, which is what `reconstruct_state` asks for.
    fn holds_a_state(&self, store: &EventStore, args: &ReadArgs) -> Result<(), Failure> {
        let (Some(up_to), Some(stream)) = (args.up_to, only_stream(args)) else { return Ok(()) };
        let after = StreamVersion::new(args.after.unwrap_or_default());
        let of_stream = || -> Result<Reader, ReadError> { Ok(store.read_stream(stream_id(stream)?, after)?) };
        let reader = of_stream().map_err(|error| open::unread(&error))?;
        let reader = if matches!(up_to, UpTo::Position(_)) { reader.until(self.until) } else { reader };
        match self.of_its_time(reader).next_event() {
            Err(error @ ReadError::Truncated { .. }) => Err(unread(store, args, &error)),
            // What else is wrong is told when it is met in its turn.
            _ => Ok(()),
        }
    }

    /// Whether the range is to begin with the log, or the stream, and events that it would hold were removed.
    fn lacks_the_beginning(&self, store: &EventStore, args: &ReadArgs) -> bool {
        if args.after.is_some() || store.oldest() <= Position::START.plus(1) {
            return false;
        }
        let is_told = |reader: Reader| {
            matches!(self.of_its_time(reader.until(self.until)).next_event(), Err(ReadError::Truncated { .. }))
        };
        if args.stream.is_empty() || !args.stream_prefix.is_empty() {
            return is_told(store.read_all(Position::START));
        }
        let streams = args.stream.iter().filter_map(|stream| stream_id(stream).ok());
        streams.filter_map(|stream| store.read_stream(stream, StreamVersion::EMPTY).ok()).any(is_told)
    }
}

/// The position of the last event of a stream up to a version, of those that can be read:
/// if another was damaged, it comes after it.
fn after_version(store: &EventStore, stream: &StreamId, version: StreamVersion) -> Result<Position, ReadError> {
    match readable(store.read_stream(stream, version.plus(1))?.backward()) {
        // It was removed. What comes next may be there.
        Err(ReadError::Truncated { .. }) => {
            let next = readable(store.read_stream(stream, version)?)?;
            Ok(next.map_or_else(|| store.head(), |event| event.position().before()))
        }
        found => Ok(found?.map_or(Position::START, |event| event.position())),
    }
}

/// The position of a version in a stream; of one that cannot be read, or is not there, the
/// one before the next that can: if it was damaged, it comes up to there.
fn up_to_version(store: &EventStore, stream: &StreamId, version: StreamVersion) -> Result<Position, ReadError> {
    let found = readable(store.read_stream(stream, version.before())?)?;
    match found {
        Some(event) if event.version() > version => Ok(event.position().before()),
        Some(event) => Ok(event.position()),
        None => Ok(Position::END),
    }
}

/// The first event that can be read. What cannot be is told when it is met in its turn.
fn readable(reader: Reader) -> Result<Option<RecordedEvent>, ReadError> {
    let mut found = reader.skip_damaged().filter(|event| !matches!(event, Err(ReadError::Corrupt(_))));
    found.next().transpose()
}
