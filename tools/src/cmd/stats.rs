//! `annals stats`: how much a store holds.

use std::path::Path;

use serde::Serialize;

use crate::exit::{Ended, Exit};
use crate::human::{bytes, count};
use crate::open;
use crate::out::{BOLD, Out};

#[derive(Serialize)]
struct Shown {
    log_id: String,
    /// Events that can be read.
    events: u64,
    /// Events that the log ever took in.
    total_events: u64,
    streams: u64,
    head: u64,
    durable_head: u64,
    oldest: u64,
    segments: usize,
    bytes: u64,
    epoch: u32,
    segment_list: Vec<Row>,
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
    let stats = open::for_reading(path)?.stats();
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
        streams: stats.streams,
        head: stats.head.get(),
        durable_head: stats.durable_head.get(),
        oldest: stats.oldest.get(),
        segments: stats.segments.len(),
        bytes: stats.bytes,
        epoch: stats.epoch.get(),
        segment_list: segments.collect(),
    };
    if out.is_json() {
        out.object(&shown)?;
        return Ok(Exit::Fine);
    }
    out.say(format_args!("{BOLD}{}{BOLD:#}", path.display()))?;
    let facts = [
        ("log id", shown.log_id.clone()),
        ("events", count(shown.events)),
        ("streams", count(shown.streams)),
        ("positions", format!("{} to {}", count(shown.oldest), count(shown.head))),
        ("size", format!("{} in {} segments", bytes(shown.bytes), count(shown.segments as u64))),
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
    Ok(Exit::Fine)
}
