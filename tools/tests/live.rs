//! Readers in other processes, beside a writer at work.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use annals::{Durability, EventStore, ExpectedVersion, NewEvent, Options};
use common::{annals, command};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn tail_follows_a_writer_in_another_process_event_by_event_and_over_segments() {
    let dir = TempDir::new().unwrap();
    // Small segments: the reader has to follow from one to the next.
    let store = EventStore::open(dir.path(), &Options::new().segment_bytes(64 * 1024)).unwrap();
    let append = |n: u64| {
        let data = format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(500));
        store.append("live", ExpectedVersion::Any, NewEvent::new("Appended", data)).unwrap();
    };
    (1..=5).for_each(append);
    let mut child =
        command(&[&"tail", &"--follow", &"--json", &"-n", &"3", &dir.path()]).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (send, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if send.send(row["position"].as_u64().unwrap()).is_err() {
                break;
            }
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(60)).expect("the reader sees the event");
    assert_eq!([next(), next(), next()], [3, 4, 5]);
    for n in 6..=600 {
        append(n);
        // Each is seen before the next is appended: following is live, not in bulk.
        if n < 10 {
            assert_eq!(next(), n);
        }
    }
    for n in 10..=600 {
        assert_eq!(next(), n);
    }
    assert!(store.stats().segments.len() > 3, "the log has moved on to other segments");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    assert!(lines.try_recv().is_err(), "nothing came twice");
}

#[test]
fn another_process_sees_buffered_events_once_they_are_durable_and_not_before() {
    let dir = TempDir::new().unwrap();
    let options = Options::new().durability(Durability::Buffered).flush_interval(None);
    let store = EventStore::open(dir.path(), &options).unwrap();
    store.append("s", ExpectedVersion::Any, NewEvent::new("Appended", "1")).unwrap();
    store.flush().unwrap();
    store.append("s", ExpectedVersion::Any, NewEvent::new("Appended", "2")).unwrap();
    let head = || annals(&[&"stats", &"--json", &dir.path()]).exits(0).row()["head"].as_u64().unwrap();
    assert_eq!(head(), 1);
    store.flush().unwrap();
    assert_eq!(head(), 2);
}

#[test]
fn every_reading_command_works_while_a_writer_appends() {
    let dir = TempDir::new().unwrap();
    let store = EventStore::open(dir.path(), &Options::new().segment_bytes(64 * 1024)).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let stream = format!("s-{}", n % 10);
                store.append(stream, ExpectedVersion::Any, NewEvent::new("Appended", "x".repeat(300))).unwrap();
            }
        });
        let check = || {
            let mut seen = 0;
            for _ in 0..10 {
                for command in ["verify", "stats", "read", "export", "streams", "tail", "dump"] {
                    annals(&[&command, &dir.path()]).exits(0);
                }
                let rows = annals(&[&"export", &dir.path()]).exits(0).rows();
                let positions: Vec<u64> = rows.iter().map(|row| row["position"].as_u64().unwrap()).collect();
                assert!(positions.iter().copied().eq(1..=rows.len() as u64), "dense from 1 on");
                assert!(rows.len() >= seen, "what was seen stays seen");
                seen = rows.len();
            }
            seen
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        // The writer stops whatever the checks said, or the test would never end.
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(checked.expect("no check failed") > 0);
    });
}
