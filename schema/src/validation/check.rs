//! A whole log against its schemas: every event, on all cores, told in the order of the log.
//!
//! ```text
//! positions ─► spans of some thousand ─► threads, each with a reader of its own ─► put in order ─► findings, one by one
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use annals::{ContentType, Event, EventStore, Position, ReadError, is_filler};

use crate::validation::known::Known;
use crate::validation::refused::Fault;

/// So many positions a thread takes at once.
const SPAN: u64 = 4096;

/// An event of a log that is not what its schema asks for, or a region that cannot be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// An event.
    Event {
        /// Its position.
        position: Position,
        /// Its stream.
        stream: String,
        /// Its type.
        event_type: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Events that cannot be read, and were passed over.
    Unreadable(ReadError),
}

/// What came of checking a log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogCheck {
    /// Events that were checked with a schema.
    pub checked: u64,
    /// Events that are not what their schemas ask for.
    pub faulty: u64,
    /// Events whose type has no schema, by type. They count as faulty only where that was asked for.
    pub without_schema: BTreeMap<String, u64>,
    /// Events whose payload was taken out.
    pub redacted: u64,
    /// Events whose payload is encrypted.
    pub encrypted: u64,
    /// Events that stand for lost ones, where the store was repaired.
    pub lost: u64,
    /// Regions that cannot be read.
    pub unreadable: u64,
    /// The last position that was looked at.
    pub head: Position,
}

impl LogCheck {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.faulty == 0 && self.unreadable == 0
    }

    fn add(&mut self, part: LogCheck) {
        self.checked += part.checked;
        self.faulty += part.faulty;
        self.redacted += part.redacted;
        self.encrypted += part.encrypted;
        self.lost += part.lost;
        self.unreadable += part.unreadable;
        for (event_type, count) in part.without_schema {
            *self.without_schema.entry(event_type).or_default() += count;
        }
    }
}

/// Checks every event of a log with the schema of its type and version, those that were appended before it was registered, too.
///
/// `found` is given what is wrong, in the order of the log, and says whether to go on; `progress` how many
/// positions are done, and of how many. With `strict`, events whose type has no schema are findings, as
/// [`SchemaMode::Enforce`](crate::SchemaMode::Enforce) would have it. Not looked at, and counted, are events whose payload was
/// redacted or encrypted, and those that stand for lost ones; nor are those of the store's own streams. It works on as many threads as there are cores.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_schema::{NewSchema, SchemaMode, Schemas, check_log};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", r#"{"amount": "42"}"#))?;
/// let schemas = Schemas::new(SchemaMode::Off);
/// schemas.register(&store, NewSchema::new("Paid", r#"{"properties": {"amount": {"type": "integer"}}}"#))?;
///
/// let mut findings = Vec::new();
/// let checked = check_log(&store, false, |_, _| {}, |finding| {
///     findings.push(finding);
///     true
/// })?;
/// assert_eq!((checked.checked, checked.faulty, findings.len()), (1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ReadError`] when the schemas cannot be read. Events that cannot be read are findings.
pub fn check_log(
    store: &EventStore,
    strict: bool,
    progress: impl Fn(u64, u64) + Sync,
    mut found: impl FnMut(Finding) -> bool,
) -> Result<LogCheck, ReadError> {
    let known = Known::load(store)?;
    let head = store.head();
    let start = store.oldest().before();
    let spans = (head.get() - start.get().min(head.get())).div_ceil(SPAN);
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(spans as usize);
    let mut all = LogCheck { head, ..LogCheck::default() };
    thread::scope(|scope| {
        let (send, parts) = sync_channel(2 * threads + 1);
        for _ in 0..threads {
            let (send, known, next, is_over): (SyncSender<_>, _, _, _) = (send.clone(), &known, &next, &is_over);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= spans || is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let after = start.plus(number * SPAN);
                    let until = after.plus(SPAN).min(head);
                    if send.send((number, check_span(store, known, after, until, strict))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let (mut waiting, mut told) = (BTreeMap::new(), 0);
        for (number, part) in &parts {
            waiting.insert(number, part);
            while let Some((counts, findings)) = waiting.remove(&told) {
                told += 1;
                all.add(counts);
                progress((told * SPAN).min(head.get() - start.get()), head.get() - start.get());
                if !findings.into_iter().all(&mut found) {
                    is_over.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
    });
    Ok(all)
}

fn check_span(
    store: &EventStore,
    known: &Known,
    after: Position,
    until: Position,
    strict: bool,
) -> (LogCheck, Vec<Finding>) {
    let (mut counts, mut findings) = (LogCheck::default(), Vec::new());
    // What retention removes meanwhile is no event of the log any more, and no finding.
    let mut reader = store.read_all(after).until(until).skip_damaged().allow_truncated();
    loop {
        match reader.next_event() {
            Ok(None) => return (counts, findings),
            Ok(Some(event)) => {
                if let Some(fault) = check_event(known, &event, strict, &mut counts) {
                    counts.faulty += 1;
                    let (stream, event_type) = (event.stream.to_owned(), event.event_type.to_owned());
                    findings.push(Finding::Event { position: event.position, stream, event_type, fault });
                }
            }
            Err(error) => {
                let goes_on = matches!(error, ReadError::Corrupt(_));
                counts.unreadable += 1;
                findings.push(Finding::Unreadable(error));
                if !goes_on {
                    return (counts, findings);
                }
            }
        }
    }
}

fn check_event(known: &Known, event: &Event<'_>, strict: bool, counts: &mut LogCheck) -> Option<Fault> {
    if is_filler(event) {
        counts.lost += 1;
        return None;
    }
    if event.stream.starts_with('$') {
        return None;
    }
    if event.redacted {
        counts.redacted += 1;
        return None;
    }
    if event.content_type == ContentType::ENCRYPTED {
        counts.encrypted += 1;
        return None;
    }
    match known.check(event) {
        Err(fault @ Fault::UnknownType { .. }) => {
            match counts.without_schema.get_mut(event.event_type) {
                Some(count) => *count += 1,
                None => drop(counts.without_schema.insert(event.event_type.to_owned(), 1)),
            }
            strict.then_some(fault)
        }
        checked => {
            counts.checked += 1;
            checked.err()
        }
    }
}

#[cfg(test)]
mod tests {
    use annals::{ExpectedVersion, Guard, NewEvent, Options};

    use super::*;

    #[test]
    fn what_retention_removes_while_a_log_is_checked_is_no_finding() {
        let options = Options::new().background(false).segment_bytes(64 << 10);
        let store = EventStore::in_memory(&options).unwrap();
        for _ in 0..20 {
            store.append("a", ExpectedVersion::Any, NewEvent::new("Noise", vec![b' '; 9_000])).unwrap();
        }
        let (known, head) = (Known::load(&store).unwrap(), store.head());
        store.truncate_before(head, Guard::Consumers).unwrap();
        assert!(store.oldest().get() > 7, "{}", store.oldest());
        let (counts, findings) = check_span(&store, &known, Position::START, Position::new(7), false);
        assert!(findings.is_empty() && counts == LogCheck::default(), "{findings:?}, {counts:?}");
        let (counts, findings) = check_span(&store, &known, Position::START, head, false);
        let left = head.get() - store.oldest().get() + 1;
        assert_eq!((counts.without_schema["Noise"], findings.len()), (left, 0));
    }

    #[test]
    fn a_log_of_which_something_cannot_be_read_is_not_clean_though_all_that_can_be_is_as_it_should_be() {
        assert!(LogCheck { checked: 7, ..LogCheck::default() }.is_clean());
        assert!(!LogCheck { unreadable: 1, ..LogCheck::default() }.is_clean());
        assert!(!LogCheck { faulty: 1, ..LogCheck::default() }.is_clean());
    }
}
