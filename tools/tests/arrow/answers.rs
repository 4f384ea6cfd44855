//! The same questions, asked of the log, of a table in `SQLite` and of a folder of Parquet files.

use serde_json::{Value as Json, json};

use super::table::{index, to};
use super::*;

const QUESTIONS: [&str; 7] = [
    "SELECT type, count(*) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT data->>'$.transition' AS transition, count(*) FROM events GROUP BY 1 ORDER BY 1",
    "SELECT stream, count(*) AS events FROM events GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 25",
    "SELECT count(*), min(position), max(position), max(version) FROM events",
    "SELECT type, count(*) FROM events WHERE ts >= '2012-01-01' AND ts < '2012-02-01' GROUP BY 1 ORDER BY 1",
    "SELECT count(DISTINCT stream), count(DISTINCT id), count(occurred_at), count(metadata), count(data) FROM events",
    "SELECT metadata->>'$.resource' AS resource, max(position), count(*) FROM events GROUP BY 1 ORDER BY 3 DESC, 2 LIMIT 10",
];

fn json_of(rows: &[Vec<Value>]) -> Json {
    let value = |value: &Value| match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Text(text) => json!(text),
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| row.iter().map(value).collect::<Vec<_>>()).collect::<Vec<_>>().into()
}

#[test]
fn the_log_of_a_bank_answers_the_same_whoever_is_asked() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let Ok(totals) = fs::read(data.join("loan-applications.totals.json")) else {
        eprintln!("skipped: the real event log is not at {}", data.display());
        return;
    };
    let totals: Json = serde_json::from_slice(&totals).unwrap();
    let dir = TempDir::new().unwrap();
    let (store, table, sqlite) = (dir.path().join("store"), dir.path().join("table"), dir.path().join("table.db"));
    annals(&[&"import", &store, &data.join("loan-applications.ndjson.gz")]).exits(0);
    assert_eq!(index(&store, &table, &[]).exits(0).row()["events"], totals["events"]);
    annals(&[&"index", &store, &"--to", &format!("sqlite:{}", sqlite.display())]).exits(0);

    let database = Database::new(&EventStore::open_read_only(&store).unwrap()).unwrap();
    let by_log: Vec<Json> = QUESTIONS.iter().map(|sql| json_of(&database.query(sql).unwrap().rows)).collect();
    let by_type = totals["events_by_type"].as_object().unwrap();
    let published: Vec<Json> = by_type.iter().map(|(name, count)| json!([name, count])).collect();
    assert_eq!(by_log[0], json!(published));
    let connection = rusqlite::Connection::open(&sqlite).unwrap();
    for (sql, expected) in QUESTIONS.iter().zip(&by_log) {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        let rows: Vec<Vec<Value>> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
        assert_eq!(&json_of(&rows), expected, "{sql}");
    }
    let questions = file(dir.path(), "questions", json!(QUESTIONS).to_string());
    let Some(said) = checked_by_python(&[Path::new("table"), &table, &questions]) else { return };
    let by_duckdb: Vec<Json> = serde_json::from_str(&said).unwrap();
    for ((sql, expected), found) in QUESTIONS.iter().zip(&by_log).zip(&by_duckdb) {
        assert_eq!(found, expected, "{sql}");
    }
    println!("{} bytes in SQLite, {} in {}", fs::metadata(&sqlite).unwrap().len(), size(&table), to(&table));
}

fn size(table: &Path) -> u64 {
    super::table::files(table).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}
