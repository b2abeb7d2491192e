//! HTTP requests for one revision of a repository.

use super::address::{is_loopback, is_same_origin, percent_encode, redirect_target, web_address};
use super::retry::{Failure, Limits};
use crate::catalog;
use crate::config::HubConfig;
use crate::error::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, RANGE, RETRY_AFTER};
use ureq::http::uri::Uri;
use ureq::http::{HeaderValue, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

/// The hub redirects once to its storage, and once more for a renamed repository.
const MAX_REDIRECTS: usize = 5;

/// The part of a resource to request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Only the headers.
    Head,
    /// The content from this byte.
    From(u64),
}

/// A client for the files of one revision.
pub(crate) struct Remote<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) repo: &'a str,
    pub(crate) revision: &'a str,
    endpoint: &'a str,
    origin: Uri,
    authorization: Option<HeaderValue>,
    agent: Agent,
}

impl<'a> Remote<'a> {
    /// Prepares requests without connecting.
    pub(crate) fn new(
        config: &'a HubConfig,
        limits: &'a Limits,
        repo: &'a str,
        revision: &'a str,
    ) -> Result<Self> {
        let endpoint = config.endpoint.trim_end_matches('/');
        let bad_endpoint = || Error::Endpoint { endpoint: endpoint.to_owned() };
        let origin = web_address(endpoint).filter(|uri| uri.query().is_none());
        let origin = origin.ok_or_else(bad_endpoint)?;
        let authorization = config.token.as_deref().map(authorization).transpose()?;
        let roots = config.certificates.as_deref().map_or(Ok(RootCerts::WebPki), read_roots)?;
        let agent = agent(limits, roots, is_loopback(&origin));
        Ok(Self { limits, repo, revision, endpoint, origin, authorization, agent })
    }

    /// Address of the file list.
    pub(crate) fn listing_url(&self) -> String {
        let revision = percent_encode(self.revision);
        format!("{}/api/models/{}/revision/{revision}?blobs=true", self.endpoint, self.repo)
    }

    /// Address of a file.
    pub(crate) fn file_url(&self, commit: &str, path: &str) -> String {
        let path: Vec<_> = path.split('/').map(percent_encode).collect();
        format!("{}/{}/resolve/{commit}/{}", self.endpoint, self.repo, path.join("/"))
    }

    /// Requests `url` from byte `offset` and follows redirects.
    ///
    /// The status of the response is 200 or, if `offset` is not 0, possibly 206 or 416.
    pub(crate) fn get(&self, url: &str, offset: u64) -> Result<Response<Body>, Failure> {
        self.request(url, Part::From(offset))
    }

    /// Requests the headers of `url` from the hub itself, not its storage: a success, or the
    /// redirect to the storage.
    pub(crate) fn head(&self, url: &str) -> Result<Response<Body>, Failure> {
        self.request(url, Part::Head)
    }

    fn request(&self, url: &str, part: Part) -> Result<Response<Body>, Failure> {
        let refused = |reason| Error::Redirect { url: url.to_owned(), reason };
        let mut target = web_address(url).ok_or_else(|| refused("it is not a web address"))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&target, part).map_err(|e| connection_failure(url, e))?;
            if !response.status().is_redirection() {
                return self.classify(response, url, self.is_hub(&target));
            }
            target = redirect_target(&target, &response).map_err(refused)?;
            if part == Part::Head && !self.is_hub(&target) {
                return Ok(response);
            }
        }
        Err(refused("there are too many redirects").into())
    }

    /// Sends one request. Only the endpoint gets the token; storage hosts use signed addresses.
    fn send(&self, target: &Uri, part: Part) -> Result<Response<Body>, ureq::Error> {
        let mut request = match part {
            Part::Head => self.agent.head(target),
            Part::From(0) => self.agent.get(target),
            Part::From(first) => self.agent.get(target).header(RANGE, format!("bytes={first}-")),
        };
        request = request.header(ACCEPT_ENCODING, "identity");
        match &self.authorization {
            Some(token) if self.is_hub(target) => request.header(AUTHORIZATION, token).call(),
            _ => request.call(),
        }
    }

    fn is_hub(&self, target: &Uri) -> bool {
        is_same_origin(&self.origin, target)
    }

    /// Classifies a final response as a success, a temporary failure or a refusal.
    fn classify(
        &self,
        response: Response<Body>,
        url: &str,
        from_hub: bool,
    ) -> Result<Response<Body>, Failure> {
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(response)
            }
            status if is_temporary(status, from_hub) => Err(Failure::Transient {
                reason: format!("the server answered HTTP {status}"),
                wait: retry_after(&response),
            }),
            status => Err(self.refusal(status, url).into()),
        }
    }

    fn refusal(&self, status: StatusCode, url: &str) -> Error {
        let repo = self.repo.to_owned();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
                page: format!("{}/{repo}", self.endpoint),
                repo,
                status: status.as_u16(),
                hint: self.hint(),
            },
            StatusCode::NOT_FOUND => {
                Error::NotFound { hint: self.hint(), repo, revision: self.revision.to_owned() }
            }
            status => Error::Status { status: status.as_u16(), url: url.to_owned() },
        }
    }

    fn hint(&self) -> String {
        match catalog::nearest(self.repo) {
            Some(name) if catalog::known(self.repo).is_none() => {
                format!("did you mean `{name}`?")
            }
            _ => "check the name and the revision".to_owned(),
        }
    }

    /// The error for a repository that lacks `missing`.
    pub(crate) fn not_a_model(&self, missing: String) -> Error {
        let (repo, revision) = (self.repo.to_owned(), self.revision.to_owned());
        Error::NotAModel { repo, revision, missing }
    }
}

/// The HTTP client. It uses the proxies of `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, but connects
/// directly to a hub on this machine.
fn agent(limits: &Limits, roots: RootCerts, is_local: bool) -> Agent {
    Agent::config_builder()
        .user_agent(concat!("kokeshi/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(limits.connect))
        .timeout_resolve(Some(limits.connect))
        .timeout_per_read(Some(limits.idle))
        .timeout_per_write(Some(limits.idle))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(if is_local { None } else { Proxy::try_from_env() })
        .build()
        .into()
}

/// The certificate authorities of a PEM file, instead of the built-in ones.
fn read_roots(file: &Path) -> Result<RootCerts> {
    let invalid = |reason: String| Error::Certificates { path: file.to_owned(), reason };
    let pem = fs::read(file).map_err(|e| invalid(e.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| invalid(e.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(invalid("it has no certificate".to_owned()));
    }
    Ok(certificates.into())
}

fn authorization(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Error::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether a retry may succeed. A storage host answers 403 when the signature of an address has
/// expired; the hub then issues a new one.
fn is_temporary(status: StatusCode, from_hub: bool) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || (status == StatusCode::FORBIDDEN && !from_hub)
}

/// The wait that a server requests, in seconds; dates are ignored.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Classifies a connection failure as temporary or, as with an invalid certificate, permanent.
fn connection_failure(url: &str, error: ureq::Error) -> Failure {
    use ureq::Error as E;
    match error {
        E::Io(e) if e.kind() != ErrorKind::InvalidData => Failure::transient(e),
        E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => {
            Failure::transient(error)
        }
        E::Io(e) => Error::Connection { url: url.to_owned(), reason: e.to_string() }.into(),
        _ => Error::Connection { url: url.to_owned(), reason: error.to_string() }.into(),
    }
}
