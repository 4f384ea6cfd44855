//! The tables of segments and of followers: the first rows in the overview, all on screens of their own.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::grid::{self, Cells};
use crate::human::{bytes, count};
use crate::top::model::Model;
use crate::top::sample::{Follower, Segment};

const SEGMENTS: [&str; 7] = ["#segment", "#first", "#last", "#events", "#size", "#index", "state"];
const FOLLOWERS: [&str; 6] = ["follower", "#position", "#lag", "#events/s", "kind", "fault"];

/// All segments, newest first.
pub(super) fn segments(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let list = &model.segment_list;
    let window = list.window(grid::room(area));
    let chosen = grid::chosen_in(&window, list.chosen());
    let all = model.sample.segments.iter().rev();
    let rows: Vec<Cells> = all.skip(window.start).take(window.len()).map(segment).collect();
    grid::draw(&SEGMENTS, &rows, chosen, frame, area);
}

/// As many of the newest segments as there is room for.
pub(super) fn newest_segments(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let rows: Vec<Cells> = model.sample.segments.iter().rev().take(grid::room(area)).map(segment).collect();
    grid::draw(&SEGMENTS, &rows, None, frame, area);
}

fn segment(segment: &Segment) -> Cells {
    let of_some = |text: String| if segment.events() == 0 { String::new() } else { text };
    let state = match (segment.sealed, segment.index_bytes) {
        (false, _) => "active",
        (true, Some(_)) => "sealed",
        (true, None) => "sealed, no index yet",
    };
    let cells = vec![
        segment.number.to_string(),
        of_some(count(segment.base + 1)),
        of_some(count(segment.last)),
        count(segment.events()),
        bytes(segment.bytes),
        segment.index_bytes.map_or_else(String::new, bytes),
        state.to_owned(),
    ];
    Cells { cells, is_bad: false }
}

/// All consumers and projections, those that are worst off first.
pub(super) fn followers(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let list = &model.follower_list;
    let window = list.window(grid::room(area));
    let chosen = grid::chosen_in(&window, list.chosen());
    let all = model.sample.followers.iter();
    let rows: Vec<Cells> = all.skip(window.start).take(window.len()).map(|one| follower(model, one)).collect();
    if rows.is_empty() {
        frame.render_widget(Line::raw("no consumer keeps a checkpoint here, and no projection a snapshot"), area);
        return;
    }
    grid::draw(&FOLLOWERS, &rows, chosen, frame, area);
}

/// As many of them as there is room for.
pub(super) fn worst_followers(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let worst = model.sample.followers.iter().take(grid::room(area));
    let rows: Vec<Cells> = worst.map(|one| follower(model, one)).collect();
    grid::draw(&FOLLOWERS, &rows, None, frame, area);
}

fn follower(model: &Model, follower: &Follower) -> Cells {
    let rates = model.followers.get(&(follower.kind, follower.name.clone()));
    // Checkpoints are written now and then: between two looks there is often none, and then many.
    let rate = rates.and_then(crate::top::rates::Rates::last_minute);
    let cells = vec![
        follower.name.clone(),
        follower.position.map_or_else(|| "none".to_owned(), count),
        follower.lag.map_or_else(|| "unknown".to_owned(), count),
        rate.map_or_else(|| "–".to_owned(), count),
        follower.kind.name().to_owned(),
        follower.fault.clone().unwrap_or_default(),
    ];
    Cells { cells, is_bad: follower.fault.is_some() }
}
