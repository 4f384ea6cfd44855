//! The questions, one to a file.

mod appends;
mod condition;
mod disk;
pub(crate) mod memory;
mod open;
mod point;
mod reads;
mod streams;
mod unique_id;

use crate::bench::Bench;

/// Something to be measured.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) asks: &'static str,
    pub(crate) measure: fn(&Bench),
}

pub(crate) const ALL: &[Question] = &[
    Question { name: "durable", asks: "what does a durable append cost?", measure: appends::durable },
    Question { name: "buffered", asks: "what does a buffered append cost?", measure: appends::buffered },
    Question { name: "read", asks: "how fast is everything read?", measure: reads::measure },
    Question { name: "streams", asks: "how fast is one stream read, of many?", measure: streams::measure },
    Question { name: "point", asks: "how fast is one event found?", measure: point::measure },
    Question { name: "open", asks: "how long does opening take, and what does it read?", measure: open::measure },
    Question { name: "memory", asks: "does memory grow with the number of streams?", measure: memory::measure },
    Question { name: "disk", asks: "how many bytes does an event take on the disk?", measure: disk::measure },
    Question { name: "condition", asks: "what does a condition cost an append?", measure: condition::measure },
    Question {
        name: "unique-id",
        asks: "what does an id of the caller's cost an append?",
        measure: unique_id::measure,
    },
];
