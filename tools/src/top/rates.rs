//! How fast a number grows, by looks at it.
//!
//! What is always true: a rate is the difference of two looks over the time between them. Before there are two of
//! them there is no rate, which is not the same as none.

use std::collections::VecDeque;
use std::time::Duration;

use crate::human::per_second;

/// How far back "the last minute" reaches.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The looks of the last minute at a number that only grows, such as the head of a log.
///
/// ```
/// use std::time::Duration;
///
/// use annals_cli::top::Rates;
///
/// let mut events = Rates::default();
/// for (second, head) in [(0, 0), (1, 100), (3, 700)] {
///     events.add(Duration::from_secs(second), head);
/// }
/// assert_eq!((events.now(), events.last_minute()), (Some(300), Some(233)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rates {
    looks: VecDeque<(Duration, u64)>,
}

impl Rates {
    /// Takes in what the number was at a moment; moments are counted from any one, and do not go back.
    ///
    /// A number that is smaller than before belongs to another log, which was put in the place of the one that was
    /// there: the looks begin anew.
    pub fn add(&mut self, at: Duration, number: u64) {
        if self.looks.back().is_some_and(|(_, before)| number < *before) {
            self.looks.clear();
        }
        self.looks.push_back((at, number));
        while self.looks.len() > 2 && self.looks.front().is_some_and(|(first, _)| *first + MINUTE < at) {
            self.looks.pop_front();
        }
    }

    /// How much a second between the last two looks.
    pub fn now(&self) -> Option<u64> {
        self.steps().next_back()
    }

    /// How much a second since the oldest look that is not older than a minute.
    pub fn last_minute(&self) -> Option<u64> {
        let (first, last) = (self.looks.front()?, self.looks.back()?);
        (self.looks.len() > 1).then(|| between(*first, *last))
    }

    /// How much a second from each look to the next, oldest first.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.looks.iter().zip(self.looks.iter().skip(1)).map(|(first, last)| between(*first, *last))
    }
}

fn between((first_at, first): (Duration, u64), (last_at, last): (Duration, u64)) -> u64 {
    per_second(last.saturating_sub(first), last_at.saturating_sub(first_at))
}
