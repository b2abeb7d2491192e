//! Requests of engines that speak JSON over HTTP.

use crate::address::Url;
use crate::error::{Error, Result};
use crate::retry::Fault;
use serde_json::Value;
use std::fmt::Write;
use std::io::ErrorKind;
use std::time::Duration;
use ureq::http::{HeaderValue, Method, Request, StatusCode};
use ureq::{Agent, Proxy};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes of an answer, at most.
const LONGEST: u64 = 1 << 30;
/// Letters of an answer that are quoted, at most.
const QUOTED: usize = 400;

/// `name` as a part of a path.
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

/// A server.
pub(super) struct Http {
    store: String,
    base: String,
    login: Option<(&'static str, HeaderValue)>,
    agent: Agent,
}

impl Http {
    /// A client of the server at `url`, or at `port` there; connects to nothing. `login` is the header
    /// with the secret.
    pub(super) fn new(url: &Url, port: u16, login: Option<(&'static str, String)>) -> Result<Self> {
        let parts = url.parts()?;
        let base = parts.base(port);
        let whole: Result<ureq::http::Uri, _> = base.parse();
        if parts.host.is_empty() || whole.is_err() {
            return Err(url.refused("it names no host"));
        }
        let sensitive = |(name, value): (&'static str, String)| {
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| url.refused("its password has letters that no header can hold"))?;
            value.set_sensitive(true);
            Ok((name, value))
        };
        let local = ["127.", "localhost", "[::1]"].iter().any(|host| parts.host.starts_with(host));
        let agent = Agent::config_builder()
            .user_agent(concat!("kokeshi/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_resolve(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .proxy(if local { None } else { Proxy::try_from_env() })
            .build();
        let login = login.map(sensitive).transpose()?;
        Ok(Self { store: url.to_string(), base, login, agent: agent.into() })
    }

    pub(super) fn store(&self) -> &str {
        &self.store
    }

    /// What the server answers; `None` if it knows no such thing.
    pub(super) fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>, Fault> {
        let what = format!("{method} {path}");
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some((name, value)) = &self.login {
            request = request.header(*name, value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(text).map_err(|error| self.failed(&what, &error.to_string()))?;
        let mut response = self.agent.run(request).map_err(|error| self.broken(&what, &error))?;
        let status = response.status();
        let read = response.body_mut().with_config().limit(LONGEST).read_to_vec();
        let bytes = read.map_err(|error| self.broken(&what, &error))?;
        self.judge(status, &what, &bytes)
    }

    fn judge(&self, status: StatusCode, what: &str, bytes: &[u8]) -> Result<Option<Value>, Fault> {
        if status.is_success() {
            let empty = bytes.iter().all(u8::is_ascii_whitespace);
            let value = if empty { Ok(Value::Null) } else { serde_json::from_slice(bytes) };
            let value = value.map_err(|error| self.failed(what, &format!("no JSON: {error}")))?;
            return Ok(Some(value));
        }
        let quoted: String = String::from_utf8_lossy(bytes).chars().take(QUOTED).collect();
        let reason = format!("{what}: HTTP {status}: {}", quoted.trim());
        let store = self.store.clone();
        Err(match status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Refused { store, reason }.into()
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Fault::Passing(reason),
            status if status.is_server_error() => Fault::Passing(reason),
            _ => Error::Server { store, reason }.into(),
        })
    }

    fn failed(&self, what: &str, reason: &str) -> Fault {
        Error::Server { store: self.store.clone(), reason: format!("{what}: {reason}") }.into()
    }

    /// A connection that was not made or broke; a certificate that is not trusted stays so.
    fn broken(&self, what: &str, error: &ureq::Error) -> Fault {
        use ureq::Error as E;
        let reason = format!("{what}: {error}");
        match error {
            E::Io(cause) if cause.kind() == ErrorKind::InvalidData => self.failed(what, &reason),
            E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => {
                Fault::Passing(reason)
            }
            _ => self.failed(what, &error.to_string()),
        }
    }

    /// A first request, which is not repeated: nobody waits for a server that is not there.
    pub(super) fn greet(&self, path: &str) -> Result<Value> {
        match self.call(Method::GET, path, None) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Error::Unreachable {
                store: self.store.clone(),
                reason: format!("GET {path}: HTTP 404: is this another program's server?"),
            }),
            Err(Fault::Lasting(error)) => Err(error),
            Err(Fault::Passing(reason)) => {
                Err(Error::Unreachable { store: self.store.clone(), reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_place_in_a_path() {
        assert_eq!(segment("a-b_c.9~"), "a-b_c.9~");
        assert_eq!(segment("../x?y#z ü"), "..%2Fx%3Fy%23z%20%C3%BC");
    }
}
