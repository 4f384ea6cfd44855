//! What was said about one batch: each time that it was appended, and what was answered.

use annals::{Durability, Position};

use super::ledger::{Arrival, End};

/// First and last position of a batch.
pub(super) type Span = (Position, Position);

/// One batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Where it was when the store was judged last.
    pub(super) shown: Option<Span>,
    /// It was not there when the store was judged last.
    pub(super) is_gone: bool,
    /// Since then.
    pub(super) attempts: Vec<Attempt>,
}

/// One time that a batch was appended.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Which life of the store.
    pub(super) life: u32,
    pub(super) intended: Arrival,
    pub(super) answer: Answer,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    None,
    Done { arrived: Arrival, place: Span, durability: Durability },
    Refused,
    Unknown,
}

impl Entry {
    /// Where it must be, as far as somebody was told.
    pub(super) fn place(&self) -> Option<Span> {
        let done = |attempt: &Attempt| match attempt.answer {
            Answer::Done { place, .. } => Some(place),
            _ => None,
        };
        self.shown.or_else(|| self.attempts.iter().find_map(done))
    }

    /// Whether any attempt may have left it in the log without anybody being told.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.place().is_none() && self.attempts.iter().any(|attempt| attempt.answer != Answer::Refused)
    }

    /// Whether a batch that only tracks must have left its mark.
    pub(super) fn is_promised(&self, end: End) -> bool {
        self.attempts.iter().any(|attempt| match (attempt.answer, end) {
            (Answer::Done { .. }, End::Kill) => true,
            (Answer::Done { arrived, durability, .. }, End::PowerLoss { heard }) => {
                durability == Durability::Sync && arrived <= heard
            }
            _ => false,
        })
    }
}
