//! Requests to engines with JSON over HTTP.

use crate::retry::CallError;
use kokeshi_store::{Error, Result, Url};
use serde_json::Value;
use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;
use ureq::http::{HeaderValue, Method, Request, StatusCode};
use ureq::{Agent, Proxy};

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for the answer to the first request.
const GREET_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for each read or write.
const IO_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum size of an answer, in bytes.
const MAX_ANSWER: u64 = 1 << 30;
/// Maximum number of characters of an answer that a message quotes.
const MAX_QUOTED: usize = 400;

/// `name` as a segment of a path.
pub(super) fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' => segment.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => segment.push(char::from(byte)),
            // Writing to a string cannot fail.
            byte => drop(write!(segment, "%{byte:02X}")),
        }
    }
    segment
}

/// A server with an HTTP API.
pub(super) struct Http {
    store: String,
    base: String,
    login: Option<(&'static str, HeaderValue)>,
    agent: Agent,
}

impl Http {
    /// A client of the server at `url`, by default on `port`. It does not connect yet. `login` is
    /// the header with the secret.
    pub(super) fn new(url: &Url, port: u16, login: Option<(&'static str, String)>) -> Result<Self> {
        let parts = url.parts()?;
        let base = parts.base(port);
        let uri: Result<ureq::http::Uri, _> = base.parse();
        if parts.host.is_empty() || uri.is_err() {
            return Err(url.invalid("it has no host"));
        }
        let sensitive = |(name, value): (&'static str, String)| {
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                url.invalid("its password has characters that an HTTP header cannot contain")
            })?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        let is_local =
            ["127.", "localhost", "[::1]"].iter().any(|host| parts.host.starts_with(host));
        let agent = Agent::config_builder()
            .user_agent(concat!("kokeshi/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(IO_TIMEOUT))
            .timeout_per_write(Some(IO_TIMEOUT))
            .proxy(if is_local { None } else { Proxy::try_from_env() })
            .build();
        let login = login.map(sensitive).transpose()?;
        Ok(Self { store: url.to_string(), base, login, agent: agent.into() })
    }

    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// Calls the server; `None` for an answer with status 404.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, CallError> {
        self.call_within(None, method, path, body)
    }

    /// Calls the server, which must answer within `limit`.
    fn call_within(
        &self,
        limit: Option<Duration>,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, CallError> {
        let what = format!("{method} {path}");
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some((name, value)) = &self.login {
            request = request.header(*name, value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request =
            request.body(text).map_err(|error| self.failure(&what, &error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(limit).build();
        let mut response =
            self.agent.run(request).map_err(|error| self.transport_error(&what, &error))?;
        let status = response.status();
        let read = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let bytes = read.map_err(|error| self.transport_error(&what, &error))?;
        self.interpret(status, &what, &bytes)
    }

    fn interpret(
        &self,
        status: StatusCode,
        what: &str,
        bytes: &[u8],
    ) -> Result<Option<Value>, CallError> {
        if status.is_success() {
            let is_empty = bytes.iter().all(u8::is_ascii_whitespace);
            let value = if is_empty { Ok(Value::Null) } else { serde_json::from_slice(bytes) };
            let value = value.map_err(|error| self.failure(what, &format!("not JSON: {error}")))?;
            return Ok(Some(value));
        }
        let quoted: String = String::from_utf8_lossy(bytes).chars().take(MAX_QUOTED).collect();
        let reason = format!("{what}: HTTP {status}: {}", quoted.trim());
        let store = self.store.clone();
        Err(match status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::LoginRefused { store, reason }.into()
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                CallError::Transient(reason)
            }
            status if status.is_server_error() => CallError::Transient(reason),
            _ => Error::Server { store, reason }.into(),
        })
    }

    fn failure(&self, what: &str, reason: &str) -> CallError {
        Error::Server { store: self.store.clone(), reason: format!("{what}: {reason}") }.into()
    }

    /// The error of a connection that failed or broke. An untrusted certificate is permanent.
    fn transport_error(&self, what: &str, error: &ureq::Error) -> CallError {
        use ureq::Error as E;
        let reason = format!("{what}: {error}");
        match error {
            E::Io(cause) if cause.kind() == ErrorKind::InvalidData => self.failure(what, &reason),
            E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => {
                CallError::Transient(reason)
            }
            _ => self.failure(what, &error.to_string()),
        }
    }

    /// Makes a first request, which is not retried: there is no point in waiting for a server that
    /// does not exist.
    pub(super) fn greet(&self, path: &str) -> Result<Value> {
        match self.call_within(Some(GREET_TIMEOUT), Method::GET, path, None) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Error::Unreachable {
                store: self.store.clone(),
                reason: format!("GET {path}: HTTP 404: is this another program's server?"),
            }),
            Err(CallError::Permanent(error)) => Err(error),
            Err(CallError::Transient(reason)) => {
                Err(Error::Unreachable { store: self.store.clone(), reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leaves_its_segment_of_a_path() {
        assert_eq!(segment("a-b_c.9~"), "a-b_c.9~");
        assert_eq!(segment("../x?y#z ü"), "..%2Fx%3Fy%23z%20%C3%BC");
    }
}
