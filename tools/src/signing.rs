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
use ed25519_compact::{KeyPair, PublicKey, Seed, Signature};
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
    let key = KeyPair::from_seed(Seed::new(secret));
    let public_key = hex(*key.pk);
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
    let key = KeyPair::try_from_seed(Seed::new(*secret.as_bytes())).map_err(|error| no_key(&error.to_string()))?;
    let public_key = hex(*key.pk);
    if public_key != file.public_key {
        return Err(no_key("its public key is not that of its secret one"));
    }
    // Without noise it is the signature of RFC 8032, the same each time.
    let signature = key.sk.sign(signed_text(witness), None);
    let (r, s) = signature.split_at(Digest::LEN);
    let half = |bytes: &[u8]| hex(bytes.try_into().expect("a signature is two halves"));
    witness.public_key = Some(public_key);
    witness.signature = Some(half(r) + &half(s));
    Ok(())
}

/// Whether a witness was signed by the owner of this public key. `path` is where it was read from, for the error.
pub(crate) fn check(witness: &Witness, path: &Path, public_key: &str) -> Result<(), Failure> {
    let shown = path.display();
    let no_key =
        || Failure::usage(format!("{public_key:?} is no public key")).next("`annals witness new-key` prints one");
    let bytes: Digest = public_key.parse().map_err(|_| no_key())?;
    let key = PublicKey::new(*bytes.as_bytes());
    key.validate().map_err(|_| no_key())?;
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
            let signature = [*r.as_bytes(), *s.as_bytes()].concat();
            Signature::from_slice(&signature)
                .is_ok_and(|signature| key.verify(signed_text(witness), &signature).is_ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The first key of RFC 8032, section 7.1, and what OpenSSL 3 signs [`witness`] with by it.
    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const SIGNATURE: &str = "102294a8eff4dc8dffcb41580d4d5aec728669ae9e090fed38a4f4386797c14f\
                             902ff54fdb3cbc9d01dfb6f690088ed8e6a3da597fab0934af41b7aada59a40f";

    fn witness() -> Witness {
        Witness {
            log_id: "401325e0-cf76-ff79-7ccd-7e885484cf88".into(),
            position: 200,
            hash: "4f".repeat(32),
            function: "sha-256".into(),
            tree: Some(Tree { from: 0, size: 200, root: "9c".repeat(32) }),
            public_key: None,
            signature: None,
        }
    }

    fn key_file(dir: &Path, secret_key: &str, public_key: &str) -> std::path::PathBuf {
        let path = dir.join("key");
        let key = KeyFile { algorithm: ALGORITHM.into(), secret_key: secret_key.into(), public_key: public_key.into() };
        fs::write(&path, serde_json::to_string(&key).unwrap()).unwrap();
        path
    }

    #[test]
    fn a_witness_is_signed_as_every_other_tool_signs_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut signed = witness();
        sign(&mut signed, &key_file(dir.path(), SECRET, PUBLIC)).unwrap();
        assert_eq!(signed.public_key.as_deref(), Some(PUBLIC));
        assert_eq!(signed.signature.as_deref(), Some(SIGNATURE));
        check(&signed, dir.path(), PUBLIC).unwrap();
    }

    #[test]
    fn a_signature_has_no_second_form() {
        // The order of the curve's group, added to the second half: without its bound the same equation holds.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let s: Digest = SIGNATURE[64..].parse().unwrap();
        let mut carry = 0;
        let mut second = [0; 32];
        for ((sum, a), b) in second.iter_mut().zip(s.as_bytes()).zip(ORDER) {
            carry += u16::from(*a) + u16::from(b);
            *sum = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        let signature = SIGNATURE[..64].to_owned() + &hex(second);
        let witness = Witness { public_key: Some(PUBLIC.into()), signature: Some(signature), ..witness() };
        let refused = check(&witness, Path::new("w.json"), PUBLIC).unwrap_err();
        assert!(format!("{refused:?}").contains("does not fit what it says"), "{refused:?}");
    }

    #[test]
    fn a_key_that_fits_any_signature_is_none() {
        // The neutral element of the curve.
        let weak = hex(std::array::from_fn(|at| u8::from(at == 0)));
        let refused = check(&witness(), Path::new("w.json"), &weak).unwrap_err();
        assert!(format!("{refused:?}").contains("is no public key"), "{refused:?}");
    }

    #[test]
    fn a_secret_of_zeros_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let refused = sign(&mut witness(), &key_file(dir.path(), &"00".repeat(32), PUBLIC)).unwrap_err();
        assert!(format!("{refused:?}").contains("is no signing key"), "{refused:?}");
    }
}
