//! A view for each type of events whose schema is registered: typed by the schema, whatever was appended and when.

use common::schemas::{append, register, say};

use super::*;

fn store() -> (TempDir, PathBuf, PathBuf, EventStore) {
    let dir = TempDir::new().unwrap();
    let (path, table) = (dir.path().join("store"), dir.path().join("table.db"));
    let store = EventStore::open(&path, &Options::new().durability(Durability::Sync)).unwrap();
    (dir, path, table, store)
}

fn quarantined(table: &Path) -> Vec<Vec<Value>> {
    rows(&open(table), "SELECT position, reason FROM quarantine ORDER BY 1")
}

/// The columns of a view behind those of the event, with their types.
fn columns(table: &Path, view: &str) -> Vec<String> {
    let sql = format!("SELECT name || ' ' || type FROM pragma_table_info('{view}') WHERE cid > 5");
    rows(&open(table), &sql).into_iter().map(|row| format!("{:?}", row[0])).collect()
}

#[test]
fn a_type_whose_schema_is_registered_has_a_view_with_typed_columns() {
    let (_dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": 5, "currency": "EUR"}"#);
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}, "currency": {"enum": ["EUR", "USD"]}}));
    append(&store, "Paid", r#"{"amount": 7, "note": "no column"}"#);
    append(&store, "Noted", r#"{"amount": 9}"#);
    index(&path, &table, &[]).exits(0);
    let found = rows(&open(&table), "SELECT position, version, amount, currency FROM Paid ORDER BY 1");
    assert_eq!(
        found,
        [[1.into(), 1.into(), 5.into(), "EUR".to_owned().into()], [3.into(), 2.into(), 7.into(), Value::Null]]
    );
    assert_eq!(columns(&table, "Paid"), [r#"Text("amount INT")"#, r#"Text("currency TEXT")"#]);
    assert_eq!(
        rows(&open(&table), "SELECT type, view FROM annals_views"),
        [["Paid", "Paid"].map(|name| name.to_owned().into())]
    );

    // A later version: the view is wider, and old events stay what they are.
    register(&store, "Paid", 2, &json!({"amount": {"type": "number"}, "at": {"type": "string"}}));
    append(&store, "Paid", r#"{"amount": 7.25, "at": "noon"}"#);
    index(&path, &table, &[]).exits(0);
    let found = rows(&open(&table), "SELECT amount, at FROM Paid ORDER BY position");
    let noon = "noon".to_owned();
    assert_eq!(found, [[5.0.into(), Value::Null], [7.0.into(), Value::Null], [7.25.into(), noon.into()]]);
    check_rows(&path, &table);
    assert_eq!(index(&path, &table, &[]).exits(0).row()["events"], 0);
}

#[test]
fn an_event_that_does_not_fit_is_null_in_the_view_and_named_in_quarantine_also_one_from_before_the_schema() {
    let (_dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": "five"}"#);
    append(&store, "Paid", r#"{"amount": 5}"#);
    index(&path, &table, &[]).exits(0);
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}}));
    append(&store, "Paid", r#"{"amount": 5.5}"#);
    append(&store, "Paid", "no JSON at all");
    say(&store, r#"{"event_type": "Paid"}"#);
    let ran = index(&path, &table, &[]).exits(1);
    assert_eq!(ran.row()["quarantined"], 4);
    let told: Vec<String> = quarantined(&table).iter().map(|row| format!("{:?}: {:?}", row[0], row[1])).collect();
    assert!(told[0].starts_with(r#"Integer(1): Text("its field \"amount\" is a text, and by the"#), "{told:?}");
    assert!(told[1].starts_with(r#"Integer(4): Text("its field \"amount\" is 5.5, and by the"#), "{told:?}");
    assert_eq!(told[2], r#"Integer(5): Text("its data is not JSON, and its type has a registered schema")"#);
    assert!(
        told[3].starts_with(r#"Integer(6): Text("it registers no schema that this program knows: missing"#),
        "{told:?}"
    );
    let found = rows(&open(&table), "SELECT position, amount FROM Paid ORDER BY 1");
    assert_eq!(
        found,
        [[1.into(), Value::Null], [2.into(), 5.into()], [4.into(), Value::Null], [5.into(), Value::Null]]
    );
    index(&path, &table, &[]).exits(0);

    // What a wider schema has room for is no longer bad.
    register(&store, "Paid", 2, &json!({"amount": {"type": "number"}}));
    assert_eq!(index(&path, &table, &[]).exits(0).row()["quarantined"], 0);
    assert_eq!(quarantined(&table).len(), 3);
    // Nor is what is redacted.
    store.redact([Position::new(1)], "a slip").unwrap();
    index(&path, &table, &[]).exits(0);
    assert_eq!(quarantined(&table).len(), 2);
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
    stopped(r#"position 1: its field \"amount\" is true or false"#);
    assert_eq!(number(&open(&table), "SELECT position FROM annals_index"), 1);
    index(&path, &table, &[]).exits(1);
    append(&store, "Paid", r#"{"amount": 2}"#);
    append(&store, "Paid", r#"{"amount": []}"#);
    stopped(r#"position 4: its field \"amount\" is a list"#);
    assert_eq!(number(&open(&table), "SELECT position FROM annals_index"), 3);
}

#[test]
fn a_rebuild_makes_the_views_anew_and_what_somebody_has_made_keeps_its_name() {
    let (_dir, path, table, store) = store();
    append(&store, "Paid", r#"{"amount": 5}"#);
    index(&path, &table, &[]).exits(0);
    open(&table).execute_batch("CREATE VIEW paid AS SELECT count(*) AS mine FROM events").unwrap();
    register(&store, "Paid", 1, &json!({"amount": {"type": "integer"}}));
    register(&store, "Moved", 1, &json!({"to": {"type": "string"}}));
    index(&path, &table, &[]).exits(0);
    let check = || {
        assert_eq!(number(&open(&table), "SELECT mine FROM paid"), 3);
        assert_eq!(number(&open(&table), "SELECT amount FROM _Paid"), 5);
        let views = rows(&open(&table), "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY 1");
        assert_eq!(views, ["Moved", "_Paid", "paid"].map(|name| vec![Value::Text(name.to_owned())]));
    };
    check();
    index(&path, &table, &["--rebuild-beside"]).exits(0);
    check();
    index(&path, &table, &["--rebuild-beside"]).exits(0);
    check();
}

/// Whatever the order of events, schemas and runs: views and quarantine are those of a table that is made anew.
#[test]
fn after_any_story_the_views_are_those_of_a_table_that_is_made_in_one_run() {
    let kinds = ["integer", "number", "string", "boolean"];
    let values = ["1", "1.5", "\"1\"", "true", "null", "[]"];
    let mut most = 0;
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let (dir, path, table, store) = store();
        for step in 0..60 {
            let event_type = ["A", "B", "C"][rng.below(3)];
            match rng.below(10) {
                0..=5 => {
                    let data = format!(r#"{{"x": {}, "y": {}}}"#, values[rng.below(6)], values[rng.below(6)]);
                    append(&store, event_type, &data);
                }
                6..=7 => {
                    let field = ["x", "y"][rng.below(2)];
                    register(&store, event_type, step + 1, &json!({field: {"type": kinds[rng.below(4)]}}));
                }
                _ => {
                    let batch = (1 + rng.below(5)).to_string();
                    assert!(index(&path, &table, &["--batch", &batch]).exit.is_some_and(|code| code < 2));
                }
            }
        }
        let once = dir.path().join("once.db");
        for table in [&table, &once] {
            assert!(index(&path, table, &[]).exit.is_some_and(|code| code < 2));
        }
        let views = "SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY 1";
        for ask in [views, "SELECT * FROM annals_views ORDER BY 1", "SELECT * FROM quarantine ORDER BY 1"] {
            let (found, expected) = (rows(&open(&table), ask), rows(&open(&once), ask));
            most = most.max(expected.len());
            assert_eq!(found, expected, "seed {seed}: {ask}");
        }
    }
    assert!(most > 5, "{most} at most");
}
