//! Locations of the hub and its cache, from the environment variables of `huggingface_hub`.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where models are stored and how they are downloaded.
#[derive(Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// The folder with the `models--owner--name` folders.
    pub cache: PathBuf,
    /// Address of the hub, without a trailing slash.
    pub endpoint: String,
    /// Access token, sent only to the endpoint.
    pub token: Option<String>,
    /// Whether network access is forbidden.
    pub offline: bool,
    /// PEM file of trusted certificate authorities; `None` for the built-in ones of Mozilla.
    pub certificates: Option<PathBuf>,
}

impl HubConfig {
    /// Reads the configuration through `lookup`, usually `|name| std::env::var_os(name)`.
    ///
    /// An empty variable counts as unset. The variables and their order are those of
    /// `huggingface_hub`:
    /// - cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HOME`;
    /// - endpoint: `HF_ENDPOINT`;
    /// - token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH` or `token` in
    ///   `HF_HOME`; none of them when `HF_HUB_DISABLE_IMPLICIT_TOKEN` is true;
    /// - offline: `HF_HUB_OFFLINE`, or `TRANSFORMERS_OFFLINE` where that one is unset;
    /// - certificates: `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE`.
    ///
    /// Only proxies are read elsewhere: the HTTP client reads `HTTPS_PROXY`, `ALL_PROXY` and
    /// `NO_PROXY` itself.
    ///
    /// # Errors
    /// If no variable locates the cache, or a variable is not valid Unicode.
    pub fn from_env(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let env = Environment { lookup };
        Ok(Self {
            cache: env.cache()?,
            endpoint: env.endpoint()?,
            token: env.token()?,
            offline: env.offline()?,
            certificates: env.certificates(),
        })
    }
}

impl fmt::Debug for HubConfig {
    /// Shows whether there is a token, never the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("certificates", &self.certificates)
            .finish()
    }
}

struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Environment<'_> {
    fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &'static str) -> Result<Option<String>> {
        let unicode = |value: OsString| value.into_string().map_err(|_| Error::Variable { name });
        self.get(name).map(unicode).transpose()
    }

    fn flag(&self, name: &'static str) -> Result<Option<bool>> {
        let is_true =
            |v: String| ["1", "ON", "YES", "TRUE"].contains(&v.to_ascii_uppercase().as_str());
        Ok(self.text(name)?.map(is_true))
    }

    /// A path, with a leading `~` replaced by the home folder.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.get(name)?);
        match (path.strip_prefix("~"), self.home()) {
            (Ok(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(path),
        }
    }

    fn home(&self) -> Option<PathBuf> {
        self.get("HOME").or_else(|| self.get("USERPROFILE")).map(PathBuf::from)
    }

    fn hf_home(&self) -> Result<PathBuf> {
        let caches = || self.path("XDG_CACHE_HOME").or_else(|| Some(self.home()?.join(".cache")));
        self.path("HF_HOME").or_else(|| Some(caches()?.join("huggingface"))).ok_or(Error::NoHome)
    }

    fn cache(&self) -> Result<PathBuf> {
        let named = self.path("HF_HUB_CACHE").or_else(|| self.path("HUGGINGFACE_HUB_CACHE"));
        named.map_or_else(|| Ok(self.hf_home()?.join("hub")), Ok)
    }

    fn endpoint(&self) -> Result<String> {
        let endpoint = self.text("HF_ENDPOINT")?;
        let endpoint = endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT);
        Ok(endpoint.trim_end_matches('/').to_owned())
    }

    fn token(&self) -> Result<Option<String>> {
        if self.flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")? == Some(true) {
            return Ok(None);
        }
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let Some(token) = self.text(name)? {
                return Ok(clean_token(&token));
            }
        }
        let file = self.path("HF_TOKEN_PATH").or_else(|| Some(self.hf_home().ok()?.join("token")));
        file.map_or(Ok(None), |file| read_token(&file))
    }

    fn certificates(&self) -> Option<PathBuf> {
        let names = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"];
        names.into_iter().find_map(|name| self.path(name))
    }

    fn offline(&self) -> Result<bool> {
        let flag = self.flag("HF_HUB_OFFLINE")?;
        Ok(flag.map_or_else(|| self.flag("TRANSFORMERS_OFFLINE"), |flag| Ok(Some(flag)))?
            == Some(true))
    }
}

fn read_token(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(clean_token(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read the access token", file)(e)),
    }
}

/// The token without the line breaks that editors and `echo` append.
fn clean_token(text: &str) -> Option<String> {
    let token = text.replace(['\r', '\n'], "");
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<HubConfig> {
        HubConfig::from_env(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_cache_is_where_other_tools_store_it() {
        let home = ("HOME", "/home/me");
        for (variables, cache) in [
            (vec![home], "/home/me/.cache/huggingface/hub"),
            (vec![home, ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (vec![home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")], "/home/me/hf/hub"),
            (vec![("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (vec![("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
            (vec![home, ("HF_HUB_CACHE", "")], "/home/me/.cache/huggingface/hub"),
        ] {
            assert_eq!(config(&variables).unwrap().cache, Path::new(cache), "{variables:?}");
        }
        assert!(matches!(config(&[]), Err(Error::NoHome)));
    }

    #[test]
    fn the_endpoint_is_the_public_hub_or_the_configured_one_without_trailing_slashes() {
        let endpoint = |variables: &[(&str, &str)]| config(variables).unwrap().endpoint;
        assert_eq!(endpoint(&[("HOME", "/h")]), "https://huggingface.co");
        assert_eq!(endpoint(&[("HOME", "/h"), ("HF_ENDPOINT", "http://m/hub//")]), "http://m/hub");
    }

    #[test]
    fn offline_is_parsed_as_by_huggingface_hub() {
        for (hub, transformers, offline) in [
            (None, None, false),
            (Some("1"), None, true),
            (Some("on"), None, true),
            (Some("Yes"), None, true),
            (Some("TRUE"), None, true),
            (Some("0"), None, false),
            (Some("2"), None, false),
            (Some("t"), None, false),
            (None, Some("1"), true),
            (Some(""), Some("1"), true),
            (Some("0"), Some("1"), false),
        ] {
            let mut variables = vec![("HOME", "/h")];
            variables.extend(hub.map(|v| ("HF_HUB_OFFLINE", v)));
            variables.extend(transformers.map(|v| ("TRANSFORMERS_OFFLINE", v)));
            assert_eq!(config(&variables).unwrap().offline, offline, "{variables:?}");
        }
    }

    #[test]
    fn the_token_comes_from_a_variable_or_else_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let other = folder.path().join("other");
        let other_path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        let token = |variables: &[(&str, &str)]| config(variables).unwrap().token;
        assert_eq!(token(&[home]), None);

        fs::write(folder.path().join("token"), "hf_file\r\n").unwrap();
        fs::write(&other, " hf_other ").unwrap();
        let old = ("HUGGING_FACE_HUB_TOKEN", "hf_old\n");
        let new = ("HF_TOKEN", "hf_new");
        assert_eq!(token(&[home]).as_deref(), Some("hf_file"));
        assert_eq!(token(&[home, other_path]).as_deref(), Some("hf_other"));
        assert_eq!(token(&[home, old]).as_deref(), Some("hf_old"));
        assert_eq!(token(&[home, old, new]).as_deref(), Some("hf_new"));
        assert_eq!(token(&[home, new, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    }

    #[test]
    fn certificate_authorities_are_those_of_python() {
        let file = |variables: &[(&str, &str)]| config(variables).unwrap().certificates;
        let home = ("HOME", "/h");
        assert_eq!(file(&[home]), None);
        assert_eq!(file(&[home, ("SSL_CERT_FILE", "~/ca")]), Some("/h/ca".into()));
        let both = [home, ("SSL_CERT_FILE", "/a"), ("REQUESTS_CA_BUNDLE", "/b")];
        assert_eq!(file(&both), Some("/b".into()));
    }

    #[test]
    fn a_token_never_appears_in_debug_output() {
        let config = config(&[("HOME", "/h"), ("HF_TOKEN", "hf_secret")]).unwrap();
        assert!(!format!("{config:?}").contains("hf_secret"));
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_unicode_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let lookup = |name: &str| {
            Some(match name {
                "HF_HUB_OFFLINE" => OsString::from_vec(vec![b'1', 0xff]),
                _ => "/h".into(),
            })
        };
        let error = HubConfig::from_env(&lookup).unwrap_err();
        assert!(matches!(error, Error::Variable { name: "HF_HUB_OFFLINE" }), "{error}");
    }
}
