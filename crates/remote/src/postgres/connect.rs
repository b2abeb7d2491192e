//! Connecting, and what failures mean.

use crate::retry::{CallError, with_retries};
use kokeshi_store::{Error, Result, Url};
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use std::error::Error as _;
use std::time::Duration;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server that has vanished is waited for.
const SILENCE: Duration = Duration::from_secs(60);
/// The first version that finds all of a filtered search by its index.
const VERSION: (u32, u32) = (0, 8);

/// A server that says that it starts is waited for, and none that says nothing.
///
/// # Errors
///
/// If the address is malformed, or the server does not answer, or refuses the user.
pub(super) fn connect(url: &Url) -> Result<Client> {
    with_retries(&url.to_string(), |_| {
        attempt(url)?.map_err(|failed| match failed.code() {
            Some(&SqlState::CANNOT_CONNECT_NOW) => CallError::Transient(told(&failed)),
            _ => error(url, &failed).into(),
        })
    })
}

/// The connection in `slot`, or a new one if it was lost.
pub(super) fn living<'a>(
    url: &Url,
    slot: &'a mut Option<Client>,
) -> Result<&'a mut Client, CallError> {
    match slot.take() {
        Some(client) if !client.is_closed() => Ok(slot.insert(client)),
        _ => Ok(slot.insert(attempt(url)?.map_err(|failed| fault(url, &failed))?)),
    }
}

fn attempt(url: &Url) -> Result<Result<Client, postgres::Error>> {
    let mut config: Config =
        url.with_password().parse().map_err(|error: postgres::Error| url.invalid(&told(&error)))?;
    config.connect_timeout(CONNECT).tcp_user_timeout(SILENCE);
    config.application_name("kokeshi");
    Ok(match config.get_ssl_mode() {
        SslMode::Disable => config.connect(NoTls),
        _ => config.connect(MakeRustlsConnect::with_webpki_roots()),
    })
}

/// Messages of causes, which the client leaves out.
fn told(error: &postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(database), _) => {
            let detail = database.detail().map_or_else(String::new, |detail| format!(": {detail}"));
            format!("{}{detail}", database.message())
        }
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// Whether the same call may go well in a while.
fn passes(error: &postgres::Error) -> bool {
    let Some(code) = error.code() else {
        // No word from the server: the connection broke or was never made.
        return error.is_closed()
            || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    };
    // A table that is gone: its collection was dropped between two statements.
    const CODES: [SqlState; 5] = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::UNDEFINED_TABLE,
    ];
    // Classes of connections and of servers that stop or start.
    ["08", "57P"].iter().any(|class| code.code().starts_with(class)) || CODES.contains(code)
}

pub(super) fn fault(url: &Url, failed: &postgres::Error) -> CallError {
    match passes(failed) {
        true => CallError::Transient(told(failed)),
        false => CallError::Permanent(error(url, failed)),
    }
}

pub(super) fn error(url: &Url, failed: &postgres::Error) -> Error {
    let (store, mut reason) = (url.to_string(), told(failed));
    let code = failed.code().map_or("", SqlState::code);
    if code.starts_with("28") {
        return Error::Refused { store, reason };
    }
    if failed.code().is_none() && reason.contains("certificate") {
        reason.push_str("; `?sslmode=disable` connects without encryption");
        return Error::Server { store, reason };
    }
    match passes(failed) {
        true => Error::Unreachable { store, reason },
        false => Error::Server { store, reason },
    }
}

/// The error of a database in which vectors cannot be made possible.
pub(super) fn unprepared(url: &Url, failed: &postgres::Error) -> Error {
    let reason = told(failed);
    let lacks = failed.as_db_error().is_some_and(|error| error.message().contains("extension"));
    let forbidden = failed.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    match lacks || forbidden {
        true => Error::Unprepared { store: url.to_string(), reason },
        false => error(url, failed),
    }
}

/// # Errors
///
/// [`Error::Unprepared`] if pgvector is too old.
pub(super) fn check_version(url: &Url, client: &mut Client) -> Result<()> {
    let sql = "SELECT extversion FROM pg_extension WHERE extname = 'vector'";
    let row = client.query_opt(sql, &[]).map_err(|failed| error(url, &failed))?;
    let found: String = row.map_or_else(|| "none".to_owned(), |row| row.get(0));
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= VERSION {
        return Ok(());
    }
    let reason = format!("its pgvector is {found}, and 0.8 is needed");
    Err(Error::Unprepared { store: url.to_string(), reason })
}
