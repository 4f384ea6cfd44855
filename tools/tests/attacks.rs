//! Somebody who can write to a store's files, and knows all there is to know of the format, changes the past.
//!
//! Each attack is made twice. Who leaves the hashes as they are is found by the chain alone (but for a tail that is
//! gone). Who computes them anew is found by nothing but a witness.

mod common;

use std::path::Path;

use annals::inspect::{FindingKind, VerifyReport, verify_against};
use annals::{ChainTip, EventStore, NewEvent, Options, Position};
use common::attacker::{Attack, Hashes, copy};
use common::{annals, file};
use tempfile::TempDir;

/// A store of several segments, and the tips that were kept of it: at its start, in the middle and at its end.
struct Attacked {
    dir: TempDir,
    early: ChainTip,
    middle: ChainTip,
    end: ChainTip,
}

/// The position that is attacked: between `early` and `middle`.
const AT: u64 = 200;

impl Attacked {
    fn new() -> Attacked {
        let dir = TempDir::new().unwrap();
        let options = Options::new().background(false).hash_chain(true).segment_bytes(64 << 10).zero_ahead(0);
        let store = EventStore::open(dir.path().join("store"), &options).unwrap();
        let grow = |until: u64| {
            while store.head().get() < until {
                let n = store.head().get();
                let event = || NewEvent::new("Deposited", format!("{{\"n\":{n}}}")).metadata(vec![b'm'; 150]);
                // Two batches of two, then one of three.
                let count = if n % 7 < 4 { 2 } else { 3 };
                let batch = store.batch().events(format!("account-{}", n % 5), (0..count).map(|_| event()));
                batch.idempotency_key(format!("request-{n}")).tracking("bank", n + 1).commit().unwrap();
            }
            store.chain_tip().unwrap().unwrap()
        };
        let (early, middle, end) = (grow(100), grow(400), grow(700));
        drop(store);
        let report = verify_against(dir.path().join("store"), &[early, middle, end], |_, _| ()).unwrap();
        assert!(report.is_clean() && report.segments > 3, "{report:?}");
        Attacked { dir, early, middle, end }
    }

    /// A copy of the store, attacked; and the first position that is not what it was.
    fn strike(&self, attack: Attack, hashes: Hashes) -> (std::path::PathBuf, u64) {
        let store = self.dir.path().join(format!("{attack:?}-{hashes:?}"));
        copy(&self.dir.path().join("store"), &store);
        let first = attack.strike(&store, AT, hashes);
        // It is a store like any other: opened, read, counted.
        let opened = EventStore::open_read_only(&store).unwrap();
        assert_eq!(opened.read_all(Position::START).count() as u64, opened.head().get());
        (store, first)
    }
}

fn verify(store: &Path, witnesses: &[ChainTip]) -> VerifyReport {
    verify_against(store, witnesses, |_, _| ()).unwrap()
}

/// Every finding is of the chain; where the first of them is, and what they say.
#[track_caller]
fn told(report: &VerifyReport) -> (u64, String) {
    assert!(!report.findings.is_empty(), "nothing was found");
    assert!(report.findings.iter().all(|finding| finding.kind == FindingKind::Chain), "{:?}", report.findings);
    let first = report.findings.iter().filter_map(|finding| finding.position).min().unwrap();
    (first.get(), report.findings.iter().map(|finding| finding.message.clone() + "\n").collect())
}

/// The hashes stayed: the chain itself names the batch, and a witness says so too.
#[track_caller]
fn check_kept(attack: Attack) {
    let log = Attacked::new();
    let (store, first) = log.strike(attack, Hashes::Kept);
    let (position, message) = told(&verify(&store, &[]));
    assert_eq!(position, first, "{message}");
    let (position, message) = told(&verify(&store, &[log.early, log.end]));
    assert_eq!(position, first, "{message}");
    assert!(message.contains(&first.to_string()), "{message}");
}

/// The hashes were computed anew: nothing shows, until there is a witness; with one before, it is narrowed down.
#[track_caller]
fn check_recomputed(attack: Attack) {
    let log = Attacked::new();
    let (store, first) = log.strike(attack, Hashes::Recomputed);
    let report = verify(&store, &[]);
    assert!(report.is_clean(), "{attack:?}: {:?}", report.findings);
    let report = verify(&store, &[log.early]);
    assert!(report.is_clean(), "{attack:?}, of what came before: {:?}", report.findings);

    let (position, message) = told(&verify(&store, &[log.middle]));
    assert_eq!(position, if attack == Attack::DroppedTail { first } else { 1 }, "{message}");
    let (position, message) = told(&verify(&store, &[log.end, log.early, log.middle]));
    let least = log.early.position.get() + 1;
    assert!((least..=first).contains(&position), "{least} <= {position} <= {first}: {message}");
    assert!(message.contains(&format!("{}", log.middle.position)), "{message}");
}

#[test]
fn an_edited_payload_is_found_and_named() {
    check_kept(Attack::EditedPayload);
    check_recomputed(Attack::EditedPayload);
}

#[test]
fn an_edited_time_is_found_and_named() {
    check_kept(Attack::EditedTime);
    check_recomputed(Attack::EditedTime);
}

#[test]
fn an_edited_id_is_found_and_named() {
    check_kept(Attack::EditedId);
    check_recomputed(Attack::EditedId);
}

#[test]
fn a_middle_batch_that_was_dropped_is_found_and_named() {
    check_kept(Attack::DroppedMiddle);
    check_recomputed(Attack::DroppedMiddle);
}

#[test]
fn two_batches_that_were_swapped_are_found_and_named() {
    check_kept(Attack::Swapped);
    check_recomputed(Attack::Swapped);
}

#[test]
fn a_tail_that_was_dropped_shows_to_nobody_but_a_witness_who_names_its_first_position() {
    let log = Attacked::new();
    let (store, first) = log.strike(Attack::DroppedTail, Hashes::Kept);
    let report = verify(&store, &[log.early]);
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.head.get() + 1, first);
    let (position, message) = told(&verify(&store, &[log.early, log.middle]));
    assert_eq!(position, first);
    assert!(message.contains(&format!("events {first} to {} are missing", log.middle.position)), "{message}");
}

#[test]
fn a_whole_chain_that_was_computed_anew_is_found_between_the_witnesses_around_it() {
    let log = Attacked::new();
    let (store, first) = log.strike(Attack::EditedPayload, Hashes::Recomputed);
    let (position, message) = told(&verify(&store, &[log.early, log.middle, log.end]));
    let (early, middle) = (log.early.position.get(), log.middle.position.get());
    assert_eq!(position, early + 1);
    assert!((early + 1..=middle).contains(&first));
    assert!(message.contains(&format!("one of positions {} to {middle}", early + 1)), "{message}");
}

#[test]
fn a_header_that_goes_on_from_another_chain_is_found() {
    let log = Attacked::new();
    let store = log.dir.path().join("restarted");
    copy(&log.dir.path().join("store"), &store);
    let (base, number) = common::attacker::restart_chain(&store, 2);
    let report = verify(&store, &[]);
    let (position, message) = told(&report);
    assert_eq!((position, number), (base + 1, 2), "{message}");
    assert!(message.contains("not that at the end of the segment before"), "{message}");
}

#[test]
fn the_command_prints_a_tip_and_verifies_against_it() {
    let log = Attacked::new();
    let store = log.dir.path().join("store");
    let row = annals(&[&"tip", &store, &"--json"]).exits(0).row();
    assert_eq!(row["position"], log.end.position.get());
    assert_eq!(row["hash"], log.end.hash.to_string());
    assert_eq!(row["log_id"], log.end.log_id.to_string());
    let witness = file(log.dir.path(), "tip.json", row.to_string());
    let text = annals(&[&"tip", &store]).exits(0).stdout;
    assert!(text.contains(&log.end.hash.to_string()), "{text}");

    let text = annals(&[&"verify", &store]).exits(0).stdout;
    assert!(text.contains("Without a witness"), "{text}");
    let text = annals(&[&"verify", &store, &"--witness", &witness]).exits(0).stdout;
    assert!(text.contains("an unbroken continuation of what 1 witness saw"), "{text}");

    for attack in Attack::ALL {
        for hashes in [Hashes::Kept, Hashes::Recomputed] {
            let (store, first) = log.strike(attack, hashes);
            let row = annals(&[&"verify", &store, &"--json", &"--witness", &witness]).exits(1).row();
            let findings = row["findings"].as_array().unwrap();
            let positions: Vec<u64> = findings.iter().filter_map(|finding| finding["position"].as_u64()).collect();
            let expected = match (attack, hashes) {
                (Attack::DroppedTail, _) | (_, Hashes::Kept) => first,
                // It is shorter now, and that is all that one witness at its end can tell.
                (Attack::DroppedMiddle, _) => row["head"].as_u64().unwrap() + 1,
                _ => 1,
            };
            assert_eq!(positions.iter().min(), Some(&expected), "{attack:?}, {hashes:?}: {findings:?}");
            assert!(findings.iter().all(|finding| finding["kind"] == "chain"), "{findings:?}");
        }
    }
}

#[test]
fn what_is_no_witness_is_refused_with_the_reason() {
    let log = Attacked::new();
    let store = log.dir.path().join("store");
    let row = annals(&[&"tip", &store, &"--json"]).exits(0).row();
    let changed = |field: &str, value: &str| {
        let mut row = row.clone();
        row[field] = value.into();
        row.to_string()
    };
    for (text, why) in [
        ("{".to_owned(), "is no witness: EOF"),
        (changed("hash", "abc"), "a digest has 64 hexadecimal digits"),
        (changed("log_id", "abc"), "its log id is none"),
        (changed("function", "md5"), "its hash function is \"md5\""),
        (changed("extra", "abc"), "unknown field"),
        ("x".repeat(70_000), "it has 70000 bytes"),
    ] {
        let witness = file(log.dir.path(), "witness.json", text);
        annals(&[&"verify", &store, &"--witness", &witness]).exits(2).says(why);
    }
    annals(&[&"verify", &store, &"--witness", &"/nowhere"]).exits(3).says("cannot read /nowhere");

    let plain = log.dir.path().join("plain");
    drop(EventStore::open(&plain, &Options::new()).unwrap());
    annals(&[&"tip", &plain]).exits(1).says("keeps no hash chain");
}

#[test]
fn an_import_keeps_a_chain_when_asked_to_and_goes_on_with_it_unasked() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let first = file(dir.path(), "first", common::lines(50));
    let second = file(dir.path(), "second", common::lines(60));
    annals(&[&"import", &"--hash-chain", &store, &first]).exits(0);
    let witness = file(dir.path(), "tip.json", annals(&[&"tip", &"--json", &store]).exits(0).stdout);
    annals(&[&"import", &store, &second]).exits(0);
    let row = annals(&[&"verify", &"--json", &store, &"--witness", &witness]).exits(0).row();
    assert_eq!((&row["chain"][0]["to"], &row["witnesses"]), (&110.into(), &1.into()));
}

#[test]
fn a_signed_witness_is_checked_with_the_public_key_alone() {
    let log = Attacked::new();
    let store = log.dir.path().join("store");
    let key = log.dir.path().join("key");
    let public_key =
        annals(&[&"witness", &"new-key", &key, &"--json"]).exits(0).row()["public_key"].as_str().unwrap().to_owned();
    let other =
        annals(&[&"witness", &"new-key", &log.dir.path().join("other"), &"--json"]).exits(0).row()["public_key"]
            .clone();
    let other = other.as_str().unwrap();
    // A key is not written over, and only its owner can read it.
    annals(&[&"witness", &"new-key", &key]).exits(3).says("cannot write");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let row = annals(&[&"tip", &store, &"--sign", &key, &"--json"]).exits(0).row();
    let witness = file(log.dir.path(), "tip.json", row.to_string());
    let moved = log.dir.path().join("moved away");
    std::fs::rename(&store, &moved).unwrap();
    let text = annals(&[&"witness", &"check", &witness, &"--public-key", &public_key]).exits(0).stdout;
    assert!(text.contains("signed by the owner of that key"), "{text}");
    annals(&[&"witness", &"check", &witness, &"--public-key", &other]).exits(1).says("was signed with another key");
    annals(&[&"witness", &"check", &witness, &"--public-key", &"abc"]).exits(2).says("is no public key");

    let changed = |field: &str, value: serde_json::Value| {
        let mut row = row.clone();
        row[field] = value;
        file(log.dir.path(), "changed.json", row.to_string())
    };
    let another_hash = log.early.hash.to_string();
    for (field, value) in [("position", 699.into()), ("hash", another_hash.into()), ("signature", "00".into())] {
        let witness = changed(field, value);
        let ran = annals(&[&"witness", &"check", &witness, &"--public-key", &public_key]).exits(1);
        ran.says("does not fit what it says");
    }
    // Who signs the changed one with a key of one's own is found by the key.
    let witness_of_other = changed("public_key", other.into());
    annals(&[&"witness", &"check", &witness_of_other, &"--public-key", &public_key]).exits(1).says("with another key");
    annals(&[&"witness", &"check", &witness_of_other, &"--public-key", &other]).exits(1).says("does not fit");

    annals(&[&"verify", &moved, &"--witness", &witness, &"--public-key", &public_key]).exits(0);
    annals(&[&"verify", &moved, &"--witness", &witness, &"--public-key", &other]).exits(1).says("with another key");
    let plain = file(log.dir.path(), "plain.json", annals(&[&"tip", &moved, &"--json"]).exits(0).stdout);
    annals(&[&"verify", &moved, &"--witness", &plain, &"--public-key", &public_key]).exits(1).says("is not signed");
    annals(&[&"tip", &moved, &"--sign", &witness]).exits(2).says("is no signing key");
}
