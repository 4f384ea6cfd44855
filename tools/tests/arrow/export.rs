//! `annals export --format arrow|parquet`.

use std::ffi::OsStr;

use arrow_ipc::reader::StreamReader;
use serde_json::json;

use super::*;

/// What the command prints, which must end so.
fn exported(store: &Path, exit: i32, more: &[&str]) -> Vec<u8> {
    let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"export", &store];
    args.extend(more.iter().map(|arg| arg as &dyn AsRef<OsStr>));
    let output = common::command(&args).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(exit), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn read_stream(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), arrow_schema::ArrowError> {
    let reader = StreamReader::try_new(bytes, None)?;
    Ok((reader.schema(), reader.collect::<Result<_, _>>()?))
}

/// Both formats, by both ways: what is printed and what stands in a file.
fn both(dir: &Path, store: &Path, more: &[&str]) -> [(SchemaRef, Vec<RecordBatch>); 4] {
    let with = |args: &[&str]| exported(store, 0, &[more, args].concat());
    let (arrow, parquet) = (dir.join("out.arrow"), dir.join("out.parquet"));
    let arrow_to = ["--format", "arrow", "-o", arrow.to_str().unwrap()];
    let parquet_to = ["--format", "parquet", "-o", parquet.to_str().unwrap()];
    assert!(with(&arrow_to).starts_with(b"exported: ") && with(&parquet_to).starts_with(b"exported: "));
    let printed = file(dir, "printed.parquet", with(&["--format", "parquet"]));
    [
        read_stream(&with(&["--format", "arrow", "-o", "-"])).unwrap(),
        read_stream(&fs::read(arrow).unwrap()).unwrap(),
        read_parquet(&printed),
        read_parquet(&parquet),
    ]
}

#[test]
fn every_column_reads_back_as_what_sql_says_of_the_event() {
    let (dir, store) = filled_with_all_sorts(500);
    let expected = said_by_sql(&store, 1);
    assert!(expected.len() > 505, "also the log's own events");
    let log = annals(&[&"stats", &"--json", &store]).exits(0).row()["log_id"].as_str().unwrap().to_owned();
    for (schema, batches) in both(dir.path(), &store, &[]) {
        let rows: Vec<Vec<Value>> = batches.iter().flat_map(rows_of).collect();
        for (found, expected) in rows.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(rows.len(), expected.len());
        let said = |key: &str| schema.metadata().get(key).map(String::as_str);
        assert_eq!(said("annals.log_id"), Some(&*log));
        assert_eq!(said("annals.first_position"), Some("1"));
        assert_eq!(said("annals.last_position"), Some(&*expected.len().to_string()));
        let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        let (time, list) = ("Timestamp(ns, \"UTC\")", "List(non-null Utf8)");
        assert_eq!(
            types,
            [
                "Int64",
                "Utf8",
                "Int64",
                "Dictionary(Int32, Utf8)",
                "Utf8",
                time,
                time,
                time,
                list,
                "Utf8",
                "Utf8",
                "Utf8",
                "Utf8",
                "Int32",
                "Int32",
                "Boolean",
                "Binary",
                "Binary"
            ]
        );
    }
}

#[test]
fn an_empty_store_has_columns_and_no_rows() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    EventStore::open(&store, &Options::new()).unwrap().close().unwrap();
    for (schema, batches) in both(dir.path(), &store, &[]) {
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
        assert_eq!(schema.fields().len(), 18);
        assert_eq!(schema.metadata().len(), 1, "there is no first position");
    }
}

#[test]
fn a_part_is_what_was_asked_for_and_says_so() {
    let (dir, store) = filled(100);
    for (schema, batches) in both(dir.path(), &store, &["--after", "20", "--until", "50"]) {
        let positions: Vec<Value> = batches.iter().flat_map(rows_of).map(|row| row[0].clone()).collect();
        assert_eq!(positions, (21..=50).map(Value::Integer).collect::<Vec<_>>());
        let metadata = schema.metadata();
        assert_eq!((&*metadata["annals.first_position"], &*metadata["annals.last_position"]), ("21", "50"));
    }
}

#[test]
fn batches_are_bounded_by_rows_and_by_bytes() {
    let (_dir, store) = filled(20_000);
    let (_, batches) = read_stream(&exported(&store, 0, &["--format", "arrow"])).unwrap();
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [8192, 8192, 20_000 - 2 * 8192]);
    // Each with the types that are in it.
    let types = |batch: &RecordBatch| batch.column(3).as_dictionary::<Int32Type>().values().len();
    assert!(batches.iter().all(|batch| types(batch) == 5));

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = EventStore::open(&path, &Options::new()).unwrap();
    for _ in 0..40 {
        store.append("s", ExpectedVersion::Any, NewEvent::new("Large", vec![b'x'; 1 << 20])).unwrap();
    }
    store.close().unwrap();
    let (_, batches) = read_stream(&exported(&path, 0, &["--format", "arrow"])).unwrap();
    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [16, 16, 8]);
    let parquet = file(dir.path(), "large.parquet", exported(&path, 0, &["--format", "parquet"]));
    assert_eq!(read_parquet(&parquet).1.iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
}

#[test]
fn what_ends_at_damage_cannot_be_read_as_if_it_were_whole() {
    let (dir, store) = filled(3000);
    let mut segments: Vec<PathBuf> =
        fs::read_dir(store.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let mut bytes = fs::read(&segments[1]).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&segments[1], bytes).unwrap();

    let stream = exported(&store, 1, &["--format", "arrow"]);
    assert!(read_stream(&stream).is_err());
    let parquet = file(dir.path(), "cut.parquet", exported(&store, 1, &["--format", "parquet"]));
    assert!(ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&parquet).unwrap()).is_err());
    let ran = annals(&[&"export", &store, &"--format", &"parquet", &"-o", &dir.path().join("none")]).exits(1);
    ran.says("--skip-damaged exports the rest");
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(names.iter().all(|name| name == "store" || name == "in" || name == "cut.parquet"), "{names:?}");

    let lines = String::from_utf8(exported(&store, 1, &["--skip-damaged"])).unwrap().lines().count();
    assert!(lines > 2900 && lines < 3000, "{lines}");
    let stream = exported(&store, 1, &["--format", "arrow", "--skip-damaged"]);
    assert_eq!(read_stream(&stream).unwrap().1.iter().map(RecordBatch::num_rows).sum::<usize>(), lines);
}

#[test]
fn a_file_has_its_name_when_it_is_whole_and_nothing_else_is_replaced() {
    let (dir, store) = filled(10);
    let out = dir.path().join("out.ndjson");
    let shown = annals(&[&"export", &"--json", &store, &"-o", &out]).exits(0).row();
    assert_eq!(shown, json!({"file": out, "events": 10}));
    assert_eq!(fs::read(&out).unwrap(), exported(&store, 0, &[]));
    let ran = annals(&[&"export", &store, &"--format", &"parquet", &"-o", &out]).exits(0);
    assert_eq!(ran.stdout, format!("exported: 10 events to {}.\n", out.display()));
    assert_eq!(rows_of(&read_parquet(&out).1[0]).len(), 10);
    annals(&[&"export", &store, &"-o", &dir.path()]).exits(2).says("is there, and is no file");
    annals(&[&"export", &store, &"-o", &dir.path().join("none/x")]).exits(3).says("cannot write");
    annals(&[&"export", &store, &"--format", &"csv"]).exits(2);
}

#[test]
fn pyarrow_and_duckdb_read_what_the_lines_say() {
    let (dir, store) = filled_with_all_sorts(9000);
    let stream = file(dir.path(), "out.arrow", exported(&store, 0, &["--format", "arrow"]));
    let parquet = file(dir.path(), "out.parquet", exported(&store, 0, &["--format", "parquet"]));
    let lines = file(dir.path(), "out.ndjson", exported(&store, 0, &[]));
    let Some(said) = checked_by_python(&[Path::new("export"), &lines, &stream, &parquet]) else { return };
    let rows = said_by_sql(&store, 1).len();
    assert!(said.starts_with(&format!("{rows} rows")), "{said}");
    // What is cut off is an error there, too.
    let mut bytes = fs::read(&stream).unwrap();
    let end = bytes.len() - 8;
    bytes[end..].copy_from_slice(&[255, 255, 255, 255, 8, 0, 0, 0]);
    let cut = file(dir.path(), "cut.arrow", bytes);
    let said = checked_by_python(&[Path::new("cut"), &cut]).expect("it was there a moment ago");
    assert!(said.starts_with("refused: "), "{said}");
}
