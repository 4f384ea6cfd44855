//! Looks at inputs once more, with any compiler: seeds, a corpus, or what a crash left.
//!
//! ```text
//! cargo run --manifest-path fuzz/Cargo.toml --no-default-features -- [TARGET [FILE|FOLDER]...]
//! ```
//!
//! Without files it takes the seeds of the target, without a target those of all.
//! A target that disagrees ends the program, by panic or by signal, so the input's
//! name is printed before it is looked at.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use annals_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let chosen = args.next();
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| chosen.as_ref().is_none_or(|name| name == target.name)).collect();
    let paths: Vec<PathBuf> = args.map(PathBuf::from).collect();
    if targets.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: replay [TARGET [FILE|FOLDER]...]\ntargets: {}", names.join(", "));
        return ExitCode::from(2);
    }
    for target in targets {
        let seeds = [Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name)];
        if let Err(error) = replay(target, if paths.is_empty() { &seeds } else { &paths }) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn replay(target: &Target, paths: &[PathBuf]) -> io::Result<()> {
    let because = |path: &Path, error: &io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let entries = path.read_dir().map_err(|error| because(path, &error))?;
            for entry in entries {
                files.push(entry?.path());
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    if files.is_empty() {
        // Seeds that were lost must not look like seeds that pass.
        return Err(io::Error::other(format!("{}: no input to look at", target.name)));
    }
    for file in files {
        let input = std::fs::read(&file).map_err(|error| because(&file, &error))?;
        print!("{} {} ({} bytes) … ", target.name, file.display(), input.len());
        if let Some(show) = target.show {
            print!("{} … ", show(&input));
        }
        io::stdout().flush()?;
        let began = Instant::now();
        (target.check)(&input);
        println!("fine, {} µs", began.elapsed().as_micros());
    }
    Ok(())
}
