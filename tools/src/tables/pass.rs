//! One pass over the log into a table, from where the table has come to the end, or for ever.
//!
//! What is always true:
//!
//! - The table moves only to a position whose history can be told ([`EventStore::mark`]): the next run finds out whether
//!   it is still the same.
//! - Each position up to there has a row, or stands in quarantine with the reason; what was to be read and could not be
//!   is counted.
//! - What the log says is redacted is redacted in the table in the same step as the row that says so.

use std::time::{Duration, Instant};

use annals::{Delivery, Event, EventStore, KeepError, Mark, Position, Query, ReadError, SubscribeError};
use annals_codec::{ContentType, Redaction};
use serde::de::IgnoredAny;

use super::{IndexOptions, Indexed, News, OnBad, TableError};

/// What is kept in memory until a step is done, at most, in bytes of data and metadata.
const MOST_BYTES: u64 = 32 << 20;

/// How long a step may take while a writer appends faster than rows are made.
const LONGEST: Duration = Duration::from_millis(200);

/// A table that is made of the log. Everything between two [`commit`](Table::commit)s happens as a whole or not at all.
pub(super) trait Table {
    /// Up to where it has come, and in which history.
    fn mark(&self) -> Mark;
    /// What is wrong with an event by what the table knows of its type.
    fn misfit(&self, _event: &Event<'_>) -> Option<String> {
        None
    }
    /// Adds the row of an event.
    fn put(&mut self, event: &Event<'_>) -> Result<(), TableError>;
    /// Takes data and metadata out of the rows of these positions, as far as there are such rows.
    fn redact(&mut self, positions: &[Position]) -> Result<(), TableError>;
    /// Notes that a position is bad.
    fn quarantine(&mut self, position: Position, reason: &str) -> Result<(), TableError>;
    /// The positions up to where it has come that have no row, because they could not be read.
    fn unread(&mut self) -> Result<Vec<Position>, TableError>;
    /// Adds the row of one of them.
    fn mend(&mut self, event: &Event<'_>) -> Result<(), TableError>;
    /// Forgets what is in quarantine behind where it has come; whether there was anything.
    fn forget_beyond(&mut self) -> Result<bool, TableError>;
    /// Takes out all that is behind a position; the number of rows.
    fn cut(&mut self, after: Position) -> Result<u64, TableError>;
    /// The events that have a row, and are bad by what was learned since they got it; asked before a [`commit`](Table::commit).
    fn reconsider(&mut self) -> Result<Vec<(Position, String)>, TableError> {
        Ok(Vec::new())
    }
    /// Makes all of this last, with the position.
    fn commit(&mut self, mark: Mark) -> Result<(), TableError>;
}

/// Where a table that is new begins: at the oldest event that the log has.
pub(super) fn beginning(store: &EventStore) -> Result<Mark, TableError> {
    store.mark(store.oldest().before()).map_err(TableError::History)
}

/// Brings a table up to date. `told` hears of it, and says whether to go on. Whether it came to the end of the log.
pub(super) fn run<T: Table>(
    store: &EventStore,
    table: &mut T,
    options: &IndexOptions,
    done: &mut Indexed,
    told: &mut dyn FnMut(News<'_>) -> bool,
) -> Result<bool, TableError> {
    let mark = table.mark();
    store.check_mark("the table", &mark).map_err(|error| match error {
        KeepError::Truncated { oldest } => TableError::Gap { reached: mark.position, oldest },
        KeepError::Read(error) => TableError::Read(error),
        error => TableError::History(error),
    })?;
    done.position = mark.position;
    let mut pass = Pass {
        until: store.head(),
        reached: mark.position,
        accounted: mark.position,
        why: String::new(),
        is_changed: false,
        is_at_end: false,
        events: 0,
        bytes: 0,
        began: Instant::now(),
        store,
        table,
        options,
        done,
        told,
    };
    pass.mend()?;
    pass.go_on()?;
    Ok(pass.is_at_end)
}

struct Pass<'a, T> {
    store: &'a EventStore,
    table: &'a mut T,
    options: &'a IndexOptions,
    done: &'a mut Indexed,
    told: &'a mut dyn FnMut(News<'_>) -> bool,
    /// Where the log ended when it began.
    until: Position,
    /// The last event that has a row.
    reached: Position,
    /// Up to where each position has a row or is in quarantine.
    accounted: Position,
    /// Why something could not be read, the last time.
    why: String,
    /// Whether there is anything to commit, and how much.
    is_changed: bool,
    /// Whether the log's end was reached, as it was then.
    is_at_end: bool,
    events: u64,
    bytes: u64,
    began: Instant,
}

impl<T: Table> Pass<'_, T> {
    /// Tries once more what could not be read: somebody may have brought back the files.
    fn mend(&mut self) -> Result<(), TableError> {
        // What was found behind the last row is found again.
        self.is_changed = self.table.forget_beyond()?;
        for position in self.table.unread()? {
            if let Ok(Some(event)) = self.store.get(position) {
                let event = event.as_event();
                self.table.mend(&event)?;
                self.is_changed = true;
                self.events += 1;
                if let Some(reason) = self.fault(&event) {
                    self.bad(position, reason)?;
                }
            }
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), TableError> {
        let reached = self.reached;
        let mut subscription = self.store.subscribe(reached, Query::All).map_err(|error| match error {
            SubscribeError::Truncated { oldest } => TableError::Gap { reached, oldest },
            SubscribeError::PositionBeyondHead { position, head } => {
                TableError::History(KeepError::PositionBeyondHead { position, head })
            }
            SubscribeError::Read(error) => TableError::Read(error),
            error => TableError::Io {
                action: "follow the log for",
                file: std::path::PathBuf::from("the table"),
                source: std::io::Error::other(error),
            },
        })?;
        if self.options.on_bad == OnBad::Quarantine {
            subscription = subscription.skip_damaged();
        }
        loop {
            let item = match subscription.try_next() {
                Ok(None) => {
                    // Nothing for the moment: what was found is to be seen.
                    self.settle()?;
                    subscription.next_item()
                }
                item => item,
            };
            let goes_on = match item {
                Ok(Some(Delivery::Event(event))) => self.event(&event)?,
                Ok(Some(Delivery::CaughtUp(_))) => {
                    self.settle()?;
                    self.is_at_end = true;
                    (self.told)(News::CaughtUp(*self.done)) && self.options.follow
                }
                Ok(Some(_)) => true,
                Ok(None) => false,
                Err(error) => self.unreadable(error)?,
            };
            if !goes_on {
                return self.settle();
            }
        }
    }

    /// Takes in an event; whether to go on.
    fn event(&mut self, event: &Event<'_>) -> Result<bool, TableError> {
        if self.events == 0 {
            self.began = Instant::now();
        }
        // Whatever a reader passes over without a word is told.
        let why = std::mem::take(&mut self.why);
        self.quarantine_up_to(event.position.before(), &why)?;
        if let Some(reason) = self.fault(event) {
            if self.options.on_bad == OnBad::Stop {
                self.settle()?;
            }
            self.bad(event.position, reason)?;
        }
        self.table.put(event)?;
        (self.reached, self.accounted, self.is_changed) = (event.position, event.position, true);
        self.events += 1;
        self.bytes += (event.data.len() + event.metadata.map_or(0, <[u8]>::len)) as u64;
        if event.stream == Redaction::STREAM && event.event_type == Redaction::EVENT_TYPE {
            self.redact(event)?;
        }
        let is_late = || self.events.is_multiple_of(256) && self.began.elapsed() > LONGEST;
        let is_full = self.events >= self.options.batch || self.bytes >= MOST_BYTES;
        let is_last = !self.options.follow && event.position == self.until;
        self.is_at_end |= is_last;
        if is_last || is_full || (self.options.follow && is_late()) {
            return Ok(self.commit()? && !is_last);
        }
        Ok(true)
    }

    fn redact(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        let Some(told) = Redaction::decode(event.data) else {
            // Going on would leave in the table what is to be gone.
            let reason = "it says what is redacted in a way that this program does not know".to_owned();
            return Err(TableError::Bad { position: event.position, reason });
        };
        let positions: Vec<Position> = told.events.into_iter().map(|(position, _)| position).collect();
        self.table.redact(&positions)
    }

    /// What is wrong with an event that could be read.
    fn fault(&self, event: &Event<'_>) -> Option<String> {
        no_json(event.content_type, event.data).or_else(|| self.table.misfit(event))
    }

    /// What is to be done about an event with which something is wrong.
    fn bad(&mut self, position: Position, reason: String) -> Result<(), TableError> {
        match self.options.on_bad {
            OnBad::Stop => Err(TableError::Bad { position, reason }),
            OnBad::Quarantine => self.quarantine(position, &reason),
        }
    }

    fn quarantine(&mut self, position: Position, reason: &str) -> Result<(), TableError> {
        self.table.quarantine(position, reason)?;
        self.is_changed = true;
        self.done.quarantined += 1;
        _ = (self.told)(News::Quarantined { position, reason });
        Ok(())
    }

    /// All positions up to `last` that nothing is known of.
    fn quarantine_up_to(&mut self, last: Position, reason: &str) -> Result<(), TableError> {
        while self.accounted < last {
            self.accounted = self.accounted.plus(1);
            self.quarantine(self.accounted, if reason.is_empty() { "it cannot be read" } else { reason })?;
        }
        Ok(())
    }

    /// What cannot be read; whether to go on.
    fn unreadable(&mut self, error: ReadError) -> Result<bool, TableError> {
        match error {
            ReadError::Corrupt(damage) if self.options.on_bad == OnBad::Quarantine => {
                self.why = damage.to_string();
                let (last, why) = (damage.to.unwrap_or(damage.from), self.why.clone());
                self.quarantine_up_to(last, &why)?;
                Ok(true)
            }
            ReadError::Truncated { oldest } => {
                self.settle()?;
                Err(TableError::Gap { reached: self.reached, oldest })
            }
            error => {
                self.settle()?;
                Err(TableError::Read(error))
            }
        }
    }

    /// Makes it last what was found, if its end can be told; whether to go on.
    fn commit(&mut self) -> Result<bool, TableError> {
        match self.store.mark(self.reached) {
            Ok(mark) => self.commit_at(mark),
            // The end of the batch is damaged. Behind it there is one that is not.
            Err(KeepError::Read(ReadError::Corrupt(_))) if self.options.on_bad == OnBad::Quarantine => Ok(true),
            Err(_) => self.settle().map(|()| true),
        }
    }

    /// The same where nothing more is to come: as far as that can be told.
    fn settle(&mut self) -> Result<(), TableError> {
        if !self.is_changed {
            return Ok(());
        }
        let error = match self.store.mark(self.reached) {
            Ok(mark) => return self.commit_at(mark).map(drop),
            Err(KeepError::Read(error)) => error,
            Err(error) => return Err(TableError::History(error)),
        };
        let (begun, mut step) = (self.table.mark(), 1);
        let mark = loop {
            match self.reached.get().checked_sub(step).map(Position::new).filter(|back| *back > begun.position) {
                None => break begun,
                Some(back) => match self.store.mark(back) {
                    Ok(mark) => break mark,
                    Err(_) => step *= 2,
                },
            }
        };
        self.events -= self.table.cut(mark.position)?.min(self.events);
        (self.reached, self.accounted) = (mark.position, mark.position);
        self.commit_at(mark)?;
        Err(TableError::Read(error))
    }

    fn commit_at(&mut self, mark: Mark) -> Result<bool, TableError> {
        for (position, reason) in self.table.reconsider()? {
            self.bad(position, reason)?;
        }
        self.table.commit(mark)?;
        self.done.position = mark.position;
        self.done.events += std::mem::take(&mut self.events);
        (self.is_changed, self.bytes) = (false, 0);
        Ok((self.told)(News::Reached(*self.done)))
    }
}

/// What is wrong with a payload that is said to be JSON.
pub(super) fn no_json(content_type: ContentType, data: &[u8]) -> Option<String> {
    if content_type != ContentType::JSON || data.is_empty() {
        return None;
    }
    let why = match std::str::from_utf8(data) {
        Ok(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) if is_too_deep(text) => format!("it is nested deeper than {DEEPEST} levels"),
            Ok(_) => return None,
            Err(error) => error.to_string(),
        },
        // A parser that keeps nothing of a text does not look into it.
        Err(error) => error.to_string(),
    };
    Some(format!("its data is said to be JSON, and is not: {why}"))
}

/// So many levels SQLite follows; what is deeper is no JSON to it.
const DEEPEST: usize = 1000;

/// Whether values lie deeper within each other, in what is JSON.
fn is_too_deep(json: &str) -> bool {
    if json.len() <= 2 * DEEPEST {
        return false;
    }
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_text => depth -= 1,
            _ => {}
        }
    }
    deepest > DEEPEST
}
