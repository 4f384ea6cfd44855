//! Somebody else on the same disk, whose syncs come at moments that no sync of the store's own would.
//!
//! A store that is alone decides itself when the file system commits its
//! journal. Beside a neighbour, a file that it has just made longer, renamed
//! or begun to write may be on the disk long before the store asks for that,
//! and in another order.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::syncfs;

use crate::torture::generate::{Choices as _, Seeded};

/// How many files the neighbour has.
const FILES: u64 = 4;
/// How large each of them may become, in bytes: the store must not find the disk full.
const LARGEST: u64 = 100_000;

/// Writes, renames, removes and syncs files in `root`, until it is over.
pub(super) fn disturb(root: &Path, seed: u64, is_over: &AtomicBool) -> io::Result<()> {
    let mut dice = Seeded::new(seed);
    while !is_over.load(Ordering::Relaxed) {
        let path = root.join(format!("neighbour-{}", dice.below(FILES)));
        match dice.below(8) {
            0..3 => {
                let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
                if file.metadata()?.len() > LARGEST {
                    file.set_len(0)?;
                }
                file.write_all(&vec![dice.below(256) as u8; dice.below(20_000) as usize])?;
                if dice.chance(50) {
                    file.sync_data()?;
                }
            }
            3 => unless_missing(fs::rename(&path, root.join("neighbour-renamed")))?,
            4 => unless_missing(fs::remove_file(&path))?,
            5 => File::open(root)?.sync_all()?,
            6 => syncfs(File::open(root)?)?,
            _ => {}
        }
        thread::sleep(Duration::from_micros(dice.below(3_000)));
    }
    Ok(())
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
