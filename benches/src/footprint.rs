//! What the kernel knows of this process: memory, and bytes read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// A number from a file of lines `name: number unit`, as `/proc` has them.
fn number(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).expect("Linux keeps this file");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line of this name");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// Memory that belongs to no file, in KiB.
pub(crate) fn anonymous_kib() -> u64 {
    number("/proc/self/status", "RssAnon")
}

/// The most memory this process has had at once, in KiB, with what it touched of files it maps.
pub(crate) fn peak_kib() -> u64 {
    number("/proc/self/status", "VmHWM")
}

/// How many descriptors this process has open.
pub(crate) fn descriptors() -> usize {
    // One of them is the directory that is read here.
    fs::read_dir("/proc/self/fd").expect("Linux keeps this directory").count() - 1
}

/// How many threads this process has.
pub(crate) fn threads() -> u64 {
    number("/proc/self/status", "Threads")
}

/// How many bytes `read` and its kin have returned to this process so far.
pub(crate) fn bytes_read() -> u64 {
    number("/proc/self/io", "rchar")
}

/// How much of the mappings of files this process has touched, in KiB: of those files that count.
///
/// The kernel maps up to 64 KiB around a page that is touched, so one look makes 64.
pub(crate) fn mapped_kib(counts: impl Fn(&Path) -> bool) -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").expect("Linux keeps this file");
    let mut counting = false;
    let mut kib = 0;
    for line in maps.lines() {
        if let Some(rss) = line.strip_prefix("Rss:") {
            let rss: u64 = rss.trim().trim_end_matches(" kB").parse().expect("a number");
            kib += if counting { rss } else { 0 };
        } else if line.starts_with(|c: char| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
            // address permissions offset device inode path
            counting = line.find('/').is_some_and(|at| counts(Path::new(&line[at..])));
        }
    }
    kib
}

/// What the files below a directory take on the disk, in bytes: whole blocks, and what is reserved.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    files(dir).iter().map(|(_, metadata)| metadata.blocks() * 512).sum()
}

/// Waits until nothing changes below a directory for a while: what was to be done in the background is done.
pub(crate) fn settle(dir: &Path) {
    const QUIET: Duration = Duration::from_secs(2);
    let look = || files(dir).into_iter().map(|(path, metadata)| (path, metadata.len(), metadata.modified().ok()));
    let mut before: Vec<_> = look().collect();
    loop {
        thread::sleep(QUIET);
        let now: Vec<_> = look().collect();
        if now == before {
            return;
        }
        before = now;
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        // What is gone by now is nothing to count.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path, metadata));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use annals_benches::{fill, read_all, shop::Dice};

    use super::*;

    #[test]
    fn what_a_reader_touches_in_a_mapping_counts_and_nobody_elses_does() {
        let dir = tempfile::tempdir().unwrap();
        let store = fill(dir.path(), 10_000);
        let ours = || mapped_kib(|path| path.starts_with(dir.path()));
        let before = ours();
        let payload = read_all(&store);
        assert!(ours() >= before.max(payload / 1024), "{} KiB of {payload} bytes", ours());
        assert_eq!(mapped_kib(|_| false), 0);
        drop(store);
        assert_eq!(ours(), 0, "a store that is closed has no mappings");
    }

    #[test]
    fn bytes_that_were_read_count_and_so_do_those_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b");
        fs::create_dir(dir.path().join("a")).unwrap();
        // Random, for a file system that compresses; synced, for one that counts late.
        let mut dice = Dice::new(1);
        let bytes: Vec<u8> = (0..1 << 20).map(|_| dice.roll() as u8).collect();
        fs::write(&file, &bytes).unwrap();
        fs::File::open(&file).unwrap().sync_all().unwrap();
        let before = bytes_read();
        assert!(fs::read(&file).unwrap() == bytes);
        assert!(bytes_read() - before >= 1 << 20);
        assert!(disk_bytes(dir.path()) >= 1 << 20, "{}", disk_bytes(dir.path()));
    }

    #[test]
    fn memory_that_is_filled_is_anonymous() {
        let before = anonymous_kib();
        let filled = std::hint::black_box(vec![1_u8; 64 << 20]);
        // Half of it, because other tests give memory back meanwhile.
        assert!(anonymous_kib() >= before + (32 << 10));
        drop(filled);
    }
}
