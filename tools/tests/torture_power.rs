//! Power loss on a real file system: that the disk records and forgets as it should, that a run finds
//! nothing, that it would find something, and that nothing of it stays behind.
//!
//! Where power cannot be cut (not Linux, not root, no FUSE, no loop device), the tests say so and do nothing.

#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use annals_cli::torture::power::cut::{Cut, Keep};
use annals_cli::torture::power::missing;
use annals_cli::torture::power::rig::Rig;
use common::{annals, command, ran, wait_for};
use tempfile::TempDir;

/// Whether power cannot be cut here; says so.
fn is_skipped() -> bool {
    let missing = missing();
    if let Some(missing) = &missing {
        eprintln!("skipped: power loss cannot be tried here: {missing}");
    }
    missing.is_some()
}

/// The loop devices over disks of this process.
fn devices_of(pid: u32) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").expect("Linux lists block devices");
    let name = format!("annals-torture-{pid}");
    let file = |device: fs::DirEntry| fs::read_to_string(device.path().join("loop/backing_file")).ok();
    devices.filter_map(|device| file(device.expect("it can be listed"))).filter(|file| file.contains(&name)).collect()
}

fn write(path: &Path, text: &str) -> File {
    let mut file = File::create(path).expect("the disk has room");
    file.write_all(text.as_bytes()).expect("the disk has room");
    file
}

#[test]
fn a_synced_file_survives_the_loss_of_everything_unflushed_and_one_that_is_not_synced_does_not() {
    if is_skipped() {
        return;
    }
    let mut rig = Rig::start(Path::new(env!("CARGO_BIN_EXE_annals"))).expect("flushes are seen");
    let before = rig.records().expect("the disk answers");
    let (mounted, _) = rig.mount().expect("it is mounted");
    let root = mounted.path();
    write(&root.join("synced"), "stays").sync_all().expect("it is synced");
    File::open(&root).and_then(|dir| dir.sync_all()).expect("so is its name");
    let synced = rig.records().expect("the disk answers");
    write(&root.join("unsynced"), "goes");
    drop(mounted);
    let counts = rig.keep(1).expect("it is unmounted");
    let all = (counts.writes + counts.flushes) as usize;
    assert!(before < synced && synced < all, "{before}, {synced}, {all}");

    let mut left = |at| {
        rig.cut(1, Cut { at, keep: Keep::Nothing, seed: 0, disobeyed: 0 }).expect("the power goes");
        let (mounted, was_mended) = rig.mount().expect("it is mounted");
        assert!(!was_mended);
        let read = |name: &str| fs::read_to_string(mounted.path().join(name)).ok();
        (read("synced"), read("unsynced"))
    };
    assert_eq!(left(before), (None, None));
    assert_eq!(left(synced), (Some("stays".to_owned()), None));
    assert_eq!(left(all), (Some("stays".to_owned()), Some("goes".to_owned())), "unmounting flushes");
}

#[test]
fn a_run_loses_much_and_finds_nothing() {
    if is_skipped() {
        return;
    }
    let told = annals(&[&"torture", &"--power", &"--seed", &"11", &"--cuts", &"60", &"--json"]).exits(0).row();
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name}: {told}"));
    assert_eq!(number("judged"), 60);
    assert!(number("lossy") > 10 && number("dropped_writes") > 10, "{told}");
    assert!(number("in_recovery") > 3 && number("acknowledged") > 50 && number("doubtful_dropped") > 10, "{told}");
    assert!(told["recorded"]["flushes"].as_u64() > Some(50), "{told}");
    assert_eq!(told["findings"].as_array().map(Vec::len), Some(0), "{told}");
}

#[test]
fn a_disk_that_lies_about_flushes_is_found_out_and_what_led_to_it_is_kept() {
    // Otherwise a run that finds nothing would prove nothing.
    if is_skipped() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let args: [&dyn AsRef<std::ffi::OsStr>; 7] =
        [&"torture", &"--power", &"--lying-disk", &"--seed=5", &"--json", &"--dir", &dir.path()];
    let told = annals(&args).exits(1).row();
    let findings = told["findings"].as_array().expect("a list");
    assert!(findings.iter().any(|found| found["violation"].as_str().unwrap().starts_with("O1 ")), "{told}");
    for finding in findings {
        let evidence = Path::new(finding["evidence"].as_str().expect("a place"));
        assert!(evidence.starts_with(dir.path()), "{told}");
        let text = fs::read_to_string(evidence.join("finding.txt")).unwrap();
        assert!(text.contains(" opened ") && text.contains(" intend "), "{text}");
        let image = fs::read(evidence.join("disk.img")).unwrap();
        assert_eq!(image[1080..1082], [0x53, 0xEF], "an ext4 superblock has its magic there");
    }
}

#[test]
fn who_may_not_mount_is_told_so_in_one_line() {
    if is_skipped() {
        return;
    }
    // A copy, where everybody may run it.
    let dir = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let exe = dir.path().join("annals");
    fs::copy(env!("CARGO_BIN_EXE_annals"), &exe).unwrap();
    let nobody = || {
        let mut command = std::process::Command::new(&exe);
        command.uid(65534).gid(65534).current_dir("/").args(["torture", "--power"]);
        command
    };
    let told = ran(nobody().output().unwrap()).exits(0);
    assert_eq!(told.stdout, "skipped: power loss cannot be tried here: only root may mount\n");
    let told = ran(nobody().arg("--json").output().unwrap()).exits(0);
    assert!(told.row()["skipped"].as_str().unwrap().ends_with("only root may mount"));
}

/// A run that goes on until it is ended, and has a device and a disk process by now.
fn a_long_run(dir: &TempDir) -> (Child, u32) {
    let run = command(&[&"torture", &"--power", &"--cuts", &"1000000"])
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let disk = wait_for("the disk process", || {
        let children = fs::read_to_string(&children).ok()?;
        let is_disk = |pid: &str| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("torture-disk"))
        };
        children.split_whitespace().find(|pid| is_disk(pid))?.parse().ok()
    });
    wait_for("the device", || devices_of(run.id()).pop());
    wait_for("the mount point to be taken away", || is_empty(dir).then_some(()));
    (run, disk)
}

fn is_empty(dir: &TempDir) -> bool {
    fs::read_dir(dir.path()).expect("it can be listed").next().is_none()
}

fn nothing_is_left(run: u32, disk: u32, dir: &TempDir) {
    wait_for("the device to go", || devices_of(run).is_empty().then_some(()));
    wait_for("the disk process to go", || {
        let status = fs::read_to_string(format!("/proc/{disk}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
    let mounts = fs::read_to_string("/proc/mounts").expect("Linux lists mounts");
    let ours = dir.path().to_str().expect("it is UTF-8");
    assert!(!mounts.contains(ours), "{mounts}");
    assert!(is_empty(dir));
}

#[test]
fn a_run_that_is_killed_leaves_no_mount_no_device_no_file_and_no_process() {
    if is_skipped() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let (mut run, disk) = a_long_run(&dir);
    run.kill().expect("it is killed");
    run.wait().expect("it is dead");
    nothing_is_left(run.id(), disk, &dir);
}

#[test]
fn a_disk_that_dies_ends_the_run_with_an_error_and_nothing_is_left() {
    if is_skipped() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let (run, disk) = a_long_run(&dir);
    let pid = run.id();
    let killed = std::process::Command::new("kill").args(["-KILL", &disk.to_string()]).status();
    assert!(killed.expect("kill runs").success());
    // Whatever the store and the file system say of a disk that is gone, it is no broken promise.
    ran(run.wait_with_output().expect("it ends")).exits(3);
    nothing_is_left(pid, disk, &dir);
}
