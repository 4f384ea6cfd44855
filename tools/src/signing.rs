//! Signed witnesses (Ed25519): that a witness is what somebody once said, to who has nothing but that one's public key.
//!
//! What is signed is a text, so that it can be checked with other tools, too:
//!
//! ```text
//! annals witness v1
//! log 401325e0-cf76-ff79-7ccd-7e885484cf88
//! position 200
//! hash 40fdbd90…
//! function sha-256
//! tree 0 200 9c1185a5…                    from, size, root; where the witness has one
//! ```
//!
//! A secret key is a file that only its owner can read. Keys and halves of signatures are 32 bytes, in hexadecimal.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use annals::Digest;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::witness::{Tree, Witness};

const ALGORITHM: &str = "ed25519";

/// A secret key as it stands in its file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    algorithm: String,
    secret_key: String,
    public_key: String,
}

/// Makes a key and writes it to a file that must not exist; the public half.
pub(crate) fn new_key(path: &Path) -> Result<String, Failure> {
    let cannot = |error: &std::io::Error| Failure::io(format!("cannot write {}", path.display())).because(error);
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| cannot(&error.into()))?;
    let key = SigningKey::from_bytes(&secret);
    let public_key = hex(key.verifying_key().to_bytes());
    let file = KeyFile { algorithm: ALGORITHM.to_owned(), secret_key: hex(secret), public_key: public_key.clone() };
    let text = serde_json::to_string(&file).map_err(|error| cannot(&error.into()))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| cannot(&error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(|error| cannot(&error))?;
    file.sync_all().map_err(|error| cannot(&error))?;
    Ok(public_key)
}

/// Signs a witness with the key in a file.
pub(crate) fn sign(witness: &mut Witness, key: &Path) -> Result<(), Failure> {
    let shown = key.display();
    let no_key = |why: &str| {
        Failure::usage(format!("{shown} is no signing key: {why}")).next("`annals witness new-key FILE` makes one")
    };
    let text = fs::read_to_string(key).map_err(|error| Failure::io(format!("cannot read {shown}")).because(&error))?;
    let file: KeyFile = serde_json::from_str(&text).map_err(|error| no_key(&error.to_string()))?;
    if file.algorithm != ALGORITHM {
        return Err(no_key("its algorithm is another one"));
    }
    let secret: Digest = file.secret_key.parse().map_err(|_| no_key("a key has 64 hexadecimal digits"))?;
    let key = SigningKey::from_bytes(secret.as_bytes());
    let public_key = hex(key.verifying_key().to_bytes());
    if public_key != file.public_key {
        return Err(no_key("its public key is not that of its secret one"));
    }
    let signature = key.sign(signed_text(witness).as_bytes());
    witness.public_key = Some(public_key);
    witness.signature = Some(hex(*signature.r_bytes()) + &hex(*signature.s_bytes()));
    Ok(())
}

/// Whether a witness was signed by the owner of this public key. `path` is where it was read from, for the error.
pub(crate) fn check(witness: &Witness, path: &Path, public_key: &str) -> Result<(), Failure> {
    let shown = path.display();
    let no_key =
        || Failure::usage(format!("{public_key:?} is no public key")).next("`annals witness new-key` prints one");
    let bytes: Digest = public_key.parse().map_err(|_| no_key())?;
    let key = VerifyingKey::from_bytes(bytes.as_bytes()).map_err(|_| no_key())?;
    let (Some(signer), Some(signature)) = (&witness.public_key, &witness.signature) else {
        return Err(Failure::findings(format!("{shown} is not signed")));
    };
    if *signer != hex(*bytes.as_bytes()) {
        return Err(Failure::findings(format!("{shown} was signed with another key: {signer}")));
    }
    let halves = signature.split_at_checked(2 * Digest::LEN).map(|(r, s)| (r.parse(), s.parse()));
    let is_good = match halves {
        Some((Ok(r), Ok(s))) => {
            let (r, s): (Digest, Digest) = (r, s);
            let signature = Signature::from_components(*r.as_bytes(), *s.as_bytes());
            key.verify_strict(signed_text(witness).as_bytes(), &signature).is_ok()
        }
        _ => false,
    };
    if !is_good {
        let what = format!("the signature of {shown} does not fit what it says: it was changed after it was signed");
        return Err(Failure::findings(what));
    }
    Ok(())
}

fn signed_text(witness: &Witness) -> String {
    let Witness { log_id, position, hash, function, tree, .. } = witness;
    let tree =
        tree.as_ref().map_or_else(String::new, |Tree { from, size, root }| format!("tree {from} {size} {root}\n"));
    format!("annals witness v1\nlog {log_id}\nposition {position}\nhash {hash}\nfunction {function}\n{tree}")
}

fn hex(bytes: [u8; 32]) -> String {
    Digest::from_bytes(bytes).to_string()
}
