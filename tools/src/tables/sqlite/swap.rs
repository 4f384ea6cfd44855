//! Putting a table that was built beside another one in its place.
//!
//! ```text
//!  lock FILE.new, lock FILE (and what a killed process has left half-done is undone) ─► sync the folder ─► rename ─► sync it again
//! ```
//!
//! What is always true: a journal of the old file is never taken for one of the new. Both files are locked while one takes the name of
//! the other, so nobody is in the middle of a change; and what journals there were are gone for good before.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use annals::EventStore;

use super::PATIENCE;
use super::file::{Found, SqliteFile};
use super::views::Views;
use crate::new_file::sync_folder_of;
use crate::tables::TableError;

/// Where a table is built that is to take the place of another.
pub(super) fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".new");
    PathBuf::from(name)
}

/// Whether what is there may be replaced: one of our tables, of any version, or nothing.
pub(super) fn may_be_replaced(file: &Path) -> Result<(), TableError> {
    match looked_at(file) {
        // That is what it is for.
        Ok(_) | Err(TableError::Damaged { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is there, if it is ours, and whether it is a table of this version. What a killed process has left half-done is undone.
fn looked_at(file: &Path) -> Result<Option<(SqliteFile, bool)>, TableError> {
    if !file.exists() {
        return Ok(None);
    }
    let opened = SqliteFile::open(file, PATIENCE)?;
    let is_table = match opened.found() {
        Ok(found) => found == Found::Table,
        Err(TableError::Version { .. }) => false,
        Err(error) => return Err(error),
    };
    Ok(Some((opened, is_table)))
}

/// Removes what an earlier rebuild has left there, if it cannot go on: of another log, say, or damaged.
pub(super) fn clear_unusable(store: &EventStore, beside: &Path) -> Result<(), TableError> {
    if !beside.exists() {
        return Ok(());
    }
    let is_usable = match looked_at(beside) {
        Ok(Some((file, true))) => file.checked_mark().is_ok_and(|mark| store.check_mark("it", &mark).is_ok()),
        Ok(_) | Err(TableError::Damaged { .. }) => false,
        Err(error) => return Err(error),
    };
    if is_usable {
        return Ok(());
    }
    // A journal without its file is nothing to SQLite, a file without its journal may look whole.
    remove(beside)?;
    remove(&journal_of(beside))
}

/// The file that says how to undo a change that is half-done.
fn journal_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push("-journal");
    PathBuf::from(name)
}

fn remove(file: &Path) -> Result<(), TableError> {
    match std::fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(TableError::Io { action: "remove", file: file.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Gives the new table the name of the old one.
pub(super) fn put_in_place(new: &SqliteFile, file: &Path) -> Result<(), TableError> {
    let old = match looked_at(file) {
        Ok(old) => old,
        // It cannot be locked, and nobody can use it. A journal that does not fit to it would be taken for one of the new.
        Err(TableError::Damaged { .. }) => {
            remove(&journal_of(file))?;
            None
        }
        Err(error) => return Err(error),
    };
    if let Some((old, is_table)) = &old {
        if *is_table {
            copy_objects(old, new)?;
        }
        lock(old)?;
    }
    lock(new)?;
    let renamed =
        sync_folder_of(file).and_then(|()| std::fs::rename(&new.path, file)).and_then(|()| sync_folder_of(file));
    renamed.map_err(|source| TableError::Io { action: "replace", file: file.to_owned(), source })
}

/// Locks it until it is closed, if it is still where it was opened.
fn lock(file: &SqliteFile) -> Result<(), TableError> {
    file.run("BEGIN EXCLUSIVE")?;
    if file.is_in_place() { Ok(()) } else { Err(TableError::Changed { file: file.path.clone() }) }
}

/// Makes the indexes and views that somebody has made in one file in the other. They keep their names: views of ours make way.
fn copy_objects(from: &SqliteFile, to: &SqliteFile) -> Result<(), TableError> {
    let objects = |file: &SqliteFile| -> rusqlite::Result<Vec<(String, String)>> {
        let sql =
            "SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'view') AND sql IS NOT NULL ORDER BY rowid";
        let mut found = file.connection.prepare(sql)?;
        found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let mut views = Views::load(to)?;
    let mut known = match Views::load(from) {
        Ok(ours) => ours.statements(),
        // It is to be replaced for that. Most of the views that were ours are made anew as they were.
        Err(TableError::Damaged { .. }) => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    known.extend(objects(to).map_err(|error| to.failed("read", error))?.into_iter().map(|(_, sql)| sql));
    let theirs = objects(from).map_err(|error| from.failed("read", error))?;
    to.run("BEGIN EXCLUSIVE")?;
    for (name, sql) in theirs.iter().filter(|(_, sql)| !known.contains(sql)) {
        views.give_up(to, name)?;
        to.run(sql)?;
    }
    views.carry_out(to)?;
    to.run("COMMIT")
}
