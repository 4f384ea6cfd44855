//! An IPC stream of Arrow: a schema, record batches each with the dictionary of its types, and a mark of the end.

use std::io::{self, Write};

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;

use super::schema::schema;
use super::{About, said};

/// A message that says it has eight bytes, none of which come: no reader takes it for the end.
const NO_END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 8, 0, 0, 0];

/// A stream that is being written.
pub(crate) struct ArrowStream<W: Write> {
    writer: StreamWriter<W>,
}

impl<W: Write> ArrowStream<W> {
    pub(crate) fn new(to: W, about: &About) -> io::Result<ArrowStream<W>> {
        Ok(ArrowStream { writer: StreamWriter::try_new(to, &schema(about)).map_err(said)? })
    }

    /// Adds a batch.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.writer.write(batch).map_err(said)
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.writer.finish().map_err(said)?;
        self.writer.flush().map_err(said)
    }

    /// Ends it so that nobody takes it for whole.
    pub(crate) fn cut_off(mut self) -> io::Result<()> {
        let to = self.writer.get_mut();
        to.write_all(&NO_END)?;
        to.flush()
    }
}
