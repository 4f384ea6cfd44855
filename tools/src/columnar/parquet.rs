//! Parquet files: row groups of a size that readers share between their threads, compressed with Zstandard. Only files that
//! were written here are read.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use annals::Position;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::schema::{LAST, PLAIN, schema};
use super::{About, said};

/// How many rows a row group has at most: what `DuckDB` gives to one thread.
const GROUP_ROWS: usize = 122_880;

/// How many bytes of columns are kept in memory until a row group is written. Texts of a row group have less than 2 GiB, so a
/// reader that counts in 32 bits takes all of them at once.
const GROUP_BYTES: usize = 128 << 20;

/// A file that is being written.
pub(crate) struct ParquetFile<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    /// The bytes of the columns of this row group.
    bytes: usize,
}

impl<W: Write + Send> ParquetFile<W> {
    pub(crate) fn new(to: W, about: &About) -> io::Result<ParquetFile<W>> {
        let schema = schema(about);
        let writer = ArrowWriter::try_new(to, Arc::clone(&schema), Some(properties(about)?)).map_err(unwritten)?;
        Ok(ParquetFile { writer, schema, bytes: 0 })
    }

    /// Adds a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec()).map_err(said)?;
        self.writer.write(&batch).map_err(unwritten)?;
        self.bytes += batch.get_array_memory_size();
        if self.bytes >= GROUP_BYTES {
            self.writer.flush().map_err(unwritten)?;
            self.bytes = 0;
        }
        Ok(())
    }

    /// Writes the end, without which it is none; where it was written to.
    pub(crate) fn finish(self) -> io::Result<W> {
        let mut to = self.writer.into_inner().map_err(unwritten)?;
        to.flush()?;
        Ok(to)
    }
}

fn properties(about: &About) -> io::Result<WriterProperties> {
    let mut entries: Vec<_> = about.entries().into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    // The same rows are the same bytes.
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    let sorting = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("annals ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(unwritten)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_sorting_columns(Some(vec![sorting]))
        .set_key_value_metadata(Some(entries));
    // What grows or is different in each row is in no dictionary.
    for name in ["position", "version", "recorded_at", "ts", "occurred_at"] {
        let column = ColumnPath::from(name);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for name in ["id", "data", super::schema::DATA_BINARY] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    Ok(properties.build())
}

/// The position of the last event of a file, as it says itself.
pub(crate) fn last_position(file: &File) -> io::Result<Option<Position>> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(unwritten)?;
    let said = metadata.metadata().file_metadata().key_value_metadata();
    let last = said.and_then(|said| said.iter().find(|entry| entry.key == LAST)?.value.as_deref()?.parse().ok());
    Ok(last.map(Position::new))
}

/// Hands over the batches of a file, in their order. One that has other columns is invalid.
pub(crate) fn read(file: &File, each: &mut dyn FnMut(RecordBatch) -> io::Result<()>) -> io::Result<()> {
    batches(file, None, &mut |batch| {
        each(RecordBatch::try_new(Arc::clone(&PLAIN), batch.columns().to_vec()).map_err(said)?)
    })
}

/// The same, with no more than these columns, in the order in which they are there.
pub(crate) fn read_columns(
    file: &File,
    names: &[&str],
    each: &mut dyn FnMut(RecordBatch) -> io::Result<()>,
) -> io::Result<()> {
    batches(file, Some(names), each)
}

fn batches(file: &File, names: Option<&[&str]>, each: &mut dyn FnMut(RecordBatch) -> io::Result<()>) -> io::Result<()> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(unwritten)?;
    // Each row group by itself: a batch of two could have more text than 32 bits can count.
    for group in 0..metadata.metadata().num_row_groups() {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.try_clone()?, metadata.clone());
        let columns = match names {
            None => ProjectionMask::all(),
            Some(names) => ProjectionMask::columns(builder.parquet_schema(), names.iter().copied()),
        };
        for batch in builder.with_projection(columns).with_row_groups(vec![group]).build().map_err(unwritten)? {
            each(batch.map_err(said)?)?;
        }
    }
    Ok(())
}

/// What the operating system said, where it was that.
fn unwritten(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::new(io::ErrorKind::InvalidData, other),
        },
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}
