//! Events in and out as lines: nothing lost, nothing twice, nothing half.

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use annals::EventStore;
use common::{annals, annals_with, command, exported, file, lines, ran, snapshot, wait_for};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[track_caller]
fn check_equal(a: &Path, b: &Path) {
    assert_eq!(exported(a), exported(b));
    annals(&[&"verify", &a]).exits(0);
    annals(&[&"verify", &b]).exits(0);
}

#[test]
fn an_export_imports_as_an_equal_log_ids_included() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    annals(&[&"import", &first, &file(dir.path(), "in", lines(2500))]).exits(0);
    let export = annals(&[&"export", &first]).exits(0).stdout;
    annals_with(export.as_bytes(), &[&"import", &second, &"-"]).exits(0);
    let again = annals(&[&"export", &second]).exits(0).stdout;
    let without_time = |text: &str| -> Vec<String> {
        let cut = |line: &str| {
            let at = line.find(",\"recorded_at\":\"").unwrap();
            let end = at + line[at + 16..].find('"').unwrap() + 17;
            format!("{}{}", &line[..at], &line[end..])
        };
        text.lines().map(cut).collect()
    };
    // As text, byte for byte: JSON that means the same is not enough.
    assert_eq!(without_time(&export), without_time(&again));
    assert_eq!(export.lines().count(), 2500);
    check_equal(&first, &second);
}

#[test]
fn data_comes_back_in_the_bytes_of_the_line() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let data = r#"{ "b" : 1.50, "a":[1e2,12345678901234567890123],"b":"\u00e9" }"#;
    let line = format!(r#"{{"stream":"s","type":"t","data":   {data}  ,"metadata":"m"}}"#);
    annals(&[&"import", &store, &file(dir.path(), "in", line)]).exits(0);
    let opened = EventStore::open_read_only(&store).unwrap();
    let event = opened.get(annals::Position::new(1)).unwrap().unwrap();
    assert_eq!(event.data(), data.as_bytes());
    assert_eq!(event.metadata().unwrap(), b"\"m\"".as_slice());
    let export = annals(&[&"export", &store]).exits(0).stdout;
    assert!(export.contains(&format!(r#""data":{data},"#)), "{export}");
}

#[test]
fn an_export_into_a_pipe_or_a_file_keeps_bytes_that_no_terminal_shows() {
    let dir = TempDir::new().unwrap();
    let (store, copy, to) = (dir.path().join("store"), dir.path().join("copy"), dir.path().join("out.ndjson"));
    // Legal in JSON as they are: DEL, what begins a sequence in terminals of eight bits, and a BEL escaped.
    let data = "{\"text\":\"a\u{7f}b\u{9b}31mc\\u0007\"}";
    let line = format!(r#"{{"stream":"s","type":"t","data":{data}}}"#);
    annals(&[&"import", &store, &file(dir.path(), "in", line)]).exits(0);
    let export = annals(&[&"export", &store]).exits(0).stdout;
    assert!(export.contains(data), "{export:?}");
    assert_eq!(annals(&[&"export", &store, &"--json"]).exits(0).stdout, export);
    annals(&[&"export", &store, &"-o", &to]).exits(0);
    assert_eq!(fs::read_to_string(&to).unwrap(), export);
    annals_with(export.as_bytes(), &[&"import", &copy, &"-"]).exits(0);
    check_equal(&store, &copy);
    let csv =
        annals(&[&"sql", &store, &"SELECT data ->> '$.text' AS text FROM events", &"--format", &"csv"]).exits(0).stdout;
    assert!(csv.contains("a\u{7f}b\u{9b}31mc\u{7}"), "{csv:?}");
}

#[test]
fn text_for_a_person_has_colours_where_they_are_shown_and_lines_for_a_program_never() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &store, &file(dir.path(), "in", lines(3))]).exits(0);
    let coloured = |args: &[&dyn AsRef<std::ffi::OsStr>]| {
        let forced = command(args).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR").output().unwrap();
        ran(forced).exits(0).stdout
    };
    let plain = annals(&[&"read", &store]).exits(0).stdout;
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let text = coloured(&[&"read", &store]);
    assert!(text.contains("\u{1b}[1m"), "{text:?}");
    for program in [&[&"export" as &dyn AsRef<std::ffi::OsStr>, &store][..], &[&"stats", &store, &"--json"]] {
        assert!(!coloured(program).contains('\u{1b}'));
    }
}

#[test]
fn a_second_import_of_the_same_content_adds_nothing_packed_or_not_under_any_name() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let text = lines(1234);
    let plain = file(dir.path(), "plain", &text);
    let packed = file(dir.path(), "packed", gzip(&text));
    let row = annals(&[&"import", &"--json", &store, &plain]).exits(0).row();
    assert_eq!((&row["events"], &row["streams"], &row["already"]), (&json!(1234), &json!(7), &json!(0)));
    let before = snapshot(&store);
    for _ in 0..2 {
        let row = annals(&[&"import", &"--json", &store, &plain]).exits(0).row();
        assert_eq!((&row["events"], &row["already"], &row["head"]), (&json!(0), &json!(1234), &json!(1234)));
    }
    let row = annals(&[&"import", &"--json", &store, &packed]).exits(0).row();
    assert_eq!((&row["events"], &row["already"]), (&json!(0), &json!(1234)));
    let row = annals_with(text.as_bytes(), &[&"import", &"--json", &store, &"-"]).exits(0).row();
    assert_eq!((&row["events"], &row["already"]), (&json!(0), &json!(1234)));
    let segments = |files: &std::collections::BTreeMap<_, Vec<u8>>| {
        files.iter().filter(|(path, _): &(&std::path::PathBuf, _)| path.to_str().unwrap().contains("/seg/")).count()
    };
    assert_eq!(segments(&before), segments(&snapshot(&store)), "importing nothing makes no files");
}

#[test]
fn lines_without_an_id_are_known_by_their_source_alone_whatever_stands_beside_them() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let with =
        |number: u64| format!(r#"{{"stream":"s","type":"T","id":"6f6f7868-187c-4d84-a248-2c14487f5c{number:02}"}}"#);
    let without = r#"{"stream":"beat","type":"Tick"}"#;
    let day = [without, &with(1), &with(2), without, without, &with(3)].join("\n");
    annals(&[&"import", &store, &file(dir.path(), "day1", &day)]).exits(0);
    // Another source, with the same lines.
    let ran = annals(&[&"import", &store, &file(dir.path(), "day2", format!("{day}\n\n"))]).exits(0);
    assert!(ran.stdout.contains("Imported 3 events into 1 stream"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Already there, by their ids: 3 events"), "{}", ran.stdout);
    assert_eq!(exported(&store).len(), 9);
    let ran = annals(&[&"import", &store, &file(dir.path(), "day2", format!("{day}\n\n"))]).exits(0);
    assert!(ran.stdout.contains("Nothing new"), "{}", ran.stdout);
    assert_eq!(exported(&store).len(), 9);
}

#[test]
fn the_name_of_a_source_lets_a_file_grow() {
    let dir = TempDir::new().unwrap();
    let (store, whole) = (dir.path().join("store"), dir.path().join("whole"));
    let text = lines(300);
    let cut = text.match_indices('\n').nth(99).unwrap().0 + 1;
    let import = |text: &str| {
        let row =
            annals_with(text.as_bytes(), &[&"import", &"--json", &"--source", &"orders", &store, &"-"]).exits(0).row();
        (row["events"].as_u64().unwrap(), row["already"].as_u64().unwrap(), row["line"].as_u64().unwrap())
    };
    assert_eq!(import(&text[..cut]), (100, 0, 100));
    assert_eq!(import(&text), (200, 100, 300));
    annals(&[&"import", &whole, &file(dir.path(), "in", &text)]).exits(0);
    check_equal(&store, &whole);
}

#[test]
fn a_source_that_is_shorter_than_it_was_is_a_mismatch() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals_with(lines(20).as_bytes(), &[&"import", &"--source", &"a", &store, &"-"]).exits(0);
    let ran = annals_with(lines(5).as_bytes(), &[&"import", &"--source", &"a", &store, &"-"]).exits(1);
    ran.says("recorded up to line 20, and standard input has only 5 lines");
}

#[test]
fn a_bad_line_is_named_and_the_lines_before_it_stay() {
    for batch in ["1", "7", "1000"] {
        let dir = TempDir::new().unwrap();
        let store = dir.path().join("store");
        let good = lines(30);
        let at = good.match_indices('\n').nth(16).unwrap().0 + 1;
        let bad = format!("{}{{\"stream\":\"s\"}}\n{}", &good[..at], &good[at..]);
        let path = file(dir.path(), "in", &bad);
        let ran = annals(&[&"import", &"--batch", &batch, &store, &path]).exits(1);
        let said = ran.says("line 18 of ").stderr;
        assert!(said.contains("missing field `type`"), "{said}");
        // What it says to do next works: mend the line and go on with the same source.
        let source = said.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(source.starts_with("sha256:"), "{said}");
        assert_eq!(exported(&store).len(), 17);
        let mended = file(dir.path(), "mended", &good);
        let row = annals(&[&"import", &"--json", &"--source", &source, &store, &mended]).exits(0).row();
        assert_eq!(row["events"], 13, "batch {batch}");
        let whole = dir.path().join("whole");
        annals(&[&"import", &whole, &mended]).exits(0);
        check_equal(&store, &whole);
    }
}

#[test]
fn a_bad_line_is_an_object_with_its_number_for_programs() {
    let dir = TempDir::new().unwrap();
    let path = file(dir.path(), "in", lines(3) + "nonsense\n");
    let ran = annals(&[&"import", &"--json", &dir.path().join("store"), &path]).exits(1);
    assert_eq!(ran.row()["events"], 3);
    let error = &common::rows(&ran.stderr)[0];
    assert_eq!((&error["line"], &error["exit"]), (&json!(4), &json!(1)), "{error}");
}

#[test]
fn garbage_makes_no_store() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    for (name, content) in [("a", b"nonsense".to_vec()), ("b", vec![0xFF; 9000]), ("c", gzip("nonsense"))] {
        annals(&[&"import", &store, &file(dir.path(), name, content)]).exits(1).says("line 1 of ");
        assert!(!store.exists());
    }
    for content in ["", "\n\n", "\u{feff}"] {
        let ran = annals(&[&"import", &store, &file(dir.path(), "empty", content)]).exits(0);
        assert!(ran.stdout.starts_with("Nothing to import: "), "{}", ran.stdout);
        assert!(!store.exists());
    }
}

#[test]
fn blank_lines_crlf_and_a_byte_order_mark_are_no_trouble() {
    let dir = TempDir::new().unwrap();
    let (store, plain) = (dir.path().join("store"), dir.path().join("plain"));
    let text = lines(10);
    annals(&[&"import", &plain, &file(dir.path(), "plain.in", &text)]).exits(0);
    let odd = "\u{feff}".to_owned() + &text.replace('\n', "\r\n \t\r\n");
    let row = annals(&[&"import", &"--json", &store, &file(dir.path(), "odd.in", odd.trim_end())]).exits(0).row();
    assert_eq!((&row["events"], &row["blank"], &row["line"]), (&json!(10), &json!(9), &json!(19)));
    check_equal(&store, &plain);
}

#[test]
fn a_cut_archive_is_refused_before_anything_is_imported_unless_it_is_named() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let text = lines(5000);
    let packed = gzip(&text);
    let cut = file(dir.path(), "cut.gz", &packed[..packed.len() / 2]);
    annals(&[&"import", &store, &cut]).exits(1).says("is damaged or cut off");
    assert!(!store.exists());
    annals(&[&"import", &"--source", &"a", &store, &cut]).exits(1).says("is damaged or cut off");
    let taken = exported(&store).len();
    assert!((100..5000).contains(&taken), "{taken} lines were whole");
    let row =
        annals(&[&"import", &"--json", &"--source", &"a", &store, &file(dir.path(), "whole", &text)]).exits(0).row();
    assert_eq!((&row["already"], &row["head"]), (&json!(taken), &json!(5000)));
}

#[test]
fn an_event_that_is_too_large_is_named_by_its_line_and_the_others_get_in() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let large = format!(r#"{{"stream":"s","type":"t","data":"{}"}}"#, "x".repeat(17 << 20));
    let text = format!("{}{large}\n{}", lines(5), lines(5));
    let ran = annals(&[&"import", &store, &file(dir.path(), "in", text)]).exits(1);
    let said = ran.says("line 6: ").stderr;
    assert!(said.contains("takes none of more than 16777216"), "{said}");
    assert!(!said.contains("Options"), "{said}");
    assert_eq!(exported(&store).len(), 5);
}

#[test]
fn a_line_without_end_is_refused_and_not_read_into_memory() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let endless = vec![b'x'; (64 << 20) + 3];
    annals(&[&"import", &"--source", &"a", &store, &file(dir.path(), "in", endless)]).exits(1).says("line 1 of ");
    assert!(!store.exists());
}

/// The writer is killed wherever it happens to be, again and again; the log must end up as if it never was.
#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let (store, whole) = (dir.path().join("store"), dir.path().join("whole"));
    let text = lines(6000);
    let path = file(dir.path(), "in", &text);
    annals(&[&"import", &whole, &path]).exits(0);
    let mut killed = 0;
    for target in [1, 900, 1800, 2700, 3600, 4500, 5400] {
        // Small batches, so that there are many places to be killed at.
        let mut child = command(&[&"import", &"--batch", &"3", &store, &path])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let there = wait_for("the import to come so far", || {
            let head = EventStore::open_read_only(&store).map_or(0, |store| store.head().get());
            (head >= target || child.try_wait().unwrap().is_some()).then_some(head)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let head = EventStore::open_read_only(&store).unwrap().head().get();
        assert!(head >= there, "what a reader has seen is still there");
        killed += u32::from(head < 6000);
    }
    assert!(killed > 0, "no kill hit the middle of an import");
    let before = EventStore::open_read_only(&store).unwrap().head().get();
    let row = annals(&[&"import", &"--json", &store, &path]).exits(0).row();
    let (events, already) = (row["events"].as_u64().unwrap(), row["already"].as_u64().unwrap());
    assert_eq!((events + already, row["head"].as_u64()), (6000, Some(6000)));
    assert!(already >= before, "{already} lines known, {before} events seen");
    check_equal(&store, &whole);
}

#[test]
fn a_full_disk_ends_an_import_cleanly_and_it_goes_on_when_there_is_space() {
    let dir = TempDir::new().unwrap();
    let (store, whole) = (dir.path().join("store"), dir.path().join("whole"));
    let path = file(dir.path(), "in", lines(20_000));
    annals(&[&"import", &whole, &path]).exits(0);
    // No file may grow beyond 1 MiB: writes that would are refused, as on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" import \"$1\" \"$2\"";
    let program = env!("CARGO_BIN_EXE_annals");
    let output =
        std::process::Command::new("sh").args(["-c", limited, program]).args([&store, &path]).output().unwrap();
    let ran = common::ran(output).exits(3);
    assert!(ran.stderr.contains("the disk is full"), "{}", ran.stderr);
    assert!(ran.stderr.contains("import again"), "{}", ran.stderr);
    let taken = exported(&store).len();
    assert!((1000..20_000).contains(&taken), "{taken} events were taken in before");
    annals(&[&"verify", &store]).exits(0);
    annals(&[&"import", &store, &path]).exits(0);
    check_equal(&store, &whole);
}

#[test]
fn an_export_of_a_part_starts_and_ends_where_it_was_told() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    annals(&[&"import", &store, &file(dir.path(), "in", lines(50))]).exits(0);
    let rows = annals(&[&"export", &"--after", &"10", &"--until", &"13", &store]).exits(0).rows();
    let positions: Vec<u64> = rows.iter().map(|row| row["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, [11, 12, 13]);
    assert_eq!(annals(&[&"export", &"--after", &"50", &store]).exits(0).stdout, "");
}

#[test]
fn importing_from_a_pipe_that_cannot_be_rewound_works_as_from_a_file() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let path = file(dir.path(), "in", gzip(&lines(100)));
    let program = env!("CARGO_BIN_EXE_annals");
    let script = "cat \"$1\" | \"$0\" import --json \"$2\" /dev/stdin";
    for expected in [100, 0] {
        let output =
            std::process::Command::new("sh").args(["-c", script, program]).args([&path, &store]).output().unwrap();
        assert_eq!(common::ran(output).exits(0).row()["events"], expected);
    }
    fs::remove_file(path).unwrap();
}

/// The lines with ids of their own, as somebody else's export would have them.
fn with_ids(text: &str) -> Vec<String> {
    let with_id = |(n, line): (usize, &str)| {
        format!("{},\"id\":\"00000000-0000-4000-8000-{n:012x}\"}}\n", line.strip_suffix('}').unwrap())
    };
    text.lines().enumerate().map(with_id).collect()
}

#[test]
fn lines_with_ids_that_overlap_are_taken_in_once_whatever_files_they_are_in() {
    let dir = TempDir::new().unwrap();
    let lines = with_ids(&lines(1000));
    // Imports of parts in this order, and how many events each adds.
    for parts in [
        [(0..600, 600), (400..1000, 400), (0..1000, 0), (0..1, 0)],
        [(400..600, 200), (0..1000, 800), (0..500, 0), (999..1000, 0)],
        [(0..1, 1), (1..1000, 999), (0..1000, 0), (3..700, 0)],
    ] {
        for batch in ["1", "7", "1000"] {
            let store = dir.path().join("store");
            for (part, added) in &parts {
                let text = lines[part.clone()].concat();
                let args: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"import", &"--json", &"--batch", &batch, &store, &"-"];
                let row = annals_with(text.as_bytes(), &args).exits(0).row();
                let there = row["already"].as_u64().unwrap() + row["duplicates"].as_u64().unwrap();
                let case = format!("{part:?} of {parts:?} by {batch}: {row}");
                assert_eq!((row["events"].as_u64(), there), (Some(*added), part.len() as u64 - added), "{case}");
            }
            let mut ids: Vec<String> = annals(&[&"export", &store])
                .exits(0)
                .rows()
                .iter()
                .map(|row| row["id"].as_str().unwrap().to_owned())
                .collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 1000, "{parts:?} by {batch}: each is there");
            assert_eq!(annals(&[&"stats", &"--json", &store]).exits(0).row()["events"], 1000);
            annals(&[&"verify", &store]).exits(0);
            fs::remove_dir_all(&store).unwrap();
        }
    }
}

#[test]
fn an_export_that_has_grown_is_imported_again_without_doubling_anything() {
    let dir = TempDir::new().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let text = lines(300);
    let cut = text.match_indices('\n').nth(99).unwrap().0 + 1;
    for part in [&text[..cut], &text[cut..]] {
        annals_with(part.as_bytes(), &[&"import", &from, &"-"]).exits(0);
        let export = annals(&[&"export", &from]).exits(0).stdout;
        annals_with(export.as_bytes(), &[&"import", &to, &"-"]).exits(0);
    }
    check_equal(&from, &to);
}

#[test]
fn a_line_with_the_id_of_another_event_is_named_with_the_id_and_the_lines_before_it_stay() {
    for batch in ["1", "7", "1000"] {
        let dir = TempDir::new().unwrap();
        let store = dir.path().join("store");
        let lines = with_ids(&lines(100));
        annals_with(lines[..50].concat().as_bytes(), &[&"import", &store, &"-"]).exits(0);
        let mut other = lines.clone();
        other[70] = lines[70].replace(&format!("{:012x}", 70), &format!("{:012x}", 3));
        let ran = annals_with(other.concat().as_bytes(), &[&"import", &"--batch", &batch, &store, &"-"]).exits(1);
        let said = ran.says("line 71: ").stderr;
        assert!(said.contains("00000000-0000-4000-8000-000000000003 is at position 4 already"), "{said}");
        assert!(said.contains("mend the input"), "{said}");
        assert_eq!(exported(&store).len(), 70, "batch {batch}");
        annals_with(lines.concat().as_bytes(), &[&"import", &"--batch", &batch, &store, &"-"]).exits(0);
        let ids: Vec<String> = lines.iter().map(|line| line[line.len() - 39..line.len() - 3].to_owned()).collect();
        let found = annals(&[&"export", &store]).exits(0).rows();
        assert!(found.iter().map(|row| row["id"].as_str().unwrap()).eq(&ids), "batch {batch}: in their order");
    }
}

#[test]
fn an_id_that_comes_twice_in_a_file_is_one_event_if_it_says_the_same_and_a_bad_line_if_not() {
    let dir = TempDir::new().unwrap();
    let lines = with_ids(&lines(20));
    for batch in ["1", "7", "1000"] {
        let store = dir.path().join(format!("same-{batch}"));
        let twice = [lines[..10].concat(), lines[4].clone(), lines[10..].concat()].concat();
        let args: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"import", &"--json", &"--batch", &batch, &store, &"-"];
        let row = annals_with(twice.as_bytes(), &args).exits(0).row();
        assert_eq!((&row["events"], &row["duplicates"], &row["head"]), (&json!(20), &json!(1), &json!(20)), "{batch}");

        let store = dir.path().join(format!("other-{batch}"));
        let other = lines[15].replace(&format!("{:012x}", 15), &format!("{:012x}", 4));
        let twice = [lines[..10].concat(), other, lines[10..].concat()].concat();
        let ran = annals_with(twice.as_bytes(), &[&"import", &"--batch", &batch, &store, &"-"]).exits(1);
        ran.says("line 11: ");
        assert_eq!(exported(&store).len(), 10, "{batch}");
    }
}

#[test]
fn what_stands_for_lost_events_is_imported_but_for_that_in_the_stream_of_the_schemas() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let lost = r#""type":"$lost","data":{"why":"a byte was wrong"}}"#;
    let schema = r#"{"event_type":"T","version":1,"compatibility":"backward","schema":true}"#;
    let text = [
        format!(r#"{{"stream":"s",{lost}"#),
        format!(r#"{{"stream":"$lost-2",{lost}"#),
        format!(r#"{{"stream":"$schema",{lost}"#),
        format!(r#"{{"stream":"$schema","type":"$schema","data":{schema}}}"#),
    ]
    .join("\n");
    let lines = file(dir.path(), "in", text);
    let row = annals(&[&"--json", &"import", &store, &lines]).exits(0).row();
    assert_eq!((&row["events"], &row["left_out"], &row["head"]), (&json!(3), &json!(1), &json!(3)), "{row}");
    let opened = EventStore::open_read_only(&store).unwrap();
    let streams: Vec<String> =
        opened.read_all(annals::Position::START).map(|event| event.unwrap().stream().to_owned()).collect();
    assert_eq!(streams, ["s", "$lost-2", "$schema"]);
    // What is none of these is named with its line.
    let other = file(dir.path(), "other", r#"{"stream":"$schema","type":"$schema","data":{"event_type":7}}"#);
    annals(&[&"import", &store, &other]).exits(1).says("it registers no schema, though it is of $schema");
}
