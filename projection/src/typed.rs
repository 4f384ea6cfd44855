//! Events as values of a Rust enum: a variant for each event type.
//!
//! There is no macro. serde knows the names of the variants, and those are the event types; the payload of a
//! variant is its content as JSON.

use std::fmt;
use std::marker::PhantomData;

use annals::{ContentType, Event, NewEvent};
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use crate::fold::{Fold, HandlerError};

/// What is done about an event whose type is none of the enum's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unknown {
    /// It is passed: it is none of the enum's business.
    #[default]
    Pass,
    /// It is an error: the enum is to know all there is.
    Refuse,
}

/// What is done about an event whose payload was taken out ([`EventStore::redact`](annals::EventStore::redact)), and which
/// cannot be read without.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhenRedacted {
    /// It is an error: a state that is folded without it is another one than before, and somebody is to have said so.
    #[default]
    Refuse,
    /// It is passed, as if it had not happened.
    Pass,
}

/// An enum whose variants are events.
///
/// The names of the variants are the event types (`#[serde(rename = "…")]` gives another), their content is the
/// payload as JSON. Older payloads are brought up to date by [`Upcasters`](crate::Upcasters), or by serde's defaults.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, Options, StreamVersion};
/// use annals_projection::TypedEvents;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Deserialize, PartialEq, Serialize)]
/// enum Account {
///     Opened { owner: String },
///     Deposited { amount: u64 },
///     Closed,
/// }
///
/// impl TypedEvents for Account {}
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("account-1", ExpectedVersion::Any, Account::Deposited { amount: 100 }.to_event()?)?;
/// let event = store.get(store.head())?.unwrap();
/// assert_eq!((event.event_type(), &event.data()[..]), ("Deposited", &br#"{"amount":100}"#[..]));
/// assert_eq!(Account::from_event(&event.as_event())?, Some(Account::Deposited { amount: 100 }));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait TypedEvents: Serialize + DeserializeOwned {
    /// The schema version that is written with each event.
    const SCHEMA_VERSION: u16 = 1;

    /// What is done about an event of another type.
    const UNKNOWN: Unknown = Unknown::Pass;

    /// What is done about an event that is redacted. A variant without content needs no payload, and is read.
    const REDACTED: WhenRedacted = WhenRedacted::Refuse;

    /// The event to append.
    ///
    /// # Errors
    ///
    /// When the value is no variant of an enum, or its content cannot be JSON.
    fn to_event(&self) -> Result<NewEvent, HandlerError> {
        let (event_type, data) = match serde_json::to_value(self)? {
            Value::String(name) => (name, Vec::new()),
            Value::Object(variant) if variant.len() == 1 => {
                let (name, content) = variant.into_iter().next().ok_or("it has one")?;
                (name, serde_json::to_vec(&content)?)
            }
            _ => {
                return Err(
                    "only an enum in serde's own form can be events: its variants' names are their types".into()
                );
            }
        };
        Ok(NewEvent::new(event_type, data).content_type(ContentType::JSON).schema_version(Self::SCHEMA_VERSION))
    }

    /// The value of an event; `None` when its type is none of this enum's, and those are [passed](Unknown::Pass), or
    /// its payload was redacted, and that is [passed](WhenRedacted::Pass). Events of the store's own streams, which
    /// begin with `$`, are none of the enum's business.
    ///
    /// # Errors
    ///
    /// When its payload is not that of its type, or its type is unknown and such are [refused](Unknown::Refuse), or
    /// its payload was redacted and that is [refused](WhenRedacted::Refuse).
    fn from_event(event: &Event<'_>) -> Result<Option<Self>, HandlerError> {
        match Self::deserialize(Tagged { event_type: event.event_type, data: event.data }) {
            Ok(value) => Ok(Some(value)),
            Err(NotRead::Unknown) if Self::UNKNOWN == Unknown::Pass || event.stream.starts_with('$') => Ok(None),
            Err(NotRead::Unknown) => Err(format!("{} is none of the types that are known", event.event_type).into()),
            Err(NotRead::Payload(_)) if event.redacted => match Self::REDACTED {
                WhenRedacted::Pass => Ok(None),
                WhenRedacted::Refuse => Err(NotRead::Redacted.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// A [`Fold`] of typed events.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, Options};
/// use annals_projection::{Projection, Typed, TypedEvents};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// enum Account {
///     Deposited { amount: i64 },
///     Withdrawn { amount: i64 },
/// }
///
/// impl TypedEvents for Account {}
///
/// let store = EventStore::in_memory(&Options::new())?;
/// for event in [Account::Deposited { amount: 100 }, Account::Withdrawn { amount: 30 }] {
///     store.append("account-1", ExpectedVersion::Any, event.to_event()?)?;
/// }
/// let total = Typed::new(0, |total: &mut i64, account: Account, _event| match account {
///     Account::Deposited { amount } => *total += amount,
///     Account::Withdrawn { amount } => *total -= amount,
/// });
/// let mut total = Projection::of("total", total).attach(&store)?;
/// total.catch_up()?;
/// assert_eq!(*total.state(), 70);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct Typed<E, S, H> {
    initial: S,
    handler: H,
    events: PhantomData<fn() -> E>,
}

impl<E, S: fmt::Debug, H> fmt::Debug for Typed<E, S, H> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Typed").field("initial", &self.initial).finish_non_exhaustive()
    }
}

impl<E, S, H, R> Typed<E, S, H>
where
    H: Fn(&mut S, E, &Event<'_>) -> R,
{
    /// A fold from this state, of these events, each with the event as it was recorded.
    pub fn new(initial: S, handler: H) -> Typed<E, S, H> {
        Typed { initial, handler, events: PhantomData }
    }
}

impl<E, S, H, R> Fold for Typed<E, S, H>
where
    E: TypedEvents + 'static,
    S: Clone + Send + Sync + 'static,
    H: Fn(&mut S, E, &Event<'_>) -> R + Send + Sync + 'static,
    R: crate::fold::HandlerResult,
{
    type State = S;

    fn initial(&self) -> S {
        self.initial.clone()
    }

    fn apply(&self, state: &mut S, event: &Event<'_>) -> Result<(), HandlerError> {
        match E::from_event(event)? {
            Some(value) => (self.handler)(state, value, event).into_result(),
            None => Ok(()),
        }
    }

    fn knows(&self, event_type: &str) -> bool {
        // An unknown type is told before the payload is looked at.
        !matches!(E::deserialize(Tagged { event_type, data: b"" }), Err(NotRead::Unknown))
    }
}

/// Why an event is no value of an enum.
#[derive(Debug, thiserror::Error)]
enum NotRead {
    #[error("none of its types")]
    Unknown,
    #[error("the payload is not that of its type: {0}")]
    Payload(String),
    #[error("the event is redacted: its payload is gone. TypedEvents::REDACTED says whether such events are passed")]
    Redacted,
}

impl de::Error for NotRead {
    fn custom<T: fmt::Display>(message: T) -> NotRead {
        NotRead::Payload(message.to_string())
    }
}

impl From<serde_json::Error> for NotRead {
    fn from(error: serde_json::Error) -> NotRead {
        NotRead::Payload(error.to_string())
    }
}

/// An event as serde sees it: the name of a variant, and its content as JSON.
struct Tagged<'a> {
    event_type: &'a str,
    data: &'a [u8],
}

impl<'de> Deserializer<'de> for Tagged<'_> {
    type Error = NotRead;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NotRead> {
        Err(de::Error::custom("only an enum in serde's own form can be events"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotRead> {
        if !variants.contains(&self.event_type) {
            return Err(NotRead::Unknown);
        }
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de, 'a> EnumAccess<'de> for Tagged<'a> {
    type Error = NotRead;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'a>), NotRead> {
        let name: StrDeserializer<'_, NotRead> = self.event_type.into_deserializer();
        Ok((seed.deserialize(name)?, Content(self.data)))
    }
}

/// The content of a variant.
struct Content<'a>(&'a [u8]);

impl Content<'_> {
    fn read<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::IoRead<&[u8]>>) -> serde_json::Result<T>,
    ) -> Result<T, NotRead> {
        let mut json = serde_json::Deserializer::from_reader(self.0);
        let value = read(&mut json)?;
        json.end()?;
        Ok(value)
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = NotRead;

    fn unit_variant(self) -> Result<(), NotRead> {
        // Whatever else it says is more than is asked for.
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, NotRead> {
        self.read(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, NotRead> {
        self.read(|json| json.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, NotRead> {
        self.read(|json| json.deserialize_struct("", fields, visitor))
    }
}
