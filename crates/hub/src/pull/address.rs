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

/// The target of a redirect, by RFC 3986: a URL, one without a scheme or without a host, or a path
/// relative to that of `from`. It does not leave HTTPS.
pub(crate) fn redirect_target(
    from: &Uri,
    response: &Response<ureq::Body>,
) -> Result<Uri, &'static str> {
    let location = response.headers().get(LOCATION).ok_or("it has no address")?;
    let location = location.to_str().map_err(|_| "its address is not ASCII")?;
    let scheme = from.scheme_str().unwrap_or("https");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let to = match location {
        "" => None,
        _ if location.starts_with("//") => web_address(&format!("{scheme}:{location}")),
        _ if location.starts_with('/') => web_address(&format!("{scheme}://{authority}{location}")),
        _ if has_scheme(location) => web_address(location),
        _ => {
            let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = without_dots(&format!("{folder}/{location}"));
            web_address(&format!("{scheme}://{authority}{path}"))
        }
    };
    let to = to.ok_or("its address is neither a path nor a URL")?;
    if from.scheme() == Some(&Scheme::HTTPS) && to.scheme() != Some(&Scheme::HTTPS) {
        return Err("it leaves HTTPS");
    }
    Ok(to)
}

/// Whether an address begins with a scheme, and not with a path that has a colon.
fn has_scheme(address: &str) -> bool {
    address.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// A path, and perhaps a query, without its segments `.` and `..`.
fn without_dots(path: &str) -> String {
    let (path, query) =
        path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", kept.join("/"))
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
        assert_eq!(redirect(hub, "//cdn/x").unwrap(), "https://cdn/x");
        assert_eq!(redirect(hub, "c?d=1").unwrap(), "https://hub/a/c?d=1");
        assert_eq!(redirect(hub, "../c/./d").unwrap(), "https://hub/c/d");
        assert_eq!(redirect(hub, "../../../c").unwrap(), "https://hub/c");
        for refused in ["http://cdn/x", "ftp://cdn/x", "file:///etc/passwd", "data:,x", ""] {
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
