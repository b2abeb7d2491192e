//! Where a store is: a file, or a server's address.

use crate::error::{Error, Result};
use crate::fields::Fields;
use crate::points::{self, Chroma, Milvus, Qdrant, Twin};
use crate::postgres::{Postgres, Table};
use crate::record::{Source, Store};
use crate::rows::{self, Rows};
use crate::sqlite::Sqlite;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What stands in place of a password.
const HIDDEN: &str = "***";

/// Where a store is. What people see of it has no password.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// A SQLite file.
    File(PathBuf),
    /// A server.
    Server(Url),
}

/// The address of a server, `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH][?OPTIONS]`. It is taken
/// as it is and looked at when it is used, so that no message about it shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
}

/// The parts of an address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Such as `qdrant`.
    pub(crate) engine: String,
    /// Whether the connection is encrypted: `+https` after the engine.
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Host and port, as they were written.
    pub(crate) host: String,
    /// Without slashes at its ends.
    pub(crate) path: String,
}

impl Parts {
    /// Host and port: `port`, unless one is named.
    pub(crate) fn place(&self, port: u16) -> String {
        let has_port = self.host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        if has_port { self.host.clone() } else { format!("{}:{port}", self.host) }
    }

    /// `http` or `https`, host and port: without one of its own, `port`, or that of `https`.
    pub(crate) fn base(&self, port: u16) -> String {
        if self.tls {
            format!("https://{}", self.host)
        } else {
            format!("http://{}", self.place(port))
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
    /// Opens the store, which must exist if it is a file.
    ///
    /// # Errors
    ///
    /// If there is none, if it does not answer, if it is none of ours, or of a newer version.
    pub fn open(&self) -> Result<Box<dyn Store>> {
        match self {
            Self::File(path) => Ok(Box::new(Sqlite::open(path)?)),
            Self::Server(url) => url.open(),
        }
    }

    /// Opens the store, or makes an empty one.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and if it cannot be written.
    pub fn create(&self) -> Result<Box<dyn Store>> {
        match self {
            Self::File(path) => Ok(Box::new(Sqlite::create(path)?)),
            Self::Server(url) => url.open(),
        }
    }
}

impl Address {
    /// Opens what another program keeps where `fields` says, to bring new vectors beside the old ones: a
    /// table of PostgreSQL, or the collection that `from` leads to in an engine of points.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], if there is no such table or field, and if this is a file.
    pub fn open_foreign(&self, fields: &Fields, from: &str) -> Result<Box<dyn Store>> {
        match self {
            Self::File(path) => Err(Error::Foreign {
                path: path.clone(),
                reason: "only what was indexed with kokeshi can be changed in a file".to_owned(),
            }),
            Self::Server(url) => url.open_foreign(fields, from),
        }
    }

    /// Whether this is a file of rows, by its name: JSONL or Parquet.
    pub fn is_rows(&self) -> bool {
        matches!(self, Self::File(path) if rows::is_rows(path))
    }

    /// Where texts and documents are in data that another program made, as far as `fields` do not say it;
    /// for an engine of points, in the collection `collection`. `None` if that is not there, or this is a
    /// file without rows.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or the server does not answer.
    pub fn find_fields(&self, fields: &Fields, collection: &str) -> Result<Option<Fields>> {
        let seen = match self {
            Self::File(path) if rows::is_rows(path) => Some(Rows::fields(path)?),
            Self::File(_) => None,
            Self::Server(url) => match url.parts()?.engine.as_str() {
                "postgres" | "postgresql" if fields.table.is_none() => None,
                "postgres" | "postgresql" => Some(Table::fields(url, fields)?),
                _ => points::seen(url, fields, collection)?,
            },
        };
        Ok(seen.map(|seen| fields.clone().found(&seen)))
    }

    /// Opens what is only read: a store; what another program keeps there if `fields` says how, in a
    /// table or in the collection `collection` of an engine of points; or a JSONL or Parquet file with its
    /// vectors in the field `collection`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`] and [`Self::open_foreign`], and if a row of the file cannot be read.
    pub fn open_source(
        &self,
        fields: Option<&Fields>,
        collection: &str,
    ) -> Result<Box<dyn Source>> {
        match (self, fields) {
            (Self::File(path), _) if rows::is_rows(path) => {
                let fields = fields.cloned().unwrap_or_default();
                Ok(Box::new(Rows::read(path, &fields, collection)?))
            }
            (Self::Server(url), Some(fields)) if fields.table.is_none() => {
                Ok(Box::new(points::foreign(url, fields, collection)?))
            }
            (_, Some(fields)) => Ok(self.open_foreign(fields, collection)?),
            (_, None) => Ok(self.open()?),
        }
    }
}

impl Url {
    fn open_foreign(&self, fields: &Fields, from: &str) -> Result<Box<dyn Store>> {
        let parts = self.parts()?;
        match parts.engine.as_str() {
            "postgres" | "postgresql" => Ok(Box::new(Table::open(self, fields)?)),
            _ => Ok(Box::new(Twin::open(self, fields, from)?)),
        }
    }

    fn open(&self) -> Result<Box<dyn Store>> {
        let parts = self.parts()?;
        match parts.engine.as_str() {
            "postgres" | "postgresql" => Ok(Box::new(Postgres::open(self)?)),
            "chroma" => Ok(Box::new(Chroma::open(self)?)),
            "milvus" => Ok(Box::new(Milvus::open(self)?)),
            "qdrant" => Ok(Box::new(Qdrant::open(self)?)),
            other => Err(self.refused(&format!("`{other}` is no engine that kokeshi knows"))),
        }
    }

    /// The error of an address in which something is wrong.
    pub(crate) fn refused(&self, reason: &str) -> Error {
        Error::Address { address: self.to_string(), reason: reason.to_owned() }
    }

    /// The address with its password.
    pub(crate) fn secret(&self) -> &str {
        &self.text
    }

    /// # Errors
    ///
    /// [`Error::Address`] if a part is missing or malformed.
    pub(crate) fn parts(&self) -> Result<Parts> {
        let (scheme, rest) =
            self.text.split_once("://").ok_or_else(|| self.refused("it has no scheme"))?;
        let (engine, tls) = match scheme.split_once('+') {
            None | Some((_, "http")) => (scheme.trim_end_matches("+http"), false),
            Some((engine, "https")) => (engine, true),
            Some(_) => return Err(self.refused("after `+`, only `http` and `https` are known")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let decoded = |text: &str| {
            decoded(text)
                .ok_or_else(|| self.refused("its user or password has a `%` that is no code"))
        };
        Ok(Parts {
            engine: engine.to_ascii_lowercase(),
            tls,
            user: (!user.is_empty()).then(|| decoded(user)).transpose()?,
            password: password.map(decoded).transpose()?,
            host: host.to_owned(),
            path: path.split('?').next().unwrap_or_default().trim_matches('/').to_owned(),
        })
    }
}

/// `text` with its `%41` as letters.
fn decoded(text: &str) -> Option<String> {
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

/// The scheme of what looks like an address of a server.
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
        // A password may hold `/` that was not encoded: all up to the last `@` is the login.
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(a, b)| (Some(a), b));
        write!(f, "{scheme}://")?;
        match login
            .map(|login| login.split_once(':').map_or((login, false), |(user, _)| (user, true)))
        {
            Some((user, true)) => write!(f, "{user}:{HIDDEN}@")?,
            Some((user, false)) => write!(f, "{user}@")?,
            None => {}
        }
        f.write_str(place)?;
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
            Address::File(_) => panic!("{text} was taken for a file"),
        }
    }

    #[test]
    fn what_has_no_scheme_is_a_file() {
        for text in ["index.db", "a/b.db", "C:\\a.db", "a b://c", "://x"] {
            assert!(matches!(Address::from(text), Address::File(_)), "{text}");
        }
    }

    #[test]
    fn no_password_is_shown_wherever_it_stands() {
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
    fn parts_are_what_was_written() {
        let parts =
            url("Chroma+https://me:a%40b%2F@host:8000/tenant/base/?x=1").parts().expect("parts");
        let Parts { engine, tls, user, password, host, path } = parts;
        assert_eq!((engine.as_str(), tls, host.as_str()), ("chroma", true, "host:8000"));
        assert_eq!((user.as_deref(), password.as_deref()), (Some("me"), Some("a@b/")));
        assert_eq!(path, "tenant/base");
        let base = |text: &str| url(text).parts().expect("parts").base(1);
        let bases = ["a://h", "a://[::1]", "a://h:2", "a+https://h"].map(base);
        assert_eq!(bases, ["http://h:1", "http://[::1]:1", "http://h:2", "https://h"]);
        let parts = url("qdrant://[::1]:6333").parts().expect("parts");
        assert_eq!((parts.host.as_str(), parts.user, parts.password), ("[::1]:6333", None, None));
        for text in ["qdrant+ftp://host", "qdrant://a:%zz@host", "qdrant://%4@host"] {
            assert!(matches!(url(text).parts(), Err(Error::Address { .. })), "{text}");
        }
        let error = Address::from("mysql://me:secret@host").open().err().expect("no engine");
        assert!(error.to_string().contains("mysql://me:***@host") && error.hint().is_some());
    }
}
