//! The arguments of `annals archive`, and those that let other commands read what is archived.

use std::path::PathBuf;

use annals::LogId;

/// What to do with an archive.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ArchiveCommand {
    /// Archive every sealed segment that is not archived yet, also while the store is written
    #[command(after_help = SEND_HELP)]
    Send(SendArgs),
    /// List what is archived
    List {
        /// The archive: a directory, s3://…, gs://… or az://…
        place: String,
        #[command(flatten)]
        log: WhichLog,
    },
    /// Read all of it again: every object against its manifest, its frames, and the one before
    Verify {
        /// The archive: a directory, s3://…, gs://… or az://…
        place: String,
        /// Also whether this store agrees with it, and nothing lies between the two
        #[arg(long, value_name = "STORE")]
        store: Option<PathBuf>,
        #[command(flatten)]
        log: WhichLog,
    },
    /// Make a store of what is archived, and of what is left of the one that it came from
    Restore {
        /// The archive: a directory, s3://…, gs://… or az://…
        place: String,
        /// Where the store is to be: a directory that is new or empty
        dir: PathBuf,
        /// What is left of the old store: the segments that are not archived, and the checkpoints of consumers
        #[arg(long, value_name = "STORE")]
        rest: Option<PathBuf>,
        #[command(flatten)]
        log: WhichLog,
    },
}

/// Of several logs in one archive.
#[derive(Debug, clap::Args)]
pub(crate) struct WhichLog {
    /// Which log, where several are archived
    #[arg(long, value_name = "ID")]
    pub(crate) log: Option<LogId>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// The store
    pub(crate) store: PathBuf,
    /// The archive: a directory, s3://…, gs://… or az://…
    pub(crate) place: String,
    /// Afterwards remove the segments from the store that are archived, each once its object was read back; nobody
    /// may have the store open for writing
    #[arg(long)]
    pub(crate) drop_local: bool,
    /// With --drop-local: keep the segments that hold the newest so many events
    #[arg(long, value_name = "COUNT", requires = "drop_local", group = "keep")]
    pub(crate) keep_events: Option<u64>,
    /// With --drop-local: keep the newest segments that take so many bytes together
    #[arg(long, value_name = "BYTES", requires = "drop_local", group = "keep")]
    pub(crate) keep_bytes: Option<u64>,
    /// With --drop-local: keep what was recorded in so many days up to now
    #[arg(long, value_name = "DAYS", requires = "drop_local", group = "keep")]
    pub(crate) keep_days: Option<u32>,
    /// With --drop-local: also what a consumer or a projection has not finished
    #[arg(long, requires = "drop_local")]
    pub(crate) force: bool,
}

/// Reading what is archived as part of the store.
#[derive(Debug, clap::Args)]
pub(crate) struct ThroughArgs {
    /// With what is archived of it there: a directory, s3://…, gs://… or az://…
    #[arg(long, value_name = "PLACE")]
    pub(crate) archive: Option<String>,
    /// With --archive: keep what is fetched in this directory, for the next time [default: a temporary one]
    #[arg(long, value_name = "DIR", requires = "archive")]
    pub(crate) cache: Option<PathBuf>,
    /// With --archive: keep at most so many bytes of it
    #[arg(long, value_name = "BYTES", requires = "archive", default_value_t = 1 << 30)]
    pub(crate) cache_bytes: u64,
}

const SEND_HELP: &str = "\
Only segments that nobody appends to any more are archived; run it again, from cron say, for those
that come. Each is read and judged first: what is damaged is not archived. An object is put only
where there is none, so two archivers cannot harm each other, and a run that was killed is
finished by the next. Nothing is ever replaced or removed in an archive.

Credentials come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT, … for s3://, GOOGLE_APPLICATION_CREDENTIALS, … for gs://,
AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, … for az://.

With --drop-local, segments go from the store as by `annals truncate`, which names the consumers
that keep it from doing so. What is gone here is read from there:
  annals read STORE --archive PLACE";
