//! What the command says of the files in `idx/`: `dump`, `verify` and `stats`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Ran, Rng, annals, file, lines, wait_for};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store of 9,000 events in more than 16 sealed segments, all of whose derived files are there.
fn store() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let input = file(dir.path(), "in", lines(9000));
    annals(&[&"import", &"--segment-bytes", &"65536", &"--batch", &"10", &store, &input]).exits(0);
    let filter = store.join("idx/1-00000000000000000000.flt");
    // Closing does not wait for what can be made later: the next writer makes what is missing.
    let opened = annals::EventStore::open(&store, &annals::Options::new()).unwrap();
    wait_for("the index files", || (filter.exists() && missing(&store).is_empty()).then_some(()));
    opened.close().unwrap();
    (dir, store)
}

/// The sealed segments without an index.
fn missing(store: &Path) -> Vec<u64> {
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    let segments = stats["segment_list"].as_array().unwrap();
    let missing = segments.iter().filter(|segment| segment["sealed"] == true && segment["index_bytes"].is_null());
    missing.map(|segment| segment["segment"].as_u64().unwrap()).collect()
}

fn index(store: &Path, number: u64) -> PathBuf {
    store.join(format!("idx/{number:020}.idx"))
}

fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// The rows of the parts, and the verdict.
fn dumped(ran: &Ran) -> (Vec<Value>, Value) {
    let mut rows = ran.rows();
    let verdict = rows.pop().unwrap();
    (rows.split_off(1), verdict)
}

#[test]
fn stats_says_what_the_index_files_take_and_which_segments_have_one() {
    let (_dir, store) = store();
    let sizes = || fs::read_dir(store.join("idx")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let total: u64 = sizes();
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    let sealed = stats["segments"].as_u64().unwrap() - 1;
    assert!(sealed > 16, "{stats}");
    assert_eq!((&stats["sealed_segments"], &stats["indexed_segments"]), (&json!(sealed), &json!(sealed)));
    assert_eq!(stats["index_bytes"], total);
    let row = &stats["segment_list"][3];
    assert_eq!(row["index_bytes"], fs::metadata(index(&store, 3)).unwrap().len());
    assert_eq!(stats["segment_list"][sealed as usize]["index_bytes"], Value::Null, "the active one has none");
    let text = annals(&[&"stats", &store]).exits(0).stdout;
    assert!(text.contains(&format!(" for {sealed} of {sealed} sealed segments")), "{text}");

    fs::remove_file(index(&store, 3)).unwrap();
    fs::write(store.join("idx/notes.txt"), "not ours").unwrap();
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    assert_eq!((&stats["sealed_segments"], &stats["indexed_segments"]), (&json!(sealed), &json!(sealed - 1)));
    assert_eq!(stats["segment_list"][3]["index_bytes"], Value::Null);
    assert_eq!(stats["index_bytes"], sizes() - 8);
}

#[test]
fn dump_shows_every_part_of_an_index_and_counts_what_is_in_it() {
    let (_dir, store) = store();
    let stats = annals(&[&"stats", &"--json", &store]).exits(0).row();
    for segment in stats["segment_list"].as_array().unwrap().iter().filter(|segment| segment["sealed"] == true) {
        let number = segment["segment"].as_u64().unwrap();
        let (parts, verdict) = dumped(&annals(&[&"dump", &"--json", &index(&store, number)]).exits(0));
        assert_eq!(parts.len(), 15, "the directory and 14 sections");
        // They are the whole file, without a gap.
        let mut at = 0;
        for part in &parts {
            assert_eq!((part["offset"].as_u64(), &part["checksum"]), (Some(at), &json!("ok")), "{part}");
            at += part["len"].as_u64().unwrap();
        }
        assert_eq!(at, segment["index_bytes"].as_u64().unwrap());
        assert_eq!((&verdict["verdict"], &verdict["segment"]), (&json!("clean"), &json!(number)));
        assert_eq!((&verdict["log_id"], &verdict["base"]), (&stats["log_id"], &segment["base"]));
        let events = segment["last"].as_u64().unwrap() - segment["base"].as_u64().unwrap();
        assert_eq!(verdict["events"], events);
        // What the lines of this range have, counted again.
        let (after, until) = (segment["base"].to_string(), segment["last"].to_string());
        let rows = annals(&[&"export", &store, &"--after", &after, &"--until", &until]).exits(0).rows();
        let mut types = std::collections::BTreeMap::new();
        for row in &rows {
            *types.entry(row["type"].as_str().unwrap()).or_insert(0_u64) += 1;
        }
        let mut by_count: Vec<(u64, &str)> = types.iter().map(|(name, events)| (u64::MAX - events, *name)).collect();
        by_count.sort_unstable();
        let top = by_count.iter().map(|(events, name)| json!({"type": name, "events": u64::MAX - events}));
        assert_eq!(verdict["top_types"], Value::Array(top.collect()));
        let counts = ["streams", "types", "tags", "ids", "keys", "sources", "made_id_runs"].map(|what| &verdict[what]);
        assert_eq!(counts.map(|count| count.as_u64().unwrap()), [7, 5, 2, 0, 0, 1, 1], "{verdict}");
    }
    let text = annals(&[&"dump", &index(&store, 1)]).exits(0).stdout;
    for part in ["directory", "Bitmaps", "Filter", "7 streams, 5 types, 2 tags", "Type 0", "clean"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn dump_shows_a_filter_and_of_a_folder_all_of_them() {
    let (_dir, store) = store();
    let filter = store.join("idx/1-00000000000000000000.flt");
    let (parts, verdict) = dumped(&annals(&[&"dump", &"--json", &filter]).exits(0));
    assert_eq!(parts.len(), 2);
    let facts = ["level", "first_segment", "last_segment"].map(|what| verdict[what].as_u64().unwrap());
    assert_eq!(facts, [1, 0, 15], "{verdict}");
    // 7 streams, 5 types, 2 tags and a source in each of 16 segments.
    assert_eq!(verdict["hashes"], 16 * 15, "{verdict}");
    assert!(annals(&[&"dump", &filter]).exits(0).stdout.contains("the filter over segments 0 to 15"));
    let all = annals(&[&"dump", &"--json", &store.join("idx")]).exits(0).rows();
    let verdicts = all.iter().filter(|row| row["verdict"] == "clean").count();
    assert_eq!(verdicts, fs::read_dir(store.join("idx")).unwrap().count());
    // A store is its segments.
    assert!(!annals(&[&"dump", &store]).exits(0).stdout.contains(".idx"));
}

#[test]
fn dump_marks_the_part_that_is_damaged_and_tells_what_the_others_know() {
    let (_dir, store) = store();
    let path = index(&store, 2);
    let (parts, _) = dumped(&annals(&[&"dump", &"--json", &path]).exits(0));
    for part in &parts[1..] {
        let Some(len) = part["len"].as_u64().filter(|len| *len > 0) else { continue };
        let at = (part["offset"].as_u64().unwrap() + len / 2) as usize;
        flip(&path, at);
        let (hurt, verdict) = dumped(&annals(&[&"dump", &"--json", &path]).exits(1));
        let bad: Vec<&Value> = hurt.iter().filter(|part| part["checksum"] == "BAD").map(|part| &part["part"]).collect();
        assert_eq!(bad, [&part["part"]]);
        assert_eq!(verdict["verdict"], "damaged");
        let is_unknown = |what: &str, parts: &[&str]| {
            assert_eq!(verdict[what].is_null(), parts.iter().any(|name| part["part"] == **name), "{what}: {verdict}");
        };
        is_unknown("streams", &["Streams"]);
        is_unknown("types", &["Labels", "LabelNames"]);
        is_unknown("keys", &["KeyTable"]);
        is_unknown("sources", &["Sources"]);
        flip(&path, at);
    }
    flip(&path, 40);
    let ran = annals(&[&"dump", &path]).exits(1);
    assert!(ran.stdout.contains("damaged: the checksum of the index's directory"), "{}", ran.stdout);
    let filter = store.join("idx/1-00000000000000000000.flt");
    flip(&filter, 100);
    assert_eq!(dumped(&annals(&[&"dump", &"--json", &filter]).exits(1)).0[1]["checksum"], "BAD");
    flip(&filter, 0);
    annals(&[&"dump", &filter]).exits(1);
}

#[test]
fn dump_of_any_garbage_under_the_name_of_an_index_is_exit_code_1_and_no_panic() {
    let dir = TempDir::new().unwrap();
    let (_kept, store) = store();
    let mut rng = Rng::new(5);
    let good = fs::read(index(&store, 0)).unwrap();
    for name in ["some.idx", "some.flt"] {
        for len in [0, 1, 8, 71, 72, 73, 295, 296, 1000] {
            let garbage = rng.bytes(len);
            annals(&[&"dump", &file(dir.path(), name, garbage)]).exits(1);
            annals(&[&"dump", &"--json", &file(dir.path(), name, &good[..len.min(good.len())])]).exits(1);
        }
    }
    // It is known for what it is under any name.
    let path = file(dir.path(), "some.bin", &good);
    assert!(annals(&[&"dump", &path]).exits(0).stdout.contains("the index of segment 0"));
}

#[test]
fn verify_names_the_file_and_says_that_nothing_is_lost() {
    let (_dir, store) = store();
    let whole = annals(&[&"verify", &"--json", &store]).exits(0).row();
    let files = fs::read_dir(store.join("idx")).unwrap().count();
    assert_eq!((&whole["index_files"], &whole["unused_files"]), (&json!(files), &json!([])));
    let text = annals(&[&"verify", &store]).exits(0).stdout;
    assert!(text.contains(&format!("{files} index files; the log ends at position 9,000")), "{text}");

    flip(&index(&store, 4), 500);
    let report = annals(&[&"verify", &"--json", &store]).exits(1).row();
    let findings = report["findings"].as_array().unwrap();
    let facts = (findings.len(), &findings[0]["kind"], &findings[0]["segment"], &findings[0]["offset"]);
    assert_eq!(facts, (1, &json!("index"), &json!(4), &json!(500)), "{report}");
    assert_eq!(findings[0]["file"], index(&store, 4).to_str().unwrap());
    let text = annals(&[&"verify", &store]).exits(1).stdout;
    assert!(text.contains("All events are whole: delete what is wrong in idx/"), "{text}");
    assert!(!text.contains("backup"), "{text}");

    // What it says to do helps.
    fs::remove_file(index(&store, 4)).unwrap();
    let opened = annals::EventStore::open(&store, &annals::Options::new()).unwrap();
    wait_for("the index file", || missing(&store).is_empty().then_some(()));
    opened.close().unwrap();
    annals(&[&"verify", &store]).exits(0);

    fs::copy(index(&store, 4), index(&store, 4000)).unwrap();
    let text = annals(&[&"verify", &store]).exits(0).stdout;
    assert!(text.contains("Of no segment of this log") && text.contains("4000.idx"), "{text}");
}
