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
    /// An event may be [redacted](Event::redacted): then its data is empty and it has no metadata. States that were folded
    /// before it was keep what they made of it, until they are rebuilt.
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
    all: Vec<(TypeName, Handler<S>)>,
    /// Where in the list the handler of a type is; asked only when it is a long one.
    by_type: HashMap<Box<str>, usize>,
}

/// A list of so many types is gone through: that is quicker than hashing one, and done for each event.
const FEW: usize = 8;

/// The name of a type, and its first bytes as a number: most names differ from others in these, and many have no more.
struct TypeName {
    name: Box<str>,
    start: u64,
}

impl TypeName {
    #[inline]
    fn is(&self, start: u64, name: &str) -> bool {
        self.start == start && self.name.len() == name.len() && (name.len() <= size_of::<u64>() || *self.name == *name)
    }
}

/// The first eight bytes of a name; in a shorter one, all of them.
#[inline]
fn start_of(name: &str) -> u64 {
    // Of a fixed number of bytes the compiler makes one load.
    fn number<const N: usize>(bytes: &[u8; N]) -> u64 {
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
    let bytes = name.as_bytes();
    match (bytes.first_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(eight), ..) => number(eight),
        // Both halves, which may have bytes in common.
        (None, Some(first), Some(last)) => number(first) | number(last) << 32,
        _ => bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

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
                self.all.push((TypeName { start: start_of(&event_type), name: event_type }, handler));
            }
        }
        self
    }

    #[inline]
    fn of_type(&self, event_type: &str) -> Option<&Handler<S>> {
        if self.all.len() > FEW {
            return self.by_type.get(event_type).map(|place| &self.all[*place].1);
        }
        let start = start_of(event_type);
        self.all.iter().find(|(known, _)| known.is(start, event_type)).map(|(_, handler)| handler)
    }

    /// The types that have a handler, in no order.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|(event_type, _)| &*event_type.name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_whose_names_begin_or_end_alike_are_told_apart() {
        let long = "OrderWasPlaced";
        let mut names: Vec<String> = (1..=long.len()).map(|end| long[..end].to_owned()).collect();
        names.extend((1..long.len()).map(|start| long[start..].to_owned()));
        names.extend((0..long.len()).map(|at| format!("{}_{}", &long[..at], &long[at + 1..])));
        // Only their lengths tell these apart, whichever bytes are compared.
        names.extend((1..=12).map(|len| "a".repeat(len)));
        for few in names.chunks(FEW) {
            let handlers = few.iter().fold(Handlers::new(String::new()), |handlers, name| {
                let known = name.clone();
                handlers.when(name, move |last: &mut String, _: &Event<'_>| last.clone_from(&known))
            });
            for name in &names {
                assert_eq!(handlers.knows(name), few.contains(name), "{name} among {few:?}");
            }
        }
    }
}
