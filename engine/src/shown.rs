//! From a store's files to what a reader is shown of them.
//!
//! A writer and a reader load older segments alike; what of the newest one is shown, a reader decides by what is durable.
//!
//! What is always true: nothing is changed on disk. What a writer removes beside a reader (retention does) is no
//! error: the reader begins anew, and finds the log without it.

use std::sync::Arc;
use std::time::Duration;

use annals_codec::SegmentNumber;

use crate::error::{Doing, OpenError};
use crate::follow::{MOST_SEGMENT_LEN, Newest, behind};
use crate::index::IndexedSegment;
use crate::index::files::IndexFiles;
use crate::index::floor::FloorIndex;
use crate::index::load::{self, Loader};
use crate::index::memory::MemoryIndex;
use crate::log::recover::decide::{Plan, Usable};
use crate::log::recover::survey::{Content, Facts, LastFacts, SegmentFacts};
use crate::log::recover::survey_beside_writer;
use crate::log::segment::Segment;
use crate::metrics::meter::Meter;
use crate::storage::Storage;
use crate::sync::thread;
use crate::view::View;

/// A store as it can be read now.
pub(crate) struct Shown {
    pub(crate) plan: Box<Usable>,
    pub(crate) files: Arc<IndexFiles>,
    pub(crate) loader: Loader,
    pub(crate) newest: Newest,
    pub(crate) view: View,
}

/// Loads a store that is only to be read, perhaps beside a writer.
pub(crate) fn load_to_read(storage: &Arc<dyn Storage>, meter: &Meter) -> Result<Shown, OpenError> {
    /// More than any retention can outrun.
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(2);
    let mut tries = 1;
    loop {
        match load_once(storage, meter) {
            Err(error) if error.is_not_found() && tries < TRIES => tries += 1,
            done => return done,
        }
        thread::sleep(PAUSE);
    }
}

fn load_once(storage: &Arc<dyn Storage>, meter: &Meter) -> Result<Shown, OpenError> {
    let (facts, plan) = survey_to_read(&**storage)?;
    let mut loader = Loader::default();
    let files = IndexFiles::measured(Arc::clone(storage), plan.log_id, false, meter.clone());
    let floor = open_floor(&**storage, &plan);
    let mut segments = load_older(&**storage, &mut loader, &files, &facts, &plan)?;
    let newest = load_shown(&mut loader, &facts, &plan)?;
    segments.push(newest.segment.clone());
    let view = View::new(segments, loader.gaps.clone()).on(floor);
    Ok(Shown { plan, files, loader, newest, view })
}

/// What the log goes on from, where something was removed.
pub(crate) fn open_floor(storage: &dyn Storage, plan: &Usable) -> Option<Arc<FloorIndex>> {
    let (segment, position) = plan.floor;
    (segment > SegmentNumber::FIRST).then(|| Arc::new(FloorIndex::open(storage, segment, position)))
}

/// Surveys a store that is only to be read, and finds that there is one.
fn survey_to_read(storage: &dyn Storage) -> Result<(Facts, Box<Usable>), OpenError> {
    let (facts, decided) = survey_beside_writer(storage)?;
    match decided? {
        Plan::Use(plan) => Ok((facts, plan)),
        Plan::Create => Err(OpenError::NotFound { path: storage.describe("").into() }),
    }
}

/// Makes every segment that has a successor ready to be read. Nothing of their events is.
pub(crate) fn load_older(
    storage: &dyn Storage,
    loader: &mut Loader,
    files: &Arc<IndexFiles>,
    facts: &Facts,
    plan: &Usable,
) -> Result<Vec<IndexedSegment>, OpenError> {
    let mut segments = Vec::with_capacity(facts.segments.len() + 1);
    for (segment, successor) in facts.segments.iter().zip(facts.segments.iter().skip(1)) {
        segments.push(match segment.sealed_end(successor.base) {
            Some(end) => loader.sealed(storage, segment, &end, files)?,
            // Only a reader comes here: a writer has refused it.
            None => loader.damaged(storage, segment, successor.base)?,
        });
    }
    if let (Some(end), Some(last)) = (plan.finish_roll, facts.segments.last())
        && files.is_writable()
    {
        segments.push(loader.sealed(storage, last, &end, files)?);
    }
    Ok(segments)
}

/// Loads what a reader may be shown of the last segment: what is durable.
fn load_shown(loader: &mut Loader, facts: &Facts, plan: &Usable) -> Result<Newest, OpenError> {
    let (last, last_facts) = last_segment(facts);
    let place = load::place(last, last_facts.seed, Arc::clone(last.last_file()));
    let segment = Segment::growing(place, MOST_SEGMENT_LEN).doing("map", || last.display.clone())?;
    let index = Arc::new(MemoryIndex::default());
    let watermark = plan.watermark.filter(|watermark| watermark.segment == last.number);
    let durable = last_facts.durable_offset().max(watermark.map_or(0, |watermark| watermark.offset));
    let mut reached = loader.last(last, last_facts.start, durable.min(last.len), &segment, &index)?;
    segment.publish(reached.offset, reached.position);
    if let Some(watermark) = watermark.filter(|watermark| watermark.position > reached.position) {
        // The head counts what is lost, so that who reads up to it is told.
        loader.leave_out(last, reached.offset, reached.position, watermark.position, "the end of the log is damaged");
        segment.publish(reached.offset, watermark.position);
        reached = behind(&watermark);
    }
    Ok(Newest {
        segment: IndexedSegment::in_memory(Arc::new(segment), Arc::clone(&index)),
        index,
        file: Arc::clone(last.last_file()),
        tail: reached,
    })
}

fn last_segment(facts: &Facts) -> (&SegmentFacts, &LastFacts) {
    match facts.segments.last() {
        Some(SegmentFacts { content: Content::Last(Some(last)), .. }) => {
            (facts.segments.last().expect("it was just looked at"), last)
        }
        _ => unreachable!("a plan to use a store has scanned its last segment"),
    }
}
