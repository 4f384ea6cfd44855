//! The first screen: what the store is, how fast it grows, how long events take, and what is wrong.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, RenderDirection, Sparkline, Wrap};

use super::{BAD, DIM, tables};
use crate::human::{bytes, count, counted, printable};
use crate::top::model::Model;
use crate::top::sample::Sample;

/// So many troubles are shown; what they are all is for `annals verify` to say.
const MOST_TROUBLES: usize = 3;
/// The names of the facts take as many columns as the longest of them.
const NAMES: usize = "recorded to seen".len();

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    if !model.has_sample {
        frame.render_widget(Line::styled("looking …", DIM), area);
        return;
    }
    let (facts, troubles) = (facts(model), troubles(&model.sample));
    // Between words a line may end before its last column.
    let rows_of = |line: &Line<'_>| 1 + line.width() / usize::from(area.width.max(8) - 7);
    let rows_of_troubles: usize = troubles.iter().map(rows_of).sum();
    let graph = if area.height >= 16 { 3 } else { 0 };
    let followers = model.sample.followers.len().min(6) as u16;
    let rows = [
        Constraint::Length(facts.len() as u16),
        Constraint::Length(rows_of_troubles as u16),
        Constraint::Length(graph),
        Constraint::Fill(1),
        Constraint::Length(if followers == 0 { 0 } else { followers + 1 }),
    ];
    let [above, wrong, graph, segments, followers] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(facts), above);
    frame.render_widget(Paragraph::new(troubles).wrap(Wrap { trim: false }), wrong);
    // The newest at the right edge.
    let steps: Vec<u64> = model.events.steps().rev().collect();
    frame.render_widget(Sparkline::default().data(&steps).direction(RenderDirection::RightToLeft), graph);
    tables::newest_segments(model, frame, segments);
    if !model.sample.followers.is_empty() {
        tables::worst_followers(model, frame, followers);
    }
}

fn facts(model: &Model) -> Vec<Line<'static>> {
    let sample = &model.sample;
    let positions = if sample.head < sample.oldest {
        format!("none; the head is {}", count(sample.head))
    } else {
        format!("{} to {}, durable to {}", count(sample.oldest), count(sample.head), count(sample.durable))
    };
    let rates = |now: Option<u64>, minute: Option<u64>, show: fn(u64) -> String| {
        let show = |rate: Option<u64>| rate.map_or_else(|| "–".to_owned(), show);
        format!("{} now, {} over the last minute", show(now), show(minute))
    };
    let mut lines = vec![
        fact("log", format!("{}, epoch {}", sample.log_id, sample.epoch)),
        fact("positions", positions),
        fact("size", size(sample)),
        fact("events/s", rates(model.events.now(), model.events.last_minute(), count)),
        fact("bytes/s", rates(model.bytes.now(), model.bytes.last_minute(), bytes)),
        latencies(sample),
    ];
    if sample.is_behind {
        lines.push(fact("", "more events come than are looked at as they come".to_owned()));
    }
    lines
}

fn troubles(sample: &Sample) -> Vec<Line<'static>> {
    let ahead = sample.latencies.ahead;
    let clocks = (ahead > 0)
        .then(|| format!("{} of 1 min recorded later than they were seen: the clocks differ", counted(ahead, "event")));
    let shown = clocks.iter().chain(sample.troubles.iter().take(MOST_TROUBLES));
    let mut lines: Vec<Line<'_>> = shown.map(|trouble| Line::styled(printable(trouble).into_owned(), BAD)).collect();
    if let Some(more @ 1..) = sample.troubles.len().checked_sub(MOST_TROUBLES) {
        lines.push(Line::styled(format!("and {} more: `annals verify` lists them", count(more as u64)), BAD));
    }
    lines
}

fn fact(name: &str, value: String) -> Line<'static> {
    Line::from(vec![Span::styled(format!("{name:<NAMES$} "), DIM), Span::raw(value)])
}

fn size(sample: &Sample) -> String {
    let sealed = sample.segments.iter().filter(|segment| segment.sealed).count() as u64;
    let indexed = sample.segments.iter().filter(|segment| segment.index_bytes.is_some()).count() as u64;
    let segments = counted(sample.segments.len() as u64, "segment");
    format!("{} in {segments}, {} of {} sealed ones indexed", bytes(sample.bytes), count(indexed), count(sealed))
}

fn latencies(sample: &Sample) -> Line<'static> {
    let seen = sample.latencies;
    let text = if seen.events == 0 {
        "nothing came in the last minute".to_owned()
    } else {
        let [p50, p99, max] = [seen.p50, seen.p99, seen.max].map(duration);
        format!("p50 {p50}, p99 {p99}, max {max}; {} in 1 min", counted(seen.events, "event"))
    };
    fact("recorded to seen", text)
}

/// Nanoseconds in the unit that leaves one to three digits before the point.
fn duration(nanos: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let unit = UNITS.into_iter().find(|(size, _)| nanos >= *size);
    unit.map_or_else(
        || format!("{nanos} ns"),
        |(size, unit)| format!("{}.{} {unit}", count(nanos / size), nanos % size / (size / 10)),
    )
}
