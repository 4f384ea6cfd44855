//! Workloads, and the raw system calls to measure beside them.
//!
//! The baseline ("limit") does what no durable log can leave out, and nothing
//! else: encode, checksum, one `pwrite` into space that was zeroed before, and
//! one `fdatasync` when the run is durable. No index, no versions, no readers.

mod loaded;
mod raw;
pub mod sample;
pub mod shop;
mod workload;

pub use loaded::{Placed, load, segment_paths};
pub use raw::{RawEvent, RawLog, raw_file_scan, raw_read_and_scan, raw_scan};
pub use workload::{Workload, append, fill, open_store, read_all};
