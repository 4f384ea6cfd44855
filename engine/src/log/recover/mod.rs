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

use std::time::Duration;

use self::decide::{Mode, Plan, decide};
use self::survey::{Facts, Purpose, survey};
use crate::error::OpenError;
use crate::storage::Storage;
use crate::sync::thread;

/// Surveys a store that somebody may be writing to, and decides what a reader makes of it.
///
/// A survey beside a writer can meet old bytes before new ones and take that for
/// damage, each time at another place, for the log moves on. So damage is believed
/// when it is found twice, the same.
pub(crate) fn survey_beside_writer(storage: &dyn Storage) -> Result<(Facts, Result<Plan, OpenError>), OpenError> {
    /// More than any writer can outrun; then what was found last is told.
    const TRIES: usize = 20;
    const PAUSE: Duration = Duration::from_millis(2);
    let (mut before, mut tries) = (None, 0);
    loop {
        let facts = match survey(storage, Purpose::Read, &mut ()) {
            // Retention has removed what was just listed.
            Err(error) if error.is_not_found() && tries < TRIES => {
                tries += 1;
                thread::sleep(PAUSE);
                continue;
            }
            facts => facts?,
        };
        let decided = decide(&facts, Mode::Lenient);
        let doubt = match &decided {
            Ok(Plan::Use(plan)) if !plan.damage.is_empty() => Some(format!("{:?}", plan.damage)),
            Ok(Plan::Use(_) | Plan::Create) => None,
            Err(error) => Some(error.to_string()),
        };
        tries += 1;
        if doubt.is_none() || doubt == before || tries >= TRIES {
            return Ok((facts, decided));
        }
        before = doubt;
        thread::sleep(PAUSE);
    }
}
