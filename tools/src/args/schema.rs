//! The arguments of `annals schema`.

use std::path::PathBuf;

use annals_schema::Compatibility;

/// What to do with the schemas of events.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SchemaCommand {
    /// Register the schema of a type, as its first version or its next
    #[command(after_help = ADD_HELP)]
    Add(AddArgs),
    /// List what is registered
    List {
        /// The store
        store: PathBuf,
    },
    /// Print the schema of a type
    Show {
        /// The store
        store: PathBuf,
        /// The type of the events
        #[arg(value_name = "TYPE")]
        event_type: String,
        /// Which version [default: the newest]
        #[arg(long, value_name = "N")]
        version: Option<u16>,
    },
    /// Check every event of the log with the schema of its type and version
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The store
        store: PathBuf,
        /// Events whose type has no schema are findings, too
        #[arg(long)]
        strict: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// The store; nobody may have it open for writing
    pub(crate) store: PathBuf,
    /// The type of the events
    #[arg(value_name = "TYPE")]
    pub(crate) event_type: String,
    /// The schema, a file of JSON; - for standard input
    pub(crate) file: PathBuf,
    /// Under which version [default: the one after the newest; 1 for the first]
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u16>,
    /// What it has to be to the version before it, and the next one to it, unless that says otherwise: backward, forward,
    /// full or none [default: as it was; backward for the first]
    #[arg(long, value_name = "MODE")]
    pub(crate) compatibility: Option<Compatibility>,
    /// Register it also when it does not fit the version before it; the log says so
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would be registered; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

const ADD_HELP: &str = "\
A schema says what the payload of an event of this type looks like, in JSON Schema (draft 2020-12,
unless it names another in $schema). It stands alone: nothing that it refers to is fetched. It
becomes an event of the stream $schema, so a copy of the log has it, too; a version that is
registered never changes. The same schema once more changes nothing.

A new version has to fit the one before it:
  backward   who knows it can read all that was written with the one before
  forward    who knows the one before can read all that will be written with it
  full       both
  none       anything goes
What is certain not to fit is refused, and so is what cannot be told, with the place in the
schema: look at it, and use --force. A field can be added where the old schema says
\"additionalProperties\": false; otherwise events may have had anything under its name.

A program checks its events with annals-schema: SchemaMode::Enforce refuses, SchemaMode::Warn
counts and tells.";

const CHECK_HELP: &str = "\
Events are checked on all cores, those that were appended before their schema was registered, too.
Each violation is printed with the position of the event, the place in its payload, the rule and
what was there; any is exit code 1. An event that says no version counts as one of version 1, and
one without a payload as null.

What is redacted or encrypted cannot be checked, and is counted.";
