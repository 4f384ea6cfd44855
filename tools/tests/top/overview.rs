//! What the overview and the tables say of stores of all kinds.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use annals::{Clock, Delivery, EventStore, Options, Query, SystemClock};
use annals_codec::{FrameHeader, FrameKind};
use annals_projection::Projection;
use ratatui::crossterm::event::KeyCode;

use crate::common::{only_segment, wait_for};
use crate::{Story, in_red, lines, must_not_say, must_say, session};

#[test]
fn an_empty_store_is_one_without_events_and_with_nothing_wrong() {
    let story = Story::new();
    let mut session = story.session();
    must_say(&mut session, &["positions", "none; the head is 0"]);
    must_say(&mut session, &["log", &story.writer.log_id().to_string(), "epoch 0"]);
    must_say(&mut session, &["size", "in 1 segment, 0 of 0 sealed ones indexed"]);
    must_say(&mut session, &["recorded to seen", "nothing came in the last minute"]);
    must_say(&mut session, &["events/s", "– now, – over the last minute"]);
    must_not_say(&mut session, &["follower"]);
    assert_eq!(in_red(&session), "");
}

#[test]
fn each_segment_stands_in_the_table_with_its_events_and_its_state() {
    let story = Story::with(&Options::new().segment_bytes(64 * 1024).background(false));
    for n in 0..400 {
        story.append("s", "Happened", &format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(500)));
    }
    story.writer.maintain().unwrap();
    let stats = story.writer.stats();
    assert!(stats.segments.len() > 3, "the story is what the test thinks it is");
    let mut session = story.session();
    must_say(&mut session, &["positions", "1 to 400, durable to 400"]);
    let sealed = stats.segments.len() - 1;
    must_say(&mut session, &[&format!("in {} segments, {sealed} of {sealed} sealed ones indexed", sealed + 1)]);
    session.press(KeyCode::Char('2'));
    for segment in &stats.segments {
        let state = if segment.sealed { "sealed" } else { "active" };
        let events = segment.last.get() - segment.base.get();
        let (first, last) = (segment.base.get() + 1, segment.last.get());
        let words = [segment.number.to_string(), first.to_string(), last.to_string(), events.to_string()];
        let row = lines(&mut session).into_iter().find(|line| {
            let mut cells = line.split_whitespace();
            words.iter().all(|word| cells.next() == Some(word)) && line.trim_end().ends_with(state)
        });
        assert!(row.is_some(), "{words:?} {state}:\n{}", session.text(80, 24));
    }
    // The newest is the first.
    assert!(lines(&mut session)[3].ends_with("active"), "{}", session.text(80, 24));
}

#[test]
fn a_sealed_segment_without_its_index_is_told_from_one_that_has_it() {
    let story = Story::with(&Options::new().segment_bytes(64 * 1024).background(false));
    (0..200).for_each(|_| story.append("s", "Happened", &"x".repeat(500)));
    story.writer.maintain().unwrap();
    let index = story.path().join("idx/00000000000000000000.idx");
    fs::remove_file(&index).unwrap();
    let mut session = story.session();
    must_say(&mut session, &["sealed, no index yet"]);
    must_say(&mut session, &["size", "1 of 2 sealed ones indexed"]);
}

#[test]
fn followers_stand_with_their_lag_and_rate_and_who_is_worst_off_first() {
    let story = Story::new();
    (0..100).for_each(|_| story.append("s", "Happened", "{}"));
    let consumers = ["ahead", "behind"].map(|name| story.writer.consumer(name).unwrap());
    consumers[0].checkpoint(story.writer.head()).unwrap();
    consumers[1].checkpoint(annals::Position::new(10)).unwrap();
    let count = Projection::new("counted").when("Happened", |count: &mut u64, _| *count += 1).keep_snapshots(2);
    let mut count = count.attach(&story.writer).unwrap();
    count.catch_up().unwrap();
    count.take_snapshot().unwrap();
    (0..7).for_each(|_| story.append("s", "Happened", "{}"));

    let mut session = story.session();
    consumers[1].checkpoint(annals::Position::new(40)).unwrap();
    session.look(Duration::from_secs(10));
    session.press(KeyCode::Char('3'));
    let shown = lines(&mut session);
    let row = |line: &String| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(row(&shown[3]), ["behind", "40", "67", "3", "consumer"]);
    assert_eq!(row(&shown[4]), ["ahead", "100", "7", "0", "consumer"]);
    assert_eq!(row(&shown[5]), ["counted", "100", "7", "0", "projection"]);
    assert_eq!(in_red(&session), "", "to be behind is no fault");
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_told_first_and_in_red() {
    let story = Story::new();
    (0..9).for_each(|_| story.append("s", "Happened", "{}"));
    for name in ["a-fine-one", "torn"] {
        story.writer.consumer(name).unwrap().checkpoint(story.writer.head()).unwrap();
    }
    let file = story.path().join("consumers/torn");
    let len = fs::read(&file).unwrap().len();
    fs::write(&file, vec![0x55; len]).unwrap();
    let mut session = story.session();
    let text = session.text(120, 24);
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("follower")).collect();
    assert!(rows[1].starts_with("torn") && rows[1].contains("unknown"), "{text}");
    assert!(in_red(&session).contains("torn"), "{}", in_red(&session));
    assert!(!in_red(&session).contains("a-fine-one"), "{}", in_red(&session));
}

#[test]
fn damage_is_told_in_red_with_its_place() {
    let story = Story::new();
    (0..30).for_each(|_| story.append("s", "Happened", "{}"));
    let store = story.path();
    drop(story.writer);
    flip_event(&store, 20);
    let session = session(&store);
    let red = in_red(&session);
    // Without the spaces: a line may have ended at one of them.
    let red = red.replace(' ', "");
    assert!(red.contains("segment0isdamaged") && red.contains("position21"), "{red}");
}

/// Flips a bit in the event of this number, counted from 0.
fn flip_event(store: &std::path::Path, number: usize) {
    let segment = only_segment(store);
    let mut bytes = fs::read(&segment).unwrap();
    let (mut events, mut at) = (Vec::new(), 4096);
    while let Some(header) = FrameHeader::read(&bytes[at..]).filter(|header| header.len > 0) {
        if header.kind() == Some(FrameKind::Event) {
            events.push(at);
        }
        at += header.padded_len() as usize;
    }
    bytes[events[number] + 60] ^= 8;
    fs::write(&segment, bytes).unwrap();
}

#[test]
fn damage_among_the_events_is_a_row_of_its_own_and_the_others_are_shown() {
    let story = Story::new();
    (0..30).for_each(|n| story.append("s", "Happened", &format!("{{\"n\":{n}}}")));
    let store = story.path();
    drop(story.writer);
    flip_event(&store, 20);
    let mut session = session(&store);
    session.press(KeyCode::Char('5'));
    must_say(&mut session, &["21", "is damaged"]);
    must_say(&mut session, &["22", "Happened"]);
    must_say(&mut session, &["20", "Happened"]);
    (0..9).for_each(|_| session.press(KeyCode::Down));
    session.press(KeyCode::Enter);
    must_say(&mut session, &["damaged", "segment 0"]);
}

#[test]
fn rates_are_those_between_the_looks() {
    let story = Story::new();
    let mut session = story.session();
    (0..50).for_each(|_| story.append("s", "Happened", "{}"));
    session.look(Duration::from_secs(5));
    must_say(&mut session, &["events/s", "10 now, 10 over the last minute"]);
    (0..30).for_each(|_| story.append("s", "Happened", "{}"));
    session.look(Duration::from_secs(6));
    must_say(&mut session, &["events/s", "30 now, 13 over the last minute"]);
    session.look(Duration::from_secs(7));
    must_say(&mut session, &["events/s", "0 now, 11 over the last minute"]);
    must_say(&mut session, &["bytes/s", "0 B now"]);
}

#[test]
fn bytes_are_counted_over_the_end_of_a_segment_and_its_removal() {
    let story = Story::with(&Options::new().segment_bytes(64 * 1024));
    (0..300).for_each(|_| story.append("s", "Happened", &"x".repeat(500)));
    let mut session = story.session();
    let before = story.writer.stats().bytes;
    (0..100).for_each(|_| story.append("s", "Happened", &"x".repeat(500)));
    let grown = story.writer.stats().bytes - before;
    story.writer.truncate_before(annals::Position::new(290), annals::Guard::Consumers).unwrap();
    assert!(story.writer.stats().bytes < before, "the story is what the test thinks it is");
    session.look(Duration::from_secs(1));
    let shown = format!("{}.{} KiB now", grown * 10 / 1024 / 10, (grown * 10 + 512) / 1024 % 10);
    must_say(&mut session, &["bytes/s", &shown]);
    must_say(&mut session, &["positions", " to 400"]);
}

#[test]
fn new_events_are_timed_from_being_recorded_to_being_seen() {
    let story = Story::new();
    story.append("s", "Before", "{}");
    let mut session = story.session();
    must_say(&mut session, &["recorded to seen", "nothing came"]);
    (0..3).for_each(|_| story.append("s", "After", "{}"));
    wait_for("three events to be timed", || {
        session.look(Duration::ZERO);
        session.text(100, 24).contains("3 events in 1 min").then_some(())
    });
    must_say(&mut session, &["recorded to seen", "p50", "p99", "max"]);
    assert!(!session.text(120, 24).contains("the clocks differ"));
}

#[test]
fn a_store_that_cannot_be_followed_is_told_in_red_above_what_was_seen_last() {
    let story = Story::new();
    (0..3).for_each(|_| story.append("s", "Happened", "{}"));
    let mut session = story.session();
    let store = story.path();
    drop(story.writer);
    // What stands in the place of the watermark cannot be read as a file.
    fs::remove_file(store.join("WATERMARK")).unwrap();
    fs::create_dir(store.join("WATERMARK")).unwrap();
    session.look(Duration::from_secs(1));
    assert!(in_red(&session).contains("cannot look"), "{}", session.text(80, 24));
    must_say(&mut session, &["positions", "1 to 3"]);
}

#[test]
fn a_store_that_was_moved_away_does_not_pass_for_one_that_nobody_writes_to() {
    let story = Story::new();
    (0..3).for_each(|_| story.append("s", "Happened", "{}"));
    let mut session = story.session();
    let (store, elsewhere) = (story.path(), story.dir.path().join("elsewhere"));
    fs::rename(&store, &elsewhere).unwrap();
    session.look(Duration::from_secs(1));
    assert!(in_red(&session).contains("cannot look: there is no store in"), "{}", in_red(&session));
    fs::rename(&elsewhere, &store).unwrap();
    session.look(Duration::from_secs(2));
    assert_eq!(in_red(&session), "");
}

/// A clock that is an hour fast.
struct Fast;

impl Clock for Fast {
    fn now(&self) -> i64 {
        SystemClock.now() + 3_600_000_000_000
    }
}

#[test]
fn events_from_the_future_are_told_and_not_taken_for_fast_ones() {
    let story = Story::with(&Options::new().clock(Arc::new(Fast)));
    let mut session = story.session();
    (0..3).for_each(|_| story.append("s", "After", "{}"));
    wait_for("three events to be timed", || {
        session.look(Duration::ZERO);
        session.text(100, 24).contains("3 events in 1 min").then_some(())
    });
    let red = in_red(&session);
    assert!(red.contains("3 events of 1 min recorded later than they were seen: the clocks differ"), "{red}");
}

#[test]
fn a_screen_of_any_size_is_drawn() {
    let story = Story::with(&Options::new().segment_bytes(64 * 1024));
    (0..300).for_each(|n| story.append(&format!("stream-{n}"), "Happened", &"x".repeat(500)));
    story.writer.consumer("one").unwrap();
    let mut session = story.session();
    let keys = ["1", "2", "3", "4", "5", "\n", "?"];
    for key in keys {
        let code = if key == "\n" { KeyCode::Enter } else { KeyCode::Char(key.chars().next().unwrap()) };
        session.press(code);
        for (width, height) in [(1, 1), (2, 3), (40, 10), (10, 40), (80, 24), (300, 100), (0, 0)] {
            let text = session.text(width, height);
            assert_eq!(text.lines().count(), usize::from(if width == 0 { 0 } else { height }), "{width}x{height}");
        }
    }
    session.press(KeyCode::Esc);
    session.press(KeyCode::Char('1'));
    let narrow = session.text(40, 10);
    assert!(narrow.contains(" 1 to 300, durable"), "{narrow}");
}

#[test]
fn a_look_leaves_the_store_as_it_is() {
    let story = Story::new();
    (0..3).for_each(|_| story.append("s", "Happened", "{}"));
    let store = story.path();
    drop(story.writer);
    let before = crate::common::snapshot(&store);
    let mut session = session(&store);
    for key in "12345".chars() {
        session.press(KeyCode::Char(key));
    }
    drop(session);
    assert_eq!(before, crate::common::snapshot(&store));
}

#[test]
fn who_watches_is_nothing_that_a_writer_waits_for() {
    let story = Story::new();
    let session = story.session();
    // A subscription of the writer's own, to see that all is as without anybody.
    let mut live = story.writer.subscribe(story.writer.head(), Query::All).unwrap();
    (0..5).for_each(|_| story.append("s", "Happened", "{}"));
    let mut seen = 0;
    while let Some(item) = live.try_next().unwrap() {
        seen += u32::from(matches!(item, Delivery::Event(_)));
    }
    assert_eq!(seen, 5);
    drop(session);
    let again = EventStore::open_read_only(story.path()).unwrap();
    assert_eq!(again.head().get(), 5);
}
