//! `annals stats`: how much a store holds.

use std::path::Path;

use annals::Position;
use serde::Serialize;

use crate::exit::{Ended, Exit};
use crate::human::{bytes, count, counted, printable};
use crate::open;
use crate::out::{BAD, BOLD, Out};

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
    segments: usize,
    bytes: u64,
    epoch: u32,
    /// Regions that are damaged and left out; the numbers above are without what only they know.
    gaps: Vec<Gap>,
    segment_list: Vec<Row>,
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
}

pub(crate) fn run(path: &Path, out: &mut Out) -> Ended {
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
    let segments = stats.segments.iter().map(|segment| Row {
        segment: segment.number.get(),
        base: segment.base.get(),
        last: segment.last.get(),
        bytes: segment.bytes,
        sealed: segment.sealed,
    });
    let shown = Shown {
        log_id: stats.log_id.to_string(),
        events: stats.retained_events,
        total_events: stats.total_events,
        streams: streams.as_ref().ok().copied(),
        head: stats.head.get(),
        durable_head: stats.durable_head.get(),
        oldest: stats.oldest.get(),
        segments: stats.segments.len(),
        bytes: stats.bytes,
        epoch: stats.epoch.get(),
        gaps: gaps.collect(),
        segment_list: segments.collect(),
    };
    let exit = if shown.gaps.is_empty() && streams.is_ok() { Exit::Fine } else { Exit::Findings };
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
        ("epoch", count(u64::from(shown.epoch))),
    ];
    for (name, value) in facts {
        out.say(format_args!("  {name:<10} {value}"))?;
    }
    let rows: Vec<Vec<String>> = shown
        .segment_list
        .iter()
        .map(|segment| {
            let state = if segment.sealed { "sealed" } else { "active" };
            let events = segment.last.saturating_sub(segment.base);
            let first = if events == 0 { String::new() } else { count(segment.base + 1) };
            let last = if events == 0 { String::new() } else { count(segment.last) };
            vec![segment.segment.to_string(), first, last, count(events), bytes(segment.bytes), state.to_owned()]
        })
        .collect();
    out.say(format_args!(""))?;
    out.table(&["#segment", "#first", "#last", "#events", "#size", "state"], &rows)?;
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
