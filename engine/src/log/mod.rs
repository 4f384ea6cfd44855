//! The log: frames in segments, in order, and how far they are durable.
//!
//! This layer moves batches of encoded frames between memory and the storage
//! below. It knows segments, offsets and positions; it does not know that
//! streams exist.
//!
//! - [`names`]: which file is which.
//! - [`dense`]: where each event of a sealed segment stands, verified at first look.
//! - [`growing`]: an array that readers use while the writer adds to it.
//! - [`segment`]: one segment as readers share it, active or sealed.
//! - [`active`]: the end of the log, where the writer appends, syncs and rolls.
//! - [`zero_ahead`]: the frontier of the space that was zeroed before it is needed.
//! - [`small_files`]: `store.meta` and `WATERMARK`.
//! - [`floor`]: where the log begins.
//! - [`source`]: a file as the codec's scan reads it.
//! - [`recover`]: survey, decide, carry out.

pub(crate) mod active;
pub(crate) mod dense;
pub(crate) mod floor;
pub(crate) mod growing;
pub(crate) mod names;
pub(crate) mod recover;
pub(crate) mod segment;
pub(crate) mod small_files;
pub(crate) mod source;
pub(crate) mod zero_ahead;
