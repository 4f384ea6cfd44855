//! The end of the hash chain: 32 bytes that stand for all that is in the log.

use annals_codec::{Digest, LogId, Position};

use super::{EventStore, Role};
use crate::error::KeepError;

/// The end of a log's hash chain: to be published elsewhere, as a witness.
///
/// Nobody can make another history that ends with the same hash. See [`Options::hash_chain`](crate::Options::hash_chain).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ChainTip {
    /// The log.
    pub log_id: LogId,
    /// The position of its last event.
    pub position: Position,
    /// The hash chain after its last batch.
    pub hash: Digest,
}

impl EventStore {
    /// The end of the hash chain, for who keeps it as a witness; `None` when the log keeps no chain there
    /// ([`Options::hash_chain`](crate::Options::hash_chain)).
    ///
    /// A witness must not speak of events that can still be lost, so everything is made durable first.
    ///
    /// # Errors
    ///
    /// [`KeepError::NotDurable`], and [`KeepError::Read`] when a store that is open for reading cannot look.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = EventStore::open(dir.path(), &Options::new().hash_chain(true))?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let witness = store.chain_tip()?.expect("the store keeps a chain");
    ///
    /// // Later, with the witness from where it was kept: the log goes on from what was witnessed.
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}"))?;
    /// let report = annals::inspect::verify_against(dir.path(), &[witness], |_done, _all| ())?;
    /// assert!(report.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chain_tip(&self) -> Result<Option<ChainTip>, KeepError> {
        let (position, hash) = match &self.inner.role {
            Role::Writer(side) => side.commit.durable_tip().map_err(KeepError::NotDurable)?,
            Role::Follower(follower) => {
                self.follow()?;
                follower.lock().tip()
            }
        };
        Ok(hash.map(|hash| ChainTip { log_id: self.inner.log_id, position, hash }))
    }
}
