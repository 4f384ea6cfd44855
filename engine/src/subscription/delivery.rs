//! What a subscription gives: [`Delivery`].

use annals_codec::Position;

/// What a [`Subscription`](crate::Subscription) gives: an event, or news of how far it has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery<E> {
    /// An event.
    Event(E),
    /// Everything up to this position was given: all that there was when the subscription looked. From here on
    /// events are live. Told when the end is reached the first time, and again after each [`FellBehind`](Delivery::FellBehind).
    CaughtUp(Position),
    /// The log has run far ahead of a subscription that had caught up, because whoever asks it is slow.
    /// Nothing is left out.
    FellBehind {
        /// Up to where everything was given.
        position: Position,
        /// The head of the log.
        head: Position,
    },
    /// Everything up to this position was given, and the events before it that the query does not
    /// describe were passed. Who keeps a position to resume from keeps this one.
    Checkpoint(Position),
}

/// A delivery that is no event.
pub(super) type Notice = Delivery<std::convert::Infallible>;

impl Notice {
    pub(super) fn of<E>(self) -> Delivery<E> {
        match self {
            Delivery::Event(never) => match never {},
            Delivery::CaughtUp(position) => Delivery::CaughtUp(position),
            Delivery::FellBehind { position, head } => Delivery::FellBehind { position, head },
            Delivery::Checkpoint(position) => Delivery::Checkpoint(position),
        }
    }
}
