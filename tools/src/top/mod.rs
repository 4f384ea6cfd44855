//! A screen that follows a store from outside: `annals top` (feature `tui`).
//!
//! ```text
//!  screen ── keys, sizes ──► model ── draw ──► cells
//!    ▲                       │   ▲
//!    │             questions │   │ samples, answers
//!    │                       ▼   │
//!    └── a thread: ───────── look ◄── watch, a thread that waits for events
//!                              │        │
//!                              ▼        ▼
//!                           the engine, read-only
//! ```
//!
//! What is always true:
//!
//! - Only `look` and `watch` read the store, and only `screen` knows a terminal. What is between them is a value
//!   that changes with what happens (`model`): a test needs neither, and [`Session`] is what it drives.
//! - What is shown was found at the last look, or since. Where it cannot be known from outside, the screen says so, or
//!   does not show it.

mod ask;
mod browse;
mod draw;
mod keys;
mod latency;
mod list;
mod look;
mod model;
mod pretty;
mod rates;
mod sample;
mod screen;
mod session;
mod watch;
mod whole;

pub use latency::{Latencies, Summary};
pub use pretty::json_lines;
pub use rates::Rates;
pub(crate) use screen::run;
pub use session::Session;
