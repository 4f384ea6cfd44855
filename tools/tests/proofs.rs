//! `annals prove`, and what is checked with a witness and without the store.

mod common;

use std::path::{Path, PathBuf};

use annals::{EventStore, NewEvent, Options, Position};
use common::{annals, file};
use serde_json::{Value, json};
use tempfile::TempDir;

fn append(store: &EventStore, count: u64) {
    for _ in 0..count {
        let n = store.head().get();
        let event = |at: u64| {
            let event = NewEvent::new("Deposited", format!("{{\"n\":{n},\"at\":{at}}}")).tag("cash").tag("till 7");
            if at == 1 { event.metadata("m").occurred_at(7).schema_version(2) } else { event }
        };
        let batch = store.batch().events(format!("account-{}", n % 5), (0..=n % 3).map(event));
        let batch = if n.is_multiple_of(2) { batch.idempotency_key(format!("key-{n}")) } else { batch };
        let batch = if n % 4 == 1 { batch.tracking("bank", n + 1) } else { batch };
        batch.commit().unwrap();
    }
}

/// A store of several segments, with two witnesses of it.
struct Proven {
    dir: TempDir,
    store: PathBuf,
    first: PathBuf,
    second: PathBuf,
    public_key: String,
}

fn options() -> Options {
    Options::new().background(false).hash_chain(true).segment_bytes(64 << 10).zero_ahead(0)
}

impl Proven {
    fn new() -> Proven {
        let dir = TempDir::new().unwrap();
        let store = dir.path().join("store");
        let key = dir.path().join("key");
        let made = annals(&[&"witness", &"new-key", &key, &"--json"]).exits(0).row();
        let grow = |name: &str| {
            append(&EventStore::open(&store, &options()).unwrap(), 250);
            let tip = annals(&[&"tip", &store, &"--sign", &key, &"--json"]).exits(0).stdout;
            file(dir.path(), name, tip)
        };
        let (first, second) = (grow("first.json"), grow("second.json"));
        let public_key = made["public_key"].as_str().unwrap().to_owned();
        Proven { dir, store, first, second, public_key }
    }

    /// The proof that this prints.
    #[track_caller]
    fn prove(&self, args: &[&dyn AsRef<std::ffi::OsStr>]) -> (PathBuf, Value) {
        let ran = annals(&[&[&"prove" as &dyn AsRef<_>, &self.store as &dyn AsRef<_>], args].concat()).exits(0);
        (file(self.dir.path(), "proof.json", &ran.stdout), ran.row())
    }

    fn check(&self, proof: &Path, witnesses: &[&PathBuf]) -> common::Ran {
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"witness", &"check-proof", &proof, &"--public-key", &self.public_key];
        for witness in witnesses {
            args.extend([&"--witness" as &dyn AsRef<_>, witness as &dyn AsRef<_>]);
        }
        annals(&args)
    }
}

/// Every value in it changed, one at a time: numbers, characters of texts, what is there and what is not.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!(1), json!("x"), json!("0190a2b4-0000-7000-8000-000000000001")],
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            vec![json!(number + 1), json!(number.wrapping_sub(1)), json!(0).clone(), json!(null)]
                .into_iter()
                .filter(|other| *other != json!(number))
                .collect()
        }
        Value::String(text) => {
            let last = text.chars().last().unwrap_or('a');
            let other = if last == '0' { '1' } else { '0' };
            let mut changed = text.clone();
            changed.pop();
            vec![json!(format!("{changed}{other}")), json!(changed), json!(null)]
        }
        Value::Array(items) => {
            let mut all = vec![json!([items.as_slice(), &[json!("x")]].concat())];
            for (number, item) in items.iter().enumerate() {
                let mut without = items.clone();
                without.remove(number);
                all.push(json!(without));
                for changed in changes(item) {
                    let mut items = items.clone();
                    items[number] = changed;
                    all.push(json!(items));
                }
            }
            all
        }
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (name, field) in fields {
                for changed in changes(field) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    all.push(Value::Object(fields));
                }
                if !field.is_null() {
                    let mut without = fields.clone();
                    without.remove(name);
                    all.push(Value::Object(without));
                }
            }
            let mut more = fields.clone();
            more.insert("more".to_owned(), json!(1));
            all.push(Value::Object(more));
            all
        }
    }
}

#[test]
fn an_event_is_proven_to_whoever_has_a_witness_and_no_store() {
    let log = Proven::new();
    let (proof, row) = log.prove(&[&"--position", &"300", &"--witness", &log.first]);
    let moved = log.dir.path().join("moved");
    std::fs::rename(&log.store, &moved).unwrap();
    let text = log.check(&proof, &[&log.first]).exits(0).stdout;
    assert!(
        text.starts_with("proven: of log ") && text.contains("the event at position 300 (Deposited of stream"),
        "{text}"
    );
    log.check(&proof, &[&log.second]).exits(1).says("proves nothing: it is a proof for another tree");
    log.check(&proof, &[&log.first, &log.second]).exits(2).says("takes one --witness");
    assert_eq!(row["event"]["tags"], json!(["cash", "till 7"]));
    // Who has the data can tell that they are those of the event.
    let store = EventStore::open_read_only(&moved).unwrap();
    let event = store.get(Position::new(300)).unwrap().unwrap();
    let event = event.as_event();
    let payload = annals_codec::payload_digest(event.data, event.metadata);
    assert_eq!(row["event"]["payload"], payload.to_string());
}

#[test]
fn a_log_is_proven_to_have_only_grown() {
    let log = Proven::new();
    let (proof, _) = log.prove(&[&"--since", &log.first, &"--witness", &log.second]);
    let text = log.check(&proof, &[&log.first, &log.second]).exits(0).stdout;
    assert!(text.contains("are what they were, and it has"), "{text}");
    log.check(&proof, &[&log.second, &log.first]).exits(0);
    log.check(&proof, &[&log.first]).exits(2).says("takes two --witness");
    log.check(&proof, &[&log.second, &log.second]).exits(1).says("another tree");
    let (now, row) = log.prove(&[&"--since", &log.first]);
    assert_eq!(row["tree"], std::fs::read_to_string(&log.second).unwrap().parse::<Value>().unwrap()["tree"]);
    log.check(&now, &[&log.first, &log.second]).exits(0);
    let swapped = annals(&[&"prove", &log.store, &"--since", &log.second, &"--witness", &log.first]).exits(2);
    swapped.says("--since takes the older of the two");
}

/// Each field of a proof is changed in every way there is: none of the results is believed.
#[test]
fn no_field_of_a_proof_can_be_changed_unseen() {
    let log = Proven::new();
    let batch_with_everything = {
        let store = EventStore::open_read_only(&log.store).unwrap();
        let batches = store.read_all(Position::START).map(Result::unwrap).filter(|event| event.metadata().is_some());
        batches.last().unwrap().position().to_string()
    };
    for args in [
        &[&"--position" as &dyn AsRef<std::ffi::OsStr>, &batch_with_everything, &"--witness", &log.second][..],
        &[&"--position", &"1", &"--witness", &log.second],
        &[&"--since", &log.first, &"--witness", &log.second],
    ] {
        let (proof, row) = log.prove(args);
        let is_grown = row["proof"] == "consistency";
        let trusted: &[&PathBuf] = if is_grown { &[&log.first, &log.second] } else { &[&log.second] };
        log.check(&proof, trusted).exits(0);
        let all = changes(&row);
        assert!(all.len() > 40, "{}", all.len());
        for changed in all {
            assert_ne!(changed, row);
            let changed_file = file(log.dir.path(), "changed.json", changed.to_string());
            let ran = log.check(&changed_file, trusted);
            assert!(matches!(ran.exit, Some(1 | 2)), "{:?} {}{}: {changed}", ran.exit, ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn what_cannot_be_proven_is_told_with_the_reason() {
    let log = Proven::new();
    let head = EventStore::open_read_only(&log.store).unwrap().head();
    annals(&[&"prove", &log.store, &"--position", &head.plus(1).to_string()])
        .exits(1)
        .says("it came after the witness, or");
    annals(&[&"prove", &log.store, &"--position", &head.to_string(), &"--witness", &log.first])
        .exits(1)
        .says("came after");
    annals(&[&"prove", &log.store]).exits(2);
    annals(&[&"prove", &log.store, &"--since", &log.first, &"--position", &"1"]).exits(2);
    let plain = log.dir.path().join("plain");
    drop(EventStore::open(&plain, &Options::new()).unwrap());
    annals(&[&"prove", &plain, &"--position", &"1"]).exits(1).says("keeps no hash chain");

    // Of another log, and of another history of this one.
    let witness: Value = std::fs::read_to_string(&log.first).unwrap().parse().unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut witness = witness.clone();
        change(&mut witness);
        file(log.dir.path(), "changed.json", witness.to_string())
    };
    let other = changed(&|witness| witness["log_id"] = json!("0190a2b4-0000-7000-8000-000000000001"));
    annals(&[&"prove", &log.store, &"--since", &other])
        .exits(1)
        .says("its log is 0190a2b4-0000-7000-8000-000000000001, and this is");
    let ran = annals(&[&"verify", &log.store, &"--witness", &other]).exits(1);
    assert!(ran.stdout.contains("is it the right file, and the right store?"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("repair"), "nothing is damaged: {}", ran.stdout);
    let other = changed(&|witness| witness["tree"]["root"] = witness["hash"].clone());
    annals(&[&"prove", &log.store, &"--since", &other]).exits(1).says("another root");
    annals(&[&"prove", &log.store, &"--position", &"3", &"--witness", &other]).exits(1).says("another root");
    let bare = changed(&|witness| drop(witness.as_object_mut().unwrap().remove("tree")));
    annals(&[&"prove", &log.store, &"--since", &bare]).exits(2).says("has no tree in it");
    // A tree that was taken out of a signed witness, or changed in it, is no signed one.
    let (proof, _) = log.prove(&[&"--position", &"3", &"--witness", &log.first]);
    log.check(&proof, &[&bare]).exits(1).says("does not fit");
    let lying = changed(&|witness| witness["tree"]["size"] = json!(7));
    log.check(&proof, &[&lying]).exits(1).says("does not fit");
    annals(&[&"verify", &log.store, &"--witness", &log.first, &"--public-key", &log.public_key]).exits(0);
}

#[test]
fn after_the_oldest_segments_went_what_is_left_is_proven_for_the_witnesses_of_before() {
    let log = Proven::new();
    let store = EventStore::open(&log.store, &options()).unwrap();
    let cut = Position::new(store.head().get() * 3 / 4);
    store.truncate_before(cut, annals::Guard::Force).unwrap();
    let oldest = store.oldest().get();
    drop(store);
    for entry in std::fs::read_dir(log.store.join("idx")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "tree") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (proof, _) = log.prove(&[&"--position", &oldest.to_string(), &"--witness", &log.second]);
    log.check(&proof, &[&log.second]).exits(0);
    let left = format!("was removed; only what is left can be proven, from position {oldest} on");
    annals(&[&"prove", &log.store, &"--position", &"1"]).exits(1).says(&left);
    let ran = annals(&[&"tip", &log.store, &"--json"]).exits(0);
    let second: Value = std::fs::read_to_string(&log.second).unwrap().parse().unwrap();
    assert_eq!(ran.row()["tree"], second["tree"]);
}
