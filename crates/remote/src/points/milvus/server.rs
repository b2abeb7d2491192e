//! Calls of a Milvus server, one at a time, and the classification of their errors.

use crate::retry::CallError;
use ::milvus::v2::ClientV2;
use ::milvus::v2::error::Error as Cause;
use ::milvus::v2::prelude::{ConnectConfig, LoadCollectionRequest, RetryConfig, TelemetryConfig};
use kokeshi_store::{Error, Result, Url};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The default port of Milvus.
const PORT: u16 = 19530;
/// The default port of an encrypted connection.
const TLS_PORT: u16 = 443;
/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Interval of keepalives during a call. Servers close connections whose interval is much shorter.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A database of a server.
pub(super) struct Server {
    store: String,
    client: ClientV2,
    /// Runs only during calls.
    runtime: Runtime,
}

/// A failed call, with its cause for callers that handle some causes.
pub(super) struct Failure {
    pub(super) cause: FailureCause,
    error: CallError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureCause {
    /// There is no such collection, alias or index.
    Missing,
    /// It already exists.
    Taken,
    /// The collection is not loaded into the server's memory, and cannot be read.
    Released,
    /// The answer is longer than the client accepts.
    AnswerTooLong,
    Other,
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer or refuses the user or password.
    pub(super) fn connect(url: &Url) -> Result<Self> {
        let (store, parts) = (url.to_string(), url.parts()?);
        if parts.host.is_empty() {
            return Err(url.invalid("it has no host"));
        }
        let unreachable = |reason| Error::Unreachable { store: url.to_string(), reason };
        let host = parts.host_and_port(if parts.tls { TLS_PORT } else { PORT });
        check_port(&host).map_err(|error| unreachable(format!("{host}: {error}")))?;
        // Callers retry, so the client does not; and it sends no telemetry.
        let config = ConnectConfig::new()
            .uri(parts.base(PORT))
            .database(parts.path)
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalive_time(KEEPALIVE)
            .keepalive_while_idle(false)
            .retry(RetryConfig::new().max_attempts(1))
            .telemetry(TelemetryConfig::new().enabled(false));
        let config = match (parts.user, parts.password) {
            (Some(user), password) => config.username(user).password(password.unwrap_or_default()),
            (None, Some(token)) => config.token(token),
            (None, None) => config,
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        match runtime.block_on(ClientV2::new(&config)) {
            Ok(client) => Ok(Self { store, client, runtime }),
            Err(error) => Err(match failure(&store, "connect", error).error {
                CallError::Permanent(error) => error,
                CallError::Transient(reason) => unreachable(reason),
            }),
        }
    }

    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// Calls the server. `what` names the call in messages.
    pub(super) fn call<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&ClientV2) -> Result<T, Cause>,
    ) -> Result<T, Failure> {
        let timed = async { tokio::time::timeout(CALL_TIMEOUT, work(&self.client)).await };
        let error = match self.runtime.block_on(timed) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => Cause::Timeout(format!("no answer in {} s", CALL_TIMEOUT.as_secs())),
        };
        Err(failure(&self.store, what, error))
    }

    /// Calls the server for the content of a table; `None` if the table does not exist. A table
    /// that is not in the server's memory, because the server has restarted, is loaded first.
    pub(super) fn read<T>(
        &self,
        what: &str,
        table: &str,
        work: impl AsyncFn(&ClientV2) -> Result<T, Cause>,
    ) -> Result<Option<T>, Failure> {
        let what = format!("{what} {table}");
        if_exists(match self.call(&what, &work) {
            Err(Failure { cause: FailureCause::Released, .. }) => {
                self.load(table).and_then(|()| self.call(&what, &work))
            }
            answer => answer,
        })
    }

    /// Loads a table into the server's memory.
    pub(super) fn load(&self, table: &str) -> Result<(), Failure> {
        let request = LoadCollectionRequest::builder().collection_name(table);
        self.call(&format!("load {table}"), async |client| {
            client.load_collection(request.build()?).await
        })
    }
}

/// Checks that a server listens, because the client would retry without end if none does.
fn check_port(host: &str) -> io::Result<()> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The answer, or `None` if its subject does not exist.
pub(super) fn if_exists<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(Failure { cause: FailureCause::Missing, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

/// The meaning of an error code.
enum CodeMeaning {
    Transient,
    LoginRefused,
    Permanent(FailureCause),
}

/// Codes of gRPC: <https://grpc.io/docs/guides/status-codes>.
fn meaning_of_grpc(code: i32) -> CodeMeaning {
    match code {
        // Cancelled, unknown, deadline exceeded, aborted, internal, unavailable.
        1 | 2 | 4 | 10 | 13 | 14 => CodeMeaning::Transient,
        // Permission denied, unauthenticated.
        7 | 16 => CodeMeaning::LoginRefused,
        // Out of range.
        11 => CodeMeaning::Permanent(FailureCause::AnswerTooLong),
        _ => CodeMeaning::Permanent(FailureCause::Other),
    }
}

/// Codes of Milvus, in its `pkg/util/merr/errors.go`, and the older ones of milvus-lite.
fn meaning_of_milvus(code: i32) -> CodeMeaning {
    match code {
        // Not ready, unavailable, too many requests, internal, rate limit, too few resources.
        1 | 2 | 4 | 5 | 8 | 12 => CodeMeaning::Transient,
        // Not yet loaded, recovering, no channel, nodes that change.
        103 | 106 | 202 | 503 | 901..=906 => CodeMeaning::Transient,
        1400 | 1401 => CodeMeaning::LoginRefused,
        35 => CodeMeaning::Permanent(FailureCause::Taken),
        100 | 700 | 1600 => CodeMeaning::Permanent(FailureCause::Missing),
        101 => CodeMeaning::Permanent(FailureCause::Released),
        _ => CodeMeaning::Permanent(FailureCause::Other),
    }
}

fn failure(store: &str, what: &str, error: Cause) -> Failure {
    let error = match error {
        Cause::RetryExhausted { source, .. } => *source,
        other => other,
    };
    let meaning = match &error {
        Cause::Grpc(status) => meaning_of_grpc(status.code() as i32),
        Cause::Server(error) => meaning_of_milvus(error.code()),
        Cause::Timeout(_) | Cause::Cancelled(_) => CodeMeaning::Transient,
        _ => CodeMeaning::Permanent(FailureCause::Other),
    };
    let (store, reason) = (store.to_owned(), format!("{what}: {error}"));
    let (cause, error) = match meaning {
        CodeMeaning::Transient => (FailureCause::Other, CallError::Transient(reason)),
        CodeMeaning::LoginRefused => {
            (FailureCause::Other, Error::LoginRefused { store, reason }.into())
        }
        CodeMeaning::Permanent(cause) => (cause, Error::Server { store, reason }.into()),
    };
    Failure { cause, error }
}
