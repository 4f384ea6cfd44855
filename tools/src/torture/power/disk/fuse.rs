//! A file system with one file, the disk, as the kernel sees it through FUSE.
//!
//! One thread answers one request after the other, so the order of the
//! recording is the order in which the kernel got its answers. The file is
//! opened for direct I/O: no write and no flush is kept back or put together
//! by a cache between the loop device and here.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use crate::torture::power::image::Image;
use crate::torture::power::recording::{Record, Recording};

/// What the disk holds, and what it was asked to do since it held its base.
#[derive(Debug)]
pub(super) struct State {
    pub(super) image: Image,
    pub(super) recording: Recording,
    /// How often its first block was read since then.
    pub(super) begun: u64,
    /// Flushes are answered, and not obeyed.
    pub(super) is_disobedient: bool,
}

impl State {
    pub(super) fn new(image: Image) -> State {
        State { recording: Recording::new(image.clone()), image, begun: 0, is_disobedient: false }
    }
}

/// The file system.
#[derive(Debug)]
pub(super) struct OneFile {
    name: String,
    state: Arc<Mutex<State>>,
}

/// The inode of the file; the directory is inode 1.
const INODE: INodeNo = INodeNo(2);
/// Nothing but the content ever changes, so the kernel need not ask twice.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

impl OneFile {
    pub(super) fn new(name: String, state: Arc<Mutex<State>>) -> OneFile {
        OneFile { name, state }
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == INODE;
        let size = if is_file { self.state.lock().image.len() } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == &*self.name {
            reply.entry(&FOR_EVER, &self.attributes(INODE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.attributes(inode));
    }

    /// The kernel tells times of writing, which nobody wants to know.
    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match size {
            Some(_) => reply.error(Errno::EPERM),
            None => reply.attr(&FOR_EVER, &self.attributes(inode)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut state = self.state.lock();
        state.begun += u64::from(offset < 4096);
        reply.data(&state.image.read(offset, size as usize));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.state.lock();
        let written = state.image.write(offset, data);
        state.recording.records.push(Record::Write { offset, data: data[..written].into() });
        reply.written(written as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.state.lock();
        if !state.is_disobedient {
            state.recording.records.push(Record::Flush);
        }
        reply.ok();
    }

    /// A descriptor was closed, which makes nothing durable.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
