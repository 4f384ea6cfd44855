//! Mistakes that can be planted into the engine, to see whether the crash-injection harness finds them.
//!
//! A harness that finds nothing proves nothing, unless it is known to find what is there. Each [`Bug`]
//! is a mistake that somebody could make; the code asks [`has`] in the place where it would be
//! made. Without the feature `planted-bugs` that is `false` at compile time, and nothing of it is left.
//!
//! The feature cannot be shipped by accident: it refuses to compile without debug assertions, that is, in
//! any release build.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("the feature `planted-bugs` breaks the engine on purpose; it is for tests of the harness only");

/// A mistake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
#[cfg_attr(not(feature = "planted-bugs"), allow(dead_code, reason = "nobody plants them"))]
pub enum Bug {
    /// The log is never synced.
    NoFdatasync = 1,
    /// An append is acknowledged before the sync that it waits for.
    AcknowledgedBeforeSync,
    /// The name of a new segment is not made durable.
    NoDirectorySync,
    /// A write that stops short counts as done.
    ShortWriteIgnored,
    /// A sync that failed is tried again, and its success believed.
    FailedSyncRetried,
    /// A store that is poisoned takes appends.
    PoisonForgotten,
    /// What a failed group has changed in memory stays.
    FailedGroupKept,
    /// A group can be read before its sync, and stays when that fails.
    PublishedBeforeSync,
    /// A flush believes that what was written is durable.
    FlushWithoutSync,
    /// Recovery leaves an unfinished tail where it is.
    TailNotCut,
    /// Recovery does not sync the cut of an unfinished tail.
    CutNotSynced,
    /// Recovery shows what it found without making it durable.
    NoSyncAtOpen,
    /// Recovery takes the first bad frame for the end of the log, whatever says that more was durable.
    FirstBadFrameIsTheEnd,
    /// Recovery goes on in a segment whose name may not be durable.
    NameNotRenewed,
    /// The other slot of `store.meta` is overwritten while this one may not be on the disk.
    SlotNotSettled,
    /// A segment gets its successor before its seal is durable.
    SealNotSynced,
    /// What is written where zeros are to go does not move the zeroing out of its way.
    ZeroesOverFrames,
    /// The watermark is advanced before the sync that it speaks of.
    WatermarkBeforeSync,
    /// A commit marker says of what is only written that it is durable.
    MarkerAheadOfDisk,
    /// The torn rest of a write that met a full disk is not made to go away for good.
    RewindNotDurable,
    /// Idempotency keys and ids are not taken into the index.
    KeysNotIndexed,
    /// An index file is believed without its checksums.
    IndexUnchecked,
    /// What is kept of removed events is written after they were removed.
    FloorAfterUnlink,
    /// `store.meta` says that events were removed before it is written what is kept of them.
    MetaBeforeFloor,
    /// Who waits for the log to grow is not told when it does.
    WakeUpLost,
    /// A consumer keeps a position that is only written.
    CheckpointAheadOfDisk,
    /// A snapshot is taken of what is only written.
    SnapshotAheadOfDisk,
    /// The same, and when it is newer than the log it is used all the same.
    SnapshotNewerThanLog,
    /// What a handler has changed before it failed stays, and the position does not move.
    StateWithoutPosition,
    /// A backup gets its manifest before the files that it lists have their names.
    ManifestBeforeFiles,
    /// The header of a new segment begins a hash chain of its own, and does not go on with that before it.
    ChainAnchorLost,
    /// A segment is replaced by a new file, without its redacted events' payloads, that is not synced.
    RedactedNotSynced,
    /// A segment is replaced before the log says which of its events are redacted.
    RedactedBeforeTold,
    /// A repaired store is one before what it consists of is durable.
    RepairedBeforeSynced,
    /// Positions that a repair finds lost at the end of the log are given out again.
    LostPositionReused,
    /// A repair copies payloads of which the log says that they are redacted.
    RedactedRepairedBack,
}

impl Bug {
    /// All of them.
    #[cfg(feature = "planted-bugs")]
    pub const ALL: [Bug; 36] = [
        Bug::NoFdatasync,
        Bug::AcknowledgedBeforeSync,
        Bug::NoDirectorySync,
        Bug::ShortWriteIgnored,
        Bug::FailedSyncRetried,
        Bug::PoisonForgotten,
        Bug::FailedGroupKept,
        Bug::PublishedBeforeSync,
        Bug::FlushWithoutSync,
        Bug::TailNotCut,
        Bug::CutNotSynced,
        Bug::NoSyncAtOpen,
        Bug::FirstBadFrameIsTheEnd,
        Bug::NameNotRenewed,
        Bug::SlotNotSettled,
        Bug::SealNotSynced,
        Bug::ZeroesOverFrames,
        Bug::WatermarkBeforeSync,
        Bug::MarkerAheadOfDisk,
        Bug::RewindNotDurable,
        Bug::KeysNotIndexed,
        Bug::IndexUnchecked,
        Bug::FloorAfterUnlink,
        Bug::MetaBeforeFloor,
        Bug::WakeUpLost,
        Bug::CheckpointAheadOfDisk,
        Bug::SnapshotAheadOfDisk,
        Bug::SnapshotNewerThanLog,
        Bug::StateWithoutPosition,
        Bug::ManifestBeforeFiles,
        Bug::ChainAnchorLost,
        Bug::RedactedNotSynced,
        Bug::RedactedBeforeTold,
        Bug::RepairedBeforeSynced,
        Bug::LostPositionReused,
        Bug::RedactedRepairedBack,
    ];
}

#[cfg(feature = "planted-bugs")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants a bug into every store of this process, for good.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) {
    PLANTED.store(bug as u8, std::sync::atomic::Ordering::SeqCst);
}

/// Whether this bug was planted. Public, because some are those of the crates above.
#[cfg(feature = "planted-bugs")]
pub fn has(bug: Bug) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether this bug was planted: no.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}
