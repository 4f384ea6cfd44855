//! A loss of power while the folder is written, worked out from the system calls of a real run.
//!
//! ```text
//!  annals index, under strace ─► its writes, syncs, renames ─► behind each of them: what a disk may have ─► the next run
//! ```
//!
//! What is always true of a disk:
//!
//! - A file has for sure what was written before its last sync, and a folder the names that it had at its last sync.
//! - Whatever else was done is there or is not, of each file and each name by itself, in whatever order it was done.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use annals_cli::tables::{IndexOptions, index_parquet};
use common::Rng;

use super::table::{Files, check_folder, manifest, rows};
use super::views::{changing, said};
use super::*;

/// The calls that change a folder, or make it last.
const TRACED: &str = "trace=?open,?openat,?creat,write,pwrite64,?writev,?pwritev,ftruncate,fsync,fdatasync,?rename,?renameat,\
    ?renameat2,?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat";

#[derive(Debug)]
enum Call {
    Create(PathBuf),
    Write(PathBuf, Vec<u8>),
    Cut(PathBuf, usize),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeFolder(PathBuf),
}

impl Call {
    fn path(&self) -> &Path {
        match self {
            Call::Create(path)
            | Call::Write(path, _)
            | Call::Cut(path, _)
            | Call::Sync(path)
            | Call::Rename(path, _)
            | Call::Remove(path)
            | Call::MakeFolder(path) => path,
        }
    }
}

/// The calls that a trace tells of, but for those that failed.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, told) = line.split_once(' ').unwrap();
        let told = told.trim_start();
        if let Some(start) = told.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, start);
            continue;
        }
        let resumed = told.strip_prefix("<... ").and_then(|told| told.split_once("resumed>"));
        let whole = match resumed {
            Some((_, end)) => format!("{}{end}", begun.remove(thread).unwrap()),
            None => told.to_owned(),
        };
        // Of a process that ends.
        let Some((call, result)) = whole.rsplit_once(" = ") else { continue };
        if !result.starts_with('-') {
            calls.extend(understood(call, result));
        }
    }
    calls
}

/// `call(3<\x2f…>, "\x61…", …)`: all texts are in hexadecimal, so nothing in them ends anything.
fn understood(call: &str, result: &str) -> Option<Call> {
    let (name, args) = call.split_once('(').unwrap();
    let bytes = |hexadecimal: &str| -> Vec<u8> {
        hexadecimal.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    let path = |bytes: Vec<u8>| PathBuf::from(String::from_utf8(bytes).unwrap());
    let text = |number: usize| bytes(args.split('"').nth(2 * number + 1).unwrap());
    let open = || path(bytes(args.split_once('<').unwrap().1.split_once('>').unwrap().0));
    let call = match name {
        "open" | "openat" if !args.contains("O_CREAT") => return None,
        "open" | "openat" | "creat" => Call::Create(path(text(0))),
        "write" => Call::Write(open(), text(0)[..result.trim().parse().unwrap()].to_vec()),
        "ftruncate" => Call::Cut(open(), args.trim_end_matches(')').rsplit_once(", ").unwrap().1.parse().unwrap()),
        "fsync" | "fdatasync" => Call::Sync(open()),
        "rename" | "renameat" | "renameat2" => Call::Rename(path(text(0)), path(text(1))),
        "unlink" | "unlinkat" => Call::Remove(path(text(0))),
        "mkdir" | "mkdirat" => Call::MakeFolder(path(text(0))),
        other => panic!("nobody has said what {other} does to a disk"),
    };
    Some(call)
}

/// What something is now, and what it was when it was last synced.
#[derive(Clone, Default)]
struct Lasting<T> {
    now: T,
    synced: T,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File(usize),
    Folder,
}

/// Files, and folders with what stands in them.
struct Disk {
    files: Vec<Lasting<Vec<u8>>>,
    folders: BTreeMap<PathBuf, Lasting<BTreeMap<PathBuf, Node>>>,
}

impl Disk {
    /// One that has this folder, with nothing in it.
    fn new(root: &Path) -> Disk {
        Disk { files: Vec::new(), folders: [(root.to_owned(), Lasting::default())].into() }
    }

    fn names(&mut self, path: &Path) -> &mut BTreeMap<PathBuf, Node> {
        &mut self.folders.get_mut(path.parent().unwrap()).unwrap().now
    }

    fn file(&mut self, path: &Path) -> &mut Lasting<Vec<u8>> {
        match self.names(path)[path] {
            Node::File(number) => &mut self.files[number],
            Node::Folder => panic!("{} is a folder", path.display()),
        }
    }

    fn carry_out(&mut self, call: &Call) {
        match call {
            Call::Create(path) => {
                let number = self.files.len();
                if !self.names(path).contains_key(path) {
                    self.names(path).insert(path.clone(), Node::File(number));
                    self.files.push(Lasting::default());
                }
            }
            Call::Write(path, bytes) => self.file(path).now.extend(bytes),
            Call::Cut(path, len) => self.file(path).now.resize(*len, 0),
            Call::Sync(path) => match self.folders.get_mut(path) {
                Some(folder) => folder.synced = folder.now.clone(),
                None => {
                    let file = self.file(path);
                    file.synced = file.now.clone();
                }
            },
            Call::Rename(from, to) => {
                let node = self.names(from).remove(from).unwrap();
                self.names(to).insert(to.clone(), node);
            }
            Call::Remove(path) => _ = self.names(path).remove(path).unwrap(),
            Call::MakeFolder(path) => {
                self.names(path).insert(path.clone(), Node::Folder);
                self.folders.insert(path.clone(), Lasting::default());
            }
        }
    }

    /// The files that are there after a loss of power; `last` says of a name, and `left` of a file, what has come to the disk.
    fn after_loss(
        &self,
        folder: &Path,
        last: &mut dyn FnMut() -> bool,
        left: &mut dyn FnMut(&Lasting<Vec<u8>>) -> Vec<u8>,
    ) -> Files {
        let names = &self.folders[folder];
        let mut found = Files::new();
        for path in names.now.keys().chain(names.synced.keys()).collect::<BTreeSet<_>>() {
            let names = if last() { &names.now } else { &names.synced };
            match names.get(path) {
                None => {}
                Some(Node::File(number)) => _ = found.insert(path.clone(), left(&self.files[*number])),
                Some(Node::Folder) => found.extend(self.after_loss(path, last, left)),
            }
        }
        found
    }

    /// What may be there.
    fn losses(&self, root: &Path, rng: &mut Rng) -> Vec<Files> {
        let synced = |file: &Lasting<Vec<u8>>| file.synced.clone();
        let now = |file: &Lasting<Vec<u8>>| file.now.clone();
        let mut losses = vec![
            self.after_loss(root, &mut || false, &mut { synced }),
            self.after_loss(root, &mut || true, &mut { synced }),
            self.after_loss(root, &mut || false, &mut { now }),
        ];
        for _ in 0..3 {
            let mut chosen = Rng::new(rng.below(1 << 30) as u64);
            let mut more = Rng::new(rng.below(1 << 30) as u64);
            losses.push(self.after_loss(root, &mut || chosen.below(2) == 0, &mut |file| match more.below(3) {
                0 => file.now.clone(),
                1 => file.synced.clone(),
                // As long as it was to be, and nothing in it that was not synced.
                _ => {
                    let mut left = file.synced.clone();
                    left.resize(file.now.len(), 0);
                    left
                }
            }));
        }
        losses
    }
}

/// The files that the manifest lists have all rows up to where it says that it has come.
fn check_listed(table: &Path, told: &str) {
    if !table.join("_annals_index.json").exists() {
        return;
    }
    let manifest = manifest(table);
    let listed = manifest["files"].as_array().unwrap().iter();
    let last = manifest["position"].as_i64().unwrap();
    let found = listed.flat_map(|file| {
        let (day, first) = (file["day"].as_str().unwrap(), file["first"].as_u64().unwrap());
        let path = table.join(format!("day={day}/{first:020}.parquet"));
        assert!(path.exists(), "{told}: {} is not there", path.display());
        read_parquet(&path).1.iter().flat_map(rows_of).collect::<Vec<_>>()
    });
    let positions: Vec<i64> = found
        .map(|row| match row[0] {
            Value::Integer(position) => position,
            ref other => panic!("{other:?}"),
        })
        .filter(|position| *position <= last)
        .collect();
    assert!(positions == (1..=last).collect::<Vec<_>>(), "{told}: {} rows", positions.len());
}

#[test]
fn a_loss_of_power_behind_any_system_call_leaves_a_table_that_goes_on() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (path, table, trace) = (root.join("store"), root.join("disk/table"), root.join("trace"));
    let store = changing(&path);
    store.redact([3, 40, 41].map(Position::new), "a slip").unwrap();
    store.flush().unwrap();
    fs::create_dir(root.join("disk")).unwrap();
    let to = super::table::to(&table);
    let command = common::command(&[&"index", &path, &"--to", &to, &"--batch", &"25"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", "signal=none", "-e", TRACED, "-o"]).arg(&trace);
    traced.arg(command.get_program()).args(command.get_args()).stdout(Stdio::null()).stderr(Stdio::null());
    // It ends with 1, because something is in quarantine.
    if !traced.status().is_ok_and(|status| status.code() == Some(1)) || !trace.exists() {
        println!("skipped: strace is not there, or may not trace");
        return;
    }
    let (expected, all) = (said(&table), rows(&table));
    assert!(all == said_by_sql(&path, 1));

    let mut calls = calls(&fs::read_to_string(&trace).unwrap());
    calls.retain(|call| call.path().starts_with(root.join("disk")));
    let mut disk = Disk::new(&root.join("disk"));
    let (mut rng, mut seen) = (Rng::new(7), HashSet::new());
    for (number, call) in calls.iter().enumerate() {
        disk.carry_out(call);
        for (variant, loss) in disk.losses(&root.join("disk"), &mut rng).into_iter().enumerate() {
            if !seen.insert(loss.clone()) {
                continue;
            }
            super::table::put(&root.join("disk"), &loss);
            fs::create_dir_all(root.join("disk")).unwrap();
            let told = format!("call {number} of {}, variant {variant}", calls.len());
            check_listed(&table, &told);
            let done = index_parquet(&store, &table, &IndexOptions::new().batch(60), &mut |_| true);
            if let Err(error) = done {
                panic!("{told}: {error}");
            }
            assert!(rows(&table) == all, "{told}");
            assert_eq!(said(&table), expected, "{told}");
            check_folder(&table);
        }
    }
    let whole = disk.after_loss(&root.join("disk"), &mut || false, &mut |file| file.synced.clone());
    let rows_of_it = whole.keys().filter(|path| path.extension().is_some_and(|end| end == "parquet")).count();
    assert_eq!(rows_of_it, super::table::files(&table).len(), "all calls were understood");
    println!("{} calls, {} states of the disk", calls.len(), seen.len());
    assert!(seen.len() > 100, "{} states", seen.len());
}
