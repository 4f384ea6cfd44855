//! The bytes of a store, to see that opening it again changes none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::torture::violation::ensure;
use crate::torture::{Rule, Violation};

/// Every file that is not made of others, by its path in the store.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Reads the files of a store.
pub(super) fn of(dir: &Path) -> Result<Files, Violation> {
    let mut files = Files::new();
    let failed = |error: io::Error| Violation::new(Rule::OpeningRepeats, format!("{}: {error}", dir.display()));
    read(dir, Path::new(""), &mut files).map_err(failed)?;
    Ok(files)
}

fn read(root: &Path, below: &Path, files: &mut Files) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            // Indexes can be made anew at any time, and are, by whoever misses them.
            if path != Path::new("idx") {
                read(root, &path, files)?;
            }
        // It names the process.
        } else if path != Path::new("LOCK") {
            files.insert(path, fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Checks that both are the same. Returns how many bytes there are.
pub(super) fn compare(before: &Files, after: &Files) -> Result<u64, Violation> {
    for path in before.keys().chain(after.keys()) {
        let (Some(one), Some(other)) = (before.get(path), after.get(path)) else {
            let what = if before.contains_key(path) { "removed" } else { "made" };
            return Err(Violation::new(Rule::OpeningRepeats, format!("opening again {what} {}", path.display())));
        };
        let at = one.iter().zip(other).position(|(one, other)| one != other);
        ensure!(
            one.len() == other.len() && at.is_none(),
            OpeningRepeats,
            "opening again changed {}: {} bytes, then {}; the first difference is at {at:?}",
            path.display(),
            one.len(),
            other.len()
        );
    }
    Ok(before.values().map(|bytes| bytes.len() as u64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_a_length_and_a_file_more_or_less_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("seg")).unwrap();
        fs::create_dir(dir.path().join("idx")).unwrap();
        let write = |path: &str, text: &str| fs::write(dir.path().join(path), text).unwrap();
        write("seg/1", "one");
        let before = of(dir.path()).unwrap();
        let seen = || compare(&before, &of(dir.path()).unwrap()).map_err(|violation| violation.seen);
        // Neither of these is evidence.
        write("idx/1", "one");
        write("LOCK", "7");
        assert_eq!(seen(), Ok(3));

        write("seg/1", "ons");
        assert!(seen().unwrap_err().contains("at Some(2)"));
        write("seg/1", "one\0");
        assert!(seen().unwrap_err().contains("3 bytes, then 4"));
        write("seg/1", "one");
        write("seg/2", "");
        assert!(seen().unwrap_err().contains("made seg/2"));
        fs::remove_file(dir.path().join("seg/2")).unwrap();
        fs::remove_file(dir.path().join("seg/1")).unwrap();
        assert!(seen().unwrap_err().contains("removed seg/1"));
    }
}
