//! What a projection is, before it is attached to a store: [`Projection`].

use std::fmt;

use annals::{Event, EventStore, FileName, IntoName, NameError, Query};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attached::Attached;
use crate::error::{OnError, ProjectionError};
use crate::fold::{Fold, HandlerResult, Handlers};
use crate::snapshot::{Encoding, Plan};

/// A named fold over the events of a store, with all that is to be known about it.
///
/// It does nothing by itself: [`attach`](Projection::attach) it and
/// [`catch_up`](Attached::catch_up) when you like, or have a thread keep it up to date, with a
/// [`LiveProjection`](crate::LiveProjection).
///
/// ```
/// use std::collections::BTreeMap;
///
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::Projection;
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Noted", "{}"))?;
/// store.append("order-8", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let mut placed = Projection::new("placed")
///     .when("Placed", |orders: &mut BTreeMap<String, u64>, event| {
///         *orders.entry(event.stream.to_owned()).or_default() += 1;
///     })
///     .attach(&store)?;
/// placed.catch_up()?;
/// assert_eq!(placed.state().len(), 2);
/// // What it has no handler for was passed all the same.
/// assert_eq!(placed.position(), store.head());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct Projection<F: Fold> {
    fold: F,
    about: About<F::State>,
}

/// All about a projection but its fold.
pub(crate) struct About<S> {
    pub(crate) name: Result<FileName, NameError>,
    pub(crate) query: Query,
    pub(crate) on_error: OnError,
    pub(crate) strict: bool,
    pub(crate) schema_version: u32,
    pub(crate) snapshots: Option<Plan<S>>,
}

/// A projection whose name and query are good.
pub(crate) struct Definition<S> {
    pub(crate) name: FileName,
    pub(crate) fold: Box<dyn Fold<State = S>>,
    pub(crate) about: About<S>,
}

impl<F: Fold> fmt::Debug for Projection<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { name, query, on_error, schema_version, .. } = &self.about;
        let mut out = out.debug_struct("Projection");
        out.field("name", name).field("query", query).field("on_error", on_error);
        out.field("schema_version", schema_version).finish_non_exhaustive()
    }
}

impl<S: Clone + Default + Send + Sync + 'static> Projection<Handlers<S>> {
    /// A projection of this name, into a state that begins as its default. What it does is said by
    /// [`when`](Projection::when).
    ///
    /// The name is that of its folder, `snap/NAME`, if it keeps snapshots: up to 64 letters, digits, `_`, `-` and `.`.
    /// One that cannot be is reported by [`attach`](Projection::attach).
    pub fn new(name: impl IntoName<FileName>) -> Projection<Handlers<S>> {
        Projection::of(name, Handlers::new(S::default()))
    }
}

impl<S: Clone + Send + Sync + 'static> Projection<Handlers<S>> {
    /// Has events of a type change the state so; see [`Handlers::when`].
    pub fn when<R: HandlerResult>(
        mut self,
        event_type: impl AsRef<str>,
        handler: impl Fn(&mut S, &Event<'_>) -> R + Send + Sync + 'static,
    ) -> Projection<Handlers<S>> {
        self.fold = self.fold.when(event_type, handler);
        self
    }
}

impl<F: Fold> Projection<F> {
    /// A projection of this name that does what `fold` says.
    pub fn of(name: impl IntoName<FileName>, fold: F) -> Projection<F> {
        let about = About {
            name: name.into_name(),
            query: Query::All,
            on_error: OnError::default(),
            strict: false,
            schema_version: 0,
            snapshots: None,
        };
        Projection { fold, about }
    }

    /// Reads only what a query describes, found through the index. Default: every event.
    ///
    /// Worth saying when that is little of the log. The position still moves over everything.
    pub fn query(mut self, query: impl Into<Query>) -> Projection<F> {
        self.about.query = query.into();
        self
    }

    /// What is done about an event that a handler cannot take. Default: [`OnError::Stop`].
    pub fn on_error(mut self, on_error: OnError) -> Projection<F> {
        self.about.on_error = on_error;
        self
    }

    /// Treats an event of a type that no handler knows as one that cannot be taken. Default: it is passed.
    pub fn strict_types(mut self) -> Projection<F> {
        self.about.strict = true;
        self
    }

    /// The version of the state's schema and of what the handlers make of events. Default: 0.
    ///
    /// A snapshot of another version is not used: change it together with the handlers, and the state is folded
    /// from the events again.
    pub fn schema_version(mut self, version: u32) -> Projection<F> {
        self.about.schema_version = version;
        self
    }

    /// Keeps the state in a file after every `events` positions of the log, so that a restart reads only what came
    /// later. Default: it is not kept.
    ///
    /// The newest two are kept ([`keep_snapshots`](Projection::keep_snapshots)), encoded with bincode
    /// ([`json_snapshots`](Projection::json_snapshots)). Each takes a sync of the log, if there is something to sync,
    /// and two or three of its own. A live projection has a thread write a copy of the state, and folds on; one that
    /// falls due meanwhile is taken when that is done, of what the state is then. 0 counts as 1.
    pub fn snapshot_every(mut self, events: u64) -> Projection<F>
    where
        F::State: Serialize + DeserializeOwned,
    {
        self.plan().every = events.max(1);
        self
    }

    /// How many snapshots are kept. Default: 2, so that there is one when the newest is damaged. 0 counts as 1.
    ///
    /// Turns snapshots on, taken only when they are asked for
    /// ([`Attached::take_snapshot`]) unless [`snapshot_every`](Projection::snapshot_every) says otherwise.
    pub fn keep_snapshots(mut self, count: usize) -> Projection<F>
    where
        F::State: Serialize + DeserializeOwned,
    {
        self.plan().keep = count.max(1);
        self
    }

    /// Writes snapshots as JSON, which a person can read. Those that were written as bincode are read all the same.
    /// Turns snapshots on, as [`keep_snapshots`](Projection::keep_snapshots) does.
    pub fn json_snapshots(mut self) -> Projection<F>
    where
        F::State: Serialize + DeserializeOwned,
    {
        self.plan().encoding = Encoding::Json;
        self
    }

    fn plan(&mut self) -> &mut Plan<F::State>
    where
        F::State: Serialize + DeserializeOwned,
    {
        self.about.snapshots.get_or_insert_with(Plan::new)
    }

    /// Attaches it to a store: with the newest of its snapshots that can be used, otherwise at the beginning. Reads no
    /// events yet.
    ///
    /// # Errors
    ///
    /// - [`ProjectionError::NameInUse`] when one of this name is attached and keeps snapshots too.
    /// - [`ProjectionError::HistoryTruncated`] when events that it needs were removed from the log.
    /// - [`ProjectionError::InvalidName`], [`ProjectionError::InvalidQuery`]; [`ProjectionError::Keep`] when its
    ///   folder cannot be listed. A snapshot that cannot be used is no error: see [`Attached::ignored_snapshots`].
    pub fn attach(self, store: &EventStore) -> Result<Attached<F::State>, ProjectionError> {
        Attached::new(store, self.define()?)
    }

    pub(crate) fn define(self) -> Result<Definition<F::State>, ProjectionError> {
        let name = self.about.name.clone()?;
        self.about.query.check()?;
        Ok(Definition { name, fold: Box::new(self.fold), about: self.about })
    }
}
