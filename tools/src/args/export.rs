//! What `annals export` takes, and its help.

use std::path::PathBuf;

use super::ThroughArgs;

/// Which events to export, in which form, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The store
    pub(crate) store: PathBuf,
    /// Only what comes after this position
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// Only what comes up to this position, with it
    #[arg(long, value_name = "POSITION")]
    pub(crate) until: Option<u64>,
    /// Leave out what is damaged, and say so, instead of stopping there
    #[arg(long)]
    pub(crate) skip_damaged: bool,
    #[arg(long, help = FORMATS, default_value = "ndjson", value_parser = parse_format)]
    pub(crate) format: Format,
    /// The file to write; it has its name when it is whole; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) through: ThroughArgs,
}

/// What events are exported as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// Lines of JSON.
    Ndjson,
    /// An IPC stream of Apache Arrow.
    #[cfg(feature = "arrow")]
    Arrow,
    /// A Parquet file.
    #[cfg(feature = "arrow")]
    Parquet,
}

#[cfg(feature = "arrow")]
const FORMATS: &str = "ndjson, arrow (an IPC stream of Apache Arrow) or parquet";
#[cfg(not(feature = "arrow"))]
const FORMATS: &str = "ndjson; arrow and parquet take an `annals` that is built with the feature `arrow`";

fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "ndjson" => Ok(Format::Ndjson),
        #[cfg(feature = "arrow")]
        "arrow" => Ok(Format::Arrow),
        #[cfg(feature = "arrow")]
        "parquet" => Ok(Format::Parquet),
        #[cfg(not(feature = "arrow"))]
        "arrow" | "parquet" => Err("this `annals` was built without the feature `arrow`".to_owned()),
        _ => Err("it is ndjson, arrow or parquet".to_owned()),
    }
}

#[cfg(not(feature = "arrow"))]
pub(crate) const EXPORT_HELP: &str = "\
  annals export STORE | gzip > orders.ndjson.gz      and `annals import` takes it in";

#[cfg(feature = "arrow")]
pub(crate) const EXPORT_HELP: &str = "\
  annals export STORE | gzip > orders.ndjson.gz      and `annals import` takes it in
  annals export STORE --format parquet -o orders.parquet
  duckdb -c \"SELECT type, count(*) FROM 'orders.parquet' GROUP BY 1\"
  annals export STORE --format arrow | python3 -c \\
    'import sys, pyarrow as pa; print(pa.ipc.open_stream(sys.stdin.buffer).read_all().schema)'

The columns of both are those of `annals sql`, with types: position, version, schema_version and
content_type are signed integers, recorded_at, ts and occurred_at times in UTC to the nanosecond,
tags a list, redacted true or false. metadata and data are texts; what is not UTF-8, has a NUL in
it or is encrypted stands in metadata_binary and data_binary instead, as bytes. The schema's
metadata has annals.log_id, annals.first_position and annals.last_position. What ends at damage
cannot be read as if it were whole.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_or_it_is_said_what_is_missing() {
        assert_eq!(parse_format("ndjson"), Ok(Format::Ndjson));
        assert_eq!(parse_format("csv"), Err("it is ndjson, arrow or parquet".to_owned()));
        #[cfg(feature = "arrow")]
        assert_eq!((parse_format("arrow"), parse_format("parquet")), (Ok(Format::Arrow), Ok(Format::Parquet)));
        #[cfg(not(feature = "arrow"))]
        for text in ["arrow", "parquet"] {
            assert_eq!(parse_format(text), Err("this `annals` was built without the feature `arrow`".to_owned()));
        }
    }
}
