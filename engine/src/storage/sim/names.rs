//! The names of a simulated disk: those that are seen, those that are durable,
//! and the changes between.
//!
//! What is always true: `durable` plus all of `pending`, in order, gives `seen`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::fault::{Dice, INHERITED, Keep, Stamp};

/// What a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Node {
    Dir,
    File(usize),
}

pub(super) type Tree = BTreeMap<Arc<str>, Node>;

#[derive(Clone, Default)]
pub(super) struct Names {
    /// In order, so that nothing depends on a hash.
    pub(super) seen: Tree,
    durable: Tree,
    pending: Vec<Change>,
}

/// One operation on names: atomic, and not durable yet.
#[derive(Clone)]
struct Change {
    stamp: Stamp,
    /// A rename edits two names, in one directory or in two.
    edits: [Option<Edit>; 2],
    /// Its sync failed, so no later one covers it.
    lost: bool,
}

#[derive(Clone)]
struct Edit {
    path: Arc<str>,
    node: Option<Node>,
    /// Its directory was synced since.
    synced: bool,
}

impl Change {
    fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.edits.iter().flatten()
    }

    fn names(&self, path: &str) -> bool {
        self.edits().any(|edit| &*edit.path == path)
    }

    fn shares_a_name_with(&self, other: &Change) -> bool {
        self.edits().any(|edit| other.names(&edit.path))
    }

    fn apply(&self, tree: &mut Tree) {
        for edit in self.edits() {
            match edit.node {
                Some(node) => tree.insert(Arc::clone(&edit.path), node),
                None => tree.remove(&edit.path),
            };
        }
    }
}

/// The directory a path is in; `""` is the root.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Names {
    /// Sets a name, or unsets it with `None`; a second name in the same step is a rename.
    pub(super) fn edit<const N: usize>(&mut self, stamp: Stamp, edits: [(Arc<str>, Option<Node>); N]) {
        let mut edits = edits.into_iter().map(|(path, node)| Edit { path, node, synced: false });
        let change = Change { stamp, edits: [edits.next(), edits.next()], lost: false };
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Sets a name, or unsets it, as if it had always been so.
    pub(super) fn plant(&mut self, path: &str, node: Option<Node>) {
        self.pending.retain(|change| !change.names(path));
        for tree in [&mut self.seen, &mut self.durable] {
            match node {
                Some(node) => tree.insert(path.into(), node),
                None => tree.remove(path),
            };
        }
    }

    pub(super) fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.seen.get(path) == Some(&Node::Dir)
    }

    /// Why there is nothing under `path`, and nothing can be put there: it, or
    /// the directory that should hold it, is missing or a file.
    pub(super) fn missing(&self, path: &str) -> io::Error {
        let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        let is_file = |path: &str| matches!(self.seen.get(path), Some(Node::File(_)));
        if above.into_iter().any(is_file) {
            return io::ErrorKind::NotADirectory.into();
        }
        io::ErrorKind::NotFound.into()
    }

    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// Makes the names in `dir` durable: each operation all of whose
    /// directories were synced since, and whatever it is built on.
    pub(super) fn sync(&mut self, dir: &str) {
        let mut durable = Vec::with_capacity(self.pending.len());
        for change in &mut self.pending {
            for edit in change.edits.iter_mut().flatten() {
                edit.synced |= !change.lost && parent(&edit.path) == dir;
            }
            durable.push(change.edits().all(|edit| edit.synced));
        }
        for later in (0..self.pending.len()).rev() {
            for earlier in 0..later {
                durable[earlier] |= durable[later] && self.pending[earlier].shares_a_name_with(&self.pending[later]);
            }
        }
        let mut durable = durable.into_iter();
        self.pending.retain(|change| {
            let done = durable.next() == Some(true);
            if done {
                change.apply(&mut self.durable);
            }
            !done
        });
    }

    /// What should have become durable is shown, but no sync covers it any more.
    pub(super) fn fail_sync(&mut self, dir: &str) {
        for change in &mut self.pending {
            let covered = change.edits().any(|edit| parent(&edit.path) == dir);
            change.lost |= covered;
        }
    }

    /// The names that are left when the power is gone.
    ///
    /// Whoever is dropped takes along what was built on it: a file whose
    /// creation is lost cannot have been renamed, and a directory that is lost
    /// has nothing in it.
    pub(super) fn lose_power(&self, keep: Keep, dice: &mut Dice) -> Names {
        let mut tree = self.durable.clone();
        let mut kept = vec![true; self.pending.len()];
        for (i, change) in self.pending.iter().enumerate() {
            let chosen = match keep {
                Keep::All | Keep::Only(_) | Keep::Torn(..) => true,
                Keep::Nothing => false,
                Keep::Except(stamp) => change.stamp != stamp,
                Keep::Before(stop) => change.stamp < stop || change.stamp == stop && dice.chance(128),
                Keep::Chance(chance) => dice.chance(chance),
            };
            let built_on_what_is_lost =
                (0..i).any(|earlier| !kept[earlier] && change.shares_a_name_with(&self.pending[earlier]));
            kept[i] = chosen && !built_on_what_is_lost;
        }
        if let Keep::Only(stamp) = keep {
            for i in (0..self.pending.len()).rev() {
                kept[i] = self.pending[i].stamp == stamp
                    || (i + 1..self.pending.len())
                        .any(|later| kept[later] && self.pending[later].shares_a_name_with(&self.pending[i]));
            }
        }
        for (change, kept) in self.pending.iter().zip(kept) {
            if kept {
                change.apply(&mut tree);
            }
        }
        // A directory sorts before what it holds, so it is judged before.
        let mut missing: Vec<Arc<str>> = Vec::new();
        for (path, node) in &self.seen {
            if *node == Node::Dir && (!tree.contains_key(path) || missing.iter().any(|dir| **dir == *parent(path))) {
                missing.push(Arc::clone(path));
            }
        }
        tree.retain(|path, _| !missing.iter().any(|dir| **dir == *parent(path) || dir == path));
        Names { seen: tree.clone(), durable: tree, pending: Vec::new() }
    }

    /// All stays, in a new count of operations.
    pub(super) fn inherit(&mut self) {
        for change in &mut self.pending {
            change.stamp = INHERITED;
        }
    }

    /// Gives every file a new number.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(usize) -> usize) {
        for (path, node) in &mut self.seen {
            if let Node::File(file) = node {
                *file = number(*file);
                *self.durable.get_mut(path).expect("same names") = *node;
            }
        }
    }
}
