//! The disk, the device over it, and the file system on that: what is wired to what.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use super::cut::{Cut, Keep, Lost};
use super::device::{Device, Mounted};
use super::disk::Disk;
use super::recording::Counts;

/// How large the disk is: more than 128 MiB, so that ext4 has a second superblock to be mended with. It is
/// sparse, so what is not used costs nothing.
const BYTES: u64 = 144 << 20;
/// The number under which the disk keeps the empty file system.
const EMPTY: usize = 0;
/// Words that are not on a disk by chance.
const WRITTEN: &str = "annals-torture: this was written, and flushed";
const UNFLUSHED: &str = "annals-torture: this was written, and the flush was not obeyed";

/// A file system that can lose power.
#[derive(Debug)]
pub struct Rig {
    // The device is closed before the disk below it goes.
    device: Device,
    pub(super) disk: Disk,
}

impl Rig {
    /// Sets one up, with an empty file system, and makes sure that flushes are seen and missed.
    ///
    /// # Errors
    ///
    /// When anything of it is not possible here, or a flush gets lost between a file and the disk.
    pub fn start(exe: &Path) -> io::Result<Rig> {
        let mut disk = Disk::start(Command::new(exe).arg(super::DISK), BYTES)?;
        let file = disk.file().ok_or_else(|| io::Error::other("the disk is not mounted"))?;
        let device = Device::over(file)?;
        disk.detach()?;
        let mut rig = Rig { device, disk };
        rig.device.make_file_system()?;
        rig.device.wait_until_free()?;
        rig.disk.keep(EMPTY)?;
        rig.sees_flushes()?;
        Ok(rig)
    }

    /// How many writes and flushes the disk was asked for since its content was changed.
    ///
    /// # Errors
    ///
    /// When the disk has gone.
    pub fn records(&mut self) -> io::Result<usize> {
        Ok(self.disk.stamp()?.records)
    }

    /// The disk holds an empty file system, and nothing has happened to it.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        self.cut(EMPTY, Cut { at: usize::MAX, keep: Keep::Everything, seed: 0, disobeyed: 0 }).map(drop)
    }

    /// The disk becomes what a loss of power left of a kept recording.
    ///
    /// # Errors
    ///
    /// When the disk has gone, something is still mounted, or nothing was kept under that number.
    pub fn cut(&mut self, slot: usize, cut: Cut) -> io::Result<Lost> {
        self.device.wait_until_free()?;
        self.disk.cut(slot, cut)
    }

    /// Keeps what was recorded under a number, when everything is unmounted; and says how much it is.
    ///
    /// # Errors
    ///
    /// When the disk has gone, or something is still mounted.
    pub fn keep(&mut self, slot: usize) -> io::Result<Counts> {
        self.device.wait_until_free()?;
        self.disk.keep(slot)
    }

    /// Mounts what the disk holds; also says whether the file system had to be mended first.
    ///
    /// Ext4 writes its own superblock over two sectors in place, and refuses to be mounted when a
    /// loss of power has come between them. Whoever meets that runs `e2fsck`, and so do we.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or has not looked at the disk.
    pub fn mount(&mut self) -> io::Result<(Mounted, bool)> {
        let (mounted, was_mended) = match self.device.mount() {
            Ok(mounted) => (mounted, false),
            Err(error) if error.raw_os_error() == Some(Errno::BADMSG.raw_os_error()) => {
                self.device.mend()?;
                self.device.wait_until_free()?;
                (self.device.mount()?, true)
            }
            Err(error) => return Err(error),
        };
        // A kernel that remembers blocks of another image would show what no disk ever held.
        if self.disk.stamp()?.begun == 0 {
            return Err(io::Error::other("the kernel mounted what it remembered, and did not read the disk"));
        }
        Ok((mounted, was_mended))
    }

    /// Makes sure that a flush of a file reaches the disk behind its data, and that one that does not is noticed.
    fn sees_flushes(&mut self) -> io::Result<()> {
        let (mounted, _) = self.mount()?;
        synced(&mounted, "flushed", WRITTEN)?;
        let seen = self.disk.is_flushed(WRITTEN)?;
        self.disk.disobey()?;
        synced(&mounted, "unflushed", UNFLUSHED)?;
        let missed = self.disk.is_flushed(UNFLUSHED)?;
        drop(mounted);
        if (seen, missed) != (Some(true), Some(false)) {
            let what = format!("flushes do not reach the disk as they should: {seen:?}, {missed:?}");
            return Err(io::Error::other(what));
        }
        self.empty()
    }
}

fn synced(mounted: &Mounted, name: &str, text: &str) -> io::Result<()> {
    let mut file = File::create(mounted.path().join(name))?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}
