//! Folding events into state.
//!
//! For now this crate is one function: [`fold`], which reads everything a
//! [`Reader`] gives and hands each event to a closure. Projections that resume,
//! live projections and snapshots are being built on top of it.

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
