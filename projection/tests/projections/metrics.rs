//! What is told of projections to who watches them.

use std::sync::{Arc, Mutex};

use annals::storage::sim::SimDisk;
use annals_projection::{LiveProjection, Projection, add_to_prometheus};

use crate::support::*;

#[test]
fn prometheus_is_told_how_far_each_projection_is_and_which_stands_still() {
    let store = in_memory();
    let good = LiveProjection::start(&store, seen("good")).unwrap();
    let bad =
        Projection::new("bad").when("Added", |_: &mut u64, event| assert!(number(event) < 2, "as the test wants"));
    let bad = LiveProjection::start(&store, bad).unwrap();
    add(&store, 1..=5);
    good.wait_for(pos(5), LONG).unwrap();
    bad.wait_for(pos(5), LONG).unwrap_err();
    let mut text = store.prometheus();
    add_to_prometheus(&mut text, &[good.status()]);
    add_to_prometheus(&mut text, &[bad.status()]);
    let text = text.to_string();
    let log = store.log_id();
    for (name, [of_good, of_bad]) in
        [("position", [5, 1]), ("lag_events", [0, 4]), ("skipped_events", [0, 0]), ("faulted", [0, 1])]
    {
        let sample = |projection, value| {
            format!("annals_projection_{name}{{log=\"{log}\",projection=\"{projection}\"}} {value}\n")
        };
        let both = format!("{}{}", sample("good", of_good), sample("bad", of_bad));
        assert!(text.contains(&format!("# TYPE annals_projection_{name} gauge\n{both}")), "{both} in {text}");
    }
}

/// The spans of this thread, by their names, as they are opened.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<&'static str>>>);

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("annals_projection")
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut spans = self.0.lock().unwrap();
        spans.push(span.metadata().name());
        tracing::span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_snapshot_is_a_span_and_an_event_that_is_folded_is_none() {
    let spans = Spans::default();
    tracing::subscriber::with_default(spans.clone(), || {
        let store = open(&SimDisk::new(1));
        add(&store, 1..=5);
        let mut projection = seen("seen").keep_snapshots(2).attach(&store).unwrap();
        projection.catch_up().unwrap();
        assert_eq!(*spans.0.lock().unwrap(), [""; 0]);
        projection.take_snapshot().unwrap();
        assert_eq!(*spans.0.lock().unwrap(), ["snapshot"]);
    });
}
