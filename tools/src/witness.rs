//! The file that a witness is kept in: the end of a log's hash chain, as one JSON object.
//!
//! It is what `annals tip --json` prints, with the head of the tree over the log's batches, so that proofs can be checked
//! against it. It is small, and means nothing to who cannot read the log: publish it where
//! whoever can write to the store cannot: in another system, a mail, a newspaper.

use std::fs;
use std::path::Path;

use annals::{ChainTip, LogId, LogTree, Position, TreeHead};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// The function that the chain is made with, as it is named in the file.
const FUNCTION: &str = "sha-256";

/// No witness is longer, in bytes: whoever names something else is told so before it is read.
const MOST: u64 = 64 << 10;

/// A witness as it stands in its file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witness {
    pub(crate) log_id: String,
    pub(crate) position: u64,
    pub(crate) hash: String,
    pub(crate) function: String,
    /// The tree over the batches up to there; see [`prove`](crate::cmd::prove).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<Tree>,
    /// Who has signed it, and the signature; see [`signing`](crate::signing).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
}

/// The head of a tree as it stands in a witness or a proof.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tree {
    /// The position behind which it begins.
    pub(crate) from: u64,
    /// How many batches it has.
    pub(crate) size: u64,
    pub(crate) root: String,
}

impl Tree {
    pub(crate) fn of(head: &TreeHead) -> Tree {
        Tree { from: head.from.get(), size: head.size, root: head.root.to_string() }
    }

    /// What it says of the log with this id; the error is why it says nothing.
    pub(crate) fn head(&self, log_id: &str) -> Result<TreeHead, String> {
        let log_id: LogId = log_id.parse().map_err(|_| "its log id is none".to_owned())?;
        let root = self.root.parse().map_err(|error| format!("the root of its tree is none: {error}"))?;
        Ok(TreeHead { log_id, from: Position::new(self.from), size: self.size, root })
    }
}

impl Witness {
    /// Of the end of the hash chain, with the tree up to there.
    pub(crate) fn of_tree(tree: &LogTree) -> Witness {
        Witness { tree: Some(Tree::of(&tree.head())), ..Witness::of(&tree.tip()) }
    }

    /// Of the end of the hash chain alone.
    pub(crate) fn of(tip: &ChainTip) -> Witness {
        Witness {
            log_id: tip.log_id.to_string(),
            position: tip.position.get(),
            hash: tip.hash.to_string(),
            function: FUNCTION.to_owned(),
            tree: None,
            public_key: None,
            signature: None,
        }
    }

    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<Witness, Failure> {
        let shown = path.display();
        let cannot = |error: &std::io::Error| Failure::io(format!("cannot read {shown}")).because(error);
        let len = fs::metadata(path).map_err(|error| cannot(&error))?.len();
        if len > MOST {
            return Err(no_witness(path, &format!("it has {len} bytes")));
        }
        let text = fs::read_to_string(path).map_err(|error| cannot(&error))?;
        serde_json::from_str(&text).map_err(|error| no_witness(path, &error.to_string()))
    }

    /// What it says. `path` is where it was read from, for the error.
    pub(crate) fn tip(&self, path: &Path) -> Result<ChainTip, Failure> {
        if self.function != FUNCTION {
            return Err(no_witness(path, &format!("its hash function is {:?}, and not {FUNCTION}", self.function)));
        }
        let log_id: LogId = self.log_id.parse().map_err(|_| no_witness(path, "its log id is none"))?;
        let hash = self.hash.parse().map_err(|error| no_witness(path, &format!("its hash is none: {error}")))?;
        Ok(ChainTip { log_id, position: Position::new(self.position), hash })
    }
}

impl Witness {
    /// The tree in it. `path` is where it was read from, for the error.
    pub(crate) fn tree_head(&self, path: &Path) -> Result<TreeHead, Failure> {
        let tree = self.tree.as_ref().ok_or_else(|| {
            Failure::usage(format!("{} has no tree in it", path.display()))
                .next("`annals tip STORE --json` prints one with it")
        })?;
        tree.head(&self.log_id).map_err(|why| no_witness(path, &why))
    }
}

fn no_witness(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("{} is no witness: {why}", path.display())).next("`annals tip STORE --json` prints one")
}
