//! The table `events`, as SQLite calls it: the one file of the command that may say `unsafe`.
//!
//! ```text
//!  SQLite                      here                            below
//!  xBestIndex  conditions ───► best_index ── Term, order ────► Plan
//!  xFilter     its values ───► filter ────── Plan, Given ────► Scan
//!  xNext, xColumn, xEof ─────► next, column, eof ────────────► Scan, Column
//! ```
//!
//! What is always true:
//!
//! - There are two `unsafe` items, both `unsafe impl`s without a block of unsafe code: what they promise is how two structs lie in
//!   memory, which the compiler checks below. Every call into SQLite is rusqlite's.
//! - No panic gets into SQLite, which is written in C: it becomes an error of the statement.
//! - No condition is taken away from SQLite, so it tests every row once more.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annals::ReadError;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexFlags, IndexInfo, Module, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

use super::columns::{Column, DECLARATION};
use super::plan::{self, Op, Plan, Term};
use super::scan::{Scan, Source};
use super::wanted::Given;

/// Makes the table known to a connection. It is there at once, without being created.
pub(super) fn register(connection: &Connection, source: &Arc<Source>) -> Result<()> {
    const MODULE: Module<'_, Events> = Module::eponymous_only_module();
    connection.create_module(c"events", &MODULE, Some(Arc::clone(source)))
}

/// The table.
#[repr(C)]
struct Events {
    base: sqlite3_vtab,
    source: Arc<Source>,
}

/// A scan of the table.
#[repr(C)]
struct Cursor {
    base: sqlite3_vtab_cursor,
    scan: Scan,
}

const _: () = assert!(offset_of!(Events, base) == 0, "SQLite takes the address of the struct for that of its part");
const _: () = assert!(offset_of!(Cursor, base) == 0, "likewise");

// SAFETY: `VTab` asks that the struct is `repr(C)` and begins with a `sqlite3_vtab`, because a pointer to it is handed to
// SQLite as a pointer to that. It is and does (asserted above); the part is never touched here but for making it.
// rusqlite allocates, lends and frees the struct; it holds an `Arc` and nothing of the connection, so it may be
// dropped at any time.
#[expect(unsafe_code, reason = "argued above")]
unsafe impl<'table> VTab<'table> for Events {
    type Aux = Arc<Source>;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        source: Option<&Arc<Source>>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Events)> {
        let source = source.ok_or_else(|| Error::ModuleError("the table has no store".to_owned()))?;
        Ok((Cow::Borrowed(DECLARATION), Events { base: sqlite3_vtab::default(), source: Arc::clone(source) }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        guarded(|| self.plan(info))
    }

    fn open(&'table mut self) -> Result<Cursor> {
        Ok(Cursor { base: sqlite3_vtab_cursor::default(), scan: Scan::new(Arc::clone(&self.source)) })
    }
}

impl Events {
    /// Says which conditions are looked up, and in which order the events come.
    fn plan(&self, info: &mut IndexInfo) -> Result<bool> {
        let (mut terms, mut checked, mut values) = (Vec::new(), Vec::new(), 0);
        let offered: Vec<_> = info.constraints().map(|one| (one.is_usable(), one.column(), one.operator())).collect();
        for (number, (is_usable, column, operator)) in offered.into_iter().enumerate() {
            let (Some(column), Some(mut op)) = (Column::numbered(column), op(&operator)) else { continue };
            // SQLite goes through the values of a list one by one, unless it is told to hand over all of them.
            if op == Op::Eq && matches!(column, Column::Type | Column::Stream) && info.is_in_constraint(number)? {
                op = Op::In;
            }
            let term = Term { column, op };
            if !is_usable {
                continue;
            }
            let collation = info.collation(number)?;
            if term.narrows(collation) {
                terms.push((number, term));
            } else if term.is_checked(collation) && !(op == Op::Eq && info.is_in_constraint(number)?) {
                // Of a list SQLite would ask for one value after the other, and all events be read for each.
                checked.push((number, term));
            }
        }
        for (number, term) in terms.iter().chain(&checked) {
            if term.op == Op::In {
                info.set_in_constraint(*number, true)?;
            }
            values += 1;
            info.constraint_usage(*number).set_argv_index(values);
        }
        let only = |numbered: Vec<(usize, Term)>| numbered.into_iter().map(|(_, term)| term).collect();
        let asked: Vec<_> =
            info.order_bys().map(|one| (Column::numbered(one.column()), one.is_order_by_desc())).collect();
        let order = plan::order(&asked);
        let plan = Plan { terms: only(terms), checked: only(checked), backward: order == Some(true) };
        info.set_order_by_consumed(order.is_some());
        let rows = plan.rows(self.source.len());
        info.set_estimated_rows(rows as i64);
        // To begin a scan costs as much as to read a few events.
        info.set_estimated_cost(rows + 5.0);
        if plan.is_one() {
            info.set_idx_flags(IndexFlags::SQLITE_INDEX_SCAN_UNIQUE);
        }
        info.set_idx_str(&plan.to_string());
        Ok(true)
    }
}

// SAFETY: `VTabCursor` asks the same of the struct with a `sqlite3_vtab_cursor`, and the same holds of it (asserted above).
#[expect(unsafe_code, reason = "argued above")]
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, plan: Option<&str>, values: &Filters<'_>) -> Result<()> {
        guarded(|| {
            let plan: Plan = plan.unwrap_or_default().parse().map_err(Error::ModuleError)?;
            let mut given = Vec::with_capacity(plan.terms.len() + plan.checked.len());
            for (number, (term, value)) in plan.terms.iter().chain(&plan.checked).zip(values.iter()).enumerate() {
                given.push(if term.op == Op::In {
                    Given::List(values.in_values(number)?.map(|value| Ok(self::given(value))).collect()?)
                } else {
                    self::given(value)
                });
            }
            let begun = self.scan.begin(&plan, &given);
            self.read(begun)
        })
    }

    fn next(&mut self) -> Result<()> {
        guarded(|| {
            let advanced = self.scan.advance();
            self.read(advanced)
        })
    }

    fn eof(&self) -> bool {
        self.scan.event().is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        guarded(|| match (self.scan.event(), Column::numbered(column)) {
            (Some(event), Some(column)) => {
                self.scan.source().value(column, &event.as_event(), |value| context.set_result(value))
            }
            _ => Ok(()),
        })
    }

    fn rowid(&self) -> Result<i64> {
        guarded(|| Ok(self.scan.event().map_or(0, |event| event.position().get().cast_signed())))
    }
}

impl Cursor {
    /// What cannot be read is kept as it is: SQLite keeps a text of it only.
    fn read(&self, read: std::result::Result<(), ReadError>) -> Result<()> {
        read.map_err(|error| {
            self.scan.source().fail(&error);
            Error::ModuleError(error.to_string())
        })
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Whatever it has left half-done belongs to a statement that ends with this error.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::ModuleError("the program has a bug, and panicked".to_owned())))
}

fn op(operator: &IndexConstraintOp) -> Option<Op> {
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some(Op::Eq),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some(Op::Gt),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(Op::Ge),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some(Op::Lt),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some(Op::Le),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB => Some(Op::Glob),
        _ => None,
    }
}

fn given(value: ValueRef<'_>) -> Given {
    match value {
        ValueRef::Null => Given::Null,
        ValueRef::Integer(number) => Given::Integer(number),
        ValueRef::Real(number) => Given::Real(number),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or(Given::Other, |text| Given::Text(text.to_owned())),
        ValueRef::Blob(_) => Given::Other,
    }
}
