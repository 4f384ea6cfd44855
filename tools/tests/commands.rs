//! What the commands print, how they end, and that bad input of any kind changes nothing.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use annals::{EventStore, NewEvent, Options, Position};
use annals_projection::Projection;
use common::{Rng, annals, command, crc32, file, lines, only_segment, ran, rows, snapshot};
use serde_json::{Value, json};
use tempfile::TempDir;

const COMMANDS: [&str; 14] = [
    "demo",
    "import",
    "export",
    "get",
    "read",
    "tail",
    "streams",
    "stats",
    "consumers",
    "projections",
    "snapshot",
    "verify",
    "truncate",
    "dump",
];
/// Those that take a store and nothing else that must be there, and only read.
const READERS: [&str; 8] = ["export", "read", "tail", "streams", "stats", "consumers", "projections", "verify"];

/// A directory with a store of 100 events in it.
fn store() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    annals(&[&"import", &path, &file(dir.path(), "in", lines(100))]).exits(0);
    (dir, path)
}

fn numbers(rows: &[Value], field: &str) -> Vec<u64> {
    rows.iter().map(|row| row[field].as_u64().unwrap()).collect()
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = annals(&[&"--help"]).exits(0);
    for command in COMMANDS {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}: {}", help.stdout);
        let own = annals(&[&command, &"--help"]).exits(0).stdout;
        assert!(own.contains(&format!("Usage: annals {command}")) && own.contains("--json"), "{own}");
    }
    assert_eq!(annals(&[&"help"]).exits(0).stdout, help.stdout);
    assert_eq!(
        annals(&[&"help", &"witness", &"check"]).exits(0).stdout,
        annals(&[&"witness", &"check", &"--help"]).exits(0).stdout
    );
    for code in ["0  fine", "1  found something", "2  the arguments", "3  could not"] {
        assert!(help.stdout.contains(code), "{}", help.stdout);
    }
    assert!(!help.stdout.contains("demo-writer"), "the demo's child is nobody's business");
    assert_eq!(annals(&[&"--version"]).exits(0).stdout.trim(), concat!("annals ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn arguments_that_make_no_sense_are_exit_code_2() {
    let (_dir, store) = store();
    annals(&[]).exits(2);
    annals(&[&"frobnicate", &store]).exits(2);
    for command in COMMANDS.iter().filter(|&&command| command != "demo") {
        annals(&[command]).exits(2);
        annals(&[command, &store, &"--no-such-option"]).exits(2);
    }
    annals(&[&"read", &store, &"--limit", &"-1"]).exits(2);
    annals(&[&"read", &store, &"--limit", &"1", &"--last", &"1"]).exits(2);
    annals(&[&"import", &store, &"x", &"--batch", &"0"]).exits(2);
    annals(&[&"import", &store, &"x", &"--segment-bytes", &"many"]).exits(2);
    let input = store.parent().unwrap().join("in");
    annals(&[&"import", &store, &input, &"--segment-bytes", &"1"]).exits(2).says("segment_bytes");
    for place in ["-1", "", "1.5", "order-7", "99999999999999999999", "01234567-89ab-cdef-0011-22334455667"] {
        annals(&[&"get", &store, &place]).exits(2);
    }
    annals(&[&"get", &store]).exits(2);
    annals(&[&"get", &store, &"1", &"--key", &"k"]).exits(2);
    annals(&[&"get", &store, &"--key", &""]).exits(2).says("is empty");
    let error = &rows(&annals(&[&"--json", &"frobnicate"]).exits(2).stderr)[0];
    assert_eq!(error["exit"], 2, "{error}");
    let error = &rows(&annals(&[&"--json", &"import"]).exits(2).stderr)[0];
    let missing = "the following required arguments were not provided: <STORE>, <INPUT>";
    assert_eq!((&error["error"], &error["exit"]), (&json!(missing), &json!(2)));
    // Wherever the flag stands.
    for args in [["--json", "stats", "x", "--prometheus"], ["stats", "x", "--prometheus", "--json"]] {
        let ran = annals(&[&args[0], &args[1], &args[2], &args[3]]).exits(2);
        assert!(ran.stderr.contains("'--prometheus' cannot be used with '--json'"), "{}", ran.stderr);
    }
    annals(&[&"verify", &store, &"--from", &"100"]).exits(0);
    annals(&[&"verify", &store, &"--from", &"100", &"--level", &"snapshots"]).exits(0);
    annals(&[&"verify", &store, &"--from", &"101"]).exits(2).says("the log ends at 100");
}

#[test]
fn names_that_cannot_be_are_exit_code_2_and_say_why() {
    let (_dir, store) = store();
    let long = "x".repeat(513);
    for (name, why) in [("", "is empty"), ("$all", "begins with '$'"), (&long, "is 513 bytes long")] {
        annals(&[&"read", &store, &"--stream", &name]).exits(2).says(why);
    }
    let input = store.parent().unwrap().join("in");
    let long = "x".repeat(256);
    for option in ["--type", "--type-prefix", "--tag"] {
        annals(&[&"read", &store, &option, &long]).exits(2).says("is 256 bytes long");
    }
    annals(&[&"read", &store, &"--type", &""]).exits(2).says("event type is empty");
    annals(&[&"import", &store, &input, &"--source", &long]).exits(2).says("is 256 bytes long");
    annals(&[&"import", &store, &input, &"--source", &""]).exits(2).says("is empty");
}

#[test]
fn arguments_that_are_not_utf8_are_an_error_and_no_panic() {
    let (_dir, store) = store();
    let odd = OsStr::from_bytes(b"x\xff");
    annals(&[&"read", &store, &"--stream", &odd]).exits(2);
    annals(&[&odd]).exits(2);
    for command in READERS {
        annals(&[&command, &odd]).exits(3);
    }
    annals(&[&"dump", &odd]).exits(3);
    // As the name of a store it is as good as any.
    let named = store.with_file_name(odd);
    fs::rename(&store, &named).unwrap();
    assert_eq!(annals(&[&"stats", &"--json", &named]).exits(0).row()["events"], 100);
}

#[test]
fn a_store_that_is_not_there_is_named_and_not_made() {
    let dir = TempDir::new().unwrap();
    for place in ["missing", "missing/deeper", "."] {
        let path = dir.path().join(place);
        for command in READERS {
            let said = annals(&[&command, &path]).exits(3).says("there is no store in").stderr;
            assert!(said.contains("`annals import"), "it says what to do: {said}");
            let ran = annals(&[&command, &"--json", &path]).exits(3);
            assert_eq!(rows(&ran.stderr)[0]["exit"], 3);
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_file_in_the_place_of_a_store_is_named_as_one() {
    let dir = TempDir::new().unwrap();
    let path = file(dir.path(), "some", "text");
    for command in READERS {
        annals(&[&command, &path]).exits(3).says("is a file, and a store is a directory");
    }
    let input = file(dir.path(), "in", lines(1));
    annals(&[&"import", &path, &input]).exits(3).says("is a file, and a store is a directory");
    annals(&[&"import", &path.join("deeper"), &input]).exits(3).says("cannot open");
    assert_eq!(fs::read(&path).unwrap(), b"text");
}

#[test]
fn an_input_that_cannot_be_read_is_exit_code_3_and_makes_no_store() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &store, &dir.path().join("missing")]).exits(3).says("cannot read");
    annals(&[&"import", &store, &dir.path()]).exits(3).says("it is a directory");
    assert!(!store.exists());
}

#[test]
fn what_may_not_be_read_or_written_is_exit_code_3() {
    let (dir, store) = store();
    let am_root = fs::metadata(dir.path()).unwrap().uid() == 0;
    let nobody = 65534;
    let as_nobody = |args: &[&dyn AsRef<OsStr>]| {
        let mut command = command(args);
        if am_root {
            // Root may do everything: somebody else has to try.
            command.uid(nobody).gid(nobody);
        }
        ran(command.stdin(Stdio::null()).output().unwrap())
    };
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o000)).unwrap();
    if am_root && as_nobody(&[&"--version"]).exit != Some(0) {
        eprintln!("skipped: as another user the program cannot even be started here");
        return;
    }
    for command in READERS {
        let said = as_nobody(&[&command, &store]).exits(3).stderr;
        assert!(said.contains("ermission denied"), "{command}: {said}");
    }
    let input = dir.path().join("in");
    as_nobody(&[&"import", &store, &input]).exits(3).says("ermission denied");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();

    // May be read and not written: reading works, and changes nothing.
    if am_root {
        let before = snapshot(&store);
        for command in READERS {
            as_nobody(&[&command, &store]).exits(0);
        }
        as_nobody(&[&"import", &store, &input]).exits(3).says("ermission denied");
        assert_eq!(before, snapshot(&store));
    }
}

#[test]
fn reading_commands_change_nothing_on_disk() {
    let (_dir, store) = store();
    let before = snapshot(&store);
    for command in READERS {
        annals(&[&command, &store]).exits(0);
        annals(&[&command, &"--json", &store]).exits(0);
    }
    annals(&[&"dump", &store]).exits(0);
    assert_eq!(before, snapshot(&store));
}

#[test]
fn a_store_that_somebody_writes_to_is_refused_to_a_second_writer_with_the_pid() {
    let (dir, path) = store();
    let writer = EventStore::open(&path, &Options::new()).unwrap();
    let input = file(dir.path(), "more", lines(3));
    let pid = std::process::id();
    let said = annals(&[&"import", &path, &input]).exits(3).says("already open for writing").stderr;
    assert!(said.contains(&format!("process {pid}")), "{said}");
    for command in READERS {
        annals(&[&command, &path]).exits(0);
    }
    writer.close().unwrap();
    annals(&[&"import", &path, &input]).exits(0);
}

#[test]
fn stats_says_what_the_store_holds() {
    let (_dir, store) = store();
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    let expected = [("events", 100), ("streams", 7), ("head", 100), ("oldest", 1), ("segments", 1)];
    for (field, value) in expected {
        assert_eq!(stats[field], value, "{field}: {stats}");
    }
    assert!(stats["bytes"].as_u64().unwrap() > 4096, "{stats}");
    assert_eq!(stats["log_id"].as_str().unwrap().len(), 36, "{stats}");
    let text = annals(&[&"stats", &store]).exits(0).stdout;
    assert!(text.contains("100") && text.contains(stats["log_id"].as_str().unwrap()), "{text}");
}

#[test]
fn stats_for_prometheus_has_each_number_once_under_its_help_and_type_and_names_the_log() {
    let (_dir, store) = store();
    let opened = EventStore::open(&store, &Options::new()).unwrap();
    for (name, position) in [("mailer", 97), ("billing", 40)] {
        opened.consumer(name).unwrap().checkpoint(Position::new(position)).unwrap();
    }
    let mut counting = Projection::new("count").when("A", |count: &mut u64, _| *count += 1).keep_snapshots(2);
    counting = counting.snapshot_every(10);
    counting.attach(&opened).unwrap().catch_up().unwrap();
    opened.close().unwrap();
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    let log = stats["log_id"].as_str().unwrap();
    let text = annals(&[&"stats", &"--prometheus", &store]).exits(0).stdout;
    let mut families = BTreeSet::new();
    for lines in text.split_inclusive('\n').collect::<Vec<_>>().chunk_by(|_, next| !next.starts_with("# HELP")) {
        let [help, kind, samples @ ..] = lines else { panic!("{lines:?}") };
        let name = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap().0;
        assert!(
            kind.trim_end() == format!("# TYPE {name} gauge") || kind.trim_end() == format!("# TYPE {name} counter")
        );
        assert!(!samples.is_empty() && families.insert(name), "{name}");
        for sample in samples {
            let rest = sample.strip_prefix(&format!("{name}{{log=\"{log}\"")).unwrap_or_else(|| panic!("{sample}"));
            rest.trim_end().rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
        }
    }
    let has = |sample: &str| assert!(text.contains(sample), "{sample}: {text}");
    has(&format!("\nannals_head_position{{log=\"{log}\"}} 100\n"));
    has(&format!("\nannals_streams{{log=\"{log}\"}} 7\n"));
    has(&format!("\nannals_consumer_lag_events{{log=\"{log}\",consumer=\"billing\"}} 60\n"));
    has(&format!("\nannals_consumer_lag_events{{log=\"{log}\",consumer=\"mailer\"}} 3\n"));
    has(&format!("\nannals_projection_restart_position{{log=\"{log}\",projection=\"count\"}} 100\n"));
    has(&format!("\nannals_projection_restart_lag_events{{log=\"{log}\",projection=\"count\"}} 0\n"));
    let refused = annals(&[&"stats", &"--prometheus", &"--json", &store]).exits(2).stderr;
    assert!(refused.contains("cannot be used with"), "{refused}");
}

#[test]
fn what_was_found_is_told_by_the_exit_code_also_when_nobody_reads_the_output() {
    let (_dir, store) = store();
    let opened = EventStore::open(&store, &Options::new()).unwrap();
    opened.consumer("mailer").unwrap().checkpoint(Position::new(97)).unwrap();
    opened.close().unwrap();
    fs::write(Path::new(&store).join("consumers/mailer"), "nothing").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(command(&[&"stats", &store]).stdout(writer).status().unwrap().code(), Some(1));
}

#[test]
fn of_what_cannot_be_used_prometheus_is_told_so_and_no_number() {
    let (_dir, store) = store();
    let opened = EventStore::open(&store, &Options::new()).unwrap();
    opened.consumer("mailer").unwrap().checkpoint(Position::new(97)).unwrap();
    opened.close().unwrap();
    fs::write(Path::new(&store).join("consumers/mailer"), "nothing").unwrap();
    // It comes to whoever collects it: the recipe of the help puts the file in its place only when all went well.
    annals(&[&"stats", &store]).exits(1);
    let text = annals(&[&"stats", &"--prometheus", &store]).exits(0).stdout;
    assert!(text.contains("consumer=\"mailer\"} 1\n") && text.contains("annals_consumer_unusable"), "{text}");
    assert!(!text.contains("annals_consumer_lag_events"), "{text}");
}

#[test]
fn stats_lists_the_consumers_with_their_lag_and_what_is_wrong_with_them() {
    let (_dir, store) = store();
    assert_eq!(annals(&[&"stats", &"--json", &store]).exits(0).row()["consumers"], json!([]));
    let opened = EventStore::open(&store, &Options::new()).unwrap();
    opened.consumer("mailer").unwrap().checkpoint(Position::new(97)).unwrap();
    opened.consumer("archive").unwrap();
    drop(opened);
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    let shown: Vec<_> = stats["consumers"].as_array().unwrap().iter().map(|row| (&row["name"], &row["lag"])).collect();
    assert_eq!(shown, [(&json!("archive"), &json!(100)), (&json!("mailer"), &json!(3))]);
    let text = annals(&[&"stats", &store]).exits(0).stdout;
    assert!(text.lines().any(|line| line.contains("mailer") && line.contains("97") && line.contains('3')), "{text}");

    fs::write(store.join("consumers/mailer"), "no checkpoint").unwrap();
    let stats = annals(&[&"stats", &"--json", &store]).exits(1).row();
    assert_eq!(stats["consumers"][1]["position"], json!(null));
    assert!(stats["consumers"][1]["fault"].as_str().unwrap().contains("slots"), "{stats}");
    assert!(annals(&[&"stats", &store]).exits(1).stdout.contains("unknown"));
}

#[test]
fn read_gives_ranges_of_the_log_in_either_order() {
    let (_dir, store) = store();
    let read = |args: &[&str]| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"read", &"--json", &store];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
        numbers(&annals(&all).exits(0).rows(), "position")
    };
    let up = |from: u64, to: u64| (from..=to).collect::<Vec<u64>>();
    let down = |from: u64, to: u64| (to..=from).rev().collect::<Vec<u64>>();
    assert_eq!(read(&[]), up(1, 100));
    assert_eq!(read(&["--backward"]), down(100, 1));
    assert_eq!(read(&["--after", "97"]), up(98, 100));
    assert_eq!(read(&["--after", "97", "--backward"]), down(100, 98));
    assert_eq!(read(&["--until", "3"]), up(1, 3));
    assert_eq!(read(&["--until", "3", "--backward"]), down(3, 1));
    assert_eq!(read(&["--after", "10", "--until", "20", "--limit", "3"]), up(11, 13));
    assert_eq!(read(&["--after", "10", "--until", "20", "--limit", "3", "--backward"]), down(20, 18));
    assert_eq!(read(&["--last", "2"]), up(99, 100));
    assert_eq!(read(&["--last", "2", "--until", "50", "--backward"]), down(50, 49));
    assert_eq!(read(&["--last", "1000"]), up(1, 100));
    for nothing in [&["--after", "100"][..], &["--after", "20", "--until", "10"], &["--limit", "0"], &["--until", "0"]]
    {
        assert_eq!(read(nothing), [0; 0], "{nothing:?}");
    }
    assert_eq!(read(&["--after", &u64::MAX.to_string()]), [0; 0]);
    assert_eq!(read(&["--until", &u64::MAX.to_string(), "--backward", "--limit", "1"]), [100]);
}

#[test]
fn read_gives_one_stream_by_its_versions() {
    let (_dir, store) = store();
    let read = |args: &[&str]| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"read", &"--json", &store, &"--stream", &"account-1"];
        all.extend(args.iter().map(|arg| arg as &dyn AsRef<OsStr>));
        let rows = annals(&all).exits(0).rows();
        assert!(rows.iter().all(|row| row["stream"] == "account-1"));
        numbers(&rows, "version")
    };
    let all: Vec<u64> = (1..=15).collect();
    assert_eq!(read(&[]), all);
    assert_eq!(read(&["--after", "13"]), [14, 15]);
    assert_eq!(read(&["--until", "2", "--backward"]), [2, 1]);
    assert_eq!(read(&["--last", "2"]), [14, 15]);
    let unknown = annals(&[&"read", &store, &"--stream", &"nobody"]).exits(0);
    assert_eq!(unknown.stdout, "");
    unknown.says("there is no stream \"nobody\"");
}

/// The positions that `read` prints for these arguments, and those of the rows that `wanted` picks.
#[track_caller]
fn check_read(store: &Path, args: &[&str], wanted: impl Fn(&Value) -> bool) {
    let all = annals(&[&"read", &"--json", &store]).exits(0).rows();
    let expected: Vec<u64> = numbers(&all.into_iter().filter(wanted).collect::<Vec<_>>(), "position");
    let run = |more: &[&str]| {
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"read", &"--json", &store];
        all.extend(args.iter().chain(more).map(|arg| arg as &dyn AsRef<OsStr>));
        numbers(&annals(&all).exits(0).rows(), "position")
    };
    assert_eq!(run(&[]), expected, "{args:?}");
    let down: Vec<u64> = expected.iter().rev().copied().collect();
    assert_eq!(run(&["--backward"]), down, "{args:?}");
    assert_eq!(run(&["--limit", "3"]), expected[..expected.len().min(3)], "{args:?}");
    assert_eq!(run(&["--limit", "3", "--backward"]), down[..down.len().min(3)], "{args:?}");
    let last = &expected[expected.len().saturating_sub(3)..];
    assert_eq!(run(&["--last", "3"]), last, "{args:?}");
    assert_eq!(run(&["--last", "3", "--backward"]), down[..down.len().min(3)], "{args:?}");
    assert_eq!(run(&["--last", "0"]), [0; 0], "{args:?}");
}

#[test]
fn read_gives_the_events_that_match() {
    let (_dir, store) = store();
    let has = |row: &Value, tag: &str| row["tags"].as_array().unwrap().iter().any(|found| found == tag);
    let starts = |row: &Value, field: &str, prefix: &str| row[field].as_str().unwrap().starts_with(prefix);
    check_read(&store, &["--type", "Type 1"], |row| row["type"] == "Type 1");
    check_read(&store, &["--type", "Type"], |_| false);
    check_read(&store, &["--type", "Type 1", "--type", "Type 3"], |row| {
        row["type"] == "Type 1" || row["type"] == "Type 3"
    });
    check_read(&store, &["--type-prefix", "Typ"], |_| true);
    check_read(&store, &["--type-prefix", "Type 2", "--type", "Type 4"], |row| {
        starts(row, "type", "Type 2") || row["type"] == "Type 4"
    });
    check_read(&store, &["--tag", "a"], |row| has(row, "a"));
    check_read(&store, &["--tag", "a", "--tag", "b c"], |row| has(row, "a") && has(row, "b c"));
    check_read(&store, &["--tag", "a", "--tag", "x"], |_| false);
    check_read(&store, &["--stream", "account-1", "--stream", "account-3"], |row| {
        row["stream"] == "account-1" || row["stream"] == "account-3"
    });
    check_read(&store, &["--stream-prefix", "account-"], |_| true);
    check_read(&store, &["--stream-prefix", "account-1", "--type", "Type 0", "--tag", "a"], |row| {
        row["stream"] == "account-1" && row["type"] == "Type 0" && has(row, "a")
    });
    check_read(&store, &["--type", "Type 1", "--after", "20", "--until", "60"], |row| {
        row["type"] == "Type 1" && (21..=60).contains(&row["position"].as_u64().unwrap())
    });
    check_read(&store, &["--stream", "account-1", "--stream", "account-2", "--after", "20"], |row| {
        (row["stream"] == "account-1" || row["stream"] == "account-2") && row["position"].as_u64().unwrap() > 20
    });
    check_read(&store, &["--stream", "account-1", "--type-prefix", "T", "--after", "3", "--until", "9"], |row| {
        row["stream"] == "account-1" && (4..=9).contains(&row["version"].as_u64().unwrap())
    });
}

#[test]
fn read_gives_what_was_recorded_in_a_span_of_time() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &"--batch", &"10", &store, &file(dir.path(), "in", lines(100))]).exits(0);
    let rows = annals(&[&"read", &"--json", &store]).exits(0).rows();
    let time = |row: usize| rows[row]["recorded_at"].as_str().unwrap();
    assert!(time(9) < time(10) && time(49) < time(50), "batches are recorded one after the other");
    let at = |row: &Value| row["recorded_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (from, to) = (at(&rows[30]), at(&rows[60]));
    check_read(&store, &["--since", time(30)], |row| at(row) >= from);
    check_read(&store, &["--before", time(60)], |row| at(row) < to);
    check_read(&store, &["--since", time(30), "--before", time(60)], |row| (from..to).contains(&at(row)));
    check_read(&store, &["--since", time(60), "--before", time(30)], |_| false);
    check_read(&store, &["--since", time(30), "--stream", "account-1"], |row| {
        at(row) >= from && row["stream"] == "account-1"
    });
    check_read(&store, &["--since", "1h"], |_| true);
    check_read(&store, &["--before", "7d"], |_| false);
    check_read(&store, &["--since", "2020-01-01"], |_| true);
    check_read(&store, &["--before", "2020-01-01T00:00:00Z"], |_| false);
    for bad in ["", "yesterday", "2020-01-01T00:00:00", "7"] {
        annals(&[&"read", &store, &"--since", &bad]).exits(2);
    }
    let help = annals(&[&"read", &"--help"]).exits(0).stdout;
    assert!(help.contains("2h, 7d") && help.contains("RFC 3339"), "{help}");
}

#[test]
fn read_and_export_print_the_documented_fields() {
    let (_dir, store) = store();
    for command in ["read", "export"] {
        for row in annals(&[&command, &"--json", &store]).exits(0).rows() {
            for field in ["position", "stream", "version", "type", "id", "recorded_at", "time", "metadata", "tags"] {
                let there = row.get(field).is_some() || field == "metadata" && row.get("metadata_base64").is_some();
                assert!(there, "{field} is missing: {row}");
            }
            assert!(row.get("data").is_some() != row.get("data_base64").is_some(), "{row}");
        }
    }
}

#[test]
fn streams_are_listed_by_name_and_prefix() {
    let (_dir, store) = store();
    let rows = annals(&[&"streams", &"--json", &store]).exits(0).rows();
    let names: Vec<&str> = rows.iter().map(|row| row["stream"].as_str().unwrap()).collect();
    assert_eq!(names, ["account-0", "account-1", "account-2", "account-3", "account-4", "account-5", "account-6"]);
    assert_eq!(numbers(&rows, "version").iter().sum::<u64>(), 100);
    assert_eq!(numbers(&rows, "last_position"), [98, 99, 100, 94, 95, 96, 97]);
    let rows = annals(&[&"streams", &"--json", &"--prefix", &"account-3", &store]).exits(0).rows();
    assert_eq!(rows, [json!({"stream": "account-3", "version": 14, "last_position": 94})]);
    assert_eq!(annals(&[&"streams", &"--prefix", &"b", &store]).exits(0).stdout, "");
}

#[test]
fn tail_gives_the_newest_events() {
    let (_dir, store) = store();
    let tail = |n: &str| numbers(&annals(&[&"tail", &"--json", &"-n", &n, &store]).exits(0).rows(), "position");
    assert_eq!(tail("3"), [98, 99, 100]);
    assert_eq!(tail("0"), [0; 0]);
    assert_eq!(tail("1000").len(), 100);
    assert_eq!(annals(&[&"tail", &store]).exits(0).stdout.lines().count(), 10);
}

#[test]
fn an_empty_store_is_fine_with_every_command() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    EventStore::open(&path, &Options::new()).unwrap().close().unwrap();
    for command in READERS {
        annals(&[&command, &path]).exits(0);
    }
    annals(&[&"dump", &path]).exits(0);
    let stats = annals(&[&"stats", &"--json", &path]).exits(0).row();
    assert_eq!((&stats["events"], &stats["head"], &stats["oldest"]), (&json!(0), &json!(0), &json!(1)));
}

#[test]
fn names_and_data_cannot_steer_the_terminal_of_whoever_reads_them() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let line = r#"{"stream":"a\u001b[2Jb","type":"t\r\nx","data":"\u009b31m"}"#.replace("\\u009b", "\u{9b}");
    annals(&[&"import", &path, &file(dir.path(), "in", line)]).exits(0);
    for args in [&["read"][..], &["tail"], &["streams"], &["dump", "--payload"]] {
        let mut all: Vec<&dyn AsRef<OsStr>> = args.iter().map(|arg| arg as &dyn AsRef<OsStr>).collect();
        all.push(&path);
        let shown = annals(&all).exits(0).stdout;
        let harmless = |c: char| c == '\n' || !c.is_control();
        assert!(shown.chars().all(harmless), "{shown:?}");
    }
}

#[test]
fn a_reader_who_leaves_early_ends_it_quietly() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    annals(&[&"import", &path, &file(dir.path(), "in", lines(5000))]).exits(0);
    for args in [["export", "--json"], ["read", "--json"], ["dump", "--payload"]] {
        let mut child =
            command(&[&args[0], &args[1], &path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ran = ran(child.wait_with_output().unwrap()).exits(0);
        assert_eq!((line.is_empty(), ran.stderr.as_str()), (false, ""), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_told_and_is_no_damage_that_could_be_left_out() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    // More than is held back, so that it fails in the middle and not at the end.
    annals(&[&"import", &store, &file(dir.path(), "in", lines(5000))]).exits(0);
    for args in [["export", "--json"], ["read", "--json"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(&[&args[0], &args[1], &store]).stdout(full).output().unwrap();
        let told = common::rows(&ran(output).exits(3).stderr).remove(0);
        assert!(told["error"].as_str().unwrap().starts_with("cannot write the output: "), "{told}");
        assert_eq!(told["next"], Value::Null, "{told}");
    }
}

/// Changes a byte of the header of a store's segment and makes its checksum right again.
fn rewrite_header(store: &Path, at: usize, byte: u8) {
    let path = only_segment(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] = byte;
    let crc = crc32(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc);
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_newer_format_is_refused_with_the_advice_to_use_a_newer_program() {
    for (at, byte) in [(8, 2), (16, 2)] {
        let (dir, store) = store();
        rewrite_header(&store, at, byte);
        let before = snapshot(&store);
        for command in READERS {
            annals(&[&command, &store]).exits(3).says("use a newer one");
        }
        let input = dir.path().join("in");
        annals(&[&"import", &store, &input]).exits(3).says("use a newer one");
        assert_eq!(before, snapshot(&store));
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (dir, store) = store();
    rewrite_header(&store, 24, 0x55);
    let before = snapshot(&store);
    annals(&[&"import", &store, &dir.path().join("in")]).exits(1);
    annals(&[&"verify", &store]).exits(1);
    assert_eq!(before, snapshot(&store));
}

#[test]
fn random_files_in_the_place_of_its_own_never_make_it_panic_hang_or_write() {
    let mut rng = Rng::new(3);
    for name in ["store.meta", "WATERMARK", "segment"] {
        for size in [0, 1, 511, 4096, 8192, 100_000] {
            let (dir, store) = store();
            let path = if name == "segment" { only_segment(&store) } else { store.join(name) };
            fs::write(&path, rng.bytes(size)).unwrap();
            let before = snapshot(&store);
            for command in READERS.iter().chain(&["dump"]) {
                let ran = annals(&[command, &store]);
                assert!(matches!(ran.exit, Some(0 | 1 | 3)), "{command} with {name} of {size}: {ran:?}");
                assert!(!ran.stderr.contains("panicked"), "{command} with {name} of {size}: {ran:?}");
            }
            assert_eq!(before, snapshot(&store), "{name} of {size}");
            let import = annals(&[&"import", &store, &dir.path().join("in")]);
            // The WATERMARK is a hint: without it a store is opened all the same.
            let fine = name == "WATERMARK" && import.exit == Some(0);
            assert!(fine || matches!(import.exit, Some(1 | 3)), "{name} of {size}: {import:?}");
            // Only LOCK says who tried.
            let without_lock = |files: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
                files.into_iter().filter(|(path, _)| !path.ends_with("LOCK")).collect()
            };
            assert!(fine || without_lock(before) == without_lock(snapshot(&store)), "{name} of {size} was changed");
        }
    }
}

#[test]
fn get_prints_the_event_at_a_position_and_with_an_id_as_read_does() {
    let (_dir, store) = store();
    let lines = annals(&[&"read", &"--json", &store]).exits(0).stdout;
    let texts = annals(&[&"read", &store]).exits(0).stdout;
    for (number, (line, text)) in lines.lines().zip(texts.lines()).enumerate().step_by(9) {
        let position = (number + 1).to_string();
        let row: Value = serde_json::from_str(line).unwrap();
        for place in [&*position, row["id"].as_str().unwrap()] {
            assert_eq!(annals(&[&"get", &"--json", &store, &place]).exits(0).stdout.trim_end(), line);
            assert_eq!(annals(&[&"get", &store, &place]).exits(0).stdout.trim_end(), text);
        }
    }
}

#[test]
fn get_says_what_is_not_there_and_ends_with_exit_code_1() {
    let (_dir, store) = store();
    for position in ["0", "101", "18446744073709551615"] {
        annals(&[&"get", &store, &position]).exits(1).says("the log ends at 100");
    }
    let id = "01234567-89ab-cdef-0011-223344556677";
    annals(&[&"get", &store, &id]).exits(1).says(&format!("no event with the id {id}"));
    annals(&[&"get", &store, &"--key", &"k"]).exits(1).says("nothing was appended with the key \"k\"");
    let ran = annals(&[&"get", &"--json", &store, &"0"]).exits(1);
    assert_eq!((&*ran.stdout, &rows(&ran.stderr)[0]["exit"]), ("", &json!(1)));
}

#[test]
fn get_prints_all_events_of_the_append_with_a_key_and_no_other() {
    let (_dir, path) = store();
    let store = EventStore::open(&path, &Options::new()).unwrap();
    let event = |n: u64| NewEvent::new("Paid", n.to_string());
    let done = store.batch().event("a", event(1)).event("b", event(2)).idempotency_key("two").commit().unwrap();
    store.append("a", annals::ExpectedVersion::Any, event(3)).unwrap();
    store.batch().tracking("upstream", 1).idempotency_key("none").commit().unwrap();
    store.close().unwrap();
    let found = annals(&[&"get", &"--json", &path, &"--key", &"two"]).exits(0).rows();
    assert_eq!(numbers(&found, "position"), [done.first.get(), done.last.get()]);
    assert_eq!((&found[0]["data"], &found[1]["data"]), (&json!(1), &json!(2)));
    let found = annals(&[&"get", &path, &"--key", &"none"]).exits(0).says("held no events");
    assert_eq!(found.stdout, "");
}
