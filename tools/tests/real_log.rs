//! The event log of a bank, end to end: every event in, and every one found again.
//!
//! 262,200 events of loan applications (BPI Challenge 2012), with the totals
//! that their publisher printed. Where the data is not there the tests say so and pass.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use annals::{EventStore, Position, QueryItem, StreamVersion};
use common::{annals, command, wait_for};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;

struct RealLog {
    packed: PathBuf,
    totals: Value,
}

/// The data lies beside the workspace, not in it.
fn real_log() -> Option<RealLog> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let packed = data.join("loan-applications.ndjson.gz");
    let totals = fs::read(data.join("loan-applications.totals.json"));
    match totals {
        Ok(totals) if packed.is_file() => {
            Some(RealLog { packed, totals: serde_json::from_slice(&totals).expect("the totals are JSON") })
        }
        _ => {
            eprintln!("skipped: the real event log is not at {}", data.display());
            None
        }
    }
}

fn lines_of(log: &RealLog) -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(&log.packed).unwrap()).read_to_string(&mut text).unwrap();
    common::rows(&text)
}

#[test]
fn it_is_taken_in_as_a_whole_and_its_totals_are_the_publishers() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let row = annals(&[&"import", &"--json", &store, &log.packed]).exits(0).row();
    assert_eq!((&row["events"], &row["streams"]), (&log.totals["events"], &log.totals["streams"]));
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    assert_eq!((&stats["events"], &stats["streams"]), (&json!(262_200), &json!(13_087)));
    assert_eq!((&stats["head"], &stats["oldest"]), (&json!(262_200), &json!(1)));
    let verified = annals(&[&"verify", &"--json", &store]).exits(0).row();
    assert_eq!((&verified["clean"], &verified["events"]), (&json!(true), &json!(262_200)));

    // By type and by transition, as the publisher counted.
    let opened = EventStore::open_read_only(&store).unwrap();
    let (mut types, mut transitions) = (BTreeMap::new(), BTreeMap::new());
    let mut reader = opened.read_all(Position::START);
    while let Some(event) = reader.next_event().unwrap() {
        let data: Value = serde_json::from_slice(event.data).unwrap();
        *types.entry(event.event_type.to_owned()).or_insert(0) += 1;
        *transitions.entry(data["transition"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(json!(types), log.totals["events_by_type"]);
    assert_eq!(json!(transitions), log.totals["events_by_transition"]);

    // The longest stream is the one that is known to be, and no other is as long.
    assert_eq!(opened.stream_version("loan-185548").unwrap(), StreamVersion::new(175));
    let streams = opened.streams("").unwrap();
    assert_eq!(streams.len(), 13_087);
    assert_eq!(streams.iter().filter(|info| info.version >= StreamVersion::new(175)).count(), 1);
    assert_eq!(streams.iter().map(|info| info.version.get()).min(), Some(3));
    assert_eq!(annals(&[&"read", &"--stream", &"loan-185548", &store]).exits(0).stdout.lines().count(), 175);
}

#[test]
fn what_a_query_finds_is_what_counting_the_lines_gives() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &store, &log.packed]).exits(0);
    let lines = lines_of(&log);
    let opened = EventStore::open_read_only(&store).unwrap();
    // When the line in the middle was recorded, and how many lines were before.
    let middle = opened.get(Position::new(131_100)).unwrap().expect("it is there").as_event().recorded_at;
    let before = opened.position_at(middle - 1).unwrap().get() as usize;
    assert!(0 < before && before < 131_100, "{before}");

    let starts = |line: &Value, field: &str, prefix: &str| line[field].as_str().unwrap().starts_with(prefix);
    let item = QueryItem::new;
    let check = |item: QueryItem, wanted: &dyn Fn(&Value) -> bool| {
        let count = |lines: &[Value]| lines.iter().filter(|line| wanted(line)).count();
        let reader = || opened.read(item.clone(), Position::START).unwrap();
        assert_eq!(reader().map(Result::unwrap).count(), count(&lines), "{item:?}");
        let since = reader().recorded_between(middle, i64::MAX);
        assert_eq!(since.map(Result::unwrap).count(), count(&lines[before..]), "since: {item:?}");
        let earlier = reader().recorded_between(i64::MIN, middle);
        assert_eq!(earlier.map(Result::unwrap).count(), count(&lines[..before]), "before: {item:?}");
    };
    check(item(), &|_| true);
    for event_type in log.totals["events_by_type"].as_object().unwrap().keys() {
        check(item().event_type(event_type), &|line| line["type"] == **event_type);
    }
    for prefix in ["A_", "O_", "W_", "A_A"] {
        check(item().type_prefix(prefix), &|line| starts(line, "type", prefix));
    }
    // From one stream to all 13,087 of them.
    for prefix in ["loan-185548", "loan-1855", "loan-2", "loan-"] {
        check(item().stream_prefix(prefix), &|line| starts(line, "stream", prefix));
    }
    check(item().stream_prefix("loan-19").event_type("A_SUBMITTED"), &|line| {
        starts(line, "stream", "loan-19") && line["type"] == "A_SUBMITTED"
    });

    let time = opened.get(Position::new(131_100)).unwrap().unwrap();
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.as_event().recorded_at)).unwrap().to_string();
    let printed = annals(&[&"read", &"--json", &store, &"--type-prefix", &"A_", &"--since", &time]).exits(0).stdout;
    let counted = lines[before..].iter().filter(|line| starts(line, "type", "A_")).count();
    assert_eq!(printed.lines().count(), counted);
}

#[test]
fn every_line_is_found_again_in_its_place() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &store, &log.packed]).exits(0);
    let exported = annals(&[&"export", &store]).exits(0).rows();
    let lines = lines_of(&log);
    assert_eq!(exported.len(), lines.len());
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, (line, row)) in lines.iter().zip(&exported).enumerate() {
        assert_eq!(row["position"], at as u64 + 1);
        for field in ["stream", "type", "time", "data", "metadata"] {
            assert_eq!(line.get(field).unwrap_or(&Value::Null), &row[field], "{field} of line {}", at + 1);
        }
        let version = versions.entry(line["stream"].as_str().unwrap()).or_default();
        *version += 1;
        assert_eq!(row["version"], *version, "line {}", at + 1);
    }
}

#[test]
fn killed_in_the_middle_and_imported_again_it_is_the_same_log() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    for target in [1, 60_000, 150_000] {
        let mut child =
            command(&[&"import", &store, &log.packed]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("the import to come so far", || {
            let head = EventStore::open_read_only(&store).map_or(0, |store| store.head().get());
            (head >= target || child.try_wait().unwrap().is_some()).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        annals(&[&"verify", &store]).exits(0);
    }
    let row = annals(&[&"import", &"--json", &store, &log.packed]).exits(0).row();
    assert_eq!(row["events"].as_u64().unwrap() + row["already"].as_u64().unwrap(), 262_200);
    let again = annals(&[&"import", &"--json", &store, &log.packed]).exits(0).row();
    assert_eq!((&again["events"], &again["already"]), (&json!(0), &json!(262_200)));
    annals(&[&"verify", &store]).exits(0);

    let whole = dir.path().join("whole");
    annals(&[&"import", &whole, &log.packed]).exits(0);
    let (killed, whole) = (EventStore::open_read_only(&store).unwrap(), EventStore::open_read_only(&whole).unwrap());
    let (mut one, mut other) = (killed.read_all(Position::START), whole.read_all(Position::START));
    let mut events = 0;
    while let Some(event) = one.next_event().unwrap() {
        let twin = other.next_event().unwrap().expect("the other log is as long");
        let facts = |event: &annals::Event<'_>| (event.position, event.version, event.occurred_at, event.content_type);
        assert_eq!(facts(&event), facts(&twin));
        assert_eq!((event.stream, event.event_type), (twin.stream, twin.event_type));
        assert_eq!((event.data, event.metadata), (twin.data, twin.metadata), "position {}", event.position);
        events += 1;
    }
    assert_eq!((events, other.next_event().unwrap().is_none()), (262_200, true));
}
