//! `annals tip`: the end of the hash chain, to be kept elsewhere as a witness.

use std::path::Path;

use crate::exit::{Ended, Exit, Failure};
use crate::human::count;
use crate::open;
use crate::out::Out;
use crate::signing;
use crate::witness::Witness;

pub(crate) fn run(path: &Path, key: Option<&Path>, out: &mut Out) -> Ended {
    let store = open::for_reading(path)?;
    let tip = store.chain_tip().map_err(|error| Failure::io("cannot look at the end of the log").because(&error))?;
    let Some(tip) = tip else {
        let what = format!("{} keeps no hash chain at its end", path.display());
        return Err(Failure::findings(what).next("open it with `Options::hash_chain`, or `annals import --hash-chain`"));
    };
    let mut witness = Witness::of(&tip);
    if let Some(key) = key {
        signing::sign(&mut witness, key)?;
    }
    if out.is_json() {
        out.object(&witness)?;
    } else {
        out.say(format_args!("log      {}", witness.log_id))?;
        out.say(format_args!("position {}", count(witness.position)))?;
        out.say(format_args!("hash     {} ({})", witness.hash, witness.function))?;
        if let Some(public_key) = &witness.public_key {
            out.say(format_args!("signed   by the owner of {public_key}"))?;
        }
        out.say(format_args!("\nWith --json it is a witness: keep it where nobody who can write to the store can."))?;
    }
    Ok(Exit::Fine)
}
