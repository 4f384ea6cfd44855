//! Looking once more at the events of which more is known by now: whether they fit into the columns of their type.
//!
//! What is always true: whatever was in the table before a schema was registered is held against it in the step that has the
//! schema, so that the views and what is in quarantine say the same.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;

use annals::Position;
use annals_schema::Columns;

use super::step::Step;
use super::views;
use crate::columnar::payloads::{self, Payload};
use crate::tables::{TableError, pass, types};

impl Step<'_> {
    /// Brings quarantine in line with what is known of types by now; what is new there is given back.
    pub(super) fn bring_in_line(&mut self) -> Result<Vec<(Position, String)>, TableError> {
        if views::changed(&self.types, &self.manifest.views).is_empty() {
            return Ok(Vec::new());
        }
        self.begin()?;
        self.batch()?;
        let mut new = Vec::new();
        for (position, reason) in self.reasons()? {
            match (self.quarantine.get_mut(&position), reason) {
                (None, Some(reason)) => new.push((position, reason)),
                // What could not be read is in no row, or in one of a step that was not finished.
                (Some(bad), _) if !bad.has_row => {}
                (Some(bad), Some(reason)) => bad.reason = reason,
                (Some(_), None) => _ = self.quarantine.remove(&position),
                (None, None) => {}
            }
        }
        Ok(new)
    }

    /// What is wrong with each event of the types of which more is known by now; those with which nothing is or was are left out.
    fn reasons(&self) -> Result<BTreeMap<Position, Option<String>>, TableError> {
        let changed: HashMap<&str, &Columns> = views::changed(&self.types, &self.manifest.views).into_iter().collect();
        let mut reasons = BTreeMap::new();
        let mut look = |row: Payload<'_>| {
            let Some(columns) = changed.get(row.event_type) else { return };
            let data = if self.redacted.contains(&row.position) { &[] } else { row.data };
            let reason =
                pass::no_json(row.content_type, data).or_else(|| types::misfit(columns, row.content_type, data));
            if reason.is_some() || self.quarantine.contains_key(&row.position) {
                reasons.insert(row.position, reason);
            }
        };
        for listed in &self.manifest.files {
            let read =
                File::open(self.folder.path.join(listed.path())).and_then(|file| payloads::of_file(&file, &mut look));
            read.map_err(|error| self.folder.unread(listed, error))?;
        }
        let mended = self.mended.values().map(|(_, row)| row);
        for batch in mended.chain(self.chunks.iter().flat_map(|chunk| &chunk.batches)) {
            payloads::of_batch(batch, &mut look).map_err(|error| self.folder.failed("read", error))?;
        }
        Ok(reasons)
    }
}
