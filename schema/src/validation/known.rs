//! The schemas that the log holds, as one picture of a moment: read from the stream `$schema`, and read on when it grows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use annals::{Event, EventStore, EventType, LogId, OwnStream, ReadError, StreamVersion};
use hashbrown::HashMap;

use crate::registration::{RegisteredSchema, Registration};
use crate::validation::refused::Fault;
use crate::validation::schema::Schema;

/// One version of the schema of a type.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) registered: RegisteredSchema,
    /// `None` where the log has something that this program cannot use.
    pub(crate) schema: Option<Schema>,
}

/// All versions of one type.
pub(crate) type Versions = BTreeMap<u16, Arc<Version>>;

/// All schemas of a log, up to a version of its stream.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) log_id: LogId,
    /// How far the stream was read.
    pub(crate) version: StreamVersion,
    /// How many times the store had appended to such a stream before it was read.
    pub(crate) own_appends: u64,
    pub(crate) types: HashMap<Box<str>, Versions>,
}

impl Known {
    /// What a log holds now.
    pub(crate) fn load(store: &EventStore) -> Result<Known, ReadError> {
        let nothing =
            Known { log_id: store.log_id(), version: StreamVersion::EMPTY, own_appends: 0, types: HashMap::new() };
        nothing.extended(store)
    }

    /// The same, and what was registered since.
    pub(crate) fn extended(&self, store: &EventStore) -> Result<Known, ReadError> {
        // Before the stream is read: what comes in meanwhile is read, and then once more.
        let own_appends = store.own_appends();
        let mut known = Known { own_appends, ..self.clone() };
        // Retention carries registrations to the end of the log, so what was removed comes again behind it.
        let mut reader = store.read_own(OwnStream::Schemas, self.version).allow_truncated();
        while let Some(event) = reader.next_event()? {
            known.version = event.version;
            match Registration::of_event(&event) {
                Ok(registration) => known.add(&event, registration),
                Err(problem) => {
                    tracing::warn!(position = %event.position, problem, "an event of $schema says nothing about a schema");
                }
            }
        }
        Ok(known)
    }

    fn add(&mut self, event: &Event<'_>, registration: Registration) {
        // What retention has carried on says when it was said first.
        let (position, recorded_at) = (event.position, event.occurred_at.unwrap_or(event.recorded_at));
        let versions = self.types.entry_ref(&*registration.event_type).or_default();
        match versions.entry(registration.version) {
            Entry::Vacant(place) => {
                let parsed = Schema::parse(&registration.schema);
                let fault = parsed.as_ref().err().map(ToString::to_string);
                let registered = RegisteredSchema { registration, position, recorded_at, fault };
                place.insert(Arc::new(Version { registered, schema: parsed.ok() }));
            }
            // The first counts. Where it stands now, it stays longer.
            Entry::Occupied(mut place) if place.get().registered.registration == registration => {
                let Version { registered, schema } = &**place.get();
                let registered = RegisteredSchema { position, ..registered.clone() };
                *place.get_mut() = Arc::new(Version { registered, schema: schema.clone() });
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Whether nothing was registered in `store` since this was read.
    pub(crate) fn is_of_now(&self, store: &EventStore) -> Result<bool, ReadError> {
        if self.log_id != store.log_id() {
            return Ok(false);
        }
        if store.is_read_only() {
            return Ok(store.own_version(OwnStream::Schemas)? == self.version);
        }
        Ok(store.own_appends() == self.own_appends)
    }

    /// Whether an event is what its schema asks for.
    pub(crate) fn check(&self, event: &Event<'_>) -> Result<(), Fault> {
        let Some(versions) = self.types.get(event.event_type) else {
            let similar = self.similar(event.event_type);
            return Err(Fault::UnknownType { event_type: event.event_type.to_owned(), similar });
        };
        let version = version_of(event);
        let Some(found) = versions.get(&version) else {
            return Err(Fault::UnknownVersion { version, known: versions.keys().copied().collect() });
        };
        if event.content_type == annals::ContentType::ENCRYPTED {
            return Err(Fault::Encrypted);
        }
        match &found.schema {
            Some(schema) => schema.check(event.data).map_err(|unfit| Fault::of(version, unfit)),
            None => {
                let problem = found.registered.fault.clone().unwrap_or_default();
                Err(Fault::Unusable { version, problem })
            }
        }
    }

    /// A type with a schema whose name differs from this one in the case of letters and in signs alone.
    fn similar(&self, name: &str) -> Option<EventType> {
        let plain = |name: &str| -> String {
            name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let wanted = plain(name);
        let found = self.types.values().filter_map(|versions| versions.values().next());
        found.map(|version| &version.registered.registration.event_type).find(|known| plain(known) == wanted).cloned()
    }

    /// Everything that is registered, by the name of the type and then by the version.
    pub(crate) fn list(&self) -> Vec<RegisteredSchema> {
        let mut types: Vec<(&str, &Versions)> = self.types.iter().map(|(name, versions)| (&**name, versions)).collect();
        types.sort_unstable_by_key(|(name, _)| *name);
        types.iter().flat_map(|(_, versions)| versions.values()).map(|version| version.registered.clone()).collect()
    }
}

/// The version of the schema of an event: what it says, and 1 where it says nothing. Upcasters of typed events count so, too.
pub(crate) fn version_of(event: &Event<'_>) -> u16 {
    event.schema_version.max(1)
}
