//! The block device over the disk, and file systems mounted from it.
//!
//! Nothing of it outlives this process, however that ends. The device frees
//! itself when it is closed, and a file system is mounted without a mount
//! point: only its descriptor leads there, and the kernel closes that.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// How long a file system may take to let go of the device.
const PATIENCE: Duration = Duration::from_secs(20);

/// A loop device of ours.
#[derive(Debug)]
pub(super) struct Device {
    path: PathBuf,
    /// While this is open the device lives.
    held: File,
}

impl Device {
    /// Finds a free loop device and puts it over this file.
    pub(super) fn over(file: &Path) -> io::Result<Device> {
        let path = run(command("losetup").args(["--find", "--show", "--direct-io=on"]).arg(file))?;
        let path = PathBuf::from(path.trim_end());
        let held = File::open(&path);
        // As it is open, this frees it as soon as it is not any more.
        run(command("losetup").arg("--detach").arg(&path))?;
        Ok(Device { path, held: held? })
    }

    /// Makes a file system on it.
    pub(super) fn make_file_system(&self) -> io::Result<()> {
        // What would be done lazily, in the background, is done now. A small journal wraps often.
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        let mut command = command("mkfs.ext4");
        command
            .args(["-q", "-F", "-b", "4096", "-m", "0", "-N", "2048", "-J", "size=4", "-E", options])
            .arg(&self.path);
        run(&mut command).map(drop)
    }

    /// Mounts what is on it, with the file system's own defaults.
    pub(super) fn mount(&self) -> io::Result<Mounted> {
        let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", &self.path)?;
        fsconfig_create(&context)?;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        Ok(Mounted { root })
    }

    /// Has the file system mended by its own checker, as whoever cannot mount it would do.
    pub(super) fn mend(&self) -> io::Result<()> {
        let output = command("e2fsck").args(["-f", "-y"]).arg(&self.path).output()?;
        // Less than 4: everything that was wrong is mended.
        match output.status.code() {
            Some(0..4) => Ok(()),
            _ => Err(io::Error::other(String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; "))),
        }
    }

    /// Waits until nothing is mounted from it, and forgets what the kernel has cached of it.
    pub(super) fn wait_until_free(&self) -> io::Result<()> {
        let begun = Instant::now();
        // A device that is mounted cannot be opened exclusively.
        let exclusive = OFlags::EXCL.bits().cast_signed();
        while let Err(error) = OpenOptions::new().read(true).custom_flags(exclusive).open(&self.path) {
            if error.kind() != io::ErrorKind::ResourceBusy || begun.elapsed() > PATIENCE {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(fadvise(&self.held, 0, None, Advice::DontNeed)?)
    }
}

/// A mounted file system. It is unmounted when this is dropped and no file of it is open any more.
#[derive(Debug)]
pub struct Mounted {
    root: OwnedFd,
}

impl Mounted {
    /// Its root, for this process.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.root.as_raw_fd()).into()
    }

    /// Its root, for our children.
    pub fn path_for_children(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.root.as_raw_fd()).into()
    }
}

/// Whether this process may begin to mount an ext4 file system, which this kernel must know.
pub(super) fn may_mount() -> io::Result<()> {
    fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC).map(drop).map_err(io::Error::from)
}

/// Where a program is. Those that make file systems are not on everybody's path.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn command(name: &str) -> Command {
    Command::new(program(name).unwrap_or_else(|| name.into()))
}

/// Runs a command to its end; what it prints, or what it complains about.
fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output().map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", command.get_program().to_string_lossy()))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        return Err(io::Error::other(format!("{}: {said}", command.get_program().to_string_lossy())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
