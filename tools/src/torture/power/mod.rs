//! Power loss on a real file system: a disk that records, is cut at any moment, and is opened again.
//!
//! ```text
//!  writer (child) ─► ext4 ─► /dev/loopN ─► FUSE ─► disk process: a recording of every write and flush
//!      │ acknowledgements, each stamped with the length of the recording
//!      ▼
//!  ledger     cut at record i ─► image ─► ext4 mounts, replays ─► the store opens ─► judge ◄─ ledger
//! ```
//!
//! A cut keeps everything before the last flush, and any part of what was
//! written behind it ([`cut`]). What the writer had been told before the cut
//! must be there; nothing else may be, but whole.
//!
//! What is always true:
//!
//! - The engine runs as everywhere: on the kernel's own ext4, its page cache
//!   and its block layer. Only the disk below is ours.
//! - That flushes reach the disk, and that missing ones are noticed, is tried
//!   out before each run ([`rig`]).
//! - Nothing stays behind, however the run ends: no mount, no loop device (`device.rs`).
//!
//! What it does not show: writes that were answered are taken to be covered by
//! a flush that was asked for before the answer arrived; and only ext4 was tried.

#[cfg(target_os = "linux")]
mod campaign;
pub mod cut;
#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod evidence;
pub mod image;
#[cfg(target_os = "linux")]
mod life;
#[cfg(target_os = "linux")]
mod neighbour;
mod possible;
pub mod recording;
#[cfg(target_os = "linux")]
pub mod rig;
#[cfg(target_os = "linux")]
mod tally;

#[cfg(target_os = "linux")]
pub use campaign::{Plan, run};
#[cfg(target_os = "linux")]
pub use device::Mounted;
#[cfg(target_os = "linux")]
pub(crate) use disk::serve;
#[cfg(target_os = "linux")]
pub use evidence::Finding;
pub use possible::missing;
#[cfg(target_os = "linux")]
pub use tally::Tally;

/// The name of the hidden subcommand that is the disk.
#[cfg(target_os = "linux")]
const DISK: &str = "torture-disk";
/// The name of the store on the disk.
#[cfg(target_os = "linux")]
const STORE: &str = "store";
