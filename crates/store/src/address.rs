//! Addresses of stores: a file, or the URL of a server. This module only parses them.

use crate::error::{Error, Result};
use crate::rows;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What is displayed instead of a password.
const HIDDEN: &str = "***";

/// The address of a store. Its display shows no password.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// An SQLite file, or a file of rows that another program wrote.
    File(PathBuf),
    /// A server.
    Server(Url),
}

/// The address of a server, `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH][?OPTIONS]`. It is kept
/// as it was written and parsed when it is used, so that no message about it shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
}

/// A database that collections can be kept in, named by an address's scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL with pgvector.
    Postgres,
    /// Qdrant.
    Qdrant,
    /// Milvus.
    Milvus,
    /// Chroma.
    Chroma,
}

impl Engine {
    /// The name of the Cargo feature that a build needs to open such an address.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Qdrant => "qdrant",
            Self::Milvus => "milvus",
            Self::Chroma => "chroma",
        }
    }

    fn from_scheme(scheme: &str) -> Option<Self> {
        Some(match scheme {
            "postgres" | "postgresql" => Self::Postgres,
            "qdrant" => Self::Qdrant,
            "milvus" => Self::Milvus,
            "chroma" => Self::Chroma,
            _ => return None,
        })
    }
}

/// The parts of a [`Url`].
#[derive(Clone, PartialEq, Eq)]
pub struct UrlParts {
    /// The database that the scheme names.
    pub engine: Engine,
    /// Whether the connection is encrypted: `+https` in the scheme.
    pub tls: bool,
    /// User, decoded.
    pub user: Option<String>,
    /// Password or key, decoded.
    pub password: Option<String>,
    /// Host and port, as written.
    pub host: String,
    /// Path, without slashes at its ends.
    pub path: String,
}

impl UrlParts {
    /// Host and port, which is `port` unless the address has one.
    pub fn host_and_port(&self, port: u16) -> String {
        let has_port = self.host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        if has_port { self.host.clone() } else { format!("{}:{port}", self.host) }
    }

    /// The base URL of HTTP requests: `http` or `https` with host and port. Without a port in the
    /// address, `http` uses `port` and `https` its default.
    pub fn base(&self, port: u16) -> String {
        if self.tls {
            format!("https://{}", self.host)
        } else {
            format!("http://{}", self.host_and_port(port))
        }
    }
}

impl From<OsString> for Address {
    fn from(text: OsString) -> Self {
        match text.to_str().filter(|text| scheme(text).is_some()) {
            Some(text) => Self::Server(Url { text: text.to_owned() }),
            None => Self::File(text.into()),
        }
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        OsString::from(text).into()
    }
}

impl Address {
    /// Whether this is, by its name, a file of rows: JSONL or Parquet.
    pub fn is_rows(&self) -> bool {
        matches!(self, Self::File(path) if rows::is_rows(path))
    }
}

impl Url {
    /// The error of a malformed address.
    pub fn invalid(&self, reason: &str) -> Error {
        Error::InvalidAddress { address: self.to_string(), reason: reason.to_owned() }
    }

    /// The address including its password: do not display it.
    pub fn with_password(&self) -> &str {
        &self.text
    }

    /// The database that the scheme names, and whether the scheme ends in `+https`.
    fn engine(&self, scheme: &str) -> Result<(Engine, bool)> {
        let (name, tls) = match scheme.split_once('+') {
            None => (scheme, false),
            Some((name, "http")) => (name, false),
            Some((name, "https")) => (name, true),
            Some(_) => return Err(self.invalid("after `+`, only `http` and `https` are supported")),
        };
        let name = name.to_ascii_lowercase();
        let unknown = || self.invalid(&format!("`{name}` is not a database that kokeshi supports"));
        Ok((Engine::from_scheme(&name).ok_or_else(unknown)?, tls))
    }

    /// The parts of the address.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAddress`] if a part is missing or malformed, or the scheme is unknown.
    pub fn parts(&self) -> Result<UrlParts> {
        let (scheme, rest) =
            self.text.split_once("://").ok_or_else(|| self.invalid("it has no scheme"))?;
        let (engine, tls) = self.engine(scheme)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let decode = |text: &str| {
            percent_decode(text)
                .ok_or_else(|| self.invalid("its user or password has an invalid `%` escape"))
        };
        Ok(UrlParts {
            engine,
            tls,
            user: (!user.is_empty()).then(|| decode(user)).transpose()?,
            password: password.map(decode).transpose()?,
            host: host.to_owned(),
            path: path.split('?').next().unwrap_or_default().trim_matches('/').to_owned(),
        })
    }
}

/// `text` with escapes such as `%41` decoded; `None` if one is invalid.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let code = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// The scheme, if `text` looks like the address of a server.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (begins && scheme.chars().all(letters)).then_some(scheme)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.text.split_once("://").unwrap_or(("", &self.text));
        let (rest, options) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        // A password may contain an unencoded `/`: everything up to the last `@` is the login.
        let (login, host) = rest.rsplit_once('@').map_or((None, rest), |(a, b)| (Some(a), b));
        write!(f, "{scheme}://")?;
        match login
            .map(|login| login.split_once(':').map_or((login, false), |(user, _)| (user, true)))
        {
            Some((user, true)) => write!(f, "{user}:{HIDDEN}@")?,
            Some((user, false)) => write!(f, "{user}@")?,
            None => {}
        }
        f.write_str(host)?;
        for (at, option) in options.into_iter().flat_map(|options| options.split('&')).enumerate() {
            f.write_str(if at == 0 { "?" } else { "&" })?;
            match option.split_once('=') {
                Some((name, _)) if name.contains("pass") || name.contains("key") => {
                    write!(f, "{name}={HIDDEN}")?;
                }
                _ => f.write_str(option)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        match Address::from(text) {
            Address::Server(url) => url,
            Address::File(_) => panic!("{text} was parsed as a file"),
        }
    }

    #[test]
    fn a_text_without_a_scheme_is_a_file() {
        for text in ["index.db", "a/b.db", "C:\\a.db", "a b://c", "://x"] {
            assert!(matches!(Address::from(text), Address::File(_)), "{text}");
        }
    }

    #[test]
    fn no_password_is_displayed_wherever_it_occurs() {
        for text in [
            "postgres://me:secret@host/db",
            "postgres://me:se/secret@host/db",
            "postgres://me:a@secret@host/db",
            "postgres://host/db?user=me&password=secret&sslmode=require",
            "qdrant://:secret@host:6333",
            "qdrant+https://host?api-key=secret",
        ] {
            let shown = format!("{} {:?} {}", url(text), Address::from(text), Address::from(text));
            assert!(!shown.contains("secret") && shown.contains("host"), "{shown}");
        }
        let plain = "milvus://me@host:19530/db?a=b&c";
        assert_eq!(url(plain).to_string(), plain);
    }

    #[test]
    fn parts_are_parsed_as_written() {
        let parts =
            url("Chroma+https://me:a%40b%2F@host:8000/tenant/base/?x=1").parts().expect("parts");
        let UrlParts { engine, tls, user, password, host, path } = parts;
        assert_eq!((engine, tls, host.as_str()), (Engine::Chroma, true, "host:8000"));
        assert_eq!((user.as_deref(), password.as_deref()), (Some("me"), Some("a@b/")));
        assert_eq!(path, "tenant/base");
        let base = |text: &str| url(text).parts().expect("parts").base(1);
        let bases = ["chroma://h", "chroma://[::1]", "chroma://h:2", "chroma+https://h"].map(base);
        assert_eq!(bases, ["http://h:1", "http://[::1]:1", "http://h:2", "https://h"]);
        let parts = url("qdrant://[::1]:6333").parts().expect("parts");
        assert_eq!((parts.host.as_str(), parts.user, parts.password), ("[::1]:6333", None, None));
        for text in ["qdrant+ftp://host", "qdrant://a:%zz@host", "qdrant://%4@host"] {
            assert!(matches!(url(text).parts(), Err(Error::InvalidAddress { .. })), "{text}");
        }
        let error = url("mysql://me:secret@host").parts().err().expect("an unknown scheme");
        assert!(matches!(error, Error::InvalidAddress { .. }), "{error}");
        assert!(error.to_string().contains("mysql://me:***@host"), "{error}");
    }
}
