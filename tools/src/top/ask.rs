//! What somebody who browses asks for, and what comes back.
//!
//! An answer may come later than the next question: each has a number ([`Request`]), and what nobody waits for any more
//! is passed over.

use super::whole::Whole;

/// A question and its number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) ask: Ask,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ask {
    /// Streams whose names begin so: those that were written to last.
    Streams { prefix: String },
    /// The next ones of the same list.
    MoreStreams,
    /// A page of events: of the log, or of a stream.
    Events { stream: Option<String>, side: Side },
    /// One event, whole.
    Event { position: u64 },
}

/// Where a page of events lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Newest,
    /// What comes before this position.
    Before(u64),
    /// What comes after it.
    After(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Streams(StreamPage),
    Events(EventPage),
    Event(Whole),
    Failed(String),
}

#[derive(Clone, Debug)]
pub(super) struct StreamPage {
    pub(super) rows: Vec<StreamRow>,
    pub(super) is_first: bool,
    /// Every event from here on was looked at.
    pub(super) looked_back_to: u64,
    pub(super) is_end: bool,
}

#[derive(Clone, Debug)]
pub(super) struct StreamRow {
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) last_position: u64,
    /// When the last event of it was recorded, where that is known.
    pub(super) recorded_at: Option<i64>,
}

#[derive(Clone, Debug)]
pub(super) struct EventPage {
    /// Newest first.
    pub(super) rows: Vec<EventRow>,
    pub(super) side: Side,
    /// Whether nothing more lies in that direction.
    pub(super) is_end: bool,
    /// Where the log ended when it was read.
    pub(super) head: u64,
}

/// An event, or positions that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct EventRow {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) recorded_at: i64,
    pub(super) stream: String,
    pub(super) version: u64,
    pub(super) event_type: String,
    /// The beginning of its data, or what is wrong.
    pub(super) text: String,
    pub(super) is_damaged: bool,
}
