//! What it costs to check an event with its schema: a buffered append to a store that does, less one to a store that does
//! not; and the check alone.
//!
//! The event has 315 bytes of JSON: an order with a customer and three items, of which the schema says everything: types, bounds,
//! a pattern, a format, required fields, a list of values, and that there is nothing else. Parsing it is part of the check.
//!
//! Aimed at: less than 10 µs.

use std::sync::Arc;

use annals::{Durability, EventStore, ExpectedVersion, NewEvent, Options};
use annals_schema::{NewSchema, Schema, SchemaMode, Schemas};

use crate::bench::{Bench, price};
use crate::turns::{Run, in_turn, timed};

const ORDER: &str = r#"{"order":"order-4711","customer":{"id":42,"name":"Ada Lovelace","email":"ada@example.org"},"items":[{"sku":"A-1","quantity":2,"price":9.5},{"sku":"B-2","quantity":1,"price":20},{"sku":"C-3","quantity":7,"price":1.25}],"total":47.75,"currency":"EUR","note":"leave it with the neighbours please, the bell is broken."}"#;

const SCHEMA: &str = r#"{
    "type": "object",
    "required": ["order", "customer", "items", "total"],
    "properties": {
        "order": {"type": "string", "pattern": "^order-[0-9]+$"},
        "customer": {
            "type": "object",
            "required": ["id", "name"],
            "properties": {
                "id": {"type": "integer", "minimum": 1},
                "name": {"type": "string", "maxLength": 80},
                "email": {"type": "string", "format": "email"}
            },
            "additionalProperties": false
        },
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["sku", "quantity"],
                "properties": {
                    "sku": {"type": "string"},
                    "quantity": {"type": "integer", "minimum": 1},
                    "price": {"type": "number", "minimum": 0}
                },
                "additionalProperties": false
            }
        },
        "total": {"type": "number", "minimum": 0},
        "currency": {"enum": ["EUR", "USD"]},
        "note": {"type": "string"}
    },
    "additionalProperties": false
}"#;

pub(crate) fn measure(bench: &Bench) {
    const EVENTS: usize = 2_000;

    let dir = tempfile::tempdir().expect("a directory");
    let open = |name: &str, mode: SchemaMode| {
        let schemas = Arc::new(Schemas::new(mode));
        // So large that nobody pays for a new segment while it is measured.
        let options = Options::new().durability(Durability::Buffered).segment_bytes(1 << 30);
        let options = if mode == SchemaMode::Off { options } else { options.admission(schemas.clone()) };
        let store = EventStore::open(dir.path().join(name), &options).expect("a store");
        schemas.register(&store, NewSchema::new("Ordered", SCHEMA)).expect("a schema");
        store
    };
    let append = |store: &EventStore| {
        for _ in 0..EVENTS {
            let event = NewEvent::new("Ordered", ORDER);
            store.append("order-4711", ExpectedVersion::Any, event).expect("an append");
        }
    };
    let runs = [SchemaMode::Enforce, SchemaMode::Off].map(|mode| -> Run<'_> {
        let (store, append) = (open(&format!("{mode:?}"), mode), &append);
        Box::new(move || timed(|| append(&store)))
    });
    let seconds = in_turn(bench.rounds(), runs.into());
    price("checked when it is appended", EVENTS, &seconds[0], &seconds[1]);

    let schema = Schema::parse(SCHEMA).expect("a schema");
    let check =
        || (0..EVENTS).for_each(|_| schema.check(std::hint::black_box(ORDER.as_bytes())).expect("a good event"));
    let nothing = || {
        for _ in 0..EVENTS {
            std::hint::black_box(ORDER.as_bytes());
        }
    };
    let runs: Vec<Run<'_>> = vec![Box::new(|| timed(check)), Box::new(|| timed(nothing))];
    let seconds = in_turn(bench.rounds(), runs);
    price("the check alone", EVENTS, &seconds[0], &seconds[1]);
}
