//! Rates, latencies and JSON by themselves, at moments that the tests give.

use std::time::Duration;

use annals_cli::top::{Latencies, Rates, json_lines};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn one_look_makes_no_rate_and_two_do() {
    let mut rates = Rates::default();
    assert_eq!((rates.now(), rates.last_minute()), (None, None));
    rates.add(SECOND, 10);
    assert_eq!((rates.now(), rates.last_minute()), (None, None));
    rates.add(SECOND * 3, 30);
    assert_eq!((rates.now(), rates.last_minute()), (Some(10), Some(10)));
}

#[test]
fn the_last_minute_is_a_minute_however_long_it_was_looked() {
    let mut rates = Rates::default();
    // A hundred events in the first second, and ten in each one after it.
    for second in 0..300_u64 {
        rates.add(SECOND * second as u32, if second == 0 { 0 } else { 90 + 10 * second });
    }
    assert_eq!((rates.now(), rates.last_minute()), (Some(10), Some(10)));
    assert_eq!(rates.steps().count(), 60);
    let mut slow = Rates::default();
    for (minutes, number) in [(0, 0), (5, 300), (10, 900)] {
        slow.add(SECOND * 60 * minutes, number);
    }
    assert_eq!(slow.now(), Some(2), "also where looks are minutes apart");
}

#[test]
fn a_number_that_falls_is_of_another_log_and_makes_no_rate() {
    let mut rates = Rates::default();
    rates.add(SECOND, 1_000_000);
    rates.add(SECOND * 2, 5);
    assert_eq!((rates.now(), rates.last_minute()), (None, None));
    rates.add(SECOND * 3, 6);
    assert_eq!(rates.now(), Some(1));
}

#[test]
fn two_looks_at_the_same_moment_do_no_harm() {
    let mut rates = Rates::default();
    rates.add(SECOND, 1);
    rates.add(SECOND, 1);
    assert_eq!(rates.now(), Some(0));
}

#[test]
fn percentiles_are_at_most_a_sixteenth_too_large_and_the_longest_is_exact() {
    let mut seen = Latencies::default();
    for nanos in 1..=10_000 {
        seen.add(Duration::ZERO, nanos * 1_000);
    }
    let summary = seen.summary(Duration::ZERO);
    assert_eq!((summary.events, summary.max, summary.ahead), (10_000, 10_000_000, 0));
    for (found, true_one) in [(summary.p50, 5_000_000), (summary.p99, 9_900_000)] {
        assert!(found >= true_one && found <= true_one + true_one / 16, "{found} for {true_one}");
    }
}

#[test]
fn every_latency_is_told_at_most_a_sixteenth_too_large_and_never_too_small() {
    let near_powers = (0..63).flat_map(|bit| [(1_i64 << bit) - 1, 1 << bit, (1 << bit) + (1 << bit) / 3]);
    for nanos in (0..2_000).chain(near_powers) {
        let mut seen = Latencies::default();
        // The longest is exact, so there is a longer one.
        seen.add(Duration::ZERO, nanos);
        seen.add(Duration::ZERO, i64::MAX);
        let (told, nanos) = (seen.summary(Duration::ZERO).p50, nanos.cast_unsigned());
        assert!(told >= nanos && told - nanos <= nanos / 16, "{told} for {nanos}");
    }
}

#[test]
fn what_is_older_than_a_minute_no_longer_counts() {
    let mut seen = Latencies::default();
    seen.add(Duration::ZERO, 9_000);
    seen.add(SECOND * 30, 1_000);
    assert_eq!(seen.summary(SECOND * 59).max, 9_000);
    assert_eq!(seen.summary(SECOND * 60).max, 1_000);
    assert_eq!(seen.summary(SECOND * 90).events, 0);
    assert_eq!(seen.summary(SECOND * 90).p99, 0);
}

#[test]
fn an_event_from_the_future_is_counted_as_one() {
    let mut seen = Latencies::default();
    seen.add(Duration::ZERO, -5);
    seen.add(Duration::ZERO, i64::MIN);
    seen.add(Duration::ZERO, i64::MAX);
    let summary = seen.summary(Duration::ZERO);
    assert_eq!((summary.events, summary.ahead, summary.p50), (3, 2, 0));
    assert_eq!(summary.max, i64::MAX as u64);
    // One that was seen at once is none.
    let mut at_once = Latencies::default();
    at_once.add(Duration::ZERO, 0);
    assert_eq!(at_once.summary(Duration::ZERO).ahead, 0);
}

#[test]
fn of_a_hundred_that_differ_much_each_percentile_is_the_one_that_it_is_called_after() {
    let mut seen = Latencies::default();
    // Each twice as long as two before it, so that the neighbours of a percentile are told from it.
    for (nanos, times) in [(1_000, 49), (1_000_000, 1), (2_000_000, 48), (4_000_000, 1), (1_000_000_000, 1)] {
        (0..times).for_each(|_| seen.add(Duration::ZERO, nanos));
    }
    let summary = seen.summary(Duration::ZERO);
    let near = |found: u64, true_one: u64| found >= true_one && found - true_one <= true_one / 16;
    assert!(near(summary.p50, 1_000_000) && near(summary.p99, 4_000_000), "{summary:?}");
    assert_eq!(summary.max, 1_000_000_000);
}

#[test]
fn json_keeps_every_letter_but_white_space() {
    for text in [
        r#"{"b":1.00,"a":[1e400,-0,{"x":[]}],"b":"\" , : { \\","long":12345678901234567890123}"#,
        r#"  [ 1 ,  "a b" , [ ] , { } , true , null ]  "#,
        r#""a single text""#,
        "17",
    ] {
        let lines = json_lines(text.as_bytes(), usize::MAX).expect(text);
        let bare = |text: &str| {
            let mut inside = false;
            let mut escaped = false;
            text.chars()
                .filter(|&c| {
                    let kept = inside || !c.is_whitespace();
                    if c == '"' && !escaped {
                        inside = !inside;
                    }
                    escaped = c == '\\' && !escaped;
                    kept
                })
                .collect::<String>()
        };
        assert_eq!(bare(&lines.join("\n")), bare(text));
    }
    let lines = json_lines(br#"{"a":[1,{"b":2}],"c":{}}"#, usize::MAX).unwrap();
    assert_eq!(lines.join("\n"), "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": {}\n}");
}

#[test]
fn what_is_no_json_has_no_lines_and_what_is_long_has_as_many_as_are_wanted() {
    for text in ["", "{", "[1,]", "{\"a\":1}{}", "\u{0}"] {
        assert_eq!(json_lines(text.as_bytes(), 10), None, "{text:?}");
    }
    assert_eq!(json_lines(b"[1,2,3,4,5,6,7,8,9]", 4).unwrap().len(), 4);
    assert_eq!(json_lines(b"\xff", 4), None);
}
