//! Placeholder until the engine is built.
#[allow(missing_docs)]
pub mod storage;
