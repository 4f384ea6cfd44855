//! The event log of a bank, end to end: every event in, and every one found again.
//!
//! 262,200 events of loan applications (BPI Challenge 2012), with the totals
//! that their publisher printed. Where the data is not there the tests say so and pass.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use annals::{Event, EventStore, Options, Position, QueryItem, StreamVersion};
use annals_projection::{Fold, HandlerError, Projection};
use common::attacker::{Attack, Hashes, copy};
use common::{annals, command, wait_for};
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
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

fn text_of(log: &RealLog) -> String {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(&log.packed).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn lines_of(log: &RealLog) -> Vec<Value> {
    common::rows(&text_of(log))
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

/// A line as the file has it, with what the tests add to it.
struct Line {
    stream: String,
    event_type: String,
    tags: [String; 2],
    id: String,
    /// When the store took it in: the only thing that the file does not say.
    recorded_at: String,
}

/// Takes in the log in segments of 1 MiB, each line with an id and two tags made of what is in it.
struct Indexed {
    _dir: TempDir,
    store: PathBuf,
    input: PathBuf,
    lines: Vec<Line>,
}

impl Indexed {
    fn new(log: &RealLog) -> Indexed {
        let dir = TempDir::new().unwrap();
        let (mut text, mut out, mut lines) = (String::new(), String::new(), Vec::new());
        GzDecoder::new(fs::File::open(&log.packed).unwrap()).read_to_string(&mut text).unwrap();
        for (n, line) in text.lines().enumerate() {
            let row: Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| row[name].as_str().unwrap().to_owned();
            let resource = row["metadata"]["resource"].as_str().unwrap_or("none");
            let transition = row["data"]["transition"].as_str().unwrap();
            let tags = [format!("resource:{resource}"), format!("transition:{transition}")];
            let id = format!("{:08x}-0000-4000-8000-{n:012x}", (n as u32).wrapping_mul(0x9E37_79B9));
            let [resource, transition] = &tags;
            let line = line.strip_suffix('}').unwrap();
            writeln!(out, r#"{line},"id":"{id}","tags":["{resource}","{transition}"]}}"#).unwrap();
            let recorded_at = String::new();
            lines.push(Line { stream: field("stream"), event_type: field("type"), tags, id, recorded_at });
        }
        let (store, input) = (dir.path().join("store"), common::file(dir.path(), "in", out));
        annals(&[&"import", &"--segment-bytes", &"1048576", &store, &input]).exits(0);
        let exported = annals(&[&"export", &store]).exits(0).stdout;
        assert_eq!(exported.lines().count(), lines.len());
        for (line, row) in lines.iter_mut().zip(exported.lines()) {
            let (_, rest) = row.split_once("\"recorded_at\":\"").unwrap();
            rest.split_once('"').unwrap().0.clone_into(&mut line.recorded_at);
        }
        Indexed { _dir: dir, store, input, lines }
    }

    /// The positions that `read` prints.
    fn read(&self, args: &[String]) -> Vec<u64> {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"read", &"--json", &self.store];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
        let printed = annals(&all).exits(0).stdout;
        let position = |line: &str| line.strip_prefix("{\"position\":")?.split_once(',')?.0.parse().ok();
        printed.lines().map(|line| position(line).expect("a line begins with the position")).collect()
    }

    /// Asks every question, in all its forms; how many that were.
    fn check(&self, questions: &[Question]) -> u64 {
        let mut asked = 0;
        for Question { args, wanted } in questions {
            let expected: Vec<u64> =
                (1..).zip(&self.lines).filter(|(position, line)| wanted(*position, line)).map(|(at, _)| at).collect();
            let down: Vec<u64> = expected.iter().rev().copied().collect();
            let first = |all: &[u64], count: usize| all[..count.min(all.len())].to_vec();
            let last = expected[expected.len().saturating_sub(7)..].to_vec();
            for (more, expected) in [
                (&[][..], expected.clone()),
                (&["--limit", "5"], first(&expected, 5)),
                (&["--last", "7"], last),
                (&["--backward", "--limit", "6"], first(&down, 6)),
                (&["--last", "3", "--backward"], first(&down, 3)),
            ] {
                let args: Vec<String> = args.iter().cloned().chain(more.iter().map(|arg| (*arg).to_owned())).collect();
                let found = self.read(&args);
                let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
                assert!(
                    found == expected,
                    "{args:?}: {} found, {} counted; the first that differs is number {differs:?}",
                    found.len(),
                    expected.len()
                );
                asked += 1;
            }
        }
        asked
    }

    /// Asks for single events by their ids, and for ids that nobody has.
    fn check_ids(&self, step: usize) -> u64 {
        let mut asked = 0;
        for (at, line) in self.lines.iter().enumerate().step_by(step) {
            let row = annals(&[&"get", &"--json", &self.store, &line.id]).exits(0).row();
            assert_eq!((&row["position"], &row["stream"]), (&json!(at + 1), &json!(line.stream)), "{}", line.id);
            let other = line.id.replace("-4000-", "-4001-");
            annals(&[&"get", &self.store, &other]).exits(1).says("there is no event");
            asked += 2;
        }
        asked
    }
}

/// Whether the line at this position is wanted.
type Wanted = dyn Fn(u64, &Line) -> bool;

struct Question {
    args: Vec<String>,
    wanted: Box<Wanted>,
}

fn ask(args: &[&str], wanted: impl Fn(u64, &Line) -> bool + 'static) -> Question {
    Question { args: args.iter().map(|arg| (*arg).to_owned()).collect(), wanted: Box::new(wanted) }
}

/// From types of 12 events to such of 54,850, from one stream to all of them; and combinations.
fn questions(lines: &[Line]) -> Vec<Question> {
    let mut all = Vec::new();
    let types: BTreeSet<&str> = lines.iter().map(|line| &*line.event_type).collect();
    for name in types.into_iter().map(str::to_owned) {
        all.push(ask(&["--type", &name.clone()], move |_, line| line.event_type == name));
    }
    all.push(ask(&["--type", "A_"], |_, _| false));
    for prefix in ["A_", "O_SENT", "W_Wijzigen", "A_A", "X"] {
        all.push(ask(&["--type-prefix", prefix], move |_, line| line.event_type.starts_with(prefix)));
    }
    for stream in ["loan-185548", "loan-173688", "loan-2", "nobody"] {
        all.push(ask(&["--stream", stream], move |_, line| line.stream == stream));
    }
    for prefix in ["loan-185548", "loan-1855", "loan-20", "loan-17", "loan-", "nobody"] {
        all.push(ask(&["--stream-prefix", prefix], move |_, line| line.stream.starts_with(prefix)));
    }
    let tags: BTreeSet<&str> = lines.iter().flat_map(|line| line.tags.iter().map(|tag| &**tag)).collect();
    for tag in tags.into_iter().step_by(6).map(str::to_owned) {
        all.push(ask(&["--tag", &tag.clone()], move |_, line| line.tags.contains(&tag)));
    }
    let has = |line: &Line, tag: &str| line.tags.iter().any(|found| found == tag);
    all.push(ask(&["--tag", "transition:SCHEDULE", "--tag", "resource:112"], move |_, line| {
        has(line, "transition:SCHEDULE") && has(line, "resource:112")
    }));
    all.push(ask(&["--tag", "transition:SCHEDULE", "--tag", "transition:START"], |_, _| false));
    all.push(ask(&["--type", "O_SENT", "--type", "A_DECLINED", "--stream-prefix", "loan-18"], |_, line| {
        (line.event_type == "O_SENT" || line.event_type == "A_DECLINED") && line.stream.starts_with("loan-18")
    }));
    all.push(ask(&["--type-prefix", "W_", "--type", "A_SUBMITTED", "--tag", "resource:none"], move |_, line| {
        (line.event_type.starts_with("W_") || line.event_type == "A_SUBMITTED") && has(line, "resource:none")
    }));
    all.push(ask(
        &["--stream", "loan-185548", "--stream-prefix", "loan-1736", "--tag", "transition:START"],
        move |_, line| {
            (line.stream == "loan-185548" || line.stream.starts_with("loan-1736")) && has(line, "transition:START")
        },
    ));
    all.push(ask(&["--type", "A_DECLINED", "--after", "100000", "--until", "160000"], |position, line| {
        line.event_type == "A_DECLINED" && (100_001..=160_000).contains(&position)
    }));
    for (since, before) in [(20_000, 21_000), (131_100, 200_000), (0, 3_000), (250_000, 262_199)] {
        let moment = |at: usize| moment_of(&lines[at].recorded_at);
        let (from, to) = (moment(since), moment(before));
        let range = ["--since", &lines[since].recorded_at, "--before", &lines[before].recorded_at];
        all.push(ask(&range, move |_, line| (from..to).contains(&moment_of(&line.recorded_at))));
        let with_type = [&range[..], &["--type", "O_SENT", "--tag", "transition:COMPLETE"]].concat();
        all.push(ask(&with_type, move |_, line| {
            (from..to).contains(&moment_of(&line.recorded_at))
                && line.event_type == "O_SENT"
                && line.tags[1] == "transition:COMPLETE"
        }));
    }
    all
}

fn moment_of(text: &str) -> jiff::Timestamp {
    text.parse().expect("a time of recording is RFC 3339")
}

#[test]
fn the_cli_answers_what_counting_the_lines_of_the_file_gives_with_and_without_indexes() {
    let Some(log) = real_log() else { return };
    let indexed = Indexed::new(&log);
    let store = &indexed.store;
    let questions = questions(&indexed.lines);
    let mut asked = indexed.check(&questions) + indexed.check_ids(4_001);
    let files = |store: &Path| fs::read_dir(store.join("idx")).map_or(0, Iterator::count);
    let stats = annals(&[&"stats", &"--json", store]).exits(0).row();
    let sealed = stats["sealed_segments"].as_u64().unwrap();
    assert!(sealed > 40, "{stats}");
    println!("{asked} questions over {sealed} sealed segments, of which {} have an index", stats["indexed_segments"]);

    // Without any index: a reader makes what it needs for itself, each time, so not everything is asked.
    fs::remove_dir_all(store.join("idx")).unwrap();
    let few: Vec<Question> = self::questions(&indexed.lines).into_iter().step_by(9).collect();
    asked += indexed.check(&few) + indexed.check_ids(40_001);
    assert_eq!(files(store), 0, "readers write nothing");
    println!("{asked} questions with those asked without any index");

    // The next writer makes them again.
    let writer = EventStore::open(store, &annals::Options::new()).unwrap();
    wait_for("the indexes", || (files(store) as u64 >= sealed + sealed / 16).then_some(()));
    writer.close().unwrap();
    let some: Vec<Question> = questions.into_iter().step_by(2).collect();
    asked += indexed.check(&some) + indexed.check_ids(8_001);
    let report = annals(&[&"verify", &"--json", store]).exits(0).row();
    assert_eq!(report["index_files"].as_u64(), Some(files(store) as u64), "{}", report["findings"]);

    // By streams and in all, too.
    let mut streams: BTreeMap<&str, u64> = BTreeMap::new();
    indexed.lines.iter().for_each(|line| *streams.entry(&line.stream).or_default() += 1);
    let listed = annals(&[&"streams", &"--json", store]).exits(0).rows();
    let listed = listed.iter().map(|row| (row["stream"].as_str().unwrap(), row["version"].as_u64().unwrap()));
    assert!(listed.eq(streams), "streams and their lengths");
    println!("{} questions asked in all", asked + 1);
}

#[test]
fn lines_with_ids_imported_from_overlapping_files_are_doubled_by_none() {
    let Some(log) = real_log() else { return };
    let indexed = Indexed::new(&log);
    let (store, text) = (&indexed.store, fs::read_to_string(&indexed.input).unwrap());
    let part = |from: usize, to: usize| text.split_inclusive('\n').take(to).skip(from).collect::<String>();
    for (source, from, to) in [("all", 0, 262_200), ("the end", 200_000, 262_200), ("some", 77, 5_000)] {
        let input = common::file(indexed.input.parent().unwrap(), "part", part(from, to));
        let row = annals(&[&"import", &"--json", &"--source", &source, store, &input]).exits(0).row();
        assert_eq!((&row["events"], &row["duplicates"]), (&json!(0), &json!(to - from)), "{source}: {row}");
    }
    // One whose content is known is not even read again.
    let row = annals(&[&"import", &"--json", store, &indexed.input]).exits(0).row();
    assert_eq!((&row["already"], &row["duplicates"]), (&json!(262_200), &json!(0)));
    // One line of a thousand is new, the others are there.
    let mut grown = part(1_000, 2_000);
    grown.push_str(r#"{"stream":"new","type":"T","id":"ffffffff-0000-4000-8000-000000000000"}"#);
    let input = common::file(indexed.input.parent().unwrap(), "part", grown);
    let row = annals(&[&"import", &"--json", store, &input]).exits(0).row();
    assert_eq!((&row["events"], &row["duplicates"], &row["head"]), (&json!(1), &json!(1_000), &json!(262_201)));
    annals(&[&"verify", store]).exits(0);
}

#[test]
fn sql_gives_the_publishers_totals() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &"--segment-bytes", &"4194304", &store, &log.packed]).exits(0);
    check_published_totals(&log, &|sql| annals(&[&"--json", &"sql", &store, &sql]).exits(0).rows());
}

/// Whoever answers SQL has to give the totals that the publisher printed, and what counting the lines gives.
fn check_published_totals(log: &RealLog, ask: &dyn Fn(&str) -> Vec<Value>) {
    let counts = |sql: &str| {
        let pair = |row: Value| (row["name"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap());
        ask(sql).into_iter().map(pair).collect::<BTreeMap<_, _>>()
    };
    let all = "SELECT count(*) AS events, count(DISTINCT stream) AS streams, min(ts) AS first, max(ts) AS last, \
        count(DISTINCT metadata->>'$.resource') AS resources, count(*) - count(metadata) AS without FROM events";
    let all = ask(all).remove(0);
    assert_eq!((&all["events"], &all["streams"]), (&log.totals["events"], &log.totals["streams"]));
    assert_eq!((&all["resources"], &all["without"]), (&json!(68), &json!(18_010)));
    for (end, name) in [("first", "first_time"), ("last", "last_time")] {
        assert_eq!(moment_of(all[end].as_str().unwrap()), moment_of(log.totals[name].as_str().unwrap()), "{end}");
    }
    let types = counts("SELECT type AS name, count(*) AS events FROM events GROUP BY 1");
    assert_eq!(json!(types), log.totals["events_by_type"]);
    let transitions = counts("SELECT data->>'$.transition' AS name, count(*) AS events FROM events GROUP BY 1");
    assert_eq!(json!(transitions), log.totals["events_by_transition"]);
    // Each type by itself, looked up.
    for (name, events) in &types {
        let sql = format!("SELECT count(*) AS n FROM events WHERE type = '{}'", name.replace('\'', "''"));
        assert_eq!(ask(&sql), [json!({ "n": events })], "{name}");
    }
    let longest = "SELECT stream, count(*) AS n FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 1";
    assert_eq!(ask(longest), [json!({"stream": "loan-185548", "n": 175})]);
    assert_eq!(ask("SELECT count(*) AS n FROM events WHERE stream = 'loan-185548'"), [json!({"n": 175})]);
    let lines = lines_of(log);
    let amounts = lines.iter().filter_map(|line| line["data"]["amount_requested"].as_u64());
    let total = "SELECT sum(data->>'$.amount_requested') AS n FROM events WHERE type = 'A_SUBMITTED'";
    assert_eq!(ask(total), [json!({"n": amounts.sum::<u64>()})]);
    let since = moment_of("2012-03-01T00:00:00Z");
    let late = lines.iter().filter(|line| moment_of(line["time"].as_str().unwrap()) > since).count();
    assert_eq!(
        ask("SELECT count(*) AS n FROM events WHERE ts > '2012-03-01T00:00:00.000000000Z'"),
        [json!({ "n": late })]
    );
}

#[test]
fn a_derived_table_gives_the_publishers_totals_also_after_kills_and_after_a_rebuild() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let (store, file) = (dir.path().join("store"), dir.path().join("loans.db"));
    annals(&[&"import", &"--segment-bytes", &"4194304", &store, &log.packed]).exits(0);
    let to = format!("sqlite:{}", file.display());
    let args: [&dyn AsRef<OsStr>; 6] = [&"index", &store, &"--to", &to, &"--batch", &"1000"];
    let position = || {
        let table = rusqlite::Connection::open(&file).ok()?;
        let ask = "SELECT position FROM annals_index";
        table.query_row(ask, [], |row| row.get::<_, i64>(0)).ok()
    };
    // Killed once in each part of the log, unless it was quicker.
    let mut on_the_way = 0;
    for part in 1..6 {
        let mut child = command(&args).stdout(Stdio::null()).spawn().unwrap();
        wait_for("a part of the table", || position().filter(|position| *position >= part * 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        on_the_way += u32::from(position().unwrap() < 262_200);
    }
    assert!(on_the_way >= 3, "it was killed {on_the_way} times on the way");
    annals(&args).exits(0);
    let ask = |sql: &str| {
        let table = rusqlite::Connection::open(&file).unwrap();
        let mut statement = table.prepare(sql).unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let value = |value| match value {
            rusqlite::types::Value::Integer(number) => json!(number),
            rusqlite::types::Value::Text(text) => json!(text),
            other => panic!("{other:?}"),
        };
        let object = |row: &rusqlite::Row<'_>| {
            let values = names.iter().map(|name| Ok((name.clone(), value(row.get(&**name)?))));
            values.collect::<rusqlite::Result<serde_json::Map<_, _>>>().map(Value::Object)
        };
        statement.query_map([], object).unwrap().map(Result::unwrap).collect()
    };
    check_published_totals(&log, &ask);
    annals(&[&args[..], &[&"--rebuild-beside"]].concat()).exits(0);
    check_published_totals(&log, &ask);
}

/// What is folded of it: events by type, and the sum of what was asked for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct Asked {
    by_type: BTreeMap<String, u64>,
    amount: u64,
}

/// Where the process that folds is killed.
const KILLED_AT: u64 = 100_000;

struct Totals {
    /// Whether it waits in the middle to be killed.
    waits: bool,
}

impl Fold for Totals {
    type State = Asked;

    fn initial(&self) -> Asked {
        Asked::default()
    }

    fn apply(&self, asked: &mut Asked, event: &Event<'_>) -> Result<(), HandlerError> {
        *asked.by_type.entry(event.event_type.to_owned()).or_default() += 1;
        let data: Value = serde_json::from_slice(event.data)?;
        asked.amount += data["amount_requested"].as_u64().unwrap_or(0);
        if self.waits && event.position.get() == KILLED_AT {
            println!("\nhere");
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }
}

fn totals(waits: bool) -> Projection<Totals> {
    Projection::of("totals", Totals { waits }).snapshot_every(30_000)
}

/// Not a test: the process that is killed.
#[test]
fn a_child_that_folds_until_it_is_killed() {
    let Some(store) = std::env::var_os("ANNALS_FOLDED_STORE") else { return };
    let store = EventStore::open(store, &Options::new()).unwrap();
    totals(true).attach(&store).unwrap().catch_up().unwrap();
}

#[test]
fn a_projection_of_it_comes_to_the_publishers_totals_also_after_a_kill_in_the_middle() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    annals(&[&"import", &path, &log.packed]).exits(0);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_that_folds_until_it_is_killed", "--nocapture"])
        .env("ANNALS_FOLDED_STORE", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap() == "here"), "it has come half-way");
    child.kill().unwrap();
    child.wait().unwrap();

    let store = EventStore::open(&path, &Options::new()).unwrap();
    let mut resumed = totals(false).attach(&store).unwrap();
    assert_eq!((resumed.position(), resumed.ignored_snapshots()), (Position::new(90_000), &[][..]));
    assert_eq!(resumed.catch_up().unwrap(), Position::new(262_200));
    assert_eq!(json!(resumed.state().by_type), log.totals["events_by_type"]);
    let amount: u64 = lines_of(&log).iter().filter_map(|line| line["data"]["amount_requested"].as_u64()).sum();
    assert_eq!(resumed.state().amount, amount);
    let asked = resumed.state().clone();
    resumed.rebuild().unwrap();
    assert_eq!(*resumed.state(), asked, "resumed equals rebuilt");
}

#[test]
fn whoever_changes_its_past_is_found_with_a_witness_and_the_position_is_named() {
    let Some(log) = real_log() else { return };
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let text = text_of(&log);
    let half = text.match_indices('\n').nth(99_999).unwrap().0 + 1;
    let take = |lines: &str, name: &str| {
        let lines = common::file(dir.path(), name, lines);
        annals(&[&"import", &"--hash-chain", &"--segment-bytes", &"8388608", &"--batch", &"100", &store, &lines])
            .exits(0);
        common::file(dir.path(), &format!("{name}.json"), annals(&[&"tip", &store, &"--json"]).exits(0).stdout)
    };
    let witnesses = (take(&text[..half], "first"), take(&text[half..], "second"));
    let verify = |store: &Path, exit| {
        let (early, end): (&Path, &Path) = (&witnesses.0, &witnesses.1);
        annals(&[&"verify", &"--json", &store, &"--witness", &early, &"--witness", &end]).exits(exit).row()
    };
    let whole = verify(&store, 0);
    assert_eq!((&whole["head"], &whole["witnesses"], &whole["clean"]), (&json!(262_200), &json!(2), &json!(true)));
    assert!(whole["segments"].as_u64().unwrap() > 5);

    // The same to somebody without the store.
    let prove = |args: &[&dyn AsRef<OsStr>]| {
        let proof = annals(&[&[&"prove" as &dyn AsRef<OsStr>, &store], args].concat()).exits(0).stdout;
        common::file(dir.path(), "proof.json", proof)
    };
    let grown = prove(&[&"--since", &witnesses.0, &"--witness", &witnesses.1]);
    let check = [&"witness" as &dyn AsRef<OsStr>, &"check-proof", &grown, &"--witness", &witnesses.0];
    annals(&[&check[..], &[&"--witness", &witnesses.1]].concat()).exits(0);
    for position in ["1", "77777", "100000"] {
        let inside = prove(&[&"--position", &position, &"--witness", &witnesses.0]);
        annals(&[&"witness", &"check-proof", &inside, &"--witness", &witnesses.0]).exits(0);
        annals(&[&"witness", &"check-proof", &inside, &"--witness", &witnesses.1]).exits(1);
    }

    let attacked = dir.path().join("attacked");
    let strike = |attack: Attack, hashes| {
        _ = fs::remove_dir_all(&attacked);
        copy(&store, &attacked);
        let first = attack.strike(&attacked, 200_000, hashes);
        let row = verify(&attacked, 1);
        let findings = row["findings"].as_array().unwrap();
        assert!(findings.iter().all(|finding| finding["kind"] == "chain"), "{attack:?}: {findings:?}");
        let position = findings.iter().filter_map(|finding| finding["position"].as_u64()).min().unwrap();
        (first, position, row["head"].as_u64().unwrap())
    };
    for attack in Attack::ALL {
        let (first, position, _) = strike(attack, Hashes::Kept);
        assert_eq!((first, position), (199_901, 199_901), "{attack:?}");
    }
    // The whole chain computed anew: it is between the witnesses. And one batch less shows at the end.
    let (_, position, _) = strike(Attack::EditedPayload, Hashes::Recomputed);
    assert_eq!(position, 100_001);
    let (_, position, head) = strike(Attack::DroppedMiddle, Hashes::Recomputed);
    assert_eq!((position, head), (262_101, 262_100));
}
