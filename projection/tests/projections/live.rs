//! Projections that a thread keeps up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position, QueryItem};
use annals_projection::{LiveProjection, OnError, Projection, ProjectionError, SharedPass};

use crate::support::*;

#[test]
fn one_that_is_attached_late_begins_with_history_and_goes_on_live() {
    // A live projection of the systems before skipped for ever what had happened before it was attached.
    let store = in_memory();
    add(&store, 1..=3);
    let live = LiveProjection::start(&store, seen("seen")).unwrap();
    live.wait_for(pos(3), LONG).unwrap();
    add(&store, 4..=5);
    assert_eq!(live.wait_for(pos(5), LONG).unwrap(), pos(5));
    assert_eq!(live.state(), seen_of(1..=5));
    assert_eq!(live.position(), pos(5));
}

#[test]
fn many_who_wait_for_different_positions_are_each_told_when_theirs_is_reached() {
    let store = in_memory();
    let live = LiveProjection::start(&store, seen("seen")).unwrap();
    thread::scope(|threads| {
        for position in (1..=40).rev() {
            let live = &live;
            threads.spawn(move || assert!(live.wait_for(pos(position), LONG).unwrap() >= pos(position)));
        }
        // Some wait before the first event, and some come while others are woken.
        for number in 1..=40 {
            add(&store, [number]);
            thread::yield_now();
        }
    });
}

#[test]
fn who_waits_for_the_position_of_his_append_reads_what_he_has_written() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let live = LiveProjection::start(&store, seen("seen")).unwrap();
    thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                for _ in 0..200 {
                    let done = store.append("numbers", ExpectedVersion::Any, NewEvent::new("Added", "1")).unwrap();
                    let reached = live.wait_for(done.last, LONG).unwrap();
                    assert!(reached >= done.last);
                    live.read(|seen, position| {
                        assert!(position >= reached, "what was told is there");
                        assert_eq!(seen.positions.len() as u64, position.get(), "state and position are of one moment");
                        assert!(seen.positions.contains(&done.last.get()));
                    });
                }
            });
        }
    });
    assert_eq!(live.state().positions, (1..=600).collect::<Vec<u64>>());
}

#[test]
fn waiting_ends_in_time_by_a_fault_or_by_being_stopped() {
    let store = in_memory();
    let live = LiveProjection::start(&store, seen("seen")).unwrap();
    let error = live.wait_for(pos(1), Duration::from_millis(5)).unwrap_err();
    assert!(matches!(error, ProjectionError::TimedOut { position: Position::START, wanted } if wanted == pos(1)));
    let waiting = live.clone();
    let waiter = thread::spawn(move || waiting.wait_for(pos(1), LONG));
    append(&store, "Added", u64::MAX);
    assert_eq!(waiter.join().unwrap().unwrap(), pos(1));

    let waiting = live.clone();
    let waiter = thread::spawn(move || waiting.wait_for(pos(3), LONG));
    add(&store, [1]); // The sum would overflow, which is a panic.
    assert!(
        matches!(waiter.join().unwrap(), Err(ProjectionError::Faulted(fault)) if fault.is_panic && fault.position == pos(2))
    );

    let waiting = live.clone();
    live.skip_one().unwrap();
    let waiter = thread::spawn(move || waiting.wait_for(pos(3), LONG));
    thread::sleep(Duration::from_millis(5));
    live.stop();
    assert!(matches!(waiter.join().unwrap(), Err(ProjectionError::Stopped)));
    assert!(live.status().is_stopped);
    assert_eq!(live.state().positions, [1], "the state can still be read");
}

#[test]
fn status_tells_position_lag_and_fault() {
    let store = in_memory();
    add(&store, 1..=3);
    let is_bad = Arc::new(AtomicBool::new(true));
    let bad = Arc::clone(&is_bad);
    let projection = Projection::new("picky").when("Added", move |count: &mut u64, event| {
        *count += 1;
        if event.position.get() == 3 && bad.load(Ordering::SeqCst) {
            return Err("not the third");
        }
        Ok(())
    });
    let live = LiveProjection::start(&store, projection).unwrap();
    let error = live.wait_for(pos(3), LONG).unwrap_err();
    assert_eq!(error.to_string(), "the handler of Added failed at position 3 of stream numbers: not the third");
    add(&store, 4..=5);
    let status = live.status();
    assert_eq!((status.name.as_str(), status.position, status.head, status.lag), ("picky", pos(2), pos(5), 3));
    assert!(!status.is_live && !status.is_retrying && !status.is_stopped, "{status:?}");
    assert!(matches!(status.fault, Some(ProjectionError::Faulted(_))));

    is_bad.store(false, Ordering::SeqCst);
    live.resume();
    live.wait_for(pos(5), LONG).unwrap();
    assert_eq!(live.state(), 5);
    assert!(live.status().fault.is_none() && live.status().lag == 0);
}

#[test]
fn the_writer_and_other_projections_do_not_notice_one_that_fails() {
    let store = in_memory();
    let mut pass = SharedPass::new(&store);
    let good = pass.add(seen("good")).unwrap();
    let bad = pass
        .add(Projection::new("bad").when("Added", |(): &mut (), _| assert!(false_as_ever(), "as the test wants it")))
        .unwrap();
    let slow =
        OnError::Retry { attempts: 9, pause: Duration::from_secs(3600), longest_pause: Duration::from_secs(3600) };
    let failing = |(): &mut (), _: &annals::Event<'_>| Err::<(), _>("not now");
    let retrying = pass.add(Projection::new("retrying").when("Added", failing).on_error(slow)).unwrap();
    pass.start().unwrap();
    for number in 1..=100 {
        let position = append(&store, "Added", number);
        good.wait_for(position, LONG).unwrap();
    }
    assert_eq!(good.state(), seen_of(1..=100));
    assert!(matches!(bad.wait_for(pos(1), LONG), Err(ProjectionError::Faulted(fault)) if fault.is_panic));
    assert!(retrying.status().is_retrying && retrying.position() == Position::START);
}

#[test]
fn projections_of_one_pass_may_stand_anywhere_and_want_anything() {
    let store = in_memory();
    for number in 1..=400 {
        let stream = if number % 3 == 0 { "thirds" } else { "numbers" };
        store.append(stream, ExpectedVersion::Any, NewEvent::new("Added", number.to_string())).unwrap();
    }
    let mut ahead = seen("ahead").attach(&store).unwrap();
    ahead.catch_up().unwrap();
    drop(ahead);
    let mut pass = SharedPass::new(&store);
    let all = pass.add(seen("all")).unwrap();
    let thirds = pass.add(seen("thirds").query(QueryItem::new().stream("thirds"))).unwrap();
    let none = pass.add(seen("none").query(QueryItem::new().event_type("Never"))).unwrap();
    pass.start().unwrap();
    for live in [&all, &thirds, &none] {
        live.wait_for(pos(400), LONG).unwrap();
    }
    assert_eq!(all.state(), seen_of(1..=400));
    assert_eq!(thirds.state(), seen_of((1..=400).filter(|number| number % 3 == 0)));
    assert_eq!(none.state(), Seen::default());

    // None of them wants all.
    let mut pass = SharedPass::new(&store);
    let thirds = pass.add(seen("thirds").query(QueryItem::new().stream("thirds"))).unwrap();
    let none = pass.add(seen("none").query(QueryItem::new().event_type("Never"))).unwrap();
    pass.start().unwrap();
    for live in [&thirds, &none] {
        live.wait_for(pos(400), LONG).unwrap();
    }
    assert_eq!(thirds.state(), seen_of((1..=400).filter(|number| number % 3 == 0)));
    assert_eq!(none.status().handled, 0);
}

#[test]
fn one_that_resumes_behind_the_others_catches_up_and_they_take_nothing_twice() {
    let store = in_memory();
    let is_bad = Arc::new(AtomicBool::new(true));
    let bad = Arc::clone(&is_bad);
    let picky = Projection::new("picky").when("Added", move |seen: &mut Seen, event| {
        seen.positions.push(event.position.get());
        seen.sum += number(event);
        assert!(!bad.load(Ordering::SeqCst), "as the test wants it");
    });
    let mut pass = SharedPass::new(&store);
    let (good, picky) = (pass.add(seen("good")).unwrap(), pass.add(picky).unwrap());
    pass.start().unwrap();
    add(&store, 1..=500);
    good.wait_for(pos(500), LONG).unwrap();
    assert!(picky.wait_for(pos(1), LONG).is_err());
    is_bad.store(false, Ordering::SeqCst);
    picky.resume();
    add(&store, 501..=510);
    for live in [&good, &picky] {
        live.wait_for(pos(510), LONG).unwrap();
        assert_eq!(live.state(), seen_of(1..=510));
    }
}

#[test]
fn a_rebuild_starts_over_while_events_come() {
    let store = EventStore::in_memory(&Options::new()).unwrap();
    let live = LiveProjection::start(&store, seen("seen")).unwrap();
    let is_done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            for number in 1..=2000 {
                append(&store, "Added", number);
            }
            is_done.store(true, Ordering::SeqCst);
        });
        for round in 0.. {
            live.read(|seen, position| assert!(*seen == seen_of(1..=position.get()), "at {position}"));
            if round % 2 == 0 {
                live.rebuild().unwrap();
            } else {
                live.rebuild_beside().unwrap();
            }
            if is_done.load(Ordering::SeqCst) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    live.wait_for(store.head(), LONG).unwrap();
    assert_eq!(live.state(), seen_of(1..=2000));
}

#[test]
fn beside_a_rebuild_the_old_state_serves_and_goes_on() {
    let store = in_memory();
    add(&store, 1..=100);
    // The second time it is slow: the handler waits until it was seen that the old state goes on.
    let (round, may_go) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (rounds, may) = (Arc::clone(&round), Arc::clone(&may_go));
    let projection = Projection::new("slow").when("Added", move |count: &mut u64, event| {
        if event.position.get() == 1 && rounds.fetch_add(1, Ordering::SeqCst) == 1 {
            while !may.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        }
        *count += 1;
    });
    let live = LiveProjection::start(&store, projection).unwrap();
    live.wait_for(pos(100), LONG).unwrap();
    let builder = live.clone();
    let builder = thread::spawn(move || builder.rebuild_beside());
    while round.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    add(&store, 101..=150);
    live.wait_for(pos(150), LONG).unwrap();
    assert_eq!(live.read(|count, position| (*count, position)), (150, pos(150)));
    may_go.store(true, Ordering::SeqCst);
    assert_eq!(builder.join().unwrap().unwrap(), pos(150));
    add(&store, [151]);
    live.wait_for(pos(151), LONG).unwrap();
    assert_eq!(live.state(), 151);
}

#[test]
fn a_handler_may_append_and_its_events_come_in_their_turn() {
    let store = in_memory();
    let appender = store.clone();
    let echo = Projection::new("echo")
        .when("Asked", move |order: &mut Vec<String>, event| {
            order.push(format!("asked {}", event.position));
            append(&appender, "Answered", event.position.get());
        })
        .when("Answered", |order: &mut Vec<String>, event| {
            order.push(format!("answered {}", number(event)));
        });
    let live = LiveProjection::start(&store, echo).unwrap();
    append(&store, "Asked", 0);
    live.wait_for(pos(2), LONG).unwrap();
    assert_eq!(live.state(), ["asked 1", "answered 1"]);
}

#[test]
fn when_the_last_handle_is_dropped_the_thread_ends_and_the_store_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = EventStore::open(dir.path(), &Options::new()).unwrap();
    let live = LiveProjection::start(&store, seen("seen")).unwrap();
    add(&store, 1..=3);
    live.wait_for(pos(3), LONG).unwrap();
    let second = live.clone();
    drop((store, live));
    assert!(EventStore::open(dir.path(), &Options::new()).is_err(), "a projection keeps the store open");
    drop(second);
    EventStore::open(dir.path(), &Options::new()).unwrap();
}

fn false_as_ever() -> bool {
    std::hint::black_box(false)
}
