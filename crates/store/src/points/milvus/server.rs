//! Calls of a Milvus server, one at a time, and what their failures mean.

use crate::address::Url;
use crate::error::{Error, Result};
use crate::retry::Fault;
use ::milvus::v2::ClientV2;
use ::milvus::v2::error::Error as Cause;
use ::milvus::v2::prelude::{ConnectConfig, LoadCollectionRequest, RetryConfig, TelemetryConfig};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Where Milvus listens unless it was told otherwise.
const PORT: u16 = 19530;
/// Where it listens if the connection is encrypted and no port is named.
const TLS_PORT: u16 = 443;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a call may take.
const SILENCE: Duration = Duration::from_secs(120);
/// How often a server that works on a call is asked whether it is still there. Servers end connections
/// that ask much more often.
const ASK: Duration = Duration::from_secs(60);

/// A database of a server.
pub(super) struct Server {
    store: String,
    client: ClientV2,
    /// Runs while a call does.
    runtime: Runtime,
}

/// Why a call failed, and what its caller may make of that.
pub(super) struct Failure {
    pub(super) case: Case,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// There is no such collection, alias or index.
    Missing,
    /// There is one already.
    Taken,
    /// The collection is not in the server's memory, where it can be read.
    Released,
    /// The answer is longer than the client takes.
    TooLong,
    Other,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        failure.fault
    }
}

impl Server {
    /// # Errors
    ///
    /// If the address is malformed, or the server does not answer, or refuses user or password.
    pub(super) fn connect(url: &Url) -> Result<Self> {
        let (store, parts) = (url.to_string(), url.parts()?);
        if parts.host.is_empty() {
            return Err(url.refused("it names no host"));
        }
        let unreachable = |reason| Error::Unreachable { store: url.to_string(), reason };
        let place = parts.place(if parts.tls { TLS_PORT } else { PORT });
        greet(&place).map_err(|error| unreachable(format!("{place}: {error}")))?;
        // Tries are repeated by us, and the server is sent no figures of what was called how often.
        let config = ConnectConfig::new()
            .uri(parts.base(PORT))
            .database(parts.path)
            .connect_timeout(CONNECT)
            .keepalive_time(ASK)
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
            Err(error) => Err(match failure(&store, "connect", error).fault {
                Fault::Lasting(error) => error,
                Fault::Passing(reason) => unreachable(reason),
            }),
        }
    }

    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// What the server answers; `what` says to people what it was asked.
    pub(super) fn call<T>(
        &self,
        what: &str,
        work: impl AsyncFnOnce(&ClientV2) -> Result<T, Cause>,
    ) -> Result<T, Failure> {
        let timed = async { tokio::time::timeout(SILENCE, work(&self.client)).await };
        let error = match self.runtime.block_on(timed) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => Cause::Timeout(format!("no answer in {} s", SILENCE.as_secs())),
        };
        Err(failure(&self.store, what, error))
    }

    /// As [`Self::call`], of a table's content; `None` if there is no such table. One that is not in the
    /// server's memory, because it was started again, is loaded.
    pub(super) fn read<T>(
        &self,
        what: &str,
        table: &str,
        work: impl AsyncFn(&ClientV2) -> Result<T, Cause>,
    ) -> Result<Option<T>, Failure> {
        let what = format!("{what} {table}");
        there(match self.call(&what, &work) {
            Err(Failure { case: Case::Released, .. }) => {
                self.load(table).and_then(|()| self.call(&what, &work))
            }
            answer => answer,
        })
    }

    /// Has a table in the server's memory.
    pub(super) fn load(&self, table: &str) -> Result<(), Failure> {
        let request = LoadCollectionRequest::builder().collection_name(table);
        self.call(&format!("load {table}"), async |client| {
            client.load_collection(request.build()?).await
        })
    }
}

/// Whether somebody listens: the client would go on asking for one that does not.
fn greet(place: &str) -> io::Result<()> {
    let mut failed = io::ErrorKind::NotFound.into();
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => return Ok(()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// `None` for what is not there.
pub(super) fn there<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(Failure { case: Case::Missing, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

/// What kind of failure a number stands for.
enum Sort {
    Passing,
    Refused,
    Lasting(Case),
}

/// Of gRPC: <https://grpc.io/docs/guides/status-codes>.
fn of_grpc(code: i32) -> Sort {
    match code {
        // Cancelled, unknown, out of time, aborted, internal, unavailable.
        1 | 2 | 4 | 10 | 13 | 14 => Sort::Passing,
        // No permission, no login.
        7 | 16 => Sort::Refused,
        // Out of range.
        11 => Sort::Lasting(Case::TooLong),
        _ => Sort::Lasting(Case::Other),
    }
}

/// Of Milvus: `pkg/util/merr/errors.go` there, and of milvus-lite, which has some older ones.
fn of_milvus(code: i32) -> Sort {
    match code {
        // Not ready, unavailable, too many requests, internal, too fast, too few resources.
        1 | 2 | 4 | 5 | 8 | 12 => Sort::Passing,
        // Not yet loaded, recovering; no channel; nodes that come and go.
        103 | 106 | 202 | 503 | 901..=906 => Sort::Passing,
        1400 | 1401 => Sort::Refused,
        35 => Sort::Lasting(Case::Taken),
        100 | 700 | 1600 => Sort::Lasting(Case::Missing),
        101 => Sort::Lasting(Case::Released),
        _ => Sort::Lasting(Case::Other),
    }
}

fn failure(store: &str, what: &str, error: Cause) -> Failure {
    let error = match error {
        Cause::RetryExhausted { source, .. } => *source,
        other => other,
    };
    let sort = match &error {
        Cause::Grpc(status) => of_grpc(status.code() as i32),
        Cause::Server(error) => of_milvus(error.code()),
        Cause::Timeout(_) | Cause::Cancelled(_) => Sort::Passing,
        _ => Sort::Lasting(Case::Other),
    };
    let (store, reason) = (store.to_owned(), format!("{what}: {error}"));
    let (case, fault) = match sort {
        Sort::Passing => (Case::Other, Fault::Passing(reason)),
        Sort::Refused => (Case::Other, Error::Refused { store, reason }.into()),
        Sort::Lasting(case) => (case, Error::Server { store, reason }.into()),
    };
    Failure { case, fault }
}
