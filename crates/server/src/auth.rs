//! API keys.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::read_text_file;
use crate::limits::{Allowance, KeyUsage};
use crate::problem::{ApiResult, Problem};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// A SHA-256 digest.
type Hash = [u8; 32];

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Embedding, classifying, comparing and cutting texts, and training classifiers.
    Embed,
    /// Searching and listing collections.
    Search,
    /// Adding documents to collections, and removing them.
    Write,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Embed, Self::Search, Self::Write];

    /// Its name in the key file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Search => "search",
            Self::Write => "write",
        }
    }
}

/// An API key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in logs. Only the hash of the key itself is kept.
    pub(crate) name: Arc<str>,
    /// Identifies it as the owner of classifiers, also after keys were added or reordered.
    pub(crate) owner: Arc<str>,
    hash: Hash,
    /// `None` is all of them.
    scopes: Option<Vec<Scope>>,
    pub(crate) usage: Arc<KeyUsage>,
}

/// The configured keys. Without keys, the server is open.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

/// The key file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    key: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    sha256: String,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u32>,
    concurrency: Option<usize>,
    scope: Option<Vec<String>>,
}

impl Keys {
    /// The keys of the file, and the hashes of the plain-text keys. A key that `earlier` has under
    /// the same name, with the same limits, keeps its usage.
    pub(crate) fn new(config: &Config, earlier: &Self) -> Result<Self> {
        let mut keys = match &config.api_key_file {
            Some(file) => read_file(file)?,
            None => Vec::new(),
        };
        // A header's value has no white space at its ends either.
        for (number, key) in config.api_keys.iter().map(|key| key.trim()).enumerate() {
            // Ignoring it would open a server that was meant to have a key.
            if key.is_empty() {
                return Err(Error::EmptyApiKey { number: number + 1 });
            }
            check_letters(number, key)?;
            let hash: Hash = Sha256::digest(key).into();
            let owner = format!("key:{:.16x}", Sha256::digest(hash));
            let name = format!("key-{number}");
            keys.push(Key::new(&name, &owner, hash, None, Allowance::default()));
        }
        for key in &mut keys {
            let allowance = key.usage.allowance();
            let same = |old: &&Key| old.owner == key.owner && old.usage.allowance() == allowance;
            if let Some(old) = earlier.0.iter().find(same) {
                key.usage = Arc::clone(&old.usage);
            }
        }
        Ok(Self(keys))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of a request. Without configured keys, any header is accepted, because clients
    /// without a key send headers such as `Bearer None`.
    pub(crate) fn check(&self, headers: &HeaderMap) -> ApiResult<Option<&Key>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Some(header) = headers.get(header::AUTHORIZATION) else {
            let message = "an API key is required; send `Authorization: Bearer <key>`";
            return Err(unauthorized("AUTH_MISSING_API_KEY", message));
        };
        let token = header.to_str().ok().and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let Some(token) = token else {
            let message = "the header must have the form `Authorization: Bearer <key>`";
            return Err(unauthorized("AUTH_INVALID_FORMAT", message));
        };
        let hash: Hash = Sha256::digest(token).into();
        // Every key is compared, each in constant time, so that timing reveals nothing.
        let mut matching = None;
        for key in &self.0 {
            if bool::from(key.hash.ct_eq(&hash)) {
                matching = Some(key);
            }
        }
        let message = "unknown API key";
        matching.map(Some).ok_or_else(|| unauthorized("AUTH_INVALID_API_KEY", message))
    }
}

impl Key {
    fn new(
        name: &str,
        owner: &str,
        hash: Hash,
        scopes: Option<Vec<Scope>>,
        allowance: Allowance,
    ) -> Self {
        Self {
            name: name.into(),
            owner: owner.into(),
            hash,
            scopes,
            usage: Arc::new(KeyUsage::new(allowance)),
        }
    }

    /// Refuses a request that needs a scope which the key lacks.
    pub(crate) fn check_scope(&self, scope: Option<Scope>) -> ApiResult<()> {
        let (Some(scope), Some(scopes)) = (scope, &self.scopes) else { return Ok(()) };
        if scopes.contains(&scope) {
            return Ok(());
        }
        let has: Vec<_> = scopes.iter().map(|scope| format!("`{}`", scope.name())).collect();
        let message = format!(
            "this request needs the scope `{}`; the key `{}` has {}. Use another key, or add the \
             scope in the key file",
            scope.name(),
            self.name,
            has.join(" and ")
        );
        Err(Problem::new(StatusCode::FORBIDDEN, "AUTH_SCOPE_MISSING", message))
    }
}

/// Refuses a key that no request could have: headers are ASCII.
fn check_letters(number: usize, key: &str) -> Result<()> {
    let position = key.chars().position(|letter| !(' '..='~').contains(&letter));
    position.map_or(Ok(()), |at| Err(Error::ApiKey { number: number + 1, position: at + 1 }))
}

fn unauthorized(code: &'static str, message: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, message)
}

fn read_file(path: &Path) -> Result<Vec<Key>> {
    let invalid = |reason: String| Error::File { path: path.to_owned(), reason };
    let text = read_text_file(path)?;
    let file: KeyFile = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    if file.key.is_empty() {
        return Err(invalid("it has no [[key]]".to_owned()));
    }
    let key = |entry: &KeyEntry| {
        let hash = parse_hash(&entry.sha256).ok_or_else(|| {
            let reason = "`sha256` must be 64 hexadecimal digits, as sha256sum prints them";
            invalid(format!("key `{}`: {reason}", entry.name))
        })?;
        let allowance = Allowance {
            requests_per_minute: entry.requests_per_minute,
            tokens_per_minute: entry.tokens_per_minute,
            concurrency: entry.concurrency,
        };
        let scopes = entry.scope.as_deref().map(parse_scopes).transpose();
        let scopes = scopes.map_err(|reason| invalid(format!("key `{}`: {reason}", entry.name)))?;
        // A new secret under the same name is still the same owner.
        let owner = format!("name:{}", entry.name);
        Ok(Key::new(&entry.name, &owner, hash, scopes, allowance))
    };
    file.key.iter().map(key).collect()
}

fn parse_scopes(names: &[String]) -> Result<Vec<Scope>, String> {
    let known = Scope::ALL.map(|scope| format!("`{}`", scope.name())).join(", ");
    if names.is_empty() {
        return Err(format!("`scope` is an empty list; remove it, or list some of {known}"));
    }
    let parse = |name: &String| {
        let scope = Scope::ALL.into_iter().find(|scope| scope.name() == name);
        scope.ok_or_else(|| format!("unknown scope `{name}`; the scopes are {known}"))
    };
    names.iter().map(parse).collect()
}

fn parse_hash(hexadecimal: &str) -> Option<Hash> {
    let digits = hexadecimal.trim().as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_hexadecimal_digits() {
        let printed = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        assert_eq!(parse_hash(printed), Some(Sha256::digest("foo").into()));
        for wrong in
            ["", "2c", &printed[1..], &printed.replace('2', "g"), &printed.replace("2c", "+c")]
        {
            assert_eq!(parse_hash(wrong), None, "{wrong}");
        }
    }
}
