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
/// The end of the last segment is read so that a writer who goes on is not taken for damage, see
/// [`survey`](survey::survey). But files come and go meanwhile: a segment is sealed and cut, the next one gets its name.
/// A survey that meets some as they were and others as they are finds a contradiction, each time another one.
/// So damage is believed when it is found twice, the same.
pub(crate) fn survey_beside_writer(storage: &dyn Storage) -> Result<(Facts, Result<Plan, OpenError>), OpenError> {
    /// A writer does not roll that often in so short a time; then what was found last is told.
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
