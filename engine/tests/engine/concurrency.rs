//! Many threads at once: who waits for whom, who sees what, and that nobody hangs.
//!
//! Where a test needs two threads at a certain place, it holds one of them up
//! there (in a sync of [`HeldDisk`], or in its clock) instead of hoping.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use annals::storage::sim::{Fault, SimDisk};
use annals::{
    AppendError, Appended, Clock, Durability, EventStore, ExpectedVersion, NewEvent, Options, Position, StreamVersion,
    Ticket, inspect,
};

use crate::places::*;

use ExpectedVersion::{Any, Exact};

/// Adds one to the number that a stream's newest event holds, again and again until nobody was faster.
fn increment(store: &EventStore, stream: &str) -> u64 {
    let mut conflicts = 0;
    loop {
        let newest = store.read_stream(stream, StreamVersion::END).unwrap().backward().limit(1).next();
        let (version, number) = match newest {
            Some(event) => {
                let event = event.unwrap();
                (event.version(), number_of(&event))
            }
            None => (StreamVersion::EMPTY, 0),
        };
        match store.append(stream, Exact(version), numbered(number + 1)) {
            Ok(done) => {
                assert_eq!(done.version, version.plus(1));
                return conflicts;
            }
            Err(AppendError::ConcurrencyConflict { actual, .. }) => {
                assert!(actual > version, "a conflict although nobody was faster");
                conflicts += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_increment_is_lost_between_threads_that_race() {
    const THREADS: u64 = 8;
    const EACH: u64 = 25;
    let conflicts = AtomicU64::new(0);
    on_every_kind(|place| {
        let store = place.open(&Options::new().segment_bytes(64 << 10).zero_ahead(128 << 10));
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|threads| {
            for thread in 0..THREADS {
                let (store, conflicts, barrier) = (&store, &conflicts, &barrier);
                threads.spawn(move || {
                    barrier.wait();
                    for round in 0..EACH {
                        let stream = if (thread + round) % 2 == 0 { "even" } else { "odd" };
                        conflicts.fetch_add(increment(store, stream), Ordering::Relaxed);
                    }
                });
            }
        });
        let mut sum = 0;
        for stream in ["even", "odd"] {
            let numbers: Vec<u64> =
                store.read_stream(stream, StreamVersion::EMPTY).unwrap().map(|e| number_of(&e.unwrap())).collect();
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each saw the one before");
            sum += numbers.len() as u64;
        }
        assert_eq!(sum, THREADS * EACH);
    });
    assert!(conflicts.load(Ordering::Relaxed) > 0, "the threads never met: the test shows nothing");
}

/// A batch of `len` events, each telling how long the batch is and which of it it is.
fn batch_of(len: u64) -> impl Iterator<Item = NewEvent> {
    (0..len).map(move |which| NewEvent::new("Part", [len.to_le_bytes(), which.to_le_bytes()].concat()))
}

/// Reads the whole log and checks that it is a prefix of whole batches; returns its length.
fn check_prefix(store: &EventStore) -> u64 {
    let least = store.head().get();
    let reader = store.read_all(Position::START);
    let head = reader.head().get();
    assert!(head >= least, "the head went back from {least} to {head}");
    let mut left = 0;
    let mut position = 0;
    for event in reader {
        let event = event.unwrap();
        position += 1;
        assert_eq!(event.position().get(), position, "positions are dense");
        let data = event.data();
        let number = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
        if left == 0 {
            left = number(0);
            assert_eq!(number(8), 0, "a batch is seen from its beginning");
        }
        assert_eq!(number(8), number(0) - left, "position {position}");
        left -= 1;
    }
    assert_eq!(left, 0, "a part of a batch was seen");
    assert_eq!(position, head, "a short answer that looks like the end");
    head
}

#[test]
fn readers_beside_writers_see_whole_batches_of_a_prefix() {
    on_every_kind(|place| {
        let store = place.open(&Options::new().segment_bytes(64 << 10).zero_ahead(64 << 10));
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let readers: Vec<_> = (0..3)
                .map(|number| {
                    let (store, done) = (&store, &done);
                    // The last of them is what another process has.
                    let follower = (number == 2).then(|| place.try_read().unwrap());
                    threads.spawn(move || {
                        let mut seen = Vec::new();
                        while !done.load(Ordering::Relaxed) {
                            seen.push(check_prefix(follower.as_ref().unwrap_or(store)));
                            let stats = store.stats();
                            assert!(stats.durable_head <= stats.head);
                            assert!(stats.segments.iter().all(|segment| segment.last <= stats.head));
                        }
                        seen.push(check_prefix(follower.as_ref().unwrap_or(store)));
                        assert_eq!(seen.last(), Some(&store.head().get()), "all of it, in the end");
                        assert!(seen.is_sorted());
                        seen.dedup();
                        seen.len()
                    })
                })
                .collect();
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let store = &store;
                    threads.spawn(move || {
                        let mut rng = Rng::new(writer);
                        for _ in 0..60 {
                            store.append_batch(format!("s-{writer}"), Any, batch_of(1 + rng.below(20))).unwrap();
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            for reader in readers {
                let seen = reader.join().unwrap();
                // The simulated disk is so fast that the writers may be done before a reader begins.
                assert!(seen > 1 || matches!(place, Place::Simulated(_)), "it never saw the log grow");
            }
        });
        assert!(store.stats().segments.len() > 2);
        check_prefix(&store);
    });
}

#[test]
fn callers_that_wait_together_share_one_sync() {
    const CALLERS: u64 = 16;
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("A")).unwrap();
    let before = hold.syncs();
    let door = hold.close();
    std::thread::scope(|threads| {
        threads.spawn(|| store.append("a", Any, event("Leader")).unwrap());
        hold.wait_for_visitor();
        // The leader is in its sync: these can only queue up behind it.
        let (started, starting) = channel();
        for number in 0..CALLERS {
            let (store, started) = (&store, started.clone());
            threads.spawn(move || {
                started.send(()).unwrap();
                store.append("a", Any, numbered(number)).unwrap();
            });
        }
        (0..CALLERS).for_each(|_| soon("a caller starts", &starting));
        std::thread::sleep(Duration::from_millis(100));
        drop(door);
    });
    assert_eq!(store.head(), pos(2 + CALLERS));
    let syncs = hold.syncs() - before;
    // One for the leader, one for the group; one more if a caller was too slow to queue up.
    assert!((2..=3).contains(&syncs), "{syncs} syncs for {} appends", 1 + CALLERS);
}

#[test]
fn flush_commits_tickets_also_while_somebody_else_commits() {
    // A flush that finds the lead taken must not leave it at that: the tickets queued behind are its business.
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("A")).unwrap();
    let door = hold.close();
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| store.append("a", Any, event("Leader")));
        hold.wait_for_visitor();
        drop(store.batch().event("a", event("Ticket")).submit().unwrap());
        let (started, starting) = channel();
        let store = &store;
        let flushing = threads.spawn(move || {
            started.send(()).unwrap();
            store.flush()
        });
        soon("the flush starts", &starting);
        std::thread::sleep(Duration::from_millis(50));
        drop(door);
        assert_eq!(flushing.join().unwrap().unwrap(), pos(3));
        leader.join().unwrap().unwrap();
    });
    assert_eq!(types(store.read_all(pos(1))), ["Leader", "Ticket"]);
}

#[test]
fn closing_commits_tickets_also_while_another_ticket_is_being_committed() {
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    store.append("a", Any, event("A")).unwrap();
    let first = store.batch().event("a", event("First")).submit().unwrap();
    let door = hold.close();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| first.wait());
        hold.wait_for_visitor();
        drop(store.batch().event("a", event("Second")).submit().unwrap());
        let closing = threads.spawn(move || drop(store));
        std::thread::sleep(Duration::from_millis(50));
        drop(door);
        waiting.join().unwrap().unwrap();
        closing.join().unwrap();
    });
    assert_eq!(types(disk.open(&quiet()).read_all(pos(1))), ["First", "Second"]);
}

#[test]
fn a_ticket_outlives_its_store_and_does_not_keep_it_locked() {
    on_every_kind(|place| {
        let store = place.open(&quiet());
        let tickets: Vec<Ticket> =
            (0..3).map(|number| store.batch().event("a", numbered(number)).submit().unwrap()).collect();
        drop(store);
        let again = place.open(&quiet());
        assert_eq!(again.head(), pos(3));
        for (number, ticket) in tickets.into_iter().enumerate().rev() {
            assert_eq!(ticket.wait().unwrap().last, pos(number as u64 + 1));
        }
        assert_eq!(again.append("a", Any, numbered(3)).unwrap().last, pos(4));
    });
}

#[test]
fn the_background_commits_a_ticket_that_nobody_waits_for() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    drop(store.batch().event("a", event("Dropped")).submit().unwrap());
    wait_until("the ticket is committed", || store.head() == pos(1));
}

#[test]
fn tickets_and_appends_of_many_threads_are_all_there_once() {
    on_every_kind(|place| {
        let store = place.open(&Options::new().segment_bytes(64 << 10));
        std::thread::scope(|threads| {
            for thread in 0..6_u64 {
                let store = &store;
                threads.spawn(move || {
                    let mut rng = Rng::new(thread);
                    let mut held = Vec::new();
                    for number in 0..60 {
                        let new = numbered(number);
                        let stream = format!("s-{thread}");
                        match rng.below(5) {
                            0 => assert!(store.append(stream, Any, new).is_ok()),
                            1 => drop(store.batch().event(stream, new).submit().unwrap()),
                            2 => {
                                held.push(store.batch().event(stream, new).submit().unwrap());
                                store.flush().unwrap();
                            }
                            3 => assert!(store.batch().event(stream, new).submit().unwrap().wait().is_ok()),
                            _ => held.push(store.batch().event(stream, new).submit().unwrap()),
                        }
                        if held.len() > 8 {
                            let which = rng.below(held.len() as u64) as usize;
                            held.swap_remove(which).wait().unwrap();
                        }
                    }
                    held.into_iter().rev().for_each(|ticket| assert!(ticket.wait().is_ok()));
                });
            }
        });
        store.flush().unwrap();
        assert_eq!(store.head(), pos(360));
        for thread in 0..6 {
            let stream = store.read_stream(format!("s-{thread}"), StreamVersion::EMPTY).unwrap();
            let numbers: Vec<u64> = stream.map(|event| number_of(&event.unwrap())).collect();
            assert_eq!(numbers, (0..60).collect::<Vec<_>>(), "in the order of the thread that queued them");
        }
    });
}

/// What a thread heard of its appends until the first failure, and of one more after it.
fn append_until_it_fails(store: &EventStore, stream: &str) -> (Vec<Appended>, AppendError, AppendError) {
    let mut acknowledged = Vec::new();
    loop {
        match store.append(stream, Any, event("A")) {
            Ok(done) => acknowledged.push(done),
            Err(first) => return (acknowledged, first, store.append(stream, Any, event("Late")).unwrap_err()),
        }
    }
}

#[test]
fn a_failed_sync_with_many_waiting_leaves_nobody_hanging_and_acknowledges_nothing_more() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let store = EventStore::open_on(Arc::new(disk.clone()), &quiet()).unwrap();
        store.append("first", Any, event("A")).unwrap();
        // Two in a row: one of them may be the watermark's, which is allowed to fail. So the
        // other is a write at times, and a sync at times.
        disk.fail_at(disk.operations() + 20 + seed, Fault::Eio);
        disk.fail_at(disk.operations() + 21 + seed, Fault::Eio);
        let told = {
            let store = store.clone();
            without_hanging("eight threads on a failing disk", move || {
                std::thread::scope(|threads| {
                    let all: Vec<_> = (0..8)
                        .map(|thread| {
                            let store = &store;
                            threads.spawn(move || append_until_it_fails(store, &format!("s-{thread}")))
                        })
                        .collect();
                    all.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
                })
            })
        };
        let mut unknown = 0;
        let mut last = 1;
        for (acknowledged, first, second) in &told {
            match first {
                AppendError::CommitUnknown { .. } => unknown += 1,
                AppendError::Poisoned { .. } => {}
                other => panic!("seed {seed}: {other:?}"),
            }
            assert!(matches!(second, AppendError::Poisoned { .. }), "seed {seed}: {second:?}");
            last = acknowledged.iter().map(|done| done.last.get()).max().unwrap_or(0).max(last);
        }
        assert!(unknown > 0, "seed {seed}: somebody's own batch was in doubt");
        assert_eq!(store.head(), pos(last), "seed {seed}: what is visible is what was acknowledged");
        drop(store);
        let store = EventStore::open_on(Arc::new(disk.after_kill()), &quiet()).unwrap();
        for done in told.iter().flat_map(|(acknowledged, ..)| acknowledged) {
            assert_eq!(store.get(done.last).unwrap().unwrap().version(), done.version, "seed {seed}");
        }
    }
}

/// A clock that panics when it is told to, and waits for a message when it is told to.
#[derive(Debug, Default)]
struct TrickClock {
    panics: AtomicBool,
    entered: Mutex<Option<Sender<()>>>,
    leave: Mutex<Option<Receiver<()>>>,
}

impl TrickClock {
    /// Makes the next caller tell the first channel and wait for the second.
    fn hold(&self) -> (Receiver<()>, Sender<()>) {
        let ((entered, entering), (leave, leaving)) = (channel(), channel());
        *self.entered.lock().unwrap() = Some(entered);
        *self.leave.lock().unwrap() = Some(leaving);
        (entering, leave)
    }
}

impl Clock for TrickClock {
    fn now(&self) -> i64 {
        if let Some(entered) = self.entered.lock().unwrap().take() {
            entered.send(()).unwrap();
            let leave = self.leave.lock().unwrap().take().unwrap();
            soon("leave the clock", &leave);
        }
        assert!(!self.panics.load(Ordering::SeqCst), "the clock was told to panic");
        1
    }
}

#[test]
fn a_panic_inside_a_commit_poisons_and_nobody_hangs() {
    on_every_kind(|place| {
        let clock = Arc::new(TrickClock::default());
        let store = place.open(&quiet().clock(Arc::clone(&clock) as Arc<dyn Clock>));
        store.append("a", Any, event("A")).unwrap();
        let ticket = store.batch().event("a", event("Ticket")).submit().unwrap();
        let (entering, leave) = clock.hold();
        clock.panics.store(true, Ordering::SeqCst);
        let told = {
            let store = store.clone();
            without_hanging("threads beside a panic", move || {
                std::thread::scope(|threads| {
                    let leader = {
                        let store = &store;
                        threads.spawn(move || store.append("a", Any, event("Leader")))
                    };
                    soon("the leader is in its clock", &entering);
                    let all: Vec<_> =
                        (0..4).map(|_| threads.spawn(|| store.append("a", Any, event("Waits")))).collect();
                    let flush = threads.spawn(|| store.flush());
                    std::thread::sleep(Duration::from_millis(30));
                    leave.send(()).unwrap();
                    assert!(leader.join().is_err(), "the panic is the leader's own");
                    assert!(flush.join().unwrap().is_err());
                    all.into_iter().map(|thread| thread.join().unwrap().unwrap_err()).collect::<Vec<_>>()
                })
            })
        };
        for error in told {
            assert!(
                matches!(error, AppendError::Poisoned { .. } | AppendError::CommitUnknown { .. }),
                "{error:?}: not in the group of the panic"
            );
        }
        // The ticket was in the leader's group.
        let error = ticket.wait().unwrap_err();
        assert!(matches!(error, AppendError::CommitUnknown { .. }), "{error:?}");
        clock.panics.store(false, Ordering::SeqCst);
        assert!(matches!(store.append("a", Any, event("Late")), Err(AppendError::Poisoned { .. })));
        assert_eq!(types(store.read_all(Position::START)), ["A"], "reads go on");
        drop(store);
        let store = place.open(&quiet());
        assert_eq!(store.append("a", Exact(ver(1)), event("B")).unwrap().last, pos(2));
    });
}

#[test]
fn readers_never_wait_for_a_writer_in_the_middle_of_a_commit() {
    on_every_kind(|place| {
        let clock = Arc::new(TrickClock::default());
        let store = place.open(&quiet().clock(Arc::clone(&clock) as Arc<dyn Clock>));
        store.append("a", Any, event("A")).unwrap();
        let (entering, leave) = clock.hold();
        std::thread::scope(|threads| {
            let writing = threads.spawn(|| store.append("a", Any, event("B")));
            soon("the writer is in its clock", &entering);
            let reading = store.clone();
            without_hanging("a reader beside a commit", move || {
                assert_eq!(reading.head(), pos(1));
                assert_eq!(reading.durable_head(), pos(1));
                assert_eq!(reading.stats().head, pos(1));
                assert_eq!(types(reading.read_all(Position::START)), ["A"]);
                assert_eq!(reading.stream_info("a").unwrap().unwrap().version, ver(1));
                assert_eq!(reading.streams("").unwrap().len(), 1);
                assert_eq!(reading.tracking("kafka").unwrap(), None);
                assert_eq!(reading.oldest(), pos(1));
            });
            leave.send(()).unwrap();
            writing.join().unwrap().unwrap();
        });
    });
}

#[test]
fn closing_while_tickets_are_pending_answers_them_all() {
    for round in 0..30 {
        let disk = SimDisk::new(round);
        let store = EventStore::open_on(Arc::new(disk.clone()), &Options::new().segment_bytes(64 << 10)).unwrap();
        let tickets: Vec<Ticket> =
            (0..40).map(|number| store.batch().event("a", numbered(number)).submit().unwrap()).collect();
        let barrier = Arc::new(Barrier::new(3));
        without_hanging("tickets of a store that is being closed", move || {
            std::thread::scope(|threads| {
                let mut tickets = tickets.into_iter();
                for half in [tickets.by_ref().take(20).collect::<Vec<_>>(), tickets.collect()] {
                    let barrier = &barrier;
                    threads.spawn(move || {
                        barrier.wait();
                        for ticket in half {
                            assert!(ticket.wait().is_ok());
                        }
                    });
                }
                barrier.wait();
                store.close().unwrap();
            });
        });
        let store = EventStore::open_on(Arc::new(disk.after_kill()), &quiet()).unwrap();
        let numbers: Vec<u64> = store.read_all(Position::START).map(|event| number_of(&event.unwrap())).collect();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "round {round}");
    }
}

#[test]
fn the_flush_interval_makes_buffered_events_durable_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Buffered).flush_interval(Some(Duration::from_millis(50)));
    let store = EventStore::open(dir.path(), &options).unwrap();
    let reader = EventStore::open_read_only(dir.path()).unwrap();
    for round in 1..=3 {
        let written = Instant::now();
        store.append("a", Any, event("A")).unwrap();
        wait_until("the event is durable", || store.durable_head() == pos(round));
        assert!(written.elapsed() >= Duration::from_millis(40), "it did not wait for its interval");
        wait_until("another process sees it", || reader.head() == pos(round));
    }
}

#[test]
fn without_a_flush_interval_buffered_events_wait_for_a_flush() {
    // An interval beyond all time is none, and does not take the background thread down.
    for interval in [None, Some(Duration::MAX)] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().durability(Durability::Buffered).flush_interval(interval);
        let store = EventStore::open(dir.path(), &options).unwrap();
        store.append("a", Any, event("A")).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(store.durable_head(), pos(0), "{interval:?}");
        drop(store.batch().event("a", event("Ticket")).submit().unwrap());
        wait_until("the background thread lives", || store.head() == pos(2));
    }
}

#[test]
fn zeroing_and_preparing_ahead_never_touch_what_many_threads_write() {
    // Tiny segments and much zeroed ahead, so that the writer, the zeroing and the rolls meet all the time.
    check_ahead(&small(), 1);
    check_ahead(&small().pread(true), 1);
    check_ahead(&small().durability(Durability::Buffered), 1);
    // Zeroed in several steps, so that one of them may come when the segment is sealed already.
    check_ahead(&small().segment_bytes(1 << 20), 20);
}

fn small() -> Options {
    Options::new().segment_bytes(64 << 10).zero_ahead(1 << 20)
}

/// Many threads append events, a few KiB long each times `factor`; then everything is looked at.
fn check_ahead(options: &Options, factor: u64) {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), options).unwrap();
    std::thread::scope(|threads| {
        for thread in 0..6_u64 {
            let store = &store;
            threads.spawn(move || {
                let mut rng = Rng::new(thread);
                for number in 0..100 {
                    let len = 8 + (rng.below(3000) * factor) as usize;
                    let mut data = number_bytes(thread, number);
                    data.resize(16 + len, 0xA5);
                    store.append(format!("s-{thread}"), Any, NewEvent::new("Filled", data)).unwrap();
                }
            });
        }
    });
    let segments = store.stats().segments;
    assert!(segments.len() > 10);
    assert_eq!(store.head(), pos(600));
    // Beside the events: one active segment, and one that was prepared.
    let bound = segments.iter().map(|segment| segment.bytes).sum::<u64>() + 2 * segments[0].bytes + (1 << 20);
    let files = std::fs::read_dir(dir.path().join("seg")).unwrap();
    let size: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size < bound, "{size} bytes: more is zeroed than a segment takes");
    drop(store);
    for segment in segments.iter().filter(|segment| segment.sealed) {
        let len = std::fs::metadata(dir.path().join(&segment.path)).unwrap().len();
        assert_eq!(len, segment.bytes, "zeros behind a seal: {segment:?}");
    }
    let report = inspect::verify(dir.path(), |_, _| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!((report.events, report.unfinished_bytes), (600, 0));
    let temporary = std::fs::read_dir(dir.path().join("seg"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(temporary.count(), 0, "nothing prepared is left behind");
    let store = EventStore::open(dir.path(), options).unwrap();
    assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    for thread in 0..6 {
        let stream = store.read_stream(format!("s-{thread}"), StreamVersion::EMPTY).unwrap();
        for (number, event) in stream.enumerate() {
            let data = event.unwrap().data();
            assert_eq!(data[..16], number_bytes(thread, number as u64));
            assert!(data[16..].iter().all(|&byte| byte == 0xA5));
        }
    }
}

fn number_bytes(thread: u64, number: u64) -> Vec<u8> {
    [thread.to_le_bytes(), number.to_le_bytes()].concat()
}

#[test]
fn bytes_that_a_reader_sees_late_are_no_damage() {
    // Found by a minute of mixed load: a survey beside a writer that reads old bytes before new
    // ones sees a hole, and a later marker behind it. The next one sees another hole, or none.
    let (disk, hold) = HeldDisk::new();
    let store = disk.open(&quiet());
    for _ in 0..10 {
        store.append("a", Any, NewEvent::new("T", vec![7; 200])).unwrap();
    }
    let late = || *hold.late.lock().unwrap() = vec![5000..5200, 4200..4300, 4900..5100];
    late();
    assert_eq!(inspect::verify_on(&disk, |_, _| ()).unwrap().findings, []);
    assert!(hold.late.lock().unwrap().is_empty(), "each of them was met");
    late();
    let reader = EventStore::open_read_only_on(Arc::new(disk.clone())).unwrap();
    assert_eq!(reader.recovery_report().gaps, []);
    assert_eq!(reader.head(), store.head());
    // What stays is damage.
    *hold.late.lock().unwrap() = vec![5000..5200; 100];
    assert!(!inspect::verify_on(&disk, |_, _| ()).unwrap().is_clean());
}
