//! The log against the ledger: whole batches, each once, where they were said to be, and no others.

use std::collections::{BTreeMap, BTreeSet};

use annals::{Position, RecordedEvent};

use super::super::entry::{Answer, Entry, Span};
use super::super::ledger::{Arrival, End, Ledger, content};
use super::super::work::{Batch, Name, Planned, label, source};
use super::Verdict;
use crate::torture::Violation;
use crate::torture::violation::ensure;

/// Compares all events of the log with what was promised.
pub(super) fn compare(
    ledger: &Ledger,
    end: End,
    events: &[RecordedEvent],
    tracking: impl Fn(&str) -> Result<Option<u64>, Violation>,
) -> Result<Verdict, Violation> {
    let places = whole_batches(ledger, events)?;
    let head = Position::new(events.len() as u64);
    let least = ledger.least(end);
    let mut verdict = Verdict { head, ..Verdict::default() };
    for (name, entry) in &ledger.batches {
        if content(ledger, *name).events.is_empty() {
            continue;
        }
        check_fate(ledger, *name, entry, places.get(name), least)?;
        let answered = entry.shown.is_none() && entry.place().is_some();
        let is_there = places.contains_key(name);
        verdict.acknowledged += u64::from(answered && is_there);
        verdict.given_up += u64::from(answered && !is_there);
        verdict.kept += u64::from(entry.is_in_doubt() && is_there);
        verdict.dropped += u64::from(entry.is_in_doubt() && !is_there);
    }
    if let Some((name, place)) = places.iter().find(|(name, _)| !ledger.batches.contains_key(name)) {
        ensure!(false, WholeOrAbsent, "{name} is at {place:?}, and nobody appended it");
    }
    ensure!(head >= least, AcknowledgedStays, "the log ends at {head}, and must reach {least}");
    check_order(ledger, &places)?;
    verdict.tracked = check_tracking(ledger, end, &places, tracking)?;
    verdict.places = places;
    Ok(verdict)
}

/// Puts the events together to batches.
fn whole_batches(ledger: &Ledger, events: &[RecordedEvent]) -> Result<BTreeMap<Name, Span>, Violation> {
    let mut places = BTreeMap::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let at = first.position();
        let Some(label) = label(ledger.seed, &first.data()) else {
            return Err(Violation::new(crate::torture::Rule::WholeOrAbsent, format!("nobody wrote the event at {at}")));
        };
        let batch = content(ledger, label.name);
        ensure!(
            label.index == 0,
            WholeOrAbsent,
            "event {} of {} is at {at}, without those before it",
            label.index,
            label.name
        );
        ensure!(
            batch.events.len() <= rest.len(),
            WholeOrAbsent,
            "{} has {} events, and the log ends after {} of them",
            label.name,
            batch.events.len(),
            rest.len()
        );
        let (found, behind) = rest.split_at(batch.events.len().max(1));
        check_content(ledger.seed, label.name, &batch, found)?;
        let place = (at, Position::new(at.get() + found.len() as u64 - 1));
        if let Some(other) = places.insert(label.name, place) {
            ensure!(false, WholeOrAbsent, "{} is there twice, at {other:?} and at {place:?}", label.name);
        }
        rest = behind;
    }
    Ok(places)
}

/// Compares a batch as it was read with what was appended, bit for bit.
fn check_content(seed: u64, name: Name, batch: &Batch, found: &[RecordedEvent]) -> Result<(), Violation> {
    ensure!(batch.events.len() == found.len(), WholeOrAbsent, "{name} has no events, and one claims to be of it");
    for (index, (planned, found)) in batch.events.iter().zip(found).enumerate() {
        let at = found.position();
        if let Some(difference) = difference(planned, found) {
            // An event of another batch in its place means that this one is not whole.
            let is_ours = label(seed, &found.data()) == label(seed, &planned.data);
            ensure!(!is_ours, AcknowledgedStays, "event {index} of {name}, at {at}, has another {difference}");
            ensure!(false, WholeOrAbsent, "{name} ends before its event {index}, at {at}");
        }
    }
    Ok(())
}

fn difference(planned: &Planned, found: &RecordedEvent) -> Option<&'static str> {
    let event = found.as_event();
    let same_id = planned.id.is_none_or(|id| id == event.id);
    let checks = [
        ("data", event.data == &*planned.data),
        ("stream", event.stream == planned.stream),
        ("type", event.event_type == planned.event_type),
        ("metadata", event.metadata == planned.metadata.as_deref()),
        ("tags", event.tags.iter().eq(planned.tag)),
        ("id", same_id),
    ];
    checks.iter().find(|(_, same)| !same).map(|(what, _)| *what)
}

/// Whether a batch is where it must be, or may be.
fn check_fate(
    ledger: &Ledger,
    name: Name,
    entry: &Entry,
    found: Option<&Span>,
    least: Position,
) -> Result<(), Violation> {
    match (entry.place(), found) {
        (Some(place), Some(found)) => {
            ensure!(place == *found, AcknowledgedStays, "{name} was at {place:?}, and is at {found:?}");
        }
        (Some(place), None) => {
            ensure!(entry.shown.is_none(), ShownStays, "{name} was shown at {place:?}, and is gone");
            ensure!(place.1 > least, AcknowledgedStays, "{name} was acknowledged at {place:?}, and is gone");
        }
        (None, Some(found)) => {
            let asked = !entry.attempts.is_empty();
            ensure!(asked, DroppedStaysGone, "{name} was dropped, and is at {found:?} again");
            ensure!(entry.is_in_doubt(), WholeOrAbsent, "{name} was refused, and is at {found:?}");
            let fits = ledger.can_be_at(entry, *found);
            ensure!(fits, DroppedStaysGone, "{name} is at {found:?}, where no life that appended it was at work");
        }
        (None, None) => {}
    }
    Ok(())
}

/// What was acknowledged before another batch was begun comes before it.
fn check_order(ledger: &Ledger, places: &BTreeMap<Name, Span>) -> Result<(), Violation> {
    let mut newest_first: Vec<(Span, Name)> = places.iter().map(|(name, place)| (*place, *name)).collect();
    newest_first.sort_unstable_by(|one, other| other.cmp(one));
    let mut earliest: Option<(Arrival, Name)> = None;
    for (place, name) in newest_first {
        let Some(entry) = ledger.batches.get(&name).filter(|entry| entry.shown.is_none()) else { continue };
        let begun = entry.attempts.iter().map(|attempt| attempt.intended).min();
        if let (Some((told, behind)), Some(begun)) = (earliest, begun) {
            ensure!(told > begun, AcknowledgedStays, "{name}, at {place:?}, was begun after {behind} was acknowledged");
        }
        let told = entry.attempts.iter().find_map(|attempt| match attempt.answer {
            Answer::Done { arrived, .. } => Some((arrived, name)),
            _ => None,
        });
        earliest = earliest.into_iter().chain(told).min();
    }
    Ok(())
}

/// How far each source is processed, against the batches that say so.
fn check_tracking(
    ledger: &Ledger,
    end: End,
    places: &BTreeMap<Name, Span>,
    tracking: impl Fn(&str) -> Result<Option<u64>, Violation>,
) -> Result<BTreeMap<String, u64>, Violation> {
    let mut least = ledger.tracked.clone();
    let mut possible: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (name, entry) in &ledger.batches {
        let batch = content(ledger, *name);
        let Some((source, upstream)) = batch.tracking else { continue };
        if places.contains_key(name) || batch.events.is_empty() && entry.is_promised(end) {
            let least = least.entry(source).or_default();
            *least = upstream.max(*least);
        } else if batch.events.is_empty() && entry.attempts.iter().any(|attempt| attempt.answer != Answer::Refused) {
            possible.entry(source).or_default().push(upstream);
        }
    }
    let sources: BTreeSet<String> = ledger.batches.keys().map(|name| source(name.thread)).collect();
    let mut tracked = BTreeMap::new();
    for source in sources.into_iter().chain(ledger.tracked.keys().cloned()) {
        let found = tracking(&source)?;
        let least = least.get(&source).copied();
        let may_be = possible.get(&source).is_some_and(|all| found.is_some_and(|found| all.contains(&found)));
        ensure!(found >= least, AcknowledgedStays, "{source} was processed up to {least:?}, and is at {found:?}");
        ensure!(found == least || may_be, WholeOrAbsent, "{source} is at {found:?}; the batches say {least:?}");
        tracked.extend(found.map(|found| (source, found)));
    }
    Ok(tracked)
}
