//! The lists that somebody browses: streams, and events of the log or of a stream.
//!
//! Each knows what it has read, what it waits for, and which page it wants next.
//!
//! What is always true: an answer is taken in only if it is that to the last question of this list; a page that is
//! added is next to what is there, so no event is missed or shown twice.

use super::ask::{Ask, EventPage, EventRow, Request, Side, StreamPage, StreamRow};
use super::list::{List, Step};

/// Gives each question its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn ask(&mut self, ask: Ask) -> Request {
        self.0 += 1;
        Request { number: self.0, ask }
    }
}

/// Streams, those that were written to last first.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamList {
    pub(super) list: List<StreamRow>,
    pub(super) prefix: String,
    pub(super) waits_for: Option<u64>,
    pub(super) looked_back_to: u64,
    pub(super) is_end: bool,
}

impl StreamList {
    /// Begins again with names that begin so.
    pub(super) fn start(&mut self, prefix: String, numbers: &mut Numbers) -> Request {
        *self = StreamList { prefix, ..StreamList::default() };
        self.again(numbers)
    }

    /// Reads the first page again.
    pub(super) fn again(&mut self, numbers: &mut Numbers) -> Request {
        let request = numbers.ask(Ask::Streams { prefix: self.prefix.clone() });
        self.waits_for = Some(request.number);
        request
    }

    /// Moves, and wants another page when the end is near.
    pub(super) fn go(&mut self, step: Step, seen: usize, numbers: &mut Numbers) -> Option<Request> {
        self.list.go(step, seen);
        let is_down = matches!(step, Step::Down | Step::PageDown | Step::Last);
        let is_near = self.list.chosen() + seen >= self.list.rows.len();
        if !is_down || !is_near || self.is_end || self.waits_for.is_some() {
            return None;
        }
        let request = numbers.ask(Ask::MoreStreams);
        self.waits_for = Some(request.number);
        Some(request)
    }

    pub(super) fn is_live(&self) -> bool {
        self.list.chosen() == 0
    }

    pub(super) fn take(&mut self, page: StreamPage) {
        if page.is_first {
            self.list.replace(page.rows);
        } else {
            self.list.rows.extend(page.rows);
        }
        (self.looked_back_to, self.is_end) = (page.looked_back_to, page.is_end);
    }
}

/// Events, newest first.
#[derive(Clone, Debug)]
pub(super) struct EventList {
    /// Only those of this stream.
    pub(super) stream: Option<String>,
    pub(super) list: List<EventRow>,
    pub(super) waits_for: Option<u64>,
    /// Whether the first row is the newest event there is.
    is_newest: bool,
    /// Whether the last row is the oldest.
    pub(super) is_end: bool,
    /// Where the log ended when the newest were read.
    pub(super) head: u64,
}

impl EventList {
    pub(super) fn of(stream: Option<String>) -> EventList {
        EventList { stream, list: List::default(), waits_for: None, is_newest: true, is_end: false, head: 0 }
    }

    pub(super) fn ask(&mut self, side: Side, numbers: &mut Numbers) -> Request {
        let request = numbers.ask(Ask::Events { stream: self.stream.clone(), side });
        self.waits_for = Some(request.number);
        request
    }

    /// Begins again at the newest.
    pub(super) fn again(&mut self, numbers: &mut Numbers) -> Request {
        self.ask(Side::Newest, numbers)
    }

    /// Begins again with the event at a position, or the next one before it.
    pub(super) fn go_to(&mut self, position: u64, numbers: &mut Numbers) -> Request {
        *self = EventList { is_newest: false, ..EventList::of(self.stream.take()) };
        self.ask(Side::Before(position.saturating_add(1)), numbers)
    }

    /// Moves, and wants another page when an end is near.
    pub(super) fn go(&mut self, step: Step, seen: usize, numbers: &mut Numbers) -> Option<Request> {
        if step == Step::First && !self.is_newest {
            // The newest may be far away: what lies between is not gone through.
            *self = EventList::of(self.stream.take());
            return Some(self.again(numbers));
        }
        let was = self.list.chosen();
        self.list.go(step, seen);
        if self.waits_for.is_some() {
            return None;
        }
        let is_up = matches!(step, Step::Up | Step::PageUp);
        if is_up && !self.is_newest && was <= seen {
            let after = self.list.rows.first().map_or(0, |row| row.last);
            return Some(self.ask(Side::After(after), numbers));
        }
        if !is_up && !self.is_end && self.list.chosen() + seen >= self.list.rows.len() {
            let before = self.list.rows.last()?.first;
            return Some(self.ask(Side::Before(before), numbers));
        }
        None
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_newest && self.list.chosen() == 0
    }

    pub(super) fn take(&mut self, page: EventPage) {
        match page.side {
            Side::Newest => {
                self.list.replace(page.rows);
                (self.is_newest, self.is_end, self.head) = (true, page.is_end, page.head);
            }
            Side::Before(_) => {
                self.is_end = page.is_end;
                if self.list.append(page.rows) {
                    self.is_newest = false;
                }
            }
            Side::After(_) => {
                self.is_newest = page.is_end;
                if page.is_end {
                    self.head = page.head;
                }
                // Whoever stood at the first row wanted to go over it.
                let wants_up = self.list.chosen() == 0 && !page.rows.is_empty();
                if self.list.prepend(page.rows) {
                    self.is_end = false;
                }
                if wants_up {
                    self.list.go(Step::Up, 1);
                }
            }
        }
    }
}
