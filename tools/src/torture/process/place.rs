//! The directory in which stores are tortured: ours alone, and gone when nothing was found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::torture::Violation;

/// Says that a directory is ours to write in, and to remove from.
const MARK: &str = "annals-torture";

/// A directory of ours.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    /// Whether it was not there before.
    is_made: bool,
}

impl Place {
    /// Takes a directory that is not there, is empty, or was ours before.
    ///
    /// # Errors
    ///
    /// When it holds anything else, or cannot be used.
    pub fn take(root: &Path) -> io::Result<Place> {
        let is_made = match fs::create_dir(root) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        let is_ours = root.join(MARK).is_file();
        if !is_ours && fs::read_dir(root)?.next().is_some() {
            return Err(io::Error::other("it is not empty, and was not made by `annals torture`"));
        }
        fs::write(root.join(MARK), "`annals torture --process` was here. What it leaves is evidence of a finding.\n")?;
        let place = Place { root: root.to_owned(), is_made };
        // Of a run that was interrupted.
        place.clear()?;
        Ok(place)
    }

    /// The store that is tortured at present.
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// What the tracer writes.
    pub(super) fn trace(&self) -> PathBuf {
        self.root.join("trace")
    }

    fn before(&self) -> PathBuf {
        self.root.join("before")
    }

    /// Keeps the store as it is now, before anybody judges it.
    pub(super) fn keep(&self) -> io::Result<()> {
        remove(&self.before())?;
        let store = self.store();
        if store.is_dir() { copy(&store, &self.before()) } else { Ok(()) }
    }

    /// Removes the store, to begin a new one.
    pub(super) fn clear(&self) -> io::Result<()> {
        remove(&self.store())?;
        remove(&self.before())?;
        match fs::remove_file(self.trace()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts aside what shows a violation: the store before and after it was judged, and all that was said.
    pub(super) fn evidence(&self, violation: &Violation, said: &str) -> io::Result<PathBuf> {
        let free = |number: &u32| !self.root.join(format!("found-{number}")).exists();
        let number = (1..1000).find(free).unwrap_or_default();
        let found = self.root.join(format!("found-{number}"));
        fs::create_dir(&found)?;
        for (from, to) in [(self.before(), "before"), (self.store(), "after"), (self.trace(), "trace")] {
            if from.exists() {
                fs::rename(from, found.join(to))?;
            }
        }
        fs::write(found.join("violation"), format!("{violation}\n"))?;
        fs::write(found.join("said"), said)?;
        Ok(found)
    }

    /// Removes what is ours, where nothing was found.
    pub(super) fn leave(&self) -> io::Result<()> {
        self.clear()?;
        let has_evidence = fs::read_dir(&self.root)?.count() > 1;
        if has_evidence {
            return Ok(());
        }
        fs::remove_file(self.root.join(MARK))?;
        if self.is_made { fs::remove_dir(&self.root) } else { Ok(()) }
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
