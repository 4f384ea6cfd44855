"""Reads what `annals` writes with pyarrow and DuckDB, and compares it with what it should be.

  check.py export LINES STREAM PARQUET   every value of both against the lines of `annals export`
  check.py cut STREAM                    a stream that is cut off is refused
  check.py views DIR EXPECTED            the views of DIR have the columns, types and rows of those of SQLite, in EXPECTED
  check.py ask DIR SQL                   prints the positions that each view of the file SQL has, or what is said instead
  check.py table DIR QUESTIONS           prints what DuckDB answers over the files in DIR, a list of rows for each question
"""

import base64
import calendar
import json
import os
import sys
import time

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

CONTENT_TYPES = {"binary": 0, "json": 1, "text": 2}
TYPES = {
    "position": "int64", "stream": "string", "version": "int64",
    "type": "dictionary<values=string, indices=int32, ordered=0>", "id": "string",
    "recorded_at": "timestamp[ns, tz=UTC]", "ts": "timestamp[ns, tz=UTC]", "occurred_at": "timestamp[ns, tz=UTC]",
    "tags": "list<item: string not null>", "metadata": "string", "data": "string",
    "correlation_id": "string", "causation_id": "string", "schema_version": "int32", "content_type": "int32",
    "redacted": "bool", "metadata_binary": "binary", "data_binary": "binary",
}


def nanoseconds(text):
    """`2011-09-30T22:38:44.546Z`, counted."""
    if text is None:
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    year, rest = whole.split("-", 1)
    seconds = calendar.timegm(time.strptime(f"{year}-{rest}", "%Y-%m-%dT%H:%M:%S"))
    return seconds * 10**9 + int(fraction.ljust(9, "0"))


def raw(line, field):
    """The bytes of data or metadata as they stand in a line. JSON is looked up in the text of it: its bytes count."""
    row = json.loads(line)
    if f"{field}_base64" in row:
        return base64.b64decode(row[f"{field}_base64"])
    if field not in row or (field == "metadata" and row[field] is None):
        return b""
    decoder = json.JSONDecoder()
    at = line.index(f',"{field}":') + len(field) + 4
    _, end = decoder.raw_decode(line, at)
    return line[at:end].encode()


def pair(payload, encrypted):
    """What stands in the column of texts, and in that of bytes."""
    if not payload:
        return None, None
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None, payload
    return (None, payload) if encrypted or "\0" in text else (text, None)


def expected(line):
    row = json.loads(line)
    is_json = "data" in row
    content_type = row.get("content_type", "json" if is_json else "binary")
    content_type = CONTENT_TYPES.get(content_type, content_type)
    redacted = "redacted" in row
    metadata, metadata_binary = pair(raw(line, "metadata"), content_type == 3)
    data, data_binary = pair(b"" if redacted else raw(line, "data"), content_type == 3)
    recorded, occurred = nanoseconds(row["recorded_at"]), nanoseconds(row["time"])
    return {
        "position": row["position"], "stream": row["stream"], "version": row["version"], "type": row["type"],
        "id": row["id"], "recorded_at": recorded, "ts": recorded if occurred is None else occurred,
        "occurred_at": occurred, "tags": row["tags"], "metadata": metadata, "data": data,
        "correlation_id": row.get("correlation_id"), "causation_id": row.get("causation_id"),
        "schema_version": row.get("schema_version", 0), "content_type": content_type, "redacted": redacted,
        "metadata_binary": metadata_binary, "data_binary": data_binary,
    }


def values(table):
    """The rows of a table, times as numbers: Python's own have no nanoseconds."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        columns[name] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def check_export(lines, stream, parquet):
    with open(lines, newline="\n", encoding="utf-8") as file:
        wanted = [expected(line) for line in file.read().split("\n") if line]
    tables = {
        "stream": pa.ipc.open_stream(stream).read_all(),
        "parquet": pa.parquet.read_table(parquet),
        "dataset": pa.dataset.dataset(parquet).to_table(),
    }
    for where, table in tables.items():
        found = {field.name: str(field.type).replace("large_", "") for field in table.schema}
        assert found == TYPES, f"{where}: {found}"
        rows = values(table)
        for row, line in zip(rows, wanted):
            # What redacted lines say of metadata is not what was there.
            if line["redacted"]:
                line = {**line, "metadata": None, "metadata_binary": None}
            # A redacted line does not say how its data was encoded.
            if line["redacted"]:
                line["content_type"] = row["content_type"]
            assert row == line, f"{where}:\n{row}\n{line}"
        assert len(rows) == len(wanted), f"{where}: {len(rows)} rows, {len(wanted)} lines"
        metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        last = metadata.get("annals.last_position")
        assert last == str(wanted[-1]["position"]), f"{where}: {metadata}"
    answers = []
    for where in ("stream", "parquet"):
        db = duckdb.connect()
        db.execute("SET TimeZone = 'UTC'")
        if where == "stream":
            db.register("events", tables["stream"])
        else:
            db.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{parquet}')")
        answers.append([
            db.execute("SELECT type, count(*) FROM events GROUP BY 1 ORDER BY 1").fetchall(),
            db.execute("SELECT sum((data->>'$.n')::BIGINT) FROM events WHERE type = 'Type 4' AND data LIKE '{%'").fetchall(),
            db.execute("SELECT max(position), min(position), count(occurred_at), count(data_binary) FROM events").fetchall(),
            db.execute("SELECT count(*) FROM events WHERE list_contains(tags, 'b c')").fetchall(),
            db.execute("SELECT count(*) FROM events WHERE redacted AND data IS NULL").fetchall(),
            db.execute("SELECT count(*) FROM events WHERE ts >= '2026-01-02' AND ts < '2026-01-03'").fetchall(),
        ])
    # SQLite's numbers join with them as they are.
    joined = duckdb.sql(f"SELECT count(*) FROM read_parquet('{parquet}') JOIN range({len(wanted) + 1}) n(n) ON position = n")
    assert joined.fetchall() == [(len(wanted),)]
    count = {}
    for line in wanted:
        count[line["type"]] = count.get(line["type"], 0) + 1
    assert answers[0] == answers[1], f"{answers[0]}\n{answers[1]}"
    assert answers[0][0] == sorted(count.items()), answers[0][0]
    tagged = sum("b c" in line["tags"] for line in wanted)
    assert answers[0][3] == [(tagged,)] and tagged > 0, answers[0][3]
    assert answers[0][4] == [(sum(line["redacted"] for line in wanted),)], answers[0][4]
    began, ended = nanoseconds("2026-01-02T00:00:00Z"), nanoseconds("2026-01-03T00:00:00Z")
    assert answers[0][5] == [(sum(began <= line["ts"] < ended for line in wanted),)], answers[0][5]
    print(f"{len(wanted)} rows, pyarrow {pa.__version__}, duckdb {duckdb.__version__}")
    kinds = duckdb.sql(f"DESCRIBE SELECT ts, position, type, tags, data_binary FROM read_parquet('{parquet}')").fetchall()
    print([kind[:2] for kind in kinds])


def check_cut(stream):
    try:
        pa.ipc.open_stream(stream).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        print(f"refused: {error}")
    else:
        print("taken for whole")


def answer(folder, questions):
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    db.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = true)")
    with open(questions, encoding="utf-8") as file:
        asked = json.load(file)
    rows = pa.dataset.dataset(folder, partitioning="hive").count_rows()
    assert db.execute("SELECT count(*) FROM events").fetchall() == [(rows,)], f"pyarrow finds {rows} rows"
    print(json.dumps([[list(row) for row in db.execute(sql).fetchall()] for sql in asked]))


def with_views(folder, sql):
    """A database that has the views, and their names."""
    db = duckdb.connect()
    db.execute("SET VARIABLE annals_folder = $1", [folder])
    with open(sql, encoding="utf-8", newline="") as file:
        db.execute(file.read())
    return db, [row[0] for row in db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


# What SQLite has no types of their own for.
DUCKDB = {"integer": "BIGINT", "number": "DOUBLE", "text": "VARCHAR", "boolean": "BOOLEAN", "json": "JSON"}


def check_views(folder, expected):
    with open(expected, encoding="utf-8") as file:
        wanted = json.load(file)
    path = f"{folder}/_annals_views.sql"
    if not wanted:
        assert not os.path.exists(path)
        return
    db, names = with_views(folder, path)
    assert sorted(names) == sorted(wanted), f"{names}\n{list(wanted)}"
    rows = 0
    for name, view in wanted.items():
        described = db.execute(f"DESCRIBE {quoted(name)}").fetchall()
        assert [column[0] for column in described] == view["columns"], f"{name}: {described}"
        types = [DUCKDB[kind] for kind in view["types"]]
        assert [column[1] for column in described[6:]] == types, f"{name}: {described}"
        select = ", ".join(
            f"epoch_ns({quoted(column)})" if column in ("recorded_at", "ts") else quoted(column) for column in view["columns"]
        )
        found = db.execute(f"SELECT {select} FROM {quoted(name)} ORDER BY position").fetchall()
        assert len(found) == len(view["rows"]), f"{name}: {len(found)} rows, {len(view['rows'])} in SQLite"
        for row, line in zip(found, view["rows"]):
            line = [*line[:4], nanoseconds(line[4]), nanoseconds(line[5]), *line[6:]]
            for column, kind, value, other in zip(view["columns"], [None] * 6 + types, row, line):
                if kind == "JSON" and value is not None and other is not None:
                    value, other = json.loads(value), json.loads(other)
                if kind == "BOOLEAN" and other is not None:
                    other = {0: False, 1: True}[other]
                assert type(value) is type(other) and value == other, f"{name}, {line}, {column}: {value!r}, {other!r} in SQLite"
        rows += len(found)
    print(f"{len(wanted)} views, {rows} rows")
    # The same, without a word about where the folder lies.
    os.chdir(folder)
    with open(path if os.path.isabs(path) else "_annals_views.sql", encoding="utf-8", newline="") as file:
        db = duckdb.connect()
        db.execute(file.read())
    counted = sum(db.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in wanted)
    assert counted == rows, f"{counted} rows where it was started in the folder"


def ask(folder, sql):
    try:
        db, names = with_views(folder, sql)
    except duckdb.Error as error:
        print(json.dumps(str(error)))
        return
    answers = {}
    for name in names:
        try:
            answers[name] = [row[0] for row in db.execute(f"SELECT position FROM {quoted(name)} ORDER BY 1").fetchall()]
        except duckdb.Error as error:
            answers[name] = str(error)
    print(json.dumps(answers))


if __name__ == "__main__":
    {"export": check_export, "cut": check_cut, "table": answer, "views": check_views, "ask": ask}[sys.argv[1]](*sys.argv[2:])
