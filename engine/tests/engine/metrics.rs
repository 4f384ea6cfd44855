//! What is measured: each thing by what it is for and by nothing else, told to everybody who asked, and nothing when nobody did.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::Durability::Buffered;
use annals::inspect::Verify;
use annals::storage::sim::{Fault, SimDisk};
use annals::{
    AppendCondition, AppendError, Counter, EventStore, ExpectedVersion, Guard, Measure, Metrics, NewEvent, OpenError,
    Options, Outcome, Position, QueryItem, Recorder, Stores, StreamVersion,
};

use crate::places::*;
use crate::support::{segment_path, snapshot};

use ExpectedVersion::{Any, NoStream};
use Measure::{Append, Checks, Encode, Follow, Get, Index, Queue, Read, Recovery, Seal, Sync, Write};

/// Writes down what it hears.
#[derive(Debug, Default)]
struct Heard {
    measured: Mutex<Vec<(Measure, Duration)>>,
    counted: Mutex<BTreeMap<&'static str, u64>>,
}

impl Recorder for Heard {
    fn record(&self, measure: Measure, took: Duration) {
        self.measured.lock().unwrap().push((measure, took));
    }

    fn count(&self, counter: Counter, more: u64) {
        *self.counted.lock().unwrap().entry(counter.metric()).or_default() += more;
    }
}

impl Heard {
    /// What was measured since this was asked last.
    fn measures(&self) -> Vec<Measure> {
        self.measured.lock().unwrap().drain(..).map(|(measure, _)| measure).collect()
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.counted.lock().unwrap().get(counter.metric()).copied().unwrap_or_default()
    }
}

fn open_with(disk: &SimDisk, options: &Options) -> EventStore {
    EventStore::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// A store that measures, whose measures are heard.
fn heard() -> (SimDisk, Arc<Heard>, EventStore) {
    let (disk, heard) = (SimDisk::new(5), Arc::new(Heard::default()));
    let store = open_with(&disk, &quiet().metrics(true).recorder(heard.clone()));
    (disk, heard, store)
}

fn metrics(store: &EventStore) -> Metrics {
    store.metrics().expect("it measures")
}

fn count(store: &EventStore, measure: Measure) -> u64 {
    metrics(store).distribution(measure).count()
}

/// What a durable append takes.
const APPEND: [Measure; 6] = [Queue, Checks, Encode, Write, Sync, Append];

#[test]
fn each_measure_is_taken_by_the_act_that_it_is_for_and_by_no_other() {
    let (disk, heard, store) = heard();
    assert_eq!(heard.measures(), [Recovery]);
    let id = "01234567-89ab-cdef-0011-223344556677".parse().unwrap();
    store.append("a", Any, event("A").id(id)).unwrap();
    assert_eq!(heard.measures(), APPEND);
    store.append_batch("a", Any, [event("B"), event("C")]).unwrap();
    assert_eq!(heard.measures(), APPEND, "a batch is one append");
    store.append("a", NoStream, event("A")).unwrap_err();
    assert_eq!(heard.measures(), [Queue, Checks, Append], "nothing was written");
    assert_eq!(store.append("a", Any, event("A").id(id)).unwrap().outcome, Outcome::Duplicate);
    assert_eq!(heard.measures(), [Queue, Checks, Append], "nothing was written here either");
    store.flush().unwrap();
    assert_eq!(heard.measures(), [], "everything was durable");

    let mut reader = store.read_all(Position::START);
    assert_eq!(heard.measures(), [], "nothing was read");
    reader.next_event().unwrap().unwrap();
    assert_eq!(heard.measures(), [Read]);
    assert_eq!(reader.count(), 2);
    assert_eq!(heard.measures(), [], "only the first of a reader's events is measured");
    assert_eq!(store.read_stream("nobody", StreamVersion::EMPTY).unwrap().count(), 0);
    assert_eq!(store.read(QueryItem::new().event_type("B"), Position::START).unwrap().count(), 1);
    assert_eq!(heard.measures(), [Read, Read]);
    store.get(pos(2)).unwrap().unwrap();
    store.get_event(id).unwrap().unwrap();
    assert_eq!(store.get(pos(9)).unwrap(), None);
    assert_eq!(heard.measures(), [Get, Get, Get]);

    let verify = Verify::new().threads(1);
    verify.run_on(&disk, |_, _| ()).unwrap();
    let _ = (store.stats(), store.metrics(), store.prometheus(), store.head(), store.streams("").unwrap());
    assert_eq!(heard.measures(), [], "this is nobody's measure");
    verify.recorder(store.recorder().unwrap()).run_on(&disk, |_, _| ()).unwrap();
    assert_eq!(heard.measures(), [Measure::Verify]);
    store.close().unwrap();
    assert_eq!(heard.measures(), []);
}

#[test]
fn a_roll_is_measured_as_a_seal_with_its_sync_and_an_index() {
    let (_disk, heard, store) = heard();
    let large = || NewEvent::new("Large", vec![7; 40_000]);
    store.append("a", Any, large()).unwrap();
    heard.measures();
    store.append("a", Any, large()).unwrap();
    assert_eq!(heard.measures(), [Queue, Sync, Seal, Index, Checks, Encode, Write, Sync, Append]);
}

#[test]
fn callers_that_wait_together_are_measured_each_and_their_group_once() {
    let (_disk, heard, store) = heard();
    heard.measures();
    let tickets: Vec<_> = (0..3).map(|_| store.batch().event("a", event("A")).submit().unwrap()).collect();
    assert_eq!(heard.measures(), []);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(heard.measures(), [Queue, Queue, Queue, Checks, Encode, Write, Sync, Append, Append, Append]);
}

#[test]
fn time_goes_to_the_stage_in_which_it_passes() {
    const HELD: Duration = Duration::from_millis(60);
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet().metrics(true));
    store.append("a", Any, event("A")).unwrap();
    let door = hold.close();
    std::thread::scope(|threads| {
        threads.spawn(|| store.append("a", Any, event("Leader")).unwrap());
        hold.wait_for_visitor();
        let tickets: Vec<_> = (0..2).map(|_| store.batch().event("a", event("Ticket")).submit().unwrap()).collect();
        assert_eq!(store.stats().queue_depth, 2);
        std::thread::sleep(HELD);
        drop(door);
        for ticket in tickets {
            ticket.wait().unwrap();
        }
    });
    assert_eq!(store.stats().queue_depth, 0);
    let metrics = metrics(&store);
    let longest = |measure| metrics.distribution(measure).max();
    assert!(longest(Sync) >= HELD, "the leader's sync was held up: {:?}", longest(Sync));
    assert!(longest(Queue) >= HELD, "those behind it waited: {:?}", longest(Queue));
    assert!(longest(Append) >= longest(Queue).max(longest(Sync)));
    for other in [Checks, Encode, Write] {
        assert!(longest(other) < HELD, "{other:?} was not: {:?}", longest(other));
    }
    // Two of four waited.
    let queue = metrics.distribution(Queue);
    assert_eq!(queue.count(), 4);
    assert!(queue.quantile(0.5).unwrap() < HELD && queue.quantile(0.75).unwrap() >= HELD);
}

#[test]
fn of_appends_without_a_sync_about_one_in_64_is_measured_and_every_conflict_is_counted() {
    const MANY: u64 = 16_000;
    let heard = Arc::new(Heard::default());
    let options = quiet().segment_bytes(16 << 20).durability(Buffered).metrics(true).recorder(heard.clone());
    let store = open_with(&SimDisk::new(1), &options);
    for number in 0..MANY {
        store.append("a", Any, numbered(number)).unwrap();
        store.append("a", NoStream, numbered(number)).unwrap_err();
    }
    let appends = count(&store, Append);
    assert!((MANY / 32 - MANY / 160..=MANY / 32 + MANY / 160).contains(&appends), "{appends} of {}", 2 * MANY);
    assert_eq!((count(&store, Queue), count(&store, Checks)), (appends, appends));
    let written = count(&store, Write);
    assert!(written < appends && written == count(&store, Encode), "{written}");
    assert_eq!(count(&store, Sync), 0);
    assert_eq!(metrics(&store).counter(Counter::Conflicts), MANY);
    // One that wants to be durable always is.
    store.batch().event("a", event("A")).durability(annals::Durability::Sync).commit().unwrap();
    assert_eq!((count(&store, Append), count(&store, Sync)), (appends + 1, 1));
    store.append("a", Any, event("A")).unwrap();
    store.flush().unwrap();
    assert_eq!(count(&store, Sync), 2, "a flush is a sync");
}

#[test]
fn conflicts_of_every_kind_and_duplicates_are_counted_and_nothing_else_is() {
    let (_disk, heard, store) = heard();
    let keyed = || store.batch().event("a", event("A")).idempotency_key("req-1").tracking("bank", 7).commit();
    assert_eq!(keyed().unwrap().outcome, Outcome::Appended);
    let counted = || (heard.counted(Counter::Conflicts), heard.counted(Counter::Duplicates));
    assert_eq!(counted(), (0, 0));
    assert_eq!(keyed().unwrap().outcome, Outcome::Duplicate);
    assert_eq!(counted(), (0, 1));

    let refused = store.append("a", NoStream, event("A")).unwrap_err();
    assert!(matches!(refused, AppendError::ConcurrencyConflict { .. }), "{refused:?}");
    assert_eq!(counted(), (1, 1));
    let refused = store.batch().event("a", event("A")).tracking("bank", 7).commit().unwrap_err();
    assert!(matches!(refused, AppendError::TrackingConflict { .. }), "{refused:?}");
    assert_eq!(counted(), (2, 1));
    let condition = AppendCondition::fail_if_match(QueryItem::new().event_type("A"));
    let refused = store.batch().event("a", event("A")).condition(condition).commit().unwrap_err();
    assert!(matches!(refused, AppendError::ConditionFailed { .. }), "{refused:?}");
    assert_eq!(counted(), (3, 1));

    // Nobody was faster here.
    store.append("", Any, event("A")).unwrap_err();
    store.batch().commit().unwrap_err();
    let reused = store.batch().event("b", event("B")).idempotency_key("req-1").commit().unwrap_err();
    assert!(matches!(reused, AppendError::IdempotencyKeyReused { .. }), "{reused:?}");
    assert_eq!(counted(), (3, 1));
    for &counter in Counter::ALL {
        assert_eq!(metrics(&store).counter(counter), heard.counted(counter), "{counter:?}");
    }
}

#[test]
fn a_recovery_is_counted_when_there_was_something_to_put_right() {
    let (disk, _, store) = heard();
    store.append("a", Any, event("A")).unwrap();
    assert_eq!(metrics(&store).counter(Counter::Recoveries), 0);
    drop(store);
    let path = segment_path(&disk, 0);
    let mut bytes = disk.read_file(&path).unwrap();
    bytes.extend([9; 24]);
    disk.write_file(&path, &bytes);
    let store = open_with(&disk, &quiet().metrics(true));
    assert!(!store.recovery_report().is_clean());
    assert_eq!((metrics(&store).counter(Counter::Recoveries), count(&store, Recovery)), (1, 1));
}

#[test]
fn damage_is_counted_when_a_reader_an_append_an_opening_or_a_verification_meets_it() {
    let (disk, _, store) = heard();
    let options = || quiet().metrics(true);
    let id = "01234567-89ab-cdef-0011-223344556677".parse().unwrap();
    let large = || NewEvent::new("Large", vec![7; 40_000]);
    for event in [large().id(id), large(), large()] {
        store.append("a", Any, event).unwrap();
    }
    drop(store);
    // A payload in a sealed segment.
    disk.flip(&segment_path(&disk, 0), 8 * 10_000);
    let heard = Arc::new(Heard::default());
    let store = open_with(&disk, &options().recorder(heard.clone()));
    let corruptions = || heard.counted(Counter::Corruptions);
    assert_eq!(corruptions(), 0);
    assert_eq!(store.read_all(Position::START).filter(Result::is_err).count(), 1);
    assert_eq!(corruptions(), 1);
    assert_eq!(store.read_all(Position::START).skip_damaged().filter(Result::is_err).count(), 1);
    assert_eq!(corruptions(), 2);
    store.get(pos(1)).unwrap_err();
    assert_eq!(corruptions(), 3);
    let refused = store.append("a", Any, large().id(id)).unwrap_err();
    assert!(matches!(refused, AppendError::Unreadable { .. }), "{refused:?}");
    assert_eq!(corruptions(), 4);
    let mut subscription = store.subscribe(Position::START, annals::Query::All).unwrap().skip_damaged();
    subscription.try_next().unwrap_err();
    while subscription.try_next().unwrap().is_some() {}
    assert_eq!(corruptions(), 5);
    let verify = Verify::new().threads(1).recorder(store.recorder().unwrap());
    let report = verify.run_on(&disk, |_, _| ()).unwrap();
    assert!(!report.is_clean());
    assert_eq!(corruptions(), 5 + report.findings.len() as u64);
    assert_eq!(metrics(&store).counter(Counter::Corruptions), corruptions());
    drop(store);

    // The header of the last segment: opening ends there.
    disk.flip(&segment_path(&disk, 2), 8 * 20);
    let heard = Arc::new(Heard::default());
    let refused = EventStore::open_on(Arc::new(disk.clone()), &options().recorder(heard.clone()));
    assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
    assert_eq!((heard.counted(Counter::Corruptions), heard.measures()), (1, vec![]));
}

/// Panics in the threads that work beside the writer.
#[derive(Debug)]
struct Panicking;

impl Recorder for Panicking {
    fn record(&self, _: Measure, _: Duration) {
        assert!(std::thread::current().name() != Some("annals"), "it was told to panic");
    }
}

#[test]
fn a_recorder_that_panics_where_buffered_events_are_synced_poisons_and_they_are_not_just_left_so() {
    let options = Options::new().flush_interval(Some(Duration::from_millis(20))).recorder(Arc::new(Panicking));
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &options.durability(Buffered)).unwrap();
    store.append("a", Any, event("A")).unwrap();
    let began = std::time::Instant::now();
    let error = loop {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody has told that nothing is synced");
        std::thread::sleep(Duration::from_millis(200));
        if let Err(error) = store.append("a", Any, event("A")) {
            break error;
        }
    };
    assert!(matches!(error, AppendError::Poisoned { .. }), "{error}");
}

#[test]
fn a_watermark_that_cannot_be_written_is_counted() {
    let (disk, heard, store) = heard();
    store.append("a", Any, event("A")).unwrap();
    // Behind the write and the sync of the segment.
    disk.fail_at(disk.operations() + 2, Fault::Eio);
    store.append("a", Any, event("A")).unwrap();
    assert_eq!(disk.faults_met().len(), 1, "{:?}", disk.faults_met());
    assert_eq!((store.stats().watermark_errors, heard.counted(Counter::WatermarkErrors)), (1, 1));
    assert_eq!(metrics(&store).counter(Counter::WatermarkErrors), 1);
}

#[test]
fn a_mapping_is_pinned_from_when_its_segment_goes_until_the_last_event_of_it_is_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..4 {
        store.append("a", Any, NewEvent::new("Large", vec![7; 40_000])).unwrap();
    }
    let pinned = || store.stats().pinned_mappings;
    let (first, second) = (store.get(pos(1)).unwrap().unwrap(), store.get(pos(2)).unwrap().unwrap());
    let again = first.clone();
    assert_eq!(pinned(), 0, "they are of the log");
    store.truncate_before(pos(3), Guard::Force).unwrap();
    assert_eq!(store.oldest(), pos(3));
    assert_eq!(pinned(), 2);
    drop(first);
    assert_eq!(pinned(), 2, "a copy of it is still there");
    drop(again);
    assert_eq!(pinned(), 1);
    drop(second);
    assert_eq!(pinned(), 0);

    let reader = store.read_all(Position::START);
    store.truncate_before(pos(4), Guard::Force).unwrap();
    assert_eq!(pinned(), 1, "a reader reads on as the log was");
    drop(reader);
    assert_eq!(pinned(), 0);
}

#[test]
fn what_is_measured_stands_beside_how_the_store_stands() {
    let (_disk, _, store) = heard();
    for number in 0..5 {
        store.append("a", Any, numbered(number)).unwrap();
    }
    store.consumer("mailer").unwrap().checkpoint(pos(2)).unwrap();
    let stats = metrics(&store).stats;
    assert_eq!(stats, store.stats());
    assert_eq!((stats.head, stats.durable_head), (pos(5), pos(5)));
    assert_eq!(stats.consumers[0].lag, Some(3));
}

#[test]
fn a_store_that_was_not_asked_to_measures_nothing_and_still_tells_how_it_stands() {
    let store = open_with(&SimDisk::new(2), &quiet());
    store.append("a", Any, event("A")).unwrap();
    assert!(store.metrics().is_none() && store.recorder().is_none());
    let text = store.prometheus().to_string();
    let families = parse(&text);
    assert!(families.contains_key("annals_head_position") && families.contains_key("annals_queue_depth"), "{text}");
    assert!(!text.contains("_seconds") && !text.contains("_conflicts"), "{text}");
    // A recorder alone hears all, and nothing is kept.
    let heard = Arc::new(Heard::default());
    let store = open_with(&SimDisk::new(2), &quiet().recorder(heard.clone()));
    store.append("a", Any, event("A")).unwrap();
    assert_eq!(heard.measures(), [&[Recovery][..], &APPEND].concat());
    assert!(store.metrics().is_none());
}

/// A reader of what is on this disk, which measures, and whose measures are heard.
fn reader_of(disk: &SimDisk) -> (Arc<Heard>, EventStore) {
    let heard = Arc::new(Heard::default());
    let options = Options::new().metrics(true).recorder(heard.clone());
    (heard, EventStore::open_read_only_with_on(Arc::new(disk.clone()), &options).unwrap())
}

#[test]
fn a_reader_measures_its_opening_how_it_follows_and_its_reads_and_its_writer_none_of_it() {
    let (disk, told, store) = heard();
    let id = "01234567-89ab-cdef-0011-223344556677".parse().unwrap();
    store.append("a", Any, event("A").id(id)).unwrap();
    let (heard, reader) = reader_of(&disk);
    assert_eq!(heard.measures(), [Recovery]);
    assert_eq!(reader.head(), pos(1));
    assert_eq!(heard.measures(), [], "there was nothing new");
    told.measures();
    store.append("a", Any, event("B")).unwrap();
    assert_eq!(heard.measures(), [], "nobody has looked");
    assert_eq!(reader.head(), pos(2));
    assert_eq!(heard.measures(), [Follow]);
    store.append("a", Any, event("C")).unwrap();
    assert_eq!(reader.read_all(Position::START).count(), 3);
    assert_eq!(heard.measures(), [Follow, Read]);
    assert_eq!(reader.read_stream("nobody", StreamVersion::EMPTY).unwrap().count(), 0);
    reader.get(pos(2)).unwrap().unwrap();
    reader.get_event(id).unwrap().unwrap();
    assert_eq!(heard.measures(), [Read, Get, Get]);
    let verify = Verify::new().threads(1).recorder(reader.recorder().unwrap());
    verify.run_on(&disk, |_, _| ()).unwrap();
    assert_eq!(heard.measures(), [Measure::Verify]);
    reader.append("a", Any, event("D")).unwrap_err();
    let _ = (reader.stats(), reader.metrics(), reader.prometheus());
    assert_eq!(heard.measures(), []);
    assert_eq!(told.measures(), [APPEND, APPEND].concat(), "what a reader does is not the writer's");
    let metrics = metrics(&reader);
    let counts = [Recovery, Follow, Read, Get, Append].map(|measure| metrics.distribution(measure).count());
    assert_eq!(counts, [1, 2, 2, 2, 0]);
    assert_eq!((metrics.stats.head, metrics.stats.durable_head, metrics.stats.segments.len()), (pos(3), pos(3), 1));
}

#[test]
fn a_reader_that_was_not_asked_to_measures_nothing_and_one_of_several_logs_each() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path().join("orders"), &quiet()).unwrap();
    store.append("a", Any, event("A")).unwrap();
    let without = EventStore::open_read_only(dir.path().join("orders")).unwrap();
    assert_eq!(without.read_all(Position::START).count(), 1);
    assert!(without.metrics().is_none() && without.recorder().is_none());
    assert!(!without.prometheus().to_string().contains("_seconds"));
    let without = Stores::open_read_only(dir.path()).store("orders").unwrap();
    assert!(without.metrics().is_none());
    let measures = Stores::open_read_only_with(dir.path(), &Options::new().metrics(true)).store("orders").unwrap();
    assert_eq!(measures.read_all(Position::START).count(), 1);
    assert_eq!(count(&measures, Read), 1);
    // Options that are of writing are not refused.
    let odd = Options::new().segment_bytes(1).create(false);
    EventStore::open_read_only_with(dir.path().join("orders"), &odd).unwrap();
    assert!(EventStore::open_read_only_with(dir.path().join("none"), &Options::new()).is_err(), "nor is a store made");
}

#[test]
fn the_time_of_a_reader_is_that_of_its_clock() {
    let (disk, _, _store) = heard();
    let clock = Arc::new(HandClock(AtomicI64::new(77)));
    let reader = EventStore::open_read_only_with_on(Arc::new(disk), &Options::new().clock(clock)).unwrap();
    assert_eq!(reader.now(), 77);
}

#[test]
fn the_text_of_a_reader_has_what_it_reads_and_leaves_out_what_only_a_writer_knows() {
    let (disk, _, store) = heard();
    for number in 0..5 {
        store.append("a", Any, numbered(number)).unwrap();
    }
    store.consumer("mailer").unwrap().checkpoint(pos(2)).unwrap();
    let (_, reader) = reader_of(&disk);
    assert_eq!(reader.read_all(Position::START).count(), 5);
    let text = reader.prometheus().to_string();
    let families = parse(&text);
    let kinds = |kind: &str| -> Vec<&str> {
        families.iter().filter(|(_, family)| family.kind == kind).map(|(name, _)| name.as_str()).collect()
    };
    let measured = [Follow, Get, Index, Read, Recovery, Measure::Verify].map(Measure::metric);
    assert_eq!(kinds("histogram"), measured);
    let counted = ["annals_appended_events_total", "annals_corruptions_total", "annals_writer_epochs_total"];
    assert_eq!(kinds("counter"), counted);
    assert!(!families.contains_key("annals_queue_depth"), "{text}");
    let one = |name: &str| families[name].samples[0].2;
    let stats = store.stats();
    for (name, value) in [
        ("annals_head_position", 5),
        ("annals_durable_head_position", 5),
        ("annals_segments", 1),
        ("annals_log_bytes", stats.bytes),
        ("annals_pinned_mappings", 0),
        ("annals_consumer_lag_events", 3),
    ] {
        assert!((one(name) - float(value)).abs() < 0.5, "{name} is {} and not {value}", one(name));
    }
}

#[test]
fn a_reader_counts_each_region_that_it_leaves_out_when_it_opens_and_when_it_follows() {
    let (disk, _, store) = heard();
    store.append("a", Any, event("A")).unwrap();
    let (follows, behind) = reader_of(&disk);
    let before = store.stats().bytes;
    store.append("a", Any, NewEvent::new("Large", vec![7; 10_000])).unwrap();
    store.append("a", Any, event("B")).unwrap();
    disk.flip(&segment_path(&disk, 0), 8 * (before + 5_000));
    assert_eq!((behind.head(), follows.counted(Counter::Corruptions)), (pos(3), 1));
    behind.get(pos(2)).unwrap_err();
    assert_eq!(follows.counted(Counter::Corruptions), 2);
    let (opens, opened) = reader_of(&disk);
    assert_eq!((opened.recovery_report().gaps.len(), opens.counted(Counter::Corruptions)), (1, 1));

    // The header of a segment that the store does not know of yet: opening ends there.
    let (disk, _, store) = self::heard();
    let meta = disk.read_file("store.meta").unwrap();
    for _ in 0..2 {
        store.append("a", Any, NewEvent::new("Large", vec![7; 40_000])).unwrap();
    }
    disk.write_file("store.meta", &meta);
    disk.flip(&segment_path(&disk, 1), 8 * 20);
    let heard = Arc::new(Heard::default());
    let options = Options::new().recorder(heard.clone());
    let refused = EventStore::open_read_only_with_on(Arc::new(disk), &options);
    assert!(matches!(refused, Err(OpenError::Corrupt(_))), "{refused:?}");
    assert_eq!((heard.counted(Counter::Corruptions), heard.measures()), (1, vec![]));
}

#[test]
fn a_mapping_that_a_reader_still_has_when_its_segment_is_removed_by_the_writer_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet()).unwrap();
    for _ in 0..4 {
        store.append("a", Any, NewEvent::new("Large", vec![7; 40_000])).unwrap();
    }
    let reader = EventStore::open_read_only(dir.path()).unwrap();
    let first = reader.get(pos(1)).unwrap().unwrap();
    assert_eq!(reader.stats().pinned_mappings, 0);
    store.truncate_before(pos(3), Guard::Force).unwrap();
    let stats = reader.stats();
    assert_eq!((stats.oldest, stats.pinned_mappings), (pos(3), 1), "of the second nobody has anything");
    assert_eq!(store.stats().pinned_mappings, 0, "the writer has none");
    drop(first);
    assert_eq!(reader.stats().pinned_mappings, 0);
}

#[test]
fn a_store_that_measures_does_the_same_as_one_that_does_not() {
    let story = |options: Options| {
        let disk = SimDisk::new(9);
        disk.record_journal();
        let store = open_with(&disk, &options.clock(Arc::new(HandClock::default())));
        for number in 0..40 {
            let durability = if number % 3 == 0 { Buffered } else { annals::Durability::Sync };
            let event = NewEvent::new("A", vec![7; 5_000]);
            store.batch().event(format!("s-{}", number % 4), event).durability(durability).commit().unwrap();
            let _ = store.append("s-0", NoStream, numbered(number));
            let _ = store.prometheus();
        }
        store.close().unwrap();
        (disk.journal(), snapshot(&disk))
    };
    let heard = Arc::new(Heard::default());
    let (with, without) = (story(quiet().metrics(true).recorder(heard.clone())), story(quiet()));
    assert!(heard.measures().len() > 200);
    let differs = |(with, without): (&String, &String)| with != without && !with.starts_with("read");
    let pairs = with.0.iter().zip(&without.0);
    assert_eq!(pairs.filter(|(with, without)| differs((with, without))).count(), 0);
    assert_eq!(with.0.len(), without.0.len());
    assert!(with.1 == without.1, "the files differ");
}

type Labels = Vec<(String, String)>;

/// A family of the text format: its kind, and its samples by name and labels.
#[derive(Debug)]
struct Family {
    kind: String,
    samples: Vec<(String, Labels, f64)>,
}

impl Family {
    fn of(&self, name: &str) -> Vec<(&str, f64)> {
        let samples = self.samples.iter().filter(|(sample, ..)| sample == name);
        samples.map(|(_, labels, value)| (labels.last().unwrap().1.as_str(), *value)).collect()
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    name.starts_with(is_letter) && name.chars().all(|letter| is_letter(letter) || letter.is_ascii_digit())
}

/// The labels between the braces, and what comes behind these.
fn parse_labels(mut rest: &str) -> (Labels, &str) {
    let mut labels = Vec::new();
    loop {
        let (name, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("a label: {rest}"));
        assert!(is_name(name), "{name}");
        let (mut value, mut letters) = (String::new(), quoted.char_indices());
        let end = loop {
            match letters.next().expect("the value ends") {
                (at, '"') => break at,
                (_, '\\') => match letters.next().unwrap().1 {
                    'n' => value.push('\n'),
                    letter @ ('\\' | '"') => value.push(letter),
                    letter => panic!("\\{letter} is no escape"),
                },
                (_, letter) => value.push(letter),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &quoted[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (labels, rest.strip_prefix('}').expect("the labels end")),
        }
    }
}

/// Reads the text format as strictly as it is written down, and checks what it promises.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut name, mut helped) = (String::new(), None);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = Some(help.split_once(' ').expect("a text").0.to_owned());
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (family, kind) = typed.split_once(' ').unwrap();
            assert!(is_name(family) && ["gauge", "counter", "histogram"].contains(&kind), "{line}");
            assert_eq!(helped.take().as_deref(), Some(family), "its help stands before it");
            let new = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(family.to_owned(), new).is_none(), "{family} comes twice");
            family.clone_into(&mut name);
        } else {
            let (sample, rest) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
            let (labels, value) = parse_labels(rest);
            let value: f64 = value.strip_prefix(' ').unwrap().parse().unwrap();
            let family = families.get_mut(&name).expect("a sample is of a family");
            let suffix = sample.strip_prefix(&*name).unwrap_or_else(|| panic!("{sample} in {name}"));
            let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            assert_eq!(family.kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(labels[0].0, "log", "{line}");
            assert!(family.samples.iter().all(|known| (&*known.0, &known.1) != (sample, &labels)), "twice: {line}");
            family.samples.push((sample.to_owned(), labels, value));
        }
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty(), "{name}");
        if family.kind == "histogram" {
            let buckets = family.of(&format!("{name}_bucket"));
            let bound = |le: &str| if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
            let is_in_order = |pair: &[(&str, f64)]| bound(pair[0].0) < bound(pair[1].0) && pair[0].1 <= pair[1].1;
            assert!(buckets.windows(2).all(is_in_order), "{buckets:?}");
            let (last, all) = (buckets.last().unwrap(), family.of(&format!("{name}_count"))[0].1);
            assert_eq!((last.0, last.1.to_bits()), ("+Inf", all.to_bits()), "{name}");
            assert_eq!(family.of(&format!("{name}_sum")).len(), 1, "{name}");
        }
    }
    families
}

/// A number that is small here.
#[allow(clippy::cast_precision_loss, reason = "it is small")]
fn float(number: u64) -> f64 {
    number as f64
}

#[test]
fn the_text_for_prometheus_is_well_formed_and_has_every_number() {
    let (_disk, _, store) = heard();
    for number in 0..20 {
        store.append("a", Any, numbered(number)).unwrap();
        let _ = store.append("a", NoStream, numbered(number));
    }
    store.consumer("mailer").unwrap().checkpoint(pos(17)).unwrap();
    let text = store.prometheus().to_string();
    let families = parse(&text);
    let metrics = metrics(&store);
    let one = |name: &str| families[name].samples[0].2;
    for &measure in Measure::ALL.iter().filter(|&&measure| measure != Follow) {
        let (name, distribution) = (measure.metric(), metrics.distribution(measure));
        let family = &families[name];
        assert_eq!(family.kind, "histogram");
        let near = |a: f64, b: f64| (a - b).abs() <= f64::EPSILON * a.max(b);
        assert!(near(family.of(&format!("{name}_sum"))[0].1, distribution.sum().as_secs_f64()), "{name}");
        assert!(near(family.of(&format!("{name}_count"))[0].1, float(distribution.count())), "{name}");
        let bounds = family.of(&format!("{name}_bucket"));
        assert_eq!(bounds.first().unwrap().0, "0.000000256");
    }
    for &counter in Counter::ALL {
        assert!((one(counter.metric()) - float(metrics.counter(counter))).abs() < 0.5, "{counter:?}");
    }
    let stats = &metrics.stats;
    for (name, value) in [
        ("annals_head_position", stats.head.get()),
        ("annals_durable_head_position", stats.durable_head.get()),
        ("annals_segments", stats.segments.len() as u64),
        ("annals_log_bytes", stats.bytes),
        ("annals_pinned_mappings", 0),
        ("annals_queue_depth", 0),
        ("annals_consumer_lag_events", 3),
    ] {
        assert!((one(name) - float(value)).abs() < 0.5, "{name} is {} and not {value}", one(name));
    }
    assert_eq!(families["annals_consumer_lag_events"].samples[0].1[1], ("consumer".to_owned(), "mailer".to_owned()));
    let log = store.log_id().to_string();
    assert!(families.values().flat_map(|family| &family.samples).all(|(_, labels, _)| labels[0].1 == log));
}

#[test]
fn the_value_of_a_label_may_be_anything_and_what_has_none_is_left_out() {
    let store = open_with(&SimDisk::new(2), &quiet());
    let mut text = annals::prometheus::Text::new(store.log_id());
    let odd = "a \"quoted\" \\ path,\nand=more} 7";
    text.gauges("things", "Things, \\ and\nmore.", "thing", [(odd, Some(1)), ("none", None), ("", Some(u64::MAX))]);
    text.gauges("nothing", "Nothing.", "thing", [("none", None)]);
    text.gauge("unknown", "Nobody knows.", None);
    let families = parse(&text.to_string());
    assert_eq!(families.keys().collect::<Vec<_>>(), ["annals_things"]);
    let values = families["annals_things"].of("annals_things");
    assert_eq!(values.iter().map(|(value, _)| *value).collect::<Vec<_>>(), [odd, ""]);
}

#[test]
fn one_scrape_is_answered_for_several_stores_and_what_has_one_name_stands_together() {
    let stores = [1, 2].map(|seed| open_with(&SimDisk::new(seed), &quiet().metrics(seed == 2)));
    stores[0].append("a", Any, event("A")).unwrap();
    let [mut text, other] = [0, 1].map(|number: usize| stores[number].prometheus());
    text.extend(other);
    let families = parse(&text.to_string());
    let heads = &families["annals_head_position"].samples;
    assert!(heads.len() == 2 && heads[0].2 > 0.5 && heads[1].2 < 0.5, "{heads:?}");
    assert_eq!(heads[1].1[0].1, stores[1].log_id().to_string());
    assert_eq!(families["annals_sync_seconds"].of("annals_sync_seconds_count").len(), 1, "the other does not measure");
}

/// The spans of this thread, by their names, as they are opened.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<&'static str>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() == tracing::Level::DEBUG
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut spans = self.0.lock().unwrap();
        spans.push(span.metadata().name());
        tracing::span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn opening_recovering_sealing_and_indexing_are_spans_and_an_append_is_none() {
    let spans = Spans::default();
    let opened = || std::mem::take(&mut *spans.0.lock().unwrap());
    tracing::subscriber::with_default(spans.clone(), || {
        let disk = SimDisk::new(3);
        let store = open_with(&disk, &quiet());
        assert_eq!(opened(), ["open", "recover"]);
        let large = || NewEvent::new("Large", vec![7; 40_000]);
        store.append("a", Any, large()).unwrap();
        assert_eq!(store.read_all(Position::START).count(), 1);
        assert_eq!(opened(), [""; 0]);
        store.append("a", Any, large()).unwrap();
        assert_eq!(opened(), ["seal", "index"]);
        drop(EventStore::open_read_only_on(Arc::new(disk)).unwrap());
        assert_eq!(opened(), ["open"]);
    });
}

/// What the crate `metrics` is told, by name and labels.
#[derive(Debug, Default)]
struct Facade {
    described: Mutex<Vec<String>>,
    registered: Mutex<Vec<String>>,
    values: Mutex<BTreeMap<String, Arc<Values>>>,
}

#[derive(Debug, Default)]
struct Values(Mutex<Vec<f64>>);

impl metrics::HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl metrics::CounterFn for Values {
    fn increment(&self, value: u64) {
        self.0.lock().unwrap().push(float(value));
    }

    fn absolute(&self, _: u64) {
        unreachable!("nobody says so");
    }
}

impl Facade {
    fn register(&self, key: &metrics::Key) -> Arc<Values> {
        self.registered.lock().unwrap().push(key.to_string());
        let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::clone(self.values.lock().unwrap().entry(format!("{} {}", key.name(), labels.join(","))).or_default())
    }

    fn values(&self, of: &str) -> Vec<f64> {
        self.values.lock().unwrap()[of].0.lock().unwrap().clone()
    }
}

impl metrics::Recorder for Facade {
    fn describe_counter(&self, key: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }

    fn describe_gauge(&self, key: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {
        unreachable!("{key:?}");
    }

    fn describe_histogram(&self, key: metrics::KeyName, unit: Option<metrics::Unit>, _: metrics::SharedString) {
        assert_eq!(unit, Some(metrics::Unit::Seconds));
        self.described.lock().unwrap().push(key.as_str().to_owned());
    }

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.register(key))
    }

    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        unreachable!("{key:?}");
    }

    fn register_histogram(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.register(key))
    }
}

#[test]
fn the_crate_metrics_is_told_everything_under_names_that_are_looked_up_once() {
    let facade = Facade::default();
    let recorder = metrics::with_local_recorder(&facade, || annals::FacadeRecorder::new([("store", "orders")]));
    let names = Measure::ALL.len() + Counter::ALL.len();
    assert_eq!(facade.described.lock().unwrap().len(), names);
    let store = open_with(&SimDisk::new(2), &quiet().metrics(true).recorder(Arc::new(recorder)));
    for _ in 0..3 {
        store.append("a", Any, event("A")).unwrap();
    }
    store.append("a", NoStream, event("A")).unwrap_err();
    assert_eq!(facade.registered.lock().unwrap().len(), names, "not once more for an append");
    let appends = facade.values("annals_append_seconds store=orders");
    assert_eq!(appends.len(), 4);
    let longest = metrics(&store).distribution(Append).max().as_secs_f64();
    assert!(appends.iter().all(|seconds| *seconds > 0.0 && *seconds <= longest), "{appends:?}, {longest}");
    assert_eq!(facade.values("annals_sync_seconds store=orders").len(), 3);
    assert_eq!(facade.values("annals_conflicts_total store=orders"), [1.0]);
    assert_eq!(facade.values("annals_duplicates_total store=orders"), [0.0; 0]);
}

#[test]
fn what_happens_several_times_at_once_is_counted_so_often_by_everybody() {
    let facade = Facade::default();
    let recorder = metrics::with_local_recorder(&facade, || annals::FacadeRecorder::new([("store", "orders")]));
    let store = open_with(&SimDisk::new(2), &quiet().metrics(true).recorder(Arc::new(recorder)));
    store.recorder().unwrap().count(Counter::Corruptions, 3);
    store.recorder().unwrap().count(Counter::Corruptions, 4);
    assert_eq!(metrics(&store).counter(Counter::Corruptions), 7);
    assert_eq!(facade.values("annals_corruptions_total store=orders"), [3.0, 4.0]);
}

#[test]
fn each_gauge_of_the_text_is_what_it_is_called() {
    let disk = SimDisk::new(2);
    let store = open_with(&disk, &quiet());
    for number in 0..5 {
        store.append("a", Any, NewEvent::new("Large", vec![number; 40_000])).unwrap();
    }
    store.truncate_before(pos(3), Guard::Force).unwrap();
    store.batch().event("a", event("Late")).durability(Buffered).commit().unwrap();
    for name in ["mailer", "torn"] {
        store.consumer(name).unwrap().checkpoint(pos(4)).unwrap();
    }
    let len = disk.read_file("consumers/torn").unwrap().len();
    disk.write_file("consumers/torn", &vec![0x55; len]);
    let stats = store.stats();
    let sealed = stats.segments.iter().filter(|segment| segment.sealed).count() as u64;
    assert!(stats.segments.len() as u64 > sealed && sealed > 0);
    let families = parse(&store.prometheus().to_string());
    for (name, value) in [
        ("annals_head_position", 6),
        ("annals_durable_head_position", 5),
        ("annals_oldest_position", 3),
        ("annals_events", 4),
        ("annals_appended_events_total", 6),
        ("annals_segments", stats.segments.len() as u64),
        ("annals_sealed_segments", sealed),
        ("annals_consumer_position", 4),
        ("annals_consumer_lag_events", 2),
    ] {
        let found = families[name].samples[0].2;
        assert!((found - float(value)).abs() < 0.5, "{name} is {found} and not {value}");
    }
    let unusable = families["annals_consumer_unusable"].of("annals_consumer_unusable");
    let unusable: Vec<_> = unusable.iter().map(|(name, value)| (*name, *value > 0.5)).collect();
    assert_eq!(unusable, [("mailer", false), ("torn", true)]);
    assert_eq!(families["annals_consumer_lag_events"].samples.len(), 1, "of the other it is not known");
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_maps_segments_unless_it_is_told_not_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &quiet().pread(true)).unwrap();
    store.append("a", Any, event("A")).unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains(dir.path().to_str().unwrap());
    for pread in [true, false] {
        let reader = EventStore::open_read_only_with(dir.path(), &Options::new().pread(pread)).unwrap();
        assert_eq!(reader.read_all(Position::START).count(), 1);
        assert_eq!(mapped(), !pread);
    }
}
