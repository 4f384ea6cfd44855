//! Life goes on: a retry is recognised if and only if the first try survived, and appends work.

use annals::{AppendError, EventStore, Outcome, Position};

use super::super::child::builder;
use super::super::ledger::{Ledger, content};
use super::super::work::Name;
use super::Verdict;
use crate::torture::violation::ensure;
use crate::torture::{Rule, Violation};

/// The thread whose batches are the judge's own.
pub(in crate::torture::process) const JUDGE: u16 = u16::MAX;
/// How many batches of each kind are tried again.
const RETRIES: usize = 3;
/// How many batches are appended.
const APPENDS: u32 = 2;

/// Retries and appends, and adds to the verdict where everything is now.
pub(super) fn go_on(store: &EventStore, ledger: &Ledger, verdict: &mut Verdict) -> Result<(), Violation> {
    // The newest: those are the ones that recovery has decided about.
    let names = ledger.batches.keys().rev().filter(|name| content(ledger, **name).can_be_retried());
    let (there, gone): (Vec<Name>, Vec<Name>) = names.partition(|name| verdict.places.contains_key(name));
    for name in there.into_iter().take(RETRIES).chain(gone.into_iter().take(RETRIES)) {
        retry(store, ledger, verdict, name)?;
    }
    for _ in 0..APPENDS {
        let name = Name { life: 0, thread: JUDGE, number: ledger.judged + verdict.judged };
        verdict.judged += 1;
        let batch = content(ledger, name);
        let done = builder(store, &batch).commit().map_err(|error| broken(name, &error))?;
        let first = store.head().get() + 1 - batch.events.len() as u64;
        ensure!(
            (done.outcome, done.first.get(), done.last) == (Outcome::Appended, first, store.head()),
            FailuresAreTold,
            "after recovery, {name} became {done:?}; the log ends at {}",
            store.head()
        );
        note(verdict, ledger, name, (done.first, done.last));
    }
    let durable = store.flush().map_err(|error| broken(Name { life: 0, thread: JUDGE, number: 0 }, &error))?;
    ensure!(durable == store.head(), FailuresAreTold, "after recovery, a flush says {durable} of {}", store.head());
    Ok(())
}

fn retry(store: &EventStore, ledger: &Ledger, verdict: &mut Verdict, name: Name) -> Result<(), Violation> {
    let batch = content(ledger, name);
    let survived = verdict.places.get(&name).copied();
    let done = match builder(store, &batch).commit() {
        Ok(done) => done,
        // It is gone, and a later batch has taken the source further.
        Err(AppendError::TrackingConflict { .. }) if survived.is_none() && batch.tracking.is_some() => return Ok(()),
        Err(error) => return Err(broken(name, &error)),
    };
    let place = (done.first, done.last);
    match survived {
        Some(survived) => {
            let same = done.outcome == Outcome::Duplicate && place == survived;
            ensure!(same, WholeOrAbsent, "{name} survived at {survived:?}, and a retry became {done:?}");
            verdict.retries.0 += 1;
        }
        None => {
            let appended = done.outcome == Outcome::Appended;
            ensure!(appended, DroppedStaysGone, "{name} is gone, and a retry became {done:?}");
            verdict.retries.1 += 1;
        }
    }
    note(verdict, ledger, name, place);
    Ok(())
}

/// Writes down what the judge itself has appended.
fn note(verdict: &mut Verdict, ledger: &Ledger, name: Name, place: (Position, Position)) {
    let batch = content(ledger, name);
    if let Some((source, upstream)) = batch.tracking {
        let tracked = verdict.tracked.entry(source).or_default();
        *tracked = upstream.max(*tracked);
    }
    if !batch.events.is_empty() {
        verdict.places.insert(name, place);
    }
}

fn broken(name: Name, error: &AppendError) -> Violation {
    Violation::new(Rule::FailuresAreTold, format!("after recovery, {name} cannot be appended: {error}"))
}
