//! Opening the file: its schema, its version, and the lock of writers.

use super::documents;
use crate::error::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
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
/// Maximum bytes of a value: a block of vectors and the text of a document have at most 16 MiB.
const MAX_VALUE_BYTES: i32 = 128 << 20;
/// How long a transaction waits for that of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a file can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    /// Its medium or its owner does not allow changes.
    Read,
}

/// Opens or creates the file at `path`, and creates the tables that it lacks.
pub(super) fn create(path: &Path) -> Result<Connection> {
    let fail = Error::sqlite(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    harden(&connection).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    check(path, &connection)?;
    configure(&connection).map_err(fail)?;
    create_tables(&connection).map_err(fail)?;
    check(path, &connection)?;
    Ok(connection)
}

/// Opens the file at `path`, which must be a store; for reading, if it cannot be changed.
pub(super) fn open(path: &Path) -> Result<(Connection, Access)> {
    let failed = |source| Error::Io { action: "read", path: path.to_owned(), source };
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let reason = "it is not a file".to_owned();
        return Err(Error::NotAStore { path: path.to_owned(), reason });
    }
    let mut magic = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let reason = "it is empty or cut off".to_owned();
            return Err(Error::NotAStore { path: path.to_owned(), reason });
        }
        read => read.map_err(failed)?,
    }
    if !is_writable(path) {
        return open_unwritable(path);
    }
    match create(path) {
        // Its folder may not allow the files that SQLite needs next to it.
        Err(Error::Sqlite { .. } | Error::ReadOnly { .. }) => open_unwritable(path),
        created => created.map(|connection| (connection, Access::Write)),
    }
}

/// Whether this process may write to the file at `path`.
fn is_writable(path: &Path) -> bool {
    OpenOptions::new().write(true).open(path).is_ok()
}

fn open_unwritable(path: &Path) -> Result<(Connection, Access)> {
    let fail = Error::sqlite(path);
    let connection = open_for_reading(path).map_err(fail)?;
    check(path, &connection)?;
    match pragma(&connection, "user_version").map_err(fail)? {
        SCHEMA => Ok((connection, Access::Read)),
        found => Err(Error::OlderSchema { path: path.to_owned(), found, supported: SCHEMA }),
    }
}

/// Another connection, for reading on another thread.
pub(super) fn reader(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    if access == Access::Read {
        return open_for_reading(path);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    harden(&connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    map_file(&connection)?;
    Ok(connection)
}

/// A connection that changes nothing, neither the file at `path` nor the folder that it is in. It
/// does not map the file, because its owner may cut it off at any time.
///
/// # Errors
///
/// If SQLite fails.
pub fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match is_log_empty(path) {
        // Without recent writes, SQLite needs none of the files that it would otherwise create
        // next to this one.
        true => {
            let uri = format!("file:{}?immutable=1", encoded(path));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
        }
        false => Connection::open_with_flags(path, flags)?,
    };
    harden(&connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Whether the write-ahead log of the file at `path` is empty or does not exist.
fn is_log_empty(path: &Path) -> bool {
    std::fs::metadata(next_to(path, "-wal")).map_or(true, |log| log.len() == 0)
}

/// A path in a URI.
fn encoded(path: &Path) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|&byte| match is_plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// Limits what a file that somebody else may have written can do: it runs no code of its own, and
/// no value is larger than any that kokeshi writes.
///
/// # Errors
///
/// If SQLite fails.
pub fn harden(connection: &Connection) -> rusqlite::Result<()> {
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(option, value)?;
    }
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)?;
    Ok(())
}

/// Whether a file with this `application_id` is a store.
pub fn is_store(application: i64) -> bool {
    application == i64::from(APPLICATION)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

/// Refuses files of other programs and of newer versions.
///
/// # Errors
///
/// [`Error::NotAStore`], [`Error::NewerSchema`], or if SQLite fails.
pub fn check(path: &Path, connection: &Connection) -> Result<()> {
    let fail = Error::sqlite(path);
    let application = pragma(connection, "application_id").map_err(fail)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = connection.query_row(count, [], |row| row.get(0)).map_err(fail)?;
    if application != APPLICATION && objects > 0 {
        let reason = "it is the SQLite file of another program".to_owned();
        return Err(Error::NotAStore { path: path.to_owned(), reason });
    }
    // Views and other virtual tables in place of our tables could run for ever.
    let odd = "SELECT name FROM sqlite_schema WHERE type IN ('view', 'trigger') \
               OR sql LIKE 'CREATE VIRTUAL %' AND name != 'words' LIMIT 1";
    let odd: Option<String> =
        connection.query_row(odd, [], |row| row.get(0)).optional().map_err(fail)?;
    if let Some(odd) = odd {
        let reason = format!("kokeshi creates no view, trigger or virtual table `{odd}`");
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
    next_to(path, ".lock")
}

/// The file next to `path` whose name ends with `suffix`.
fn next_to(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
