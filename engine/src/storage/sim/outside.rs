//! Looking at a simulated disk, and tampering with it, without being an operation of the story on it.

use std::sync::Arc;

use super::SimDisk;
use super::names::Node;
use super::storage::LOCK;

impl SimDisk {
    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        let state = self.state();
        let files = state.names.seen.iter();
        files.filter(|(_, node)| matches!(node, Node::File(_))).map(|(path, _)| path.to_string()).collect()
    }

    /// The length of a file, as the cache has it.
    pub fn file_len(&self, path: &str) -> Option<u64> {
        self.state().find(path).map(|inode| inode.len())
    }

    /// The bytes of a file, as the cache has them: what a reader sees.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        self.state().find(path).map(|inode| {
            let mut bytes = vec![0; inode.len() as usize];
            inode.read(0, &mut bytes);
            bytes
        })
    }

    /// The first path under which the two disks show something else; the lock does not count.
    pub fn difference(&self, other: &SimDisk) -> Option<String> {
        let (one, other) = (self.state().clone(), other.state());
        let mut paths: Vec<&Arc<str>> = one.names.seen.keys().chain(other.names.seen.keys()).collect();
        paths.sort_unstable();
        let differ = |path: &Arc<str>| match (one.names.seen.get(path), other.names.seen.get(path)) {
            (Some(&Node::File(a)), Some(&Node::File(b))) => !one.inodes[a].is_same(&other.inodes[b]),
            (Some(Node::Dir), Some(Node::Dir)) => false,
            _ => true,
        };
        paths.into_iter().filter(|path| &***path != LOCK).find(|path| differ(path)).map(ToString::to_string)
    }

    /// The bytes of a file, as the disk has them: those that no power loss can
    /// take, if the file keeps its name.
    pub fn read_file_on_disk(&self, path: &str) -> Option<Vec<u8>> {
        self.state().find(path).map(|inode| inode.on_disk())
    }

    /// Puts a file there, durable in every respect, with its directories;
    /// replaces one that is there.
    pub fn write_file(&self, path: &str, bytes: &[u8]) {
        self.remove_file(path);
        self.state().plant(path, bytes);
    }

    /// Takes a file away, durably; fine if there is none.
    pub fn remove_file(&self, path: &str) {
        let mut state = self.state();
        if let Some(&Node::File(number)) = state.names.seen.get(path) {
            state.names.plant(path, None);
            state.unlink(number);
        }
    }

    /// Flips one bit of a file, wherever it is kept; bit 0 is the lowest of the first byte.
    ///
    /// # Panics
    ///
    /// When there is no such bit: a test that damages nothing would prove nothing.
    pub fn flip(&self, path: &str, bit: u64) {
        let mut state = self.state();
        let inode = state.find(path).filter(|inode| bit / 8 < inode.len());
        inode.expect("no such bit").flip(bit);
    }

    /// Makes the sector at `offset` of a file unreadable, until all of it is
    /// written again. Survives kill and power loss.
    ///
    /// # Panics
    ///
    /// When there is no such byte.
    pub fn spoil(&self, path: &str, offset: u64) {
        let mut state = self.state();
        let inode = state.find(path).filter(|inode| offset < inode.len());
        inode.expect("no such byte").spoil(offset);
    }
}
