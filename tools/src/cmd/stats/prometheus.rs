//! What `annals stats` knows, in the text format that Prometheus scrapes: the engine's own, and what only shows from outside.
//!
//! What is always true: what cannot be told is left out, and never a zero.
//!
//! A program that embeds the store has the same numbers, and more, in `EventStore::prometheus`; this is for who looks from
//! outside, a cron job with the textfile collector of the node exporter for instance.

use annals::Stats;
use annals::prometheus::Text;
use annals_projection::StoredProjection;

use super::Shown;
use crate::exit::{Failure, note};
use crate::out::Out;

/// Prints it.
pub(super) fn print(
    stats: &Stats,
    shown: &Shown,
    projections: &[StoredProjection],
    out: &mut Out,
) -> Result<(), Failure> {
    let mut text = Text::new(stats.log_id);
    text.stats(stats);
    fill(&mut text, shown, projections);
    if shown.streams.is_none() {
        note(false, "note: annals_streams is left out: streams cannot be counted");
    }
    out.bytes(text.to_string().as_bytes())
}

fn fill(text: &mut Text, shown: &Shown, projections: &[StoredProjection]) {
    text.gauge("streams", "Streams that have events.", shown.streams);
    text.gauge("index_bytes", "What the files take that are derived from segments.", shown.index_bytes);
    text.gauge("indexed_segments", "Sealed segments that have an index file.", shown.indexed_segments as u64);
    text.gauge("damaged_regions", "Regions of the log that are damaged and left out.", shown.gaps.len() as u64);
    let projections = || projections.iter().map(|projection| (&*projection.name, projection));
    text.gauges(
        "projection_restart_position",
        "Where a projection would go on after a restart: its newest usable snapshot.",
        "projection",
        projections().map(|(name, projection)| (name, projection.position.map(annals::Position::get))),
    );
    text.gauges(
        "projection_restart_lag_events",
        "How many events a projection would fold after a restart.",
        "projection",
        projections().map(|(name, projection)| (name, Some(projection.lag))),
    );
}
