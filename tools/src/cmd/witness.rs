//! `annals witness`: witnesses that are checked without the store, and the keys that they are signed with.

use std::path::Path;

use serde::Serialize;

use crate::exit::{Ended, Exit};
use crate::human::count;
use crate::out::{GOOD, Out};
use crate::signing;
use crate::witness::Witness;

pub(crate) fn new_key(path: &Path, out: &mut Out) -> Ended {
    #[derive(Serialize)]
    struct Made {
        public_key: String,
    }
    let public_key = signing::new_key(path)?;
    if out.is_json() {
        out.object(&Made { public_key })?;
    } else {
        out.say(format_args!("public key {public_key}"))?;
        out.say(format_args!("Give it to whoever is to check your witnesses, and {} to nobody.", path.display()))?;
    }
    Ok(Exit::Fine)
}

pub(crate) fn check(path: &Path, public_key: &str, out: &mut Out) -> Ended {
    let witness = Witness::read(path)?;
    witness.tip(path)?;
    signing::check(&witness, path, public_key)?;
    if out.is_json() {
        out.object(&witness)?;
    } else {
        let (log, position) = (&witness.log_id, count(witness.position));
        out.say(format_args!(
            "{GOOD}signed{GOOD:#} by the owner of that key: log {log} as it was at position {position}."
        ))?;
    }
    Ok(Exit::Fine)
}
