//! The state of one stream, now or as it was.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals::{Event, EventStore, IntoName, Position, StreamId, StreamVersion};

use crate::error::{Fault, ProjectionError, what_it_said};
use crate::fold::{Fold, HandlerError};
use crate::progress::Refused;

/// Up to where a stream is folded, and with what is there as the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UpTo {
    /// All of it.
    Head,
    /// Up to this version, and that with it.
    Version(StreamVersion),
    /// Up to this position of the log, and the event there with it, if it is of the stream.
    Position(Position),
    /// What was recorded up to this time, and at it: nanoseconds since 1970 UTC.
    Time(i64),
}

/// The state of a stream, and what it was folded from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reconstructed<S> {
    /// The state.
    pub state: S,
    /// The version of the last event that was folded; [`StreamVersion::EMPTY`] when there was none.
    pub version: StreamVersion,
    /// Its position; [`Position::START`] when there was none.
    pub position: Position,
}

/// Folds one stream, up to its head or to any moment before.
///
/// An unknown stream, and one that had no event then, gives the initial state at version 0.
///
/// # Errors
///
/// - [`ProjectionError::Faulted`] when the fold fails on an event, or panics.
/// - [`ProjectionError::HistoryTruncated`] when the beginning of the stream was removed from the log.
/// - [`ProjectionError::InvalidName`], [`ProjectionError::Read`].
///
/// # Example
///
/// ```
/// use annals::{Event, EventStore, ExpectedVersion, NewEvent, Options, StreamVersion};
/// use annals_projection::{Handlers, UpTo, reconstruct_state};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// for (event_type, amount) in [("Deposited", "100"), ("Withdrawn", "30"), ("Withdrawn", "5")] {
///     store.append("account-1", ExpectedVersion::Any, NewEvent::new(event_type, amount))?;
/// }
/// let amount = |event: &annals::Event<'_>| std::str::from_utf8(event.data).unwrap().parse::<i64>().unwrap();
/// let balance = Handlers::new(0)
///     .when("Deposited", move |balance, event| *balance += amount(event))
///     .when("Withdrawn", move |balance, event| *balance -= amount(event));
///
/// assert_eq!(reconstruct_state(&store, "account-1", &balance, UpTo::Head)?.state, 65);
/// let then = reconstruct_state(&store, "account-1", &balance, UpTo::Version(StreamVersion::new(2)))?;
/// assert_eq!((then.state, then.version), (70, StreamVersion::new(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn reconstruct_state<F: Fold>(
    store: &EventStore,
    stream: impl IntoName<StreamId>,
    fold: &F,
    up_to: UpTo,
) -> Result<Reconstructed<F::State>, ProjectionError> {
    let start = Reconstructed { state: fold.initial(), version: StreamVersion::EMPTY, position: Position::START };
    go_on(store, &stream.into_name()?, |state, event| fold.apply(state, event), start, up_to)
}

/// Folds what comes after a state of the stream.
pub(crate) fn go_on<S>(
    store: &EventStore,
    stream: &StreamId,
    apply: impl Fn(&mut S, &Event<'_>) -> Result<(), HandlerError>,
    from: Reconstructed<S>,
    up_to: UpTo,
) -> Result<Reconstructed<S>, ProjectionError> {
    let mut done = from;
    let mut reader = store.read_stream(stream, done.version)?;
    reader = match up_to {
        UpTo::Position(position) => reader.until(position),
        // Nothing is later than the last moment.
        UpTo::Time(time) if time < i64::MAX => reader.recorded_between(i64::MIN, time + 1),
        _ => reader,
    };
    while let Some(event) = reader.next_event()? {
        if matches!(up_to, UpTo::Version(version) if event.version > version) {
            break;
        }
        if event.version != done.version.plus(1) {
            return Err(ProjectionError::HistoryTruncated { oldest: store.oldest(), position: done.position });
        }
        let state = &mut done.state;
        let refused = match catch_unwind(AssertUnwindSafe(|| apply(state, &event))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Refused { reason: error.to_string(), is_panic: false }),
            Err(panic) => Some(Refused { reason: what_it_said(&*panic), is_panic: true }),
        };
        if let Some(refused) = refused {
            return Err(ProjectionError::Faulted(Fault::new(&event, refused, 1)));
        }
        (done.version, done.position) = (event.version, event.position);
    }
    Ok(done)
}
