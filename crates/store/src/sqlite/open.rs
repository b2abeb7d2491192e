//! Opening the file: its schema, its version, and the lock of writers.

use super::documents;
use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Leads from a version of the schema to the next.
type Upgrade = fn(&Connection) -> rusqlite::Result<()>;

/// The upgrades from each version of the schema, beginning with an empty file.
const UPGRADES: [Upgrade; 3] = [
    |connection| connection.execute_batch(include_str!("schema.sql")),
    |connection| connection.execute_batch(include_str!("ann.sql")),
    // Words are folded. The tables are the same.
    documents::update_words,
];
/// The schema that this version writes.
const SCHEMA: i32 = UPGRADES.len() as i32;
/// `koke` in ASCII. It is in the file's header, by which `file` and SQLite tools recognize stores.
const APPLICATION: i32 = 0x6b6f_6b65;
/// The version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a transaction waits for that of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens or creates the file at `path`, and creates the tables that it lacks.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let fail = Error::sqlite(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    check(path, &connection)?;
    configure(&connection).map_err(fail)?;
    create_tables(&connection).map_err(fail)?;
    check(path, &connection)?;
    Ok(connection)
}

/// Another connection, for reading on another thread.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    map_file(&connection)?;
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

/// Refuses files of other programs and of newer versions.
fn check(path: &Path, connection: &Connection) -> Result<()> {
    let fail = Error::sqlite(path);
    let application = pragma(connection, "application_id").map_err(fail)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = connection.query_row(count, [], |row| row.get(0)).map_err(fail)?;
    if application != APPLICATION && objects > 0 {
        let reason = "it is the SQLite file of another program".to_owned();
        return Err(Error::NotAStore { path: path.to_owned(), reason });
    }
    let found = pragma(connection, "user_version").map_err(fail)?;
    if found <= SCHEMA {
        return Ok(());
    }
    let version = "SELECT value FROM meta WHERE key = 'version'";
    let version = connection.query_row(version, [], |row| row.get(0)).optional();
    Err(Error::NewerSchema {
        path: path.to_owned(),
        found,
        version: version.ok().flatten().unwrap_or_else(|| "(unknown version)".to_owned()),
        current: VERSION,
        supported: SCHEMA,
    })
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Pages of 16 KiB halve the time to read vectors, compared with the default of 4 KiB. SQLite
    // ignores uncommitted parts of the log, so a killed process loses at most its last transaction.
    connection.execute_batch(
        "PRAGMA page_size = 16384;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA foreign_keys = ON;",
    )?;
    map_file(connection)
}

/// Reads pages from the system's cache without copying them.
fn map_file(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA mmap_size = 1099511627776")
}

fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    if pragma(connection, "user_version")? == SCHEMA {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // Another process may have created them while this one waited.
    let found = pragma(connection, "user_version")?;
    if found < SCHEMA {
        for upgrade in &UPGRADES[found.max(0) as usize..] {
            upgrade(connection)?;
        }
        let meta = "INSERT OR REPLACE INTO meta (key, value) VALUES ('version', ?1)";
        connection.execute(meta, [VERSION])?;
        connection.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};"
        ))?;
    }
    transaction.commit()
}

/// Locks the store or folder at `path`, by a lock file next to it.
///
/// # Errors
///
/// [`Error::Busy`] if another process holds the lock.
pub(super) fn lock(path: &Path) -> Result<File> {
    let lock = lock_path(path);
    let failed = |source| Error::Io { action: "lock", path: lock.clone(), source };
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(false).open(&lock).map_err(failed)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Busy { store: path.display().to_string() }),
        // Some network file systems lack locks; SQLite's own transactions still protect the file.
        Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => Err(failed(e)),
        _ => Ok(file),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}
