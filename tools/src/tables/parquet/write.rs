//! Writing files of rows: new ones, and such that grow or lose something.
//!
//! What is always true: a file is written beside the one that it replaces, and synced, before it gets its name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;

use annals::Position;

use super::folder::Folder;
use super::manifest::{Manifest, RowFile, path_of};
use crate::columnar::{About, ParquetFile, RecordBatch, change, parquet};
use crate::new_file::{NewFile, sync_folder_of};
use crate::tables::TableError;

/// What becomes of a file.
#[derive(Default)]
pub(super) struct Plan {
    /// The file that is there, if it is one.
    pub(super) source: Option<RowFile>,
    /// Single rows that belong into it, by their positions.
    pub(super) inserted: Vec<(Position, RecordBatch)>,
    /// What comes behind all that it has.
    pub(super) appended: Vec<RecordBatch>,
    /// The position of the last row.
    pub(super) last: Position,
    pub(super) day: String,
}

/// A file that has everything but its name.
pub(super) struct Written {
    new: NewFile,
    pub(super) file: RowFile,
}

/// Writes the rows from a position on.
pub(super) fn file(
    folder: &Folder,
    manifest: &Manifest,
    first: Position,
    plan: &Plan,
    redacted: &BTreeSet<Position>,
) -> Result<Written, TableError> {
    let path = folder.path.join(path_of(&plan.day, first));
    let begin = || -> io::Result<NewFile> {
        let day = path.parent().unwrap_or(&folder.path);
        if !day.is_dir() {
            fs::create_dir(day)?;
            sync_folder_of(day)?;
        }
        NewFile::at(&path)
    };
    let failed = |source| TableError::Io { action: "write", file: path.clone(), source };
    let new = begin().map_err(failed)?;
    let about = About { log_id: manifest.mark.log_id, positions: Some((first, plan.last)) };
    let mut to = ParquetFile::new(new.file(), &about).map_err(failed)?;
    let mut rows = 0;
    let mut put = |batch: &RecordBatch| -> io::Result<()> {
        rows += batch.num_rows() as u64;
        if batch.num_rows() > 0 { to.write(&change::redacted(batch, redacted)?) } else { Ok(()) }
    };
    if let Some(source) = &plan.source {
        let mut inserted = plan.inserted.iter().peekable();
        // Where a row could not be written it is not the source that is damaged.
        let mut unwritten = None;
        let mut each = |batch: RecordBatch| -> io::Result<()> {
            let end = change::rows_before(&batch, source.last().plus(1));
            let mut from = 0;
            let mut tell = |done: io::Result<()>| {
                done.map_err(|error| {
                    unwritten = Some(error);
                    io::Error::other("not written")
                })
            };
            while let Some((position, row)) = inserted.peek() {
                let at = change::rows_before(&batch, *position);
                if at == batch.num_rows() {
                    break;
                }
                tell(put(&batch.slice(from, at - from)))?;
                tell(put(row))?;
                // The same row may be there, of a step that was not finished.
                from = change::rows_before(&batch, position.plus(1));
                inserted.next();
            }
            tell(put(&batch.slice(from, end.saturating_sub(from))))
        };
        let read = File::open(folder.path.join(source.path())).and_then(|file| parquet::read(&file, &mut each));
        match (read, unwritten) {
            (_, Some(error)) => return Err(failed(error)),
            (Err(error), None) => return Err(folder.unread(source, error)),
            (Ok(()), None) => {}
        }
        for (_, row) in inserted {
            put(row).map_err(failed)?;
        }
    }
    for batch in &plan.appended {
        put(batch).map_err(failed)?;
    }
    to.finish().map_err(failed)?;
    new.sync().map_err(failed)?;
    Ok(Written { new, file: RowFile::new(plan.day.clone(), first, plan.last, rows) })
}

impl Written {
    /// Gives the file its name, for good.
    pub(super) fn put(self, folder: &Folder) -> Result<RowFile, TableError> {
        let path = folder.path.join(self.file.path());
        let put = self.new.rename().and_then(|()| sync_folder_of(&path));
        put.map_err(|source| TableError::Io { action: "write", file: path, source })?;
        Ok(self.file)
    }
}

/// Takes out what a file has behind its end, which is of a step that was not finished.
pub(super) fn trim(folder: &Folder, manifest: &Manifest, listed: &RowFile) -> Result<(), TableError> {
    let plan = Plan { source: Some(listed.clone()), last: listed.last(), day: listed.day.clone(), ..Plan::default() };
    file(folder, manifest, listed.first(), &plan, &BTreeSet::new())?.put(folder).map(drop)
}
