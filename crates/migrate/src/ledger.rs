//! The progress of each migration. A store that is an SQLite file contains the ledger in its own
//! tables; for a server, the ledger is a file next to the plan.
//!
//! Which documents are already written is read from the new collection itself; the ledger only
//! avoids comparing them again. So if a process is killed between a write and its record in the
//! ledger, nothing is written twice. Shadow copies are an exception, because foreign points have no
//! times. Their chunks are recorded before each write, and a document with a chunk that was never
//! recorded has been changed by another program.

use crate::error::{Error, Result};
use kokeshi_store::{Chunk, Document};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
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
";

/// The state of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is only a plan.
    Planned,
    /// The new collection is being filled, or is complete.
    Running,
    /// Both collections agree.
    Verified,
    /// Readers use the new collection; the old one is kept for a rollback.
    Switched,
    /// Readers are back at the old collection; the new one is complete.
    RolledBack,
    /// The old collection has been removed.
    Cleaned,
}

impl State {
    const ALL: [Self; 6] = [
        Self::Planned,
        Self::Running,
        Self::Verified,
        Self::Switched,
        Self::RolledBack,
        Self::Cleaned,
    ];

    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Verified => "verified",
            Self::Switched => "switched",
            Self::RolledBack => "rolled back",
            Self::Cleaned => "cleaned",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            // Only what was verified can be switched and rolled back.
            Self::RolledBack => "verified, rolled back",
            other => other.name(),
        })
    }
}

/// The ledger's record of a migration.
#[derive(Clone, Debug, PartialEq)]
pub struct MigrationProgress {
    /// The plan's name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// The fingerprint of the plan that it began with.
    pub fingerprint: String,
    /// The last path that the current pass has handled; `None` between passes.
    pub after: Option<String>,
    /// Number of complete passes over the old collection.
    pub passes: usize,
    /// Documents that were written.
    pub documents: usize,
    /// Their chunks.
    pub chunks: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Duration of all runs, in seconds.
    pub seconds: f64,
    /// The state of both collections when they were verified.
    pub verified: Option<String>,
}

/// A document that could not be embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDocument {
    /// Its path.
    pub path: String,
    /// The reason.
    pub reason: String,
}

/// The progress of all migrations of a store, or of one plan.
pub struct Ledger {
    path: PathBuf,
    connection: Connection,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the ledger in the SQLite file at `path`, and creates its tables if they do not exist.
    ///
    /// # Errors
    ///
    /// If SQLite fails.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |source| Error::Ledger { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
        connection.execute_batch(TABLES).map_err(fail)?;
        Ok(Self { path: path.to_owned(), connection })
    }

    fn fail(&self) -> impl Fn(rusqlite::Error) -> Error + Copy + '_ {
        |source| Error::Ledger { path: self.path.clone(), source }
    }

    /// All migrations, by name.
    ///
    /// # Errors
    ///
    /// If SQLite fails; here and below.
    pub fn all(&self) -> Result<Vec<MigrationProgress>> {
        let sql = format!("{SELECT} ORDER BY name");
        let mut statement = self.connection.prepare(&sql).map_err(self.fail())?;
        let rows = statement.query_map([], progress).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.fail())
    }

    /// The migration called `name`, if it has begun.
    pub fn find(&self, name: &str) -> Result<Option<MigrationProgress>> {
        let sql = format!("{SELECT} WHERE name = ?1");
        self.connection.query_row(&sql, [name], progress).optional().map_err(self.fail())
    }

    /// Records a migration unless it has begun, and returns its progress.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if it has begun with another fingerprint.
    pub fn begin(&self, name: &str, fingerprint: &str) -> Result<MigrationProgress> {
        let sql = "INSERT OR IGNORE INTO migrations (name, state, fingerprint) VALUES (?1, ?2, ?3)";
        let values = params![name, State::Planned.name(), fingerprint];
        self.connection.execute(sql, values).map_err(self.fail())?;
        let found = self.find(name)?.filter(|found| found.fingerprint == fingerprint);
        found.ok_or_else(|| Error::Changed {
            name: name.to_owned(),
            difference:
                "its plan names other models or options than before; undo the edit, or give \
                 the plan another `name` and another collection to write to"
                    .to_owned(),
        })
    }

    /// Removes a migration from the ledger.
    pub fn forget(&self, name: &str) -> Result<()> {
        let sql = "DELETE FROM migrations WHERE name = ?1";
        self.connection.execute(sql, [name]).map(drop).map_err(self.fail())
    }

    /// Sets the state.
    pub fn set_state(&self, name: &str, state: State) -> Result<()> {
        let sql = "UPDATE migrations SET state = ?2 WHERE name = ?1";
        self.connection.execute(sql, [name, state.name()]).map(drop).map_err(self.fail())
    }

    /// Records that both collections agree, in the state `verified`.
    pub fn set_verified(&self, name: &str, verified: &str) -> Result<()> {
        let sql = "UPDATE migrations SET state = ?2, verified = ?3 WHERE name = ?1";
        let values = [name, State::Verified.name(), verified];
        self.connection.execute(sql, values).map(drop).map_err(self.fail())
    }

    /// Adds a batch that has been written, up to the path `after`.
    pub(crate) fn advance(&self, name: &str, after: &str, batch: &BatchTotals) -> Result<()> {
        let sql = "UPDATE migrations SET after = ?2, documents = documents + ?3, \
                   chunks = chunks + ?4, tokens = tokens + ?5, seconds = seconds + ?6 WHERE name = ?1";
        let values =
            params![name, after, batch.documents, batch.chunks, batch.tokens, batch.seconds];
        self.connection.execute(sql, values).map(drop).map_err(self.fail())
    }

    /// Records the end of a pass.
    pub(crate) fn end_pass(&self, name: &str) -> Result<()> {
        let sql = "UPDATE migrations SET after = NULL, passes = passes + 1 WHERE name = ?1";
        self.connection.execute(sql, [name]).map(drop).map_err(self.fail())
    }

    /// Records a document that could not be embedded.
    pub(crate) fn add_failure(&self, name: &str, path: &str, reason: &str) -> Result<()> {
        let sql = "INSERT INTO migration_failures (name, path, reason) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (name, path) DO UPDATE SET reason = ?3";
        self.connection.execute(sql, [name, path, reason]).map(drop).map_err(self.fail())
    }

    /// Removes the failures before documents are tried again.
    pub(crate) fn clear_failures(&self, name: &str) -> Result<()> {
        let sql = "DELETE FROM migration_failures WHERE name = ?1";
        self.connection.execute(sql, [name]).map(drop).map_err(self.fail())
    }

    /// Records the chunks of documents that are about to be written.
    pub(crate) fn add_written(&self, name: &str, documents: &[Document]) -> Result<()> {
        let transaction = self.connection.unchecked_transaction().map_err(self.fail())?;
        let sql = "INSERT OR IGNORE INTO migration_written (name, hash) VALUES (?1, ?2)";
        for chunk in documents.iter().flat_map(|document| &document.chunks) {
            let mut statement = transaction.prepare_cached(sql).map_err(self.fail())?;
            statement.execute(params![name, hash(chunk)]).map_err(self.fail())?;
        }
        transaction.commit().map_err(self.fail())
    }

    /// Whether all chunks of a document are recorded as written.
    pub(crate) fn has_written(&self, name: &str, document: &Document) -> Result<bool> {
        let sql = "SELECT 1 FROM migration_written WHERE name = ?1 AND hash = ?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(self.fail())?;
        for chunk in &document.chunks {
            if !statement.exists(params![name, hash(chunk)]).map_err(self.fail())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the chunks that [`Self::add_written`] recorded.
    pub(crate) fn clear_written(&self, name: &str) -> Result<()> {
        let sql = "DELETE FROM migration_written WHERE name = ?1";
        self.connection.execute(sql, [name]).map(drop).map_err(self.fail())
    }

    /// Documents that could not be embedded, by path.
    pub fn failures(&self, name: &str) -> Result<Vec<FailedDocument>> {
        let sql = "SELECT path, reason FROM migration_failures WHERE name = ?1 ORDER BY path";
        let mut statement = self.connection.prepare(sql).map_err(self.fail())?;
        let rows = statement
            .query_map([name], |row| Ok(FailedDocument { path: row.get(0)?, reason: row.get(1)? }))
            .map_err(self.fail())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.fail())
    }
}

const SELECT: &str = "SELECT name, state, fingerprint, after, passes, documents, chunks, tokens, \
                      seconds, verified FROM migrations";

fn progress(row: &Row<'_>) -> rusqlite::Result<MigrationProgress> {
    let state: String = row.get(1)?;
    let known = State::ALL.into_iter().find(|known| known.name() == state);
    Ok(MigrationProgress {
        name: row.get(0)?,
        state: known.ok_or(rusqlite::Error::InvalidQuery)?,
        fingerprint: row.get(2)?,
        after: row.get(3)?,
        passes: row.get(4)?,
        documents: row.get(5)?,
        chunks: row.get(6)?,
        tokens: row.get(7)?,
        seconds: row.get(8)?,
        verified: row.get(9)?,
    })
}

/// The hash of a chunk's text and metadata, which stores return in a fixed order.
fn hash(chunk: &Chunk) -> [u8; 32] {
    let metadata = Value::Object(chunk.metadata.clone());
    Sha256::digest(format!("{}:{}{metadata}", chunk.text.len(), chunk.text)).into()
}

/// The totals of a batch that was written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchTotals {
    pub(crate) documents: usize,
    pub(crate) chunks: usize,
    pub(crate) tokens: usize,
    pub(crate) seconds: f64,
}
