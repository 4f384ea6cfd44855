//! Deciding on a command by what a stream says, and appending what was decided.
//!
//! What is always true: what is appended was decided on the state that the stream has at that moment. Where
//! somebody else was faster, it is decided again on what he appended.

use annals::{AppendError, Appended, Event, EventStore, ExpectedVersion, IntoName, Position, StreamId, StreamVersion};

use crate::error::ProjectionError;
use crate::fold::HandlerError;
use crate::reconstruct::{Reconstructed, UpTo, go_on};
use crate::typed::TypedEvents;

/// How a stream answers commands: what its events make of a state, and what a command makes of that.
pub trait Decider {
    /// What is asked for.
    type Command;
    /// What happens.
    type Event: TypedEvents;
    /// What is decided on.
    type State;
    /// Why a command is refused.
    type Error;

    /// The state of a stream without events.
    fn initial(&self) -> Self::State;

    /// What an event makes of a state. It has happened: there is nothing to refuse.
    fn evolve(&self, state: &mut Self::State, event: Self::Event);

    /// What a command makes happen in a state; nothing, when there is nothing to do.
    ///
    /// # Errors
    ///
    /// The decider's own, when the command is refused.
    fn decide(&self, state: &Self::State, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Error>;
}

/// What came of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Decided<S> {
    /// The state after it.
    pub state: S,
    /// The version of the stream after it.
    pub version: StreamVersion,
    /// What was appended; `None` when there was nothing to do.
    pub appended: Option<Appended>,
}

/// Why a command was not carried out. Nothing was appended, unless an [`AppendError`] says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError<E> {
    /// The decider refuses it.
    #[error("{0}")]
    Refused(E),
    /// Others were faster, as many times as it was tried.
    #[error("others appended to the stream first, {attempts} times")]
    TooMuchContention {
        /// How many times it was tried.
        attempts: u32,
    },
    /// The stream cannot be read, or one of its events is none that the decider knows.
    #[error(transparent)]
    Load(#[from] ProjectionError),
    /// An event cannot be encoded.
    #[error("an event cannot be encoded: {0}")]
    Encode(HandlerError),
    /// It could not be appended.
    #[error(transparent)]
    Append(AppendError),
}

/// So many times a command is decided on at most.
const ATTEMPTS: u32 = 16;

/// Carries out a command: loads the stream's state, decides, and appends what happens if the stream has not changed
/// meanwhile; otherwise reads what is new and decides again, up to 16 times in all.
///
/// A panic of the decider comes through.
///
/// # Errors
///
/// [`DecideError`] says why it was not carried out.
///
/// # Example
///
/// ```
/// use annals::{EventStore, Options};
/// use annals_projection::{DecideError, Decider, TypedEvents, execute};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// enum Account {
///     Deposited { amount: u64 },
///     Withdrawn { amount: u64 },
/// }
///
/// impl TypedEvents for Account {}
///
/// struct Withdraw(u64);
/// struct Accounts;
///
/// impl Decider for Accounts {
///     type Command = Withdraw;
///     type Event = Account;
///     type State = u64;
///     type Error = &'static str;
///
///     fn initial(&self) -> u64 {
///         0
///     }
///
///     fn evolve(&self, balance: &mut u64, event: Account) {
///         match event {
///             Account::Deposited { amount } => *balance += amount,
///             Account::Withdrawn { amount } => *balance -= amount,
///         }
///     }
///
///     fn decide(&self, balance: &u64, Withdraw(amount): &Withdraw) -> Result<Vec<Account>, &'static str> {
///         if amount > balance {
///             return Err("there is not so much");
///         }
///         Ok(vec![Account::Withdrawn { amount: *amount }])
///     }
/// }
///
/// let store = EventStore::in_memory(&Options::new())?;
/// let deposited = Account::Deposited { amount: 100 }.to_event()?;
/// store.append("account-1", annals::ExpectedVersion::NoStream, deposited)?;
/// assert_eq!(execute(&store, "account-1", &Accounts, &Withdraw(30)).unwrap().state, 70);
/// let refused = execute(&store, "account-1", &Accounts, &Withdraw(80));
/// assert!(matches!(refused, Err(DecideError::Refused("there is not so much"))));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub fn execute<D: Decider>(
    store: &EventStore,
    stream: impl IntoName<StreamId>,
    decider: &D,
    command: &D::Command,
) -> Result<Decided<D::State>, DecideError<D::Error>> {
    let stream = stream.into_name().map_err(ProjectionError::from)?;
    let (version, position) = (StreamVersion::EMPTY, Position::START);
    execute_from(store, &stream, decider, command, Reconstructed { state: decider.initial(), version, position })
}

/// What events make of a state.
pub(crate) fn evolving<D: Decider>(decider: &D) -> impl Fn(&mut D::State, &Event<'_>) -> Result<(), HandlerError> {
    |state, event| {
        if let Some(event) = D::Event::from_event(event)? {
            decider.evolve(state, event);
        }
        Ok(())
    }
}

/// Carries out a command on a state that the stream had.
pub(crate) fn execute_from<D: Decider>(
    store: &EventStore,
    stream: &StreamId,
    decider: &D,
    command: &D::Command,
    mut loaded: Reconstructed<D::State>,
) -> Result<Decided<D::State>, DecideError<D::Error>> {
    for _ in 0..ATTEMPTS {
        loaded = go_on(store, stream, evolving(decider), loaded, UpTo::Head)?;
        let decided = decider.decide(&loaded.state, command).map_err(DecideError::Refused)?;
        if decided.is_empty() {
            return Ok(Decided { state: loaded.state, version: loaded.version, appended: None });
        }
        let events: Result<Vec<_>, _> = decided.iter().map(TypedEvents::to_event).collect();
        let expected = ExpectedVersion::Exact(loaded.version);
        match store.append_batch(stream, expected, events.map_err(DecideError::Encode)?) {
            Ok(appended) => {
                let mut state = loaded.state;
                for event in decided {
                    decider.evolve(&mut state, event);
                }
                return Ok(Decided { state, version: appended.version, appended: Some(appended) });
            }
            Err(AppendError::ConcurrencyConflict { .. }) => {}
            Err(error) => return Err(DecideError::Append(error)),
        }
    }
    Err(DecideError::TooMuchContention { attempts: ATTEMPTS })
}
