//! The way through streams and events, key by key.

use std::collections::BTreeSet;

use annals::{EventId, ExpectedVersion, NewEvent, Options, Position};
use ratatui::crossterm::event::KeyCode;

use crate::{Story, lines, must_not_say, must_say};

/// What one page of the lists reads at most, as the screens promise it.
const PAGE: u64 = 256;

#[test]
fn the_way_goes_from_streams_to_events_to_one_event_and_back() {
    let story = Story::new();
    story.append("order-1", "Placed", r#"{"total":1}"#);
    story.append("order-2", "Placed", r#"{"total":2}"#);
    let id = EventId::version_7(1, 2, 3);
    let event = NewEvent::new("Paid", r#"{"by":"card","amounts":[1.50,2]}"#)
        .tag("vip")
        .tag("eu")
        .metadata(r#"{"user":7}"#)
        .correlation_id(id)
        .schema_version(3)
        .occurred_at(1_000_000_000);
    story.writer.append("order-1", ExpectedVersion::Any, event).unwrap();

    let mut session = story.session();
    session.press(KeyCode::Char('4'));
    let shown = lines(&mut session);
    assert_eq!(shown[2], "streams, written to last first: 2");
    assert!(shown[4].starts_with("     2") && shown[4].ends_with("order-1"), "{shown:?}");
    assert!(shown[5].ends_with("order-2"), "{shown:?}");

    session.press(KeyCode::Enter);
    must_say(&mut session, &["events of order-1, newest first; live"]);
    let shown = lines(&mut session);
    assert!(shown[4].contains("Paid") && shown[5].contains("Placed"), "{shown:?}");
    assert!(!shown.iter().any(|line| line.contains("order-2")));

    session.press(KeyCode::Enter);
    let shown = lines(&mut session);
    let expected = [
        ("stream", "order-1"),
        ("version", "2"),
        ("type", "Paid"),
        ("occurred", "1970-01-01T00:00:01.000Z"),
        ("correlation", &id.to_string()),
        ("schema", "3"),
        ("tags", "vip"),
        ("", "eu"),
        ("metadata", "{"),
        ("", "  \"user\": 7"),
        ("", "}"),
        ("data", "{"),
        ("", "  \"by\": \"card\","),
        ("", "  \"amounts\": ["),
        ("", "    1.50,"),
    ];
    let mut left = shown.iter();
    for (name, value) in expected {
        let line = format!("{name:<12} {value}");
        assert!(left.any(|shown| *shown == line.trim_end()), "{line:?} comes in its turn in {shown:#?}");
    }

    session.press(KeyCode::Esc);
    must_say(&mut session, &["events of order-1"]);
    session.press(KeyCode::Down);
    session.press(KeyCode::Enter);
    must_say(&mut session, &["type", "Placed"]);
    session.press(KeyCode::Backspace);
    session.press(KeyCode::Esc);
    must_say(&mut session, &["streams, written to last first: 2"]);
    session.press(KeyCode::Esc);
    must_say(&mut session, &["recorded to seen"]);
    assert!(!session.is_over());
    session.press(KeyCode::Esc);
    assert!(session.is_over(), "Esc in the overview leaves");
}

#[test]
fn q_leaves_from_everywhere_and_not_while_a_name_is_written() {
    let story = Story::new();
    story.append("q-1", "Placed", "{}");
    for screen in "12345".chars() {
        let mut session = story.session();
        session.press(KeyCode::Char(screen));
        session.press(KeyCode::Enter);
        session.press(KeyCode::Char('/'));
        session.press(KeyCode::Char('q'));
        assert!(!session.is_over());
        session.press(KeyCode::Esc);
        assert!(!session.is_over());
        session.press(KeyCode::Char('?'));
        session.press(KeyCode::Char('q'));
        assert!(session.is_over());
    }
}

#[test]
fn the_help_names_the_keys_and_goes_with_the_next_one() {
    let story = Story::new();
    let mut session = story.session();
    session.press(KeyCode::Char('?'));
    must_say(&mut session, &["Enter", "open"]);
    must_say(&mut session, &["streams whose names begin so"]);
    session.press(KeyCode::Esc);
    must_not_say(&mut session, &["streams whose names begin so"]);
    assert!(!session.is_over());
}

#[test]
fn a_prefix_chooses_streams_and_a_whole_name_finds_one_however_long_ago() {
    let story = Story::new();
    story.append("old-but-known", "Happened", "{}");
    for n in 0..400 {
        story.append(&format!("order-{n}"), "Placed", "{}");
        story.append(&format!("loan-{n}"), "Asked", "{}");
    }
    let mut session = story.session();
    session.press(KeyCode::Char('/'));
    session.write("loan-39");
    must_say(&mut session, &["streams whose names begin with: loan-39"]);
    session.press(KeyCode::Enter);
    must_say(&mut session, &["streams that begin with loan-39, written to last first: 11"]);
    let shown = lines(&mut session);
    assert!(shown[4].ends_with("loan-39"), "the whole name is the first: {shown:#?}");
    assert!(shown[5].ends_with("loan-399") && shown[14].ends_with("loan-390"), "{shown:#?}");
    must_not_say(&mut session, &["order-"]);

    session.press(KeyCode::Char('/'));
    session.write("old-but-known");
    session.press(KeyCode::Enter);
    must_say(&mut session, &["old-but-known", "1"]);
    session.press(KeyCode::Esc);
    must_say(&mut session, &["streams, written to last first"]);
    session.press(KeyCode::Char('/'));
    session.write("nobody");
    session.press(KeyCode::Enter);
    must_say(&mut session, &["streams that begin with nobody, written to last first: 0"]);
}

#[test]
fn a_list_of_many_streams_reads_a_page_and_another_where_somebody_goes_on() {
    let story = Story::new();
    let streams = 3_000;
    let names: Vec<String> = (0..streams).map(|n| format!("stream-{n:05}")).collect();
    for names in names.chunks(500) {
        let batch = names.iter().fold(story.writer.batch(), |batch, name| batch.event(name, NewEvent::new("Made", "")));
        batch.commit().unwrap();
    }
    let mut session = story.session();
    session.press(KeyCode::Char('4'));
    assert_eq!(session.events_read(), PAGE, "whatever there is, a page");
    must_say(&mut session, &["stream-02999"]);
    must_say(&mut session, &["looked back to position 2,745, ↓ at the end goes on"]);
    session.press(KeyCode::Down);
    session.press(KeyCode::PageDown);
    assert_eq!(session.events_read(), PAGE, "what was read is enough");
    session.press(KeyCode::End);
    assert_eq!(session.events_read(), 2 * PAGE);
    must_say(&mut session, &["stream-02744"]);
    // To the end, each stream once.
    let mut pressed = 0;
    while session.events_read() < streams && pressed < 100 {
        session.press(KeyCode::End);
        pressed += 1;
    }
    session.press(KeyCode::End);
    must_say(&mut session, &["streams, written to last first: 3,000"]);
    must_say(&mut session, &["stream-00000"]);
    assert_eq!(session.events_read(), streams);
}

#[test]
fn a_page_of_streams_is_bounded_where_all_events_are_of_one_stream() {
    let story = Story::new();
    story.append("far-back", "Made", "");
    for _ in 0..30 {
        let batch = (0..1_000).fold(story.writer.batch(), |batch, _| batch.event("busy", NewEvent::new("Made", "")));
        batch.commit().unwrap();
    }
    let mut session = story.session();
    session.press(KeyCode::Char('4'));
    assert_eq!(session.events_read(), 20_000);
    must_not_say(&mut session, &["far-back"]);
    must_say(&mut session, &["looked back to position 10,002, ↓ at the end goes on"]);
    session.press(KeyCode::Down);
    must_say(&mut session, &["streams, written to last first: 2"]);
    must_say(&mut session, &["far-back"]);
}

/// The positions of the rows of a list of events.
fn positions(text: &str) -> Vec<u64> {
    let first = |line: &str| line.split_whitespace().next()?.replace(',', "").parse().ok();
    text.lines().skip(4).filter_map(first).collect()
}

#[test]
fn events_are_read_by_pages_in_both_directions_and_none_is_missed_or_shown_twice() {
    let story = Story::new();
    for at in 0..4 {
        let batch = (0..500).fold(story.writer.batch(), |batch, n| {
            batch.event("s", NewEvent::new("Made", format!("<{}>", at * 500 + n + 1)))
        });
        batch.commit().unwrap();
    }
    let mut session = story.session();
    session.press(KeyCode::Char('g'));
    session.write("1,000");
    session.press(KeyCode::Enter);
    assert_eq!(session.events_read(), PAGE);
    assert!(lines(&mut session)[4].trim_start().starts_with("1,000 "), "{:?}", lines(&mut session));
    // Up over the first row, to the newest, and all the way down.
    let mut met = BTreeSet::new();
    for (key, end) in [(KeyCode::Up, 2_000), (KeyCode::PageDown, 1)] {
        for _ in 0..1_100 {
            session.press(key);
            let shown = positions(&session.text(80, 24));
            assert!(shown.windows(2).all(|pair| pair[0] == pair[1] + 1), "{shown:?}");
            met.extend(shown);
        }
        assert!(positions(&session.text(80, 24)).contains(&end), "{}", session.text(80, 24));
        if key == KeyCode::Up {
            must_say(&mut session, &["newest first; live"]);
        }
    }
    assert!(met.iter().copied().eq(1..=2_000), "each was on the screen at some time");
    session.press(KeyCode::Home);
    must_say(&mut session, &["2,000", "<2000>"]);
}

#[test]
fn a_list_is_live_at_its_first_row_and_stands_still_elsewhere() {
    let story = Story::new();
    (0..5).for_each(|n| story.append("s", "Made", &format!("<{n}>")));
    let mut session = story.session();
    session.press(KeyCode::Char('5'));
    must_say(&mut session, &["<4>"]);
    story.append("s", "Made", "<5>");
    session.look(std::time::Duration::from_secs(1));
    must_say(&mut session, &["<5>"]);
    session.press(KeyCode::Down);
    story.append("s", "Made", "<6>");
    session.look(std::time::Duration::from_secs(2));
    must_not_say(&mut session, &["<6>"]);
    must_say(&mut session, &["the log has grown by 1 since, Home shows them"]);
    session.press(KeyCode::Home);
    session.press(KeyCode::Char('r'));
    must_say(&mut session, &["<6>"]);
}

#[test]
fn a_position_that_is_none_is_refused_and_one_beyond_the_log_shows_its_end() {
    let story = Story::new();
    (0..3).for_each(|n| story.append("s", "Made", &format!("<{n}>")));
    let mut session = story.session();
    session.press(KeyCode::Char('g'));
    session.write("ten\u{1b}");
    session.press(KeyCode::Enter);
    must_say(&mut session, &["is not a position like 1234"]);
    for text in ["99", "18446744073709551615"] {
        session.press(KeyCode::Char('g'));
        session.write(text);
        session.press(KeyCode::Enter);
        must_say(&mut session, &["<2>"]);
    }
    session.press(KeyCode::Char('g'));
    session.press(KeyCode::Char('0'));
    session.press(KeyCode::Enter);
    must_not_say(&mut session, &["Made"]);
}

#[test]
fn nothing_in_names_or_payloads_reaches_the_terminal_unescaped() {
    let story = Story::new();
    let bad = "evil\u{1b}[2J\u{9b}31m\u{202e}";
    let event = NewEvent::new("Type\u{1b}]0;x\u{7}", format!("{{\"a\":\"{bad}\u{7f}\"}}"))
        .tag("t\u{1b}c")
        .metadata("\u{1b}c\nnext");
    let Ok(_) = story.writer.append(bad, ExpectedVersion::Any, event) else { panic!("names may hold anything") };
    let mut session = story.session();
    let mut all = String::new();
    for key in [KeyCode::Char('5'), KeyCode::Enter, KeyCode::Char('4'), KeyCode::Enter, KeyCode::Enter] {
        session.press(key);
        all += &session.text(200, 40);
    }
    session.press(KeyCode::Char('/'));
    session.write(bad);
    all += &session.text(200, 40);
    session.press(KeyCode::Enter);
    all += &session.text(200, 40);
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!all.chars().any(steers), "{all:?}");
    assert!(all.contains(r"evil\u{1b}[2J\u{9b}31m\u{202e}"), "escaped, and not left out: {all}");
    assert!(all.contains(r"Type\u{1b}]0;x\u{7}") && all.contains(r"t\u{1b}c") && all.contains(r"\u{7f}"), "{all}");
}

#[test]
fn what_is_no_json_is_shown_as_text_or_as_bytes() {
    let story = Story::new();
    story.append("s", "Noted", "first line\nsecond\tline");
    story.writer.append("s", ExpectedVersion::Any, NewEvent::new("Sent", vec![0_u8, 1, 0xff, b'a'])).unwrap();
    story.append("s", "Empty", "");
    story.append("s", "Long", &format!("[{}1]", "1,".repeat(5_000)));
    let mut session = story.session();
    let mut open = |position: u64, words: &[&[&str]]| {
        session.press(KeyCode::Char('g'));
        session.write(&position.to_string());
        session.press(KeyCode::Enter);
        session.press(KeyCode::Enter);
        session.press(KeyCode::End);
        for words in words {
            must_say(&mut session, words);
        }
        session.press(KeyCode::Esc);
    };
    open(1, &[&["data", "first line"], &[r"second\tline"]]);
    open(2, &[&["4 B that are not text"], &["00 01 ff 61", "...a"]]);
    open(3, &[&["data", "(empty)"]]);
    open(4, &[&["… all 9.8 KiB of it: annals get STORE 4 --json"]]);
}

#[test]
fn a_redacted_event_says_so_and_why() {
    let story = Story::new();
    story.append("s", "Placed", r#"{"name":"Jane"}"#);
    story.writer.redact([Position::new(1)], "erasure request 4711").unwrap();
    let mut session = story.session();
    session.press(KeyCode::Char('g'));
    session.write("1");
    session.press(KeyCode::Enter);
    must_say(&mut session, &["(redacted)"]);
    session.press(KeyCode::Enter);
    must_say(&mut session, &["redacted", "erasure request 4711"]);
    must_not_say(&mut session, &["Jane"]);
}

#[test]
fn what_was_removed_is_the_end_of_the_list_and_no_error() {
    let story = Story::with(&Options::new().segment_bytes(64 * 1024));
    (0..300).for_each(|n| story.append(&format!("s-{n}"), "Made", &"x".repeat(500)));
    story.writer.truncate_before(Position::new(250), annals::Guard::Consumers).unwrap();
    let oldest = story.writer.oldest();
    assert!(oldest > Position::new(1), "the story is what the test thinks it is");
    let mut session = story.session();
    session.press(KeyCode::Char('5'));
    session.press(KeyCode::End);
    must_say(&mut session, &[&format!("{oldest} "), "Made"]);
    session.press(KeyCode::Char('g'));
    session.press(KeyCode::Char('1'));
    session.press(KeyCode::Enter);
    session.press(KeyCode::Up);
    must_say(&mut session, &[&format!("{oldest} "), "Made"]);
    session.press(KeyCode::Char('4'));
    session.press(KeyCode::End);
    must_say(&mut session, &[&format!("streams, written to last first: {}", 301 - oldest.get())]);
    assert!(!crate::in_red(&session).contains("removed"), "{}", crate::in_red(&session));
}
