//! Putting a table that was built beside another one in its place.
//!
//! ```text
//!  lock DIR.new, lock DIR ─► DIR.new is said to be whole ─► both exchange their names, in one call ─► what is DIR.new now is removed
//! ```
//!
//! What is always true: at every moment there is a whole table under the name. A `DIR.new` that says that it is whole is one that
//! a rebuild was killed in the middle of removing, or of putting in its place: the next rebuild begins anew.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use annals::EventStore;

use super::PATIENCE;
use super::folder::{Folder, Found, found};
use crate::new_file::sync_folder_of;
use crate::tables::TableError;

/// Where a table is built that is to take the place of another.
pub(super) fn beside(folder: &Path) -> PathBuf {
    // `orders/` is `orders`, and what is beside it is not in it.
    let folder: PathBuf = folder.components().collect();
    let mut name = OsString::from(folder);
    name.push(".new");
    PathBuf::from(name)
}

/// Whether what is there may be replaced: one of our tables, of any version, or nothing.
pub(super) fn may_be_replaced(folder: &Path) -> Result<(), TableError> {
    match found(folder) {
        Ok(_) | Err(TableError::Damaged { .. } | TableError::Version { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what an earlier rebuild has left there, if it cannot go on: of another log, say, or damaged, or the old table.
pub(super) fn clear_unusable(store: &EventStore, beside: &Path) -> Result<(), TableError> {
    let is_usable = match found(beside) {
        Ok(Found::Nothing) => true,
        Ok(Found::Table(manifest)) => {
            let fits = manifest.is_building && store.check_mark("it", &manifest.mark).is_ok();
            fits && match Folder::open(beside, PATIENCE)?.begin_with(store, true) {
                Ok(_) => true,
                Err(TableError::Damaged { .. }) => false,
                Err(error) => return Err(error),
            }
        }
        Err(TableError::Damaged { .. } | TableError::Version { .. }) => false,
        Err(error) => return Err(error),
    };
    if is_usable { Ok(()) } else { Folder::open_any(beside, PATIENCE)?.remove() }
}

/// Gives the new table the name of the old one.
pub(super) fn put_in_place(new: &Folder, folder: &Path) -> Result<(), TableError> {
    may_be_replaced(folder)?;
    new.lock()?;
    let Found::Table(mut manifest) = found(&new.path)? else {
        return Err(TableError::Changed { file: new.path.clone() });
    };
    manifest.is_building = false;
    let failed = |source| TableError::Io { action: "replace", file: folder.to_owned(), source };
    if !folder.exists() {
        new.write_manifest(&manifest)?;
        return std::fs::rename(&new.path, folder).and_then(|()| sync_folder_of(folder)).map_err(failed);
    }
    let old = Folder::open_any(folder, PATIENCE)?;
    old.lock()?;
    new.write_manifest(&manifest)?;
    exchange(&new.path, folder).and_then(|()| sync_folder_of(folder)).map_err(failed)?;
    // Under the name of the new one lies the old one now.
    old.called(&new.path).remove()
}

/// Two names change places, in one call: nobody finds nothing under one of them.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|errno| {
        let error = io::Error::from(errno);
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => unexchanged(one),
            _ => error,
        }
    })
}

#[cfg(not(target_os = "linux"))]
fn exchange(one: &Path, _: &Path) -> io::Result<()> {
    Err(unexchanged(one))
}

/// With two renames somebody could find nothing.
fn unexchanged(one: &Path) -> io::Error {
    let what = format!("two folders cannot change their names in one call here; {} is whole, rename it", one.display());
    io::Error::new(io::ErrorKind::Unsupported, what)
}
