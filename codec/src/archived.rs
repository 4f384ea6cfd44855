//! That a segment was archived, and what it is: the manifest that stands beside its object.
//!
//! ```text
//! annals archived 1
//! log 01910000-0000-7000-8000-000000000001
//! segment 3
//! positions 1200 1800
//! object 3f1c… 320344
//! chain 89abcdef 5e6f7a8b
//! hash - -
//! recorded 1767323145000000000 1767323146000000000
//! head 89414e4e… 1a2b3c4d
//! seal 9d0e…
//! trailer 89414e4e…
//! end 77aa…
//! ```
//!
//! What is always true:
//!
//! - Most lines are for people: they follow from the header, the SEAL frame and the trailer, which are in it byte for
//!   byte. A text that says anything else than what follows from these is not believed.
//! - The same segment gives the same text, whoever writes it, and whenever.

use std::fmt::Write as _;

use crate::digest::{Digest, Hasher};
use crate::frame::{Frame, FrameKind, Seed};
use crate::hash_chain::chain_start;
use crate::ids::Position;
use crate::manifest::{ManifestFault, signed_lines};
use crate::seal::{SEAL_LEN, Seal, TRAILER_LEN, Trailer};
use crate::segment::{SEGMENT_HEADER_LEN, SegmentHeader};

const FIRST: &str = "annals archived 1";
const KIND: &str = "annals archived ";
/// Where the CRC of a header stands.
const HEAD_CRC_AT: usize = SEGMENT_HEADER_LEN - 4;

/// A sealed segment, by all that is read of it when a store is opened, and the digest of the rest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArchivedSegment {
    /// Its header.
    pub header: SegmentHeader,
    /// What every other checksum in it begins with.
    pub seed: Seed,
    /// What it holds.
    pub seal: Seal,
    /// How it ends.
    pub trailer: Trailer,
    /// The digest of all its bytes.
    pub digest: Digest,
    /// The hash chain after its last batch, if its markers carry one.
    pub hash: Option<Digest>,
    head: Vec<u8>,
    seal_frame: Vec<u8>,
    end: [u8; TRAILER_LEN],
}

/// What a segment's file is to one that was archived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Likeness {
    /// The same.
    Same,
    /// The same events at the same places, under the same checksums; but something in one of them was redacted.
    Redacted,
    /// Another segment.
    Other,
}

impl ArchivedSegment {
    /// Of a segment's first [`SEGMENT_HEADER_LEN`] bytes, its SEAL frame and its last [`TRAILER_LEN`] bytes, which have
    /// to fit together; the digest of all of it; and the hash chain at its end.
    pub fn new(
        head: &[u8],
        seal: &[u8],
        trailer: &[u8],
        digest: Digest,
        hash: Option<Digest>,
    ) -> Option<ArchivedSegment> {
        let head = head.get(..SEGMENT_HEADER_LEN)?;
        let (header, seed) = SegmentHeader::decode(head).ok()?;
        let frame = Frame::read(seal, seed).ok().filter(|frame| frame.kind == FrameKind::Seal)?;
        let of_seal = Seal::decode(&frame).filter(|_| seal.len() as u64 == SEAL_LEN)?;
        let end: [u8; TRAILER_LEN] = trailer.try_into().ok()?;
        let of_end = Trailer::decode(&end, seed)?;
        let first_room = SEGMENT_HEADER_LEN as u64;
        let fits = of_seal.events == u64::from(of_end.events)
            && of_end.seal_offset().is_some_and(|at| at >= first_room)
            && header.base.plus(of_seal.events) == of_seal.last
            && header.chain_hash.is_some() == hash.is_some();
        fits.then(|| ArchivedSegment {
            header,
            seed,
            seal: of_seal,
            trailer: of_end,
            digest,
            hash,
            head: head.to_vec(),
            seal_frame: seal.to_vec(),
            end,
        })
    }

    /// Its length, in bytes.
    pub fn file_len(&self) -> u64 {
        self.trailer.file_len
    }

    /// Copies into `out` what lies at `offset` of it, as far as header, SEAL frame and trailer go; `false` when these
    /// do not hold all of that.
    pub fn read_known(&self, offset: u64, out: &mut [u8]) -> bool {
        let seal_at = self.trailer.seal_offset().unwrap_or_default();
        let end_at = self.file_len() - TRAILER_LEN as u64;
        let parts: [(u64, &[u8]); 3] = [(0, &self.head), (seal_at, &self.seal_frame), (end_at, &self.end)];
        parts.iter().any(|(at, bytes)| {
            let start = offset.checked_sub(*at).and_then(|start| usize::try_from(start).ok());
            let known = start.and_then(|start| bytes.get(start..start.checked_add(out.len())?));
            known.inspect(|known| out.copy_from_slice(known)).is_some()
        })
    }

    /// What a segment's file is to this one, by its first [`SEGMENT_HEADER_LEN`] bytes, its SEAL frame and its last
    /// [`TRAILER_LEN`] bytes.
    pub fn compare(&self, head: &[u8], seal: &[u8], trailer: &[u8]) -> Likeness {
        if (seal, trailer) != (&*self.seal_frame, self.end.as_slice()) {
            return Likeness::Other;
        }
        let of = |header: &SegmentHeader| (header.log_id, header.number, header.base);
        match SegmentHeader::decode(head) {
            _ if head == &*self.head => Likeness::Same,
            Ok((header, seed)) if of(&header) == of(&self.header) && seed == self.seed => Likeness::Redacted,
            _ => Likeness::Other,
        }
    }

    /// Whether this segment is what comes right behind another one; if not, what contradicts that.
    ///
    /// # Errors
    ///
    /// What they disagree about, in words.
    pub fn comes_behind(&self, before: &ArchivedSegment) -> Result<(), String> {
        let (header, hash) = (&self.header, before.hash);
        let begins = |hash: Digest| hash == chain_start(header.log_id, header.base);
        if header.log_id != before.header.log_id {
            return Err(format!("it is of log {}, and not {}", header.log_id, before.header.log_id));
        }
        if header.number != before.header.number.next() {
            return Err(format!("it is segment {}, and not the one behind {}", header.number, before.header.number));
        }
        if header.base != before.seal.last {
            return Err(format!("it begins behind position {}, and not {}", header.base, before.seal.last));
        }
        if (header.predecessor_len, header.chain) != (before.file_len(), before.seal.chain) {
            return Err(format!("it goes on from another segment {} than this one", before.header.number));
        }
        if header.chain_hash.is_some_and(|here| Some(here) != hash && !(hash.is_none() && begins(here))) {
            return Err("the hash chain in its header is not that at the end of the one before".to_owned());
        }
        Ok(())
    }

    /// Whether an event at this position is in it.
    pub fn holds(&self, position: Position) -> bool {
        self.header.base < position && position <= self.seal.last
    }

    /// Writes the manifest.
    pub fn encode(&self) -> String {
        let ArchivedSegment { header, seal, digest, .. } = self;
        let or_none = |hash: Option<Digest>| hash.map_or_else(|| "-".to_owned(), |hash| hash.to_string());
        let used = self.head[..HEAD_CRC_AT].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let mut text = String::new();
        _ = writeln!(text, "{FIRST}\nlog {}\nsegment {}", header.log_id, header.number);
        _ = writeln!(text, "positions {} {}", header.base, seal.last);
        _ = writeln!(text, "object {digest} {}", self.file_len());
        _ = writeln!(text, "chain {:08x} {:08x}", header.chain, seal.chain);
        _ = writeln!(text, "hash {} {}", or_none(header.chain_hash), or_none(self.hash));
        _ = writeln!(text, "recorded {} {}", seal.min_recorded_at, seal.max_recorded_at);
        _ = writeln!(text, "head {} {}", digits(&self.head[..used]), digits(&self.head[HEAD_CRC_AT..]));
        _ = writeln!(text, "seal {}\ntrailer {}", digits(&self.seal_frame), digits(&self.end));
        let end = Hasher::digest(text.as_bytes());
        _ = writeln!(text, "end {end}");
        text
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<ArchivedSegment, ManifestFault> {
        let mut lines = signed_lines(bytes, FIRST, KIND)?;
        for passed in ["annals ", "log ", "segment ", "positions "] {
            lines.expect(|line| line.starts_with(passed).then_some(()))?;
        }
        let digest = lines.expect(|line| line.strip_prefix("object ")?.split_once(' ')?.0.parse().ok())?;
        lines.expect(|line| line.starts_with("chain ").then_some(()))?;
        let hash = lines.expect(|line| match line.strip_prefix("hash ")?.split_once(' ')?.1 {
            "-" => Some(None),
            hash => hash.parse().ok().map(Some),
        })?;
        lines.expect(|line| line.starts_with("recorded ").then_some(()))?;
        let head = lines.expect(|line| {
            let (used, crc) = line.strip_prefix("head ")?.split_once(' ')?;
            let mut head = bytes_of(used).filter(|head| head.len() <= HEAD_CRC_AT)?;
            head.resize(HEAD_CRC_AT, 0);
            head.extend_from_slice(&bytes_of(crc)?);
            (head.len() == SEGMENT_HEADER_LEN).then_some(head)
        })?;
        let seal = lines.expect(|line| bytes_of(line.strip_prefix("seal ")?))?;
        let trailer = lines.expect(|line| bytes_of(line.strip_prefix("trailer ")?))?;
        let number = lines.number();
        let segment = ArchivedSegment::new(&head, &seal, &trailer, digest, hash);
        segment.filter(|segment| segment.encode().as_bytes() == bytes).ok_or(ManifestFault::Line { number })
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let is_plain = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    is_plain.then(|| (0..text.len()).step_by(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LogId, SegmentNumber};
    use crate::scan::{self, Stop};
    use crate::testing::{Parts, Writer, header};

    /// A sealed segment, and what a scan says of its end.
    fn sealed(header: SegmentHeader) -> (Vec<u8>, ArchivedSegment) {
        let mut writer = Writer::new(header);
        for n in 1..4 {
            writer.batch(&[Parts::plain(n, b"some data")]);
        }
        writer.seal();
        let bytes = writer.bytes;
        let archived = archived(&bytes).unwrap();
        (bytes, archived)
    }

    fn archived(bytes: &[u8]) -> Option<ArchivedSegment> {
        let (header, seed) = SegmentHeader::decode(bytes).unwrap();
        let Ok(found) = scan::scan(&mut &*bytes, seed, scan::first_tail(&header), &mut ());
        let Stop::Sealed(end) = found.stop else { panic!("{:?}", found.stop) };
        let seal = &bytes[end.seal_offset as usize..][..SEAL_LEN as usize];
        let trailer = &bytes[bytes.len() - TRAILER_LEN..];
        ArchivedSegment::new(bytes, seal, trailer, Hasher::digest(bytes), found.tail.hash)
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written_and_is_small() {
        let (_, segment) = sealed(header());
        let text = segment.encode();
        assert!(text.len() < 1200, "{} bytes", text.len());
        assert_eq!(ArchivedSegment::decode(text.as_bytes()), Ok(segment));
    }

    #[test]
    fn a_manifest_that_was_cut_or_changed_anywhere_is_not_believed() {
        let text = sealed(header()).1.encode().into_bytes();
        for cut in 0..text.len() {
            assert!(ArchivedSegment::decode(&text[..cut]).is_err(), "cut at {cut}");
        }
        for bit in (0..text.len() * 8).step_by(3) {
            let mut text = text.clone();
            text[bit / 8] ^= 1 << (bit % 8);
            assert!(ArchivedSegment::decode(&text).is_err(), "bit {bit}");
        }
    }

    /// With a good digest at its end: what a line says for people may not differ from what the bytes say.
    fn resigned(change: impl FnOnce(String) -> String) -> Result<ArchivedSegment, ManifestFault> {
        let text = sealed(header()).1.encode();
        let lines = change(text[..text.len() - 69].to_owned());
        ArchivedSegment::decode(format!("{lines}end {}\n", Hasher::digest(lines.as_bytes())).as_bytes())
    }

    #[test]
    fn a_line_that_does_not_follow_from_the_bytes_is_refused_although_the_digest_is_good() {
        assert!(resigned(|text| text).is_ok());
        let (_, segment) = sealed(header());
        let last = segment.seal.last;
        for (from, to) in [
            (format!("segment {}", segment.header.number), "segment 77".to_owned()),
            (format!(" {last}\nobject"), " 77\nobject".to_owned()),
            (format!(" {}\nchain", segment.file_len()), " 77\nchain".to_owned()),
            (format!(" {:08x}\nhash", segment.seal.chain), " 00000000\nhash".to_owned()),
            ("hash - -".to_owned(), format!("hash - {}", segment.digest)),
            ("recorded ".to_owned(), "recorded 0".to_owned()),
            ("log ".to_owned(), "log  ".to_owned()),
            ("seal ".to_owned(), "seal 0".to_owned()),
            ("seal ".to_owned(), "seal 00".to_owned()),
            ("trailer 89".to_owned(), "trailer 88".to_owned()),
            ("head 89".to_owned(), "head 8A".to_owned()),
            ("head ".to_owned(), format!("head {}", "00".repeat(SEGMENT_HEADER_LEN))),
            ("seal".to_owned(), "extra\nseal".to_owned()),
        ] {
            assert!(resigned(|text| text.replace(&from, &to)).is_err(), "{from} as {to}");
            assert_ne!(segment.encode().replace(&from, &to), segment.encode(), "{from} is not there");
        }
        let newer = resigned(|text| text.replace("archived 1", "archived 2"));
        assert_eq!(newer, Err(ManifestFault::Newer { line: "annals archived 2".to_owned() }));
    }

    #[test]
    fn what_is_known_of_a_segment_is_what_its_bytes_are_there() {
        let (bytes, segment) = sealed(header());
        let mut known = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let mut out = [0];
            if segment.read_known(at as u64, &mut out) {
                assert_eq!(out[0], *byte, "at {at}");
                known += 1;
            }
        }
        assert_eq!(known, SEGMENT_HEADER_LEN + SEAL_LEN as usize + TRAILER_LEN);
        for (offset, len) in [(0, SEGMENT_HEADER_LEN), (bytes.len() - TRAILER_LEN, TRAILER_LEN)] {
            let mut out = vec![0; len];
            assert!(segment.read_known(offset as u64, &mut out) && out == bytes[offset..][..len]);
            assert!(!segment.read_known(offset as u64, &mut vec![0; len + 1]), "it ends there");
        }
        assert!(!segment.read_known(u64::MAX, &mut [0; 8]));
    }

    #[test]
    fn header_seal_and_trailer_of_different_segments_make_no_manifest() {
        let (bytes, segment) = sealed(header());
        let (other, of_other) = sealed(SegmentHeader { salt: [9; 16], ..header() });
        let seal = &other[of_other.trailer.seal_offset().unwrap() as usize..][..SEAL_LEN as usize];
        let own_end = &bytes[bytes.len() - TRAILER_LEN..];
        assert_eq!(ArchivedSegment::new(&bytes, seal, own_end, segment.digest, None), None);
        let own_seal = &bytes[segment.trailer.seal_offset().unwrap() as usize..][..SEAL_LEN as usize];
        let end = &other[other.len() - TRAILER_LEN..];
        assert_eq!(ArchivedSegment::new(&bytes, own_seal, end, segment.digest, None), None);
        assert_eq!(ArchivedSegment::new(&bytes[..4000], own_seal, own_end, segment.digest, None), None);
        // A hash at its end belongs to markers that carry one.
        let hash = Some(segment.digest);
        assert_eq!(ArchivedSegment::new(&bytes, own_seal, own_end, segment.digest, hash), None);
        assert_eq!(ArchivedSegment::new(&bytes, own_seal, own_end, segment.digest, None), Some(segment));
    }

    #[test]
    fn a_segment_is_known_by_how_it_begins_and_ends() {
        let (bytes, segment) = sealed(header());
        let (other, _) = sealed(SegmentHeader { salt: [9; 16], ..header() });
        let parts = |bytes: &[u8]| {
            let seal = segment.trailer.seal_offset().unwrap() as usize;
            let part = |at: usize, len: usize| bytes[at..][..len].to_vec();
            let trailer = part(bytes.len() - TRAILER_LEN, TRAILER_LEN);
            (part(0, SEGMENT_HEADER_LEN), part(seal, SEAL_LEN as usize), trailer)
        };
        let ((head, seal, trailer), of_other) = (parts(&bytes), parts(&other));
        assert_eq!(segment.compare(&head, &seal, &trailer), Likeness::Same);
        assert_eq!(segment.compare(&of_other.0, &seal, &trailer), Likeness::Other);
        assert_eq!(segment.compare(&head, &of_other.1, &trailer), Likeness::Other);
        assert_eq!(segment.compare(&head, &seal, &of_other.2), Likeness::Other);
        assert_eq!(segment.compare(&head[1..], &seal, &trailer), Likeness::Other);
    }

    #[test]
    fn a_segment_comes_behind_the_one_that_its_header_goes_on_from_and_no_other() {
        let (_, before) = sealed(header());
        let next = SegmentHeader {
            number: before.header.number.next(),
            base: before.seal.last,
            predecessor_len: before.file_len(),
            chain: before.seal.chain,
            chain_hash: None,
            ..header()
        };
        let behind = |header| sealed(header).1.comes_behind(&before);
        assert_eq!(behind(next), Ok(()));
        for other in [
            SegmentHeader { log_id: LogId::from_bytes([1; 16]), ..next },
            SegmentHeader { number: SegmentNumber::new(next.number.get() + 1), ..next },
            SegmentHeader { number: before.header.number, ..next },
            SegmentHeader { base: next.base.plus(1), ..next },
            SegmentHeader { predecessor_len: next.predecessor_len + 8, ..next },
            SegmentHeader { chain: next.chain ^ 1, ..next },
        ] {
            assert!(behind(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_hash_chain_goes_on_or_begins_anew_and_never_jumps() {
        let (_, plain) = sealed(header());
        let mut before = plain;
        before.hash = Some(Digest::from_bytes([3; 32]));
        let mut behind = before.clone();
        behind.header = SegmentHeader {
            number: before.header.number.next(),
            base: before.seal.last,
            predecessor_len: before.file_len(),
            chain: before.seal.chain,
            chain_hash: before.hash,
            ..before.header
        };
        assert_eq!(behind.comes_behind(&before), Ok(()));
        let start = chain_start(behind.header.log_id, behind.header.base);
        behind.header.chain_hash = Some(start);
        assert!(behind.comes_behind(&before).is_err(), "it has a chain to go on from");
        before.hash = None;
        assert_eq!(behind.comes_behind(&before), Ok(()));
        behind.header.chain_hash = Some(Digest::from_bytes([3; 32]));
        assert!(behind.comes_behind(&before).is_err(), "there is none to go on from");
        behind.header.chain_hash = None;
        assert_eq!(behind.comes_behind(&before), Ok(()));
    }
}
