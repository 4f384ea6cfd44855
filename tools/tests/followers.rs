//! `annals consumers`, `annals projections` and `annals snapshot`: what is kept by those who follow a log.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position, StreamVersion};
use annals_projection::{Handlers, OnError, Projection, UpTo, reconstruct_state};
use common::{annals, snapshot};
use serde_json::{Value, json};
use tempfile::TempDir;

type Counts = BTreeMap<String, u64>;

/// Counts events by stream; cannot take those that say so.
fn counting(name: &str) -> Projection<Handlers<Counts>> {
    let counting = Projection::new(name).when("Noted", |counts: &mut Counts, event| {
        *counts.entry(event.stream.to_owned()).or_default() += 1;
        if event.data == b"bad" { Err("it is bad") } else { Ok(()) }
    });
    counting.on_error(OnError::Skip)
}

fn note(store: &EventStore, count: u64) {
    for number in 0..count {
        let data = if number == 6 { "bad" } else { "good" };
        store.append(format!("s-{}", number % 3), ExpectedVersion::Any, NewEvent::new("Noted", data)).unwrap();
    }
}

/// A store of 20 events with two consumers, and two projections: one of bincode at 10 and 20, and one of JSON at 20.
fn followed() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = EventStore::open(&path, &Options::new()).unwrap();
    note(&store, 20);
    store.consumer("mailer").unwrap().checkpoint(Position::new(15)).unwrap();
    store.consumer("archive").unwrap();
    let mut plain = counting("plain").schema_version(3).snapshot_every(10).attach(&store).unwrap();
    plain.catch_up().unwrap();
    let mut json = counting("readable").json_snapshots().attach(&store).unwrap();
    json.catch_up().unwrap();
    json.take_snapshot().unwrap();
    note(&store, 4);
    drop((plain, json));
    store.close().unwrap();
    (dir, path)
}

fn snapshot_file(store: &Path, projection: &str, position: u64) -> PathBuf {
    store.join(format!("snap/{projection}/{position:020}.snap"))
}

fn flip(file: &Path, byte: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[byte] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn consumers_are_listed_with_their_lag_and_what_is_wrong_with_them() {
    let (_dir, store) = followed();
    let rows = annals(&[&"consumers", &"--json", &store]).exits(0).rows();
    let shown: Vec<_> = rows.iter().map(|row| (&row["name"], &row["position"], &row["lag"])).collect();
    let (archive, mailer) = (json!("archive"), json!("mailer"));
    assert_eq!(shown, [(&archive, &json!(0), &json!(24)), (&mailer, &json!(15), &json!(9))]);
    let text = annals(&[&"consumers", &store]).exits(0).stdout;
    assert!(text.lines().any(|line| line.contains("mailer") && line.contains("15") && line.contains('9')), "{text}");

    fs::write(store.join("consumers/mailer"), "no checkpoint").unwrap();
    let rows = annals(&[&"consumers", &"--json", &store]).exits(1).rows();
    assert_eq!((&rows[1]["position"], &rows[1]["lag"]), (&json!(null), &json!(null)));
    assert!(rows[1]["fault"].as_str().unwrap().contains("slots"), "{rows:?}");
    assert!(annals(&[&"consumers", &store]).exits(1).stdout.contains("unknown"));
}

#[test]
fn a_consumer_of_a_history_that_the_log_does_not_have_is_a_finding() {
    let (dir, store) = followed();
    let older = dir.path().join("older");
    // A backup that was made when there were fewer events, with the checkpoint of today.
    let log = EventStore::open(&older, &Options::new()).unwrap();
    note(&log, 3);
    log.close().unwrap();
    fs::create_dir_all(older.join("consumers")).unwrap();
    fs::copy(store.join("consumers/mailer"), older.join("consumers/mailer")).unwrap();
    let row = annals(&[&"consumers", &"--json", &older]).exits(1).row();
    assert!(row["fault"].as_str().unwrap().contains("another history"), "{row}");
}

#[test]
fn projections_are_listed_with_where_a_restart_goes_on_and_their_snapshots() {
    let (_dir, store) = followed();
    let rows = annals(&[&"projections", &"--json", &store]).exits(0).rows();
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["plain", "readable"]);
    assert_eq!((&rows[0]["position"], &rows[0]["lag"]), (&json!(20), &json!(4)));
    let kept: Vec<_> = rows[0]["snapshots"].as_array().unwrap().iter().map(|kept| &kept["position"]).collect();
    assert_eq!(kept, [20, 10]);
    let newest = &rows[0]["snapshots"][0];
    assert_eq!((&newest["encoding"], &newest["schema_version"]), (&json!("bincode"), &json!(3)));
    assert_eq!((&newest["handled"], &newest["left_out"]), (&json!(19), &json!(1)));
    assert_eq!(newest["bytes"], fs::metadata(snapshot_file(&store, "plain", 20)).unwrap().len());
    assert_eq!(rows[1]["snapshots"][0]["encoding"], "JSON");
    let text = annals(&[&"projections", &store]).exits(0).stdout;
    assert!(text.lines().any(|line| line.contains("plain") && line.contains("2 of 2")), "{text}");
}

#[test]
fn a_snapshot_that_a_restart_passes_over_is_a_finding_with_the_reason() {
    let (dir, store) = followed();
    let other = dir.path().join("other");
    let log = EventStore::open(&other, &Options::new()).unwrap();
    note(&log, 20);
    log.close().unwrap();
    fs::create_dir_all(other.join("snap/plain")).unwrap();
    fs::copy(snapshot_file(&store, "plain", 20), snapshot_file(&other, "plain", 20)).unwrap();
    let row = annals(&[&"projections", &"--json", &other]).exits(1).row();
    assert_eq!((&row["position"], &row["lag"]), (&json!(null), &json!(20)));
    assert!(row["snapshots"][0]["fault"].as_str().unwrap().contains("another history"), "{row}");

    flip(&snapshot_file(&store, "plain", 20), 140);
    let row = &annals(&[&"projections", &"--json", &store]).exits(1).rows()[0];
    assert_eq!((&row["position"], &row["lag"]), (&json!(10), &json!(14)), "the older one is used");
    assert_eq!(row["snapshots"][0]["fault"], "its content is damaged");
    let text = annals(&[&"projections", &store]).exits(1).stdout;
    assert!(text.contains("1 of 2") && text.contains("its content is damaged"), "{text}");
}

#[test]
fn where_nobody_follows_it_says_so() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    EventStore::open(&store, &Options::new()).unwrap().close().unwrap();
    assert_eq!(annals(&[&"consumers", &store]).exits(0).says("no consumer").stdout, "");
    assert_eq!(annals(&[&"projections", &store]).exits(0).says("no projection").stdout, "");
    assert_eq!(annals(&[&"projections", &"--json", &store]).exits(0).stdout, "");
}

#[test]
fn they_are_listed_beside_the_process_that_folds_and_nothing_is_changed() {
    let (_dir, path) = followed();
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let folding = counting("plain").schema_version(3).snapshot_every(10).attach(&store).unwrap();
    let before = snapshot(&path);
    annals(&[&"projections", &path]).exits(0);
    annals(&[&"consumers", &path]).exits(0);
    annals(&[&"snapshot", &"verify", &snapshot_file(&path, "plain", 20)]).exits(0);
    assert_eq!(before, snapshot(&path));
    assert_eq!(folding.position(), Position::new(20));
}

#[test]
fn snapshot_show_prints_a_state_that_is_json_and_who_was_left_out() {
    let (_dir, store) = followed();
    let file = snapshot_file(&store, "readable", 20);
    let shown = annals(&[&"snapshot", &"show", &"--json", &file]).exits(0).row();
    assert_eq!((&shown["projection"], &shown["position"]), (&json!("readable"), &json!(20)));
    assert_eq!(shown["state"], json!({"s-0": 6, "s-1": 7, "s-2": 6}), "the bad one was of s-0");
    assert_eq!(shown["left_out"][0]["position"], 7);
    assert_eq!(shown["left_out"][0]["reason"], "it is bad");
    let text = annals(&[&"snapshot", &"show", &file]).exits(0).stdout;
    assert!(text.contains("Noted at position 7: it is bad") && text.contains(r#"{"s-0":6,"#), "{text}");

    let file = snapshot_file(&store, "plain", 20);
    let shown = annals(&[&"snapshot", &"show", &"--json", &file]).exits(0).row();
    assert!(shown["state_base64"].is_string() && shown["state"].is_null(), "{shown}");
    assert!(annals(&[&"snapshot", &"show", &file]).exits(0).stdout.contains("Only the program that wrote it"));
}

#[test]
fn snapshot_verify_says_whether_a_restart_can_use_it_wherever_it_is_named_from() {
    let (dir, store) = followed();
    let file = snapshot_file(&store, "plain", 20);
    let verdict = annals(&[&"snapshot", &"verify", &"--json", &file]).exits(0).row();
    assert_eq!((&verdict["fault"], &verdict["position"]), (&json!(null), &json!(20)));
    assert_eq!(verdict["store"], json!(store), "the store that it lies in");
    assert!(annals(&[&"snapshot", &"verify", &file]).exits(0).stdout.contains("of the history of its log"));

    let outside = dir.path().join("00000000000000000020.snap");
    fs::copy(&file, &outside).unwrap();
    annals(&[&"snapshot", &"verify", &outside]).exits(0).says("only its bytes were looked at");
    let renamed = snapshot_file(&store, "plain", 10);
    fs::copy(&file, &renamed).unwrap();
    let verdict = annals(&[&"snapshot", &"verify", &"--json", &renamed]).exits(1).row();
    assert!(verdict["fault"].as_str().unwrap().contains("it is of position 20"), "{verdict}");
    fs::create_dir(store.join("snap/other")).unwrap();
    let moved = snapshot_file(&store, "other", 20);
    fs::copy(&file, &moved).unwrap();
    assert!(annals(&[&"snapshot", &"verify", &moved]).exits(1).stdout.contains("it is a snapshot of plain"));

    let other = dir.path().join("other");
    EventStore::open(&other, &Options::new()).unwrap().close().unwrap();
    let foreign = annals(&[&"snapshot", &"verify", &file, &"--store", &other]).exits(1).stdout;
    assert!(foreign.contains("another history"), "{foreign}");
}

#[test]
fn a_flipped_bit_anywhere_in_a_snapshot_is_found() {
    let (_dir, store) = followed();
    let file = snapshot_file(&store, "plain", 20);
    let whole = fs::read(&file).unwrap();
    for byte in (0..whole.len()).step_by(17) {
        flip(&file, byte);
        annals(&[&"snapshot", &"verify", &file]).exits(1);
        annals(&[&"snapshot", &"show", &file]).exits(1).says("is no snapshot that can be used");
        fs::write(&file, &whole).unwrap();
    }
    annals(&[&"snapshot", &"verify", &file]).exits(0);
    fs::write(&file, &whole[..100]).unwrap();
    annals(&[&"snapshot", &"verify", &file]).exits(1);
}

#[test]
fn a_snapshot_that_is_not_there_is_exit_code_3() {
    let (_dir, store) = followed();
    for action in ["show", "verify"] {
        annals(&[&"snapshot", &action, &store.join("snap/none")]).exits(3).says("cannot read");
        annals(&[&"snapshot", &action, &store]).exits(3);
        annals(&[&"snapshot", &action]).exits(2);
    }
    annals(&[&"snapshot", &"verify", &snapshot_file(&store, "plain", 20), &"--store", &store.join("x")]).exits(3);
}

#[test]
fn read_shows_the_events_that_a_state_is_folded_from_up_to_any_moment() {
    let (_dir, path) = followed();
    let store = EventStore::open_read_only(&path).unwrap();
    let noting = Handlers::new(Vec::new()).when("Noted", |all: &mut Vec<u64>, event| all.push(event.position.get()));
    let check = |up_to: UpTo, moment: &str| {
        let folded = reconstruct_state(&store, "s-1", &noting, up_to).unwrap().state;
        let args: [&dyn AsRef<std::ffi::OsStr>; 7] =
            [&"read", &"--json", &path, &"--stream", &"s-1", &"--up-to", &moment];
        let rows = annals(&args).exits(0).rows();
        let shown: Vec<u64> = rows.iter().map(|row| row["position"].as_u64().unwrap()).collect();
        assert_eq!(shown, folded, "{moment}");
        folded.len()
    };
    let all = check(UpTo::Head, "head");
    assert_eq!(all, 8, "the stories of the other streams are left out");
    for version in [0, 1, 5, 8, 9] {
        let count = check(UpTo::Version(StreamVersion::new(version)), &version.to_string());
        assert_eq!(count as u64, version.min(8));
    }
    // Of another stream, of this one, and beyond the head.
    for position in [0, 1, 2, 3, 11, 24, 99] {
        check(UpTo::Position(Position::new(position)), &format!("@{position}"));
    }
    let times: Vec<i64> = store.read_all(Position::START).map(|event| event.unwrap().as_event().recorded_at).collect();
    for time in [times[0], times[13], times[13] - 1, times[23]] {
        let moment = jiff::Timestamp::from_nanosecond(time.into()).unwrap().to_string();
        check(UpTo::Time(time), &moment);
    }
    let read = |args: &[&str]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"read", &path];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
        annals(&all).exits(2)
    };
    read(&["--up-to", "3"]).says("--up-to is of one stream");
    read(&["--up-to", "3", "--stream", "s-1", "--stream", "s-2"]).says("--up-to is of one stream");
    for moment in ["", "@", "@x", "yesterday", "-1", "99999999999999999999"] {
        read(&["--stream", "s-1", "--up-to", moment]);
    }
    read(&["--stream", "s-1", "--up-to", "3", "--until", "2"]);
}
