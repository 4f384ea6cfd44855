//! A store as a database that is only read: one connection, the table `events`, and errors that say what to do.
//!
//! What is always true: nothing is written but temporary tables. The database is in memory and empty, the table has no
//! way to be written, and each statement is looked at before it runs ([`allows`]): what is not allowed by name is not
//! allowed, so neither are `ATTACH`, `VACUUM INTO`, extensions and settings.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals::shred::KeyRing;
use annals::{EventStore, ReadError};
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::Value;
use rusqlite::{Batch, Connection, ErrorCode, Row, Statement};

use super::columns;
use super::scan::{Read, Source};
use super::{table, times};

/// So many steps of its program SQLite goes on without a look at whether it was interrupted: a fraction of a millisecond.
const STEPS: i32 = 10_000;

/// A store, to be asked in SQL.
///
/// ```
/// use annals::{EventStore, ExpectedVersion, NewEvent, Options};
/// use annals_cli::sql::Database;
///
/// let store = EventStore::in_memory(&Options::new())?;
/// store.append("order-7", ExpectedVersion::Any, NewEvent::new("Placed", r#"{"total": 42}"#))?;
/// store.append("order-8", ExpectedVersion::Any, NewEvent::new("Placed", r#"{"total": 7}"#))?;
///
/// let database = Database::new(&store)?;
/// let answer = database.query("SELECT sum(data->>'$.total') AS total FROM events WHERE type = 'Placed'")?;
/// assert_eq!((&*answer.columns, &*answer.rows), (&["total".to_owned()][..], &[vec![49.into()]][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    source: Arc<Source>,
    /// What the statement at hand was not allowed to do.
    refused: Arc<Mutex<Option<String>>>,
}

/// What a statement has answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its rows, each with a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// What was read for it.
    pub read: Read,
}

/// Why a statement has no answer, sorted by whose it is to mend.
#[derive(Debug)]
#[non_exhaustive]
pub enum SqlError {
    /// The statement is wrong.
    Statement {
        /// What SQLite says of it.
        problem: String,
        /// What may help.
        next: Option<String>,
        /// The statement, and the place in it, in bytes.
        place: Option<(String, usize)>,
    },
    /// The log could not be read. What was answered before is right, and not all.
    Read(ReadError),
    /// It was asked to end ([`Database::interrupted_by`]). What was answered before is right, and not all.
    Interrupted,
}

impl fmt::Display for SqlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlError::Statement { problem, .. } => out.write_str(problem),
            SqlError::Read(error) => error.fmt(out),
            SqlError::Interrupted => out.write_str("interrupted"),
        }
    }
}

impl std::error::Error for SqlError {}

impl Database {
    /// Makes a database of a store. Reads nothing yet.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn new(store: &EventStore) -> Result<Database, SqlError> {
        Database::of(store, None)
    }

    /// The same, and what was encrypted with the keys of a ring stands in it as it was before. Where the key was destroyed,
    /// there is nothing, as of an event that is redacted.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn decrypting(store: &EventStore, keys: KeyRing) -> Result<Database, SqlError> {
        Database::of(store, Some(keys))
    }

    fn of(store: &EventStore, keys: Option<KeyRing>) -> Result<Database, SqlError> {
        let source = Arc::new(Source::new(store.clone(), keys));
        let refused = Arc::new(Mutex::new(None));
        let connect = || -> rusqlite::Result<Connection> {
            let mut connection = Connection::open_in_memory()?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            // "Paid" is a column, and 'Paid' a text: otherwise a column with a slip in its name would be one, too.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
            connection.create_collation(times::COLLATION, times::compare)?;
            table::register(&connection, &source)?;
            let noted = Arc::clone(&refused);
            connection.authorizer(Some(move |context: AuthContext<'_>| match allows(&context) {
                Ok(()) => Authorization::Allow,
                Err(what) => {
                    noted.lock().get_or_insert(what);
                    Authorization::Deny
                }
            }))?;
            Ok(connection)
        };
        match connect() {
            Ok(connection) => Ok(Database { connection, source, refused }),
            Err(error) => Err(SqlError::Statement { problem: error.to_string(), next: None, place: None }),
        }
    }

    /// The answer of one statement, or of the last of several. All of it is held in memory.
    ///
    /// # Errors
    ///
    /// [`SqlError::Statement`] when it is wrong, [`SqlError::Read`] when the log cannot be read.
    pub fn query(&self, sql: &str) -> Result<Answer, SqlError> {
        let mut answer = Answer { columns: Vec::new(), rows: Vec::new(), read: Read::default() };
        let ask = |statement: &mut Statement<'_>| {
            let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let values = |row: &Row<'_>| (0..columns.len()).map(|column| row.get(column)).collect();
            let rows = statement.query_map([], values)?.collect::<Result<_, _>>()?;
            Ok((columns, rows))
        };
        self.each(sql, ask, |(columns, rows), read| {
            answer = Answer { columns, rows, read };
            Ok::<(), SqlError>(())
        })?;
        Ok(answer)
    }

    /// The first event of which the last statement asked and that could not be decrypted with the ring of keys, and why: what stands
    /// in it was given as it is in the log.
    pub fn undecrypted(&self) -> Option<(u64, String)> {
        self.source.undecrypted()
    }

    /// What a time was compared with in the last statement and is none, if anything was: what SQLite makes of it, letter by letter, is
    /// hardly what was meant.
    pub fn no_time(&self) -> Option<String> {
        self.source.no_time()
    }

    /// A flag that, while it is set, ends each statement with [`SqlError::Interrupted`].
    ///
    /// # Errors
    ///
    /// When SQLite cannot look at it.
    pub fn interrupted_by(&mut self, flag: Arc<AtomicBool>) -> Result<(), SqlError> {
        let looked = self.connection.progress_handler(STEPS, Some(move || flag.load(Ordering::Relaxed)));
        looked.map_err(|error| self.explain(error, ""))
    }

    /// Runs each statement of a text through `run`, until one is wrong; then `ran` is told what came of it and what was read.
    pub(crate) fn each<T, E: From<SqlError>>(
        &self,
        sql: &str,
        mut run: impl FnMut(&mut Statement<'_>) -> Result<T, Stopped<E>>,
        mut ran: impl FnMut(T, Read) -> Result<(), E>,
    ) -> Result<(), E> {
        // SQLite would take it for the end, and not ask what comes behind it.
        if let Some(at) = sql.find('\0') {
            let (problem, next) =
                ("there is a NUL in the statement".to_owned(), Some("char(0) is one in SQL".to_owned()));
            return Err(SqlError::Statement { problem, next, place: Some((sql.to_owned(), at)) }.into());
        }
        let mut statements = Batch::new(&self.connection, sql);
        loop {
            *self.refused.lock() = None;
            let statement = statements.next().map_err(|error| self.explain(error, sql))?;
            let Some(mut statement) = statement else { return Ok(()) };
            self.source.begin();
            let result = run(&mut statement);
            // Only now is all told that was read.
            drop(statement);
            match result {
                Ok(result) => ran(result, self.source.read())?,
                Err(Stopped::Sqlite(error)) => return Err(self.explain(error, sql).into()),
                Err(Stopped::Other(error)) => return Err(error),
            }
        }
    }

    /// What to tell of an error in one of the statements of a text.
    fn explain(&self, error: rusqlite::Error, whole: &str) -> SqlError {
        if let Some(error) = self.source.failed() {
            return SqlError::Read(error);
        }
        if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
            return SqlError::Interrupted;
        }
        let refused = self.refused.lock().take();
        // What the table cannot do is refused before it is asked whether it may be done.
        let refused =
            refused.or_else(|| error.to_string().contains("may not be modified").then(|| "changing events".to_owned()));
        if let Some(what) = refused {
            let next = Some("only temporary tables and views can be made, with CREATE TEMP".to_owned());
            return SqlError::Statement {
                problem: format!("{what} is not allowed: the store is only read"),
                next,
                place: None,
            };
        }
        let (problem, place) = match error {
            // The place is told in what is left of the text.
            rusqlite::Error::SqlInputError { msg, sql, offset, .. } => {
                let place = |offset: usize| (whole.to_owned(), whole.len().saturating_sub(sql.len()) + offset);
                (msg, usize::try_from(offset).ok().map(place))
            }
            rusqlite::Error::SqliteFailure(_, Some(message)) => (message, None),
            rusqlite::Error::InvalidParameterCount(..) => {
                ("the statement has parameters, and nobody gives them values".to_owned(), None)
            }
            other => (other.to_string(), None),
        };
        let next = self.advice(&problem);
        SqlError::Statement { problem, next, place }
    }

    fn advice(&self, problem: &str) -> Option<String> {
        if let Some(name) = problem.strip_prefix("no such column: ") {
            let columns = columns::names();
            return Some(if name.starts_with('"') {
                format!("a text stands in single quotes; the columns are {columns}")
            } else {
                format!("the columns are {columns}")
            });
        }
        if problem.starts_with("no such table: ") {
            return Some("the table is called events".to_owned());
        }
        if problem == "incomplete input" {
            return Some("it ends too early: a name, a value or a closing bracket is missing".to_owned());
        }
        if problem == "datatype mismatch" {
            return Some(format!("LIMIT, OFFSET and a column that is a key take whole numbers up to {}", i64::MAX));
        }
        if problem.starts_with("malformed JSON") {
            let place = self.source.last_read().map_or(String::new(), |position| format!(" at position {position}"));
            return Some(format!(
                "the event{place} may be the one; CASE WHEN json_valid(data) THEN data->>'$.field' END passes over what is not JSON"
            ));
        }
        None
    }
}

/// Why a statement ended early.
pub(crate) enum Stopped<E> {
    Sqlite(rusqlite::Error),
    Other(E),
}

impl<E> From<rusqlite::Error> for Stopped<E> {
    fn from(error: rusqlite::Error) -> Stopped<E> {
        Stopped::Sqlite(error)
    }
}

/// Whether a statement may do this; otherwise what it is called.
fn allows(context: &AuthContext<'_>) -> Result<(), String> {
    if is_allowed(&context.action, context.database_name) {
        return Ok(());
    }
    Err(match context.action {
        AuthAction::Attach { .. } => "ATTACH".to_owned(),
        AuthAction::Pragma { pragma_name, pragma_value: None } => format!("PRAGMA {pragma_name}"),
        AuthAction::Pragma { pragma_name, .. } => format!("PRAGMA {pragma_name} = …"),
        // Of CREATE and DROP it is the first that is asked.
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => {
            let is_schema = table_name.starts_with("sqlite_");
            format!("changing {}", if is_schema { "the schema" } else { table_name })
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => "a transaction".to_owned(),
        AuthAction::Function { function_name } => function_name.to_owned(),
        _ => "this statement".to_owned(),
    })
}

fn is_allowed(action: &AuthAction<'_>, database: Option<&str>) -> bool {
    const SHOWING: [&str; 5] = ["table_info", "table_xinfo", "table_list", "function_list", "collation_list"];
    match action {
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Pragma { pragma_name, .. } => SHOWING.iter().any(|name| pragma_name.eq_ignore_ascii_case(name)),
        AuthAction::Insert { .. }
        | AuthAction::Update { .. }
        | AuthAction::Delete { .. }
        | AuthAction::Reindex { .. } => database == Some("temp"),
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempView { .. } => true,
        _ => false,
    }
}
