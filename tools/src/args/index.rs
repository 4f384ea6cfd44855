//! What `annals index` takes, and its help.

use std::path::{Path, PathBuf};

use super::ThroughArgs;
use crate::tables::OnBad;

/// Which table to bring up to date, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct IndexArgs {
    /// The store
    pub(crate) store: PathBuf,
    /// The table; made when it does not exist
    #[arg(long, value_name = TARGETS, value_parser = parse_target)]
    pub(crate) to: Target,
    /// Go on with the events that a running writer appends, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Make it anew beside the one that is there, and put it in its place when it is done
    #[arg(long)]
    pub(crate) rebuild_beside: bool,
    /// What becomes of an event that cannot be read, or is said to be JSON and is not
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_bad: OnBad,
    /// How many events become rows in one step, at most
    #[arg(long, value_name = "EVENTS", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: u64,
    #[command(flatten)]
    pub(crate) through: ThroughArgs,
}

#[cfg(feature = "arrow")]
const TARGETS: &str = "sqlite:FILE|parquet:DIR";
#[cfg(not(feature = "arrow"))]
const TARGETS: &str = "sqlite:FILE";

/// Where a table is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// In a file of `SQLite`.
    Sqlite(PathBuf),
    /// In a folder of Parquet files.
    #[cfg(feature = "arrow")]
    Parquet(PathBuf),
}

impl Target {
    /// The file, or the folder.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Target::Sqlite(file) => file,
            #[cfg(feature = "arrow")]
            Target::Parquet(folder) => folder,
        }
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    match text.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => Ok(Target::Sqlite(PathBuf::from(file))),
        #[cfg(feature = "arrow")]
        Some(("parquet", folder)) if !folder.is_empty() => Ok(Target::Parquet(PathBuf::from(folder))),
        #[cfg(not(feature = "arrow"))]
        Some(("parquet", _)) => Err("this `annals` was built without the feature `arrow`".to_owned()),
        _ => {
            Err("it is sqlite: and the name of a file, as in sqlite:orders.db, or parquet: and that of a folder"
                .to_owned())
        }
    }
}

pub(crate) const INDEX_HELP: &str = "\
  annals index STORE --to sqlite:orders.db             makes the table; again: adds what is new
  annals index STORE --to sqlite:orders.db --follow    the same, and then each event as it comes
  sqlite3 orders.db \"SELECT type, count(*) FROM events GROUP BY 1\"
  annals index STORE --to parquet:orders               a folder of Parquet files (feature `arrow`)
  duckdb -c \"SELECT type, count(*) FROM 'orders/*/*.parquet' GROUP BY 1\"

The file has the table `events`, whose columns are those of `annals sql`, and beside it
`quarantine`, with the positions of events that could not be read or are not what they say, and
`annals_index`, which says up to which position of which log it has come. A type of events whose
schema is registered (annals schema) has a view of that name, with a column for each field. Rows
and position change in one transaction: whoever is killed goes on where he was. The store is only
read, also while a program writes to it; events are in the table when they are durable.

The folder has files for each day of recording, with typed columns, and `_annals_index.json`,
which says the rest. Who is killed in the middle of a step goes on before it; until then the
folder shows a beginning of the log that reaches further than the file says.
The views of types are in `_annals_views.sql`, for DuckDB:
  SET VARIABLE annals_folder = 'orders'; .read orders/_annals_views.sql

It refuses, and changes nothing, where the table is of another log or of another history of it,
where events were removed from the log before they were in the table, where the table is damaged,
of another version, or not made by it (exit code 1). --rebuild-beside makes the table anew in
FILE.new, while FILE can be used, and then gives it the name FILE. Rows of events that were
removed from the log later stay; what is redacted in the log is redacted in the table.

It ends with 1, too, when it has put something into quarantine.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_of_what_kind_it_is() {
        assert_eq!(parse_target("sqlite:a:b.db"), Ok(Target::Sqlite(PathBuf::from("a:b.db"))));
        #[cfg(feature = "arrow")]
        assert_eq!(parse_target("parquet:dir"), Ok(Target::Parquet(PathBuf::from("dir"))));
        #[cfg(not(feature = "arrow"))]
        assert_eq!(parse_target("parquet:dir"), Err("this `annals` was built without the feature `arrow`".to_owned()));
        for text in ["", "orders.db", "sqlite:", "sqlite", "parquet:", "SQLITE:x"] {
            assert!(parse_target(text).is_err(), "{text}");
        }
    }
}
