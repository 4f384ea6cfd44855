//! The lines that a child says, one before each thing it does and one after.
//!
//! Each is one `write` of fewer bytes than a pipe takes at once, so a kill
//! cannot cut it, and lines of several threads do not mix. What stands in a
//! line about an append was true before the line was written: an
//! acknowledgement is told after the call has returned.

use std::fmt;

use annals::{Durability, Outcome, Position};

use super::work::Name;

/// What a child says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// The store is open, and this is its last position.
    Opened {
        /// Its last position.
        head: Position,
        /// Whether recovery had anything to do.
        repaired: bool,
    },
    /// The store was not opened.
    NotOpened {
        /// Whether the store is said to be damaged; otherwise it is an I/O error.
        damaged: bool,
        /// The message.
        why: String,
    },
    /// This batch is about to be appended.
    Intend {
        /// The batch.
        name: Name,
        /// Whether it may have been appended before, so that nothing is asked of the store but to keep it.
        again: bool,
    },
    /// The batch was acknowledged.
    Done {
        /// The batch.
        name: Name,
        /// Whether it was there already.
        outcome: Outcome,
        /// The position of its first event.
        first: Position,
        /// The position of its last event.
        last: Position,
        /// What was asked for.
        durability: Durability,
    },
    /// Nothing of the batch was written.
    Refused {
        /// The batch.
        name: Name,
        /// Why.
        why: Refusal,
    },
    /// The batch may or may not survive.
    Unknown {
        /// The batch.
        name: Name,
    },
    /// A flush is about to begin.
    Flushing {
        /// The thread that flushes.
        thread: u16,
    },
    /// Everything up to this position is durable.
    Flushed {
        /// The thread that flushed.
        thread: u16,
        /// The position.
        position: Position,
    },
    /// The flush failed.
    NotFlushed {
        /// The thread that flushed.
        thread: u16,
    },
    /// The consumer goes on from this position.
    Follows {
        /// Its checkpoint.
        position: Position,
    },
    /// The consumer has kept this position.
    Kept {
        /// Its checkpoint.
        position: Position,
    },
    /// The store was closed: everything that it held is durable.
    Closed {
        /// Its last position.
        head: Position,
    },
    /// Closing the store failed.
    NotClosed,
    /// The child panicked, or hangs.
    Panicked {
        /// The message.
        what: String,
    },
}

/// Why nothing of a batch was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// A stream is not where it was expected.
    Conflict,
    /// A condition does not hold.
    Condition,
    /// The source was processed further before.
    Tracking,
    /// The disk is full.
    Full,
    /// The store is poisoned.
    Poisoned,
    /// Something could not be read.
    Unreadable,
    /// Something else, which no batch of ours deserves.
    Other,
}

const REFUSALS: [(Refusal, &str); 7] = [
    (Refusal::Conflict, "conflict"),
    (Refusal::Condition, "condition"),
    (Refusal::Tracking, "tracking"),
    (Refusal::Full, "full"),
    (Refusal::Poisoned, "poisoned"),
    (Refusal::Unreadable, "unreadable"),
    (Refusal::Other, "other"),
];

/// The longest text in a line, so that all of it is below what a pipe takes at once: 512 bytes at least.
const LONGEST: usize = 300;

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Opened { head, repaired } => {
                write!(out, "opened {head} {}", if *repaired { "repaired" } else { "clean" })
            }
            Said::NotOpened { damaged, why } => {
                write!(out, "not-opened {} {}", if *damaged { "damaged" } else { "io" }, one_line(why))
            }
            Said::Intend { name, again } => write!(out, "{} {name}", if *again { "again" } else { "intend" }),
            Said::Done { name, outcome, first, last, durability } => {
                let outcome = if *outcome == Outcome::Duplicate { "duplicate" } else { "appended" };
                let durability = if *durability == Durability::Sync { "sync" } else { "buffered" };
                write!(out, "done {name} {outcome} {first} {last} {durability}")
            }
            Said::Refused { name, why } => {
                let why = REFUSALS.iter().find(|(refusal, _)| refusal == why).map_or("other", |(_, text)| text);
                write!(out, "refused {name} {why}")
            }
            Said::Unknown { name } => write!(out, "unknown {name}"),
            Said::Flushing { thread } => write!(out, "flushing {thread}"),
            Said::Flushed { thread, position } => write!(out, "flushed {thread} {position}"),
            Said::NotFlushed { thread } => write!(out, "not-flushed {thread}"),
            Said::Follows { position } => write!(out, "follows {position}"),
            Said::Kept { position } => write!(out, "kept {position}"),
            Said::Closed { head } => write!(out, "closed {head}"),
            Said::NotClosed => write!(out, "not-closed"),
            Said::Panicked { what } => write!(out, "panicked {}", one_line(what)),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect()
}

impl Said {
    /// What this line says; `None` when no child of ours says such a thing.
    pub fn parse(line: &str) -> Option<Said> {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let mut word = || words.next();
        let position = |word: Option<&str>| word?.parse().ok().map(Position::new);
        let name = |word: Option<&str>| word?.parse::<Name>().ok();
        Some(match what {
            "opened" => Said::Opened { head: position(word())?, repaired: word()? == "repaired" },
            "not-opened" => {
                let (kind, why) = rest.split_once(' ')?;
                Said::NotOpened { damaged: kind == "damaged", why: why.to_owned() }
            }
            "intend" | "again" => Said::Intend { name: name(word())?, again: what == "again" },
            "done" => Said::Done {
                name: name(word())?,
                outcome: match word()? {
                    "appended" => Outcome::Appended,
                    "duplicate" => Outcome::Duplicate,
                    _ => return None,
                },
                first: position(word())?,
                last: position(word())?,
                durability: match word()? {
                    "sync" => Durability::Sync,
                    "buffered" => Durability::Buffered,
                    _ => return None,
                },
            },
            "refused" => {
                let name = name(word())?;
                let why = word()?;
                Said::Refused { name, why: REFUSALS.iter().find(|(_, text)| *text == why)?.0 }
            }
            "unknown" => Said::Unknown { name: name(word())? },
            "flushing" => Said::Flushing { thread: word()?.parse().ok()? },
            "flushed" => Said::Flushed { thread: word()?.parse().ok()?, position: position(word())? },
            "not-flushed" => Said::NotFlushed { thread: word()?.parse().ok()? },
            "follows" => Said::Follows { position: position(word())? },
            "kept" => Said::Kept { position: position(word())? },
            "closed" => Said::Closed { head: position(word())? },
            "not-closed" => Said::NotClosed,
            "panicked" => Said::Panicked { what: rest.to_owned() },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_fits_into_one_write() {
        let name = Name { life: 3, thread: 2, number: 1 };
        let long = "no\nroom ".repeat(100);
        let mut all = vec![
            Said::Opened { head: Position::new(7), repaired: true },
            Said::Opened { head: Position::new(0), repaired: false },
            Said::NotOpened { damaged: true, why: long.clone() },
            Said::NotOpened { damaged: false, why: "cannot sync".to_owned() },
            Said::Intend { name, again: false },
            Said::Intend { name, again: true },
            Said::Unknown { name },
            Said::Flushing { thread: 1 },
            Said::Flushed { thread: 1, position: Position::new(9) },
            Said::NotFlushed { thread: 1 },
            Said::Follows { position: Position::new(4) },
            Said::Kept { position: Position::new(7) },
            Said::Closed { head: Position::new(9) },
            Said::NotClosed,
            Said::Panicked { what: long },
        ];
        all.extend(REFUSALS.map(|(why, _)| Said::Refused { name, why }));
        for outcome in [Outcome::Appended, Outcome::Duplicate] {
            for durability in [Durability::Sync, Durability::Buffered] {
                let (first, last) = (Position::new(4), Position::new(6));
                all.push(Said::Done { name, outcome, first, last, durability });
            }
        }
        for said in all {
            let line = said.to_string();
            assert!(line.len() < 400 && !line.contains('\n'), "{line}");
            let heard = Said::parse(&line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(heard.to_string(), line);
        }
        for rubbish in ["", "done", "done 1/2 appended 1 1 sync", "intend 1/2/3/4", "refused 1/2/3 whim", "hello"] {
            assert_eq!(Said::parse(rubbish), None, "{rubbish}");
        }
    }
}
