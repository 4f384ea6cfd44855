//! Panics as findings: a story in which something panics breaks a promise (O7) and ends nothing else.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::story::Story;
use super::tally::Tally;
use super::tell::tell;
use super::violation::{Rule, Violation};

thread_local! {
    /// Where the last panic of this thread was, while panics are caught.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Tells a story; a panic in it is a violation.
///
/// # Errors
///
/// The first promise that is broken.
pub(crate) fn tell_caught(story: &Story, tally: &mut Tally) -> Result<(), Violation> {
    caught(|| tell(story, tally))
}

/// Does something; a panic in it is a violation.
///
/// # Errors
///
/// What `work` says, or that it panicked, where, and why.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_caught = LAST.with_borrow_mut(|last| match last {
                Some(last) => {
                    *last = info.to_string().replace('\n', " ");
                    true
                }
                None => false,
            });
            if !is_caught {
                before(info);
            }
        }));
    });
    LAST.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(work));
    let panicked = LAST.take().unwrap_or_default();
    done.unwrap_or_else(|_| Err(Violation::new(Rule::NoPanic, panicked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_violation_that_says_where_and_why() {
        let violation = caught::<()>(|| panic!("as the test wants it")).unwrap_err();
        assert_eq!(violation.rule, Rule::NoPanic);
        assert!(violation.seen.contains("as the test wants it") && violation.seen.contains("caught.rs"), "{violation}");
        assert!(caught(|| Ok(1)).is_ok());
    }
}
