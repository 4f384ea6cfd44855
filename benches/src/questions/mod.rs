//! The questions, one to a file.

mod appends;
mod condition;
mod copies;
mod disk;
mod folding;
pub(crate) mod growth;
mod hash_chain;
mod latency;
pub(crate) mod memory;
mod metrics;
mod open;
mod point;
mod reads;
mod repair;
#[cfg(feature = "sql")]
mod sql;
pub(crate) mod stores;
mod streams;
pub(crate) mod sustained;
#[cfg(feature = "sql")]
mod tables;
mod truncate;
mod unique_id;
#[cfg(feature = "schema")]
mod validation;

use crate::bench::Bench;

/// Something to be measured.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) asks: &'static str,
    pub(crate) measure: fn(&Bench),
    /// Whether it takes so long that it is asked only by its name.
    pub(crate) is_long: bool,
}

impl Question {
    const fn new(name: &'static str, asks: &'static str, measure: fn(&Bench)) -> Question {
        Question { name, asks, measure, is_long: false }
    }

    const fn long(name: &'static str, asks: &'static str, measure: fn(&Bench)) -> Question {
        Question { name, asks, measure, is_long: true }
    }
}

pub(crate) const ALL: &[Question] = &[
    Question::new("durable", "what does a durable append cost?", appends::durable),
    Question::new("buffered", "what does a buffered append cost?", appends::buffered),
    Question::new("read", "how fast is everything read?", reads::measure),
    Question::new("streams", "how fast is one stream read, of many?", streams::measure),
    Question::new("point", "how fast is one event found?", point::measure),
    Question::new("folding", "how fast is everything folded, and how soon is an event in a state?", folding::measure),
    #[cfg(feature = "sql")]
    Question::new("sql", "how fast is SQL over the log?", sql::measure),
    #[cfg(feature = "sql")]
    Question::new("tables", "how fast is a derived table made, and brought up to date?", tables::measure),
    Question::new("open", "how long does opening take, and what does it read?", open::measure),
    Question::new("copies", "what does a backup take, and how fast is everything verified?", copies::measure),
    Question::new("memory", "does memory grow with the number of streams?", memory::measure),
    Question::new("disk", "how many bytes does an event take on the disk?", disk::measure),
    Question::new("condition", "what does a condition cost an append?", condition::measure),
    Question::new("unique-id", "what does an id of the caller's cost an append?", unique_id::measure),
    Question::new("hash-chain", "what does the hash chain cost an append?", hash_chain::measure),
    Question::new("metrics", "what does measuring cost an append?", metrics::measure),
    Question::new("truncate", "what does retention cost, and an append to a stream that is gone?", truncate::measure),
    Question::new("repair", "what does a repair take?", repair::measure),
    Question::new(
        "latency",
        "how long does a durable append take at the worst, while other things go on?",
        latency::measure,
    ),
    Question::new("stores", "what do many logs in one process take, with shared threads and without?", stores::measure),
    #[cfg(feature = "schema")]
    Question::new("validation", "what does it cost to check an event with its schema?", validation::measure),
    Question::long("growth", "is a long log as quick as a short one?", growth::measure),
    Question::long("sustained", "does anything drift when everything goes on for long?", sustained::measure),
];
