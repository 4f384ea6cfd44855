//! Rolling by day: a segment holds events of one day, in UTC, by the time of recording.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals::storage::sim::SimDisk;
use annals::{
    AppendError, Clock, EventStore, ExpectedVersion, Guard, NewEvent, Options, Position, QueryItem, Retention, Roll,
};

use crate::support::watched::{Asked, Watched};

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

/// A clock that somebody sets, and that goes on a little at each look.
#[derive(Debug, Default)]
struct Set {
    now: AtomicI64,
    step: AtomicI64,
}

impl Clock for Set {
    fn now(&self) -> i64 {
        self.now.fetch_add(self.step.load(Ordering::Relaxed), Ordering::Relaxed)
    }
}

impl Set {
    fn at(&self, time: i64) {
        self.now.store(time, Ordering::Relaxed);
    }
}

fn options(clock: &Arc<Set>) -> Options {
    let options = Options::new().background(false).flush_interval(None).zero_ahead(0).segment_bytes(64 << 10);
    options.roll(Roll::Daily).clock(Arc::clone(clock) as Arc<dyn Clock>)
}

fn append(store: &EventStore, len: usize) {
    store.append("a", ExpectedVersion::Any, NewEvent::new("A", vec![0; len])).unwrap();
}

/// The days of the events of each segment.
fn days(store: &EventStore) -> Vec<Vec<i64>> {
    let events: Vec<_> = store.read_all(Position::START).allow_truncated().map(Result::unwrap).collect();
    let segments = store.stats().segments;
    let of = |segment: &annals::SegmentStats| {
        let is_in =
            |event: &&annals::RecordedEvent| segment.base < event.position() && event.position() <= segment.last;
        let days: BTreeSet<i64> =
            events.iter().filter(is_in).map(|event| event.as_event().recorded_at.div_euclid(DAY)).collect();
        days.into_iter().collect()
    };
    segments.iter().map(of).collect()
}

#[test]
fn no_segment_holds_events_of_two_days_and_a_busy_day_has_several() {
    let clock = Arc::new(Set::default());
    let store = EventStore::in_memory(&options(&clock)).unwrap();
    for time in [20_000 * DAY, 20_000 * DAY + 23 * HOUR, 20_001 * DAY - 1, 20_001 * DAY, 20_005 * DAY + HOUR] {
        clock.at(time);
        append(&store, 10);
    }
    for _ in 0..10 {
        append(&store, 9_000);
    }
    assert_eq!(days(&store), [vec![20_000], vec![20_001], vec![20_005], vec![20_005]]);
}

#[test]
fn days_before_1970_are_days_too() {
    let clock = Arc::new(Set::default());
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk), &options(&clock)).unwrap();
    // A store's time begins in 1970: an earlier clock stands still there.
    clock.at(-1);
    append(&store, 1);
    clock.at(1);
    append(&store, 1);
    assert_eq!(store.stats().segments.len(), 1);
}

#[test]
fn a_clock_that_jumps_back_moves_no_event_into_a_day_that_is_over() {
    let clock = Arc::new(Set::default());
    let disk = SimDisk::new(1);
    let store = EventStore::open_on(Arc::new(disk.clone()), &options(&clock)).unwrap();
    for day in [3, 4, 2, 3, 4] {
        clock.at(day * DAY + HOUR);
        append(&store, 10);
    }
    assert_eq!(days(&store), [vec![3], vec![4]]);
    drop(store);
    clock.at(DAY);
    let store = EventStore::open_on(Arc::new(disk), &options(&clock)).unwrap();
    append(&store, 10);
    assert_eq!(days(&store), [vec![3], vec![4]]);
    clock.at(5 * DAY);
    append(&store, 10);
    assert_eq!(days(&store), [vec![3], vec![4], vec![5]], "also after a reopening");
}

#[test]
fn a_late_occurred_at_moves_nothing() {
    let clock = Arc::new(Set::default());
    let store = EventStore::in_memory(&options(&clock)).unwrap();
    clock.at(10 * DAY);
    for occurred_at in [0, 9 * DAY, 11 * DAY] {
        store.append("a", ExpectedVersion::Any, NewEvent::new("A", "").occurred_at(occurred_at)).unwrap();
    }
    assert_eq!(days(&store), [vec![10]]);
}

#[test]
fn midnight_in_the_middle_of_a_group_or_of_a_commit_splits_no_segment_wrongly() {
    // The clock passes midnight at any look.
    for looks in 0..12 {
        let clock = Arc::new(Set::default());
        let store = EventStore::in_memory(&options(&clock)).unwrap();
        clock.step.store(1, Ordering::Relaxed);
        clock.at(7 * DAY - looks);
        for _ in 0..3 {
            let tickets: Vec<_> =
                (0..3).map(|_| store.batch().event("a", NewEvent::new("A", "")).submit().unwrap()).collect();
            let tracked = store.batch().tracking("shop", store.head().get() + 1).submit().unwrap();
            for ticket in tickets.into_iter().chain([tracked]) {
                ticket.wait().unwrap();
            }
        }
        assert!(days(&store).iter().all(|days| days.len() <= 1), "{looks} looks: {:?}", days(&store));
    }
}

#[test]
fn an_append_that_is_refused_begins_no_day() {
    let clock = Arc::new(Set::default());
    let store = EventStore::in_memory(&options(&clock)).unwrap();
    append(&store, 10);
    clock.at(2 * DAY);
    let refused = store.append("a", ExpectedVersion::NoStream, NewEvent::new("A", ""));
    assert!(matches!(refused, Err(AppendError::ConcurrencyConflict { .. })), "{refused:?}");
    assert_eq!(store.stats().segments.len(), 1);
}

#[test]
fn without_the_option_days_do_not_matter() {
    let clock = Arc::new(Set::default());
    let store = EventStore::in_memory(&options(&clock).roll(Roll::WhenFull)).unwrap();
    for day in 1..5 {
        clock.at(day * DAY);
        append(&store, 10);
    }
    assert_eq!(store.stats().segments.len(), 1);
}

#[test]
fn who_asks_for_a_day_opens_and_reads_the_files_of_that_day_alone() {
    let clock = Arc::new(Set::default());
    let disk = SimDisk::new(1);
    let watched = Watched::new(disk);
    let store = watched.open(&options(&clock).pread(true));
    for day in 1..=9 {
        for hour in 0..6 {
            clock.at(day * DAY + hour * HOUR);
            append(&store, 3_000);
        }
    }
    let path_of_day = |day: i64| store.stats().segments[usize::try_from(day).unwrap() - 1].path.clone();
    for day in 1..=8 {
        let (from, to) = (day * DAY, (day + 1) * DAY);
        let number = |path: &str| path.split_once('/').and_then(|(_, name)| name.get(..20)?.parse::<u64>().ok());
        // Where the newest segment begins in time only its first event tells. Nobody has to open it.
        let newest = number(&path_of_day(9)).unwrap();
        let ask = |wanted: &dyn Fn() -> usize| {
            watched.asked();
            assert_eq!(wanted(), 6, "day {day}");
            let touched = watched.asked().into_iter().map(|asked| match asked {
                Asked::Open(path) | Asked::Read(path, _) => path,
                Asked::Change(path) => panic!("{path} is changed"),
            });
            touched
                .filter_map(|path| number(&path))
                .filter(|touched| day < 8 || *touched != newest)
                .collect::<BTreeSet<u64>>()
        };
        let of_day = BTreeSet::from([number(&path_of_day(day)).unwrap()]);
        let all = ask(&|| store.read_all(Position::START).recorded_between(from, to).map(Result::unwrap).count());
        assert_eq!(all, of_day, "day {day}, going through it");
        let backward = ask(&|| store.read_all(Position::END).backward().recorded_between(from, to).count());
        assert_eq!(backward, of_day, "day {day}, backward");
        let query = || store.read(QueryItem::new().event_type("A"), Position::START).unwrap();
        assert_eq!(ask(&|| query().recorded_between(from, to).count()), of_day, "day {day}, by type");
    }
}

#[test]
fn days_are_removed_by_age_each_as_a_whole() {
    let clock = Arc::new(Set::default());
    let store = EventStore::in_memory(&options(&clock)).unwrap();
    for day in 1..=9 {
        clock.at(day * DAY + 5 * HOUR);
        append(&store, 10);
        append(&store, 10);
    }
    let three_days = Retention::new().age(std::time::Duration::from_secs(3 * 86_400));
    let done = store.truncate_to(&three_days, Guard::Consumers).unwrap();
    assert_eq!(days(&EventStore::clone(&store)).len(), 4);
    assert_eq!(
        (done.segments, done.events),
        (5, 10),
        "days 6 to 9 were recorded within three days of day 9, 5 o'clock"
    );
}
