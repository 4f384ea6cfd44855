//! `annals export --format arrow` and `--format parquet`.
//!
//! What is always true: what ends before its end cannot be read as if it were whole. A Parquet file without its last
//! bytes is none; a stream of Arrow may end anywhere between two batches, so it is cut off in the middle of one.

use std::io::{self, Write};

use annals::ReadError;

use super::{Exporting, REST};
use crate::columnar::{About, ArrowStream, ParquetFile, Rows};
use crate::exit::{Ended, Exit, Failure};
use crate::open;

impl Exporting<'_> {
    /// A stream of Arrow.
    pub(super) fn arrow(&mut self, to: Box<dyn Write + Send>) -> Ended {
        let mut stream =
            ArrowStream::new(io::BufWriter::new(to), &self.about()).map_err(|error| Failure::output(&error))?;
        match self.batches(&mut |rows| stream.write(&rows.finish()?)) {
            Ok(exit) => stream.finish().map(|()| exit).map_err(|error| Failure::output(&error)),
            Err(failure) => {
                // Why it ends is said; that the end could not be marked as none adds nothing to it.
                _ = stream.cut_off();
                Err(failure)
            }
        }
    }

    /// A Parquet file, which is written from its beginning to its end.
    pub(super) fn parquet(&mut self, to: Box<dyn Write + Send>) -> Ended {
        let mut file = ParquetFile::new(to, &self.about()).map_err(|error| Failure::output(&error))?;
        let exit = self.batches(&mut |rows| file.write(&rows.finish()?))?;
        file.finish().map(|_| exit).map_err(|error| Failure::output(&error))
    }

    fn about(&self) -> About {
        let first = self.after.plus(1);
        About { log_id: self.store.log_id(), positions: (first <= self.until).then_some((first, self.until)) }
    }

    /// Hands over the events in portions of a size that fits into memory.
    fn batches(&mut self, write: &mut dyn FnMut(&mut Rows) -> io::Result<()>) -> Ended {
        let mut reader = self.store.read_all(self.after).until(self.until);
        if self.skip_damaged {
            reader = reader.skip_damaged();
        }
        let (mut rows, mut exit) = (Rows::new(), Exit::Fine);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => {
                    rows.push(&event);
                    self.count(event.position);
                }
                Ok(None) => break,
                Err(error @ ReadError::Corrupt(_)) if self.skip_damaged => {
                    exit = open::unread(&error).next("going on behind it").tell(self.json);
                }
                Err(error) => return Err(open::unread(&error).next(REST)),
            }
            if rows.is_full() {
                write(&mut rows).map_err(|error| Failure::output(&error))?;
            }
        }
        if !rows.is_empty() {
            write(&mut rows).map_err(|error| Failure::output(&error))?;
        }
        Ok(exit)
    }
}
