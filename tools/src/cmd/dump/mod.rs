//! `annals dump`: what the bytes of a segment file mean, frame by frame; and of what is derived from
//! segments, part by part.
//!
//! Opens no store: it reads files, and asks only the codec what they mean. The
//! frames are walked one by one, and behind a bad place the walk goes on with
//! the next good frame; the verdict in the last line is the one that recovery
//! would come to, from the same [`scan`].

mod derived;
mod floor;
mod origin;
mod search;
mod show;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use annals_codec::index::DIRECTORY_LEN;
use annals_codec::scan::{self, Source};
use annals_codec::{
    BatchFault, Batches, Commit, Epoch, Event, FRAME_ALIGN, FRAME_HEADER_LEN, Frame, FrameFault, FrameHeader,
    FrameKind, Position, SEGMENT_HEADER_LEN, SEGMENT_MAGIC, Seal, Seed, TRAILER_LEN, Tail, Trailer, index_len,
};

use crate::exit::{Ended, Exit, Failure};
use crate::out::Out;
use crate::segment_file::SegmentFile;

use derived::Kind;
use origin::Origin;
use search::Search;
use show::{Holds, Judgement, Row};

pub(crate) fn run(paths: &[PathBuf], payload: bool, out: &mut Out) -> Ended {
    let (mut is_damaged, mut is_other) = (false, false);
    for path in paths {
        for file in files(path)? {
            if let Some(failure) = other(&file)? {
                // What was shown before stands before it, and what comes is shown all the same.
                out.flush()?;
                failure.tell(out.is_json());
                is_other = true;
            } else if !is_whole(&file, payload, out)? {
                is_damaged = true;
            }
        }
    }
    Ok(match (is_damaged, is_other) {
        (true, _) => Exit::Findings,
        (false, true) => Exit::Usage,
        (false, false) => Exit::Fine,
    })
}

/// A file of a store that is none of those shown here is no damaged one: what it is, by its name, and what shows it.
fn other(path: &Path) -> Result<Option<Failure>, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_consumer = path.parent().is_some_and(|folder| folder.ends_with("consumers"));
    let (what, next) = match (name, extension) {
        (_, "tree") => ("a part of the tree over batches", "`annals verify STORE` compares it with its segment"),
        ("store.meta", _) => ("what says which segment is the newest", "`annals verify STORE` judges it"),
        ("WATERMARK", _) => ("what says how far the log is durable", "`annals stats STORE` shows that"),
        ("LOCK", _) => ("the lock of who writes to the store", "it holds the number of that process and nothing else"),
        ("BACKUP", _) => ("the manifest of a backup", "it is text, and `annals verify DIR` checks the backup by it"),
        ("LOST", _) => ("what repairs had to give up", "it is text, and `annals stats STORE` mentions it"),
        (_, "snap") => ("a snapshot", "`annals snapshot show FILE` shows it"),
        _ if is_consumer => ("the checkpoint of a consumer", "`annals consumers STORE` lists them"),
        _ => return Ok(None),
    };
    let cannot = |error: io::Error| Failure::io(format!("cannot read {}", path.display())).because(&error);
    let mut file = SegmentFile::open(path).map_err(cannot)?;
    // Whatever its name is.
    let is_segment = file.bytes(0, SEGMENT_MAGIC.len()).map_err(cannot)?.starts_with(&SEGMENT_MAGIC);
    let shown = path.display();
    Ok((!is_segment).then(|| Failure::usage(format!("{shown} is no segment and no index, but {what}")).next(next)))
}

/// Dumps one file of whatever kind; whether it is not damaged.
fn is_whole(path: &Path, payload: bool, out: &mut Out) -> Result<bool, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("cannot read {}", path.display())).because(&error);
    let mut file = SegmentFile::open(path).map_err(cannot)?;
    let len = file.len();
    if path.file_name().is_some_and(|name| name == "floor") {
        return floor::dump(path, out);
    }
    let head = file.bytes(0, DIRECTORY_LEN).map_err(cannot)?;
    match Kind::of(path, head, len) {
        Some(kind) => derived::dump(path, kind, out),
        None => Ok(!dump(path, file, payload, out)?.is_damaged()),
    }
}

/// The file itself; of a store or its `seg` folder, every segment in its order; of a folder
/// without any, the indexes and filters.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("cannot read {}", path.display())).because(&error);
    if !fs::metadata(path).map_err(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let inner = path.join("seg");
    let dir = if inner.is_dir() { inner } else { path.to_owned() };
    let (mut found, mut derived) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(&dir).map_err(cannot)? {
        let file = entry.map_err(cannot)?.path();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("seg") => found.push(file),
            Some("idx" | "flt") => derived.push(file),
            _ => {}
        }
    }
    if found.is_empty() {
        found = derived;
    }
    if found.is_empty() {
        let what = format!("there is no segment (*.seg) in {}", dir.display());
        return Err(Failure::io(what).next("name the segment files themselves"));
    }
    found.sort();
    Ok(found)
}

fn dump(path: &Path, mut file: SegmentFile, payload: bool, out: &mut Out) -> Result<Judgement, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("cannot read {}", path.display())).because(&error);
    show::title(out, path, file.len())?;
    let origin = Origin::find(path, &mut file).map_err(cannot)?;
    show::header_row(&origin.header, file.len().min(SEGMENT_HEADER_LEN as u64)).print(out)?;
    let Some((seed, _)) = origin.seed else {
        let judgement = Judgement::unreadable(path);
        judgement.print(out)?;
        return Ok(judgement);
    };
    let mut walk = Walk {
        at: origin.tail.offset,
        seed,
        last: origin.tail.position,
        batches: Batches::new(origin.tail),
        search: Search::new(file.len(), seed),
        payload,
    };
    while walk.at < file.len() {
        walk.step(&mut file, out).map_err(|stop| match stop {
            Stopped::Io(error) => cannot(error),
            Stopped::Failure(failure) => failure,
        })?;
    }
    let scan = scan::scan(&mut file, seed, origin.tail, &mut ()).map_err(cannot)?;
    let judgement = Judgement::of(path, &origin, &scan);
    judgement.print(out)?;
    Ok(judgement)
}

enum Stopped {
    Io(io::Error),
    Failure(Failure),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Io(error)
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::Failure(failure)
    }
}

/// The state of the walk through one segment.
struct Walk {
    at: u64,
    seed: Seed,
    /// The position of the last frame that was good in itself.
    last: Position,
    batches: Batches,
    search: Search,
    payload: bool,
}

impl Walk {
    /// Prints what stands at `at`, and moves behind it.
    fn step(&mut self, file: &mut SegmentFile, out: &mut Out) -> Result<(), Stopped> {
        let left = file.len() - self.at;
        let header = FrameHeader::read(file.bytes(self.at, FRAME_HEADER_LEN)?);
        if header.is_none_or(|header| header.len == 0) && self.zeros(file, out)? {
            return Ok(());
        }
        let need = header.map_or(left, |header| header.padded_len()).min(left);
        let frame = match Frame::read(file.bytes(self.at, need as usize)?, self.seed) {
            Ok(frame) => frame,
            Err(fault) => return self.bad(file, header, fault, out),
        };
        let (at, header) = (self.at, frame.header);
        self.at += header.padded_len();
        self.last = self.last.max(header.position);
        match frame.kind {
            FrameKind::Event => event(&mut self.batches, at, &frame, self.payload).print(out)?,
            FrameKind::Commit => commit(&mut self.batches, at, &frame).print(out)?,
            FrameKind::Skippable(_) => Row::frame(at, "unknown", &header, Holds::Nothing {}).print(out)?,
            FrameKind::Seal => {
                let Some(seal) = Seal::decode(&frame) else {
                    let fault = Some("its length or a reserved field is wrong".to_owned());
                    return Ok(Row::frame(at, "seal", &header, Holds::Nothing {}).with_fault(fault).print(out)?);
                };
                Row::frame(at, "seal", &header, Holds::seal(&seal)).print(out)?;
                self.end_of_seal(file, &seal, out)?;
            }
        }
        Ok(())
    }

    /// Where a frame's length is zero there should be nothing but zeros.
    /// Says whether it moved, over the ones that begin here.
    fn zeros(&mut self, file: &mut SegmentFile, out: &mut Out) -> Result<bool, Stopped> {
        let mut end = self.at;
        while end < file.len() {
            let window = file.bytes(end, FRAME_HEADER_LEN)?;
            match window.iter().position(|&byte| byte != 0) {
                Some(index) => {
                    end = (end + index as u64) / FRAME_ALIGN * FRAME_ALIGN;
                    break;
                }
                None if window.is_empty() => break,
                None => end += window.len() as u64,
            }
        }
        if end <= self.at {
            return Ok(false);
        }
        Row::plain(self.at, "zeros", end - self.at).print(out)?;
        self.at = end;
        Ok(true)
    }

    /// Prints what is wrong here, and moves to the next good frame.
    fn bad(
        &mut self,
        file: &mut SegmentFile,
        header: Option<FrameHeader>,
        fault: FrameFault,
        out: &mut Out,
    ) -> Result<(), Stopped> {
        let next = self.search.next(file, self.at + FRAME_ALIGN, Some(self.last))?;
        let end = next.unwrap_or(file.len());
        let mut said = format!("{fault}; {}", show::stretch(self.at, end));
        let rest = file.bytes(self.at, header.map_or(0, |header| header.len as usize))?;
        if let Some(event) = unchecked_event(rest) {
            _ = write!(said, "; unchecked, it reads as {} @{} {}", event.stream, event.version, event.event_type);
        }
        let mut row = Row::plain(self.at, "bad", end - self.at).with_fault(Some(said));
        // What stands where a header should, believed or not: it may be just the checksum that is hurt.
        row.epoch = header.map(|header| u32::from(header.epoch));
        row.position = header.map(|header| header.position.get());
        row.checksum = matches!(fault, FrameFault::Checksum { .. }).then_some("BAD");
        row.print(out)?;
        self.at = end;
        if let Some(next) = next
            && let Some(header) = FrameHeader::read(file.bytes(next, FRAME_HEADER_LEN)?)
        {
            let before =
                if header.kind() == Some(FrameKind::Event) { header.position.before() } else { header.position };
            self.batches = Batches::new(behind_a_gap(next, before));
        }
        Ok(())
    }

    /// The dense index and the trailer that follow a seal.
    fn end_of_seal(&mut self, file: &mut SegmentFile, seal: &Seal, out: &mut Out) -> Result<(), Stopped> {
        let index_at = self.at;
        let trailer_at = seal
            .events
            .checked_mul(4)
            .filter(|&len| len <= file.len())
            .map(|_| index_at + index_len(seal.events))
            .filter(|&trailer_at| trailer_at + TRAILER_LEN as u64 <= file.len());
        let Some(trailer_at) = trailer_at else {
            let fault = Some(format!("cut off: {} entries and the trailer do not fit", seal.events));
            Row::plain(index_at, "index", file.len() - index_at).with_fault(fault).print(out)?;
            self.at = file.len();
            return Ok(());
        };
        let trailer =
            file.bytes(trailer_at, TRAILER_LEN)?.first_chunk().and_then(|bytes| Trailer::decode(bytes, self.seed));
        let len = (seal.events * 4) as usize;
        let index = file.bytes(index_at, len)?;
        let computed = self.seed.checksum(&index[..len.min(index.len())]);
        let mut row = Row::plain(index_at, "index", index_len(seal.events));
        row.holds = Holds::Index { entries: seal.events };
        match trailer {
            Some(trailer) if trailer.index_crc == computed => row.checksum = Some("ok"),
            Some(trailer) => {
                row.checksum = Some("BAD");
                row.fault =
                    Some(format!("the checksum is {:08x} but the bytes give {computed:08x}", trailer.index_crc));
            }
            None => row.fault = Some("its checksum stands in the trailer, which cannot be read".to_owned()),
        }
        row.print(out)?;
        let mut row = Row::plain(trailer_at, "trailer", TRAILER_LEN as u64);
        match trailer {
            Some(trailer) if trailer.index_offset == index_at && u64::from(trailer.events) == seal.events => {
                row.checksum = Some("ok");
            }
            Some(_) => row.fault = Some("it contradicts the seal".to_owned()),
            None => (row.checksum, row.fault) = (Some("BAD"), Some("it is not a trailer of this segment".to_owned())),
        }
        row.print(out)?;
        self.at = trailer_at + TRAILER_LEN as u64;
        Ok(())
    }
}

/// What bytes with a bad checksum may have been.
fn unchecked_event(bytes: &[u8]) -> Option<Event<'_>> {
    let frame = Frame::read_unverified(bytes).ok().filter(|frame| frame.kind == FrameKind::Event)?;
    Event::decode(&frame).ok()
}

fn event<'a>(batches: &mut Batches, at: u64, frame: &Frame<'a>, payload: bool) -> Row<'a> {
    let decoded = Event::decode(frame);
    let follows = batches.event(at, frame);
    match (decoded, follows) {
        (Ok(event), follows) => Row::frame(at, "event", &frame.header, Holds::event(&event, payload))
            .with_fault(follows.err().map(|fault: BatchFault| fault.to_string())),
        (Err(fault), _) => {
            Row::frame(at, "event", &frame.header, Holds::Nothing {}).with_fault(Some(fault.to_string()))
        }
    }
}

fn commit<'a>(batches: &mut Batches, at: u64, frame: &Frame<'a>) -> Row<'a> {
    let commit = match Commit::decode(frame) {
        Ok(commit) => commit,
        Err(fault) => {
            let row = Row::frame(at, "commit", &frame.header, Holds::Nothing {});
            *batches = Batches::new(behind_a_gap(at + frame.header.padded_len(), frame.header.position));
            return row.with_fault(Some(fault.to_string()));
        }
    };
    let fault = batches.commit(at, frame, &commit).err();
    if fault.is_some() {
        // What comes next is judged by what this marker says, or one missing batch would condemn all that follow.
        *batches = Batches::new(Tail {
            offset: at + frame.header.padded_len(),
            position: commit.last,
            chain: Some(commit.chain),
            hash: batches.tail().hash.and(commit.hash),
            epoch: commit.epoch,
            durable_offset: commit.durable_offset,
        });
    }
    Row::frame(at, "commit", &frame.header, Holds::commit(&commit, fault.is_none()))
        .with_fault(fault.map(|fault| fault.to_string()))
}

/// The state behind frames that could not be read.
fn behind_a_gap(offset: u64, position: Position) -> Tail {
    Tail { offset, position, chain: None, hash: None, epoch: Epoch::default(), durable_offset: 0 }
}
