//! Reading the store, from outside: one look at all of it, and pages of what somebody browses.
//!
//! What is always true:
//!
//! - The store is only read, beside whoever writes to it.
//! - An answer costs as much as a page, however large the store is: a list of streams looks at most at [`LOOKED`]
//!   events, one of events gives [`PAGE`] of them.
//! - Names and payloads are as they are in the log. Whoever shows them escapes them.
//!
//! Streams are listed by what was written to last, because that is what an index of the log answers by a page: from
//! the newest event backwards, each stream that was not met before. `annals streams` lists all by their names.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals::{EventStore, LossRecord, Position, Query, QueryItem, ReadError, StreamId};

use super::ask::{Answer, Ask, EventPage, EventRow, Side, StreamPage, StreamRow};
use super::sample::{Follower, FollowerKind, Sample, Segment, worst_first};
use super::watch::Watch;
use super::whole::Whole;
use crate::derived;
use crate::human::{count, counted, preview};

/// So many rows make a page: more than a screen has.
pub(super) const PAGE: usize = 256;
/// So many events are looked at for a page of streams, which may all be of one stream.
pub(super) const LOOKED: usize = 20_000;
/// So many characters of a payload stand in a list.
const PREVIEW: usize = 200;
/// Snapshots of projections are read whole to know whether they can be used. That takes one twentieth of the time.
const SNAPSHOTS_SHARE: u32 = 20;

/// A store, and what of it has to be remembered from one look to the next.
#[derive(Debug)]
pub(super) struct Look {
    store: EventStore,
    path: PathBuf,
    watch: Watch,
    appended: Appended,
    projections: Projections,
    streams: Streams,
    /// How many events were read for all lists together.
    read: u64,
}

/// The bytes that were appended since the first look; without those that were removed again before the next one.
#[derive(Debug, Default)]
struct Appended {
    newest: Option<(u64, u64)>,
    total: u64,
}

impl Appended {
    fn add(&mut self, segments: &[Segment]) {
        if let Some((number, bytes)) = self.newest {
            let grown = segments.iter().filter(|segment| segment.number >= number);
            let before = |segment: &Segment| if segment.number == number { bytes } else { 0 };
            self.total += grown.map(|segment| segment.bytes.saturating_sub(before(segment))).sum::<u64>();
        }
        self.newest = segments.last().map(|segment| (segment.number, segment.bytes));
    }
}

#[derive(Debug, Default)]
struct Projections {
    /// When they are looked at again.
    next: Option<Instant>,
    found: Vec<(String, Option<u64>, Option<String>)>,
    trouble: Option<String>,
}

/// How far a list of streams has come.
#[derive(Debug, Default)]
struct Streams {
    prefix: String,
    before: Position,
    met: HashSet<Box<str>>,
}

impl Look {
    /// Begins to watch what comes after the head.
    pub(super) fn new(store: EventStore, path: &Path) -> Look {
        Look {
            watch: Watch::start(&store),
            store,
            path: path.to_owned(),
            appended: Appended::default(),
            projections: Projections::default(),
            streams: Streams::default(),
            read: 0,
        }
    }

    /// How many events were read for all lists together.
    pub(super) fn events_read(&self) -> u64 {
        self.read
    }

    /// The store as it is now, which is called `at`.
    ///
    /// # Errors
    ///
    /// Why it cannot be told, in a line.
    pub(super) fn sample(&mut self, at: Duration) -> Result<Sample, String> {
        // Otherwise an old state would be shown as if it were the newest. A store without a watermark has nothing new, so
        // one that was moved away would pass for one that nobody writes to.
        if !self.path.join("seg").is_dir() {
            return Err(format!("there is no store in {} any more", self.path.display()));
        }
        self.store.refresh().map_err(|error| told(&error))?;
        let stats = self.store.stats();
        let files = derived::files(&self.path);
        let index_of = |number: u64| files.get(&derived::index_name(number)).copied();
        let segment = |segment: &annals::SegmentStats| Segment {
            number: segment.number.get(),
            base: segment.base.get(),
            last: segment.last.get(),
            bytes: segment.bytes,
            sealed: segment.sealed,
            index_bytes: index_of(segment.number.get()).filter(|_| segment.sealed),
        };
        let segments: Vec<Segment> = stats.segments.iter().map(segment).collect();
        self.appended.add(&segments);
        let mut troubles: Vec<String> = self.store.recovery_report().gaps.iter().map(ToString::to_string).collect();
        let noted = self.watch.noted();
        for trouble in noted.troubles {
            if !troubles.contains(&trouble) {
                troubles.push(trouble);
            }
        }
        troubles.extend(self.lost());
        let head = stats.head.get();
        let consumers = stats.consumers.iter().map(|consumer| Follower {
            kind: FollowerKind::Consumer,
            name: consumer.name.to_string(),
            position: consumer.position.map(Position::get),
            lag: consumer.lag,
            fault: consumer.fault.clone(),
        });
        let mut followers: Vec<Follower> = consumers.collect();
        self.look_at_projections();
        followers.extend(self.projections.found.iter().map(|(name, position, fault)| Follower {
            kind: FollowerKind::Projection,
            name: name.clone(),
            position: *position,
            lag: Some(head.saturating_sub(position.unwrap_or(0))),
            fault: fault.clone(),
        }));
        troubles.extend(self.projections.trouble.clone());
        worst_first(&mut followers);
        Ok(Sample {
            at,
            log_id: stats.log_id.to_string(),
            epoch: stats.epoch.get(),
            oldest: stats.oldest.get(),
            head,
            durable: stats.durable_head.get(),
            bytes: stats.bytes,
            appended: self.appended.total,
            segments,
            followers,
            latencies: noted.latencies,
            is_behind: noted.is_behind,
            troubles,
        })
    }

    /// What repairs had to give up, if the store was repaired.
    fn lost(&self) -> Option<String> {
        match annals::losses(&self.path).as_ref().map(Option::as_ref) {
            Ok(None) => None,
            Ok(Some(record)) => {
                let positions = LossRecord::positions(record);
                let lost = format!("{} lost in repairs: see `annals stats`", counted(positions, "event"));
                (positions > 0).then_some(lost)
            }
            Err(error) => Some(format!("the record of losses cannot be read: {error}")),
        }
    }

    fn look_at_projections(&mut self) {
        let began = Instant::now();
        if self.projections.next.is_some_and(|next| began < next) {
            return;
        }
        match annals_projection::stored_projections(&self.store) {
            Ok(found) => {
                let found = found.into_iter().map(|projection| {
                    let fault = projection.snapshots.iter().find_map(|snapshot| snapshot.fault.clone());
                    (projection.name, projection.position.map(Position::get), fault)
                });
                (self.projections.found, self.projections.trouble) = (found.collect(), None);
            }
            Err(error) => {
                self.projections.trouble = Some(format!("the projections cannot be listed: {}", told(&error)));
            }
        }
        self.projections.next = Some(Instant::now() + began.elapsed() * SNAPSHOTS_SHARE);
    }

    /// What somebody who browses asks for.
    pub(super) fn answer(&mut self, ask: &Ask) -> Answer {
        let answered = match ask {
            Ask::Streams { prefix } => {
                self.streams = Streams { prefix: prefix.clone(), before: Position::END, met: HashSet::new() };
                self.streams(true).map(Answer::Streams)
            }
            Ask::MoreStreams => self.streams(false).map(Answer::Streams),
            Ask::Events { stream, side } => self.events(stream.as_deref(), *side).map(Answer::Events),
            Ask::Event { position } => self.event(*position).map(Answer::Event),
        };
        answered.unwrap_or_else(Answer::Failed)
    }

    fn streams(&mut self, is_first: bool) -> Result<StreamPage, String> {
        let Streams { prefix, before, met } = &mut self.streams;
        let query =
            if prefix.is_empty() { Query::All } else { Query::from(QueryItem::new().stream_prefix(prefix.as_str())) };
        let mut page = StreamPage { rows: Vec::new(), is_first, looked_back_to: before.get(), is_end: false };
        if is_first && let Some(row) = named(&self.store, prefix)? {
            // Whoever gives the whole name wants this one, however long ago it was written to.
            met.insert(row.name.as_str().into());
            page.rows.push(row);
        }
        let oldest = self.store.oldest();
        let reader = self.store.read(query, *before).map_err(|error| told(&error))?;
        let mut reader = reader.backward().until(oldest).skip_damaged();
        for _ in 0..LOOKED {
            if page.rows.len() == PAGE {
                break;
            }
            let event = match reader.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => {
                    page.is_end = true;
                    break;
                }
                // It is told in the overview, and among the events.
                Err(ReadError::Corrupt(_)) => continue,
                Err(error) => return Err(told(&error)),
            };
            self.read += 1;
            // Behind a position means before it, in this direction.
            *before = event.position;
            if !met.contains(event.stream) {
                met.insert(event.stream.into());
                let info = self.store.stream_info(StreamId::stored(event.stream)).map_err(|error| told(&error))?;
                page.rows.push(StreamRow {
                    name: event.stream.to_owned(),
                    version: info.map_or(event.version, |info| info.version).get(),
                    last_position: event.position.get(),
                    recorded_at: Some(event.recorded_at),
                });
            }
        }
        page.looked_back_to = before.get();
        Ok(page)
    }

    fn events(&mut self, stream: Option<&str>, side: Side) -> Result<EventPage, String> {
        let query = stream.map_or(Query::All, |stream| QueryItem::new().stream(StreamId::stored(stream)).into());
        let oldest = self.store.oldest();
        let (position, is_backward) = match side {
            Side::Newest => (Position::END, true),
            Side::Before(position) => (Position::new(position), true),
            // What was removed is no error here.
            Side::After(position) => (Position::new(position).max(oldest.before()), false),
        };
        let reader = self.store.read(query, position).map_err(|error| told(&error))?.skip_damaged();
        let mut reader = if is_backward { reader.backward().until(oldest) } else { reader };
        let head = reader.head().get();
        let mut rows = Vec::new();
        let is_end = loop {
            if rows.len() == PAGE {
                break false;
            }
            match reader.next_event() {
                Ok(Some(event)) => {
                    self.read += 1;
                    rows.push(EventRow::of(&event));
                }
                Ok(None) => break true,
                Err(ReadError::Corrupt(damage)) => rows.push(EventRow::damaged(&damage, head)),
                Err(error) => return Err(told(&error)),
            }
        };
        if !is_backward {
            rows.reverse();
        }
        Ok(EventPage { rows, side, is_end, head })
    }

    fn event(&self, position: u64) -> Result<Whole, String> {
        let position = Position::new(position);
        match self.store.get(position) {
            Ok(Some(event)) => {
                let event = event.as_event();
                let known = if event.redacted { self.store.redaction(position) } else { Ok(None) };
                Ok(Whole::of(&event, known.map_err(|error| told(&error))?.as_ref()))
            }
            Ok(None) => Err(format!("there is no event at position {} any more", count(position.get()))),
            Err(ReadError::Corrupt(damage)) => Ok(Whole::damaged(&damage.to_string())),
            Err(error) => Err(told(&error)),
        }
    }
}

impl EventRow {
    fn of(event: &annals::Event<'_>) -> EventRow {
        let text = if event.redacted { "(redacted)".to_owned() } else { preview(beginning(event.data), PREVIEW) };
        EventRow {
            first: event.position.get(),
            last: event.position.get(),
            recorded_at: event.recorded_at,
            stream: event.stream.to_owned(),
            version: event.version.get(),
            event_type: event.event_type.to_owned(),
            text,
            is_damaged: false,
        }
    }

    fn damaged(damage: &annals::Damage, head: u64) -> EventRow {
        EventRow {
            first: damage.from.get(),
            last: damage.to.map_or(head, Position::get),
            recorded_at: 0,
            stream: String::new(),
            version: 0,
            event_type: String::new(),
            text: damage.to_string(),
            is_damaged: true,
        }
    }
}

/// The stream of just this name, if there is one.
fn named(store: &EventStore, name: &str) -> Result<Option<StreamRow>, String> {
    if !StreamId::can_be_stored(name) {
        return Ok(None);
    }
    let info = store.stream_info(StreamId::stored(name)).map_err(|error| told(&error))?;
    let Some(info) = info else { return Ok(None) };
    // Its last event may be damaged, or removed; then nobody knows when that was.
    let last = store.get(info.last_position).ok().flatten();
    Ok(Some(StreamRow {
        name: name.to_owned(),
        version: info.version.get(),
        last_position: info.last_position.get(),
        recorded_at: last.map(|event| event.as_event().recorded_at),
    }))
}

/// As much of a payload as a list can show, cut between two characters.
fn beginning(data: &[u8]) -> &[u8] {
    const ENOUGH: usize = 4 * (PREVIEW + 1);
    let Some(cut) = data.get(..ENOUGH) else { return data };
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        Ok(_) => cut,
        // It is binary, and its size is told.
        Err(_) => data,
    }
}

/// An error and its causes, in a line.
pub(super) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
