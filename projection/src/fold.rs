//! What is done with each event: [`Fold`], and [`Handlers`] by event type.
//!
//! What is always true: a fold is a function of the state and the event. It is called again with the same
//! events, after a failure and after a restart, and has to come to the same state.

use std::error::Error;
use std::fmt;

use annals::Event;
use hashbrown::HashMap;

/// Why a handler could not take an event.
pub type HandlerError = Box<dyn Error + Send + Sync>;

/// What a handler may return: nothing, or whether it went well.
pub trait HandlerResult {
    /// The result.
    ///
    /// # Errors
    ///
    /// The handler's own.
    fn into_result(self) -> Result<(), HandlerError>;
}

impl HandlerResult for () {
    fn into_result(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<HandlerError>> HandlerResult for Result<(), E> {
    fn into_result(self) -> Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

/// A state, and how an event changes it.
///
/// For those who prefer a type to closures; [`Handlers`] is made of closures.
///
/// ```
/// use annals::{Event, EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::{Fold, HandlerError, Projection};
///
/// /// Counts the orders that wait for their money.
/// struct Unpaid;
///
/// impl Fold for Unpaid {
///     type State = u64;
///
///     fn initial(&self) -> u64 {
///         0
///     }
///
///     fn apply(&self, state: &mut u64, event: &Event<'_>) -> Result<(), HandlerError> {
///         match event.event_type {
///             "Placed" => *state += 1,
///             "Paid" => *state = state.checked_sub(1).ok_or("paid before it was placed")?,
///             _ => {}
///         }
///         Ok(())
///     }
/// }
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// let mut unpaid = Projection::of("unpaid", Unpaid).attach(&store)?;
/// unpaid.catch_up()?;
/// assert_eq!(*unpaid.state(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Fold: Send + Sync + 'static {
    /// What is folded into.
    type State: Clone + Send + Sync + 'static;

    /// The state before every event.
    fn initial(&self) -> Self::State;

    /// Changes the state as the event says. When it fails, or panics, the state is put back as it was.
    ///
    /// # Errors
    ///
    /// The fold's own; the projection's policy says what follows.
    fn apply(&self, state: &mut Self::State, event: &Event<'_>) -> Result<(), HandlerError>;

    /// Whether it knows events of this type; asked only where unknown ones are refused
    /// ([`Projection::strict_types`](crate::Projection::strict_types)).
    fn knows(&self, event_type: &str) -> bool {
        let _ = event_type;
        true
    }
}

type Handler<S> = Box<dyn Fn(&mut S, &Event<'_>) -> Result<(), HandlerError> + Send + Sync>;

/// Handlers by event type. Events of other types change nothing.
///
/// ```
/// use annals_projection::Handlers;
///
/// let handlers = Handlers::new(0_i64)
///     .when("Deposited", |balance: &mut i64, event| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         *balance += std::str::from_utf8(event.data)?.parse::<i64>()?;
///         Ok(())
///     })
///     .when("Closed", |balance, _| *balance = 0);
/// # drop(handlers);
/// ```
pub struct Handlers<S> {
    initial: S,
    /// Each with its type, in no order.
    all: Vec<(Box<str>, Handler<S>)>,
    /// Where in the list the handler of a type is; asked only when it is a long one.
    by_type: HashMap<Box<str>, usize>,
}

/// A list of so many types is gone through: that is quicker than hashing one, and done for each event.
const FEW: usize = 8;

impl<S> fmt::Debug for Handlers<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut types: Vec<&str> = self.types().collect();
        types.sort_unstable();
        out.debug_struct("Handlers").field("types", &types).finish_non_exhaustive()
    }
}

impl<S> Handlers<S> {
    /// No handlers yet, and the state before every event.
    pub fn new(initial: S) -> Handlers<S> {
        Handlers { initial, all: Vec::new(), by_type: HashMap::new() }
    }

    /// Has events of a type change the state so. A type has one handler: the last that was given.
    #[must_use]
    pub fn when<R: HandlerResult>(
        mut self,
        event_type: impl AsRef<str>,
        handler: impl Fn(&mut S, &Event<'_>) -> R + Send + Sync + 'static,
    ) -> Handlers<S> {
        let handler: Handler<S> = Box::new(move |state, event| handler(state, event).into_result());
        let event_type: Box<str> = Box::from(event_type.as_ref());
        match self.by_type.get(&event_type) {
            Some(place) => self.all[*place].1 = handler,
            None => {
                self.by_type.insert(event_type.clone(), self.all.len());
                self.all.push((event_type, handler));
            }
        }
        self
    }

    #[inline]
    fn of_type(&self, event_type: &str) -> Option<&Handler<S>> {
        let place = if self.all.len() <= FEW {
            self.all.iter().position(|(known, _)| **known == *event_type)
        } else {
            self.by_type.get(event_type).copied()
        };
        place.map(|place| &self.all[place].1)
    }

    /// The types that have a handler, in no order.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(event_type, _)| &**event_type)
    }
}

impl<S: Clone + Send + Sync + 'static> Fold for Handlers<S> {
    type State = S;

    fn initial(&self) -> S {
        self.initial.clone()
    }

    #[inline]
    fn apply(&self, state: &mut S, event: &Event<'_>) -> Result<(), HandlerError> {
        match self.of_type(event.event_type) {
            Some(handler) => handler(state, event),
            None => Ok(()),
        }
    }

    fn knows(&self, event_type: &str) -> bool {
        self.of_type(event_type).is_some()
    }
}
