//! Coverage-guided attacks: one target per parser, and one for whole sequences of operations.
//!
//! ```text
//!  frame       one frame, one trailer                     ┐
//!  header      the first 4096 bytes of a segment          │ any bytes, against `letter`: the format
//!  meta        store.meta                                 │ read once more, as plainly as can be
//!  watermark   WATERMARK                                  │
//!  checkpoint  the file of a consumer                     │
//!  floor       what is known of removed events            │
//!  snapshot    a snapshot                                 ┘
//!  segment     a script writes and damages a segment; the scan, against what must be true of each
//!  index       a script writes an index; its answers, against a reader who remembers everything
//!  ndjson      a line of `annals import`, against a reader of its members one by one
//!  operations  a story with faults and crashes, against the model of the crash harness
//! ```
//!
//! A target is a function that panics when it disagrees. The fuzzer calls it
//! (`fuzz_targets`, a nightly compiler), and so does `replay` (`src/bin`, any compiler).

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod floor;
pub mod frame;
pub mod header;
pub mod index;
mod letter;
pub mod meta;
pub mod ndjson;
pub mod operations;
mod script;
pub mod segment;
pub mod snapshot;
#[path = "../../codec/src/testing.rs"]
#[allow(dead_code, reason = "what the tests of the codec share; not all of it is needed here")]
mod testing;
pub mod watermark;

/// One target.
pub struct Target {
    /// Its name: of the module, the fuzzer's binary, and the folder of its seeds.
    pub name: &'static str,
    /// Looks at one input, and panics when something is wrong.
    pub check: fn(&[u8]),
    /// What the input means, for those in which it is not plain to see.
    pub show: Option<fn(&[u8]) -> String>,
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    Target { name: "checkpoint", check: checkpoint::check, show: None },
    Target { name: "floor", check: floor::check, show: None },
    Target { name: "frame", check: frame::check, show: None },
    Target { name: "header", check: header::check, show: None },
    Target { name: "index", check: index::check, show: None },
    Target { name: "meta", check: meta::check, show: None },
    Target { name: "ndjson", check: ndjson::check, show: None },
    Target { name: "operations", check: operations::check, show: Some(operations::show) },
    Target { name: "segment", check: segment::check, show: None },
    Target { name: "snapshot", check: snapshot::check, show: None },
    Target { name: "watermark", check: watermark::check, show: None },
];
