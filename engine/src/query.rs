//! Which events a caller wants: a [`Query`], made of [`QueryItem`]s.
//!
//! ```text
//! query = item OR item OR …
//! item  = (type OR type OR …) AND tag AND tag AND … AND (stream OR stream OR …)
//! ```
//!
//! Nothing here reads anything: [`Query::matches`] is a function of the query
//! and one event. How a reader comes by its events is decided in `read`.

use annals_codec::index::KeyHash;
use annals_codec::{Event, EventType, IntoName, NameError, NameProblem, StreamId, Tag};

use crate::error::QueryError;

/// Which events are wanted.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position, Query, QueryItem};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}").tag("customer:42"))?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}"))?;
/// store.append("invoice-3", ExpectedVersion::Any, NewEvent::new("Sent", "{}"))?;
///
/// // What customer 42 placed, and everything about invoices.
/// let query = Query::Items(vec![
///     QueryItem::new().event_type("Placed").tag("customer:42"),
///     QueryItem::new().stream_prefix("invoice-"),
/// ]);
/// let found: Vec<String> = store
///     .read(query, Position::START)?
///     .map(|event| event.map(|event| event.event_type().to_owned()))
///     .collect::<Result<_, _>>()?;
/// assert_eq!(found, ["Placed", "Sent"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Query {
    /// Every event.
    All,
    /// The events that at least one of these items describes. Without any it is
    /// refused where it is used: say [`Query::All`] to mean all.
    Items(Vec<QueryItem>),
}

impl Query {
    /// Whether it describes this event. A query that is not valid describes none.
    ///
    /// Pure, and the meaning of every reader made by [`EventStore::read`](crate::EventStore::read).
    ///
    /// ```
    /// use annals::{Event, Query, QueryItem};
    ///
    /// let event = Event::new("order-7", "OrderPlaced", b"{}");
    /// assert!(Query::All.matches(&event));
    /// assert!(Query::from(QueryItem::new().type_prefix("Order")).matches(&event));
    /// assert!(!Query::from(QueryItem::new().stream("order-8")).matches(&event));
    /// ```
    pub fn matches(&self, event: &Event<'_>) -> bool {
        match self {
            Query::All => true,
            Query::Items(items) => items.iter().any(|item| item.matches(event)),
        }
    }

    /// Whether it can be used; who uses it asks this first.
    ///
    /// # Errors
    ///
    /// [`QueryError`] says what is wrong with it.
    pub fn check(&self) -> Result<(), QueryError> {
        let Query::Items(items) = self else { return Ok(()) };
        if items.is_empty() {
            return Err(QueryError::NoItems);
        }
        match items.iter().find_map(|item| item.invalid.as_ref()) {
            Some(error) => Err(error.clone().into()),
            None => Ok(()),
        }
    }

    /// Whether it leaves nothing out.
    pub(crate) fn is_everything(&self) -> bool {
        match self {
            Query::All => true,
            Query::Items(items) => items.iter().any(|item| *item == QueryItem::new()),
        }
    }

    /// Its items; [`Query::All`] has none.
    pub(crate) fn items(&self) -> &[QueryItem] {
        match self {
            Query::All => &[],
            Query::Items(items) => items,
        }
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Query {
        Query::Items(vec![item])
    }
}

impl From<Vec<QueryItem>> for Query {
    fn from(items: Vec<QueryItem>) -> Query {
        Query::Items(items)
    }
}

/// One description of events: by type, by tags, by stream, or by several of these.
///
/// What is said about one kind of thing widens it (types, streams) or narrows it
/// (tags), and the kinds narrow each other: an event matches when its type is
/// *one* of the types, it has *all* of the tags, and its stream is *one* of the
/// streams. A kind about which nothing is said does not matter, so an item about
/// which nothing is said at all matches every event.
///
/// A name or prefix that cannot be one is reported when the query is used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct QueryItem {
    pub(crate) types: Vec<Rule<EventType>>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) streams: Vec<Rule<StreamId>>,
    /// The first name that is not one: who uses the query reports it.
    invalid: Option<NameError>,
}

impl QueryItem {
    /// An item that matches every event, to be narrowed.
    pub fn new() -> QueryItem {
        QueryItem::default()
    }

    /// Events of this type, too.
    pub fn event_type(mut self, event_type: impl IntoName<EventType>) -> QueryItem {
        let rule = event_type.into_name().map(Rule::Exact);
        self.types.extend(noting(&mut self.invalid, rule));
        self
    }

    /// Events of each of these types, too. None of them says nothing.
    pub fn types(self, types: impl IntoIterator<Item = impl IntoName<EventType>>) -> QueryItem {
        types.into_iter().fold(self, QueryItem::event_type)
    }

    /// Events whose type begins so, too.
    pub fn type_prefix(mut self, prefix: impl Into<String>) -> QueryItem {
        let rule = prefix_rule("prefix of an event type", EventType::MAX_LEN, prefix.into());
        self.types.extend(noting(&mut self.invalid, rule));
        self
    }

    /// Only events that have this tag. Called again: both, and so on.
    pub fn tag(mut self, tag: impl IntoName<Tag>) -> QueryItem {
        self.tags.extend(noting(&mut self.invalid, tag.into_name()));
        self
    }

    /// Events of this stream, too.
    pub fn stream(mut self, stream: impl IntoName<StreamId>) -> QueryItem {
        let rule = stream.into_name().map(Rule::Exact);
        self.streams.extend(noting(&mut self.invalid, rule));
        self
    }

    /// Events of streams whose names begin so, too.
    pub fn stream_prefix(mut self, prefix: impl Into<String>) -> QueryItem {
        let rule = prefix_rule("prefix of a stream id", StreamId::MAX_LEN, prefix.into());
        self.streams.extend(noting(&mut self.invalid, rule));
        self
    }

    /// Whether its events are of streams that are all told by their names.
    pub(crate) fn names_its_streams(&self) -> bool {
        !self.streams.is_empty() && self.streams.iter().all(|rule| matches!(rule, Rule::Exact(_)))
    }

    /// Whether it may match events where `has` says which names occur; it may say yes of a name
    /// that does not. Where a prefix would do, nothing is asked: who has names hashed knows no prefixes.
    pub(crate) fn may_match_where<E>(&self, mut has: impl FnMut(Name<'_>) -> Result<bool, E>) -> Result<bool, E> {
        for tag in &self.tags {
            if !has(Name::Tag(tag))? {
                return Ok(false);
            }
        }
        Ok(may_be_any(&self.streams, |stream| has(Name::Stream(stream)))?
            && may_be_any(&self.types, |event_type| has(Name::Type(event_type)))?)
    }

    pub(crate) fn matches(&self, event: &Event<'_>) -> bool {
        // A name that was left out must not make the item match more.
        self.invalid.is_none()
            && any(&self.types, event.event_type)
            && any(&self.streams, event.stream)
            && self.tags.iter().all(|wanted| event.tags.iter().any(|tag| tag == &**wanted))
    }
}

/// What a name must be, or how it must begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Rule<N> {
    Exact(N),
    Prefix(Box<str>),
}

impl Name<'_> {
    /// What stands for it in indexes and filters.
    pub(crate) fn hash(self) -> KeyHash {
        match self {
            Name::Stream(name) => KeyHash::stream(name),
            Name::Type(name) => KeyHash::event_type(name),
            Name::Tag(name) => KeyHash::tag(name),
        }
    }
}

/// A name that an item tells exactly, and what it is the name of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Name<'a> {
    Stream(&'a str),
    Type(&'a str),
    Tag(&'a str),
}

fn may_be_any<N, E>(rules: &[Rule<N>], mut has: impl FnMut(&N) -> Result<bool, E>) -> Result<bool, E> {
    for rule in rules {
        match rule {
            Rule::Exact(name) if !has(name)? => {}
            Rule::Exact(_) | Rule::Prefix(_) => return Ok(true),
        }
    }
    Ok(rules.is_empty())
}

fn any<N: AsRef<str>>(rules: &[Rule<N>], name: &str) -> bool {
    let matches = |rule: &Rule<N>| match rule {
        Rule::Exact(wanted) => wanted.as_ref() == name,
        Rule::Prefix(prefix) => name.starts_with(&**prefix),
    };
    rules.is_empty() || rules.iter().any(matches)
}

/// An empty prefix is one: of all names. One with which no name can begin is a mistake.
fn prefix_rule<N>(what: &'static str, max: usize, prefix: String) -> Result<Rule<N>, NameError> {
    if prefix.len() > max {
        return Err(NameError { what, problem: NameProblem::TooLong { len: prefix.len(), max } });
    }
    if prefix.contains('\0') {
        return Err(NameError { what, problem: NameProblem::Nul });
    }
    Ok(Rule::Prefix(prefix.into_boxed_str()))
}

/// What was made, if it could be; otherwise why not, unless something else was wrong before.
fn noting<T>(invalid: &mut Option<NameError>, made: Result<T, NameError>) -> Option<T> {
    made.map_err(|error| invalid.get_or_insert(error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_codec::{Tags, push_tag};

    /// Whether the item matches an event of stream `order-7`, type `OrderPlaced`, tags `a` and `b`.
    #[track_caller]
    fn check_match(item: QueryItem, expected: bool) {
        let mut tags = Vec::new();
        for tag in ["a", "b"] {
            push_tag(&mut tags, &Tag::new(tag).unwrap());
        }
        let mut event = Event::new("order-7", "OrderPlaced", b"");
        event.tags = Tags::from_encoded(&tags);
        let query = Query::from(item);
        assert_eq!(query.matches(&event), expected, "{query:?}");
    }

    fn item() -> QueryItem {
        QueryItem::new()
    }

    #[test]
    fn an_item_about_which_nothing_is_said_matches_everything() {
        check_match(item(), true);
        check_match(item().types([""; 0]), true);
    }

    #[test]
    fn types_widen_each_other_exact_and_by_prefix() {
        check_match(item().event_type("OrderPlaced"), true);
        check_match(item().event_type("Order"), false);
        check_match(item().event_type("OrderPlacedTwice"), false);
        check_match(item().type_prefix("Order"), true);
        check_match(item().type_prefix("OrderPlaced"), true);
        check_match(item().type_prefix("order"), false);
        check_match(item().type_prefix(""), true);
        check_match(item().types(["Paid", "OrderPlaced"]), true);
        check_match(item().event_type("Paid").type_prefix("Ord"), true);
        check_match(item().event_type("Paid").type_prefix("Pa"), false);
    }

    #[test]
    fn streams_widen_each_other_exact_and_by_prefix() {
        check_match(item().stream("order-7"), true);
        check_match(item().stream("order-"), false);
        check_match(item().stream_prefix("order-"), true);
        check_match(item().stream_prefix("order-70"), false);
        check_match(item().stream("order-8").stream("order-7"), true);
        check_match(item().stream("order-8").stream_prefix("invoice-"), false);
    }

    #[test]
    fn tags_narrow_each_other_and_are_exact() {
        check_match(item().tag("a"), true);
        check_match(item().tag("b").tag("a"), true);
        check_match(item().tag("a").tag("c"), false);
        check_match(item().tag("A"), false);
    }

    #[test]
    fn types_tags_and_streams_narrow_each_other() {
        check_match(item().event_type("OrderPlaced").tag("a").stream("order-7"), true);
        check_match(item().event_type("Paid").tag("a").stream("order-7"), false);
        check_match(item().event_type("OrderPlaced").tag("c").stream("order-7"), false);
        check_match(item().event_type("OrderPlaced").tag("a").stream("order-8"), false);
    }

    #[test]
    fn items_widen_each_other() {
        let event = Event::new("order-7", "OrderPlaced", b"");
        let (yes, no) = (item().stream("order-7"), item().event_type("Paid"));
        assert!(Query::from(vec![no.clone(), yes.clone()]).matches(&event));
        assert!(Query::from(vec![yes, no.clone()]).matches(&event));
        assert!(!Query::from(vec![no.clone(), no]).matches(&event));
    }

    #[test]
    fn a_query_that_is_not_valid_says_why_and_matches_nothing() {
        let long = "x".repeat(600);
        for (item, why) in [
            (item().event_type(""), "event type is empty"),
            (item().types(["Paid", "a\0"]), "event type contains a NUL character"),
            (item().type_prefix("a\0"), "prefix of an event type contains a NUL character"),
            (item().type_prefix(&long[..256]), "prefix of an event type is 256 bytes long; at most 255 are allowed"),
            (item().tag(""), "tag is empty"),
            (item().tag(&long[..256]).tag(""), "tag is 256 bytes long; at most 255 are allowed"),
            (item().stream("$all"), "stream id begins with '$', which is reserved for the store"),
            (item().stream_prefix(&long[..513]), "prefix of a stream id is 513 bytes long; at most 512 are allowed"),
        ] {
            let query = Query::from(vec![QueryItem::new().event_type("Paid"), item.clone()]);
            assert_eq!(query.check().unwrap_err().to_string(), why);
            assert!(!item.matches(&Event::new("order-7", "OrderPlaced", b"")), "{why}");
        }
        assert_eq!(Query::Items(Vec::new()).check(), Err(QueryError::NoItems));
        assert!(!Query::Items(Vec::new()).matches(&Event::new("order-7", "OrderPlaced", b"")));
        assert_eq!(Query::All.check(), Ok(()));
        let widest = item().type_prefix(&long[..255]).stream_prefix(&long[..512]).stream_prefix("$");
        assert_eq!(Query::from(widest).check(), Ok(()));
    }

    #[test]
    fn a_query_leaves_nothing_out_when_one_of_its_items_does_not() {
        assert!(Query::All.is_everything());
        assert!(Query::from(vec![item().tag("a"), item()]).is_everything());
        assert!(!Query::from(vec![item().tag("a"), item().stream_prefix("")]).is_everything());
        assert!(!Query::Items(Vec::new()).is_everything());
        assert!(!Query::from(item().tag("")).is_everything(), "it is not valid");
    }

    #[test]
    fn an_item_may_match_where_all_its_tags_and_one_name_of_each_other_kind_occur() {
        let there = [Name::Tag("a"), Name::Tag("b"), Name::Stream("order-7"), Name::Type("Paid")];
        let may = |item: QueryItem| item.may_match_where(|name| Ok::<_, ()>(there.contains(&name))).unwrap();
        assert!(may(item()));
        assert!(may(item().tag("a").tag("b").stream("order-7").event_type("Paid")));
        assert!(!may(item().tag("a").tag("c")));
        assert!(!may(item().tag("Paid")), "a type is no tag");
        assert!(may(item().stream("order-8").stream("order-7")));
        assert!(!may(item().stream("order-8").event_type("Paid")));
        assert!(!may(item().stream("order-7").event_type("Placed")));
        assert!(may(item().stream("order-8").stream_prefix("none")), "of a prefix nobody knows");
        assert!(may(item().type_prefix("none").event_type("Placed")));
    }
}
