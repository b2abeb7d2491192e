//! The file of a ledger: its tables, its version, and files that are not one.

use crate::error::{Error, Result};
use kokeshi_store::backend::{check_store, harden, is_store, open_for_reading};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long a call waits for another process to finish writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS migrations (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    -- Everything that decides the vectors of both sides, as it was when the migration began.
    fingerprint TEXT NOT NULL,
    -- The last path of the current pass; NULL between passes.
    after TEXT,
    passes INTEGER NOT NULL DEFAULT 0,
    documents INTEGER NOT NULL DEFAULT 0,
    chunks INTEGER NOT NULL DEFAULT 0,
    tokens INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    -- The state of both collections when they were verified.
    verified TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS migration_failures (
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (name, path)
) WITHOUT ROWID;
-- Chunks that were written, or were about to be, where documents have no times.
CREATE TABLE IF NOT EXISTS migration_written (
    name TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (name, hash)
) WITHOUT ROWID;
-- The version of these tables; a ledger without this table has version 1.
CREATE TABLE IF NOT EXISTS migration_ledger (version INTEGER NOT NULL);
";

/// The version of the tables that this program writes.
const VERSION: i64 = 2;

/// Opens the ledger in the SQLite file at `path`, and creates what it lacks.
///
/// # Errors
///
/// If the file is another program's or a newer version's, or SQLite fails.
pub(crate) fn open(path: &Path) -> Result<Connection> {
    if path.exists() && !path.is_file() {
        return Err(Error::NotALedger { path: path.to_owned() });
    }
    let fail = |source| Error::Ledger { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    harden(&connection).and_then(|()| connection.busy_timeout(BUSY_TIMEOUT)).map_err(fail)?;
    check(path, &connection)?;
    create_tables(&connection).map_err(fail)?;
    Ok(connection)
}

/// Opens the ledger in the SQLite file at `path` for reading; `None` if there is none.
///
/// # Errors
///
/// As [`open`].
pub(crate) fn read(path: &Path) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    if !path.is_file() {
        return Err(Error::NotALedger { path: path.to_owned() });
    }
    let fail = |source| Error::Ledger { path: path.to_owned(), source };
    let connection = open_for_reading(path).map_err(fail)?;
    check(path, &connection)?;
    let is_ledger = has_table(&connection, "migrations").map_err(fail)?;
    Ok(Some(connection).filter(|_| is_ledger))
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.prepare(sql)?.exists([name])
}

/// Whether its migrations have records; those of version 1 have none.
pub(crate) fn has_records(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM pragma_table_info('migrations') WHERE name = 'record'";
    connection.prepare(sql)?.exists([])
}

/// Refuses files that neither this program nor an earlier version has written.
fn check(path: &Path, connection: &Connection) -> Result<()> {
    let fail = |source| Error::Ledger { path: path.to_owned(), source };
    let id: i64 =
        connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(fail)?;
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let objects: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(fail)?;
    let is_ours = is_store(id);
    if is_ours {
        check_store(path, connection)?;
    }
    if objects > 0 && !is_ours && !has_table(connection, "migration_failures").map_err(fail)? {
        return Err(Error::NotALedger { path: path.to_owned() });
    }
    if !has_table(connection, "migration_ledger").map_err(fail)? {
        return Ok(());
    }
    let sql = "SELECT max(version) FROM migration_ledger";
    let found: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).map_err(fail)?;
    match found {
        Some(found) if found > VERSION => {
            Err(Error::NewerLedger { path: path.to_owned(), found, supported: VERSION })
        }
        _ => Ok(()),
    }
}

/// Creates or completes the tables in one step: a killed process must not leave some of them, which
/// would be taken for another program's.
fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    let is_complete = || connection.prepare("SELECT 1 FROM migration_ledger")?.exists([]);
    if has_table(connection, "migration_ledger")? && is_complete()? {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    if !has_records(&transaction)? {
        // What the steps of a migration may touch, as JSON.
        transaction.execute_batch("ALTER TABLE migrations ADD COLUMN record TEXT")?;
    }
    let sql = "INSERT INTO migration_ledger (version) SELECT ?1 \
               WHERE NOT EXISTS (SELECT 1 FROM migration_ledger WHERE version >= ?1)";
    transaction.execute(sql, [VERSION])?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_created_in_one_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new.plan.ledger");
        drop(open(&path).expect("a ledger"));
        drop(open(&path).expect("the same one"));
        let file = std::fs::read(&path).expect("a file");
        // SQLite counts the transactions that changed a file in its header.
        assert_eq!(file[24..28], 1_u32.to_be_bytes());
    }
}
