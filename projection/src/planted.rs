//! Mistakes that can be planted here, to see whether the crash-injection harness finds them.
//!
//! They are among those of the engine, which knows the one that was planted. Without the feature `planted-bugs` there
//! is none, at compile time.

/// A mistake.
#[derive(Clone, Copy)]
pub(crate) enum Bug {
    SnapshotNewerThanLog,
    StateWithoutPosition,
}

/// Whether this bug was planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn has(bug: Bug) -> bool {
    annals::planted::has(match bug {
        Bug::SnapshotNewerThanLog => annals::planted::Bug::SnapshotNewerThanLog,
        Bug::StateWithoutPosition => annals::planted::Bug::StateWithoutPosition,
    })
}

/// Whether this bug was planted: no.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn has(_: Bug) -> bool {
    false
}
