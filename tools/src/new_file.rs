//! A file that has its name when it is whole and on the disk, and not before.
//!
//! ```text
//!  _NAME….tmp, beside it ─► written ─► synced ─► renamed to NAME ─► the folder synced
//! ```
//!
//! What is always true: whoever looks under the name finds what was there before, or all of the new. The name that it has
//! until then begins with `_`, which programs that read folders of tables pass over.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// How the name begins that a file has until it is whole, and how it ends.
pub(crate) const BEGINS: &str = "_";
pub(crate) const ENDS: &str = ".tmp";

/// A file that is being written. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// One that will be called `path`, whatever is there now.
    pub(crate) fn at(path: &Path) -> io::Result<NewFile> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let begins = format!("{BEGINS}{name}.");
        let mut builder = Builder::new();
        builder.prefix(&begins).suffix(ENDS);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // As for any file that is made: less what the user's mask takes away.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        Ok(NewFile { file: builder.tempfile_in(folder_of(path))?, path: path.to_owned() })
    }

    /// Where to write to.
    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Sees to it that what was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_file().sync_all()
    }

    /// Gives it its name, once it is [synced](NewFile::sync). That it has it is on the disk after [`sync_folder_of`].
    pub(crate) fn rename(self) -> io::Result<()> {
        self.file.persist(&self.path).map(drop).map_err(|error| error.error)
    }

    /// All of it.
    pub(crate) fn put(self) -> io::Result<()> {
        self.sync()?;
        let path = self.path.clone();
        self.rename()?;
        sync_folder_of(&path)
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Sees to it that the names in the folder of a file are on the disk.
#[cfg(unix)]
pub(crate) fn sync_folder_of(file: &Path) -> io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

/// Folders cannot be synced there.
#[cfg(not(unix))]
pub(crate) fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_that_is_not_put_leaves_what_was_there_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.parquet");
        std::fs::write(&path, "old").unwrap();
        let new = NewFile::at(&path).unwrap();
        new.file().write_all(b"new").unwrap();
        drop(new);
        let names =
            || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!((std::fs::read(&path).unwrap(), names().len()), (b"old".to_vec(), 1));
        let new = NewFile::at(&path).unwrap();
        new.file().write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        new.put().unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), names().len()), (b"new".to_vec(), 1));
    }
}
