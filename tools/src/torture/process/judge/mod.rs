//! Opens what a child has left behind, and compares it with what was promised.
//!
//! ```text
//!  a reader looks, before any recovery      what it is shown stays
//!  recovery                                 log ─► against the ledger, batch by batch
//!                                           reads ─► every look-up against the log
//!  followers                                checkpoint and snapshot against the log
//!  recovery once more                       changes no byte
//!  afterwards                               retries are recognised, appends work
//! ```
//!
//! The verdict says what was found, so that the ledger can settle it. Nothing
//! panics here but the engine, and that is a finding.

mod after;
mod bytes;
mod follow;
mod log;
mod reads;

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

use annals::{EventStore, OpenError, Options, Position, ReadError, RecordedEvent};

use super::entry::Span;
use super::ledger::{End, Ledger};
use super::work::Name;
use crate::torture::caught::caught;
use crate::torture::violation::ensure;
use crate::torture::{Rule, Violation};

/// What a judge found, where nothing was wrong.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// The last position, after the judge's own appends.
    pub head: Position,
    /// Every batch with events that is there, and where.
    pub(super) places: BTreeMap<Name, Span>,
    /// How far the sources are processed.
    pub(super) tracked: BTreeMap<String, u64>,
    /// Whether the judge has opened the store; before that there was perhaps none.
    pub(super) was_opened: bool,
    /// How many batches the judge appended of its own.
    pub(super) judged: u32,
    /// How many batches had been acknowledged since the last judgement, and are there.
    pub acknowledged: u64,
    /// How many had been acknowledged and are gone, as they may be: only with the power.
    pub given_up: u64,
    /// How many had not been answered, and are there.
    pub kept: u64,
    /// How many had not been answered, and are not there.
    pub dropped: u64,
    /// Where the consumer stands.
    pub(super) followed: Position,
    /// Where the projection begins.
    pub resumed: Position,
    /// How many bytes recovery cut off the end.
    pub torn: u64,
    /// Whether recovery had anything to do.
    pub repaired: bool,
    /// How many look-ups and queries were compared with reading everything.
    pub looked_up: u64,
    /// How many bytes were the same when the store had been opened again.
    pub unchanged: u64,
    /// How many retries were recognised, and how many were appended because the first try was gone.
    pub retries: (u64, u64),
}

/// Judges the store in this directory, in which nobody is at work any more.
///
/// It opens the store, so recovery changes it; and it appends. To judge the
/// same again, judge a copy.
///
/// # Errors
///
/// The first promise that was broken.
pub fn judge(dir: &Path, ledger: &Ledger, end: End) -> Result<Verdict, Violation> {
    caught(|| look(dir, ledger, end))
}

fn look(dir: &Path, ledger: &Ledger, end: End) -> Result<Verdict, Violation> {
    let seen = before_recovery(dir, ledger, end)?;
    let store = open(dir, ledger, end)?;
    let report = store.recovery_report().clone();
    ensure!(store.head() == report.head, ReadsAgree, "recovery says {}, the store {}", report.head, store.head());
    let events = all_events(&store)?;
    let mut verdict =
        log::compare(ledger, end, &events, |source| store.tracking(source).map_err(|error| unread(&error)))?;
    verdict.torn = report.torn.as_ref().map_or(0, |torn| torn.bytes);
    verdict.repaired = !report.is_clean();
    verdict.was_opened = true;
    let is_prefix = events.iter().map(fingerprint).take(seen.len()).eq(seen.iter().copied());
    ensure!(
        is_prefix && seen.len() <= events.len(),
        ShownStays,
        "a reader saw {} events before recovery; they are not the first of the {} that are there",
        seen.len(),
        events.len()
    );
    verdict.looked_up = reads::compare(&store, ledger, &events, &verdict.places)?;
    (verdict.followed, verdict.resumed) = follow::compare(&store, ledger, end, &events)?;
    drop(events);
    drop(store);

    let left = bytes::of(dir)?;
    let store = open(dir, ledger, end)?;
    verdict.unchanged = bytes::compare(&left, &bytes::of(dir)?)?;
    ensure!(store.head() == report.head, ShownStays, "opened once at {}, then at {}", report.head, store.head());
    after::go_on(&store, ledger, &mut verdict)?;
    follow::go_on(&store)?;
    verdict.head = store.head();
    store.close().map_err(|error| Violation::new(Rule::FailuresAreTold, format!("closing after recovery: {error}")))?;
    Ok(verdict)
}

/// What a reader finds who comes before anybody who writes.
fn before_recovery(dir: &Path, ledger: &Ledger, end: End) -> Result<Vec<u64>, Violation> {
    let store = match EventStore::open_read_only(dir) {
        Ok(store) => store,
        // Whoever made it was stopped before it was there.
        Err(OpenError::NotFound { .. } | OpenError::Inconsistent { .. }) if !ledger.has_been_open(end) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unopened("a reader is told", &error)),
    };
    let events = all_events(&store)?;
    let (head, shown) = (store.head(), ledger.shown);
    ensure!(
        end != End::Kill || head >= shown,
        ShownStays,
        "a reader is shown {head} before recovery, and {shown} was shown before"
    );
    // Readers in other processes see what is durable. They are told with a write whose failure nobody is told of.
    let least =
        if end == End::Kill && !ledger.is_with_errors() { ledger.durable(ledger.arrived()) } else { Position::START };
    ensure!(head >= least, AcknowledgedStays, "a reader is shown {head} before recovery, and {least} was durable");
    Ok(events.iter().map(fingerprint).collect())
}

fn open(dir: &Path, ledger: &Ledger, end: End) -> Result<EventStore, Violation> {
    // Without its threads, so that nothing changes a file while it is looked at.
    let options = Options::new().segment_bytes(64 << 10).background(false).create(!ledger.has_been_open(end));
    EventStore::open(dir, &options).map_err(|error| unopened("recovery says", &error))
}

fn unopened(who: &str, error: &OpenError) -> Violation {
    if let OpenError::NotFound { .. } = error {
        return Violation::new(Rule::AcknowledgedStays, "the store is gone");
    }
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    Violation::new(Rule::CrashIsNotDamage, format!("{who}: {error}{cause}"))
}

fn unread(error: &ReadError) -> Violation {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    Violation::new(Rule::CrashIsNotDamage, format!("{error}{cause}"))
}

/// Reads the log from its start, and checks that it is one.
fn all_events(store: &EventStore) -> Result<Vec<RecordedEvent>, Violation> {
    let mut events = Vec::new();
    let mut recorded_at = i64::MIN;
    for event in store.read_all(Position::START) {
        let event = event.map_err(|error| unread(&error))?;
        let expected = Position::new(events.len() as u64 + 1);
        ensure!(event.position() == expected, ReadsAgree, "position {} follows {expected}", event.position());
        let at = event.as_event().recorded_at;
        ensure!(at >= recorded_at, ReadsAgree, "time goes back at {expected}");
        recorded_at = at;
        events.push(event);
    }
    let (head, last) = (store.head(), Position::new(events.len() as u64));
    ensure!(head == last, ReadsAgree, "the head is {head}, and what can be read ends at {last}");
    Ok(events)
}

/// Stands for an event, without keeping alive what it was read from.
fn fingerprint(event: &RecordedEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    let event = event.as_event();
    (event.id.as_bytes(), event.version.get(), event.recorded_at, event.stream, event.event_type).hash(&mut hasher);
    (event.data, event.metadata).hash(&mut hasher);
    hasher.finish()
}
