//! The command itself: one screen in a pipe, and what it says where it cannot be used.

use crate::Story;
use crate::common::{annals, command, wait_for};

#[test]
fn once_prints_one_screen_as_text() {
    let story = Story::new();
    (0..12).for_each(|_| story.append("s", "Happened", "{}"));
    let ran = annals(&[&"top", &"--once", &"--every", &"100", &story.path()]).exits(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout.lines().count(), 24, "{}", ran.stdout);
    assert!(ran.stdout.contains("1 to 12, durable to 12"), "{}", ran.stdout);
    assert!(ran.stdout.contains("0 now, 0 over the last minute"), "it looked twice: {}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let story = Story::new();
    annals(&[&"top", &story.path()]).exits(2).says("standard output is not a terminal; --once prints one screen");
}

#[test]
fn for_programs_there_is_another_command() {
    let story = Story::new();
    let ran = annals(&[&"top", &"--json", &story.path()]).exits(2);
    assert!(ran.stderr.contains("`annals stats --json` is for programs"), "{}", ran.stderr);
}

#[test]
fn where_there_is_no_store_it_says_so_as_every_command() {
    let story = Story::new();
    annals(&[&"top", &"--once", &story.path().join("nowhere")]).exits(3).says("there is no store in");
}

#[test]
fn the_help_of_the_command_lists_the_keys_that_the_screen_lists() {
    let story = Story::new();
    let mut session = story.session();
    session.press(ratatui::crossterm::event::KeyCode::Char('?'));
    let screen = session.text(100, 30);
    let help = annals(&[&"top", &"--help"]).exits(0).stdout;
    let keys = screen.lines().filter_map(|line| line.split_once('│')?.1.rsplit_once('│').map(|(inside, _)| inside));
    let keys: Vec<&str> = keys.map(str::trim).filter(|line| line.contains("  ")).collect();
    assert_eq!(keys.len(), 11, "{screen}");
    for line in keys {
        let (key, does) = line.split_once("  ").unwrap();
        let is_there = |help: &str| help.trim_start().starts_with(key) && help.trim_end().ends_with(does.trim());
        assert!(help.lines().any(is_there), "{line:?} is not in:\n{help}");
    }
}

/// With signals that nobody hears, as under nohup: only the terminal itself tells that it is gone.
#[cfg(target_os = "linux")]
#[test]
fn when_the_terminal_is_gone_it_ends() {
    use std::fs::{File, OpenOptions};
    use std::io::Read as _;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    let story = Story::new();
    story.append("s", "Happened", "{}");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut child = command(&[&"top", &"--every", &"60000", &story.path()])
        .stdin(terminal())
        .stdout(terminal())
        .stderr(terminal())
        .spawn()
        .unwrap();
    // Word by word: between them the cursor moves.
    let (mut seen, mut master) = (Vec::new(), File::from(master));
    while !String::from_utf8_lossy(&seen).contains("durable") {
        let mut some = [0; 4096];
        let read = master.read(&mut some).unwrap();
        seen.extend_from_slice(&some[..read]);
    }
    assert!(child.try_wait().unwrap().is_none());
    drop(master);
    // Long before anything is drawn again.
    wait_for("its end", || child.try_wait().unwrap());
}
