//! Whether bytes are a whole sealed segment, and which one; or the object that a manifest speaks of.

use annals_codec::scan::{self, Stop};
use annals_codec::{ArchivedSegment, ChainCheck, ChainPoint, Hasher, SegmentHeader};

/// What a sealed segment is, of which these are all bytes; or what is wrong with it.
pub(crate) fn segment(bytes: &[u8]) -> Result<ArchivedSegment, String> {
    let (header, seed) = SegmentHeader::decode(bytes).map_err(|fault| fault.to_string())?;
    let mut source = bytes;
    let start = scan::first_tail(&header);
    let (found, breaks) = match header.chain_hash {
        None => (scan::scan(&mut source, seed, start, &mut ()), None),
        Some(hash) => {
            let mut check = ChainCheck::new(header.log_id, ChainPoint { position: header.base, hash });
            let found = scan::scan(&mut source, seed, start, &mut check);
            (found, check.breaks().first().copied())
        }
    };
    let Ok(found) = found;
    let end = match found.stop {
        Stop::Sealed(end) if end.trailer.file_len == bytes.len() as u64 => end,
        Stop::Bad(bad) => return Err(format!("at offset {}: {}", bad.at, bad.fault)),
        Stop::Sealed(_) | Stop::End => return Err("it is not sealed, or something follows its end".to_owned()),
    };
    if let Some(at) = breaks {
        return Err(format!("events {} to {} are not what was hashed", at.first, at.last));
    }
    let seal = bytes.get(end.seal_offset as usize..).and_then(|rest| rest.get(..annals_codec::SEAL_LEN as usize));
    let trailer = bytes.last_chunk::<{ annals_codec::TRAILER_LEN }>();
    let (Some(seal), Some(trailer)) = (seal, trailer) else { return Err("it has no end".to_owned()) };
    ArchivedSegment::new(bytes, seal, trailer, Hasher::digest(bytes), found.tail.hash)
        .ok_or_else(|| "its header, seal and trailer do not fit together".to_owned())
}

/// What tells the bytes of an object from those that were archived, if anything does.
pub(crate) fn difference(bytes: &[u8], archived: &ArchivedSegment) -> Option<String> {
    let (len, digest) = (bytes.len() as u64, Hasher::digest(bytes));
    if len != archived.file_len() {
        return Some(format!("it is {len} bytes long, and not {}", archived.file_len()));
    }
    (digest != archived.digest).then(|| format!("its digest is {digest}, and not {}", archived.digest))
}
