//! Where the time of recording comes from.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
///
/// The store asks once for each batch and forces the answers to never decrease,
/// so a clock that jumps back stalls `recorded_at` and breaks nothing. It is asked
/// while the writer is locked: it must be quick, and must not append.
///
/// ```
/// use std::sync::Arc;
/// use annals::{Clock, EventStore, ExpectedVersion, NewEvent, Options};
///
/// struct Frozen;
///
/// impl Clock for Frozen {
///     fn now(&self) -> i64 {
///         1_700_000_000_000_000_000
///     }
/// }
///
/// let store = EventStore::in_memory(&Options::new().clock(Arc::new(Frozen)))?;
/// let done = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// assert_eq!(done.recorded_at, 1_700_000_000_000_000_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    fn now(&self) -> i64;
}

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        // Before 1970 or after 2262 the answer is the nearest time that can be told.
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        }
    }
}
