//! A loss of power while files are written, worked out from the system calls of a real run.
//!
//! ```text
//!  a command, under strace ─► its writes, syncs, renames ─► behind each of them: what a disk may have ─► what comes next
//! ```
//!
//! What is always true of a disk:
//!
//! - A file has for sure what was written before its last sync, and a folder the names that it had at its last sync.
//! - Whatever else was done is there or is not, of each file (or each of its pages) and each name by itself, in whatever order it was
//!   done.
//! - Two names that were exchanged in one call are exchanged or are not.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Rng;

/// What is in the files of a folder and those within it.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Makes a folder have these files and no others.
pub(crate) fn put(folder: &Path, files: &Files) {
    _ = fs::remove_dir_all(folder);
    for (path, content) in files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The size of a part of a file that is on the disk or is not.
const PAGE: usize = 4096;

/// The calls that change a folder, or make it last.
const TRACED: &str = "trace=?open,?openat,?creat,write,pwrite64,?writev,?pwritev,ftruncate,fsync,fdatasync,?rename,?renameat,\
    ?renameat2,?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat";

/// A system call that changes something, or makes it last.
#[derive(Debug)]
pub(crate) enum Call {
    Create(PathBuf),
    /// Behind what is in the file, or from a byte on.
    Write(PathBuf, Option<usize>, Vec<u8>),
    Cut(PathBuf, usize),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Remove(PathBuf),
    MakeFolder(PathBuf),
}

impl Call {
    fn path(&self) -> &Path {
        match self {
            Call::Create(path)
            | Call::Write(path, ..)
            | Call::Cut(path, _)
            | Call::Sync(path)
            | Call::Rename(path, _)
            | Call::Exchange(path, _)
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
    let written = || text(0)[..result.trim().parse().unwrap()].to_vec();
    let last_number = || args.trim_end_matches(')').rsplit_once(", ").unwrap().1.parse().unwrap();
    let call = match name {
        "open" | "openat" if !args.contains("O_CREAT") => return None,
        "open" | "openat" | "creat" => Call::Create(path(text(0))),
        "write" => Call::Write(open(), None, written()),
        "pwrite64" => Call::Write(open(), Some(last_number()), written()),
        "ftruncate" => Call::Cut(open(), last_number()),
        "fsync" | "fdatasync" => Call::Sync(open()),
        "renameat2" if args.contains("RENAME_EXCHANGE") => Call::Exchange(path(text(0)), path(text(1))),
        "rename" | "renameat" | "renameat2" => Call::Rename(path(text(0)), path(text(1))),
        "unlink" | "unlinkat" | "rmdir" => Call::Remove(path(text(0))),
        "mkdir" | "mkdirat" => Call::MakeFolder(path(text(0))),
        other => panic!("nobody has said what {other} does to a disk"),
    };
    Some(call)
}

/// What something is now, and what it was when it was last synced.
#[derive(Clone, Default)]
pub(crate) struct Lasting<T> {
    pub(crate) now: T,
    pub(crate) synced: T,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File(usize),
    Folder(usize),
}

type Names = BTreeMap<OsString, Node>;

#[derive(Clone, Default)]
struct Folder {
    names: Lasting<Names>,
    /// Two names that were exchanged since the last sync.
    exchanged: Option<[OsString; 2]>,
}

/// Files, and folders with what stands in them. The first folder is the root.
pub(crate) struct Disk {
    root: PathBuf,
    files: Vec<Lasting<Vec<u8>>>,
    folders: Vec<Folder>,
}

impl Disk {
    /// One that has this folder, with nothing in it.
    pub(crate) fn new(root: &Path) -> Disk {
        Disk { root: root.to_owned(), files: Vec::new(), folders: vec![Folder::default()] }
    }

    /// One that has this folder, with the files that are in it now, for good.
    pub(crate) fn of(root: &Path) -> Disk {
        let mut disk = Disk::new(root);
        for (path, content) in super::snapshot(root) {
            disk.carry_out(&Call::Create(path.clone()));
            disk.carry_out(&Call::Write(path.clone(), None, content));
            disk.carry_out(&Call::Sync(path));
        }
        disk.carry_out(&Call::Sync(root.to_owned()));
        disk
    }

    fn node(&self, path: &Path) -> Node {
        let mut node = Node::Folder(0);
        for name in path.strip_prefix(&self.root).unwrap() {
            let Node::Folder(number) = node else { panic!("{} leads through a file", path.display()) };
            node = self.folders[number].names.now[name];
        }
        node
    }

    /// The folder that something is in, and its name there.
    fn place<'a>(&mut self, path: &'a Path) -> (&mut Folder, &'a OsStr) {
        match self.node(path.parent().unwrap()) {
            Node::Folder(number) => (&mut self.folders[number], path.file_name().unwrap()),
            Node::File(_) => panic!("{} leads through a file", path.display()),
        }
    }

    fn file(&mut self, path: &Path) -> &mut Lasting<Vec<u8>> {
        match self.node(path) {
            Node::File(number) => &mut self.files[number],
            Node::Folder(_) => panic!("{} is a folder", path.display()),
        }
    }

    fn take(&mut self, path: &Path) -> Node {
        let (folder, name) = self.place(path);
        folder.names.now.remove(name).unwrap()
    }

    fn give(&mut self, path: &Path, node: Node) {
        let (folder, name) = self.place(path);
        folder.names.now.insert(name.to_owned(), node);
    }

    pub(crate) fn carry_out(&mut self, call: &Call) {
        match call {
            Call::Create(path) => {
                let number = self.files.len();
                let (folder, name) = self.place(path);
                if !folder.names.now.contains_key(name) {
                    folder.names.now.insert(name.to_owned(), Node::File(number));
                    self.files.push(Lasting::default());
                }
            }
            Call::Write(path, from, bytes) => {
                let file = &mut self.file(path).now;
                let from = from.unwrap_or(file.len());
                file.resize(file.len().max(from + bytes.len()), 0);
                file[from..from + bytes.len()].copy_from_slice(bytes);
            }
            Call::Cut(path, len) => self.file(path).now.resize(*len, 0),
            Call::Sync(path) => match self.node(path) {
                Node::Folder(number) => {
                    let folder = &mut self.folders[number];
                    folder.names.synced = folder.names.now.clone();
                    folder.exchanged = None;
                }
                Node::File(number) => self.files[number].synced = self.files[number].now.clone(),
            },
            Call::Rename(from, to) => {
                let node = self.take(from);
                self.give(to, node);
            }
            Call::Exchange(one, other) => {
                assert_eq!(one.parent(), other.parent());
                let (first, second) = (self.take(one), self.take(other));
                self.give(one, second);
                self.give(other, first);
                let (folder, name) = self.place(one);
                folder.exchanged = Some([name.to_owned(), other.file_name().unwrap().to_owned()]);
            }
            Call::Remove(path) => _ = self.take(path),
            Call::MakeFolder(path) => {
                let node = Node::Folder(self.folders.len());
                self.folders.push(Folder::default());
                self.give(path, node);
            }
        }
    }

    /// The files that are there after a loss of power; `last` says of a name, and `left` of a file, what has come to the disk.
    pub(crate) fn after_loss(
        &self,
        last: &mut dyn FnMut() -> bool,
        left: &mut dyn FnMut(&Lasting<Vec<u8>>) -> Vec<u8>,
    ) -> Files {
        self.in_folder(0, &self.root, last, left)
    }

    fn in_folder(
        &self,
        number: usize,
        path: &Path,
        last: &mut dyn FnMut() -> bool,
        left: &mut dyn FnMut(&Lasting<Vec<u8>>) -> Vec<u8>,
    ) -> Files {
        let Folder { names, exchanged } = &self.folders[number];
        let is_exchanged = exchanged.is_some() && last();
        let mut found = Files::new();
        for name in names.now.keys().chain(names.synced.keys()).collect::<BTreeSet<_>>() {
            let is_one = exchanged.as_ref().is_some_and(|pair| pair.contains(name));
            let has_come = if is_one { is_exchanged } else { last() };
            match if has_come { &names.now } else { &names.synced }.get(name) {
                None => {}
                Some(Node::File(number)) => _ = found.insert(path.join(name), left(&self.files[*number])),
                Some(Node::Folder(number)) => found.extend(self.in_folder(*number, &path.join(name), last, left)),
            }
        }
        found
    }

    /// What may be there.
    fn losses(&self, rng: &mut Rng) -> Vec<Files> {
        let synced = |file: &Lasting<Vec<u8>>| file.synced.clone();
        let now = |file: &Lasting<Vec<u8>>| file.now.clone();
        let mut losses = vec![
            self.after_loss(&mut || false, &mut { synced }),
            self.after_loss(&mut || true, &mut { synced }),
            self.after_loss(&mut || false, &mut { now }),
        ];
        for _ in 0..6 {
            let mut chosen = Rng::new(rng.below(1 << 30) as u64);
            let mut more = Rng::new(rng.below(1 << 30) as u64);
            losses.push(self.after_loss(&mut || chosen.below(2) == 0, &mut |file| match more.below(4) {
                0 => file.now.clone(),
                1 => file.synced.clone(),
                2 => {
                    let mut left = file.now.clone();
                    for (page, synced) in left.chunks_mut(PAGE).zip(file.synced.chunks(PAGE)) {
                        if more.below(2) == 0 && page.len() == synced.len() {
                            page.copy_from_slice(synced);
                        }
                    }
                    left
                }
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

/// Runs a command, and tells its calls that change what is in a folder; nothing where they cannot be told. It may end with these.
pub(crate) fn traced(command: &Command, folder: &Path, may_exit: &[i32]) -> Option<Vec<Call>> {
    let trace = folder.with_extension("trace");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-xx", "-s", "1000000", "-e", "signal=none", "-e", TRACED, "-o"]).arg(&trace);
    traced.arg(command.get_program()).args(command.get_args()).stdout(Stdio::null()).stderr(Stdio::null());
    let has_run = traced.status().is_ok_and(|status| status.code().is_some_and(|code| may_exit.contains(&code)));
    if !has_run || !trace.exists() {
        println!("skipped: strace is not there, or may not trace");
        return None;
    }
    let mut calls = calls(&fs::read_to_string(&trace).unwrap());
    calls.retain(|call| call.path().starts_with(folder));
    Some(calls)
}

/// Lays down whatever a loss of power behind each of these calls may leave, and has it checked. How many states that were.
pub(crate) fn lose_power(disk: &mut Disk, calls: &[Call], mut check: impl FnMut(&str)) -> usize {
    let (mut rng, mut seen) = (Rng::new(7), HashSet::new());
    for (number, call) in calls.iter().enumerate() {
        disk.carry_out(call);
        for (variant, loss) in disk.losses(&mut rng).into_iter().enumerate() {
            if seen.insert(loss.clone()) {
                put(&disk.root, &loss);
                fs::create_dir_all(&disk.root).unwrap();
                check(&format!("call {number} of {}, {call:.80?}, variant {variant}", calls.len()));
            }
        }
    }
    println!("{} calls, {} states of the disk", calls.len(), seen.len());
    seen.len()
}
