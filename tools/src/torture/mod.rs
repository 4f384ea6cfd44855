//! The crash-injection harness: tells stories, ends them badly, and looks what is left.
//!
//! ```text
//!  generate ──► story ──► tell ──► disk after the crash ──► open ──► oracle ◄── model
//!     ▲          ▲ │        (simulated: engine feature `sim`)            │
//!   a seed     text │                                                   ▼
//!                shrink ◄───────────────────────────────────────── violation
//! ```
//!
//! The promises that are checked at every opening are [`Rule`]s, O1 to O12.
//! The model is a list of batches; it knows nothing of files. A story is data with
//! a text form, so that a finding is one line that can be pasted into a test.
//!
//! | driver | what fails | what is real |
//! |---|---|---|
//! | [`simulated`] | anything, at any operation, at random; by the million | nothing but the engine |
//! | [`exhaustive`] | every operation of short stories, in every way, and again in the recovery | nothing but the engine |
//! | [`process`] | processes die, system calls fail | processes, threads, the kernel, your disk |
//! | [`power`] | the power, below a file system | all of that but the disk |
//! | [`redactions`] | every operation of a redaction | nothing but the engine |
//! | [`copies`], [`restores`] | every operation of a backup, and of restoring one | nothing but the engine |
//! | [`repairs`] | every operation of a repair | nothing but the engine |
//!
//! What each promise rests on, and what is not covered, is in `engine/RELIABILITY.md`.

mod aftermath;
mod caught;
pub mod copies;
pub mod exhaustive;
mod followers;
mod following;
pub mod generate;
pub mod model;
pub mod oracle;
pub mod power;
pub mod process;
pub mod redactions;
pub mod repairs;
pub mod restores;
mod rot;
mod shrink;
pub mod simulated;
pub mod story;
mod tally;
mod tell;
mod violation;

pub(crate) use caught::tell_caught;
pub use followers::Followers;
pub use story::Story;
pub use tally::{Count, FollowerCounts, Tally};
pub use tell::{open, options, tell, tell_on};
pub use violation::{Rule, Violation};
