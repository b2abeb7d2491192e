//! A connection that is reopened when it is lost.

use super::{collections, connect};
use crate::retry::{CallError, with_retries};
use kokeshi_store::{Error, Lock, Result, Url};
use postgres::{Client, IsolationLevel, Transaction};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Time limit for the answer of the connection that holds the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A database.
pub(crate) struct Session {
    url: Url,
    /// `None` after the connection was lost.
    client: RefCell<Option<Client>>,
    /// The connection that holds the writers' lock, while somebody needs that.
    lock: RefCell<Weak<Mutex<Client>>>,
}

impl Session {
    pub(super) fn new(url: &Url, client: Client) -> Self {
        Self { url: url.clone(), client: RefCell::new(Some(client)), lock: RefCell::default() }
    }

    /// Its address, without the password.
    pub(super) fn address(&self) -> String {
        self.url.to_string()
    }

    /// Takes the writers' lock, which `store` is named by in messages.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if another process holds it.
    pub(super) fn lock(&self, store: &str) -> Result<Lock> {
        let held = Arc::new(Mutex::new(self.locked_client(store)?));
        *self.lock.borrow_mut() = Arc::downgrade(&held);
        Ok(Lock::holding(held))
    }

    /// One more connection, which holds the writers' lock.
    fn locked_client(&self, store: &str) -> Result<Client> {
        let mut client = connect::connect(&self.url)?;
        match collections::lock(&mut client).map_err(|error| self.error(&error))? {
            true => Ok(client),
            false => Err(Error::Busy { store: store.to_owned() }),
        }
    }

    /// Takes the lock again if the server has ended the connection that held it.
    fn keep_lock(&self) -> Result<()> {
        let Some(held) = self.lock.borrow().upgrade() else { return Ok(()) };
        let mut client = held.lock().unwrap_or_else(PoisonError::into_inner);
        if client.is_valid(LOCK_PATIENCE).is_err() {
            *client = self.locked_client(&self.address())?;
        }
        Ok(())
    }

    /// The error of a foreign table that cannot be opened.
    pub(super) fn unsuitable(&self, table: &str, reason: String) -> Error {
        Error::UnsuitableTable { store: self.address(), table: table.to_owned(), reason }
    }

    /// The permanent error of a failed call.
    pub(super) fn error(&self, error: &postgres::Error) -> Error {
        connect::error(&self.url, error)
    }

    /// Runs `work` in one transaction, and again after a transient error. A reader sees the same
    /// state of the database throughout.
    fn run<T>(
        &self,
        is_read_only: bool,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, CallError>,
    ) -> Result<T> {
        with_retries(&self.address(), || {
            let mut slot = self.client.borrow_mut();
            let client = connect::open_client(&self.url, &mut slot)?;
            let fail = |error| connect::call_error(&self.url, &error);
            let level = if is_read_only {
                IsolationLevel::RepeatableRead
            } else {
                IsolationLevel::ReadCommitted
            };
            let started =
                client.build_transaction().isolation_level(level).read_only(is_read_only).start();
            let mut transaction = started.map_err(fail)?;
            let value = work(&mut transaction)?;
            transaction.commit().map_err(fail)?;
            Ok(value)
        })
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, CallError>,
    ) -> Result<T> {
        self.run(true, work)
    }

    pub(super) fn write<T>(
        &self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, CallError>,
    ) -> Result<T> {
        self.keep_lock()?;
        self.run(false, work)
    }

    /// Turns the error of a failed call into one that is transient if a retry may succeed.
    pub(super) fn fail(&self) -> impl Fn(::postgres::Error) -> CallError + Copy + '_ {
        |error| connect::call_error(&self.url, &error)
    }

    /// Runs `work` outside of a transaction, for statements that require that.
    pub(super) fn without_transaction<T>(
        &self,
        mut work: impl FnMut(&mut Client) -> Result<T, CallError>,
    ) -> Result<T> {
        with_retries(&self.address(), || {
            let mut slot = self.client.borrow_mut();
            work(connect::open_client(&self.url, &mut slot)?)
        })
    }
}
