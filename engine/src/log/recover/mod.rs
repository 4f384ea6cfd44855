//! Recovery: what is there, what that means, and what is done about it.
//!
//! Three functions, so that each can be tested for what it is:
//!
//! - [`survey`](survey::survey) reads the storage and states facts. It changes nothing.
//! - [`decide`](decide::decide) turns facts into a plan, or refuses. It is pure: no
//!   storage, no clock, and every combination of facts can be tried.
//! - [`carry_out`](carry_out::carry_out) executes a plan. It may be interrupted at every
//!   step; the next survey finds facts that lead to the same result.
//!
//! `annals verify` is the first two, printed. A read-only open uses them too,
//! and carries nothing out.

pub(crate) mod carry_out;
pub(crate) mod decide;
pub(crate) mod survey;
