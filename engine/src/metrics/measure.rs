//! What is measured and what is counted, and under which names.
//!
//! What is always true: names are part of what users rely on, in their dashboards and alarms. One that is given
//! is not changed.

/// Something of which a store measures how long it takes.
///
/// An append is measured as a whole and in its stages. Callers that wait together are committed as one group: the
/// first two are measured for each of them, the stages once for the group. Of appends that are not synced
/// ([`Durability::Buffered`](crate::Durability::Buffered)) one in 64 is measured, drawn by lot: reading the
/// clock at each of their boundaries would be some 7 % of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Measure {
    /// An append, from when it is queued until its answer is there, whether it was written or refused.
    Append,
    /// The part of it in which it waits for the group before it.
    Queue,
    /// A group's checks against the log: expected versions, conditions, retries.
    Checks,
    /// A group's encoding, checksums and hashes included.
    Encode,
    /// A group's write to the segment, the reserving of space included.
    Write,
    /// A sync of the segment that is written to, whoever has asked for it.
    Sync,
    /// What a reader takes to its first event, or to know that there is none: readers of everything, of a stream and
    /// of a query. What its caller does between two events is nobody's business.
    Read,
    /// One event looked up by its position or its id.
    Get,
    /// A verification with this [recorder](crate::inspect::Verify::recorder).
    Verify,
    /// The recovery when the store was opened, from its lock to the first append that it could take; of one that was
    /// opened read-only, from the first look at its files to the first read.
    Recovery,
    /// The sealing of a segment, its sync included.
    Seal,
    /// The making of a sealed segment's index.
    Index,
    /// What a store that was opened read-only takes to take in what the writer in another process has added since,
    /// which is done before a read. A look that finds nothing new is not measured.
    Follow,
}

impl Measure {
    /// All of them, in the order in which they are declared.
    pub const ALL: &'static [Measure] = &[
        Measure::Append,
        Measure::Queue,
        Measure::Checks,
        Measure::Encode,
        Measure::Write,
        Measure::Sync,
        Measure::Read,
        Measure::Get,
        Measure::Verify,
        Measure::Recovery,
        Measure::Seal,
        Measure::Index,
        Measure::Follow,
    ];

    /// The name of its metric in Prometheus and elsewhere, `annals_append_seconds` for instance.
    pub fn metric(self) -> &'static str {
        match self {
            Measure::Append => "annals_append_seconds",
            Measure::Queue => "annals_append_queue_seconds",
            Measure::Checks => "annals_append_checks_seconds",
            Measure::Encode => "annals_append_encode_seconds",
            Measure::Write => "annals_append_write_seconds",
            Measure::Sync => "annals_sync_seconds",
            Measure::Read => "annals_read_seconds",
            Measure::Get => "annals_get_seconds",
            Measure::Verify => "annals_verify_seconds",
            Measure::Recovery => "annals_recovery_seconds",
            Measure::Seal => "annals_seal_seconds",
            Measure::Index => "annals_index_seconds",
            Measure::Follow => "annals_follow_seconds",
        }
    }

    /// What it is, in one line.
    pub fn help(self) -> &'static str {
        match self {
            Measure::Append => "An append, from when it is queued until its answer is there.",
            Measure::Queue => "What an append waits for the group before it.",
            Measure::Checks => "The checks of a group of appends.",
            Measure::Encode => "The encoding of a group of appends.",
            Measure::Write => "The write of a group of appends.",
            Measure::Sync => "A sync of the segment that is written to.",
            Measure::Read => "What a reader takes to its first event.",
            Measure::Get => "One event looked up by position or id.",
            Measure::Verify => "A verification.",
            Measure::Recovery => "The recovery when the store was opened.",
            Measure::Seal => "The sealing of a segment.",
            Measure::Index => "The making of an index of a sealed segment.",
            Measure::Follow => "What a reader takes to take in what the writer has added.",
        }
    }

    /// Whether a store can come to measure it: one that is opened for writing, or one that is only read.
    pub(crate) fn is_of(self, writes: bool) -> bool {
        match self {
            Measure::Append
            | Measure::Queue
            | Measure::Checks
            | Measure::Encode
            | Measure::Write
            | Measure::Sync
            | Measure::Seal => writes,
            Measure::Follow => !writes,
            Measure::Read | Measure::Get | Measure::Verify | Measure::Recovery | Measure::Index => true,
        }
    }
}

/// Something of which a store counts how often it happens.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Counter {
    /// Appends that were refused because the log has moved: [`ConcurrencyConflict`], [`TrackingConflict`],
    /// [`ConditionFailed`].
    ///
    /// [`ConcurrencyConflict`]: crate::AppendError::ConcurrencyConflict
    /// [`TrackingConflict`]: crate::AppendError::TrackingConflict
    /// [`ConditionFailed`]: crate::AppendError::ConditionFailed
    Conflicts,
    /// Appends that were made before and got their first answer: [`Outcome::Duplicate`](crate::Outcome::Duplicate).
    Duplicates,
    /// Openings at which there was something to put right: 1 or 0 for one store, more for a recorder of many.
    Recoveries,
    /// How often damage was met: by a read, by an append that could not be checked for it, by an opening that it has
    /// ended; each region that a store opened read-only leaves out; and each finding of a verification with this
    /// [recorder](crate::inspect::Verify::recorder).
    Corruptions,
    /// How often the watermark could not be written.
    WatermarkErrors,
}

impl Counter {
    /// All of them, in the order in which they are declared.
    pub const ALL: &'static [Counter] =
        &[Counter::Conflicts, Counter::Duplicates, Counter::Recoveries, Counter::Corruptions, Counter::WatermarkErrors];

    /// The name of its metric in Prometheus and elsewhere, `annals_conflicts_total` for instance.
    pub fn metric(self) -> &'static str {
        match self {
            Counter::Conflicts => "annals_conflicts_total",
            Counter::Duplicates => "annals_duplicates_total",
            Counter::Recoveries => "annals_recoveries_total",
            Counter::Corruptions => "annals_corruptions_total",
            Counter::WatermarkErrors => "annals_watermark_errors_total",
        }
    }

    /// What it is, in one line.
    pub fn help(self) -> &'static str {
        match self {
            Counter::Conflicts => "Appends that were refused because the log has moved.",
            Counter::Duplicates => "Appends that were made before and got their first answer.",
            Counter::Recoveries => "Openings at which there was something to put right.",
            Counter::Corruptions => "How often damage was met.",
            Counter::WatermarkErrors => "How often the watermark could not be written.",
        }
    }

    /// Whether a store can come to count it: one that is opened for writing, or one that is only read.
    pub(crate) fn is_of(self, writes: bool) -> bool {
        match self {
            Counter::Conflicts | Counter::Duplicates | Counter::Recoveries | Counter::WatermarkErrors => writes,
            Counter::Corruptions => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_the_number_of_its_place_and_a_name_of_its_own() {
        assert!(Measure::ALL.iter().enumerate().all(|(number, measure)| *measure as usize == number));
        assert!(Counter::ALL.iter().enumerate().all(|(number, counter)| *counter as usize == number));
        let measures = Measure::ALL.iter().map(|measure| measure.metric());
        let names: BTreeSet<&str> = measures.chain(Counter::ALL.iter().map(|counter| counter.metric())).collect();
        assert_eq!(names.len(), Measure::ALL.len() + Counter::ALL.len());
        assert!(Measure::ALL.iter().all(|measure| measure.metric().ends_with("_seconds")));
        assert!(Counter::ALL.iter().all(|counter| counter.metric().ends_with("_total")));
    }
}
