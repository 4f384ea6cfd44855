//! Numbers of a store in the text format that Prometheus scrapes (version 0.0.4).
//!
//! [`EventStore::prometheus`](crate::EventStore::prometheus) gives all that a store can tell of itself. [`Text`] is for who
//! has more to add: a program that keeps projections, or one that looks at a store from outside.
//!
//! What is always true: every sample names its log, so that the numbers of several stores can stand side by side; what
//! cannot be told is left out, and never a zero; and what has one name stands together, under one help and type.

use std::fmt::{self, Write as _};
use std::time::Duration;

use annals_codec::LogId;

use crate::metrics::Metrics;
use crate::metrics::histogram::Distribution;
use crate::metrics::measure::{Counter, Measure};
use crate::stats::{ConsumerInfo, Stats};

/// Samples of one log under their names, in the order in which they are added. Names begin with `annals_`, which is not said.
///
/// ```
/// use annals::prometheus::Text;
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
///
/// let mut text = Text::new(store.log_id());
/// text.stats(&store.stats());
/// text.gauge("open_orders", "Orders that are not paid.", 1);
/// assert!(text.to_string().contains("# TYPE annals_open_orders gauge\nannals_open_orders{log=\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Text {
    log_id: LogId,
    families: Vec<Family>,
}

/// The samples of one name, as they stand in the text, and what stands before them.
#[derive(Clone, Debug)]
struct Family {
    name: String,
    head: String,
    samples: String,
}

impl Family {
    fn add(&mut self, sample: fmt::Arguments<'_>) {
        writeln!(self.samples, "annals_{}{sample}", self.name).expect("a string takes everything");
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.families.iter().try_for_each(|family| {
            out.write_str(&family.head)?;
            out.write_str(&family.samples)
        })
    }
}

/// The value of a label, with what would end it escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => out.write_str(r"\\"),
            '"' => out.write_str(r#"\""#),
            '\n' => out.write_str(r"\n"),
            letter => out.write_char(letter),
        })
    }
}

/// Seconds, as many digits as it takes and no exponent.
#[allow(clippy::cast_precision_loss, reason = "beyond hundred days the nanoseconds are not told")]
fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}

impl Text {
    /// Nothing yet, of this log.
    pub fn new(log_id: LogId) -> Text {
        Text { log_id, families: Vec::new() }
    }

    /// The family of this name: the one that is there, or a new one.
    fn family(&mut self, name: &str, kind: &str, help: &str) -> &mut Family {
        let known = self.families.iter().position(|family| family.name == name);
        let index = known.unwrap_or_else(|| {
            // A line feed would end the help, and there is no sense in one.
            let help = help.replace('\\', r"\\").replace('\n', " ");
            let head = format!("# HELP annals_{name} {help}\n# TYPE annals_{name} {kind}\n");
            self.families.push(Family { name: name.to_owned(), head, samples: String::new() });
            self.families.len() - 1
        });
        &mut self.families[index]
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, sample: u64) {
        let log_id = self.log_id;
        self.family(name, kind, help).add(format_args!("{{log=\"{log_id}\"}} {sample}"));
    }

    /// A number that goes up and down; nothing, where it cannot be told.
    pub fn gauge(&mut self, name: &str, help: &str, sample: impl Into<Option<u64>>) {
        if let Some(sample) = sample.into() {
            self.one(name, "gauge", help, sample);
        }
    }

    /// A number that only goes up. Its name ends with `_total`.
    pub fn counter(&mut self, name: &str, help: &str, sample: u64) {
        self.one(name, "counter", help, sample);
    }

    /// A gauge of several things, told apart by the value of a label: one sample for each that has one. Nothing, when
    /// none has.
    pub fn gauges<V: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (V, Option<u64>)>,
    ) {
        let log_id = self.log_id;
        for (value, sample) in samples {
            let Some(sample) = sample else { continue };
            let value = Escaped(value.as_ref());
            let family = self.family(name, "gauge", help);
            family.add(format_args!("{{log=\"{log_id}\",{label}=\"{value}\"}} {sample}"));
        }
    }

    /// How long something has taken, in seconds, counted up to powers of four. Its name ends with `_seconds`.
    pub fn histogram(&mut self, name: &str, help: &str, distribution: &Distribution) {
        let log_id = self.log_id;
        let family = self.family(name, "histogram", help);
        for (bound, within) in distribution.cumulative() {
            let bound = seconds(bound);
            family.add(format_args!("_bucket{{log=\"{log_id}\",le=\"{bound}\"}} {within}"));
        }
        let (sum, count) = (seconds(distribution.sum()), distribution.count());
        family.add(format_args!("_bucket{{log=\"{log_id}\",le=\"+Inf\"}} {count}"));
        family.add(format_args!("_sum{{log=\"{log_id}\"}} {sum}"));
        family.add(format_args!("_count{{log=\"{log_id}\"}} {count}"));
    }

    /// Adds what is said of another log, so that one scrape is answered for several: what has the same name comes to
    /// stand together.
    pub fn extend(&mut self, other: Text) {
        for family in other.families {
            match self.families.iter_mut().find(|known| known.name == family.name) {
                Some(known) => known.samples.push_str(&family.samples),
                None => self.families.push(family),
            }
        }
    }

    /// How a store stands, as far as it shows from outside, too.
    pub fn stats(&mut self, stats: &Stats) {
        self.gauge("head_position", "The position of the last event that can be read.", stats.head.get());
        self.gauge("durable_head_position", "The position of the last durable event.", stats.durable_head.get());
        self.gauge("oldest_position", "The position of the oldest event that is kept.", stats.oldest.get());
        self.gauge("events", "Events that can be read.", stats.retained_events);
        self.counter("appended_events_total", "Events that were ever appended.", stats.total_events);
        self.gauge("log_bytes", "What the log takes, without what is reserved ahead.", stats.bytes);
        let sealed = stats.segments.iter().filter(|segment| segment.sealed).count();
        self.gauge("segments", "Segments, the one that is written to included.", stats.segments.len() as u64);
        self.gauge("sealed_segments", "Segments that are sealed.", sealed as u64);
        self.counter(
            "writer_epochs_total",
            "How many times the log was begun to be written.",
            stats.epoch.get().into(),
        );
        let consumers = |sample: fn(&ConsumerInfo) -> Option<u64>| {
            stats.consumers.iter().map(move |consumer| (consumer.name.as_str(), sample(consumer)))
        };
        self.gauges(
            "consumer_position",
            "What a consumer has finished.",
            "consumer",
            consumers(|consumer| consumer.position.map(annals_codec::Position::get)),
        );
        self.gauges(
            "consumer_lag_events",
            "How many events a consumer is behind.",
            "consumer",
            consumers(|consumer| consumer.lag),
        );
        self.gauges(
            "consumer_unusable",
            "1 where the checkpoint of a consumer cannot be used, or is of another log.",
            "consumer",
            consumers(|consumer| Some(u64::from(consumer.fault.is_some()))),
        );
    }

    /// What only the process that has the store open knows: for writing, or to read it.
    pub(crate) fn of_process(&mut self, stats: &Stats, writes: bool) {
        self.gauge("queue_depth", "Appends that wait for a group.", writes.then_some(stats.queue_depth));
        self.gauge(
            "pinned_mappings",
            "Mappings of segments that are not of the log any more, which somebody still reads.",
            stats.pinned_mappings,
        );
    }

    /// What was measured by a store that is open for writing, or to be read.
    pub(crate) fn measured(&mut self, metrics: &Metrics, writes: bool) {
        let bare = |metric: &'static str| metric.strip_prefix("annals_").expect("each begins so");
        for &counter in Counter::ALL.iter().filter(|counter| counter.is_of(writes)) {
            self.counter(bare(counter.metric()), counter.help(), metrics.counter(counter));
        }
        for &measure in Measure::ALL.iter().filter(|measure| measure.is_of(writes)) {
            self.histogram(bare(measure.metric()), measure.help(), metrics.distribution(measure));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::histogram::Histogram;

    #[test]
    fn what_took_longer_than_the_last_bound_is_counted_behind_it_and_seconds_are_seconds() {
        let histogram = Histogram::new();
        for took in [Duration::from_millis(1500), Duration::from_secs(60), Duration::from_secs(4000)] {
            histogram.record(took);
        }
        let mut text = Text::new(LogId::from_bytes([0; 16]));
        text.histogram("nap_seconds", "A nap.", &histogram.look());
        let text = text.to_string();
        let value = |of: &str| {
            let line = text.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("{of} in {text}"));
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(value("le=\"0.000000256\""), "0");
        assert_eq!(value("le=\"1.073741824\""), "0");
        assert_eq!(value("le=\"4.294967296\""), "1");
        assert_eq!(value("le=\"68.719476736\""), "2", "the last bound");
        assert_eq!((value("le=\"+Inf\""), value("_count")), ("3".to_owned(), "3".to_owned()));
        assert_eq!(value("_sum"), "4061.5");
    }
}
