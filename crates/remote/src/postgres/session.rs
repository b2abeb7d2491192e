//! A connection that is reopened when it is lost.

use super::connect;
use crate::retry::{CallError, with_retries};
use kokeshi_store::{Error, Result, Url};
use postgres::{Client, IsolationLevel, Transaction};
use std::cell::RefCell;

/// A database.
pub(crate) struct Session {
    url: Url,
    /// `None` after the connection was lost.
    client: RefCell<Option<Client>>,
}

impl Session {
    pub(super) fn new(url: &Url, client: Client) -> Self {
        Self { url: url.clone(), client: RefCell::new(Some(client)) }
    }

    /// Its address, without the password.
    pub(super) fn address(&self) -> String {
        self.url.to_string()
    }

    /// One more connection.
    pub(super) fn connect(&self) -> Result<Client> {
        connect::connect(&self.url)
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
