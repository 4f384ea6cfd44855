//! The tree over the batches of a log: proofs that an event is in it, and that it has only grown.

use std::sync::Arc;

use annals_codec::merkle::{self, Nodes};
use annals_codec::proof::{ConsistencyProof, InclusionProof, ProvenBatch, ProvenEvent, TreeHead};
use annals_codec::{Digest, Position};

use super::tip::ChainTip;
use super::{EventStore, Role};
use crate::error::{KeepError, ReadError};
use crate::index::files::IndexFiles;
use crate::index::find;
use crate::index::redactions;
use crate::index::tree::TreeParts;
use crate::view::View;

/// The tree over the batches that the hash chain at the end of a log covers, as it was when it was
/// [asked for](EventStore::tree).
///
/// It is the Merkle tree of RFC 9162; its leaves are the batches, in their order. Proofs made with it are checked without
/// the store: see [`annals_codec::proof`].
#[derive(Debug)]
pub struct LogTree {
    tip: ChainTip,
    head: TreeHead,
    parts: TreeParts,
    /// The index of the segment that it begins with.
    first: usize,
}

/// Why a node was not had.
enum Missing {
    /// Nobody knows it any more.
    Removed,
    Read(ReadError),
}

impl From<ReadError> for Missing {
    fn from(error: ReadError) -> Missing {
        Missing::Read(error)
    }
}

/// Nodes, each asked of the part that completes it. The tree begins with the segment of this index.
struct Complete<'a>(&'a TreeParts, usize);

impl Nodes for Complete<'_> {
    type Error = Missing;

    fn complete(&mut self, level: u32, index: u64) -> Result<Digest, Missing> {
        let end = (index + 1) << level;
        let (mut from, mut to) = (self.1, self.0.len());
        while from < to {
            let middle = from.midpoint(to);
            let header = self.0.part(middle)?.ok_or(Missing::Removed)?.outline().header;
            if header.first + header.leaves < end {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        let part = if from < self.0.len() { self.0.whole_part(from)? } else { None };
        part.and_then(|part| part.outline().complete(level, index)).ok_or(Missing::Removed)
    }
}

impl LogTree {
    /// Where the hash chain ends that it covers.
    pub fn tip(&self) -> ChainTip {
        self.tip
    }

    /// What it is checked against: its size and its root.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    fn missing(&self, missing: Missing) -> KeepError {
        match missing {
            Missing::Removed => KeepError::Truncated { oldest: self.parts.view().oldest() },
            Missing::Read(error) => KeepError::Read(error),
        }
    }

    /// The tree as it was when it had so many batches; `None` when it never had.
    ///
    /// # Errors
    ///
    /// [`KeepError::Truncated`] when what tells it was removed; [`KeepError::Read`].
    pub fn head_of(&self, size: u64) -> Result<Option<TreeHead>, KeepError> {
        if size > self.head.size {
            return Ok(None);
        }
        let root =
            merkle::root(&mut Complete(&self.parts, self.first), size).map_err(|missing| self.missing(missing))?;
        Ok(Some(TreeHead { size, root, ..self.head }))
    }

    /// Whether this tree was once as `seen` says.
    fn was(&self, parts: &TreeParts, seen: &TreeHead) -> Result<bool, KeepError> {
        let is_of_this = (seen.log_id, seen.from) == (self.head.log_id, self.head.from) && seen.size <= self.head.size;
        let root =
            || merkle::root(&mut Complete(parts, self.first), seen.size).map_err(|missing| self.missing(missing));
        Ok(is_of_this && root()? == seen.root)
    }

    /// What `prove` makes with nodes that lead to the root of `head`: those of the files or, where these do not, those
    /// of the segments themselves. `None` when these do not either.
    fn with_nodes<T>(
        &self,
        head: &TreeHead,
        mut prove: impl FnMut(&mut Complete<'_>) -> Result<Option<T>, Missing>,
    ) -> Result<Option<T>, KeepError> {
        let anew = self.parts.anew();
        for parts in [&self.parts, &anew] {
            if self.was(parts, head)?
                && let Some(proof) = prove(&mut Complete(parts, self.first)).map_err(|missing| self.missing(missing))?
            {
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    /// Proves that the event at `position` was in the log when its tree was `head`: this one, or one from before.
    /// `None` when the hash chain does not cover the event, or it came later.
    ///
    /// # Errors
    ///
    /// [`KeepError::DivergedLog`] when the tree never was so; [`KeepError::Truncated`] when the event was removed, or what
    /// would prove it; [`KeepError::Read`].
    pub fn inclusion(&self, position: Position, head: &TreeHead) -> Result<Option<InclusionProof>, KeepError> {
        if position <= self.head.from || position > self.tip.position {
            return Ok(None);
        }
        let oldest = self.parts.view().oldest();
        if position < oldest {
            return Err(KeepError::Truncated { oldest });
        }
        let Some((event, batch)) = batch_of(self.parts.view(), position)? else { return Ok(None) };
        let (Some(digest), Some(index)) = (batch.digest(head.log_id), self.parts.view().segment_of(position)) else {
            return Err(diverged(&self.head, head));
        };
        let mut is_later = false;
        let proof = self.with_nodes(head, |nodes| {
            let part = nodes.0.whole_part(index)?.ok_or(Missing::Removed)?;
            let Some(number) = part.outline().leaf_of(position) else { return Ok(None) };
            is_later = number >= head.size;
            if is_later {
                return Ok(Some(None));
            }
            let path = merkle::inclusion(nodes, number, head.size)?;
            let holds = merkle::check_inclusion(&digest, number, head.size, &head.root, &path);
            let proof = InclusionProof { head: *head, event: event.clone(), batch: batch.clone(), number, path };
            Ok(holds.then_some(Some(proof)))
        })?;
        proof.ok_or_else(|| diverged(&self.head, head))
    }

    /// Proves that the tree `old` is the beginning of `new`: of this one, or one from before.
    ///
    /// # Errors
    ///
    /// [`KeepError::DivergedLog`] when this tree never was as one of them says, or they come in the other order;
    /// [`KeepError::Truncated`] when what would prove it was removed; [`KeepError::Read`].
    pub fn consistency(&self, old: &TreeHead, new: &TreeHead) -> Result<ConsistencyProof, KeepError> {
        if old.size > new.size {
            return Err(diverged(new, old));
        }
        let proof = self.with_nodes(new, |nodes| {
            let path = merkle::consistency(nodes, old.size, new.size)?;
            let proof = ConsistencyProof { old: *old, head: *new, path };
            Ok(proof.check(old, new).is_ok().then_some(proof))
        })?;
        let other = if (new.log_id, new.from) == (self.head.log_id, self.head.from) && new.size <= self.head.size {
            old
        } else {
            new
        };
        proof.ok_or_else(|| diverged(&self.head, other))
    }
}

/// This tree never was as `seen` says.
fn diverged(now: &TreeHead, seen: &TreeHead) -> KeepError {
    let difference = if seen.log_id != now.log_id {
        format!("its log is {}, and this is {}", seen.log_id, now.log_id)
    } else if seen.from != now.from {
        format!("its hash chain begins behind position {}, and this one behind {}", seen.from, now.from)
    } else if seen.size > now.size {
        format!("it has {} batches, and this log {}", seen.size, now.size)
    } else {
        "the batches of this log give another root".to_owned()
    };
    KeepError::DivergedLog { what: "the tree head".to_owned(), difference }
}

impl EventStore {
    /// The tree over the batches that the hash chain at the end of the log covers, for proofs; `None` when the log keeps no
    /// chain there ([`Options::hash_chain`](crate::Options::hash_chain)).
    ///
    /// As with [`chain_tip`](EventStore::chain_tip), everything is made durable first.
    ///
    /// # Cost
    ///
    /// The segment that still grows is read and hashed, up to the size of a segment. Of sealed ones nothing is read but
    /// their headers, and files in `idx/` of 64 bytes a batch, a few pages of each; where one is missing, its segment is.
    ///
    /// # Errors
    ///
    /// As `chain_tip`; [`KeepError::Truncated`] when the beginning of the tree was removed, and nothing is left that
    /// knows of it; [`KeepError::Read`] when a segment cannot be read.
    ///
    /// # Example
    ///
    /// ```
    /// use annals::{EventStore, ExpectedVersion, NewEvent, Options, Position};
    ///
    /// let store = EventStore::in_memory(&Options::new().hash_chain(true))?;
    /// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", "{}"))?;
    /// let published = store.tree()?.expect("the store keeps a chain").head();
    ///
    /// for name in ["Paid", "Shipped"] {
    ///     store.append("order-7", ExpectedVersion::Any, NewEvent::new(name, "{}"))?;
    /// }
    /// let tree = store.tree()?.expect("the store keeps a chain");
    /// let grown = tree.consistency(&published, &tree.head())?;
    /// let inside = tree.inclusion(Position::new(2), &tree.head())?.expect("an event of the log");
    ///
    /// // Elsewhere, by who has no store and trusts what was published.
    /// grown.check(&published, &tree.head())?;
    /// inside.check(&tree.head())?;
    /// assert_eq!(inside.event.event_type, "Paid");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tree(&self) -> Result<Option<LogTree>, KeepError> {
        let files = match &self.inner.role {
            Role::Writer(side) => Arc::clone(&side.commit.files),
            Role::Follower(_) => IndexFiles::new(Arc::clone(&self.inner.storage), self.inner.log_id, false),
        };
        let (tip, parts, last) = loop {
            let Some(tip) = self.chain_tip()? else { return Ok(None) };
            let view = self.inner.published.view();
            let parts = TreeParts::new(&files, &view).up_to(tip.hash);
            let Some(index) = parts.len().checked_sub(1) else { return Ok(None) };
            if let Some(last) = parts.whole_part(index)? {
                break (tip, parts, last);
            }
            if parts.is_over(index)? && parts.before(index)?.is_none() {
                return Err(KeepError::Truncated { oldest: view.oldest() });
            }
            // A segment began meanwhile, or somebody has looked for the writer's progress: the tip is not in the last one.
        };
        let position = last.end().map_or(tip.position, |end| end.position);
        let part = last.outline();
        let peaks = part.peaks().ok_or_else(|| KeepError::Truncated { oldest: parts.view().oldest() })?;
        let head = TreeHead { log_id: tip.log_id, from: part.header.from, size: peaks.size(), root: peaks.root() };
        let first = parts.first_of(head.from)?;
        Ok(Some(LogTree { tip: ChainTip { position, ..tip }, head, parts, first }))
    }
}

/// The event at `position`, and the batch that it is part of, as a proof has them.
fn batch_of(view: &View, position: Position) -> Result<Option<(ProvenEvent, ProvenBatch)>, ReadError> {
    let facts = find::marker_behind(view, position, |commit, _| {
        let tracking = commit.tracking.map(|tracking| (tracking.source.to_owned(), tracking.upstream));
        let key = commit.key.map(str::to_owned);
        (commit.count, ProvenBatch { first: commit.first, events: Vec::new(), key, tracking })
    })?;
    let Some((count, mut batch)) = facts else { return Ok(None) };
    let (mut found, mut failed) = (None, None);
    find::events_of(view, batch.first, count, &mut |event| {
        let payload = redactions::payload_of(view, event);
        let proven = match payload {
            Ok(payload) => ProvenEvent::of(event, payload),
            Err(error) => return failed = Some(error),
        };
        batch.events.extend(proven.digest());
        if event.position == position {
            found = Some(proven);
        }
    })?;
    failed.map_or(Ok(()), Err)?;
    Ok(found.map(|event| (event, batch)))
}
