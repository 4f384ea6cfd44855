//! Folding events into state.
//!
//! The log is the truth, and everything else can be made of it again. A [`Projection`] is a named fold over its
//! events; [`attach`](Projection::attach)ed to a store it is brought up to date when its owner likes
//! ([`Attached::catch_up`]), or kept so by a thread ([`LiveProjection`], [`SharedPass`]). With snapshots a restart
//! reads only what came later.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use annals::{EventStore, ExpectedVersion, NewEvent, Options};
//! use annals_projection::{HandlerError, Projection};
//!
//! fn amount(event: &annals::Event<'_>) -> Result<i64, HandlerError> {
//!     Ok(std::str::from_utf8(event.data)?.parse()?)
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! let store = EventStore::open(dir.path(), &Options::new())?;
//! store.append("account-1", ExpectedVersion::Any, NewEvent::new("Deposited", "100"))?;
//! store.append("account-1", ExpectedVersion::Any, NewEvent::new("Withdrawn", "30"))?;
//!
//! type Balances = BTreeMap<String, i64>;
//! let balances = Projection::new("balances")
//!     .when("Deposited", |balances: &mut Balances, event| {
//!         *balances.entry(event.stream.to_owned()).or_default() += amount(event)?;
//!         Ok::<_, HandlerError>(())
//!     })
//!     .when("Withdrawn", |balances: &mut Balances, event| {
//!         *balances.entry(event.stream.to_owned()).or_default() -= amount(event)?;
//!         Ok::<_, HandlerError>(())
//!     })
//!     .snapshot_every(1000);
//! let mut balances = balances.attach(&store)?;
//! balances.catch_up()?;
//! assert_eq!(balances.state()["account-1"], 70);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For one stream there is [`reconstruct_state`], up to any moment, and [`execute`], which carries out a command by
//! what the stream says ([`Decider`]). Events may be values of an enum ([`TypedEvents`]), and those of older schemas
//! are brought up to date first ([`Upcasters`]). Fields of payloads can be copied into tags, by name ([`CopiedFields`]). The states of long streams can be kept, too ([`StreamSnapshots`]).
//!
//! # What is always true
//!
//! - State and position change together. A handler that fails or panics leaves both as they were, and what follows
//!   is a policy ([`OnError`]); no event counts twice, and none is left out but by a decision that is recorded.
//! - Nothing here runs inside an append, and nothing that goes wrong here is noticed by the writer or by another
//!   projection.
//! - A snapshot is bound to the history that it was folded from, and is never ahead of what is durable. One that cannot be used is
//!   ignored: an older one is, or the log.

mod attached;
mod beside;
mod copied;
mod decider;
mod definition;
mod error;
mod fold;
mod live;
mod member;
mod metrics;
mod pass;
mod planted;
mod progress;
mod reconstruct;
#[cfg(feature = "schema")]
mod schemas;
mod shared;
mod snapshot;
mod stored;
mod stream_snapshots;
mod typed;
mod upcast;

pub use attached::{Attached, Stopper};
pub use copied::{CopiedFields, CopyError};
pub use decider::{DecideError, Decided, Decider, execute};
pub use definition::Projection;
pub use error::{Fault, OnError, ProjectionError, Skipped};
pub use fold::{Fold, HandlerError, HandlerResult, Handlers};
pub use live::{LiveProjection, SharedPass};
pub use metrics::add_to_prometheus;
pub use reconstruct::{Reconstructed, UpTo, reconstruct_state};
#[cfg(feature = "schema")]
pub use schemas::event_schemas;
pub use shared::ProjectionStatus;
pub use snapshot::{IgnoredSnapshot, SnapshotNotes};
pub use stored::{StoredProjection, StoredSnapshot, stored_projections, verify_snapshot};
pub use stream_snapshots::StreamSnapshots;
pub use typed::{Typed, TypedEvents, Unknown, WhenRedacted};
pub use upcast::{CheckedUpcasters, UpcastError, Upcasters, Upcasting};

use annals::{Event, ReadError, Reader};

/// Folds all events of `reader` into `state`, in order, and returns it.
///
/// # Errors
///
/// The first [`ReadError`]; the state so far is dropped then, so that nobody takes
/// the state of half a log for that of the whole.
///
/// # Example
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("account-1", ExpectedVersion::Any, NewEvent::new("Deposited", "100"))?;
/// store.append("account-1", ExpectedVersion::Any, NewEvent::new("Withdrawn", "30"))?;
///
/// let balance = annals_projection::fold(store.read_all(Position::START), 0, |balance, event| {
///     let amount: i64 = std::str::from_utf8(event.data).unwrap().parse().unwrap();
///     match event.event_type {
///         "Deposited" => *balance += amount,
///         "Withdrawn" => *balance -= amount,
///         _ => {}
///     }
/// })?;
/// assert_eq!(balance, 70);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fold<S>(mut reader: Reader, mut state: S, mut apply: impl FnMut(&mut S, &Event<'_>)) -> Result<S, ReadError> {
    while let Some(event) = reader.next_event()? {
        apply(&mut state, &event);
    }
    Ok(state)
}
