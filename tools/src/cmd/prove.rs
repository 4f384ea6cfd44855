//! `annals prove`: that an event is in the log, or that the log has only grown, to who has a witness and no store; and
//! `annals witness check-proof`, which is what that one does.

use std::path::{Path, PathBuf};

use annals::{KeepError, Position, TreeHead};

use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, counted, printable};
use crate::open;
use crate::out::{GOOD, Out};
use crate::proof::{Proof, ProofFile};
use crate::signing;
use crate::witness::Witness;

pub(crate) fn run(
    path: &Path,
    position: Option<u64>,
    since: Option<&Path>,
    witness: Option<&Path>,
    out: &mut Out,
) -> Ended {
    let files = [since, witness];
    let (since, witness) = (since.map(seen).transpose()?, witness.map(seen).transpose()?);
    if let (Some(since), Some(witness)) = (&since, &witness) {
        in_order(since, witness)?;
    }
    let store = open::for_reading(path)?;
    let tree = store.tree().map_err(|error| open::unkept("the tree cannot be made", &error))?;
    let Some(tree) = tree else {
        let what = format!("{} keeps no hash chain at its end", path.display());
        return Err(Failure::findings(what).next("open it with `Options::hash_chain`, or `annals import --hash-chain`"));
    };
    for (file, seen) in files.into_iter().zip([&since, &witness]) {
        if let (Some(file), Some(seen)) = (file, seen) {
            of_this_log(file, seen, &tree.head())?;
        }
    }
    let head = witness.unwrap_or_else(|| tree.head());
    let proof = if let Some(old) = since {
        let proof = tree.consistency(&old, &head);
        ProofFile::of_consistency(
            &proof.map_err(|error| failed("it cannot be proven that the log has only grown", &error))?,
        )
    } else {
        let position = position.unwrap_or_default();
        let what = format!("it cannot be proven that the event at position {position} is in the log");
        let proof = tree.inclusion(Position::new(position), &head).map_err(|error| failed(&what, &error))?;
        let nowhere = || {
            Failure::findings(what).next("it came after the witness, or there is no such event under the hash chain")
        };
        ProofFile::of_inclusion(&proof.ok_or_else(nowhere)?)
    };
    out.object(&proof)?;
    Ok(Exit::Fine)
}

/// The witness of `--since` is the older one.
fn in_order(since: &TreeHead, witness: &TreeHead) -> Result<(), Failure> {
    if (since.log_id, since.from) != (witness.log_id, witness.from) || since.size <= witness.size {
        return Ok(());
    }
    let (since, witness) = (counted(since.size, "batch"), count(witness.size));
    Err(Failure::usage(format!("--since saw the log with {since}, and --witness with {witness}"))
        .next("--since takes the older of the two"))
}

/// A witness of another log proves nothing of this one.
fn of_this_log(file: &Path, seen: &TreeHead, head: &TreeHead) -> Result<(), Failure> {
    if seen.log_id == head.log_id {
        return Ok(());
    }
    let what = format!("{}: its log is {}, and this is {}", file.display(), seen.log_id, head.log_id);
    Err(Failure::findings(what).next("is it the right file, and the right store?"))
}

/// Why nothing is proven.
fn failed(what: &str, error: &KeepError) -> Failure {
    let failure = open::unkept(what, error);
    match error {
        KeepError::Truncated { oldest } => {
            failure.next(format!("only what is left can be proven, from position {oldest} on"))
        }
        KeepError::DivergedLog { .. } => failure.next("`annals verify --witness` narrows it down"),
        _ => failure,
    }
}

/// The tree that a witness saw.
fn seen(path: &Path) -> Result<TreeHead, Failure> {
    Witness::read(path)?.tree_head(path)
}

pub(crate) fn check(path: &Path, witnesses: &[PathBuf], public_key: Option<&str>, out: &mut Out) -> Ended {
    let trusted = |path: &PathBuf| {
        let witness = Witness::read(path)?;
        if let Some(public_key) = public_key {
            signing::check(&witness, path, public_key)?;
        }
        witness.tree_head(path)
    };
    let trusted = witnesses.iter().map(trusted).collect::<Result<Vec<TreeHead>, Failure>>()?;
    let file = ProofFile::read(path)?;
    let shows_nothing = |why: String| Failure::findings(format!("{} proves nothing: {why}", path.display()));
    let (log_id, said) = match file.proof(path)? {
        Proof::Inclusion(proof) => {
            let [trusted] = &*trusted else {
                return Err(Failure::usage("a proof that an event is in the log takes one --witness"));
            };
            proof.check(trusted).map_err(|fault| shows_nothing(fault.to_string()))?;
            let event = &proof.event;
            let said = format!(
                "the event at position {} ({} of stream {}) is in batch {} of {}.",
                count(event.position.get()),
                printable(&event.event_type),
                printable(&event.stream),
                count(proof.number + 1),
                count(trusted.size)
            );
            (trusted.log_id, said)
        }
        Proof::Consistency(proof) => {
            let [one, other] = &*trusted else {
                return Err(Failure::usage(
                    "a proof that the log has only grown takes two --witness: before and after",
                ));
            };
            let (old, new) = if one.size <= other.size { (one, other) } else { (other, one) };
            proof.check(old, new).map_err(|fault| shows_nothing(fault.to_string()))?;
            let first = match old.size {
                1 => "its first batch is what it was".to_owned(),
                more => format!("its first {} are what they were", counted(more, "batch")),
            };
            let said = format!("{first}, and it has {} now.", count(new.size));
            (old.log_id, said)
        }
    };
    if out.is_json() {
        out.object(&file)?;
    } else {
        out.say(format_args!("{GOOD}proven{GOOD:#}: of log {log_id}, {said}"))?;
    }
    Ok(Exit::Fine)
}
