//! What `annals stats` knows, in the text format that Prometheus scrapes (version 0.0.4).
//!
//! What is always true: every sample names its log, so that the files of several stores can lie side by side; what
//! cannot be told is left out, and never a zero.
//!
//! A program that embeds the store has the same numbers in `EventStore::stats`; this is for who looks from outside, a
//! cron job with the textfile collector of the node exporter for instance.

use std::fmt::{self, Write as _};

use annals_projection::StoredProjection;

use super::Shown;
use crate::exit::{Failure, note};
use crate::out::Out;

/// Samples under their names, in the order in which they are shown.
struct Text<'a> {
    log_id: &'a str,
    text: String,
}

impl Text<'_> {
    fn family(&mut self, name: &str, kind: &str, help: &str) -> Result<(), fmt::Error> {
        writeln!(self.text, "# HELP annals_{name} {help}\n# TYPE annals_{name} {kind}")
    }

    /// One with a label besides that of the log. Names of consumers and projections are those of files, and have no letter
    /// that would have to be escaped.
    fn labelled(&mut self, name: &str, (label, value): (&str, &str), sample: u64) -> Result<(), fmt::Error> {
        writeln!(self.text, "annals_{name}{{log=\"{}\",{label}=\"{value}\"}} {sample}", self.log_id)
    }

    fn gauge(&mut self, name: &str, help: &str, sample: impl Into<Option<u64>>) -> Result<(), fmt::Error> {
        self.one(name, "gauge", help, sample.into())
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, sample: Option<u64>) -> Result<(), fmt::Error> {
        let Some(sample) = sample else { return Ok(()) };
        self.family(name, kind, help)?;
        writeln!(self.text, "annals_{name}{{log=\"{}\"}} {sample}", self.log_id)
    }

    /// A family with one sample for each of these that has one; nothing when none has.
    fn each<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl Iterator<Item = (&'a str, Option<u64>)>,
    ) -> Result<(), fmt::Error> {
        let mut samples = samples.filter_map(|(value, sample)| Some((value, sample?))).peekable();
        if samples.peek().is_some() {
            self.family(name, "gauge", help)?;
        }
        samples.try_for_each(|(value, sample)| self.labelled(name, (label, value), sample))
    }
}

/// Prints it.
pub(super) fn print(shown: &Shown, projections: &[StoredProjection], out: &mut Out) -> Result<(), Failure> {
    let mut text = Text { log_id: &shown.log_id, text: String::new() };
    fill(&mut text, shown, projections).expect("a string takes everything");
    if shown.streams.is_none() {
        note(false, "note: annals_streams is left out: streams cannot be counted");
    }
    out.bytes(text.text.as_bytes())
}

fn fill(text: &mut Text<'_>, shown: &Shown, projections: &[StoredProjection]) -> fmt::Result {
    text.gauge("head_position", "The position of the last event that can be read.", shown.head)?;
    text.gauge("durable_head_position", "The position of the last durable event.", shown.durable_head)?;
    text.gauge("oldest_position", "The position of the oldest event that is kept.", shown.oldest)?;
    text.gauge("events", "Events that can be read.", shown.events)?;
    text.one("appended_events_total", "counter", "Events that were ever appended.", Some(shown.total_events))?;
    text.gauge("streams", "Streams that have events.", shown.streams)?;
    text.gauge("log_bytes", "What the log takes, without what is reserved ahead.", shown.bytes)?;
    text.gauge("index_bytes", "What the files take that are derived from segments.", shown.index_bytes)?;
    text.gauge("segments", "Segments, the one that is written to included.", shown.segments as u64)?;
    text.gauge("sealed_segments", "Segments that are sealed.", shown.sealed_segments as u64)?;
    text.gauge("indexed_segments", "Sealed segments that have an index file.", shown.indexed_segments as u64)?;
    text.gauge("damaged_regions", "Regions of the log that are damaged and left out.", shown.gaps.len() as u64)?;
    text.one(
        "writer_epochs_total",
        "counter",
        "How many times the log was begun to be written.",
        Some(shown.epoch.into()),
    )?;

    let consumers = || shown.consumers.iter().map(|consumer| (&*consumer.name, consumer));
    text.each(
        "consumer_position",
        "What a consumer has finished.",
        "consumer",
        consumers().map(|(name, consumer)| (name, consumer.position)),
    )?;
    text.each(
        "consumer_lag_events",
        "How many events a consumer is behind.",
        "consumer",
        consumers().map(|(name, consumer)| (name, consumer.lag)),
    )?;
    text.each(
        "consumer_unusable",
        "1 where the checkpoint of a consumer cannot be used, or is of another log.",
        "consumer",
        consumers().map(|(name, consumer)| (name, Some(u64::from(!consumer.is_fine())))),
    )?;
    let projections = || projections.iter().map(|projection| (&*projection.name, projection));
    text.each(
        "projection_restart_position",
        "Where a projection would go on after a restart: its newest usable snapshot.",
        "projection",
        projections().map(|(name, projection)| (name, projection.position.map(annals::Position::get))),
    )?;
    text.each(
        "projection_restart_lag_events",
        "How many events a projection would fold after a restart.",
        "projection",
        projections().map(|(name, projection)| (name, Some(projection.lag))),
    )
}
