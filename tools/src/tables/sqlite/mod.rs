//! The table `events` of an SQLite database, for whoever reads such files.
//!
//! ```text
//!  FILE          events(position, stream, …)      a row for each event, the columns of `annals sql`
//!                quarantine(position, reason)     what could not be read, or is not what it says
//!                "Paid"(position, …, amount)      a view for each type whose schema is registered, with a column for each field
//!                annals_views(type, …)            which views those are
//!                annals_index(position, …)        up to where it has come, in which history of which log
//!  FILE.new      the same, while it is built beside the one that is in use
//! ```
//!
//! What is always true:
//!
//! - A step is one transaction, with a rollback journal: a file that is not being written is complete by itself, and can be
//!   copied or replaced.
//! - A transaction begins with a look at what the file says and whether it is still in its place, so any number of
//!   runs at once do everything once.
//! - What this program has not made is not written to, and not replaced.

mod encoded;
mod file;
mod rows;
mod swap;
mod views;
mod writer;

use std::path::Path;
use std::time::Duration;

use annals::EventStore;

use super::{IndexOptions, Indexed, News, TableError, pass};
use file::SqliteFile;
use writer::with_writer;

/// How long it waits for whoever keeps the file locked: readers, or another run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the table, or brings it up to date: only what is new in the log is read.
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
/// use annals_cli::tables::{IndexOptions, index_sqlite};
///
/// # let dir = tempfile::tempdir()?;
/// let file = dir.path().join("orders.db");
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", r#"{"total": 42}"#))?;
/// index_sqlite(&store, &file, &IndexOptions::new(), &mut |_| true)?;
///
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}"))?;
/// let done = index_sqlite(&store, &file, &IndexOptions::new(), &mut |_| true)?;
/// assert_eq!((done.events, done.position), (1, store.head()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn index_sqlite(
    store: &EventStore,
    file: &Path,
    options: &IndexOptions,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<Indexed, TableError> {
    let mut done = Indexed::default();
    loop {
        match index_once(store, file, options, &mut done, told) {
            // By another run: what it has done need not be done again.
            Err(TableError::Changed { .. }) => {}
            ended => return ended.map(|()| done),
        }
    }
}

fn index_once(
    store: &EventStore,
    file: &Path,
    options: &IndexOptions,
    done: &mut Indexed,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<(), TableError> {
    // Who follows a log has nothing else to do than to wait.
    let patience = if options.follow { Duration::from_secs(1 << 20) } else { PATIENCE };
    let file = SqliteFile::open(file, patience)?.or_made(|| pass::beginning(store))?;
    with_writer(file, |table| pass::run(store, table, options, done, told)).map(drop)
}

/// Makes the table anew beside the one that is there, and puts it in its place when it is done: until then programs read the old
/// one. What it was interrupted in goes on the next time. Indexes and views that somebody has made in the old file are made in
/// the new one. When `told` does not let it come to the end of the log, the old table stays in its place, too.
///
/// # Errors
///
/// [`TableError`]. The old table is in its place.
pub fn rebuild_sqlite(
    store: &EventStore,
    file: &Path,
    options: &IndexOptions,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<Indexed, TableError> {
    let mut done = Indexed::default();
    // Where the name is a link, what it leads to is replaced, and not the link.
    let linked = if file.is_symlink() { std::fs::canonicalize(file).ok() } else { None };
    let file = linked.as_deref().unwrap_or(file);
    swap::may_be_replaced(file)?;
    let beside = swap::beside(file);
    swap::clear_unusable(store, &beside)?;
    let new = SqliteFile::open(&beside, PATIENCE)?.or_made(|| pass::beginning(store))?;
    let run = |table: &mut _| pass::run(store, table, &options.follow(false), &mut done, told);
    let (new, is_whole) = with_writer(new, run)?;
    if is_whole {
        swap::put_in_place(&new, file)?;
    }
    Ok(done)
}
