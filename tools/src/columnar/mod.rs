//! Events as columns: record batches of Apache Arrow, and Parquet files of them.
//!
//! ```text
//!  Event ─► Rows ─► RecordBatch ─► ArrowStream: an IPC stream
//!                               ─► ParquetFile: a Parquet file
//! ```
//!
//! What is always true:
//!
//! - The columns are those of `annals sql`, in their order, with what stands in them there; behind them stand the bytes of
//!   what is no text, because a column has one type here ([`schema`]).
//! - Memory is bounded by rows and by bytes, however long the log is.
//! - Nothing else of the command knows Arrow or Parquet but the tables that are made of such files.

pub(crate) mod change;
pub(crate) mod parquet;
pub(crate) mod payloads;
mod rows;
mod schema;
mod stream;

use std::io;

use arrow_schema::ArrowError;

pub(crate) use self::parquet::ParquetFile;
pub(crate) use arrow_array::RecordBatch;
pub(crate) use rows::Rows;
pub(crate) use schema::About;
pub(crate) use stream::ArrowStream;

/// What the operating system said, where it was that.
fn said(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
