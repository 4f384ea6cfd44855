//! The end of writing: set once, by the first failure that leaves the disk in doubt.
//!
//! After a failed sync the kernel marks the pages clean and the next sync
//! succeeds, although the bytes are not on disk. So there is no retry, by
//! anyone: the store takes no more appends until it is opened again, and
//! recovery looks at the disk itself.

use std::io;
use std::sync::Arc;

use crate::sync::OnceLock;

#[derive(Debug, Default)]
pub(crate) struct Poison {
    cause: OnceLock<Arc<io::Error>>,
}

impl Poison {
    /// Ends writing because of `error`; the first cause is kept and returned.
    pub(crate) fn set(&self, error: io::Error) -> Arc<io::Error> {
        let cause = self.cause.get_or_init(|| {
            tracing::error!(%error, "the store is poisoned: no more appends until it is reopened");
            Arc::new(error)
        });
        Arc::clone(cause)
    }

    /// Why writing has ended, if it has.
    pub(crate) fn cause(&self) -> Option<&Arc<io::Error>> {
        self.cause.get()
    }
}
