//! What is read when the values of a [`Plan`] are known. Pure, like the plan.
//!
//! What is always true: an event that each term allows is within what is [`Wanted`].

use annals::{EventId, EventType, Query, QueryItem, StreamId};

use super::columns::Column;
use super::plan::{Op, Plan, Term};
use super::times::{self, Moment};

/// More names than that are not looked up: to go through all events, and let SQLite look each up in its list, is quicker.
const MOST_NAMES: usize = 256;

/// A value that a statement compares with, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// Those of an `IN`.
    List(Vec<Given>),
    /// Bytes, or a text that is none: no name is one.
    Other,
}

impl Given {
    /// How it is written, if it is none of what a time is compared with by people who know what comes of it.
    pub(super) fn no_time(&self) -> Option<String> {
        match self {
            Given::Integer(number) => Some(number.to_string()),
            Given::Real(number) => Some(number.to_string()),
            // Before all times is the empty one.
            Given::Text(text) if text.is_empty() || times::begins_like_a_time(text) => None,
            Given::Text(text) => Some(format!("'{text}'")),
            Given::Null | Given::List(_) | Given::Other => None,
        }
    }
}

/// The events to read. Positions and times are with their ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    pub(super) first: i64,
    pub(super) last: i64,
    /// Times of recording: nanoseconds since 1970 UTC.
    pub(super) earliest: i64,
    pub(super) latest: i64,
    types: Names,
    streams: Names,
    pub(super) id: Option<EventId>,
}

/// Which names: one of these, if there is a list, and beginning so.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Names {
    among: Option<Vec<String>>,
    prefix: String,
}

/// No event can be what is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Nothing;

impl Wanted {
    /// What a plan reads with these values, one for each of its terms, in a log with these positions.
    pub(super) fn new(plan: &Plan, given: &[Given], log: (i64, i64)) -> Result<Wanted, Nothing> {
        let mut wanted = Wanted {
            first: log.0,
            last: log.1,
            earliest: i64::MIN,
            latest: i64::MAX,
            types: Names::default(),
            streams: Names::default(),
            id: None,
        };
        for (Term { column, op }, given) in plan.terms.iter().zip(given) {
            // Whatever is compared with NULL is not true.
            if *given == Given::Null {
                return Err(Nothing);
            }
            match column {
                Column::Position => wanted.narrow_positions(*op, given)?,
                Column::RecordedAt => wanted.narrow_times(*op, given)?,
                Column::Type => wanted.types.narrow(*op, given),
                Column::Stream => wanted.streams.narrow(*op, given),
                Column::Id => wanted.narrow_id(given)?,
                _ => {}
            }
        }
        if wanted.first > wanted.last || wanted.earliest > wanted.latest {
            return Err(Nothing);
        }
        Ok(wanted)
    }

    /// Whether times of recording matter.
    pub(super) fn has_times(&self) -> bool {
        (self.earliest, self.latest) != (i64::MIN, i64::MAX)
    }

    /// Its names, as the store is asked for them.
    pub(super) fn query(&self) -> Result<Query, Nothing> {
        let mut item = QueryItem::new();
        match self.types.checked(|name| EventType::new(name).ok())? {
            Some(types) => item = item.types(types),
            None if self.types.prefix.is_empty() => {}
            None if self.types.prefix.len() > EventType::MAX_LEN => return Err(Nothing),
            None => item = item.type_prefix(&*self.types.prefix),
        }
        match self.streams.checked(stream_id)? {
            Some(streams) => item = streams.into_iter().fold(item, QueryItem::stream),
            None if self.streams.prefix.is_empty() => {}
            None if self.streams.prefix.len() > StreamId::MAX_LEN => return Err(Nothing),
            None => item = item.stream_prefix(&*self.streams.prefix),
        }
        Ok(if item == QueryItem::new() { Query::All } else { item.into() })
    }

    fn narrow_positions(&mut self, op: Op, given: &Given) -> Result<(), Nothing> {
        /// Below this every whole number is a real number, and compares as one.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        // The last whole number that is not above the value, and the first that is not below.
        let (floor, ceiling) = match given {
            Given::Integer(number) => (*number, *number),
            Given::Real(number) if number.abs() < EXACT => (number.floor() as i64, number.ceil() as i64),
            _ => return Ok(()),
        };
        match op {
            Op::Eq if floor != ceiling => return Err(Nothing),
            Op::Eq => (self.first, self.last) = (self.first.max(floor), self.last.min(floor)),
            Op::Gt => self.first = self.first.max(floor.checked_add(1).ok_or(Nothing)?),
            Op::Ge => self.first = self.first.max(ceiling),
            Op::Lt => self.last = self.last.min(ceiling.checked_sub(1).ok_or(Nothing)?),
            Op::Le => self.last = self.last.min(floor),
            Op::In | Op::Glob => {}
        }
        Ok(())
    }

    fn narrow_times(&mut self, op: Op, given: &Given) -> Result<(), Nothing> {
        let Given::Text(text) = given else { return Ok(()) };
        // The last time that does not come behind the text, and the first that does not come before it.
        let (floor, ceiling) = match times::moment(text) {
            Some(Moment::At(time)) => (time, time),
            Some(Moment::JustBefore(time)) => (time.saturating_sub(1), time),
            None => return Ok(()),
        };
        match op {
            Op::Eq if floor != ceiling => return Err(Nothing),
            Op::Eq => (self.earliest, self.latest) = (self.earliest.max(floor), self.latest.min(floor)),
            Op::Gt => self.earliest = self.earliest.max(floor.checked_add(1).ok_or(Nothing)?),
            Op::Ge => self.earliest = self.earliest.max(ceiling),
            Op::Lt => self.latest = self.latest.min(ceiling.checked_sub(1).ok_or(Nothing)?),
            Op::Le => self.latest = self.latest.min(floor),
            Op::In | Op::Glob => {}
        }
        Ok(())
    }

    fn narrow_id(&mut self, given: &Given) -> Result<(), Nothing> {
        let Given::Text(text) = given else { return Ok(()) };
        // Compared as a text: any other way to write the same id is another text.
        let id = text.parse::<EventId>().ok().filter(|id| id.to_string() == *text).ok_or(Nothing)?;
        match self.id.replace(id) {
            Some(other) if other != id => Err(Nothing),
            _ => Ok(()),
        }
    }
}

impl Names {
    fn narrow(&mut self, op: Op, given: &Given) {
        match (op, given) {
            (Op::Eq, Given::Text(name)) => self.keep(std::slice::from_ref(name)),
            (Op::In, Given::List(list)) => {
                let texts = list.iter().filter(|given| **given != Given::Null).map(|given| match given {
                    Given::Text(text) => Some(text.clone()),
                    _ => None,
                });
                // A number is compared as its text, by SQLite.
                if let Some(names) = texts.collect::<Option<Vec<String>>>()
                    && names.len() <= MOST_NAMES
                {
                    self.keep(&names);
                }
            }
            (Op::Glob, Given::Text(pattern)) => match pattern.find(['*', '?', '[']) {
                None => self.keep(std::slice::from_ref(pattern)),
                Some(end) if pattern[..end].starts_with(&self.prefix) => pattern[..end].clone_into(&mut self.prefix),
                Some(_) => {}
            },
            _ => {}
        }
    }

    fn keep(&mut self, names: &[String]) {
        match &mut self.among {
            Some(among) => among.retain(|name| names.contains(name)),
            None => self.among = Some(names.to_vec()),
        }
    }

    /// The names that can be ones, if they are listed: no event has another.
    fn checked<N>(&self, check: impl Fn(&str) -> Option<N>) -> Result<Option<Vec<N>>, Nothing> {
        if self.prefix.contains('\0') {
            return Err(Nothing);
        }
        let Some(among) = &self.among else { return Ok(None) };
        let begins = among.iter().filter(|name| name.starts_with(&self.prefix));
        let names: Vec<N> = begins.filter_map(|name| check(name)).collect();
        if names.is_empty() { Err(Nothing) } else { Ok(Some(names)) }
    }
}

/// The stream of this name, if it can be one; also if it is the store's own.
fn stream_id(name: &str) -> Option<StreamId> {
    match (StreamId::new(name), name.strip_prefix('$')) {
        (Ok(stream), _) => Some(stream),
        // As good as any other but for its first character.
        (Err(_), Some(rest)) => StreamId::new(&format!("_{rest}")).ok().map(|_| StreamId::stored(name)),
        (Err(_), None) => None,
    }
}

#[cfg(test)]
mod tests;
