//! One file for each command.

#[cfg(feature = "archive")]
mod archive;
mod backup;
mod consumers;
mod demo;
mod dump;
mod events;
mod export;
mod get;
mod import;
mod index;
mod keys;
mod own;
mod projections;
pub(crate) mod prove;
mod read;
mod redact;
mod repair;
#[cfg(feature = "schema")]
mod schema;
#[cfg(feature = "schema")]
mod schema_check;
mod snapshot;
mod sql;
mod stats;
mod streams;
mod tail;
mod tip;
#[cfg(feature = "tui")]
mod top;
#[cfg(feature = "torture")]
mod torture;
mod truncate;
mod verify;
mod witness;

use annals::{BackupOptions, Options};

use crate::args::{Args, Command, SnapshotCommand, WitnessCommand};
use crate::exit::{Ended, Exit};
use crate::open::Reading;
use crate::out::Out;

/// Runs what the arguments ask for.
pub(crate) fn run(args: Args) -> Ended {
    let mut out = Out::new(args.json);
    let ended = dispatch(args.command, &mut out);
    // What was found before a failure is shown before it.
    let flushed = out.flush();
    ended.and_then(|exit| match flushed {
        // Nobody reads what was found; that something was found is told all the same.
        Err(failure) if exit == Exit::Findings && failure.is_silent() => Ok(exit),
        flushed => flushed.map(|()| exit),
    })
}

fn dispatch(command: Command, out: &mut Out) -> Ended {
    match command {
        Command::Demo { dir } => demo::run(dir.as_deref(), out),
        Command::DemoWriter { store } => demo::write_until_killed(&store),
        #[cfg(feature = "torture")]
        Command::Torture(args) => torture::run(&args, out),
        #[cfg(feature = "torture")]
        Command::TortureDisk => torture::serve_disk(),
        #[cfg(feature = "torture")]
        Command::TortureWriter { store, seed, life, batches } => {
            crate::torture::process::append_until_killed(&store, seed, life, batches)
        }
        Command::Import { store, input, source, batch, segment_bytes, hash_chain, redacted } => {
            let options = segment_bytes.map_or_else(Options::new, |bytes| Options::new().segment_bytes(bytes));
            // Without the flag, as the store is.
            let options = if hash_chain { options.hash_chain(true) } else { options };
            import::run(&store, &options, &input, source, (batch, redacted), out)
        }
        #[cfg(feature = "archive")]
        Command::Archive(command) => archive::run(command, out),
        #[cfg(feature = "schema")]
        Command::Schema(command) => schema::run(command, out),
        Command::Export(args) => export::run(&args, out),
        Command::Get { store, place, key, keys, through } => {
            let store = Reading::of(&store, &through)?;
            get::run(&store, place, key.as_deref(), keys.as_deref(), out)
        }
        Command::Keys { ring, destroy, yes } => keys::run(&ring, destroy.as_deref(), yes, out),
        Command::Read(args) => read::run(&args, out),
        Command::Tail { store, lines, follow } => tail::run(&store, lines, follow, out),
        Command::Sql(args) => sql::run(&args, out),
        Command::Index(args) => index::run(&args, out),
        Command::Streams { store, prefix } => streams::run(&store, &prefix, out),
        Command::Stats { store, prometheus } => stats::run(&store, prometheus, out),
        #[cfg(feature = "tui")]
        Command::Top(args) => top::run(&args, out),
        Command::Consumers { store } => consumers::run(&store, out),
        Command::Projections { store } => projections::run(&store, out),
        Command::Snapshot(SnapshotCommand::Show { file }) => snapshot::show(&file, out),
        Command::Snapshot(SnapshotCommand::Verify { file, store }) => snapshot::verify(&file, store.as_deref(), out),
        Command::Backup { store, dir, copy, no_consumers } => {
            let options = BackupOptions::new().copy(copy).consumers(!no_consumers);
            backup::backup(&store, &dir, &options, out)
        }
        Command::Restore { backup, dir } => backup::restore(&backup, &dir, out),
        Command::Repair { store, accept_loss, to, .. } => repair::run(&store, accept_loss, to.as_deref(), out),
        Command::Tip { store, sign } => tip::run(&store, sign.as_deref(), out),
        Command::Witness(WitnessCommand::NewKey { file }) => witness::new_key(&file, out),
        Command::Witness(WitnessCommand::Check { witness, public_key }) => witness::check(&witness, &public_key, out),
        Command::Witness(WitnessCommand::CheckProof { proof, witness, public_key }) => {
            prove::check(&proof, &witness, public_key.as_deref(), out)
        }
        Command::Prove { store, position, since, witness } => {
            prove::run(&store, position, since.as_deref(), witness.as_deref(), out)
        }
        Command::Verify { store, level, witness, public_key, from, to, through } => {
            let store = Reading::of(&store, &through)?;
            verify::run(&store, level, (from, to), &witness, public_key.as_deref(), out)
        }
        Command::Truncate(args) => truncate::run(&args, out),
        Command::Redact(args) => redact::run(&args, out),
        Command::Dump { files, payload } => dump::run(&files, payload, out),
    }
}
