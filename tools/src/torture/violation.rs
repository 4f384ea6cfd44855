//! What is promised, rule by rule, and how a broken promise is told.
//!
//! The rules are those of `engine/RELIABILITY.md`, which says for each what backs it.

use std::fmt;

/// One of the promises that are checked whenever a store was opened.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// O1: every acknowledged batch is there, the same, and in order.
    AcknowledgedStays,
    /// O2: a batch that was not acknowledged is there as a whole or not at all.
    WholeOrAbsent,
    /// O3: what a recovery has dropped never returns.
    DroppedStaysGone,
    /// O4: what a recovery has shown, all later ones show.
    ShownStays,
    /// O5: positions and versions are dense, and every way of reading gives the same.
    ReadsAgree,
    /// O6: damage in durable data is told, or does no harm.
    DamageIsTold,
    /// O7: no panic and no hang.
    NoPanic,
    /// O8: opening a second time changes no byte.
    OpeningRepeats,
    /// O9: nothing is acknowledged after poison, and appends work when there is space again.
    FailuresAreTold,
    /// O10: what a crash leaves is never called damage.
    CrashIsNotDamage,
    /// O11: who follows the log is given every event once, in order, and in time; a checkpoint that was kept stays.
    FollowersMissNothing,
    /// O12: a state is that of its position, and what resumes is what would be built anew.
    StateIsOfItsPosition,
}

impl Rule {
    /// All of them, in order.
    pub const ALL: [Rule; 12] = [
        Rule::AcknowledgedStays,
        Rule::WholeOrAbsent,
        Rule::DroppedStaysGone,
        Rule::ShownStays,
        Rule::ReadsAgree,
        Rule::DamageIsTold,
        Rule::NoPanic,
        Rule::OpeningRepeats,
        Rule::FailuresAreTold,
        Rule::CrashIsNotDamage,
        Rule::FollowersMissNothing,
        Rule::StateIsOfItsPosition,
    ];

    /// Its short name, `O1` to `O12`.
    pub fn name(self) -> &'static str {
        ["O1", "O2", "O3", "O4", "O5", "O6", "O7", "O8", "O9", "O10", "O11", "O12"][self as usize]
    }

    /// What it promises, in a few words.
    pub fn promise(self) -> &'static str {
        match self {
            Rule::AcknowledgedStays => "an acknowledged batch stays as it is",
            Rule::WholeOrAbsent => "a batch is there as a whole or not at all",
            Rule::DroppedStaysGone => "what a recovery dropped never returns",
            Rule::ShownStays => "what a recovery showed stays",
            Rule::ReadsAgree => "every way of reading gives the same",
            Rule::DamageIsTold => "damage is told",
            Rule::NoPanic => "no panic and no hang",
            Rule::OpeningRepeats => "opening twice changes nothing",
            Rule::FailuresAreTold => "nothing is acknowledged after poison, and space that returns is used",
            Rule::CrashIsNotDamage => "what a crash leaves opens",
            Rule::FollowersMissNothing => "who follows the log misses nothing",
            Rule::StateIsOfItsPosition => "a state is that of its position",
        }
    }
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The promise.
    pub rule: Rule,
    /// What was seen instead.
    pub seen: String,
}

impl Violation {
    /// `rule` was broken: `seen` instead.
    pub fn new(rule: Rule, seen: impl Into<String>) -> Violation {
        Violation { rule, seen: seen.into() }
    }

    /// The same, with where it happened.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Violation {
        self.seen = format!("{place}: {}", self.seen);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.rule.name(), self.rule.promise(), self.seen)
    }
}

impl std::error::Error for Violation {}

/// Ends the function with a [`Violation`] of a rule unless something holds.
macro_rules! ensure {
    ($holds:expr, $rule:ident, $($seen:tt)+) => {
        if !$holds {
            let broken = $crate::torture::Violation::new($crate::torture::Rule::$rule, format!($($seen)+));
            return Err(From::from(broken));
        }
    };
}
pub(crate) use ensure;
