//! An event as a value, for engines that know keys and values, or only records.
//!
//! ```text
//! position version id len(stream) len(type) len(metadata) stream type metadata data
//! ```
//!
//! Numbers are big-endian, so that those in keys sort; lengths are u16.

use crate::engine::Fields;

const HEAD: usize = 38;

pub(crate) fn encode(event: &Fields<'_>) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + 128 + event.data.len() + event.metadata.len());
    encode_into(event, &mut record);
    record
}

pub(crate) fn encode_into(event: &Fields<'_>, record: &mut Vec<u8>) {
    let len = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    let (stream, event_type) = (event.stream.as_bytes(), event.event_type.as_bytes());
    record.extend_from_slice(&event.position.to_be_bytes());
    record.extend_from_slice(&event.version.to_be_bytes());
    record.extend_from_slice(event.id);
    for text in [stream, event_type, event.metadata] {
        record.extend_from_slice(&len(text));
    }
    for text in [stream, event_type, event.metadata, event.data] {
        record.extend_from_slice(text);
    }
}

pub(crate) fn decode(record: &[u8]) -> Fields<'_> {
    let len_at = |at: usize| u16::from_be_bytes([record[at], record[at + 1]]) as usize;
    let text = |bytes| std::str::from_utf8(bytes).expect("a name is UTF-8");
    let (stream, rest) = record[HEAD..].split_at(len_at(32));
    let (event_type, rest) = rest.split_at(len_at(34));
    let (metadata, data) = rest.split_at(len_at(36));
    Fields {
        position: number(&record[..8]),
        version: number(&record[8..16]),
        id: &record[16..32],
        stream: text(stream),
        event_type: text(event_type),
        data,
        metadata,
    }
}

/// The key of an event in its stream; those of one stream follow each other in order.
pub(crate) fn stream_key(stream: &str, version: u64) -> Vec<u8> {
    [stream.as_bytes(), &[0], &version.to_be_bytes()].concat()
}

/// What all keys of a stream begin with, and no other's do.
pub(crate) fn stream_prefix(stream: &str) -> Vec<u8> {
    [stream.as_bytes(), &[0]].concat()
}

/// The number in the last eight bytes of a key.
pub(crate) fn number(key: &[u8]) -> u64 {
    u64::from_be_bytes(key[key.len() - 8..].try_into().expect("eight bytes"))
}
