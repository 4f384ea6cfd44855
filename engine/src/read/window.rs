//! Which positions a reader may give, and what of them is missing.

use annals_codec::Position;

use super::Direction;
use super::frames::Frames;
use crate::error::{Damage, ReadError};

/// The positions after one and up to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) after: Position,
    pub(crate) until: Position,
}

impl Window {
    pub(crate) fn up_to(until: Position) -> Window {
        Window { after: Position::START, until }
    }

    pub(crate) fn holds(self, position: Position) -> bool {
        self.after < position && position <= self.until
    }

    pub(crate) fn is_empty(self) -> bool {
        self.after >= self.until
    }

    fn meets(self, gap: &Damage) -> bool {
        !self.is_empty() && gap.from <= self.until && gap.to.is_none_or(|to| to > self.after)
    }
}

/// How many of the regions that are left out of a view a reader has passed.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    passed: usize,
}

impl Gaps {
    /// A region that is left out of the view and lies between the last event and `position`:
    /// nobody knows whether it held events that are wanted, so it is reported.
    pub(crate) fn before(&mut self, frames: &Frames, direction: Direction, position: Position) -> Option<ReadError> {
        let gaps = &frames.view.gaps;
        loop {
            let gap = match direction {
                Direction::Forward => gaps.get(self.passed).filter(|gap| gap.from < position)?,
                Direction::Backward => {
                    let index = gaps.len().checked_sub(self.passed + 1)?;
                    Some(&gaps[index]).filter(|gap| gap.from > position)?
                }
            };
            self.passed += 1;
            if frames.window.meets(gap) {
                return Some(ReadError::Corrupt(gap.clone()));
            }
        }
    }

    /// A region that was not passed yet, when there are no more events.
    pub(crate) fn rest(&mut self, frames: &Frames, direction: Direction) -> Option<ReadError> {
        let end = if direction == Direction::Forward { Position::END } else { Position::START };
        self.before(frames, direction, end)
    }
}
