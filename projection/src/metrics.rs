//! How projections are doing, as numbers for Prometheus.

use annals::Position;
use annals::prometheus::Text;

use crate::shared::ProjectionStatus;

/// Adds to the text for Prometheus how projections are doing, one sample for each of them: how far they are, how far
/// behind the head, how many events were left out, and whether they stand still because of a fault.
///
/// ```
/// use std::time::Duration;
///
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_projection::{LiveProjection, Projection, add_to_prometheus};
///
/// let store = EventStore::in_memory(&Options::new().metrics(true))?;
/// let placed = Projection::new("placed").when("Placed", |count: &mut u64, _| *count += 1);
/// let placed = LiveProjection::start(&store, placed)?;
/// let done = store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
/// placed.wait_for(done.last, Duration::from_secs(5))?;
///
/// let mut text = store.prometheus();
/// add_to_prometheus(&mut text, &[placed.status()]);
/// let lag = format!("annals_projection_lag_events{{log=\"{}\",projection=\"placed\"}} 0\n", store.log_id());
/// assert!(text.to_string().contains(&lag));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn add_to_prometheus(text: &mut Text, projections: &[ProjectionStatus]) {
    let mut gauges = |name, help, sample: fn(&ProjectionStatus) -> u64| {
        let samples = projections.iter().map(|status| (&status.name, Some(sample(status))));
        text.gauges(name, help, "projection", samples);
    };
    gauges("projection_position", "Up to where a projection has folded.", |status| Position::get(status.position));
    gauges("projection_lag_events", "How many positions a projection is behind the head.", |status| status.lag);
    gauges("projection_skipped_events", "Events that a projection has left out.", |status| status.skipped);
    gauges("projection_faulted", "1 where a projection does not go on, or tries again.", |status| {
        u64::from(status.fault.is_some())
    });
}
