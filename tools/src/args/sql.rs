//! What `annals sql` takes, and its help.

use std::path::PathBuf;

use super::ThroughArgs;
use crate::sql::show::Format;

/// What to ask, and how to show the answer.
#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    /// The store
    pub(crate) store: PathBuf,
    /// Statements, with a semicolon between them [default: from standard input; at a terminal, a prompt]
    #[arg(value_name = "SQL")]
    pub(crate) sql: Option<String>,
    /// How to show the rows; --json is the same as json, with errors as JSON, too
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Ask of what was encrypted with the keys of this ring, too
    #[arg(long, value_name = "RING")]
    pub(crate) keys: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) through: ThroughArgs,
}

pub(crate) const SQL_HELP: &str = "\
It is the SQL of SQLite over one table, `events`, with a row for each event:
  position, version   numbers
  stream, type, id    texts
  recorded_at         when the store took it in
  occurred_at         when it happened, or NULL
  ts                  occurred_at, or else recorded_at
  tags                a JSON array of texts
  metadata, data      a text (all JSON is one), a blob, or NULL where there is none
and, where they are named: correlation_id, causation_id, schema_version, content_type, redacted.

  annals sql STORE \"SELECT type, count(*) FROM events WHERE ts > '2026-11-01' GROUP BY 1\"
  annals sql STORE \"SELECT data->>'$.amount' FROM events WHERE stream = 'loan-7' ORDER BY position\"

Times are texts like 2011-09-30T22:38:44.546000000Z, in UTC. They are compared as times:
'2011-09-30', '2011-09-30 22:38' (UTC), '2011-10-01T00:38:44+02:00' and what datetime() gives
stand where they should.

Nothing is copied beforehand. Conditions on position, stream, type (=, IN, GLOB 'beginning*'),
recorded_at and id are looked up, and ORDER BY position or recorded_at with a LIMIT reads no more
than it shows: EXPLAIN QUERY PLAN tells, and the last line on standard error says how much was
read. Other conditions, those on ts among them, are tested on every event that these leave.

The store is only read. CREATE TEMP TABLE and VIEW are allowed, and are gone at the end.";
