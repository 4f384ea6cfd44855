//! One bit of what a crash has left flips, anywhere. Damage in what was durable is told, or does no harm.

use annals::storage::sim::SimDisk;
use annals::{EventStore, OpenError, Position, ReadError, RecordedEvent};

use super::followers;
use super::model::{Batch, End, Model};
use super::oracle;
use super::tally::Tally;
use super::tell::open;
use super::violation::{Rule, Violation, ensure};

/// Flips the bit that `pick` picks, in the file it picks, and looks what becomes of it.
///
/// # Errors
///
/// When something durable is neither as it was nor told to be damaged.
pub(super) fn rot(disk: &SimDisk, model: &Model, pick: u64, tally: &mut Tally) -> Result<(), Violation> {
    let mut files: Vec<String> =
        disk.paths().into_iter().filter(|path| path != "LOCK" && !path.contains(".tmp")).collect();
    let count = files.len().max(1) as u64;
    let path = files.swap_remove((pick % count) as usize);
    let bits = 8 * disk.file_len(&path).unwrap_or(0);
    if bits == 0 {
        return Ok(());
    }
    let bit = pick / count % bits;
    disk.flip(&path, bit);
    tally.rot.planned += 1;
    judge(disk, &path, model, tally).map_err(|violation| violation.at(format_args!("bit {bit} of {path}")))
}

fn judge(disk: &SimDisk, path: &str, model: &Model, tally: &mut Tally) -> Result<(), Violation> {
    // What was only written may look like an unfinished tail now.
    let durable = model.events(model.least(End::PowerLoss)) as u64;
    tally.opens += 1;
    let events: Vec<(&Batch, usize)> =
        model.batches().flat_map(|batch| (0..batch.events.len()).map(move |index| (batch, index))).collect();
    match open(disk) {
        Ok(store) => {
            tally.rot.met += 1;
            if path.starts_with("idx/") {
                // It is made of the segments: nobody can tell.
                oracle::check(&store, model, model.least(End::PowerLoss))?;
                return Ok(());
            }
            let head = store.head().get();
            ensure!(
                head >= durable,
                DamageIsTold,
                "it opened with {head} of {durable} durable events, and said nothing"
            );
            for (stream, expected) in model.streams(model.len()) {
                match store.stream_version(stream) {
                    // What was only written may look like an unfinished tail.
                    Ok(version) => {
                        let version = version.get();
                        let least = if head == model.events(model.len()) as u64 { expected } else { 0 };
                        ensure!(
                            (least..=expected).contains(&version),
                            DamageIsTold,
                            "{stream} is told to be at version {version}, not {expected}"
                        );
                    }
                    Err(_) => tally.rot.mattered += 1,
                }
            }
            for position in 1..=head {
                match store.get(Position::new(position)) {
                    Ok(Some(event)) => must_be(&event, &events)?,
                    Ok(None) => {
                        return Err(Violation::new(Rule::DamageIsTold, format!("position {position} is gone")));
                    }
                    Err(_) => tally.rot.mattered += 1,
                }
            }
            read_on(&store, &events, tally)?;
            tally.rot.mattered += followers::check_rotten(&store, model)?;
            Ok(())
        }
        Err(OpenError::Io { action, path, source }) => Err(Violation::new(
            Rule::DamageIsTold,
            format!("a flipped bit is told as: cannot {action} {path}: {source}"),
        )),
        Err(_) => {
            tally.rot.mattered += 1;
            match EventStore::open_read_only_on(std::sync::Arc::new(disk.clone())) {
                Ok(reader) => read_on(&reader, &events, tally),
                Err(_) => Ok(()),
            }
        }
    }
}

/// Reads what can be read, past what cannot.
fn read_on(store: &EventStore, events: &[(&Batch, usize)], tally: &mut Tally) -> Result<(), Violation> {
    for event in store.read_all(Position::START).allow_truncated().skip_damaged() {
        match event {
            Ok(event) => must_be(&event, events)?,
            Err(ReadError::Corrupt { .. }) => tally.rot.mattered += 1,
            Err(error) => return Err(Violation::new(Rule::DamageIsTold, format!("a flipped bit is told as: {error}"))),
        }
    }
    Ok(())
}

fn must_be(event: &RecordedEvent, events: &[(&Batch, usize)]) -> Result<(), Violation> {
    let place = event.position().get() as usize - 1;
    let same = events.get(place).is_some_and(|(batch, index)| {
        event.stream() == batch.events[*index].0
            && event.event_type() == batch.event_type(*index)
            && batch.is_payload(*index, &event.data())
    });
    ensure!(same, DamageIsTold, "position {} is given out as something else", event.position());
    Ok(())
}
