//! `annals stats`: how much a store holds.

mod prometheus;

use std::path::Path;

use annals::{LossRecord, Position, SegmentNumber};
use serde::Serialize;

use super::{consumers, projections, repair};
use crate::derived;
use crate::exit::{Ended, Exit};
use crate::human::{bytes, count, counted, printable};
use crate::open;
use crate::out::{BAD, BOLD, Out};
use crate::time;

#[derive(Serialize)]
struct Shown {
    log_id: String,
    /// Events that can be read.
    events: u64,
    /// Events that the log ever took in.
    total_events: u64,
    /// `null` when they cannot be counted.
    streams: Option<u64>,
    head: u64,
    durable_head: u64,
    oldest: u64,
    /// What is known of removed events; `null` when none were.
    floor: Option<Floor>,
    segments: usize,
    bytes: u64,
    epoch: u32,
    /// Sealed segments, and those of them that have an index file.
    sealed_segments: usize,
    indexed_segments: usize,
    /// What all files that are derived from segments take.
    index_bytes: u64,
    /// Regions that are damaged and left out; the numbers above are without what only they know.
    gaps: Vec<Gap>,
    /// How many positions repairs had to give up; `null`, if the store never was repaired.
    lost: Option<u64>,
    consumers: Vec<consumers::Row>,
    segment_list: Vec<Row>,
}

#[derive(Serialize)]
struct Floor {
    /// Everything up to here was removed.
    position: u64,
    /// The last of it was recorded then, and removed then.
    recorded_at: String,
    removed_at: String,
    streams: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Gap {
    segment: u64,
    offset: u64,
    from: u64,
    to: Option<u64>,
    fault: String,
}

#[derive(Serialize)]
struct Row {
    segment: u64,
    base: u64,
    last: u64,
    bytes: u64,
    sealed: bool,
    /// What its index file takes; `null` when there is none.
    index_bytes: Option<u64>,
}

pub(crate) fn run(path: &Path, for_prometheus: bool, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let stats = store.stats();
    let streams = store.stream_count();
    let damage = &store.recovery_report().gaps;
    let gaps = damage.iter().map(|gap| Gap {
        segment: gap.segment.get(),
        offset: gap.offset,
        from: gap.from.get(),
        to: gap.to.map(Position::get),
        fault: gap.fault.clone(),
    });
    let files = derived::files(path);
    let index_of = |segment: SegmentNumber| files.get(&derived::index_name(segment.get())).copied();
    let segments = stats.segments.iter().map(|segment| Row {
        segment: segment.number.get(),
        base: segment.base.get(),
        last: segment.last.get(),
        bytes: segment.bytes,
        sealed: segment.sealed,
        index_bytes: index_of(segment.number).filter(|_| segment.sealed),
    });
    let segments: Vec<Row> = segments.collect();
    let (lost, _) = repair::lost(path);
    let shown = Shown {
        log_id: stats.log_id.to_string(),
        events: stats.retained_events,
        total_events: stats.total_events,
        streams: streams.as_ref().ok().copied(),
        head: stats.head.get(),
        durable_head: stats.durable_head.get(),
        oldest: stats.oldest.get(),
        floor: stats.floor.map(|floor| Floor {
            position: floor.position.get(),
            recorded_at: time::show(floor.recorded_at),
            removed_at: time::show(floor.removed_at),
            streams: floor.streams,
            bytes: floor.bytes,
        }),
        segments: stats.segments.len(),
        bytes: stats.bytes,
        epoch: stats.epoch.get(),
        sealed_segments: segments.iter().filter(|segment| segment.sealed).count(),
        indexed_segments: segments.iter().filter(|segment| segment.index_bytes.is_some()).count(),
        index_bytes: files.values().sum(),
        gaps: gaps.collect(),
        lost: lost.as_ref().map(LossRecord::positions),
        consumers: stats.consumers.iter().map(consumers::Row::of).collect(),
        segment_list: segments,
    };
    let is_fine = shown.gaps.is_empty() && shown.consumers.iter().all(consumers::Row::is_fine);
    let exit = if is_fine && streams.is_ok() { Exit::Fine } else { Exit::Findings };
    if for_prometheus {
        prometheus::print(&stats, &shown, &projections::stored(&store)?, out)?;
        // What is wrong stands in the numbers, which are to come to whoever collects them, now more than ever.
        return Ok(Exit::Fine);
    }
    if out.is_json() {
        out.object(&shown)?;
        return Ok(exit);
    }
    out.say(format_args!("{BOLD}{}{BOLD:#}", printable(&path.display().to_string())))?;
    let facts = [
        ("log id", shown.log_id.clone()),
        ("events", count(shown.events)),
        ("streams", shown.streams.map_or_else(|| "unknown".to_owned(), count)),
        ("positions", format!("{} to {}", count(shown.oldest), count(shown.head))),
        ("size", format!("{} in {}", bytes(shown.bytes), counted(shown.segments as u64, "segment"))),
        (
            "indexes",
            format!(
                "{} for {} of {}",
                bytes(shown.index_bytes),
                count(shown.indexed_segments as u64),
                counted(shown.sealed_segments as u64, "sealed segment")
            ),
        ),
        ("epoch", count(u64::from(shown.epoch))),
    ];
    for (name, value) in facts {
        out.say(format_args!("  {name:<10} {value}"))?;
    }
    if let Some(floor) = &shown.floor {
        let known = format!("{} known ({})", counted(floor.streams, "stream"), bytes(floor.bytes));
        let position = count(floor.position);
        out.say(format_args!(
            "  {:<10} positions 1 to {position}, {known}; the last on {}",
            "removed", floor.removed_at
        ))?;
    }
    if let Some(record) = &lost {
        out.say(format_args!("  {:<10} {}", "lost", repair::summary(record)))?;
    }
    let rows: Vec<Vec<String>> = shown
        .segment_list
        .iter()
        .map(|segment| {
            let state = if segment.sealed { "sealed" } else { "active" };
            let events = segment.last.saturating_sub(segment.base);
            let first = if events == 0 { String::new() } else { count(segment.base + 1) };
            let last = if events == 0 { String::new() } else { count(segment.last) };
            vec![
                segment.segment.to_string(),
                first,
                last,
                count(events),
                bytes(segment.bytes),
                segment.index_bytes.map_or_else(String::new, bytes),
                state.to_owned(),
            ]
        })
        .collect();
    out.say(format_args!(""))?;
    out.table(&["#segment", "#first", "#last", "#events", "#size", "#index", "state"], &rows)?;
    if !shown.consumers.is_empty() {
        out.say(format_args!(""))?;
        consumers::table(&shown.consumers, out)?;
    }
    if !shown.gaps.is_empty() {
        out.say(format_args!(""))?;
    }
    for gap in damage {
        out.say(format_args!("{BAD}{}{BAD:#}", printable(&gap.to_string())))?;
    }
    if let Err(error) = streams {
        out.say(format_args!("{BAD}streams cannot be counted: {}{BAD:#}", printable(&error.to_string())))?;
    }
    Ok(exit)
}
