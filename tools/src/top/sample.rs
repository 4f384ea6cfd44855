//! What one look at a store finds, as plain values: all that the screens show but for what somebody browses.

use std::time::Duration;

use super::latency::Summary;

/// A store at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// When it was looked at, from any moment on.
    pub(super) at: Duration,
    pub(super) log_id: String,
    pub(super) epoch: u32,
    pub(super) oldest: u64,
    pub(super) head: u64,
    pub(super) durable: u64,
    /// What the log takes now, in bytes.
    pub(super) bytes: u64,
    /// What was appended since the first look, in bytes.
    pub(super) appended: u64,
    /// Oldest first.
    pub(super) segments: Vec<Segment>,
    /// Those that are worst off first.
    pub(super) followers: Vec<Follower>,
    pub(super) latencies: Summary,
    /// Whether more events come than could be looked at as they came.
    pub(super) is_behind: bool,
    /// What is damaged, lost or cannot be told, a line each.
    pub(super) troubles: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The positions that it is for: after this one, up to that one.
    pub(super) base: u64,
    pub(super) last: u64,
    pub(super) bytes: u64,
    pub(super) sealed: bool,
    /// What its index file takes; `None` when there is none.
    pub(super) index_bytes: Option<u64>,
}

impl Segment {
    pub(super) fn events(&self) -> u64 {
        self.last.saturating_sub(self.base)
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum FollowerKind {
    Consumer,
    Projection,
}

impl FollowerKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            FollowerKind::Consumer => "consumer",
            FollowerKind::Projection => "projection",
        }
    }
}

/// Who follows the log and keeps beside it how far it has come.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    pub(super) kind: FollowerKind,
    pub(super) name: String,
    /// What it has finished, or would go on from; `None` when that is not known, or nowhere.
    pub(super) position: Option<u64>,
    /// `None` when it is not known.
    pub(super) lag: Option<u64>,
    pub(super) fault: Option<String>,
}

/// Those with a fault first, then those that are farthest behind.
pub(super) fn worst_first(followers: &mut [Follower]) {
    followers.sort_by(|a, b| {
        let worst = |one: &Follower| (one.fault.is_some(), one.lag.unwrap_or(u64::MAX));
        worst(b).cmp(&worst(a)).then_with(|| (&a.name, a.kind).cmp(&(&b.name, b.kind)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_before_every_lag_and_an_unknown_lag_before_every_known_one() {
        let of = |name: &str, kind, lag, fault: Option<&str>| Follower {
            kind,
            name: name.to_owned(),
            position: None,
            lag,
            fault: fault.map(str::to_owned),
        };
        let (consumer, projection) = (FollowerKind::Consumer, FollowerKind::Projection);
        let mut followers = [
            of("far", consumer, Some(1_000_000), None),
            of("near", projection, Some(0), None),
            of("near", consumer, Some(0), None),
            of("broken", consumer, Some(0), Some("torn")),
            of("unknown", projection, None, None),
            of("lost", consumer, None, Some("torn")),
            of("almost", consumer, Some(0), None),
        ];
        worst_first(&mut followers);
        let names = followers.each_ref().map(|follower| (&*follower.name, follower.kind));
        let names = names.map(|(name, kind)| format!("{name} {}", kind.name()));
        let expected = ["lost consumer", "broken consumer", "unknown projection", "far consumer"];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], ["almost consumer", "near consumer", "near projection"]);
    }
}
