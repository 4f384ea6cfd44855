//! A step: events in memory, until they become files.

use std::collections::{BTreeMap, BTreeSet};

use annals::{Event, Mark, Position};
use annals_schema::Registration;

use super::folder::Folder;
use super::manifest::{Bad, Manifest, RowFile};
use super::views;
use super::write::{self, Plan, Written};
use crate::columnar::{RecordBatch, Rows, change};
use crate::tables::TableError;
use crate::tables::pass::Table;
use crate::tables::types::{Types, registered_by};
use crate::time;

/// The last file of a day takes in what comes while it has fewer rows and fewer bytes than this: a step of a follower
/// writes no more than that once more, and a day has few files that are smaller.
const SMALL_ROWS: u64 = 32_768;
const SMALL_BYTES: u64 = 8 << 20;

const NANOSECONDS_OF_A_DAY: i64 = 86_400 * 1_000_000_000;

/// The rows of a day, one after the other.
pub(super) struct Chunk {
    day: String,
    first: Position,
    last: Position,
    pub(super) batches: Vec<RecordBatch>,
}

/// A table that is written to.
pub(super) struct Step<'folder> {
    pub(super) folder: &'folder Folder,
    /// What it is, without the step.
    pub(super) manifest: Manifest,
    pub(super) quarantine: BTreeMap<Position, Bad>,
    /// What is known of types by now, and what of that is new, with where it stands.
    pub(super) types: Types,
    learned: Vec<(Position, Registration)>,
    /// What is new, and the last of it that is no batch yet.
    pub(super) chunks: Vec<Chunk>,
    rows: Rows,
    /// On which day that was recorded.
    day: i64,
    /// Rows of positions that could not be read before, with their days.
    pub(super) mended: BTreeMap<Position, (String, RecordBatch)>,
    pub(super) redacted: BTreeSet<Position>,
    is_open: bool,
}

impl<'folder> Step<'folder> {
    pub(super) fn new(folder: &'folder Folder, manifest: Manifest) -> Step<'folder> {
        Step {
            folder,
            quarantine: manifest.quarantine.clone(),
            types: views::types_of(&manifest.views),
            learned: Vec::new(),
            manifest,
            chunks: Vec::new(),
            rows: Rows::new(),
            day: 0,
            mended: BTreeMap::new(),
            redacted: BTreeSet::new(),
            is_open: false,
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), TableError> {
        if !self.is_open {
            self.folder.begin_step(&self.manifest)?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Makes a batch of what is none yet.
    pub(super) fn batch(&mut self) -> Result<(), TableError> {
        if let Some(chunk) = self.chunks.last_mut().filter(|_| !self.rows.is_empty()) {
            chunk.batches.push(self.rows.finish().map_err(|error| self.folder.failed("write", error))?);
        }
        Ok(())
    }

    /// Takes in the schema that an event registers, if it does.
    fn learn(&mut self, event: &Event<'_>) {
        if let Some(registration) = registered_by(event) {
            self.types.learn(&registration);
            self.learned.push((event.position, registration));
        }
    }

    /// The last event that has a row, in what is there or in what is new.
    fn last(&self) -> Position {
        self.chunks.last().map_or(self.manifest.mark.position, |chunk| chunk.last)
    }

    /// Which files are to be written, by their first positions.
    fn plans(&mut self) -> BTreeMap<Position, Plan> {
        let mut plans: BTreeMap<Position, Plan> = BTreeMap::new();
        let change = |file: &RowFile| Plan {
            source: Some(file.clone()),
            last: file.last(),
            day: file.day.clone(),
            ..Plan::default()
        };
        for (position, (day, row)) in std::mem::take(&mut self.mended) {
            let listed = self.manifest.file_before(position).filter(|file| file.day == day);
            let new = plans.range_mut(..=position).next_back().filter(|(_, plan)| plan.source.is_none());
            match (listed, new) {
                (Some(file), new) if new.as_ref().is_none_or(|(first, _)| **first < file.first()) => {
                    let plan = plans.entry(file.first()).or_insert_with(|| change(file));
                    plan.last = plan.last.max(position);
                    plan.inserted.push((position, row));
                }
                (_, Some((_, plan))) if plan.day == day => {
                    plan.appended.push(row);
                    plan.last = position;
                }
                // Before all files of its day.
                _ => {
                    plans.insert(position, Plan { appended: vec![row], last: position, day, ..Plan::default() });
                }
            }
        }
        for file in self.redacted.iter().filter_map(|position| self.manifest.file_of(*position)) {
            plans.entry(file.first()).or_insert_with(|| change(file));
        }
        for (number, chunk) in std::mem::take(&mut self.chunks).into_iter().enumerate() {
            let newest = self.manifest.files.last().filter(|newest| number == 0 && self.takes_in(newest, &chunk));
            let plan = match newest {
                Some(newest) => plans.entry(newest.first()).or_insert_with(|| change(newest)),
                None => plans.entry(chunk.first).or_insert(Plan { day: chunk.day, ..Plan::default() }),
            };
            plan.appended.extend(chunk.batches);
            plan.last = chunk.last;
        }
        plans
    }

    /// Whether the last file grows by these rows.
    fn takes_in(&self, newest: &RowFile, chunk: &Chunk) -> bool {
        let bytes = || std::fs::metadata(self.folder.path.join(newest.path())).map_or(u64::MAX, |found| found.len());
        newest.day == chunk.day && newest.rows < SMALL_ROWS && bytes() < SMALL_BYTES
    }
}

/// The day of a time, as it is called.
fn day_of(recorded_at: i64) -> String {
    time::show_all_digits(recorded_at)[.."2026-11-22".len()].to_owned()
}

impl Table for Step<'_> {
    fn mark(&self) -> Mark {
        self.manifest.mark
    }

    fn misfit(&self, event: &Event<'_>) -> Option<String> {
        self.types.misfit(event)
    }

    fn put(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        self.begin()?;
        let day = event.recorded_at.div_euclid(NANOSECONDS_OF_A_DAY);
        let is_new_day = self.chunks.is_empty() || self.day != day;
        if is_new_day || self.rows.is_full() {
            self.batch()?;
        }
        if is_new_day {
            self.day = day;
            let (day, first) = (day_of(event.recorded_at), event.position);
            self.chunks.push(Chunk { day, first, last: first, batches: Vec::new() });
        }
        self.rows.push(event);
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.last = event.position;
        }
        if let Some(bad) = self.quarantine.get_mut(&event.position) {
            bad.has_row = true;
        }
        self.learn(event);
        Ok(())
    }

    fn redact(&mut self, positions: &[Position]) -> Result<(), TableError> {
        self.begin()?;
        for position in positions {
            self.redacted.insert(*position);
            // There is nothing left of it that could be wrong.
            if self.quarantine.get(position).is_some_and(|bad| bad.has_row) {
                self.quarantine.remove(position);
            }
        }
        Ok(())
    }

    fn quarantine(&mut self, position: Position, reason: &str) -> Result<(), TableError> {
        self.begin()?;
        // What could not be read is behind all that could. What is mended, or was good until now, is before that.
        let has_row = position <= self.last();
        self.quarantine.insert(position, Bad { reason: reason.to_owned(), has_row });
        Ok(())
    }

    fn unread(&mut self) -> Result<Vec<Position>, TableError> {
        Ok(self.quarantine.iter().filter(|(_, bad)| !bad.has_row).map(|(position, _)| *position).collect())
    }

    fn mend(&mut self, event: &Event<'_>) -> Result<(), TableError> {
        self.begin()?;
        let mut rows = Rows::new();
        rows.push(event);
        let row = rows.finish().map_err(|error| self.folder.failed("write", error))?;
        self.mended.insert(event.position, (day_of(event.recorded_at), row));
        self.quarantine.remove(&event.position);
        self.learn(event);
        Ok(())
    }

    fn forget_beyond(&mut self) -> Result<bool, TableError> {
        let beyond = self.manifest.mark.position.plus(1);
        let is_there = self.quarantine.range(beyond..).next().is_some();
        if is_there {
            self.begin()?;
            self.quarantine.split_off(&beyond);
        }
        Ok(is_there)
    }

    fn cut(&mut self, after: Position) -> Result<u64, TableError> {
        self.begin()?;
        self.quarantine.split_off(&after.plus(1));
        self.batch()?;
        let rows = |chunks: &[Chunk]| -> usize {
            chunks.iter().flat_map(|chunk| &chunk.batches).map(RecordBatch::num_rows).sum()
        };
        let before = rows(&self.chunks);
        self.chunks.retain(|chunk| chunk.first <= after);
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.last = chunk.last.min(after);
            for batch in &mut chunk.batches {
                *batch = batch.slice(0, change::rows_before(batch, after.plus(1)));
            }
        }
        self.learned.retain(|(position, _)| *position <= after);
        self.types = views::types_of(&self.manifest.views);
        self.learned.iter().for_each(|(_, registration)| self.types.learn(registration));
        Ok((before - rows(&self.chunks)) as u64)
    }

    fn reconsider(&mut self) -> Result<Vec<(Position, String)>, TableError> {
        self.bring_in_line()
    }

    fn commit(&mut self, mark: Mark) -> Result<(), TableError> {
        self.begin()?;
        self.batch()?;
        let views = views::next(&self.types, &self.manifest.views);
        let mut next = Manifest { mark, views, quarantine: self.quarantine.clone(), ..self.manifest.clone() };
        let mut written: Vec<Written> = Vec::new();
        for (first, plan) in self.plans() {
            written.push(write::file(self.folder, &next, first, &plan, &self.redacted)?);
        }
        for file in written {
            next.put(file.put(self.folder)?);
        }
        self.folder.end_step(&next, &self.manifest)?;
        (self.manifest, self.is_open) = (next, false);
        self.redacted.clear();
        self.learned.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::{Found, found};
    use super::*;
    use crate::columnar::parquet;
    use annals::{Clock, EventStore, ExpectedVersion, NewEvent, Options, OwnStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    /// A clock that is set.
    #[derive(Debug, Default)]
    struct Set(AtomicI64);

    impl Clock for Set {
        fn now(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// The rows of each file.
    fn rows(folder: &Folder, manifest: &Manifest) -> Vec<usize> {
        let rows_of = |listed: &RowFile| {
            let mut rows = 0;
            let file = std::fs::File::open(folder.path.join(listed.path())).unwrap();
            parquet::read(&file, &mut |batch| {
                rows += batch.num_rows();
                Ok(())
            })
            .unwrap();
            rows
        };
        manifest.files.iter().map(rows_of).collect()
    }

    #[test]
    fn what_is_cut_off_before_the_commit_is_in_no_file_and_has_taught_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Set::default());
        let store = EventStore::in_memory(&Options::new().clock(Arc::clone(&clock) as Arc<dyn Clock>)).unwrap();
        let append = || store.append("order-7", ExpectedVersion::Any, NewEvent::new("Paid", "{}")).unwrap();
        for _ in 0..3 {
            append();
        }
        // The next day.
        clock.0.store(NANOSECONDS_OF_A_DAY, Ordering::Relaxed);
        let said = r#"{"event_type": "Paid", "version": 1, "compatibility": "none", "schema": {}}"#;
        let event = NewEvent::new("$schema", said).schema_version(1);
        store.append_own(OwnStream::Schemas, ExpectedVersion::Any, event).unwrap();
        append();
        let folder = Folder::open(&dir.path().join("table"), Duration::ZERO).unwrap();
        let manifest = folder.begin_with(&store, false).unwrap();
        let mut step = Step::new(&folder, manifest);
        let event = |position: u64| store.get(Position::new(position)).unwrap().unwrap();
        for (last, cut, expected_views) in [(1, 4, 0), (3, 2, 0), (5, 0, 1)] {
            for position in step.mark().position.get() + 1..=5 {
                step.put(&event(position).as_event()).unwrap();
            }
            step.quarantine(Position::new(5), "it is bad").unwrap();
            let last = Position::new(last);
            assert_eq!(step.cut(last).unwrap(), cut);
            step.commit(store.mark(last).unwrap()).unwrap();
            let Found::Table(manifest) = found(&folder.path).unwrap() else { panic!() };
            assert_eq!(rows(&folder, &manifest).iter().sum::<usize>() as u64, last.get());
            assert_eq!(manifest.views.len(), expected_views, "{last}");
            assert_eq!(manifest.quarantine.len(), expected_views, "{last}");
            for listed in &manifest.files {
                let file = std::fs::File::open(folder.path.join(listed.path())).unwrap();
                assert_eq!(parquet::last_position(&file).unwrap(), Some(listed.last()));
            }
        }
    }
}
