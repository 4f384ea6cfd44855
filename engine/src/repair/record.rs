//! What a repair leaves behind for people: the record of losses, and the data of the events that stand for lost ones.

use std::fmt::Write as _;
use std::path::Path;

use annals_codec::{LossRecord, LostRange, RecordFault};

use super::{RepairError, Repairing as _};
use crate::log::names;
use crate::log::small_files::read_file;
use crate::storage::Storage;
use crate::storage::disk::DiskStorage;

/// The type of the events that stand for lost ones.
pub(super) const LOST_TYPE: &str = "$lost";
/// With what their data begins.
pub(super) const LOST_DATA: &[u8] = b"{\"why\":";

/// What repairs had to give up of the store in `dir`; `None`, if it never was repaired. It is an error of the record,
/// and of nothing else, when that cannot be read.
///
/// # Errors
///
/// [`RepairError::Hopeless`] when the record is damaged, [`RepairError::Newer`], [`RepairError::Io`].
pub fn losses(dir: impl AsRef<Path>) -> Result<Option<LossRecord>, RepairError> {
    losses_on(&DiskStorage::new(dir.as_ref()))
}

/// The same on any storage.
///
/// # Errors
///
/// As [`losses`].
pub fn losses_on(storage: &dyn Storage) -> Result<Option<LossRecord>, RepairError> {
    let bytes = read_file(storage, names::LOST).repairing("read", || storage.describe(names::LOST))?;
    bytes.map(|bytes| LossRecord::decode(&bytes)).transpose().map_err(|fault| match fault {
        RecordFault::Newer { .. } => RepairError::Newer { problem: fault.to_string() },
        fault => RepairError::Hopeless { problem: format!("{}: {fault}", storage.describe(names::LOST)) },
    })
}

/// The data of the events that stand for these: JSON.
pub(super) fn data_of(lost: &LostRange, at: i64) -> String {
    let LostRange { first, last, file, offset, bytes, kept, why } = lost;
    let kept = kept.as_ref().map_or_else(|| "null".to_owned(), |kept| quoted(kept));
    format!(
        "{{\"why\":{},\"file\":{},\"offset\":{offset},\"bytes\":{bytes},\"first\":{first},\"last\":{last},\"kept\":{kept},\
         \"repaired_at\":{at}}}",
        quoted(why),
        quoted(file),
    )
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => _ = write!(out, "\\u{:04x}", u32::from(control)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use annals_codec::Position;

    use super::*;

    #[test]
    fn the_data_of_a_lost_event_is_json_whatever_was_found() {
        let lost = LostRange {
            first: Position::new(5),
            last: Position::new(7),
            file: "seg/a.seg".to_owned(),
            offset: 8,
            bytes: 16,
            kept: None,
            why: "a \"quote\", a \\ and a\nline".to_owned(),
        };
        let expected = r#"{"why":"a \"quote\", a \\ and a\u000aline","file":"seg/a.seg","offset":8,"bytes":16,"first":5,"last":7,"kept":null,"repaired_at":3}"#;
        assert_eq!(data_of(&lost, 3), expected);
    }
}
