//! Events whose payloads are looked at once more: what of a row it takes for that, and nothing else.

use std::fs::File;
use std::io;

use annals::Position;
use annals_codec::ContentType;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayAccessor as _, DictionaryArray, RecordBatch, StringArray};

use super::parquet;
use super::schema::DATA_BINARY;

/// The columns that are read.
const COLUMNS: [&str; 5] = ["position", "type", "content_type", "data", DATA_BINARY];

/// A payload, and what it is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) position: Position,
    pub(crate) event_type: &'a str,
    pub(crate) content_type: ContentType,
    /// Empty where it is redacted.
    pub(crate) data: &'a [u8],
}

/// Hands over the payloads of a file, in their order.
pub(crate) fn of_file(file: &File, each: &mut dyn FnMut(Payload<'_>)) -> io::Result<()> {
    parquet::read_columns(file, &COLUMNS, &mut |batch| of_batch(&batch, each))
}

/// The same of a batch that has these columns; others may be between them.
pub(crate) fn of_batch(batch: &RecordBatch, each: &mut dyn FnMut(Payload<'_>)) -> io::Result<()> {
    let missing =
        |name: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the column {name} is not as it was written"));
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| missing(name));
    let (positions, types) = (column("position")?, column("type")?);
    let (content_types, texts, blobs) = (column("content_type")?, column("data")?, column(DATA_BINARY)?);
    let positions = positions.as_primitive_opt::<Int64Type>().ok_or_else(|| missing("position"))?;
    let types = types.as_dictionary_opt::<Int32Type>().and_then(DictionaryArray::downcast_dict::<StringArray>);
    let types = types.ok_or_else(|| missing("type"))?;
    let content_types = content_types.as_primitive_opt::<Int32Type>().ok_or_else(|| missing("content_type"))?;
    let texts = texts.as_string_opt::<i32>().ok_or_else(|| missing("data"))?;
    let blobs = blobs.as_binary_opt::<i32>().ok_or_else(|| missing(DATA_BINARY))?;
    for row in 0..batch.num_rows() {
        let data = match (texts.is_valid(row), blobs.is_valid(row)) {
            (true, _) => texts.value(row).as_bytes(),
            (false, true) => blobs.value(row),
            (false, false) => &[],
        };
        let content_type = u8::try_from(content_types.value(row));
        each(Payload {
            position: Position::new(positions.value(row).cast_unsigned()),
            event_type: types.value(row),
            content_type: ContentType::new(content_type.map_err(|_| missing("content_type"))?),
            data,
        });
    }
    Ok(())
}
