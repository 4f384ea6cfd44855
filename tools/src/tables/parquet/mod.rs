//! A folder of Parquet files, one for a day of recording or a part of it, for whoever reads such folders.
//!
//! ```text
//!  DIR/_annals_index.json                      up to where it has come, in which history of which log; the files; quarantine
//!  DIR/_annals_views.sql                       a view for each type whose schema is registered, for DuckDB; made of the one above
//!  DIR/_lock                                   held during a step; not empty while one is going on
//!  DIR/day=2026-11-22/00000000000000000001.parquet   rows, from that position on
//!  DIR.new                                     the same, while it is built beside the one that is in use
//! ```
//!
//! A step, and what is there when it is killed behind each of its moments:
//!
//! ```text
//!  1  all new files are written under other names (_….tmp), and synced     nothing but those; the next run removes them
//!  2  they are renamed, the first positions first; a file that grows takes  rows behind the position, without a gap and once
//!     the place of the one that it was, in one rename                       each; the next run takes them out
//!  3  _annals_index.json is replaced: the step is done                      nothing to do
//!  4  _annals_views.sql is replaced, where a schema has changed             views that end with an error; the next run writes it
//! ```
//!
//! What is always true:
//!
//! - What belongs to the table stands in `_annals_index.json`, which is replaced as a whole: files, position and quarantine
//!   change together. What else has the name of such a file is a step that was not finished.
//! - A file is called by its first position alone. It grows under its name, so no row is ever in two files, and whoever
//!   reads the folder without asking `_annals_index.json` sees the beginning of the log: all of it up to somewhere.
//! - Rows that are behind the position are in no second file when they are made again: what is left of the step is
//!   removed first, the last file first.
//! - What this program has not made is not written to, and not replaced.

mod folder;
mod manifest;
mod reconsider;
mod step;
mod swap;
mod views;
mod write;

use std::path::Path;
use std::time::Duration;

use annals::EventStore;

use super::{IndexOptions, Indexed, News, TableError, pass};
use folder::Folder;
use step::Step;

/// How long it waits for whoever keeps the folder locked: another run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the folder of Parquet files, or brings it up to date: only what is new in the log is read.
///
/// `told` hears of each step, and says whether to go on. With [`follow`](IndexOptions::follow) it ends only so, or by an error.
///
/// # Errors
///
/// [`TableError`]. What was in the table before, and the steps that were told, are in it.
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_cli::tables::{IndexOptions, index_parquet};
///
/// # let dir = tempfile::tempdir()?;
/// let folder = dir.path().join("orders");
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", r#"{"total": 42}"#))?;
/// index_parquet(&store, &folder, &IndexOptions::new(), &mut |_| true)?;
///
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}"))?;
/// let done = index_parquet(&store, &folder, &IndexOptions::new(), &mut |_| true)?;
/// assert_eq!((done.events, done.position), (1, store.head()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn index_parquet(
    store: &EventStore,
    folder: &Path,
    options: &IndexOptions,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<Indexed, TableError> {
    let mut done = Indexed::default();
    loop {
        match index_once(store, folder, options, &mut done, told) {
            // By another run: what it has done need not be done again.
            Err(TableError::Changed { .. }) => {}
            ended => return ended.map(|()| done),
        }
    }
}

fn index_once(
    store: &EventStore,
    folder: &Path,
    options: &IndexOptions,
    done: &mut Indexed,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<(), TableError> {
    // Who follows a log has nothing else to do than to wait.
    let patience = if options.follow { Duration::from_secs(1 << 20) } else { PATIENCE };
    let folder = Folder::open(folder, patience)?;
    let manifest = folder.begin_with(store, false)?;
    pass::run(store, &mut Step::new(&folder, manifest), options, done, told).map(drop)
}

/// Makes the table anew beside the one that is there, and puts it in its place when it is done: until then programs read the old
/// one. What it was interrupted in goes on the next time. When `told` does not let it come to the end of the log, the old table
/// stays in its place, too.
///
/// # Errors
///
/// [`TableError`]. The old table is in its place.
pub fn rebuild_parquet(
    store: &EventStore,
    folder: &Path,
    options: &IndexOptions,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<Indexed, TableError> {
    let mut done = Indexed::default();
    swap::may_be_replaced(folder)?;
    let beside = swap::beside(folder);
    swap::clear_unusable(store, &beside)?;
    let new = Folder::open(&beside, PATIENCE)?;
    let manifest = new.begin_with(store, true)?;
    if pass::run(store, &mut Step::new(&new, manifest), &options.follow(false), &mut done, told)? {
        swap::put_in_place(&new, folder)?;
    }
    Ok(done)
}
