//! The files of a store that are made of its segments, by their sizes: what of it is indexed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The sizes of the files in `idx/`, by name. They come and go: one that cannot be seen is not there.
pub(crate) fn files(store: &Path) -> BTreeMap<String, u64> {
    let is_derived = |path: &Path| path.extension().is_some_and(|extension| extension == "idx" || extension == "flt");
    let entries = fs::read_dir(store.join("idx")).into_iter().flatten().flatten();
    let files = entries.filter(|entry| is_derived(&entry.path()));
    files.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?.len()))).collect()
}

/// The name of the index of a segment.
pub(crate) fn index_name(segment: u64) -> String {
    format!("{segment:020}.idx")
}
