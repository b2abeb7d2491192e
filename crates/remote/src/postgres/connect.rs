//! Connecting, and the classification of errors.

use super::queries::Queries as _;
use super::tls::Tls;
use crate::retry::{CallError, with_retries};
use kokeshi_store::{Error, Result, Url};
use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use std::error::Error as _;
use std::time::Duration;

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which an unresponsive server is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The first version of pgvector whose index finds all results of a filtered search.
const MIN_VERSION: (u32, u32) = (0, 8);

/// Connects. Retries while the server reports that it is starting, but not if it does not answer.
///
/// # Errors
///
/// If the address is malformed, or the server does not answer, or refuses the user.
pub(super) fn connect(url: &Url) -> Result<Client> {
    with_retries(&url.to_string(), || {
        attempt(url)?.map_err(|failed| match failed.code() {
            Some(&SqlState::CANNOT_CONNECT_NOW) => CallError::Transient(message(&failed)),
            _ => error(url, &failed).into(),
        })
    })
}

/// The connection in `slot`, or a new one if it was lost.
pub(super) fn open_client<'a>(
    url: &Url,
    slot: &'a mut Option<Client>,
) -> Result<&'a mut Client, CallError> {
    match slot.take() {
        Some(client) if !client.is_closed() => Ok(slot.insert(client)),
        _ => Ok(slot.insert(attempt(url)?.map_err(|failed| call_error(url, &failed))?)),
    }
}

fn attempt(url: &Url) -> Result<Result<Client, postgres::Error>> {
    let (address, tls) = Tls::split(url.with_password());
    let mut config: Config =
        address.parse().map_err(|error: postgres::Error| url.invalid(&message(&error)))?;
    config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(IDLE_TIMEOUT);
    config.application_name("kokeshi");
    Ok(match config.get_ssl_mode() {
        SslMode::Disable => config.connect(NoTls),
        _ => config.connect(tls.connector(url)?),
    })
}

/// The error's message with its detail or cause, which the client omits.
fn message(error: &postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(database), _) => {
            let detail = database.detail().map_or_else(String::new, |detail| format!(": {detail}"));
            format!("{}{detail}", database.message())
        }
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// Whether the same call may succeed later.
fn is_transient(error: &postgres::Error) -> bool {
    let Some(code) = error.code() else {
        // The server sent no message: the connection broke or was never established.
        return error.is_closed()
            || error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
    };
    // `UNDEFINED_TABLE`: the collection was dropped between two statements.
    const CODES: [SqlState; 5] = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::UNDEFINED_TABLE,
    ];
    // 08 are connection errors; 57P, servers that are stopping or starting.
    ["08", "57P"].iter().any(|class| code.code().starts_with(class)) || CODES.contains(code)
}

/// The error of a failed call: transient if a retry may succeed.
pub(super) fn call_error(url: &Url, failed: &postgres::Error) -> CallError {
    match is_transient(failed) {
        true => CallError::Transient(message(failed)),
        false => CallError::Permanent(error(url, failed)),
    }
}

/// The permanent error of a failed call.
pub(super) fn error(url: &Url, failed: &postgres::Error) -> Error {
    let (store, mut reason) = (url.to_string(), message(failed));
    let code = failed.code().map_or("", SqlState::code);
    if code.starts_with("28") {
        return Error::LoginRefused { store, reason };
    }
    if failed.code().is_none() && reason.contains("certificate") {
        reason.push_str(
            "; name the certificate of its authority with `?sslrootcert=FILE` in the address, or \
             in the variable SSL_CERT_FILE",
        );
        return Error::Server { store, reason };
    }
    match is_transient(failed) {
        true => Error::Unreachable { store, reason },
        false => Error::Server { store, reason },
    }
}

/// The error of a database in which pgvector cannot be enabled.
pub(super) fn preparation_error(url: &Url, failed: &postgres::Error) -> Error {
    let reason = message(failed);
    let is_missing =
        failed.as_db_error().is_some_and(|error| error.message().contains("extension"));
    let is_forbidden = failed.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    match is_missing || is_forbidden {
        true => Error::NoVectorSupport { store: url.to_string(), reason },
        false => error(url, failed),
    }
}

/// Whether rows do not satisfy a constraint.
pub(super) fn is_check_violation(failed: &postgres::Error) -> bool {
    failed.code() == Some(&SqlState::CHECK_VIOLATION)
}

/// The schema of pgvector, quoted, whose version is checked.
///
/// # Errors
///
/// [`Error::NoVectorSupport`] if it is too old.
pub(super) fn vector_schema(url: &Url, client: &mut Client) -> Result<String> {
    let sql = "SELECT extversion, quote_ident(nspname) FROM pg_extension \
               JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'";
    let row = client.row_if_any(sql, &[]).map_err(|failed| error(url, &failed))?;
    let (found, schema): (String, String) =
        row.map_or_else(|| ("none".to_owned(), String::new()), |row| (row.get(0), row.get(1)));
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= MIN_VERSION {
        return Ok(schema);
    }
    let reason = format!("its version of pgvector is {found}; 0.8 or newer is required");
    Err(Error::NoVectorSupport { store: url.to_string(), reason })
}
