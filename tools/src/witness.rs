//! The file that a witness is kept in: the end of a log's hash chain, as one JSON object.
//!
//! It is what `annals tip --json` prints. It is small, and means nothing to who cannot read the log: publish it where
//! whoever can write to the store cannot: in another system, a mail, a newspaper.

use std::fs;
use std::path::Path;

use annals::{ChainTip, LogId, Position};
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
    /// Who has signed it, and the signature; see [`signing`](crate::signing).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
}

impl Witness {
    pub(crate) fn of(tip: &ChainTip) -> Witness {
        Witness {
            log_id: tip.log_id.to_string(),
            position: tip.position.get(),
            hash: tip.hash.to_string(),
            function: FUNCTION.to_owned(),
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

fn no_witness(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("{} is no witness: {why}", path.display())).next("`annals tip STORE --json` prints one")
}
