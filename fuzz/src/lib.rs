//! Coverage-guided attacks: one target per parser.
//!
//! ```text
//!  frame       one frame, one trailer                     ┐
//!  header      the first 4096 bytes of a segment          │ any bytes, against `letter`: the format
//!  meta        store.meta                                 │ read once more, as plainly as can be
//!  watermark   WATERMARK                                  ┘
//!  segment     a script writes and damages a segment; the scan, against what must be true of each
//!  index       a script writes an index; its answers, against a reader who remembers everything
//!  ndjson      a line of `annals import`, against a reader of its members one by one
//! ```
//!
//! A target is a function that panics when it disagrees. The fuzzer calls it
//! (`fuzz_targets`, a nightly compiler), and so does `replay` (`src/bin`, any compiler).

#![forbid(unsafe_code)]

pub mod frame;
pub mod header;
pub mod index;
mod letter;
pub mod meta;
pub mod ndjson;
mod script;
pub mod segment;
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
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "frame", check: frame::check },
    Target { name: "header", check: header::check },
    Target { name: "index", check: index::check },
    Target { name: "meta", check: meta::check },
    Target { name: "ndjson", check: ndjson::check },
    Target { name: "segment", check: segment::check },
    Target { name: "watermark", check: watermark::check },
];
