//! After the last life of a story: everything that is promised of what is left, looked at once more.

use annals::inspect::{self, FindingKind};
use annals::storage::sim::{PowerLoss, SimDisk};
use annals::{AppendError, ChainTip, Durability, EventStore, Outcome};

use super::followers;
use super::model::{Batch, End, Model};
use super::oracle;
use super::tally::Tally;
use super::tell::open;
use super::violation::{Rule, Violation, ensure};

/// Opens what the last life has left, and checks all that is promised of it. Returns how many
/// batches of the model were there.
///
/// # Errors
///
/// The first promise that is broken.
pub(super) fn aftermath(disk: &SimDisk, model: &Model, end: End, tally: &mut Tally) -> Result<usize, Violation> {
    disk.set_capacity(None);
    let before = model;
    let mut model = model.clone();
    let store = must_open(disk)?;
    tally.opens += 1;
    let shown = oracle::check(&store, &model, model.least(end))?;
    tally.recovered(&model, shown, end, store.recovery_report());
    model.recovered(shown);
    model.has_lost(store.oldest().before().get() as usize);
    tally.followers.resumed += followers::check(&store, &mut model)?;
    let witness = store.chain_tip().map_err(|error| Violation::new(Rule::ReadsAgree, format!("no tip: {error}")))?;

    // What was shown is durable, without a close. It needs no check of its own: the disk after it is judged below.
    let cut = disk.after_power_loss(PowerLoss::KeepLeast, 0);
    drop(store);
    let closed = disk.fork();
    let store = must_open(disk)?;
    let report = store.recovery_report();
    ensure!(report.is_clean(), OpeningRepeats, "the second recovery had something to do: {report:?}");
    drop(store);
    let differs = disk.difference(&closed);
    ensure!(differs.is_none(), OpeningRepeats, "opening again changed {differs:?}");

    let store = must_open(&cut)?;
    tally.opens += 1;
    let again = oracle::check(&store, &model, shown)?;
    ensure!(again == shown, ShownStays, "{again} batches after a power loss, and {shown} were shown");
    // Whoever lost an answer asks again, and everything is there once.
    for batch in before.batches().filter(|batch| batch.can_be_retried()) {
        if model.may_have_lost(batch) {
            continue;
        }
        let batch = Batch { is_exact: false, durability: Durability::Sync, ..batch.clone() };
        let done = match batch.commit(&store) {
            Err(AppendError::TrackingConflict { .. }) => continue,
            done => done.map_err(|error| Violation::new(Rule::FailuresAreTold, format!("a retry: {error}")))?,
        };
        let (is_found, is_there) = (done.outcome == Outcome::Duplicate, model.holds(&batch));
        ensure!(
            is_found == is_there,
            ReadsAgree,
            "batch {} again: {:?}, there: {is_there}",
            batch.number,
            done.outcome
        );
        if !is_found {
            model.acknowledged(&batch)?;
        }
    }
    let last = Batch::new(1_000_000, &[("z", 10), ("a", 20)]);
    last.commit(&store).map_err(|error| Violation::new(Rule::FailuresAreTold, format!("one more append: {error}")))?;
    model.acknowledged(&last)?;
    let cut = cut.after_power_loss(PowerLoss::KeepLeast, 0);
    let store = must_open(&cut)?;
    tally.opens += 1;
    oracle::check(&store, &model, model.len())?;
    followers::check(&store, &mut model)?;
    model.followers.follow_to_the_end(&store, &model)?;
    drop(store);
    witnessed(&cut, witness.as_slice())?;
    Ok(shown)
}

/// The log goes on from what was witnessed, and its hash chain is whole.
fn witnessed(disk: &SimDisk, witnesses: &[ChainTip]) -> Result<(), Violation> {
    if witnesses.is_empty() && disk.seed() % 8 != 7 {
        return Ok(());
    }
    let report = inspect::verify_with(disk, witnesses, |_, _| ())
        .map_err(|error| Violation::new(Rule::CrashIsNotDamage, format!("it cannot be verified: {error}")))?;
    let broken = report.findings.iter().find(|finding| finding.kind == FindingKind::Chain);
    ensure!(broken.is_none(), ReadsAgree, "the hash chain: {broken:?}");
    Ok(())
}

fn must_open(disk: &SimDisk) -> Result<EventStore, Violation> {
    open(disk).map_err(|error| Violation::new(Rule::CrashIsNotDamage, format!("it does not open: {error}")))
}
