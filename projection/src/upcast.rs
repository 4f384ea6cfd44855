//! Events of older schemas, brought up to date before a fold sees them.
//!
//! What is always true: the events themselves stay as they are. What a fold is given was made of them a moment
//! before; the raw event is at its position in the store.

use std::borrow::Cow;
use std::fmt;

use annals::Event;
use hashbrown::HashMap;
use serde_json::Value;

use crate::fold::{Fold, HandlerError};

type Step = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, HandlerError> + Send + Sync>;

/// How payloads of older schema versions become those of the current ones, a version at a time.
///
/// An event that says no version is taken for one of version 1.
///
/// ```
/// use annals_projection::Upcasters;
///
/// let upcasters = Upcasters::new()
///     .json("Deposited", 1, |mut deposited| {
///         // Version 1 knew one currency only.
///         deposited["currency"] = "EUR".into();
///         Ok(deposited)
///     })
///     .current("Deposited", 2)
///     .check()?;
/// # drop(upcasters);
/// // A chain with a hole is found when a program starts, and not when it meets the event.
/// assert!(Upcasters::new().current("Deposited", 2).check().is_err());
/// # Ok::<(), annals_projection::UpcastError>(())
/// ```
#[derive(Default)]
pub struct Upcasters {
    chains: HashMap<Box<str>, Chain>,
}

#[derive(Default)]
struct Chain {
    current: u16,
    steps: HashMap<u16, Step>,
}

/// A chain of upcasters that does not lead from version 1 to the current one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcastError {
    /// A step is missing.
    #[error("nothing leads {event_type} from version {from} to {}", from + 1)]
    Hole {
        /// The event type.
        event_type: String,
        /// The version from which nothing leads on.
        from: u16,
    },
    /// A step leads beyond the current version.
    #[error("{event_type} has version {current}, and a step leads on from {from}")]
    Beyond {
        /// The event type.
        event_type: String,
        /// Its current version.
        current: u16,
        /// Where the step begins.
        from: u16,
    },
}

impl fmt::Debug for Upcasters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chains = self.chains.iter().map(|(event_type, chain)| (event_type, chain.current));
        out.debug_map().entries(chains).finish()
    }
}

impl Upcasters {
    /// None yet.
    pub fn new() -> Upcasters {
        Upcasters::default()
    }

    /// Says which version of a type the program knows. Events of a later one are refused.
    #[must_use]
    pub fn current(mut self, event_type: &str, version: u16) -> Upcasters {
        self.chain(event_type).current = version;
        self
    }

    /// How a payload of version `from` becomes one of the next version.
    #[must_use]
    pub fn step(
        mut self,
        event_type: &str,
        from: u16,
        upcast: impl Fn(&[u8]) -> Result<Vec<u8>, HandlerError> + Send + Sync + 'static,
    ) -> Upcasters {
        self.chain(event_type).steps.insert(from, Box::new(upcast));
        self
    }

    /// As [`step`](Upcasters::step), of payloads that are JSON.
    #[must_use]
    pub fn json(
        self,
        event_type: &str,
        from: u16,
        upcast: impl Fn(Value) -> Result<Value, HandlerError> + Send + Sync + 'static,
    ) -> Upcasters {
        self.step(event_type, from, move |data| Ok(serde_json::to_vec(&upcast(serde_json::from_slice(data)?)?)?))
    }

    fn chain(&mut self, event_type: &str) -> &mut Chain {
        self.chains.entry(Box::from(event_type)).or_default()
    }

    /// Checks that each chain is complete: from version 1 to the current one, and no further.
    ///
    /// # Errors
    ///
    /// [`UpcastError`] says what is missing or too much.
    pub fn check(self) -> Result<CheckedUpcasters, UpcastError> {
        for (event_type, chain) in &self.chains {
            let event_type = || event_type.to_string();
            if let Some(from) = (1..chain.current).find(|from| !chain.steps.contains_key(from)) {
                return Err(UpcastError::Hole { event_type: event_type(), from });
            }
            let is_within = |from: &&u16| !(1..chain.current).contains(*from);
            if let Some(from) = chain.steps.keys().find(is_within) {
                return Err(UpcastError::Beyond { event_type: event_type(), current: chain.current, from: *from });
            }
        }
        Ok(CheckedUpcasters { chains: self.chains })
    }
}

/// [`Upcasters`] whose chains are complete.
pub struct CheckedUpcasters {
    chains: HashMap<Box<str>, Chain>,
}

impl fmt::Debug for CheckedUpcasters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CheckedUpcasters").field("types", &self.chains.len()).finish()
    }
}

impl CheckedUpcasters {
    /// The payload of an event as one of the current version, and that version.
    fn upcast<'a>(&self, event: &Event<'a>) -> Result<(Cow<'a, [u8]>, u16), HandlerError> {
        let Some(chain) = self.chains.get(event.event_type) else {
            return Ok((Cow::Borrowed(event.data), event.schema_version));
        };
        let version = event.schema_version.max(1);
        if version > chain.current {
            let Chain { current, .. } = chain;
            return Err(format!("it has schema version {version}, and this program knows {current}").into());
        }
        let mut data = Cow::Borrowed(event.data);
        for from in version..chain.current {
            let step = chain.steps.get(&from).ok_or("the chain was checked")?;
            data = Cow::Owned(step(&data)?);
        }
        Ok((data, chain.current))
    }

    /// A fold that is given events of current versions only.
    pub fn before<F: Fold>(self, fold: F) -> Upcasting<F> {
        Upcasting { upcasters: self, fold }
    }
}

/// A fold whose events are brought up to date first; made by [`CheckedUpcasters::before`].
///
/// An event that cannot be is one that the fold cannot take.
#[derive(Debug)]
pub struct Upcasting<F> {
    upcasters: CheckedUpcasters,
    fold: F,
}

impl<F: Fold> Fold for Upcasting<F> {
    type State = F::State;

    fn initial(&self) -> F::State {
        self.fold.initial()
    }

    fn apply(&self, state: &mut F::State, event: &Event<'_>) -> Result<(), HandlerError> {
        if event.redacted {
            // There is nothing to bring up to date.
            return self.fold.apply(state, event);
        }
        let (data, version) = self.upcasters.upcast(event)?;
        let mut current = *event;
        (current.data, current.schema_version) = (&data, version);
        self.fold.apply(state, &current)
    }

    fn knows(&self, event_type: &str) -> bool {
        self.fold.knows(event_type)
    }
}
