//! The arguments, and the help that explains them.

#[cfg(feature = "archive")]
pub(crate) mod archive;
pub(crate) mod export;
pub(crate) mod index;
mod lacking;
#[cfg(feature = "schema")]
pub(crate) mod schema;
pub(crate) mod sql;
#[cfg(feature = "tui")]
pub(crate) mod top;
#[cfg(feature = "torture")]
pub(crate) mod torture;

use std::path::PathBuf;

use annals::EventId;
use clap::error::ErrorKind;
use clap::{ArgAction, ArgGroup, CommandFactory as _, Parser, Subcommand};

use crate::time;

pub(crate) use lacking::explained;

/// Look inside an Annals event store, fill one, or know whether it is whole.
#[derive(Debug, Parser)]
#[command(name = "annals", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print JSON, for programs: one object a line; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// The same, unless a command and the global flag contradict each other: clap sees that only where the flag stands
    /// behind the command.
    pub(crate) fn consistent(self) -> Result<Args, clap::Error> {
        match self.command {
            Command::Stats { prometheus: true, .. } if self.json => Err(Args::command()
                .error(ErrorKind::ArgumentConflict, "the argument '--prometheus' cannot be used with '--json'")),
            _ => Ok(self),
        }
    }
}

const AFTER_HELP: &str = "\
All commands but `import`, `restore`, `repair`, `redact --yes`, `truncate`, `schema add`, `demo`
and `keys --destroy` leave the store alone, and so does `archive send` without `--drop-local`.
They work while another process writes to the store, and on a copy of it.

Exit codes:
  0  fine
  1  found something: damage in the store, a bad line in the input
  2  the arguments make no sense
  3  could not read, write or open

New here? `annals demo` takes ten seconds.";

const STATS_HELP: &str = "\
It ends with 1 when something of the log cannot be read, or a consumer is of no use. With
--prometheus that stands in the numbers, and it ends with 0: for the textfile collector of the node
exporter, from a timer:
  annals stats STORE --prometheus > orders.prom.new && mv orders.prom.new orders.prom";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch a store take in events, be killed, and recover: a tour of ten seconds
    Demo {
        /// Where to put the demo's store, to look at it afterwards [default: a temporary directory]
        dir: Option<PathBuf>,
    },

    /// Take in events from lines of JSON
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// The store; made when it does not exist
        store: PathBuf,
        /// A file of lines, plain or gzip; - for standard input
        input: PathBuf,
        /// The name to remember the progress by [default: the SHA-256 of the content]
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// How many lines go into one batch, which is on disk as a whole or not at all
        #[arg(long, value_name = "LINES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        batch: u32,
        /// The size at which a segment ends and the next one begins [default: 67108864]
        #[arg(long, value_name = "BYTES")]
        segment_bytes: Option<u64>,
        /// Keep a hash chain, which makes a change to the past show; see `annals tip`
        #[arg(long)]
        hash_chain: bool,
        /// Take in events that are redacted, too, as what is left of them: without data, and with metadata that says so
        #[arg(long)]
        redacted: bool,
    },

    /// Print all events as lines of JSON that `import` takes, or as columns
    #[command(after_help = export::EXPORT_HELP)]
    Export(export::ExportArgs),

    /// Print one event, by its position or its id; or those of one append, by its key
    #[command(after_help = GET_HELP)]
    Get {
        /// The store
        store: PathBuf,
        /// Its position in the log, or its id (a UUID)
        #[arg(value_name = "POSITION|ID", required_unless_present = "key", conflicts_with = "key", value_parser = parse_place)]
        place: Option<Place>,
        /// The events that were appended with this idempotency key
        #[arg(long)]
        key: Option<String>,
        /// Show what was encrypted with the keys of this ring
        #[arg(long, value_name = "RING")]
        keys: Option<PathBuf>,
        #[command(flatten)]
        through: ThroughArgs,
    },

    /// Print events: all, or those of some types, tags, streams, and times
    #[command(after_help = READ_HELP)]
    Read(ReadArgs),

    /// Print the newest events, and with --follow each new one as it comes
    Tail {
        /// The store
        store: PathBuf,
        /// How many of the newest events to begin with
        #[arg(short = 'n', long = "lines", value_name = "COUNT", default_value_t = 10)]
        lines: u64,
        /// Go on with the events that a running writer appends, until interrupted
        #[arg(short, long, action = ArgAction::SetTrue)]
        follow: bool,
    },

    /// Ask questions in SQL, over the table `events`
    #[command(after_help = sql::SQL_HELP)]
    Sql(sql::SqlArgs),

    /// Make a table of the events in a file of its own, or bring it up to date
    #[command(after_help = index::INDEX_HELP)]
    Index(index::IndexArgs),

    /// List the streams: name, number of events, position of the last one
    Streams {
        /// The store
        store: PathBuf,
        /// Only streams whose name begins so
        #[arg(long, value_name = "TEXT", default_value = "")]
        prefix: String,
    },

    /// Say how much a store holds
    #[command(after_help = STATS_HELP)]
    Stats {
        /// The store
        store: PathBuf,
        /// Print it as text for Prometheus
        #[arg(long)]
        prometheus: bool,
    },

    /// Watch a store on a screen: rates, latencies, segments, lags, streams and events
    #[cfg(feature = "tui")]
    #[command(after_help = top::TOP_HELP)]
    Top(top::TopArgs),

    /// List the consumers: how far each has come, how far it is behind, and what is wrong with its checkpoint
    #[command(after_help = CONSUMERS_HELP)]
    Consumers {
        /// The store
        store: PathBuf,
    },

    /// List the projections that keep snapshots: where a restart would go on, and why not later
    #[command(after_help = PROJECTIONS_HELP)]
    Projections {
        /// The store
        store: PathBuf,
    },

    /// Show what is in a snapshot file, or whether a restart can use it
    #[command(subcommand)]
    Snapshot(SnapshotCommand),

    /// Copy a store into a directory, also while it is written; into the same one again: only what is new
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// The store
        store: PathBuf,
        /// The directory of the backup: a new one, an empty one, or that of an earlier backup
        dir: PathBuf,
        /// Copy what is new, also where a link would do; what an earlier backup has linked stays linked
        #[arg(long)]
        copy: bool,
        /// Leave out the checkpoints of consumers
        #[arg(long)]
        no_consumers: bool,
    },

    /// Make a store of a backup, in a directory that is new or empty
    Restore {
        /// The backup
        backup: PathBuf,
        /// Where the store is to be
        dir: PathBuf,
    },

    /// Keep sealed segments in an object store: archive, list, verify, restore
    #[cfg(feature = "archive")]
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),

    /// Say in the log what events of a type look like, and whether all of them do: add, list, show, check
    #[cfg(feature = "schema")]
    #[command(subcommand)]
    Schema(schema::SchemaCommand),

    /// Read everything again and list whatever is wrong
    Verify {
        /// The store, or a backup of one, whose files are compared with their digests
        store: PathBuf,
        /// Also whether it is an unbroken continuation of what this witness saw (a file that `annals tip --json`
        /// has printed); give several to narrow down where it is not
        #[arg(long, value_name = "FILE")]
        witness: Vec<PathBuf>,
        /// Each witness has to be signed by the owner of this key
        #[arg(long, value_name = "KEY", requires = "witness")]
        public_key: Option<String>,
        /// How much to look at
        #[arg(long, value_enum, default_value_t = Level::All)]
        level: Level,
        /// Only the segments that hold events from this position on
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// Only the segments that hold events up to this position
        #[arg(long, value_name = "POSITION")]
        to: Option<u64>,
        #[command(flatten)]
        through: ThroughArgs,
    },

    /// Make a store that opens of one that does not: all that is whole, and a word for each event that is lost
    #[command(after_help = REPAIR_HELP, group = ArgGroup::new("how").required(true).args(["dry_run", "accept_loss"]))]
    Repair {
        /// The store; it stays as it is
        store: PathBuf,
        /// Only say what would be kept and what is lost
        #[arg(long)]
        dry_run: bool,
        /// Do it: what --dry-run says is lost is given up in the repaired store
        #[arg(long)]
        accept_loss: bool,
        /// Where the repaired store is to be: a new directory, or an empty one [default: STORE.repaired]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },

    /// Print the end of the hash chain: a witness of all that is in the log, to be kept elsewhere
    #[command(after_help = TIP_HELP)]
    Tip {
        /// The store
        store: PathBuf,
        /// Sign it with the key in this file (`annals witness new-key`)
        #[arg(long, value_name = "FILE")]
        sign: Option<PathBuf>,
    },

    /// Prove that an event is in the log, or that the log has only grown, to somebody who has a witness and no store
    #[command(after_help = PROVE_HELP)]
    Prove {
        /// The store
        store: PathBuf,
        /// The event to prove, by its position in the log
        #[arg(long, value_name = "POSITION", required_unless_present = "since", conflicts_with = "since")]
        position: Option<u64>,
        /// What the log has only grown since (a file that `annals tip --json` has printed)
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// For the log as this witness saw it [default: as it is now]
        #[arg(long, value_name = "FILE")]
        witness: Option<PathBuf>,
    },

    /// Check a signed witness or a proof without the store, or make a key to sign witnesses with
    #[command(subcommand)]
    Witness(WitnessCommand),

    /// List the keys of a ring, or destroy one, so that what it encrypted cannot be read any more
    #[command(after_help = KEYS_HELP)]
    Keys {
        /// The directory of the ring
        ring: PathBuf,
        /// Destroy the key of this subject. It cannot be undone
        #[arg(long, value_name = "SUBJECT")]
        destroy: Option<String>,
        /// Yes, for ever
        #[arg(long, requires = "destroy")]
        yes: bool,
    },

    /// Remove the oldest events, by whole segments; what was known of their streams stays
    #[command(after_help = TRUNCATE_HELP)]
    Truncate(TruncateArgs),

    /// Take data and metadata out of chosen events; their digest stays, and that it was done
    #[command(after_help = REDACT_HELP)]
    Redact(RedactArgs),

    /// Show what the bytes of segment files mean, frame by frame; and what index files and the floor hold
    #[command(after_help = DUMP_HELP)]
    Dump {
        /// Segment files (.seg), indexes (.idx), filters (.flt) and the file `floor`; of a store or a folder, all of its
        /// segments, or where it has none, all indexes and filters
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Show data and metadata of the events, too
        #[arg(long)]
        payload: bool,
    },

    /// Crash a store in every way there is, and see whether it keeps its promises
    #[cfg(feature = "torture")]
    #[command(after_help = torture::HELP)]
    Torture(torture::TortureArgs),

    /// The process that `torture --process` kills
    #[cfg(feature = "torture")]
    #[command(hide = true)]
    TortureWriter {
        /// The store
        store: PathBuf,
        /// What the batches are made of
        seed: u64,
        /// Which child of this store it is
        life: u32,
        /// How many batches each thread appends
        batches: u32,
    },

    /// The disk under `torture --power`
    #[cfg(feature = "torture")]
    #[command(hide = true)]
    TortureDisk,

    /// The process that the demo kills
    #[command(hide = true)]
    DemoWriter {
        /// The demo's store
        store: PathBuf,
    },
}

#[cfg(feature = "archive")]
pub(crate) use archive::ThroughArgs;

/// Built without the feature `archive`: there is none to read through to.
#[cfg(not(feature = "archive"))]
#[derive(Debug, clap::Args)]
pub(crate) struct ThroughArgs {}

/// What to do with a snapshot file.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Print whose it is, up to where it was folded, and its state, if that is JSON
    Show {
        /// The file: STORE/snap/PROJECTION/POSITION.snap
        file: PathBuf,
    },
    /// Check that its bytes are whole, and that it is of the history of its log
    #[command(after_help = SNAPSHOT_VERIFY_HELP)]
    Verify {
        /// The file: STORE/snap/PROJECTION/POSITION.snap
        file: PathBuf,
        /// The store that it has to fit to [default: the one that it lies in]
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
    },
}

/// What is done with witnesses and the keys (Ed25519) that sign them.
#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Make a key: the secret half goes to a file that must not exist, the public half is printed
    NewKey {
        /// The file for the secret half
        file: PathBuf,
    },
    /// Whether a witness was signed by the owner of a key, and was not changed since
    Check {
        /// A file that `annals tip --sign FILE --json` has printed
        witness: PathBuf,
        /// The public half of the key
        #[arg(long, value_name = "KEY")]
        public_key: String,
    },
    /// Whether a proof shows what it says, to who trusts a witness
    CheckProof {
        /// A file that `annals prove` has printed
        proof: PathBuf,
        /// The witness that it is a proof for; where it shows that the log has only grown, both of them
        #[arg(long, value_name = "FILE", required = true)]
        witness: Vec<PathBuf>,
        /// Each witness has to be signed by the owner of this key
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
    },
}

/// How much `verify` looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Level {
    /// Every checksum, batch and seal: as fast as reading
    Frames,
    /// Frames, and the hash chain, with witnesses or without
    Chain,
    /// Frames, and whether the files in idx/ are what their segments give
    Index,
    /// The files of consumers and snapshots: whether they are whole, and of the history of the log
    Snapshots,
    /// All of this, how events follow each other, the floor, and the digests of a backup
    All,
}

/// How one event is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Position(u64),
    Id(EventId),
}

fn parse_place(text: &str) -> Result<Place, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Place::Position).map_err(|_| "it is larger than any position".to_owned());
    }
    text.parse().map(Place::Id).map_err(|_| "it is neither a position nor an id (a UUID)".to_owned())
}

/// Up to where the state of a stream is folded, and with what is there as the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UpTo {
    Head,
    Version(u64),
    Position(u64),
    Time(i64),
}

fn parse_up_to(text: &str) -> Result<UpTo, String> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().map_err(|_| "it is larger than any version or position".to_owned()))
    };
    match text.strip_prefix('@') {
        _ if text == "head" => Ok(UpTo::Head),
        Some(position) => {
            number(position).unwrap_or_else(|| Err("@ is followed by a position".to_owned())).map(UpTo::Position)
        }
        None => match number(text) {
            Some(version) => version.map(UpTo::Version),
            None => time::parse_moment(text).map(UpTo::Time),
        },
    }
}

/// What to read, and in which order.
#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    /// The store
    pub(crate) store: PathBuf,
    /// Only events of this type; given again: or of that
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Vec<String>,
    /// Only events whose type begins so; given again, or with --type: or so
    #[arg(long, value_name = "TEXT")]
    pub(crate) type_prefix: Vec<String>,
    /// Only events with this tag; given again: and that
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// Only this stream; given again: or that. With one, --after and --until count its versions
    #[arg(long)]
    pub(crate) stream: Vec<String>,
    /// Only streams whose name begins so; given again, or with --stream: or so
    #[arg(long, value_name = "TEXT")]
    pub(crate) stream_prefix: Vec<String>,
    /// Only what was recorded at this time or later
    #[arg(long, value_name = "TIME", value_parser = time::parse_moment)]
    pub(crate) since: Option<i64>,
    /// Only what was recorded before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse_moment)]
    pub(crate) before: Option<i64>,
    /// Only what comes after this position (of one --stream: version)
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// Only what comes up to this position (of one --stream: version), with it
    #[arg(long, value_name = "N")]
    pub(crate) until: Option<u64>,
    /// Of one --stream: the events that its state was folded from then: up to a version (7), a position of the
    /// log (@1234) or a time of recording, with it; or up to its head
    #[arg(long, value_name = "MOMENT", value_parser = parse_up_to, conflicts_with_all = ["until", "since", "before"])]
    pub(crate) up_to: Option<UpTo>,
    /// At most so many events
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    /// Only the last so many of them, in their order
    #[arg(long, value_name = "COUNT", conflicts_with = "limit")]
    pub(crate) last: Option<u64>,
    /// Newest first
    #[arg(long)]
    pub(crate) backward: bool,
    /// Show what was encrypted with the keys of this ring
    #[arg(long, value_name = "RING")]
    pub(crate) keys: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) through: ThroughArgs,
}

/// What to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct TruncateArgs {
    /// The store; nobody may have it open for writing
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) what: What,
    /// Say what would go, and who still needs it; remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also what a consumer or a projection has not finished
    #[arg(long)]
    pub(crate) force: bool,
}

/// Up to where.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// What comes before this position
    #[arg(long, value_name = "POSITION")]
    pub(crate) before: Option<u64>,
    /// All but the newest so many events
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_events: Option<u64>,
    /// All but the newest segments that take so many bytes together
    #[arg(long, value_name = "BYTES")]
    pub(crate) keep_bytes: Option<u64>,
    /// All but what was recorded in so many days up to now
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u32>,
}

/// What to redact.
#[derive(Debug, clap::Args)]
pub(crate) struct RedactArgs {
    /// The store; with --yes, nobody may have it open for writing
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Why; it is kept in the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Say what would be redacted; the same as leaving out --yes
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Yes, for ever
    #[arg(long, requires = "reason")]
    pub(crate) yes: bool,
}

/// Which events: these positions, or all that match.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Which {
    /// The event at this position; given again: and that
    #[arg(long, value_name = "N", conflicts_with_all = ["stream", "event_type", "tag"])]
    pub(crate) position: Vec<u64>,
    /// The events of this stream; given again: or of that
    #[arg(long)]
    pub(crate) stream: Vec<String>,
    /// Only events of this type; given again: or of that
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Vec<String>,
    /// Only events with this tag; given again: and that
    #[arg(long)]
    pub(crate) tag: Vec<String>,
}

const CONSUMERS_HELP: &str = "\
The lag is how many positions of the log come after what a consumer has finished: what it would be
given if it went on now. A checkpoint that is damaged, of another log, of a history that this log
does not have, or beyond its end is a finding: exit code 1, and the fault says which. Most often an
older backup was restored. The program's own remedy is to remove that consumer, which then begins
anew.

Consumers that keep their position somewhere else are not known here.";

const PROJECTIONS_HELP: &str = "\
Snapshots are hints: the log is the truth, and a projection without a usable one folds everything
again. `goes on from` is the newest that a restart can use, `none` the beginning; the lag is how
many positions it would have to read from there. One that is damaged, of another log or history, or
beyond the end of the log is passed over by a restart, and a finding here: exit code 1.

Whether the state itself can be decoded, and is of the schema version that its program wants, only
that program knows. So it is with what a running projection has failed on: ask its status there.
`left out` counts the events that a handler could not take and that were skipped by its policy;
`annals snapshot show` lists them.";

const SNAPSHOT_VERIFY_HELP: &str = "\
A restart uses a snapshot only if its checksums match, its name and folder are those that it was
written under, and the log has the very history that it was folded from, as far as that. This says
so, or why not, with exit code 1. Outside of a store, and without --store, only the bytes are asked.";

const GET_HELP: &str = "\
It prints what `annals read` would print of these events. When there is none, it says so, and ends
with exit code 1.";

const KEYS_HELP: &str = "\
A ring holds a key for each subject, a customer or whoever else events are about. The program that
embeds the store encrypts payloads and metadata with them. A destroyed key makes them unreadable
wherever they are: in the log, in its backups, in what was archived. Backups of a store leave
rings out; where you keep a copy of a ring, the key has to be destroyed in the copy, too.

  annals keys RING                                     lists them
  annals keys RING --destroy customer-42 --yes         destroys one
  annals read STORE --keys RING                        shows what can be read";

const READ_HELP: &str = "\
A TIME is one of
  2011-09-30T22:38:44.546Z   RFC 3339, with an offset or Z
  2011-09-30                 the beginning of that day, in UTC
  2h, 7d, 1h30m              so long ago
and is compared with the time of recording, when the store took the event in, not with the time
that the event itself gives.

Different filters narrow each other: with --type A --type B --tag T --stream-prefix loan- it
prints what is of type A or B, has tag T, and is in a stream that begins with loan-.

With --stream X --up-to MOMENT it prints what `reconstruct_state` folds for that moment, which is
one of 7 (version 7 of the stream), @1234 (position 1234 of the log), head, or a TIME; whatever is
at that moment is among it.

All of this is looked up: what matches little reads little, in either direction.";

const REPAIR_HELP: &str = "\
Nothing is repaired in place: the store that is damaged is not touched. When you are content with
the repaired one, move the old one aside and give its name to the new one.

Each position that is lost holds an event of type `$lost`, whose data says why. `annals read STORE
--type '$lost'` lists them, the file LOST in the repaired store says the same in text, and its
quarantine/ keeps the damaged bytes.

It ends with 0 when nothing is damaged or nothing was lost, with 1 when something is lost.";

const BACKUP_HELP: &str = "\
It holds all that was durable when it began, at one position, and nothing else. Sealed segments
get a second name there if the file system allows it, and are copied otherwise; whatever is still
appended to is copied. A link helps against a mistake and not against a disk that fails: for that,
give a directory on another disk.

Each file is read when it is taken, and nothing is backed up that is damaged. The manifest,
BACKUP, has the digest of every file (as sha256sum prints it) and is written last: where it is,
the backup was whole when it was taken. What was there before is not read again: `annals verify DIR`
reads all of it. A file that it finds damaged is taken anew once it is removed.

The next backup into the same directory follows the log: what was removed from the log (truncate,
retention) is removed from the backup, and it says so. To keep it, give another directory, or keep
an archive (feature `archive`). `annals restore DIR STORE` makes a store of a backup.";

const TIP_HELP: &str = "\
A store keeps a hash chain when it was opened with that option (`annals import --hash-chain`). The
hash at its end stands for every event, in order: nobody can make another history that has it. So
  annals tip STORE --json > tip.json
and keep the file where nobody who can write to the store can. Later,
  annals verify STORE --witness tip.json
proves that the log still holds all that it held then, unchanged, or names the first position where
it does not. Without a witness, a tail that was cut off, or a chain that somebody computed anew,
cannot be told.

A witness that is signed (--sign) can be kept anywhere and by anybody: who has the public key
tells with `annals witness check`, without the store, that it says what it said when it was
signed.";

const PROVE_HELP: &str = "\
A proof is the event without its data, the hashes of the events that were appended together with it
(some 70 bytes each: of an import by 1,000 lines 70 kB), and a few more, whatever the length of the
log. Of other events it shows nothing else, of the append its idempotency key, and of an import
the name of the source and the line. Whoever has a witness of the log (`annals tip --json`) checks
it without the store:
  annals prove STORE --position 7 --witness tip.json > proof.json
  annals witness check-proof proof.json --witness tip.json
shows that the event was in the log when the witness was taken;
  annals prove STORE --since tip.json --witness newer.json > proof.json
  annals witness check-proof proof.json --witness tip.json --witness newer.json
that all the log was then is still the beginning of what it became. With --public-key the witnesses
have to be signed.

It takes a store that keeps a hash chain (`annals import --hash-chain`).";

const IMPORT_HELP: &str = "\
A line is an object like
  {\"stream\":\"loan-7\",\"type\":\"Submitted\",\"time\":\"2011-09-30T22:38:44.546Z\",\"data\":{\"amount\":20000}}
`stream` and `type` must be there; `time` (when it happened), `data`, `metadata`, `id`, `tags`,
`correlation_id`, `causation_id`, `schema_version` and `content_type` may. Data that is not JSON
goes into `data_base64`. The lines that `annals export` prints are taken as they are.

Importing is safe to repeat: with each batch the store records the source and the line it has
come to, so a second import of the same source adds nothing, and one that was killed goes on
where it was. A source is known by its content, or by the name given with --source; give a
name to take in the new lines of a file that grows. Only their number is known then: a file that
begins anew (a log that was rotated) needs a new name, or its first lines are taken for the old
ones.

An `id` makes this true of single lines, too, in whatever file they are: one whose id is in the
store already is counted and not added again. If what it says is not what the store has under that
id, it is a bad line. Lines without an id are known by their source alone.

A bad line ends the import with its number and the reason; the lines before it stay.";

const TRUNCATE_HELP: &str = "\
Only whole segments go, and never the newest: so a little more stays than was asked for. What is
gone is gone; make a backup before, in a directory of its own: the next one into the same
directory follows the log.

It refuses, with names, when a consumer or a projection with snapshots has not come so far (exit
code 1). The versions of streams and the positions of sources stay known, so nobody takes a stream
for a new one. Ids and idempotency keys of removed events are forgotten.

A program that keeps its store open truncates by itself: Options::retention.";

const REDACT_HELP: &str = "\
The events stay at their positions, with everything but data and metadata. The log says of them
that they are redacted, why, and which digest the payload had: so both chains and every witness
hold, and a retry of what was redacted is still known. `annals read STORE --stream '$redactions'`
lists it.

No file of the store has the payload afterwards. What was copied before still has it: backups (the
next one into the same directory replaces the segments), exports, file-system snapshots, blocks
that the disk has not overwritten; so has what a projection made of it. Programs that have the
store open for reading see it until they open it again.

A payload that is short or easy to guess can be found from its digest. For data that must be
erasable from every copy, encrypt it with a key of its own (feature `shred`, `annals keys`) before
it is appended.";

const DUMP_HELP: &str = "\
It asks only the bytes, not the store, so it also works on what `annals` cannot open. Behind a
bad place it goes on with the next good frame. The last line of each segment is the verdict:
  clean       it ends with its last batch
  unfinished  what follows the last batch was never acknowledged as durable: a crash looks so
  damaged     something acknowledged is not whole any more (exit code 1)

Of an index or a filter it shows where its parts are, whether their checksums match, and what
is in it. These files are made of the segments: one that is damaged can be deleted, and is made
anew. Whether one is what its segments give is for `annals verify` to say.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn no_line_of_a_help_is_broken_because_it_is_too_long() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }
}
