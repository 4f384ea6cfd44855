//! The file that a proof is kept in: one JSON object, which `annals prove` prints.
//!
//! What each field means is in FORMAT.md, section 23. Nothing that is not understood is read over.

use std::fs;
use std::path::Path;

use annals::{ConsistencyProof, Digest, InclusionProof, Position, ProvenBatch, ProvenEvent, StreamVersion, Tag};
use annals_codec::{ContentType, Tags, push_tag};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::witness::Tree;

/// No proof is longer, in bytes: a batch has a million events at most, of 67 bytes each here.
const MOST: u64 = 128 << 20;

/// A proof as it stands in its file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "proof", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum ProofFile {
    Inclusion { log_id: String, tree: Tree, number: u64, path: Vec<String>, batch: Batch, event: Box<Event> },
    Consistency { log_id: String, old: Tree, tree: Tree, path: Vec<String> },
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    first: u64,
    events: Vec<String>,
    key: Option<String>,
    tracking: Option<Tracking>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Tracking {
    source: String,
    upstream: u64,
}

/// Times are nanoseconds since 1970 UTC.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    position: u64,
    stream: String,
    version: u64,
    r#type: String,
    id: String,
    recorded_at: i64,
    occurred_at: Option<i64>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    schema_version: u16,
    content_type: u8,
    tags: Vec<String>,
    payload: String,
}

/// What a file says.
pub(crate) enum Proof {
    Inclusion(Box<InclusionProof>),
    Consistency(ConsistencyProof),
}

fn hex(path: &[Digest]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

impl ProofFile {
    pub(crate) fn of_inclusion(proof: &InclusionProof) -> ProofFile {
        let InclusionProof { head, event, batch, number, path } = proof;
        let tracking = batch.tracking.as_ref();
        ProofFile::Inclusion {
            log_id: head.log_id.to_string(),
            tree: Tree::of(head),
            number: *number,
            path: hex(path),
            batch: Batch {
                first: batch.first.get(),
                events: hex(&batch.events),
                key: batch.key.clone(),
                tracking: tracking.map(|(source, upstream)| Tracking { source: source.clone(), upstream: *upstream }),
            },
            event: Box::new(Event {
                position: event.position.get(),
                stream: event.stream.clone(),
                version: event.version.get(),
                r#type: event.event_type.clone(),
                id: event.id.to_string(),
                recorded_at: event.recorded_at,
                occurred_at: event.occurred_at,
                correlation_id: event.correlation_id.map(|id| id.to_string()),
                causation_id: event.causation_id.map(|id| id.to_string()),
                schema_version: event.schema_version,
                content_type: event.content_type.number(),
                tags: Tags::from_encoded(&event.tags).iter().map(str::to_owned).collect(),
                payload: event.payload.to_string(),
            }),
        }
    }

    pub(crate) fn of_consistency(proof: &ConsistencyProof) -> ProofFile {
        let ConsistencyProof { old, head, path } = proof;
        let log_id = head.log_id.to_string();
        ProofFile::Consistency { log_id, old: Tree::of(old), tree: Tree::of(head), path: hex(path) }
    }

    /// Reads the file at `path`.
    pub(crate) fn read(path: &Path) -> Result<ProofFile, Failure> {
        let shown = path.display();
        let cannot = |error: &std::io::Error| Failure::io(format!("cannot read {shown}")).because(error);
        let len = fs::metadata(path).map_err(|error| cannot(&error))?.len();
        if len > MOST {
            return Err(no_proof(path, &format!("it has {len} bytes")));
        }
        let text = fs::read_to_string(path).map_err(|error| cannot(&error))?;
        serde_json::from_str(&text).map_err(|error| no_proof(path, &error.to_string()))
    }

    /// What it says. `path` is where it was read from, for the error.
    pub(crate) fn proof(&self, path: &Path) -> Result<Proof, Failure> {
        self.decode().map_err(|why| no_proof(path, &why))
    }

    fn decode(&self) -> Result<Proof, String> {
        match self {
            ProofFile::Inclusion { log_id, tree, number, path, batch, event } => {
                let tracking = batch.tracking.as_ref().map(|Tracking { source, upstream }| (source.clone(), *upstream));
                Ok(Proof::Inclusion(Box::new(InclusionProof {
                    head: tree.head(log_id)?,
                    number: *number,
                    path: digests(path)?,
                    batch: ProvenBatch {
                        first: Position::new(batch.first),
                        events: digests(&batch.events)?,
                        key: batch.key.clone(),
                        tracking,
                    },
                    event: event.decode()?,
                })))
            }
            ProofFile::Consistency { log_id, old, tree, path } => Ok(Proof::Consistency(ConsistencyProof {
                old: old.head(log_id)?,
                head: tree.head(log_id)?,
                path: digests(path)?,
            })),
        }
    }
}

impl Event {
    fn decode(&self) -> Result<ProvenEvent, String> {
        let id = |text: &String| text.parse().map_err(|_| format!("{text:?} is no id"));
        let mut tags = Vec::new();
        for tag in &self.tags {
            push_tag(&mut tags, &Tag::new(tag).map_err(|error| error.to_string())?);
        }
        Ok(ProvenEvent {
            position: Position::new(self.position),
            version: StreamVersion::new(self.version),
            id: id(&self.id)?,
            recorded_at: self.recorded_at,
            occurred_at: self.occurred_at,
            correlation_id: self.correlation_id.as_ref().map(id).transpose()?,
            causation_id: self.causation_id.as_ref().map(id).transpose()?,
            schema_version: self.schema_version,
            content_type: ContentType::new(self.content_type),
            stream: self.stream.clone(),
            event_type: self.r#type.clone(),
            tags,
            payload: digest(&self.payload)?,
        })
    }
}

fn digest(text: &String) -> Result<Digest, String> {
    text.parse().map_err(|error| format!("{text:?} is no hash: {error}"))
}

fn digests(texts: &[String]) -> Result<Vec<Digest>, String> {
    texts.iter().map(digest).collect()
}

fn no_proof(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("{} is no proof: {why}", path.display())).next("`annals prove` prints one")
}
