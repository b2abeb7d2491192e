//! A connection that is renewed when it is lost.

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

    /// The error of an address that does not fit the database.
    pub(super) fn invalid(&self, reason: &str) -> Error {
        self.url.invalid(reason)
    }

    /// The permanent error for a message of the server.
    pub(super) fn error(&self, error: &postgres::Error) -> Error {
        connect::error(&self.url, error)
    }

    /// Runs `work` in one transaction, and again if the connection is lost. A reader sees one state
    /// of the database from beginning to end.
    fn run<T>(
        &self,
        is_read_only: bool,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, CallError>,
    ) -> Result<T> {
        with_retries(&self.address(), || {
            let mut slot = self.client.borrow_mut();
            let client = connect::open_client(&self.url, &mut slot)?;
            let fail = |error| connect::fault(&self.url, &error);
            let level = if is_read_only {
                IsolationLevel::RepeatableRead
            } else {
                IsolationLevel::ReadCommitted
            };
            let begun =
                client.build_transaction().isolation_level(level).read_only(is_read_only).start();
            let mut transaction = begun.map_err(fail)?;
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

    /// The error for a message of the server: transient if a retry may succeed.
    pub(super) fn fail(&self) -> impl Fn(::postgres::Error) -> CallError + Copy + '_ {
        |error| connect::fault(&self.url, &error)
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
