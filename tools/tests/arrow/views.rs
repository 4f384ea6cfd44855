//! The views of the folder: typed by the registered schemas as those in `SQLite` are, and with the same rows; what does not fit is in
//! quarantine.

use common::power::{Files, put};
use common::schemas::{append, register, say};
use common::{Rng, snapshot};
use serde_json::{Value as Json, json};

use super::table::{check_folder, check_rows, clocked, files, index, manifest, rows, states};
use super::*;

fn store() -> (TempDir, PathBuf, PathBuf, EventStore) {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let store = EventStore::open(&path, &Options::new().durability(annals::Durability::Sync)).unwrap();
    (dir, path, table, store)
}

fn sql(table: &Path) -> String {
    fs::read_to_string(table.join("_annals_views.sql")).unwrap()
}

/// What a table says of types, and of the events that do not fit: the manifest and the file of the views.
pub(super) fn said(table: &Path) -> (Json, Json, String) {
    let manifest = manifest(table);
    (manifest["views"].clone(), manifest["quarantine"].clone(), sql(table))
}

/// The positions in quarantine with the reasons.
fn quarantined(table: &Path) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for range in manifest(table)["quarantine"].as_array().unwrap() {
        assert_eq!(range["has_row"], true, "{range}");
        let reason = range["reason"].as_str().unwrap();
        found.extend(
            (range["from"].as_u64().unwrap()..=range["to"].as_u64().unwrap()).map(|at| (at, reason.to_owned())),
        );
    }
    found
}

/// A table in `SQLite` of the same log.
fn sqlite(store: &Path, dir: &Path) -> rusqlite::Connection {
    let file = dir.join("table.db");
    let ran = annals(&[&"index", &store, &"--to", &format!("sqlite:{}", file.display())]);
    assert!(ran.exit.is_some_and(|code| code < 2), "{}", ran.stderr);
    rusqlite::Connection::open(file).unwrap()
}

fn asked(connection: &rusqlite::Connection, sql: &str) -> (Vec<String>, Vec<Vec<Value>>) {
    let mut statement = connection.prepare(sql).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let row = |row: &rusqlite::Row<'_>| (0..names.len()).map(|column| row.get(column)).collect();
    let rows = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    (names, rows)
}

/// Each view of the table in `SQLite`: its name, the names and types of its columns, and its rows.
fn views_of_sqlite(connection: &rusqlite::Connection) -> Json {
    let json = |value: Value| match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Blob(_) => panic!("no column of a view has blobs"),
    };
    let mut views = serde_json::Map::new();
    for row in asked(connection, "SELECT view, columns FROM annals_views").1 {
        let [Value::Text(view), Value::Text(said)] = &row[..] else { panic!("{row:?}") };
        let (names, rows) =
            asked(connection, &format!("SELECT * FROM \"{}\" ORDER BY position", view.replace('"', "\"\"")));
        let rows: Vec<Json> = rows.into_iter().map(|row| row.into_iter().map(json).collect()).collect();
        let said: Json = serde_json::from_str(said).unwrap();
        // Those that have a column, in the order of their names.
        let types: Vec<&Json> = names[6..]
            .iter()
            .map(|name| said.get(name).or_else(|| said.get(name.trim_start_matches("data_"))).unwrap())
            .collect();
        views.insert(view.clone(), json!({"columns": names, "types": types, "rows": rows}));
    }
    Json::Object(views)
}

/// The views of both engines have the same rows, and what is in quarantine is the same.
#[track_caller]
fn check_as_in_sqlite(store: &Path, table: &Path, dir: &Path) -> Json {
    let connection = sqlite(store, dir);
    let bad = asked(&connection, "SELECT position, reason FROM quarantine ORDER BY 1").1;
    let bad: Vec<(u64, String)> = bad
        .into_iter()
        .map(|row| match &row[..] {
            [Value::Integer(position), Value::Text(reason)] => (position.cast_unsigned(), reason.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(quarantined(table), bad);
    let said = asked(&connection, "SELECT type, view, columns FROM annals_views ORDER BY 1").1;
    let views = manifest(table)["views"].clone();
    let ours = views.as_array().unwrap().iter().map(|view| {
        let text = |name: &str| Value::Text(view[name].as_str().unwrap().to_owned());
        vec![text("type"), text("view"), Value::Text(view["columns"].to_string())]
    });
    assert_eq!(ours.collect::<Vec<_>>(), said);
    let views = views_of_sqlite(&connection);
    let expected = file(dir, "expected", views.to_string());
    checked_by_python(&[Path::new("views"), table, &expected]);
    views
}

#[test]
fn a_type_whose_schema_is_registered_has_a_view_with_typed_columns() {
    let (dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": 5, "currency": "EUR"}"#);
    index(&path, &table, &[]).exits(0);
    assert!(!table.join("_annals_views.sql").exists(), "there is none");
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}, "currency": {"enum": ["EUR", "USD"]}}));
    append(&store, "Paid", r#"{"amount": 7, "note": "no column"}"#);
    append(&store, "Noted", r#"{"amount": 9}"#);
    index(&path, &table, &[]).exits(0);
    let columns = json!({"amount": "integer", "currency": "text"});
    assert_eq!(manifest(&table)["views"], json!([{"type": "Paid", "view": "Paid", "columns": columns}]));
    let found = sql(&table);
    assert!(found.contains("CREATE OR REPLACE VIEW \"Paid\" AS SELECT position, stream, version, id,"), "{found}");
    let log_id = manifest(&table)["log_id"].to_string();
    assert!(found.contains(&format!("contains(content, '\"log_id\":{log_id}')")), "{found}");
    let views = check_as_in_sqlite(&path, &table, dir.path());
    let fields = |row: usize| views["Paid"]["rows"][row].as_array().unwrap()[6..].to_vec();
    assert_eq!((fields(0), fields(1)), (vec![json!(5), json!("EUR")], vec![json!(7), Json::Null]));

    // A later version: the view is wider, and old events stay what they are.
    register(&store, "Paid", 2, &json!({"amount": {"type": "number"}, "at": {"type": "string"}}));
    append(&store, "Paid", r#"{"amount": 7.25, "at": "noon"}"#);
    index(&path, &table, &[]).exits(0);
    assert!(sql(&table).contains("AS \"at\""));
    check_as_in_sqlite(&path, &table, dir.path());
    let before = snapshot(&table);
    index(&path, &table, &[]).exits(0);
    assert_eq!(snapshot(&table), before, "nothing to do, nothing written");
    check_rows(&path, &table);
}

#[test]
fn an_event_that_does_not_fit_is_named_in_quarantine_also_one_from_before_the_schema() {
    let (dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": "five"}"#);
    append(&store, "Paid", r#"{"amount": 5}"#);
    index(&path, &table, &[]).exits(0);
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}}));
    append(&store, "Paid", r#"{"amount": 5.5}"#);
    append(&store, "Paid", "no JSON at all");
    say(&store, r#"{"event_type": "Paid"}"#);
    let ran = index(&path, &table, &[]).exits(1);
    assert_eq!(ran.row()["quarantined"], 4);
    let told = quarantined(&table);
    assert_eq!(told.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 4, 5, 6]);
    let views = check_as_in_sqlite(&path, &table, dir.path());
    let amounts: Vec<&Json> = views["Paid"]["rows"].as_array().unwrap().iter().map(|row| &row[6]).collect();
    assert_eq!(amounts, [&Json::Null, &json!(5), &Json::Null, &Json::Null]);
    let before = snapshot(&table);
    index(&path, &table, &[]).exits(0);
    assert_eq!(snapshot(&table), before, "what is known is no news");

    // What a wider schema has room for is no longer bad.
    register(&store, "Paid", 2, &json!({"amount": {"type": "number"}}));
    assert_eq!(index(&path, &table, &[]).exits(0).row()["quarantined"], 0);
    assert_eq!(quarantined(&table).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 5, 6]);
    check_as_in_sqlite(&path, &table, dir.path());
    // Nor is what is redacted, also where the same step learns what it would not fit to.
    append(&store, "Moved", r#"{"to": 5}"#);
    index(&path, &table, &[]).exits(0);
    store.redact([Position::new(1), Position::new(8)], "a slip").unwrap();
    register(&store, "Moved", 1, &json!({"to": {"type": "string"}}));
    assert_eq!(index(&path, &table, &[]).exits(0).row()["quarantined"], 0);
    assert_eq!(quarantined(&table).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [5, 6]);
    check_as_in_sqlite(&path, &table, dir.path());
    check_rows(&path, &table);
}

#[test]
fn who_wants_to_stop_at_bad_events_is_stopped_by_one_that_violates_its_schema() {
    let (_dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": true}"#);
    let stopped = |said: &str| {
        let ran = index(&path, &table, &["--on-bad", "stop"]).exits(1);
        assert!(ran.stderr.contains(said), "no {said} in {}", ran.stderr);
    };
    index(&path, &table, &["--on-bad", "stop"]).exits(0);
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}}));
    let before = (rows(&table), manifest(&table));
    stopped(r#"position 1: its field \"amount\" is true or false"#);
    assert_eq!((rows(&table), manifest(&table)), before, "the step that has the schema is not begun");
    assert!(!table.join("_annals_views.sql").exists());
    index(&path, &table, &[]).exits(1);
    append(&store, "Paid", r#"{"amount": 2}"#);
    append(&store, "Paid", r#"{"amount": []}"#);
    stopped(r#"position 4: its field \"amount\" is a list"#);
    assert_eq!(manifest(&table)["position"], 3);
}

/// Values of all kinds, and names of all kinds, which are names and nothing else to both engines.
#[test]
fn whatever_stands_in_a_field_and_however_it_is_called_both_engines_say_the_same() {
    let (dir, path, table, store) = store();
    let types = ["integer", "number", "string", "boolean", "array"];
    let properties: serde_json::Map<String, Json> =
        types.iter().map(|name| ((*name).to_owned(), json!({"type": name}))).collect();
    register(&store, "T", 1, &Json::Object(properties));
    let values = [
        "null",
        "7",
        "-7",
        "7.0",
        "7.5",
        "-0",
        "-0.0",
        "0.1",
        "1e2",
        "1e18",
        "1e19",
        "1e300",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "9223372036854775807.0",
        "-9223372036854775808.0",
        "123456789012345678901234567890",
        "\"7\"",
        "\"\"",
        "\"null\"",
        "\"é\\n\\u00e9\\ud83d\\ude00\"",
        "\"it's \\\"so\\\"\"",
        "true",
        "false",
        "[1, 2]",
        "{}",
        r#"{"x": [null, "y"]}"#,
    ];
    for value in values {
        let data = format!("{{{}}}", types.map(|name| format!(r#""{name}": {value}"#)).join(", "));
        append(&store, "T", &data);
    }
    for data in
        ["", "{", "[]", "[7]", "7", "\"integer\"", r#"{"integer": 1, "integer": "2"}"#, r#"{"\u0069nteger": 3}"#]
    {
        append(&store, "T", data);
    }
    let binary = NewEvent::new("T", vec![0, 159, 146, 150]);
    store.append("s", ExpectedVersion::Any, binary).unwrap();

    let fields = [
        "it's", "a b", "x.y", "position", "Stream", "größe", "GRÖSSE", "[0]", "STREAM", "*", "**", "", "$", "/x", "0",
        "#", "~1",
    ];
    let text: serde_json::Map<String, Json> =
        fields.iter().map(|&name| (name.to_owned(), json!({"type": "string"}))).collect();
    // For these there are no paths.
    let mut more = text.clone();
    more.extend(["no \" path", "back\\", "tab\t"].map(|name| (name.to_owned(), json!({}))));
    let event_types =
        [r#"x" AS SELECT 1; DROP VIEW "T"; --'"#, "events", "EVENTS", "select", "Größe", "two\nlines", "$.x"];
    for event_type in event_types {
        register(&store, event_type, 1, &Json::Object(more.clone()));
        let data: serde_json::Map<String, Json> =
            fields.iter().map(|&name| (name.to_owned(), json!(format!("is {name}")))).collect();
        append(&store, event_type, &Json::Object(data).to_string());
        append(&store, event_type, &json!([["is 0"]]).to_string());
    }
    index(&path, &table, &[]).exits(1);
    let views = check_as_in_sqlite(&path, &table, dir.path());
    assert_eq!(views.as_object().unwrap().len(), event_types.len() + 1);
    for (name, view) in views.as_object().unwrap().iter().filter(|(name, _)| *name != "T") {
        assert_eq!(view["columns"].as_array().unwrap().len(), 6 + fields.len(), "{name}");
        assert!(view["rows"][0].as_array().unwrap()[6..].iter().all(Json::is_string), "{name}: {view}");
    }
}

/// Whatever the order of events, schemas, redactions and runs: views and quarantine are those of a table that is made in one run, and
/// those in `SQLite`.
#[test]
fn after_any_story_the_views_are_those_of_a_table_that_is_made_in_one_run() {
    let kinds = ["integer", "number", "string", "boolean"];
    let values = ["1", "1.5", "\"1\"", "true", "null", "[]"];
    let mut most = 0;
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let dir = TempDir::new().unwrap();
        let (path, table) = (dir.path().join("store"), dir.path().join("table"));
        let (store, clock) = clocked(&path);
        for step in 0..60 {
            let event_type = ["A", "B", "C"][rng.below(3)];
            clock.to_hour(i64::from(step) * 3);
            match rng.below(11) {
                0..=5 => {
                    let data = format!(r#"{{"x": {}, "y": {}}}"#, values[rng.below(6)], values[rng.below(6)]);
                    append(&store, event_type, &data);
                }
                6..=7 => {
                    let field = ["x", "y"][rng.below(2)];
                    register(&store, event_type, step + 1, &json!({field: {"type": kinds[rng.below(4)]}}));
                }
                8 if store.head() > Position::START => {
                    _ = store.redact([Position::new(1 + rng.below(store.head().get() as usize) as u64)], "a slip");
                }
                _ => {
                    store.flush().unwrap();
                    let batch = (1 + rng.below(5)).to_string();
                    assert!(index(&path, &table, &["--batch", &batch]).exit.is_some_and(|code| code < 2));
                }
            }
        }
        store.flush().unwrap();
        let once = dir.path().join("once");
        for table in [&table, &once] {
            assert!(index(&path, table, &[]).exit.is_some_and(|code| code < 2));
        }
        assert_eq!(said(&table), said(&once), "seed {seed}");
        most = most.max(quarantined(&table).len());
        check_as_in_sqlite(&path, &table, dir.path());
        check_rows(&path, &table);
    }
    assert!(most > 5, "{most} at most");
}

/// A log whose types change while it goes on over days, with events that do not fit.
pub(super) fn changing(path: &Path) -> EventStore {
    let (store, clock) = clocked(path);
    for number in 0..120 {
        clock.to_hour(number);
        append(&store, if number % 2 == 0 { "A" } else { "B" }, &format!(r#"{{"n": {number}, "m": "x"}}"#));
        match number {
            20 => register(&store, "A", 1, &json!({"n": {"type": "string"}})),
            50 => register(&store, "B", 1, &json!({"n": {"type": "integer"}, "m": {"type": "boolean"}})),
            90 => register(&store, "A", 2, &json!({"n": {"type": "integer"}})),
            _ => {}
        }
    }
    store.flush().unwrap();
    store
}

#[test]
fn a_step_that_changes_views_and_is_killed_at_any_moment_is_made_anew() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    let store = changing(&path);
    let states = states(&store, &table, 17);
    let (expected, all) = (said(&table), rows(&table));
    assert!(expected.1.as_array().unwrap().len() > 5, "{}", expected.1);
    let (views, manifest_file, lock) =
        (table.join("_annals_views.sql"), table.join("_annals_index.json"), table.join("_lock"));
    let mut moments = 0;
    for pair in states.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        if before.get(&views) == after.get(&views) {
            continue;
        }
        let with = |changed: &dyn Fn(&mut Files)| {
            let mut now = after.clone();
            now.insert(lock.clone(), b"\0".to_vec());
            changed(&mut now);
            now
        };
        let old = |now: &mut Files, path: &Path| match before.get(path) {
            Some(content) => _ = now.insert(path.to_owned(), content.clone()),
            None => _ = now.remove(path),
        };
        for now in [
            // Behind its files of rows, its manifest, and its views; and the views are written and have no name yet.
            with(&|now| {
                old(now, &views);
                old(now, &manifest_file);
            }),
            with(&|now| old(now, &views)),
            with(&|_| ()),
            with(&|now| {
                old(now, &views);
                now.insert(table.join("__annals_views.sql.x1y2z3.tmp"), after[&views].clone());
            }),
        ] {
            put(&table, &now);
            index_to_end(&store, &table);
            assert_eq!(said(&table), expected);
            assert_eq!(rows(&table), all);
            check_folder(&table);
            moments += 1;
        }
    }
    assert!(moments >= 12, "{moments} moments");
}

fn index_to_end(store: &EventStore, table: &Path) {
    annals_cli::tables::index_parquet(store, table, &annals_cli::tables::IndexOptions::new().batch(30), &mut |_| true)
        .unwrap();
}

#[test]
fn a_file_of_views_that_is_gone_or_changed_is_written_again_also_where_nothing_is_new() {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table"));
    changing(&path).close().unwrap();
    index(&path, &table, &[]).exits(1);
    let before = snapshot(&table);
    let views = table.join("_annals_views.sql");
    fs::remove_file(&views).unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(snapshot(&table), before);
    fs::write(&views, "SELECT 1").unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(snapshot(&table), before);
    // Where the manifest has none, there is none.
    let (strange_dir, strange) = filled(3);
    let other = strange_dir.path().join("table");
    index(&strange, &other, &[]).exits(0);
    fs::copy(&views, other.join("_annals_views.sql")).unwrap();
    index(&strange, &other, &[]).exits(0);
    assert!(!other.join("_annals_views.sql").exists());
}

#[test]
fn a_rebuild_makes_the_views_anew_and_leaves_nothing_of_the_old_ones() {
    let (dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": "5"}"#);
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}}));
    index(&path, &table, &[]).exits(1);
    let expected = said(&table);
    fs::write(table.join("_annals_views.sql"), "of an old version").unwrap();
    index(&path, &table, &["--rebuild-beside"]).exits(1);
    assert_eq!(said(&table), expected);
    assert!(!dir.path().join("table.new").exists());
    // Of another log, which has none.
    let (_strange_dir, strange) = filled(3);
    index(&strange, &table, &["--rebuild-beside"]).exits(0);
    assert!(!table.join("_annals_views.sql").exists());
    assert_eq!(manifest(&table)["views"], json!([]));
}

#[test]
fn a_view_that_is_not_of_the_table_in_the_folder_any_more_says_so_and_shows_nothing() {
    let (dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": 5}"#);
    append(&store, "Noted", "{}");
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}}));
    register(&store, "Noted", 1, &json!({}));
    index(&path, &table, &[]).exits(0);
    let old = dir.path().join("old.sql");
    fs::copy(table.join("_annals_views.sql"), &old).unwrap();
    let ask = |table: &Path, sql: &Path| checked_by_python(&[Path::new("ask"), table, sql]);
    let answers = |said: Option<String>| said.map(|said| serde_json::from_str::<Json>(&said).unwrap());
    let Some(first) = answers(ask(&table, &old)) else { return };
    assert_eq!(first, json!({"Paid": [1], "Noted": [2]}));
    // The folder is elsewhere.
    let moved = dir.path().join("it's moved");
    fs::rename(&table, &moved).unwrap();
    assert_eq!(answers(ask(&moved, &old)).unwrap(), first);
    assert!(ask(&table, &old).unwrap().contains("No files found"));
    fs::rename(&moved, &table).unwrap();

    // A schema has changed one of them.
    register(&store, "Paid", 2, &json!({"amount": {"type": "number"}}));
    append(&store, "Paid", r#"{"amount": 5.5}"#);
    index(&path, &table, &[]).exits(0);
    let said = answers(ask(&table, &old)).unwrap();
    assert!(said["Paid"].as_str().unwrap().contains("run _annals_views.sql again"), "{said}");
    assert_eq!(said["Noted"], json!([2]));
    let current = table.join("_annals_views.sql");
    assert_eq!(answers(ask(&table, &current)).unwrap(), json!({"Paid": [1, 6], "Noted": [2]}));

    // Rows of a step that was killed before it was done are not shown: nothing is known yet of what does not fit.
    let before = fs::read(table.join("_annals_index.json")).unwrap();
    append(&store, "Paid", r#"{"amount": "six"}"#);
    index(&path, &table, &[]).exits(1);
    assert_eq!(answers(ask(&table, &current)).unwrap()["Paid"], json!([1, 6, 7]));
    fs::write(table.join("_annals_index.json"), before).unwrap();
    assert_eq!(rows(&table).len(), 7);
    assert_eq!(answers(ask(&table, &current)).unwrap()["Paid"], json!([1, 6]));

    // Another log has the same types.
    let (_dir, strange, other, store) = self::store();
    append(&store, "Paid", r#"{"amount": 5}"#);
    register(&store, "Paid", 1, &json!({"amount": {"type": "number"}}));
    index(&strange, &other, &[]).exits(0);
    let said = answers(ask(&other, &current)).unwrap();
    assert!(said["Paid"].as_str().unwrap().contains("run _annals_views.sql again"), "{said}");
    assert_eq!(files(&other).len(), 1);
}
