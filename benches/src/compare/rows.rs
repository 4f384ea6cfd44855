//! What is measured, row by row.

use crate::engine::{Kind, Mode};

/// Rows that are measured on the same stores, in one table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Group {
    Durable,
    Buffered,
    Reads,
    Open,
    Footprint,
}

impl Group {
    pub(crate) const ALL: [Group; 5] = [Group::Durable, Group::Buffered, Group::Reads, Group::Open, Group::Footprint];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Durable => "Durable appends",
            Group::Buffered => "Buffered appends",
            Group::Reads => "Reading",
            Group::Open => "Opening again",
            Group::Footprint => "Disk and memory",
        }
    }
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// So many events to one stream, one append after the other.
    Appends(u64),
    /// Appends of one event by so many threads at once.
    Callers(u64),
    /// Everything is read, by who has opened the store just now.
    ReadFirst,
    /// Everything is read once more.
    ReadAgain,
    /// Streams of 94 events.
    Streams,
    /// Events by position.
    Positions,
    /// Opened by a new process, after the last one closed it.
    AfterClose,
    /// Opened by a new process, after the last one was killed while it appended.
    AfterKill,
    /// Bytes on the disk per event.
    Disk,
    /// The most memory at once while the store was filled.
    Peak,
    /// Of that, what belongs to no file, at the end.
    Anonymous,
}

/// What a measured number counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// Things done in a second; what is kept is the seconds of one.
    PerSecond(&'static str),
    Seconds,
    Bytes,
    Kib,
}

pub(crate) struct Row {
    /// As it is named on the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) group: Group,
    pub(crate) how: How,
    pub(crate) unit: Unit,
}

const EVENTS: Unit = Unit::PerSecond("events/s");

pub(crate) const ALL: &[Row] = &[
    row("durable-1", "1 event", Group::Durable, How::Appends(1), EVENTS),
    row("durable-10", "batches of 10", Group::Durable, How::Appends(10), EVENTS),
    row("durable-100", "batches of 100", Group::Durable, How::Appends(100), EVENTS),
    row("durable-1000", "batches of 1000", Group::Durable, How::Appends(1000), EVENTS),
    row("durable-64-callers", "1 event, 64 callers", Group::Durable, How::Callers(64), EVENTS),
    row("buffered-1", "1 event", Group::Buffered, How::Appends(1), EVENTS),
    row("buffered-100", "batches of 100", Group::Buffered, How::Appends(100), EVENTS),
    row("read-first", "everything, just opened", Group::Reads, How::ReadFirst, EVENTS),
    row("read-again", "everything, again", Group::Reads, How::ReadAgain, EVENTS),
    row("stream", "a stream of 94 events", Group::Reads, How::Streams, Unit::PerSecond("streams/s")),
    row("position", "an event by position", Group::Reads, How::Positions, EVENTS),
    row("open-after-close", "after a clean close", Group::Open, How::AfterClose, Unit::Seconds),
    row("open-after-kill", "after SIGKILL", Group::Open, How::AfterKill, Unit::Seconds),
    row("disk", "bytes on the disk per event", Group::Footprint, How::Disk, Unit::Bytes),
    row("memory", "peak memory (VmHWM, with pages of mapped files)", Group::Footprint, How::Peak, Unit::Kib),
    row("anonymous", "memory of no file (RssAnon), at the end", Group::Footprint, How::Anonymous, Unit::Kib),
];

const fn row(name: &'static str, title: &'static str, group: Group, how: How, unit: Unit) -> Row {
    Row { name, title, group, how, unit }
}

impl Row {
    /// Whether an engine can do that at all.
    pub(crate) fn is_for(&self, kind: &Kind) -> bool {
        let opens = match self.group {
            Group::Durable => kind.durable.is_some(),
            Group::Buffered => kind.buffered.is_some(),
            Group::Reads | Group::Open | Group::Footprint => true,
        };
        opens && !kind.cannot.contains(&self.name)
    }

    /// How the store is opened for it.
    pub(crate) fn mode(&self, kind: &Kind) -> Mode {
        match self.group {
            Group::Durable | Group::Reads | Group::Open if kind.durable.is_some() => Mode::Durable,
            _ => Mode::Buffered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kinds;

    #[test]
    fn what_an_engine_cannot_do_is_a_row() {
        for kind in kinds() {
            for name in kind.cannot {
                assert!(ALL.iter().any(|row| row.name == *name), "{} cannot do {name}, and nobody does", kind.name);
            }
        }
    }
}
