//! `annals tip`: the end of the hash chain, to be kept elsewhere as a witness.

use std::path::Path;

use annals::KeepError;

use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, counted};
use crate::open;
use crate::out::Out;
use crate::signing;
use crate::witness::{Tree, Witness};

pub(crate) fn run(path: &Path, key: Option<&Path>, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let tree = match store.tree() {
        // The end of the chain is known all the same.
        Err(KeepError::Truncated { .. }) => None,
        tree => Some(tree.map_err(|error| open::unkept("cannot look at the end of the log", &error))?),
    };
    let witness = match tree {
        Some(tree) => tree.as_ref().map(Witness::of_tree),
        None => store
            .chain_tip()
            .map_err(|error| open::unkept("cannot look at the end of the log", &error))?
            .as_ref()
            .map(Witness::of),
    };
    let Some(mut witness) = witness else {
        let what = format!("{} keeps no hash chain at its end", path.display());
        return Err(Failure::findings(what).next("open it with `Options::hash_chain`, or `annals import --hash-chain`"));
    };
    if let Some(key) = key {
        signing::sign(&mut witness, key)?;
    }
    if out.is_json() {
        out.object(&witness)?;
    } else {
        out.say(format_args!("log      {}", witness.log_id))?;
        out.say(format_args!("position {}", count(witness.position)))?;
        out.say(format_args!("hash     {} ({})", witness.hash, witness.function))?;
        if let Some(Tree { size, root, .. }) = &witness.tree {
            out.say(format_args!("tree     {root} over {}", counted(*size, "batch")))?;
        }
        if let Some(public_key) = &witness.public_key {
            out.say(format_args!("signed   by the owner of {public_key}"))?;
        }
        out.say(format_args!("\nWith --json it is a witness: keep it where nobody who can write to the store can."))?;
    }
    Ok(Exit::Fine)
}
