//! Web addresses: parsing, origins and redirects.

use ureq::http::Response;
use ureq::http::header::LOCATION;
use ureq::http::uri::{Scheme, Uri};

/// An absolute address with a host, over HTTP or HTTPS.
pub(crate) fn web_address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_web = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    (is_web && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// Whether the host is this machine.
pub(crate) fn is_loopback(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// Whether both have the same scheme, host and port.
pub(crate) fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        uri.port_u16().unwrap_or(default)
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// The target of a redirect: a path of the same host, or a URL that does not leave HTTPS.
pub(crate) fn redirect_target(
    from: &Uri,
    response: &Response<ureq::Body>,
) -> Result<Uri, &'static str> {
    let location = response.headers().get(LOCATION).ok_or("it has no address")?;
    let location = location.to_str().map_err(|_| "its address is not ASCII")?;
    let base = Uri::builder().scheme(from.scheme_str().unwrap_or("https"));
    let to = if location.starts_with('/') && !location.starts_with("//") {
        let base = base.authority(from.authority().map_or("", |authority| authority.as_str()));
        base.path_and_query(location).build().ok()
    } else {
        web_address(location)
    };
    let to = to.ok_or("its address is neither a path nor a URL")?;
    if from.scheme() == Some(&Scheme::HTTPS) && to.scheme() != Some(&Scheme::HTTPS) {
        return Err("it leaves HTTPS");
    }
    Ok(to)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn percent_encode(segment: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    segment.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(from: &str, to: &str) -> Result<String, &'static str> {
        let body = ureq::Body::builder().data(Vec::new());
        let response = Response::builder().header(LOCATION, to).body(body).unwrap();
        redirect_target(&from.parse().unwrap(), &response).map(|uri| uri.to_string())
    }

    #[test]
    fn a_redirect_is_a_path_or_a_url_and_never_leaves_https() {
        let hub = "https://hub/a/b";
        assert_eq!(redirect(hub, "/c?d=1").unwrap(), "https://hub/c?d=1");
        assert_eq!(redirect(hub, "https://cdn/x").unwrap(), "https://cdn/x");
        assert_eq!(redirect("http://hub/a", "http://cdn/x").unwrap(), "http://cdn/x");
        for refused in ["http://cdn/x", "//cdn/x", "c", "ftp://cdn/x", "file:///etc/passwd", ""] {
            assert!(redirect(hub, refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| is_same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://hub/a", "https://HUB:443/b"));
        assert!(!same("https://hub", "http://hub"));
        assert!(!same("https://hub", "https://hub.evil"));
        assert!(!same("http://hub:1", "http://hub:2"));
    }

    #[test]
    fn only_this_machine_counts_as_loopback() {
        let local = |uri: &str| is_loopback(&uri.parse().unwrap());
        assert!(
            local("http://localhost:1") && local("http://127.0.0.1") && local("http://[::1]:2")
        );
        assert!(!local("https://huggingface.co") && !local("http://127.0.0.1.evil"));
    }

    #[test]
    fn names_are_percent_encoded_in_addresses() {
        assert_eq!(percent_encode("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(percent_encode("a b#?é~-._"), "a%20b%23%3F%C3%A9~-._");
    }
}
