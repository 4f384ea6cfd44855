//! What was measured on, and which versions.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

/// The lock file that this program was built with.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// Lines that say what the machine is; not which.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let dir = std::env::temp_dir();
    let dir = dir.canonicalize().unwrap_or(dir);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gib =
        memory.and_then(|kib| kib.trim_end_matches(" kB").parse::<f64>().ok()).map(|kib| kib / f64::from(1 << 20));
    let unknown = || "unknown".to_owned();
    vec![
        ("processor", field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown)),
        ("cores", available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string())),
        ("memory", gib.map_or_else(unknown, |gib| format!("{gib:.1} GiB"))),
        ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())),
        ("file system", file_system(&read("/proc/mounts"), &dir).unwrap_or_else(unknown)),
    ]
}

/// The first field of a name in lines `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(found, value)| (found.trim(), value.trim()))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
}

/// The type and options of the file system that a directory is on.
fn file_system(mounts: &str, dir: &Path) -> Option<String> {
    // device place type options 0 0
    let mounts = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let above = mounts.filter(|mount| mount.len() >= 4 && dir.starts_with(mount[1]));
    above.max_by_key(|mount| mount[1].len()).map(|mount| format!("{} ({})", mount[2], mount[3]))
}

/// The version of a package that this program was built with.
pub(crate) fn version(package: &str) -> &'static str {
    version_in(LOCK, package).unwrap_or("?")
}

fn version_in<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let named = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != named);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package_and_of_none_that_is_named_alike() {
        let lock = "[[package]]\nname = \"redb-derive\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"redb\"\nversion = \"4.5.0\"\n";
        assert_eq!(version_in(lock, "redb"), Some("4.5.0"));
        assert_eq!(version_in(lock, "re"), None);
        assert_eq!(version("annals"), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\n/dev/b /tmp xfs rw,noatime 0 0\n";
        let of = |dir| file_system(mounts, Path::new(dir)).unwrap();
        assert_eq!([of("/tmp/x"), of("/tmpfoo")], ["xfs (rw,noatime)", "ext4 (rw)"]);
    }
}
