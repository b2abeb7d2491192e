//! The progress of each migration. A store that is an SQLite file contains the ledger in its own
//! tables; for a server, the ledger is a file next to the plan.
//!
//! Which documents are already written is read from the new collection itself; the ledger only
//! avoids comparing them again. So if a process is killed between a write and its record in the
//! ledger, nothing is written twice. Shadow copies are an exception, because foreign points have no
//! times. Their chunks are recorded before each write, and a document with a chunk that was never
//! recorded has been changed by another program.

use crate::error::{Error, Result};
use crate::ledger_file;
use crate::plan::Plan;
use kokeshi_store::{Chunk, Document};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};

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
    /// What its steps may touch; `None` if an earlier version of the program began it.
    pub record: Option<MigrationRecord>,
}

/// What a run recorded: the plan that it followed, and the collections that it found and created.
/// Later steps touch these collections and no others, whatever the plan says by then.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct MigrationRecord {
    /// The plan, as JSON.
    pub plan: Value,
    /// The id of the old collection ([`Collection::id`](kokeshi_store::Collection::id)); `None` if
    /// it is in another store.
    pub old: Option<String>,
    /// The id of the new collection.
    pub new: String,
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
    /// [`Error::NotALedger`] if the file is another program's, [`Error::NewerLedger`] if a newer
    /// version wrote it, or if SQLite fails.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), connection: ledger_file::open(path)? })
    }

    /// Opens the ledger in the SQLite file at `path` for reading, and changes nothing; `None` if
    /// there is no file, or no ledger in it.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let connection = ledger_file::read(path)?;
        Ok(connection.map(|connection| Self { path: path.to_owned(), connection }))
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
        let sql = format!("{} ORDER BY name", self.select()?);
        let mut statement = self.connection.prepare(&sql).map_err(self.fail())?;
        let rows = statement.query_map([], progress).map_err(self.fail())?;
        rows.collect::<rusqlite::Result<_>>().map_err(self.fail())
    }

    /// The migration called `name`, if it has begun.
    pub fn find(&self, name: &str) -> Result<Option<MigrationProgress>> {
        let sql = format!("{} WHERE name = ?1", self.select()?);
        self.connection.query_row(&sql, [name], progress).optional().map_err(self.fail())
    }

    /// The query of all migrations. A ledger of version 1 that is only read has no records.
    fn select(&self) -> Result<String> {
        let has_records = ledger_file::has_records(&self.connection).map_err(self.fail())?;
        let record = if has_records { "record" } else { "NULL" };
        Ok(format!("{SELECT}, {record} FROM migrations"))
    }

    /// Records a migration unless it has begun, and returns its progress.
    ///
    /// # Errors
    ///
    /// [`Error::Edited`] if it has begun with another plan.
    pub fn begin(&self, plan: &Plan) -> Result<MigrationProgress> {
        let (name, fingerprint) = (&plan.name, plan.fingerprint());
        let sql = "INSERT OR IGNORE INTO migrations (name, state, fingerprint) VALUES (?1, ?2, ?3)";
        let values = params![name, State::Planned.name(), fingerprint];
        self.connection.execute(sql, values).map_err(self.fail())?;
        let found = self.find(name)?.ok_or_else(|| Error::Ledger {
            path: self.path.clone(),
            source: rusqlite::Error::QueryReturnedNoRows,
        })?;
        plan.check_unedited(&found)?;
        Ok(found)
    }

    /// Records what later steps may touch.
    pub(crate) fn set_record(&self, name: &str, record: &MigrationRecord) -> Result<()> {
        let record = serde_json::to_string(record).unwrap_or_default();
        let sql = "UPDATE migrations SET record = ?2 WHERE name = ?1";
        self.connection.execute(sql, [name, &record]).map(drop).map_err(self.fail())
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
                      seconds, verified";

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
        record: row.get::<_, Option<String>>(10)?.and_then(|text| serde_json::from_str(&text).ok()),
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
