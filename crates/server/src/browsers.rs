//! Protects a server without keys from web pages. It listens only for this machine, but a browser on
//! it sends requests for any page: to names that the page's owner resolves to this machine (DNS
//! rebinding), and, as forms do, without asking for permission (CORS) first.

use crate::config::Config;
use crate::problem::{ApiResult, Problem};
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use std::net::IpAddr;

/// The types of bodies that a form, or a page's script without permission, can send.
const FORM_TYPES: [&str; 3] =
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/// Which requests of browsers are refused by a server without keys.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Names of this server, apart from those that every machine has.
    hosts: Vec<String>,
    /// Origins of pages that may send requests.
    origins: Vec<String>,
}

impl Guard {
    /// `None` if the server is meant for other machines too, or for any name.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        let is_any = config.allow_hosts.iter().any(|host| host == "*");
        if is_any || !config.address.ip().is_loopback() {
            return None;
        }
        Some(Self { hosts: config.allow_hosts.clone(), origins: config.cors_origins.clone() })
    }

    /// Refuses requests that a foreign page could send.
    pub(crate) fn check(&self, request: &Request) -> ApiResult<()> {
        let (uri, headers) = (request.uri(), request.headers());
        self.check_host(uri, headers)?;
        self.check_origin(uri, headers)?;
        check_type(request.method(), headers)
    }

    /// Refuses names that are not this server's.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> ApiResult<()> {
        let in_headers = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
        let in_uri = uri.authority().map(|authority| authority.as_str().as_bytes());
        let is_own = |host: &[u8]| {
            let authority = Authority::try_from(host).ok();
            authority.is_some_and(|authority| self.is_own(authority.host()))
        };
        match in_headers.chain(in_uri).find(|host| !is_own(host)) {
            None => Ok(()),
            Some(host) => {
                let host: String = String::from_utf8_lossy(host).chars().take(100).collect();
                let message = format!(
                    "the request is for `{host}`, which is not a name of this server; use \
                     `localhost` or an address, or add the name to the allowed hosts"
                );
                Err(Problem::new(StatusCode::FORBIDDEN, "AUTH_FOREIGN_HOST", message))
            }
        }
    }

    /// Whether `host`, without a port, is a name of this server. Nobody else can choose what an
    /// address or `localhost` means.
    fn is_own(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        let is_local = |host: &str| {
            let tail = host.len().checked_sub(".localhost".len());
            let tail = tail.and_then(|start| host.get(start..));
            host.eq_ignore_ascii_case("localhost")
                || tail.is_some_and(|tail| tail.eq_ignore_ascii_case(".localhost"))
        };
        host.parse::<IpAddr>().is_ok()
            || is_local(host)
            || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Refuses pages of other origins. Clients that are not browsers send no origin.
    fn check_origin(&self, uri: &Uri, headers: &HeaderMap) -> ApiResult<()> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(Authority::as_str).or(host);
        let text = origin.to_str().unwrap_or_default();
        let is_same = ["http://", "https://"].iter().any(|scheme| {
            let page = text.strip_prefix(scheme);
            page.zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
        });
        if is_same || self.origins.iter().any(|known| known == "*" || known == text) {
            return Ok(());
        }
        let origin: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(100).collect();
        let message = format!(
            "pages of `{origin}` may not send requests; add the origin to the allowed ones"
        );
        Err(Problem::new(StatusCode::FORBIDDEN, "AUTH_FOREIGN_ORIGIN", message))
    }
}

/// Refuses bodies that a form can send.
fn check_type(method: &Method, headers: &HeaderMap) -> ApiResult<()> {
    let has_body = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let types = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        text.split([';', ',']).next().unwrap_or_default().trim().to_owned()
    };
    let mut form = types.map(essence).filter(|kind| FORM_TYPES.contains(&kind.as_str()));
    match form.next().filter(|_| has_body) {
        None => Ok(()),
        Some(kind) => {
            let message = format!(
                "the body has the type `{kind}`, which forms of foreign pages can send; send it \
                 with `Content-Type: application/json`"
            );
            let code = "INPUT_INVALID_CONTENT_TYPE";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn guard(hosts: &[&str], origins: &[&str]) -> Guard {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Guard { hosts: owned(hosts), origins: owned(origins) }
    }

    /// The code of the refusal of a request with `headers`.
    fn code(guard: &Guard, uri: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut request = Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        guard.check(&request).err().map(|problem| problem.code)
    }

    #[test]
    fn only_names_of_this_machine_and_allowed_ones_are_hosts() {
        let guard = guard(&["kokeshi.lan"], &[]);
        let foreign = Some("AUTH_FOREIGN_HOST");
        for host in [
            "localhost",
            "LocalHost:8080",
            "app.localhost:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.168.1.7",
            "kokeshi.lan:80",
            "localhost.",
        ] {
            assert_eq!(code(&guard, "/", &[("Host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8080",
            "xlocalhost",
            "a@evil.example",
            "",
            "kokeshi.lan.evil.example",
        ] {
            assert_eq!(code(&guard, "/", &[("Host", host)]), foreign, "{host}");
        }
        assert_eq!(code(&guard, "/", &[]), None, "HTTP/1.0");
        assert_eq!(code(&guard, "http://evil.example/", &[("Host", "localhost")]), foreign);
        assert_eq!(code(&guard, "/", &[("Host", "localhost"), ("Host", "evil.example")]), foreign);
    }

    #[test]
    fn only_the_servers_own_pages_and_allowed_ones_may_send_requests() {
        let guard = guard(&[], &["https://app.example"]);
        let host = ("Host", "127.0.0.1:8080");
        for (origin, expected) in [
            ("http://127.0.0.1:8080", None),
            ("https://app.example", None),
            ("http://127.0.0.1:3000", Some("AUTH_FOREIGN_ORIGIN")),
            ("https://evil.example", Some("AUTH_FOREIGN_ORIGIN")),
            ("null", Some("AUTH_FOREIGN_ORIGIN")),
        ] {
            assert_eq!(code(&guard, "/", &[host, ("Origin", origin)]), expected, "{origin}");
        }
    }

    #[test]
    fn bodies_of_forms_are_refused() {
        let guard = guard(&[], &[]);
        let refused = Some("INPUT_INVALID_CONTENT_TYPE");
        for (kind, expected) in [
            ("application/json", None),
            ("application/json; charset=utf-8", None),
            ("text/plain", refused),
            ("Text/Plain;charset=UTF-8", refused),
            ("application/x-www-form-urlencoded", refused),
            ("multipart/form-data; boundary=x", refused),
        ] {
            assert_eq!(code(&guard, "/", &[("Content-Type", kind)]), expected, "{kind}");
        }
        assert_eq!(code(&guard, "/", &[]), None);
    }

    #[test]
    fn servers_for_other_machines_are_not_guarded() {
        assert!(Guard::new(&Config::default()).is_some());
        let any = Config { allow_hosts: vec!["*".to_owned()], ..Config::default() };
        assert!(Guard::new(&any).is_none());
        let address = "0.0.0.0:0".parse().expect("an address");
        assert!(Guard::new(&Config { address, ..Config::default() }).is_none());
    }
}
