//! The operations on names of a simulated disk: what the engine sees of it as its [`Storage`].
//!
//! What is always true: an error leaves the names that are seen as they were.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use super::fault::{Dice, Verdict};
use super::file::SimFile;
use super::inode::Inode;
use super::names::{Node, parent};
use super::state::gone;
use super::{Shared, SimDisk};
use crate::storage::{Access, File, LockError, LockGuard, Storage, Take};
use crate::sync::atomic::Ordering;

pub(super) const LOCK: &str = "LOCK";

impl Storage for SimDisk {
    fn lock(&self) -> Result<Box<dyn LockGuard>, LockError> {
        let mut state = self.state();
        if state.stopped {
            return Err(gone().into());
        }
        if self.shared.locked.swap(true, Ordering::AcqRel) {
            let pid = Some(std::process::id());
            return Err(LockError::Held { pid });
        }
        // Not an operation: nobody relies on this file, but everybody sees it.
        if state.find(LOCK).is_none() {
            state.plant(LOCK, b"");
        }
        Ok(Box::new(SimLock(Arc::clone(&self.shared))))
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("create_dir {dir}"))?;
        if state.names.is_dir(dir) {
            return Ok(());
        }
        if state.find(dir).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.is_dir(parent(dir)) {
            return Err(state.names.missing(dir));
        }
        state.names.edit(stamp, [(dir.into(), Some(Node::Dir))]);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.begin_read(|| format!("list {dir}"))?;
        if !state.names.is_dir(dir) {
            return Err(match state.find(dir) {
                Some(_) => io::ErrorKind::NotADirectory.into(),
                None => state.names.missing(dir),
            });
        }
        let after = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let below = state.names.seen.range::<str, _>((Bound::Included(after.as_str()), Bound::Unbounded));
        let mut names: Vec<String> = below
            .map_while(|(path, _)| path.strip_prefix(after.as_str()))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect();
        // In no order, so that nobody comes to rely on one.
        let mut dice = state.dice(!state.reads);
        for i in (1..names.len()).rev() {
            names.swap(i, dice.below(i as u64 + 1) as usize);
        }
        Ok(names)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("create {path}"))?;
        if state.names.is_dir(path) || state.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.is_dir(parent(path)) {
            return Err(state.names.missing(path));
        }
        let number = state.inodes.len();
        let node = state.add(Inode::planted(b""));
        let path: Arc<str> = path.into();
        state.names.edit(stamp, [(Arc::clone(&path), Some(node))]);
        Ok(self.file(path, number, Access::ReadWrite))
    }

    fn open(&self, path: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.begin_read(|| format!("open {path}"))?;
        match state.names.seen.get_key_value(path) {
            Some((path, &Node::File(number))) => Ok(self.file(Arc::clone(path), number, access)),
            Some((_, Node::Dir)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(state.names.missing(path)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("rename {from} {to}"))?;
        // In the order in which a kernel looks: both directories, then the names.
        for path in [from, to] {
            if !state.names.is_dir(parent(path)) {
                return Err(state.names.missing(path));
            }
        }
        let node = match state.names.seen.get(from) {
            Some(&node @ Node::File(_)) => node,
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(state.names.missing(from)),
        };
        if state.names.is_dir(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from == to {
            return Ok(());
        }
        if let Some(&Node::File(replaced)) = state.names.seen.get(to) {
            state.unlink(replaced);
        }
        let edits = [(to.into(), Some(node)), (from.into(), None)];
        state.names.edit(stamp, edits);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("remove {path}"))?;
        match state.names.seen.get(path) {
            Some(&Node::File(number)) => {
                state.names.edit(stamp, [(path.into(), None)]);
                state.unlink(number);
                Ok(())
            }
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(state.names.missing(path)),
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        match state.begin(|| format!("sync_dir {dir}"))?.1 {
            Verdict::Stop => return Err(gone()),
            Verdict::Fail(fault) => {
                if let Some(fault) = fault.of_whole() {
                    state.names.fail_sync(dir);
                    return Err(fault.error());
                }
            }
            Verdict::Go => {}
        }
        if !state.names.is_dir(dir) {
            return Err(state.names.missing(dir));
        }
        state.names.sync(dir);
        Ok(())
    }

    /// The bytes are those of a file whose bytes are final and durable, or it would not be linked. What is on another
    /// disk is on this one then; nobody writes through either name, so nobody can tell.
    fn take_from(&self, from: &dyn Storage, path: &str, to: &str, how: Take) -> io::Result<bool> {
        if how == Take::Copy {
            return Ok(false);
        }
        let file = from.open(path, Access::Read)?;
        let mut bytes = vec![0; file.len()? as usize];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        let mut state = self.state();
        let stamp = state.begin_whole(|| format!("link {to}"))?;
        if state.names.is_dir(to) || state.find(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.names.is_dir(parent(to)) {
            return Err(state.names.missing(to));
        }
        let node = state.add(Inode::planted(&bytes));
        state.names.edit(stamp, [(to.into(), Some(node))]);
        Ok(true)
    }

    fn describe(&self, path: &str) -> String {
        format!("simulated disk: {path}")
    }

    /// From the seed, like everything else here, and never the same twice in the life of a disk.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        const APART: u64 = 0x5851_F42D_4C95_7F2D;
        let mut state = self.state();
        state.draws += 1;
        let mut dice = Dice::new(state.seed ^ APART, state.draws);
        for byte in bytes {
            *byte = dice.next() as u8;
        }
        Ok(())
    }
}
impl SimDisk {
    fn file(&self, path: Arc<str>, number: usize, access: Access) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.clone(), path, number, writable: access == Access::ReadWrite })
    }
}
struct SimLock(Arc<Shared>);

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}
impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimLock")
    }
}
